//! Path prefixes of routes: whole segments, clean, compared after decoding.
//!
//! A path is refused rather than rewritten (RFC 3986 section 6 lists what a rewriting reader might
//! do, and no two do the same), so a prefix holds nothing that a request would be refused for.
//! Segments are compared after percent-decoding once (RFC 3986 section 2.1): were they compared as
//! written, `/fhir/%50atient` would slip past a route for `/fhir/Patient` into a wider one. This
//! file does not judge the paths of requests; that is the gateway's table of checks.

use std::fmt;

use crate::error::Advice;
use crate::place::quoted;
use crate::word::{StandIn, Word};

/// A path prefix of whole segments: `/fhir` covers `/fhir` and `/fhir/Patient`, never `/fhirx`.
///
/// Two prefixes are equal when their decoded segments are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPrefix {
    segments: Vec<String>,
}

impl PathPrefix {
    /// Parses a prefix. It is `/`, or begins with `/` and does not end with one.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > LONGEST_PATH {
            return Err(PathError::TooLong { length: text.len() });
        }
        let rest = text.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
        if rest.is_empty() {
            return Ok(Self {
                segments: Vec::new(),
            });
        }
        if let Some(found) = rest.chars().find(|c| !is_path_character(*c)) {
            return Err(PathError::character(found));
        }
        if rest.ends_with('/') && !rest.ends_with("//") && rest != "/" {
            return Err(PathError::TrailingSlash);
        }
        let segments = rest
            .split('/')
            .map(parse_segment)
            .collect::<Result<_, _>>()?;
        Ok(Self { segments })
    }

    /// The decoded segments, none for `/`. The more there are, the more specific the prefix is.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// Whether a request's path lies at or below this prefix.
    ///
    /// `path` is the path as received, without query. One that does not begin with `/` matches
    /// nothing, not even `/`, and a segment that does not decode equals none. Fails open in one
    /// respect: what no prefix but `/` can match, `/` does, so refuse unclean paths before.
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix('/') else {
            return false;
        };
        let mut found = rest.split('/');
        self.segments
            .iter()
            .all(|segment| found.next().is_some_and(|found| decodes_to(found, segment)))
    }
}

impl StandIn for PathPrefix {
    fn stand_in() -> Self {
        Self {
            segments: vec![String::new()],
        }
    }
}

/// The prefix with every character escaped that needs to be (RFC 3986 section 3.3).
impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segments.is_empty() {
            return f.write_str("/");
        }
        for segment in &self.segments {
            f.write_str("/")?;
            for byte in segment.bytes() {
                if is_path_character(char::from(byte)) && byte != b'%' && byte != b'/' {
                    write!(f, "{}", char::from(byte))?;
                } else {
                    write!(f, "%{byte:02X}")?;
                }
            }
        }
        Ok(())
    }
}

const LONGEST_PATH: usize = 1024;

/// `pchar` and `/` of RFC 3986 section 3.3, without `*`, which people write where they mean a
/// pattern.
fn is_path_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()+,;=:@%/".contains(c)
}

fn parse_segment(text: &str) -> Result<String, PathError> {
    if text.is_empty() {
        return Err(PathError::EmptySegment);
    }
    let bytes: Vec<u8> = decoded(text)
        .collect::<Option<_>>()
        .ok_or(PathError::BadEscape)?;
    let segment = String::from_utf8(bytes).map_err(|_| PathError::NotUtf8)?;
    if segment == "." || segment == ".." {
        return Err(PathError::DotSegment);
    }
    match segment
        .chars()
        .find(|c| "/\\%".contains(*c) || c.is_control())
    {
        Some('/') => Err(PathError::EncodedSlash),
        Some('\\') => Err(PathError::Backslash),
        Some('%') => Err(PathError::DoubleEncoding),
        Some(_) => Err(PathError::Control),
        None => Ok(segment),
    }
}

fn decodes_to(written: &str, segment: &str) -> bool {
    written.len() >= segment.len() && decoded(written).eq(segment.bytes().map(Some))
}

