//! Names of clients and the patterns that roles are made of.
//!
//! A [`ClientName`] is what a certificate proves: the one subject alternative name of the trust
//! set's kind (RFC 5280 section 4.2.1.6). A [`ClientPattern`] is what an operator allows. How a
//! name is taken out of a certificate is the gateway's part.

use std::fmt;

use crate::error::Advice;
use crate::place::quoted;
use crate::word::Word;

/// The longest name or pattern, in bytes.
pub(crate) const LONGEST_CLIENT: usize = 512;

/// A client's name under a trust set: visible ASCII without blanks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientName(String);

impl ClientName {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        check(text).map(|()| Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name in which `*` stands for any number of characters within one segment: it never matches
/// `:` or `/`, so that `urn:example:pump-*` does not cover `urn:example:pump-1:admin`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientPattern(String);

impl ClientPattern {
    /// Parses a pattern: a [`ClientName`] in which `*` has its meaning.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        check(text)?;
        if text.contains("**") {
            return Err(ClientError::DoubleStar);
        }
        Ok(Self(text.to_owned()))
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it covers one name only, its own.
    pub fn is_plain(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether the pattern covers this name. Case counts.
    pub fn matches(&self, name: &str) -> bool {
        if self.is_plain() {
            return self.0 == name;
        }
        let mut patterns = self.0.split_inclusive(DIVIDERS);
        let mut names = name.split_inclusive(DIVIDERS);
        loop {
            match (patterns.next(), names.next()) {
                (None, None) => return true,
                (Some(pattern), Some(name)) if segment_matches(pattern, name) => {}
                // A last segment that is empty is not there after the split.
                (Some("*"), None) => return true,
                _ => return false,
            }
        }
    }
}

impl fmt::Display for ClientPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const DIVIDERS: [char; 2] = [':', '/'];

/// Matches one segment with its divider. What stands between two stars is taken where it first
/// occurs, which leaves the most for the rest, so nothing is ever tried twice.
fn segment_matches(pattern: &str, name: &str) -> bool {
    let body = |text: &str| text.strip_suffix(DIVIDERS).map_or(text.len(), str::len);
    let (pattern, pattern_end) = pattern.split_at(body(pattern));
    let (name, name_end) = name.split_at(body(name));
    if pattern_end != name_end {
        return false;
    }
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn check(text: &str) -> Result<(), ClientError> {
    if text.is_empty() {
        return Err(ClientError::Empty);
    }
    if text.len() > LONGEST_CLIENT {
        return Err(ClientError::TooLong { length: text.len() });
    }
    match text.chars().find(|c| !c.is_ascii_graphic()) {
        Some(found) => Err(ClientError::Character { found }),
        None => Ok(()),
    }
}

/// Why a text is not a client's name or pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// There is nothing.
    Empty,
    /// Longer than 512 bytes.
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A blank, a control character, or something outside ASCII.
    Character {
        /// The first such character.
        found: char,
    },
    /// `**`: there is no pattern over several segments.
    DoubleStar,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "an empty name"),
            Self::TooLong { length } => {
                write!(
                    f,
                    "a name of {length} bytes; the longest is {LONGEST_CLIENT}"
                )
            }
            Self::Character { found } => {
                write!(f, "a name with {} in it", quoted(&found.to_string()))
            }
            Self::DoubleStar => write!(f, "\"**\" means nothing more than \"*\""),
        }
    }
}

impl std::error::Error for ClientError {}

impl ClientError {
    /// What to write instead.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::DoubleStar => Some("write one \"*\" for each segment, as in urn:example:*:*"),
            Self::Empty | Self::TooLong { .. } | Self::Character { .. } => {
                Some("write the name as it stands in the certificate, such as urn:example:pump-1")
            }
        }
    }
}

impl Word for ClientName {
    const NOUN: &'static str = "a client's name";
    const EXAMPLE: &'static str = "urn:example:robot-7";

    fn parse_word(text: &str) -> Result<Self, Advice> {
        // As a name it would be good, and match nobody.
        if text.contains('*') {
            let message = "a name with \"*\" in it, where one client is meant";
            return Err(Advice::new(message, ClientError::Empty.hint()));
        }
        Self::parse(text).map_err(|error| Advice::new(&error, error.hint()))
    }
}

impl Word for ClientPattern {
    const NOUN: &'static str = "a client's name or a pattern of names";
    const EXAMPLE: &'static str = "urn:example:pump-*";

    fn parse_word(text: &str) -> Result<Self, Advice> {
        Self::parse(text).map_err(|error| Advice::new(&error, error.hint()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        ClientPattern::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn a_name_matches_itself_alone() {
        assert!(matches("urn:example:pump-1", "urn:example:pump-1"));
        assert!(!matches("urn:example:pump-1", "urn:example:pump-10"));
        assert!(!matches("urn:example:pump-1", "urn:example:PUMP-1"));
        assert!(!matches("urn:example:pump-1", "urn:example:pump-1:"));
        assert!(!matches("urn:example:pump-1:", "urn:example:pump-1"));
    }

    #[test]
    fn a_star_stays_within_its_segment() {
        assert!(matches("urn:example:pump-*", "urn:example:pump-17"));
        assert!(matches("urn:example:pump-*", "urn:example:pump-"));
        assert!(!matches("urn:example:pump-*", "urn:example:pump-17:admin"));
        assert!(!matches("urn:example:pump-*", "urn:example:pump-17/admin"));
        assert!(!matches("*", "urn:example:pump-1"));
        assert!(matches("urn:*:pump-*-a", "urn:example:pump-1-b-a"));
    }

    #[test]
    fn a_divider_is_not_another_divider() {
        assert!(!matches("urn:example:*", "urn:example/x"));
        assert!(matches("spiffe://clinic/*", "spiffe://clinic/pump"));
    }

    #[test]
    fn a_star_may_stand_for_nothing_even_as_a_whole_segment() {
        assert!(matches("urn:*", "urn:"));
        assert!(matches("urn:*:", "urn::"));
        assert!(!matches("urn:*", "urn"));
        assert!(!matches("urn:a*", "urn:"));
    }

    #[test]
    fn a_pattern_with_blanks_or_controls_is_refused() {
        assert_eq!(ClientPattern::parse(""), Err(ClientError::Empty));
        assert_eq!(
            ClientPattern::parse("a b"),
            Err(ClientError::Character { found: ' ' })
        );
        assert_eq!(
            ClientName::parse("a\n"),
            Err(ClientError::Character { found: '\n' })
        );
        assert_eq!(ClientPattern::parse("a**"), Err(ClientError::DoubleStar));
        assert_eq!(
            ClientName::parse(&"x".repeat(513)),
            Err(ClientError::TooLong { length: 513 })
        );
    }

    /// The definition, as slow as it is plain.
    fn covers(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), None) => covers(rest, name),
            (Some((b'*', rest)), Some((byte, tail))) => {
                covers(rest, name) || (!b":/".contains(byte) && covers(pattern, tail))
            }
            (Some((want, rest)), Some((byte, tail))) => want == byte && covers(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn a_pattern_means_its_definition(pattern in "[ab:/*]{1,9}", name in "[ab:/]{1,9}") {
            if let Ok(parsed) = ClientPattern::parse(&pattern) {
                prop_assert_eq!(parsed.matches(&name), covers(pattern.as_bytes(), name.as_bytes()));
            }
        }
    }
}
