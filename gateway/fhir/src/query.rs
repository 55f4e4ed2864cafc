//! Search criteria that name patients: the query of a URL, and the form of a `_search`.
//!
//! Standard: HL7 FHIR R4, Search ("3.1.1.4.4 string escaping", "3.1.1.5.10 reference", "3.1.1.5.9
//! token", "3.1.1.5.11 chained parameters", "3.1.1.5.12 reverse chaining"); WHATWG URL 5.1.
//!
//! A parameter that has nothing to do with patients still names one when its value is written as a
//! reference to one. Fails closed: a parameter that may name a patient, in a form that is not read
//! here, makes the answer unknown.

use std::borrow::Cow;

use crate::found::{Found, Name, Reason, Subject, System};
use crate::reference::{Reference, is_id};
use crate::text;
use crate::types::{Role, Type};

/// Whether criteria name a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Somebody,
    Nobody,
}

/// Finds who is named by criteria for this type, or for any.
pub(crate) fn read(resource: Option<Type>, query: &[u8], found: &mut Found) -> Named {
    let mut named = Named::Nobody;
    for field in query.split(|byte| *byte == b'&') {
        let at = field.iter().position(|byte| *byte == b'=');
        let (name, value) = match at {
            Some(at) => (&field[..at], &field[at + 1..]),
            None => (field, &[][..]),
        };
        let (Some(name), Some(value)) = (text::decode_form(name), text::decode_form(value)) else {
            found.unknown(Reason::Query);
            continue;
        };
        let mut criterion = Criterion { found, named };
        criterion.read(resource, &name, &value);
        named = criterion.named;
    }
    named
}

/// What the values of a parameter are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    /// Ids of patients.
    Ids,
    /// Identifiers of patients.
    Identifiers,
    /// References to whom the resource is about, a patient unless another type is said.
    Subjects,
    /// References to somebody who may be a patient.
    Parties,
    /// Identifiers of somebody who may be a patient.
    PartyIdentifiers,
    /// References to members, or to one: a group.
    Groups,
    /// Anything; what is written as a reference to a patient names one.
    Any,
    /// In a form that is not read.
    Unread,
    /// Nothing that names anybody.
    Nothing,
}

struct Criterion<'a> {
    found: &'a mut Found,
    named: Named,
}

impl Criterion<'_> {
    fn read(&mut self, mut resource: Option<Type>, mut name: &str, value: &str) {
        // `_has:Observation:patient:code`: a criterion for what refers to the type that is sought.
        while let Some(reverse) = name.strip_prefix("_has:") {
            let mut parts = reverse.splitn(3, ':');
            let (from, _, rest) = (parts.next(), parts.next(), parts.next());
            let Some(rest) = rest else {
                return self.found.unknown(Reason::Query);
            };
            resource = from.and_then(Type::of);
            name = rest;
        }
        let values = values(resource, name);
        match values {
            Values::Unread => self.found.unknown(Reason::Query),
            Values::Nothing => {}
            _ => {
                for value in split(value, b',') {
                    self.value(values, value);
                }
            }
        }
    }

    fn value(&mut self, values: Values, value: &str) {
        match values {
            Values::Ids => {
                let id = unescape(value);
                if is_id(&id) {
                    self.add(System::Local, &id);
                } else {
                    self.reference(values, &id);
                }
            }
            Values::Identifiers => self.identifier(value),
            Values::PartyIdentifiers => self.found.unknown(Reason::UntypedReference),
            Values::Groups => self.found.unknown(Reason::Group),
            Values::Subjects | Values::Parties | Values::Any => {
                self.reference(values, &unescape(value));
            }
            Values::Unread | Values::Nothing => {}
        }
    }

    /// `system|value`, `value`, `|value` or `system|` (R4 3.1.1.5.9).
    fn identifier(&mut self, value: &str) {
        let mut parts = split(value, b'|');
        let (first, second) = (parts.next().unwrap_or_default(), parts.next());
        if parts.next().is_some() {
            return self.found.unknown(Reason::Query);
        }
        let (system, value) = match second {
            Some(value) => (unescape(first), unescape(value)),
            None => ("".into(), unescape(first)),
        };
        self.add(System::of_identifier(&system), &value);
    }

    fn reference(&mut self, values: Values, value: &str) {
        if values == Values::Any {
            if let Reference::Patient(patient) = Reference::read(value) {
                self.add(patient.name().system, patient.name().value);
            }
            return;
        }
        match Reference::read(value) {
            Reference::Patient(patient) => {
                self.add(patient.name().system, patient.name().value);
            }
            Reference::Other(resource) if resource.is_group() && values == Values::Subjects => {
                self.found.unknown(Reason::Group);
            }
            Reference::Other(_) => {}
            Reference::Contained | Reference::Entry(_) | Reference::Urn => {
                self.found.unknown(Reason::UnresolvedReference);
            }
            Reference::Unread | Reference::Conditional(..) if value.is_empty() => {}
            Reference::Unread if is_id(value) => match values {
                Values::Parties => self.found.unknown(Reason::UntypedReference),
                _ => self.add(System::Local, value),
            },
            Reference::Unread | Reference::Conditional(..) => self.found.unknown(Reason::Query),
        }
    }

    fn add(&mut self, system: System<'_>, value: &str) {
        if value.len() > Subject::LONGEST {
            self.found.unknown(Reason::TooLong);
        } else if !value.is_empty() {
            self.named = Named::Somebody;
            self.found.add(Name { system, value });
        }
    }
}

