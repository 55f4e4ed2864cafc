//! What was found: who is concerned, which resource types occur, and whether that is all.
//!
//! A value that names a patient is never printed and is wiped when it is dropped. It leaves this
//! crate in plain form, to be made a pseudonym elsewhere.

use std::fmt;

use zeroize::Zeroizing;

use crate::types::{Type, Types};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Names of patients, until they are taken. Beyond them it says `more`.
    pub subjects: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { subjects: 1024 }
    }
}

/// Whom a request or its contents concern, as far as it could be read.
#[derive(Default, Clone)]
pub struct Found {
    /// In the order in which they were found, each once.
    subjects: Vec<Subject>,
    /// Places in `subjects`, in the order of what stands there.
    sorted: Vec<u32>,
    links: Vec<(u32, u32)>,
    types: Types,
    limit: usize,
    more: bool,
    completeness: Completeness,
}

impl Found {
    /// Nobody yet.
    pub(crate) fn new(limits: Limits) -> Found {
        Found {
            limit: limits.subjects,
            ..Found::default()
        }
    }

    /// The names of patients, each once, in the order in which they were found. One patient may
    /// have several.
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// Pairs of places in [`Found::subjects`] that a Patient resource says are one patient: its id,
    /// or its first identifier, and a further identifier, in order. In the body of a request it is the client
    /// who says so.
    pub fn links(&self) -> &[(u32, u32)] {
        &self.links
    }

    /// The resource types that occur.
    pub fn types(&self) -> Types {
        self.types
    }

    /// Whether there were more names than there was room for.
    pub fn more(&self) -> bool {
        self.more
    }

    /// Whether the names are all.
    pub fn completeness(&self) -> Completeness {
        self.completeness
    }

    /// Adds a resource type.
    pub(crate) fn add_type(&mut self, resource: Type) {
        self.types.insert(resource);
    }

    /// Adds a name, and says where it stands. `None` when there is no room.
    pub(crate) fn add(&mut self, name: Name<'_>) -> Option<u32> {
        // The same patient as just before is the rule.
        if self.subjects.last().is_some_and(|last| last.name() == name) {
            return u32::try_from(self.subjects.len() - 1).ok();
        }
        let place = self
            .sorted
            .binary_search_by(|at| self.subjects[*at as usize].name().cmp(&name));
        match place {
            Ok(place) => Some(self.sorted[place]),
            Err(_) if self.subjects.len() >= self.limit => {
                self.more = true;
                self.unknown(Reason::More);
                None
            }
            Err(place) => {
                let at = u32::try_from(self.subjects.len()).ok()?;
                self.sorted.insert(place, at);
                self.subjects.push(Subject::new(name));
                Some(at)
            }
        }
    }

    /// Notes that two names are one patient's. There are never more links than twice the names
    /// that there is room for.
    pub(crate) fn link(&mut self, one: u32, other: u32) {
        let pair = (one.min(other), one.max(other));
        if one == other {
            return;
        }
        match self.links.binary_search(&pair) {
            Ok(_) => {}
            Err(place) if self.links.len() < self.limit.saturating_mul(2) => {
                self.links.insert(place, pair);
            }
            Err(_) => {
                self.more = true;
                self.unknown(Reason::More);
            }
        }
    }

    /// Notes that the names may not be all. The first reason stays, but for one that the contents
    /// may settle.
    pub(crate) fn unknown(&mut self, reason: Reason) {
        if matches!(
            self.completeness,
            Completeness::All | Completeness::Unknown(Reason::NotNamed)
        ) {
            self.completeness = Completeness::Unknown(reason);
        }
    }

    /// Takes out what was found and goes on with nobody; what is unknown stays unknown.
    pub(crate) fn take(&mut self) -> Found {
        let rest = Found {
            completeness: self.completeness,
            limit: self.limit,
            ..Found::default()
        };
        std::mem::replace(self, rest)
    }
}

/// Counts; no name.
impl fmt::Debug for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Found")
            .field("subjects", &self.subjects.len())
            .field("links", &self.links)
            .field("types", &self.types.names().collect::<Vec<_>>())
            .field("more", &self.more)
            .field("completeness", &self.completeness)
            .finish_non_exhaustive()
    }
}

