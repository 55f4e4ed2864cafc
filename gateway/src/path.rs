//! Segments of a path, decoded. Standard: RFC 3986 2.1, 3.3.
//!
//! Segments are compared after decoding once, by whoever compares them: the route that is taken and
//! the resource type that is on record must not depend on how a client chose to spell a path.

use std::borrow::Cow;

/// A byte of a path, and whether it was spelled as an escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Byte {
    /// The byte.
    pub value: u8,
    /// Whether it was escaped.
    pub escaped: bool,
}

/// A percent sign that two hexadecimal digits do not follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadEscape;

/// The bytes of a segment, decoded once.
pub fn bytes(segment: &str) -> impl Iterator<Item = Result<Byte, BadEscape>> {
    let mut bytes = segment.bytes();
    std::iter::from_fn(move || {
        let value = bytes.next()?;
        if value != b'%' {
            let escaped = false;
            return Some(Ok(Byte { value, escaped }));
        }
        let mut digit = || {
            let digit = bytes.next().and_then(|byte| char::from(byte).to_digit(16));
            digit.and_then(|digit| u8::try_from(digit).ok())
        };
        Some(match (digit(), digit()) {
            (Some(high), Some(low)) => Ok(Byte {
                value: high << 4 | low,
                escaped: true,
            }),
            _ => Err(BadEscape),
        })
    })
}

/// A segment decoded once. `None` for one that does not decode to UTF-8, which the checks refuse.
pub fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(segment.into());
    }
    let decoded: Result<Vec<u8>, BadEscape> = bytes(segment)
        .map(|byte| byte.map(|byte| byte.value))
        .collect();
    String::from_utf8(decoded.ok()?).ok().map(Into::into)
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
