//! What a signature covers: component identifiers of a request (RFC 9421 section 2).
//!
//! Spelled as they are there, without the quotes around the name: `@method`, `content-type`,
//! `cookie;key="session"`. Only what a request has is taken. What the value of a component is in a
//! message is the gateway's part.

use std::collections::BTreeSet;
use std::fmt;

use crate::error::{Advice, did_you_mean, nearest};
use crate::place::quoted;
use crate::word::Word;

/// A component of a request that a signature can cover.
///
/// Two of them are equal when name and parameters are, in whatever order the parameters were
/// written (RFC 9421 section 2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Component {
    name: String,
    parameters: BTreeSet<Parameter>,
}

/// A parameter of a component identifier, of those that a request can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Parameter {
    /// `sf`: the field is serialized anew as a structured field (RFC 9421 section 2.1.1).
    Sf,
    /// `key`: one member of a field that is a dictionary (RFC 9421 section 2.1.2).
    Key(String),
    /// `bs`: each line of the field as a byte sequence (RFC 9421 section 2.1.3).
    Bs,
    /// `tr`: the field among the trailers (RFC 9421 section 2.1.4).
    Tr,
    /// `name`: which parameter of the query (RFC 9421 section 2.2.8).
    Name(String),
}

impl Component {
    /// Parses a component.
    ///
    /// Fails closed: a name or parameter that is not known is an error, because a requirement that
    /// nobody understands is one that nobody checks.
    pub fn parse(text: &str) -> Result<Self, ComponentError> {
        if text.len() > LONGEST_COMPONENT {
            return Err(ComponentError::TooLong { length: text.len() });
        }
        let (name, rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        check_name(name)?;
        let component = Self {
            name: name.to_owned(),
            parameters: parameters(rest)?,
        };
        component.check_parameters()?;
        Ok(component)
    }

    /// One without parameters whose name is known to be good.
    pub(crate) fn bare(name: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            parameters: BTreeSet::new(),
        }
    }

    /// The name: that of a field, in lower case, or of a derived component, beginning with `@`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The parameters, in an order of their own.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter()
    }

    /// Whether it is derived from the message (RFC 9421 section 2.2) rather than a field.
    pub fn is_derived(&self) -> bool {
        self.name.starts_with('@')
    }

    fn check_parameters(&self) -> Result<(), ComponentError> {
        for parameter in &self.parameters {
            let fits = match parameter {
                Parameter::Sf | Parameter::Key(_) | Parameter::Bs | Parameter::Tr => {
                    !self.is_derived()
                }
                Parameter::Name(_) => self.name == QUERY_PARAM,
            };
            if !fits {
                return Err(ComponentError::Misplaced {
                    parameter: parameter.word(),
                    name: self.name.clone(),
                });
            }
        }
        let is_named = || matches!(self.parameters.first(), Some(Parameter::Name(_)));
        if self.name == QUERY_PARAM && !is_named() {
            return Err(ComponentError::NoName);
        }
        // RFC 9421 section 2.1.3: bs is about bytes, the other two about what they mean.
        let structured = self
            .parameters
            .iter()
            .find(|parameter| matches!(parameter, Parameter::Sf | Parameter::Key(_)));
        match structured {
            Some(parameter) if self.parameters.contains(&Parameter::Bs) => {
                Err(ComponentError::Clash {
                    parameter: parameter.word(),
                })
            }
            _ => Ok(()),
        }
    }
}

impl Parameter {
    /// The word that stands for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Sf => "sf",
            Self::Key(_) => "key",
            Self::Bs => "bs",
            Self::Tr => "tr",
            Self::Name(_) => "name",
        }
    }

    fn value(&self) -> Option<&str> {
        match self {
            Self::Key(value) | Self::Name(value) => Some(value),
            Self::Sf | Self::Bs | Self::Tr => None,
        }
    }
}

/// As it stands in the file; [`Component::parse`] reads it back.
impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.parameters
            .iter()
            .try_for_each(|parameter| write!(f, ";{parameter}"))
    }
}