/// The bytes of a segment after decoding once; `None` for an escape that is none.
fn decoded(text: &str) -> impl Iterator<Item = Option<u8>> {
    let mut bytes = text.bytes();
    std::iter::from_fn(move || {
        let byte = bytes.next()?;
        if byte != b'%' {
            return Some(Some(byte));
        }
        let mut digit = || {
            bytes
                .next()
                .and_then(|digit| char::from(digit).to_digit(16))
        };
        let value = digit().zip(digit()).map(|(high, low)| high << 4 | low);
        Some(value.and_then(|value| u8::try_from(value).ok()))
    })
}

/// Why a text is not a path prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It does not begin with `/`.
    NotAbsolute,
    /// It ends with `/`.
    TrailingSlash,
    /// Two slashes in a row.
    EmptySegment,
    /// A segment that is `.` or `..`, escaped or not (RFC 3986 section 5.2.4).
    DotSegment,
    /// `%2F`: whether it divides segments depends on who reads it.
    EncodedSlash,
    /// `\` or `%5C`: some readers take it for `/`.
    Backslash,
    /// `%25`: decoding once and decoding twice differ.
    DoubleEncoding,
    /// A control character, NUL among them.
    Control,
    /// `%` without two hexadecimal digits.
    BadEscape,
    /// What it decodes to is not UTF-8.
    NotUtf8,
    /// A query or a fragment.
    Query,
    /// `*`: a prefix is not a pattern.
    Star,
    /// A character that a path cannot hold (RFC 3986 section 3.3).
    Character {
        /// The character.
        found: char,
    },
    /// Longer than any prefix needs to be.
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
}

impl PathError {
    fn character(found: char) -> Self {
        match found {
            '?' | '#' => Self::Query,
            '*' => Self::Star,
            '\\' => Self::Backslash,
            found if found.is_control() => Self::Control,
            found => Self::Character { found },
        }
    }

    /// What to write instead.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotAbsolute => Some("begin it with \"/\""),
            Self::TrailingSlash => {
                Some("leave the last \"/\" out: \"/fhir\" also covers all below it")
            }
            Self::Star => Some("leave it out: a prefix covers everything below it"),
            Self::Query => Some("routes are chosen by path alone"),
            Self::Character { .. } => Some("escape it as %XX"),
            Self::EmptySegment
            | Self::DotSegment
            | Self::EncodedSlash
            | Self::Backslash
            | Self::DoubleEncoding
            | Self::Control
            | Self::BadEscape
            | Self::NotUtf8 => Some("no request with such a path is let through"),
            Self::TooLong { .. } => None,
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAbsolute => write!(f, "it does not begin with \"/\""),
            Self::TrailingSlash => write!(f, "it ends with \"/\""),
            Self::EmptySegment => write!(f, "two slashes in a row"),
            Self::DotSegment => write!(f, "a dot segment"),
            Self::EncodedSlash => write!(f, "an encoded \"/\""),
            Self::Backslash => write!(f, "a backslash"),
            Self::DoubleEncoding => write!(f, "an encoded \"%\""),
            Self::Control => write!(f, "a control character"),
            Self::BadEscape => write!(f, "a \"%\" without two hexadecimal digits"),
            Self::NotUtf8 => write!(f, "it does not decode to UTF-8"),
            Self::Query => write!(f, "a query or a fragment"),
            Self::Star => write!(f, "a \"*\""),
            Self::Character { found } => {
                write!(
                    f,
                    "a character that no path holds: {}",
                    quoted(&found.to_string())
                )
            }
            Self::TooLong { length } => {
                write!(f, "{length} bytes; the longest prefix has {LONGEST_PATH}")
            }
        }
    }
}

impl std::error::Error for PathError {}

impl Word for PathPrefix {
    const NOUN: &'static str = "a path";
    const EXAMPLE: &'static str = "/fhir/Observation";
    const PATTERN: Option<&'static str> = Some("^/");