/// The same names in the same order, and the same said of them.
impl PartialEq for Found {
    fn eq(&self, other: &Found) -> bool {
        self.subjects == other.subjects
            && self.links == other.links
            && self.types == other.types
            && self.more == other.more
            && self.completeness == other.completeness
    }
}

impl Eq for Found {}

/// A name of a patient: an id on a server, or an identifier of a system.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject {
    system: SubjectSystem,
    value: Zeroizing<Box<str>>,
}

impl Subject {
    /// Longest value that is kept, in bytes.
    pub(crate) const LONGEST: usize = 256;

    fn new(name: Name<'_>) -> Subject {
        Subject {
            system: match name.system {
                System::Local => SubjectSystem::Local,
                System::Server(base) => SubjectSystem::Server(base.into()),
                System::Identifier(system) => SubjectSystem::Identifier(system.into()),
                System::Unsaid => SubjectSystem::Unsaid,
            },
            value: Zeroizing::new(name.value.into()),
        }
    }

    /// Within what the value is unique.
    pub fn system(&self) -> &SubjectSystem {
        &self.system
    }

    /// The value. It identifies a patient: neither print nor log it.
    pub fn value(&self) -> &str {
        &self.value
    }

    fn name(&self) -> Name<'_> {
        Name {
            system: match &self.system {
                SubjectSystem::Local => System::Local,
                SubjectSystem::Server(base) => System::Server(base),
                SubjectSystem::Identifier(system) => System::Identifier(system),
                SubjectSystem::Unsaid => System::Unsaid,
            },
            value: &self.value,
        }
    }
}

/// The kind of its system; no value.
impl fmt::Debug for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Subject({:?})", self.system)
    }
}

/// Within what the value of a [`Subject`] is unique.
#[derive(Clone, PartialEq, Eq)]
pub enum SubjectSystem {
    /// An id on the server that was asked.
    Local,
    /// An id on the server with this base, without a slash at its end. It may be the server that
    /// was asked, under one of its own names.
    Server(Box<str>),
    /// An identifier of this system (R4, Identifier.system).
    Identifier(Box<str>),
    /// An identifier whose system is not said.
    Unsaid,
}

/// Its kind; what a sender wrote stays inside.
impl fmt::Debug for SubjectSystem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            SubjectSystem::Local => "Local",
            SubjectSystem::Server(_) => "Server(..)",
            SubjectSystem::Identifier(_) => "Identifier(..)",
            SubjectSystem::Unsaid => "Unsaid",
        })
    }
}

/// A [`Subject`] that is not kept yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name<'a> {
    pub(crate) system: System<'a>,
    pub(crate) value: &'a str,
}

/// A [`SubjectSystem`] that is not kept yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum System<'a> {
    Local,
    Server(&'a str),
    Identifier(&'a str),
    Unsaid,
}

impl<'a> System<'a> {
    /// The system of an identifier; an empty one is not said.
    pub(crate) fn of_identifier(system: &'a str) -> System<'a> {
        if system.is_empty() {
            System::Unsaid
        } else {
            System::Identifier(system)
        }
    }
}

/// Whether the names that were found are all that there are.
///
/// Fails closed: what cannot be read in a form of FHIR R4 makes it `Unknown`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Completeness {
    /// Every patient that is named in a form of FHIR R4 was found. Nobody was, if there is no name.
    #[default]
    All,
    /// There may be others.
    Unknown(Reason),
}

/// Why there may be patients that were not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Of a request: its target leaves it to the contents (R4, RESTful API).
    NotNamed,
    /// Of a request: it is for everybody's data, and the answer to it names nobody (Bulk Data
    /// Access, `$export`).
    Bulk,
    /// Of a request: method or path are of no form of R4.
    Target,
    /// Of a request: a query or form that cannot be decoded, or whose criteria cannot be read.
    Query,
    /// Not JSON (RFC 8259).
    Syntax,
    /// Not UTF-8 (RFC 8259 8.1).
    NotUtf8,
    /// Deeper than is followed.
    TooDeep,
    /// The end came early.
    Truncated,
    /// A text that matters is longer than is kept, or cannot be read.
    TooLong,
    /// A key that matters stands twice in an object, which readers take differently (RFC 8259 4).
    DuplicateKey,
    /// A document that is no resource (R4, JSON representation: `resourceType`).
    NotFhir,
    /// A resource type that R4 does not know.
    ResourceType,
    /// A Patient resource with neither id nor identifier.
    UnnamedPatient,
    /// A subject with neither reference nor identifier (R4, Reference).
    UnnamedSubject,
    /// An identifier of somebody who may be a patient, without a type (R4, Reference.type).
    UntypedReference,
    /// A reference that is of no form of R4 (R4, Reference.reference).
    Reference,
    /// A subject that refers into the same contents, where it is not (R4, Bundle.entry.fullUrl and
    /// contained resources).
    UnresolvedReference,
    /// A group, which stands for its members (R4, Group).
    Group,
    /// More patients than there is room for.
    More,
}

