//! Request methods that a route may take.
//!
//! A method is a token and its case counts (RFC 9110 section 9.1). CONNECT and TRACE are refused:
//! the first would make the gateway a tunnel to anywhere, the second echoes what the gateway adds
//! (RFC 9110 sections 9.3.6 and 9.3.8).

use std::fmt;

use crate::error::{Advice, did_you_mean};
use crate::place::quoted;
use crate::word::Word;

/// A request method, never CONNECT or TRACE.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(String);

impl Method {
    /// Parses a method.
    pub fn parse(text: &str) -> Result<Self, MethodError> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.is_empty() || text.len() > LONGEST_METHOD || !text.bytes().all(token) {
            return Err(MethodError::NotAToken);
        }
        let upper = text.to_ascii_uppercase();
        if let Some(method) = REFUSED.iter().find(|method| **method == upper) {
            return Err(MethodError::Refused { method });
        }
        if upper != text && REGISTERED.contains(&upper.as_str()) {
            return Err(MethodError::Case {
                found: text.to_owned(),
                upper,
            });
        }
        if text == "*" {
            return Err(MethodError::Star);
        }
        Ok(Self(text.to_owned()))
    }

    /// The method.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const LONGEST_METHOD: usize = 32;
const REFUSED: [&str; 2] = ["CONNECT", "TRACE"];
const REGISTERED: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Why a text is not a method that a route may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MethodError {
    /// Not a token of RFC 9110 section 5.6.2, or a very long one.
    NotAToken,
    /// A method that the gateway never lets through.
    Refused {
        /// The method.
        method: &'static str,
    },
    /// A registered method in another case, which would be another method.
    Case {
        /// What was written.
        found: String,
        /// What was meant.
        upper: String,
    },
    /// `*`: each method is named.
    Star,
}

impl fmt::Display for MethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAToken => write!(f, "not a method"),
            Self::Refused { method } => write!(f, "{method} is never let through"),
            Self::Case { found, .. } => {
                write!(f, "{} is another method: their case counts", quoted(found))
            }
            Self::Star => write!(f, "\"*\" is not a method"),
        }
    }
}

impl std::error::Error for MethodError {}

impl Word for Method {
    const NOUN: &'static str = "a method";
    const EXAMPLE: &'static str = "GET";
    const PATTERN: Option<&'static str> = Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$");

    fn parse_word(text: &str) -> Result<Self, Advice> {
        Self::parse(text).map_err(|error| {
            let hint = match &error {
                MethodError::NotAToken => {
                    Some("write a method such as \"GET\" or \"POST\"".to_owned())
                }
                MethodError::Refused { .. } => Some("leave it out".to_owned()),
                MethodError::Case { upper, .. } => Some(did_you_mean(upper)),
                MethodError::Star => Some("name each method".to_owned()),
            };
            Advice {
                message: error.to_string(),
                hint,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_a_token_in_its_own_case() {
        assert_eq!(Method::parse("GET").unwrap().as_str(), "GET");
        assert_eq!(Method::parse("X-Purge").unwrap().as_str(), "X-Purge");
        assert_eq!(Method::parse(""), Err(MethodError::NotAToken));
        assert_eq!(Method::parse("GET POST"), Err(MethodError::NotAToken));
        assert_eq!(Method::parse("*"), Err(MethodError::Star));
        assert!(matches!(
            Method::parse("get"),
            Err(MethodError::Case { .. })
        ));
    }

    #[test]
    fn connect_and_trace_are_refused_in_any_case() {
        for text in ["CONNECT", "TRACE", "trace"] {
            assert!(
                matches!(Method::parse(text), Err(MethodError::Refused { .. })),
                "{text}"
            );
        }
    }
}