/// As in a component identifier: `key="session"` (RFC 8941 section 4.1.6).
impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        let Some(value) = self.value() else {
            return Ok(());
        };
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        write!(f, "=\"{escaped}\"")
    }
}

/// The longest component, in bytes.
const LONGEST_COMPONENT: usize = 256;

const QUERY_PARAM: &str = "@query-param";

/// Derived components of a request (RFC 9421 section 2.2).
const DERIVED: [&str; 8] = [
    "@method",
    "@target-uri",
    "@authority",
    "@scheme",
    "@request-target",
    "@path",
    "@query",
    QUERY_PARAM,
];

/// Names that RFC 9421 has and that no request is asked for, and why.
const REFUSED: [(&str, &str); 2] = [
    (
        "@signature-params",
        "every signature covers it, so it is never named (RFC 9421 section 2.3)",
    ),
    (
        "@status",
        "a request has no status (RFC 9421 section 2.2.9)",
    ),
];

fn check_name(name: &str) -> Result<(), ComponentError> {
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err(ComponentError::Refused { why });
    }
    let token = name.strip_prefix('@').unwrap_or(name);
    if token.is_empty() {
        return Err(ComponentError::Empty);
    }
    if let Some(found) = token.chars().find(char::is_ascii_uppercase) {
        return Err(ComponentError::UpperCase { found });
    }
    // A token of RFC 9110 section 5.6.2.
    let tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if let Some(found) = token.chars().find(|c| !tchar(*c)) {
        return Err(ComponentError::Character { found });
    }
    if name.starts_with('@') && !DERIVED.contains(&name) {
        return Err(ComponentError::Unknown {
            name: name.to_owned(),
        });
    }
    Ok(())
}

/// Parameters as RFC 8941 section 3.1.2 has them; each with the kind of value that is its own.
fn parameters(mut rest: &str) -> Result<BTreeSet<Parameter>, ComponentError> {
    let mut parameters: BTreeSet<Parameter> = BTreeSet::new();
    while let Some(after) = rest.strip_prefix(';') {
        let after = after.trim_start_matches(' ');
        let (word, after) = after.split_at(after.find([';', '=']).unwrap_or(after.len()));
        let (value, left) = match after.strip_prefix('=') {
            None => (None, after),
            Some(value) => {
                let (value, left) = string(value).ok_or(ComponentError::NotAString)?;
                (Some(value), left)
            }
        };
        let parameter = match (word, value) {
            ("sf", None) => Parameter::Sf,
            ("bs", None) => Parameter::Bs,
            ("tr", None) => Parameter::Tr,
            ("key", Some(value)) => Parameter::Key(value),
            ("name", Some(value)) => Parameter::Name(value),
            ("sf" | "bs" | "tr", Some(_)) | ("key" | "name", None) => {
                return Err(ComponentError::Value {
                    parameter: word.to_owned(),
                });
            }
            _ => {
                return Err(ComponentError::Parameter {
                    found: word.to_owned(),
                });
            }
        };
        let word = parameter.word();
        if parameters.iter().any(|other| other.word() == word) {
            return Err(ComponentError::Twice { parameter: word });
        }
        parameters.insert(parameter);
        rest = left;
    }
    if rest.is_empty() {
        Ok(parameters)
    } else {
        Err(ComponentError::NotAString)
    }
}

/// Takes a string of RFC 8941 section 3.3.3 off the front, with what follows it.
fn string(text: &str) -> Option<(String, &str)> {
    let mut characters = text.strip_prefix('"')?.chars();
    let mut value = String::new();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => match characters.next()? {
                escaped @ ('"' | '\\') => value.push(escaped),
                _ => return None,
            },
            character @ ' '..='~' => value.push(character),
            _ => return None,
        }
    }
}