    fn parse_word(text: &str) -> Result<Self, Advice> {
        Self::parse(text).map_err(|error| Advice::new(&error, error.hint()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(text: &str) -> PathPrefix {
        PathPrefix::parse(text).unwrap()
    }

    #[test]
    fn a_prefix_covers_whole_segments() {
        let fhir = prefix("/fhir");
        assert!(fhir.matches("/fhir") && fhir.matches("/fhir/") && fhir.matches("/fhir/Patient/1"));
        assert!(!fhir.matches("/fhirx") && !fhir.matches("/") && !fhir.matches("fhir"));
        assert!(prefix("/").matches("/anything") && !prefix("/").matches("*"));
    }

    #[test]
    fn an_escaped_letter_does_not_slip_past_a_prefix() {
        let patient = prefix("/fhir/Patient");
        assert!(patient.matches("/fhir/%50atient/1"));
        assert!(!patient.matches("/fhir/%2550atient"), "decoded twice");
        assert!(
            !patient.matches("/fhir/Patient%2F1"),
            "an encoded slash divides nothing"
        );
        assert!(!patient.matches("/fhir/%5/1") && !patient.matches("/fhir/Patient%"));
        assert!(
            !patient.matches("/fhir/patient"),
            "paths are compared with their case"
        );
    }

    #[test]
    fn prefixes_that_decode_to_the_same_are_equal() {
        assert_eq!(prefix("/caf%c3%a9"), prefix("/caf%C3%A9"));
        assert_eq!(prefix("/%50atient"), prefix("/Patient"));
        assert_eq!(prefix("/%50atient").to_string(), "/Patient");
    }

    #[test]
    fn a_prefix_that_no_clean_request_has_is_refused() {
        for (text, error) in [
            ("", PathError::NotAbsolute),
            ("fhir", PathError::NotAbsolute),
            ("/fhir/", PathError::TrailingSlash),
            ("//", PathError::EmptySegment),
            ("/a//b", PathError::EmptySegment),
            ("/a//", PathError::EmptySegment),
            ("/a/../b", PathError::DotSegment),
            ("/.", PathError::DotSegment),
            ("/a/%2e%2E", PathError::DotSegment),
            ("/a%2fb", PathError::EncodedSlash),
            ("/a%5Cb", PathError::Backslash),
            ("/a\\b", PathError::Backslash),
            ("/a%00", PathError::Control),
            ("/a\u{7f}", PathError::Control),
            ("/a%252e", PathError::DoubleEncoding),
            ("/a%", PathError::BadEscape),
            ("/a%4", PathError::BadEscape),
            ("/a%zz", PathError::BadEscape),
            ("/a%+1", PathError::BadEscape),
            ("/a%ff", PathError::NotUtf8),
            ("/a?b", PathError::Query),
            ("/a#b", PathError::Query),
            ("/a/*", PathError::Star),
            ("/a b", PathError::Character { found: ' ' }),
            ("/caf\u{e9}", PathError::Character { found: '\u{e9}' }),
        ] {
            assert_eq!(PathPrefix::parse(text), Err(error), "{text}");
        }
        assert!(matches!(
            PathPrefix::parse(&format!("/{}", "a".repeat(1024))),
            Err(PathError::TooLong { length: 1025 })
        ));
    }

    proptest! {
        #[test]
        fn a_prefix_covers_itself_and_what_is_below(text in "(/[a-z%0-9.$]{1,5}){1,4}", below in "[a-z]{0,4}") {
            if let Ok(prefix) = PathPrefix::parse(&text) {
                prop_assert!(prefix.matches(&text));
                let below = format!("{text}/{below}");
                prop_assert!(prefix.matches(&below));
                let beside = format!("{text}x");
                prop_assert!(!prefix.matches(&beside));
            }
        }

        #[test]
        fn a_prefix_reads_back_what_it_prints(text in "/([a-z%0-9A-F\u{e9}.$/]{0,12})") {
            if let Ok(prefix) = PathPrefix::parse(&text) {
                prop_assert_eq!(PathPrefix::parse(&prefix.to_string()), Ok(prefix));
            }
        }

        #[test]
        fn no_path_is_too_strange_to_be_answered(text in ".{0,40}", path in ".{0,40}") {
            if let Ok(prefix) = PathPrefix::parse(&text) {
                let _ = prefix.matches(&path);
            }
        }
    }
}
