//! The names that an operator gives to things, and the sentences that stand beside them.
//!
//! Each kind of name is a type of its own, made only by `parse`, so that a route's name cannot be
//! looked up among the roles. Names go into records, metrics and messages: they are short and
//! plain ASCII, and their clones share them.

use std::fmt;
use std::sync::Arc;

use crate::error::Advice;
use crate::place::quoted;
use crate::word::{StandIn, Word};

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// There is nothing.
    Empty,
    /// It is longer than 64 bytes.
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It does not begin with a letter or a digit.
    Start {
        /// What it begins with.
        found: char,
    },
    /// It holds something else than letters, digits, `-` and `_`.
    Character {
        /// The first such character.
        found: char,
    },
    /// The word has a meaning of its own here.
    Reserved {
        /// The word.
        word: &'static str,
    },
}

/// The longest name, in bytes.
pub(crate) const LONGEST_NAME: usize = 64;

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "an empty name"),
            Self::TooLong { length } => {
                write!(f, "a name of {length} bytes; the longest is {LONGEST_NAME}")
            }
            Self::Start { found } => {
                write!(f, "a name that begins with {}", quoted(&found.to_string()))
            }
            Self::Character { found } => {
                write!(f, "a name with {} in it", quoted(&found.to_string()))
            }
            Self::Reserved { word } => write!(f, "{} is no name: it means everybody", quoted(word)),
        }
    }
}

impl std::error::Error for NameError {}

/// The one word of `allow` that is not a role.
pub(crate) const ANYONE: &str = "anyone";

fn parse_name(text: &str) -> Result<&str, NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if text.len() > LONGEST_NAME {
        return Err(NameError::TooLong { length: text.len() });
    }
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::Start { found: first });
    }
    match text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !"-_".contains(*c))
    {
        Some(found) => Err(NameError::Character { found }),
        None => Ok(text),
    }
}

macro_rules! names {
    ($($(#[doc = $doc:literal])+ $type:ident: $noun:literal, like $example:literal, but not $reserved:expr;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Parses a name: letters, digits, `-` and `_`, the first a letter or digit.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let reserved: &[&'static str] = $reserved;
                match reserved.iter().find(|word| **word == text) {
                    Some(word) => Err(NameError::Reserved { word }),
                    None => parse_name(text).map(|name| Self(name.into())),
                }
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl StandIn for $type {
            fn stand_in() -> Self {
                Self(Arc::default())
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Word for $type {
            const NOUN: &'static str = $noun;
            const EXAMPLE: &'static str = $example;
            const PATTERN: Option<&'static str> = Some("^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$");

            fn parse_word(text: &str) -> Result<Self, Advice> {
                Self::parse(text).map_err(|error| {
                    Advice::new(error, Some("write letters, digits, - and _, at most 64 of them"))
                })
            }
        }
    )+};
}

names! {
    /// The name of a trust set: who vouches for a client.
    TrustName: "the name of a trust set", like "devices", but not &[];
    /// The name of a certificate entry.
    CertificateName: "the name of a certificate", like "api", but not &[];
    /// The name of a listener.
    ListenerName: "the name of a listener", like "devices", but not &[];
    /// The name of a role. `anyone` is none.
    RoleName: "the name of a role", like "pump", but not &[ANYONE];
    /// The name of an upstream.
    UpstreamName: "the name of an upstream", like "fhir", but not &[];
    /// The name of a class of retention: a to z, digits and -, beginning with a letter, at most 32.
    ClassName: "the name of a class", like "research", but not &[];
    /// The name of a registered key: the `keyid` of its signatures (RFC 9421 section 2.3).
    KeyName: "the name of a registered key", like "lab-robot", but not &["certificate"];
    /// The name of a route, which stands in the record of each request that took it.
    RouteName: "the name of a route", like "observations", but not &[];
}

/// What stands in `allow`: a role, or everybody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AllowWord {
    Anyone,
    Role(RoleName),
}

impl Word for AllowWord {
    const NOUN: &'static str = "the name of a role or \"anyone\"";
    const EXAMPLE: &'static str = RoleName::EXAMPLE;
    const PATTERN: Option<&'static str> = RoleName::PATTERN;

    fn parse_word(text: &str) -> Result<Self, Advice> {
        if text == ANYONE {
            Ok(Self::Anyone)
        } else {
            RoleName::parse_word(text).map(Self::Role)
        }
    }
}

/// A sentence that a person wrote for other people: a rationale or a purpose. It is printed in
/// reports and records, on one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sentence(String);

/// Why a text is not a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentenceError {
    /// Too little, not counting blanks at both ends.
    TooShort {
        /// Its length in characters.
        length: usize,
        /// The shortest that is accepted.
        shortest: usize,
    },
    /// More than 1,000 characters.
    TooLong {
        /// Its length in characters.
        length: usize,
    },
    /// A line end or another control character.
    Control,
}

/// The longest sentence, in characters.
pub(crate) const LONGEST_SENTENCE: usize = 1000;

impl Sentence {
    /// Takes a sentence of at least `shortest` characters; blanks at both ends do not count.
    pub fn parse(text: &str, shortest: usize) -> Result<Self, SentenceError> {
        let text = text.trim();
        let length = text.chars().count();
        if length < shortest {
            return Err(SentenceError::TooShort { length, shortest });
        }
        if length > LONGEST_SENTENCE {
            return Err(SentenceError::TooLong { length });
        }
        if text.chars().any(char::is_control) {
            return Err(SentenceError::Control);
        }
        Ok(Self(text.to_owned()))
    }

    /// The sentence, trimmed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl StandIn for Sentence {
    fn stand_in() -> Self {
        Self(String::new())
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SentenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { length, shortest } => {
                write!(f, "{length} characters; at least {shortest} are asked for")
            }
            Self::TooLong { length } => {
                write!(
                    f,
                    "{length} characters; at most {LONGEST_SENTENCE} are taken"
                )
            }
            Self::Control => write!(f, "a line end or another control character"),
        }
    }
}