/// Why a text is not a component that a request's signature can cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComponentError {
    /// There is no name.
    Empty,
    /// Longer than 256 bytes.
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Component names are in lower case (RFC 9421 section 2.1).
    UpperCase {
        /// The first such letter.
        found: char,
    },
    /// Something that no field name holds (RFC 9110 section 5.6.2).
    Character {
        /// The first such character.
        found: char,
    },
    /// A name that RFC 9421 has and that no request is asked for.
    Refused {
        /// Why not.
        why: &'static str,
    },
    /// A derived component that nobody knows.
    Unknown {
        /// Its name.
        name: String,
    },
    /// A parameter that a request's components do not have.
    Parameter {
        /// The word.
        found: String,
    },
    /// A parameter that this component does not have.
    Misplaced {
        /// The parameter.
        parameter: &'static str,
        /// The component.
        name: String,
    },
    /// A parameter has a value where none belongs, or none where one does.
    Value {
        /// The parameter.
        parameter: String,
    },
    /// What follows a parameter is no string in quotes, or something follows that.
    NotAString,
    /// A parameter stands twice.
    Twice {
        /// The parameter.
        parameter: &'static str,
    },
    /// `bs` together with a parameter that reads the field as a structured one.
    Clash {
        /// That parameter.
        parameter: &'static str,
    },
    /// `@query-param` without its name.
    NoName,
}

impl ComponentError {
    /// What to write instead.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unknown { name } => {
                let all = || format!("those of a request are {}", DERIVED.join(", "));
                return Some(nearest(name, DERIVED).map_or_else(all, did_you_mean));
            }
            Self::Refused { .. } => "leave it out",
            Self::UpperCase { .. } => "write names of fields in lower case, such as content-type",
            Self::Character { found: '"' } => "write the name without quotes around it",
            Self::Parameter { .. } => "a field can have sf, key, bs and tr; @query-param has name",
            Self::Value { .. } | Self::NotAString => {
                "sf, bs and tr stand alone; key and name have a text: 'cookie;key=\"session\"'"
            }
            Self::Twice { .. } | Self::Misplaced { .. } | Self::Clash { .. } => {
                "leave the parameter out"
            }
            Self::NoName => "write which one, as in '@query-param;name=\"patient\"'",
            Self::Empty | Self::TooLong { .. } | Self::Character { .. } => {
                "write a name such as @method or content-type"
            }
        };
        Some(hint.to_owned())
    }
}

impl fmt::Display for ComponentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a component without a name"),
            Self::TooLong { length } => write!(
                f,
                "a component of {length} bytes; the longest is {LONGEST_COMPONENT}"
            ),
            Self::UpperCase { found } => write!(f, "a component with the capital {found} in it"),
            Self::Character { found } => {
                write!(f, "a component with {} in it", quoted(&found.to_string()))
            }
            Self::Refused { why } => f.write_str(why),
            Self::Unknown { name } => write!(f, "unknown derived component {}", quoted(name)),
            Self::Parameter { found } => {
                write!(
                    f,
                    "no component of a request has a parameter {}",
                    quoted(found)
                )
            }
            Self::Misplaced { parameter, name } => {
                write!(f, "{} has no parameter {parameter}", quoted(name))
            }
            Self::Value { parameter } => {
                write!(
                    f,
                    "the parameter {parameter} has not the value that it takes"
                )
            }
            Self::NotAString => write!(f, "what follows a parameter is no text in quotes"),
            Self::Twice { parameter } => write!(f, "the parameter {parameter} stands twice"),
            Self::Clash { parameter } => {
                write!(
                    f,
                    "bs and {parameter} exclude each other (RFC 9421 section 2.1.3)"
                )
            }
            Self::NoName => write!(f, "a parameter of the query without its name"),
        }
    }
}

impl std::error::Error for ComponentError {}

