//! Texts of URIs, decoded: segments of a path and fields of a query. Nothing here knows FHIR.
//!
//! Standard: RFC 3986 2.1 (percent-encoding); WHATWG URL 5.1
//! (`application/x-www-form-urlencoded`, where `+` is a space).

use std::borrow::Cow;

use zeroize::Zeroizing;

/// A segment of a path, decoded once. `None` for a broken escape or what is not UTF-8.
pub(crate) fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(segment.into());
    }
    decode_bytes(segment.as_bytes(), b'+').map(Cow::Owned)
}

/// A name or value of a form, decoded once. `None` for a broken escape or what is not UTF-8.
pub(crate) fn decode_form(field: &[u8]) -> Option<Zeroizing<String>> {
    decode_bytes(field, b' ').map(Zeroizing::new)
}

fn decode_bytes(encoded: &[u8], plus: u8) -> Option<String> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(encoded.len()));
    let mut bytes = encoded.iter().copied();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' => plus,
            byte => byte,
        });
    }
    str::from_utf8(&decoded).ok().map(str::to_owned)
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_decoded_once_and_keeps_its_plus() {
        assert_eq!(decode("%50atient").as_deref(), Some("Patient"));
        assert_eq!(decode("%2550").as_deref(), Some("%50"));
        assert_eq!(decode("a+b%2B").as_deref(), Some("a+b+"));
    }

    #[test]
    fn a_field_is_decoded_once_and_its_plus_is_a_space() {
        let decoded = |field: &[u8]| decode_form(field).map(|text| text.to_string());
        assert_eq!(decoded(b"a+b%2B%C3%A4"), Some("a b+\u{e4}".into()));
    }

    #[test]
    fn what_is_not_utf8_or_no_escape_is_no_text() {
        for text in ["%ff", "%", "%4", "%zz", "%C3", "%+1"] {
            assert_eq!(decode(text), None, "{text}");
            assert_eq!(decode_form(text.as_bytes()), None, "{text}");
        }
    }
}