impl std::error::Error for SentenceError {}

/// Why a control is weakened: the words that the law asks for (45 CFR 164.306(d)(3)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RationaleText(pub(crate) Sentence);

/// The shortest rationale, in characters.
pub(crate) const SHORTEST_RATIONALE: usize = 10;

impl Word for RationaleText {
    const NOUN: &'static str = "a rationale";
    const EXAMPLE: &'static str = "people sign in at the portal with MFA; review 2027-01";

    fn parse_word(text: &str) -> Result<Self, Advice> {
        let hint = "write one sentence that your auditor can read: why, and until when";
        Sentence::parse(text, SHORTEST_RATIONALE)
            .map(Self)
            .map_err(|error| Advice::new(error, Some(hint)))
    }
}

/// What a role is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PurposeText(pub(crate) Sentence);

impl Word for PurposeText {
    const NOUN: &'static str = "a purpose";
    const EXAMPLE: &'static str = "treatment";

    fn parse_word(text: &str) -> Result<Self, Advice> {
        Sentence::parse(text, 1)
            .map(Self)
            .map_err(|error| Advice::new(error, Some("write one line, or leave the key out")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_letters_digits_dashes_and_underscores() {
        for good in ["pump", "Pump-2", "0", "a_b", &"x".repeat(64)] {
            assert_eq!(RouteName::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(RouteName::parse(""), Err(NameError::Empty));
        assert_eq!(RouteName::parse("-a"), Err(NameError::Start { found: '-' }));
        assert_eq!(
            RouteName::parse("a b"),
            Err(NameError::Character { found: ' ' })
        );
        assert_eq!(
            RouteName::parse("caf\u{e9}"),
            Err(NameError::Character { found: '\u{e9}' })
        );
        assert_eq!(
            RouteName::parse(&"x".repeat(65)),
            Err(NameError::TooLong { length: 65 })
        );
    }

    #[test]
    fn no_role_is_called_anyone() {
        assert_eq!(
            RoleName::parse("anyone"),
            Err(NameError::Reserved { word: "anyone" })
        );
        assert!(RouteName::parse("anyone").is_ok());
    }

    #[test]
    fn a_rationale_of_blanks_is_too_short() {
        let shortest = SHORTEST_RATIONALE;
        assert_eq!(
            Sentence::parse("   ok            ", shortest),
            Err(SentenceError::TooShort {
                length: 2,
                shortest
            })
        );
        assert_eq!(
            Sentence::parse(" 1234567890 ", shortest).unwrap().as_str(),
            "1234567890"
        );
    }

    #[test]
    fn a_sentence_stays_on_one_line() {
        assert_eq!(
            Sentence::parse("first line\nsecond", 1),
            Err(SentenceError::Control)
        );
        assert_eq!(
            Sentence::parse(&"x".repeat(1001), 1),
            Err(SentenceError::TooLong { length: 1001 })
        );
    }

    proptest! {
        #[test]
        fn a_name_that_parses_prints_as_it_was_written(text in ".{0,70}") {
            if let Ok(name) = RoleName::parse(&text) {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
