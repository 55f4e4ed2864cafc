//! Segments of a path, decoded. Standard: RFC 3986 2.1, 3.3.
//!
//! Segments are compared after decoding once, by whoever compares them: the route that is taken and
//! the resource type that is on record must not depend on how a client chose to spell a path.

use std::borrow::Cow;

/// A segment decoded once. `None` for one that does not decode to UTF-8, which the checks refuse.
pub fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(segment.into());
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let value = digit()? << 4 | digit()?;
        decoded.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(decoded).ok().map(Into::into)
}

/// Whether a slash stands in a path as `%2F`: to whoever decodes before splitting, it divides.
pub fn has_encoded_slash(path: &str) -> bool {
    path.as_bytes()
        .windows(3)
        .any(|escape| escape.eq_ignore_ascii_case(b"%2f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_decoded_once() {
        assert_eq!(decode("Patient").as_deref(), Some("Patient"));
        assert_eq!(decode("%50atient").as_deref(), Some("Patient"));
        assert_eq!(decode("%2550").as_deref(), Some("%50"));
        assert_eq!(decode("%C3%A4").as_deref(), Some("\u{e4}"));
    }

    #[test]
    fn what_is_not_utf8_or_no_escape_is_no_segment() {
        for segment in ["%ff", "%", "%4", "%zz", "%C3"] {
            assert_eq!(decode(segment), None, "{segment}");
        }
    }

    #[test]
    fn an_encoded_slash_is_found_in_either_case() {
        assert!(has_encoded_slash("/a%2Fb") && has_encoded_slash("/a%2fb"));
        assert!(!has_encoded_slash("/a/b") && !has_encoded_slash("/a%2"));
    }
}