impl Reason {
    /// A word for it, which never changes.
    pub fn name(self) -> &'static str {
        match self {
            Reason::NotNamed => "not_named",
            Reason::Bulk => "bulk",
            Reason::Target => "target",
            Reason::Query => "query",
            Reason::Syntax => "syntax",
            Reason::NotUtf8 => "not_utf8",
            Reason::TooDeep => "too_deep",
            Reason::Truncated => "truncated",
            Reason::TooLong => "too_long",
            Reason::DuplicateKey => "duplicate_key",
            Reason::NotFhir => "not_fhir",
            Reason::ResourceType => "resource_type",
            Reason::UnnamedPatient => "unnamed_patient",
            Reason::UnnamedSubject => "unnamed_subject",
            Reason::UntypedReference => "untyped_reference",
            Reason::Reference => "reference",
            Reason::UnresolvedReference => "unresolved_reference",
            Reason::Group => "group",
            Reason::More => "more",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canary-4711";

    fn id(value: &str) -> Name<'_> {
        Name {
            system: System::Local,
            value,
        }
    }

    #[test]
    fn a_name_is_kept_once_and_the_first_place_stays() {
        let mut found = Found::new(Limits { subjects: 8 });
        let places: Vec<_> = ["b", "a", "b", "c", "a"]
            .map(|value| found.add(id(value)).unwrap())
            .into();
        assert_eq!(places, [0, 1, 0, 2, 1]);
        assert_eq!(found.subjects().len(), 3);
    }

    #[test]
    fn an_id_and_an_identifier_of_one_value_are_two_names() {
        let mut found = Found::new(Limits { subjects: 8 });
        for system in [
            System::Local,
            System::Unsaid,
            System::Server("x"),
            System::Identifier("x"),
        ] {
            found.add(Name { system, value: "1" });
        }
        assert_eq!(found.subjects().len(), 4);
    }

    #[test]
    fn beyond_the_limit_it_says_more_and_known_names_are_still_found() {
        let mut found = Found::new(Limits { subjects: 2 });
        assert!(found.add(id("1")).is_some() && found.add(id("2")).is_some());
        assert!(!found.more());
        assert_eq!(found.add(id("3")), None);
        assert_eq!(found.add(id("1")), Some(0));
        assert!(found.more());
        assert_eq!(found.completeness(), Completeness::Unknown(Reason::More));
    }

    #[test]
    fn no_name_is_printed() {
        let mut found = Found::new(Limits { subjects: 2 });
        found.add(Name {
            system: System::Identifier(CANARY),
            value: CANARY,
        });
        let printed = format!("{found:?} {:?}", found.subjects());
        assert!(!printed.contains(CANARY), "{printed}");
    }

    #[test]
    fn only_what_contents_may_settle_gives_way_to_another_reason() {
        let mut found = Found::new(Limits { subjects: 1 });
        found.unknown(Reason::NotNamed);
        found.unknown(Reason::Group);
        found.unknown(Reason::Query);
        assert_eq!(found.completeness(), Completeness::Unknown(Reason::Group));
    }
}