impl Word for Component {
    const NOUN: &'static str = "a component of a request";
    const EXAMPLE: &'static str = "@method";
    const PATTERN: Option<&'static str> = Some("^@?[!#$%&'*+.^_`|~0-9a-z-]+(;.+)?$");

    fn parse_word(text: &str) -> Result<Self, Advice> {
        Self::parse(text).map_err(|error| Advice::new(&error, error.hint().as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_component_is_a_field_or_derived_with_parameters_of_its_own() {
        for text in [
            "@query-param;name=\"patient\"",
            "content-type",
            "cookie;key=\"session\"",
            "priority;sf;tr",
            "x-id;bs;tr",
            "x;key=\"a\\\"b\\\\c\"",
        ] {
            assert_eq!(Component::parse(text).unwrap().to_string(), text);
        }
        for name in DERIVED.into_iter().filter(|name| *name != QUERY_PARAM) {
            assert_eq!(Component::parse(name), Ok(Component::bare(name)));
            assert!(Component::parse(name).unwrap().is_derived());
        }
        assert!(!Component::parse("content-type").unwrap().is_derived());
    }

    #[test]
    fn the_order_of_parameters_makes_no_other_component() {
        assert_eq!(
            Component::parse("x;tr; key=\"a\""),
            Component::parse("x;key=\"a\";tr")
        );
        assert_ne!(
            Component::parse("x;key=\"a\""),
            Component::parse("x;key=\"b\"")
        );
    }

    #[test]
    fn what_no_request_has_is_refused() {
        let refused = |text: &str| Component::parse(text).unwrap_err();
        assert_eq!(refused(""), ComponentError::Empty);
        assert_eq!(refused("@"), ComponentError::Empty);
        assert_eq!(refused(";sf"), ComponentError::Empty);
        assert_eq!(
            refused("Content-Type"),
            ComponentError::UpperCase { found: 'C' }
        );
        assert_eq!(
            refused("\"@method\""),
            ComponentError::Character { found: '"' }
        );
        assert_eq!(refused("a b"), ComponentError::Character { found: ' ' });
        for name in ["@status", "@signature-params", "@status;req"] {
            assert!(
                matches!(refused(name), ComponentError::Refused { .. }),
                "{name}"
            );
        }
        let unknown = ComponentError::Unknown {
            name: "@host".to_owned(),
        };
        assert_eq!(refused("@host"), unknown);
        let length = 257;
        assert_eq!(
            refused(&"x".repeat(length)),
            ComponentError::TooLong { length }
        );
    }

    #[test]
    fn a_parameter_that_does_not_belong_to_its_component_is_refused() {
        let refused = |text: &str| Component::parse(text).unwrap_err();
        let value = |word: &str| ComponentError::Value {
            parameter: word.to_owned(),
        };
        assert_eq!(refused("@query-param"), ComponentError::NoName);
        assert_eq!(refused("cookie;key"), value("key"));
        assert_eq!(refused("cookie;sf=\"a\""), value("sf"));
        assert_eq!(refused("cookie;key=session"), ComponentError::NotAString);
        assert_eq!(refused("cookie;key=\"a\"b"), ComponentError::NotAString);
        assert_eq!(refused("cookie;key=\"a"), ComponentError::NotAString);
        assert_eq!(refused("cookie;key=\"\\a\""), ComponentError::NotAString);
        assert_eq!(
            refused("x;sf;sf"),
            ComponentError::Twice { parameter: "sf" }
        );
        assert_eq!(
            refused("x;bs;sf"),
            ComponentError::Clash { parameter: "sf" }
        );
        for (text, parameter) in [("@method;sf", "sf"), ("x;name=\"a\"", "name")] {
            let ComponentError::Misplaced {
                parameter: found, ..
            } = refused(text)
            else {
                panic!("{text}")
            };
            assert_eq!(found, parameter);
        }
        for word in ["req", "", "SF"] {
            let found = word.to_owned();
            assert_eq!(
                refused(&format!("x;{word}")),
                ComponentError::Parameter { found }
            );
        }
    }

    proptest! {
        #[test]
        fn a_component_that_parses_prints_as_one_that_parses_to_it(
            text in "@?[a-z@]{0,9}(;(sf|bs|tr|key=\"[a-z\\\\\" ]{0,4}\"|name=\"x\")){0,3}",
        ) {
            if let Ok(component) = Component::parse(&text) {
                prop_assert_eq!(Component::parse(&component.to_string()), Ok(component));
            }
        }
    }
}
