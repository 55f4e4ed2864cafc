//! What a signature covers of a message, line by line, and where two messages differ: for people
//! who look for the byte that broke it.
//!
//! Standard: RFC 9421 2.5. It shows values of fields, paths and queries: for a person who has the
//! message anyway, never for a log. What it does not do: it judges nothing; a line that cannot be
//! made stands there with its reason, where a base would not come out at all.

use std::fmt;

use http::HeaderMap;

use crate::base;
use crate::component::Component;
use crate::error::Error;
use crate::message::Message;
use crate::params::Input;
use crate::signatures::{self, SIGNATURE, SIGNATURE_INPUT, Selection};

/// The signature base of a message, as far as it can be made.
#[derive(Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The label of the signature, where it came out of a message.
    pub label: Option<Box<str>>,
    /// The covered components in their order.
    pub lines: Vec<Line>,
    /// The value of `@signature-params`.
    pub parameters: String,
}

/// One covered component.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// Which.
    pub component: Component,
    /// Its value, or why it has none.
    pub value: Result<String, Error>,
}

/// One respect in which two bases differ.
#[derive(Clone, PartialEq, Eq)]
pub enum Difference {
    /// A component has two values.
    Value {
        /// Which.
        component: Component,
        /// Its value in the first.
        first: Result<String, Error>,
        /// Its value in the second.
        second: Result<String, Error>,
    },
    /// The first alone covers this component.
    OnlyFirst(Component),
    /// The second alone covers this component.
    OnlySecond(Component),
    /// Both cover the same, in another order or spelling, or with other parameters.
    Parameters {
        /// `@signature-params` of the first.
        first: String,
        /// `@signature-params` of the second.
        second: String,
    },
}

/// The labels of all signatures in header or trailer fields, in their order; none where there is
/// neither field.
pub fn labels(fields: &HeaderMap) -> Result<Vec<Box<str>>, Error> {
    let inputs = signatures::joined(fields, &SIGNATURE_INPUT)?;
    let signatures = signatures::joined(fields, &SIGNATURE)?;
    let known = |text: &[u8]| {
        let inputs = signatures::read_inputs(text)?;
        Ok(inputs.iter().map(|(label, _)| Box::from(*label)).collect())
    };
    match (inputs, signatures) {
        (Some(inputs), Some(_)) => known(&inputs),
        (None, None) => Ok(Vec::new()),
        (None, Some(_)) => Err(signatures::unpaired(&SIGNATURE_INPUT)),
        (Some(_), None) => Err(signatures::unpaired(&SIGNATURE)),
    }
}

impl Explanation {
    /// Explains the signature of a message that is meant.
    pub fn of(message: &Message<'_>, selection: Selection<'_>) -> Result<Explanation, Error> {
        let found = signatures::find(message, selection)?;
        let explanation = Explanation::of_input(message, &found.input);
        Ok(Explanation {
            label: Some(found.label),
            ..explanation
        })
    }

    /// Explains what these components and parameters are in a message.
    pub fn of_input(message: &Message<'_>, input: &Input) -> Explanation {
        let lines = input.components().iter().map(|component| {
            let mut value = String::new();
            let written = base::write_value(&mut value, message, component);
            Line {
                component: component.clone(),
                value: written.map(|()| value),
            }
        });
        Explanation {
            label: None,
            lines: lines.collect(),
            parameters: input.as_str().to_owned(),
        }
    }

    /// In what two bases differ; nothing where a signature of one is a signature of the other.
    pub fn differences(&self, other: &Explanation) -> Vec<Difference> {
        let mut differences = Vec::new();
        for line in &self.lines {
            match other.line(&line.component) {
                None => differences.push(Difference::OnlyFirst(line.component.clone())),
                Some(second) if second.value != line.value => {
                    differences.push(Difference::Value {
                        component: line.component.clone(),
                        first: line.value.clone(),
                        second: second.value.clone(),
                    });
                }
                Some(_) => {}
            }
        }
        let only = |line: &&Line| self.line(&line.component).is_none();
        let added = other.lines.iter().filter(only);
        differences.extend(added.map(|line| Difference::OnlySecond(line.component.clone())));
        if self.parameters != other.parameters {
            differences.push(Difference::Parameters {
                first: self.parameters.clone(),
                second: other.parameters.clone(),
            });
        }
        differences
    }