/// What the values of a parameter are: `name[:modifier]`, or a chain of such.
fn values(mut resource: Option<Type>, name: &str) -> Values {
    let (chain, last) = match name.rsplit_once('.') {
        Some((chain, last)) => (Some(chain), last),
        None => (None, name),
    };
    for link in chain.into_iter().flat_map(|chain| chain.split('.')) {
        let (name, modifier) = parts(link);
        resource = match modifier {
            Some(modifier) => Type::of(modifier),
            None => match role(resource, name) {
                Some(Role::Subject) => Type::of("Patient"),
                Some(Role::Party) | None => None,
            },
        };
    }
    let (name, modifier) = parts(last);
    let is_patient = resource.is_some_and(Type::is_patient);
    let plain = match (name, role(resource, name)) {
        // Free expressions (R4 3.1.1.6.1, 3.1.1.6.2).
        ("_filter" | "_query", _) => return Values::Unread,
        ("_id", _) if is_patient => Values::Ids,
        ("identifier", _) if is_patient => Values::Identifiers,
        (_, Some(Role::Subject)) => Values::Subjects,
        (_, Some(Role::Party)) => Values::Parties,
        (_, None) => Values::Any,
    };
    match (plain, modifier) {
        (plain, None) => plain,
        (_, Some("missing")) => Values::Nothing,
        (Values::Any, Some(modifier)) => match Type::of(modifier) {
            Some(resource) if resource.is_patient() => Values::Subjects,
            _ => Values::Any,
        },
        (Values::Subjects, Some("identifier")) => Values::Identifiers,
        (Values::Parties, Some("identifier")) => Values::PartyIdentifiers,
        (Values::Subjects | Values::Parties, Some(modifier)) => match Type::of(modifier) {
            Some(resource) if resource.is_patient() => Values::Subjects,
            Some(resource) if resource.is_group() && plain == Values::Subjects => Values::Groups,
            Some(_) => Values::Nothing,
            None => Values::Unread,
        },
        (_, Some(_)) => Values::Unread,
    }
}

/// Who is meant by a parameter of this type, or of one that is not known.
fn role(resource: Option<Type>, name: &str) -> Option<Role> {
    match resource {
        Some(resource) => resource.parameter(name),
        None => matches!(name, "patient" | "subject").then_some(Role::Subject),
    }
}

fn parts(link: &str) -> (&str, Option<&str>) {
    match link.split_once(':') {
        Some((name, modifier)) => (name, Some(modifier)),
        None => (link, None),
    }
}

/// The parts between separators that are not escaped.
fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |c: char| {
        let is_separator = !escaped && c == char::from(separator);
        escaped = !escaped && c == '\\';
        is_separator
    })
}

/// A value without its escapes: `\,`, `\|`, `\$` and `\\`.
fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return value.into();
    }
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        plain.push(match c {
            '\\' => characters.next().unwrap_or(c),
            c => c,
        });
    }
    plain.into()
}