    fn line(&self, component: &Component) -> Option<&Line> {
        self.lines.iter().find(|line| line.component == *component)
    }
}

/// The base as it is signed; in place of a value that there is not, the reason in brackets.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{}: {}", line.component, Shown(&line.value))?;
        }
        write!(f, "\"@signature-params\": {}", self.parameters)
    }
}

/// One or two lines for a person.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Value {
                component,
                first,
                second,
            } => write!(
                f,
                "- {component}: {}\n+ {component}: {}",
                Shown(first),
                Shown(second)
            ),
            Difference::OnlyFirst(component) => write!(f, "- {component}"),
            Difference::OnlySecond(component) => write!(f, "+ {component}"),
            Difference::Parameters { first, second } => write!(
                f,
                "- \"@signature-params\": {first}\n+ \"@signature-params\": {second}"
            ),
        }
    }
}

struct Shown<'a>(&'a Result<String, Error>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(value) => f.write_str(value),
            Err(error) => write!(f, "[{error}]"),
        }
    }
}

/// How many lines: the values are not for logs.
impl fmt::Debug for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Explanation({} lines)", self.lines.len())
    }
}

/// The component.
impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({:?})", self.component)
    }
}

/// What kind, and of which component.
impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Value { component, .. } => write!(f, "Value({component:?})"),
            Difference::OnlyFirst(component) => write!(f, "OnlyFirst({component:?})"),
            Difference::OnlySecond(component) => write!(f, "OnlySecond({component:?})"),
            Difference::Parameters { .. } => f.write_str("Parameters"),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use crate::message::Request;

    use super::*;

    fn request<'a>(method: &'a Method, path: &'a str, headers: &'a HeaderMap) -> Message<'a> {
        Message::Request(Request {
            method,
            scheme: "https",
            authority: "a.example",
            path,
            query: None,
            target: None,
            headers,
            trailers: None,
        })
    }

    fn input(text: &str) -> Input {
        Input::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn labels_are_told_in_their_order_and_only_where_both_fields_are() {
        let mut fields = HeaderMap::new();
        assert_eq!(labels(&fields), Ok(Vec::new()));
        fields.append(SIGNATURE_INPUT, "b=(), a=()".parse().unwrap());
        let field = "signature";
        assert_eq!(labels(&fields), Err(Error::Unpaired { field }));
        fields.append(SIGNATURE, "a=:AAA=:, b=:AAA=:".parse().unwrap());
        assert_eq!(labels(&fields), Ok(vec!["b".into(), "a".into()]));
        fields.remove(SIGNATURE_INPUT);
        let field = "signature-input";
        assert_eq!(labels(&fields), Err(Error::Unpaired { field }));
    }

    #[test]
    fn a_value_that_there_is_not_stands_there_with_its_reason() {
        let headers = HeaderMap::new();
        let message = request(&Method::GET, "/a", &headers);
        let explanation =
            Explanation::of_input(&message, &input(r#"("@path" "date" "@method");created=1"#));
        assert_eq!(
            explanation.to_string(),
            "\"@path\": /a\n\"date\": [a covered component is not in the message \
             (RFC 9421 2.5, component date)]\n\"@method\": GET\n\
             \"@signature-params\": (\"@path\" \"date\" \"@method\");created=1"
        );
    }

    #[test]
    fn two_messages_differ_where_their_components_do() {
        let headers = HeaderMap::new();
        let (get, put) = (Method::GET, Method::PUT);
        let covered = input(r#"("@path" "@method" "@scheme");created=1"#);
        let first = Explanation::of_input(&request(&get, "/a", &headers), &covered);
        assert_eq!(first.differences(&first), []);
        let second = Explanation::of_input(&request(&put, "/a", &headers), &covered);
        let differences = first.differences(&second);
        assert_eq!(differences.len(), 1);
        let text = differences[0].to_string();
        assert_eq!(text, "- \"@method\": GET\n+ \"@method\": PUT");

        let other = input(r#"("@path" "@method" "@authority");created=2"#);
        let third = Explanation::of_input(&request(&get, "/a", &headers), &other);
        let texts: Vec<_> = first
            .differences(&third)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(texts[..2], ["- \"@scheme\"", "+ \"@authority\""]);
        assert!(texts[2].starts_with("- \"@signature-params\": ("));
    }
}
