//! What a request asks for, and whom its target names.
//!
//! Standard: HL7 FHIR R4, RESTful API ("3.1.0.16 summary"), Operations, compartment searches
//! ("3.1.1.2 search context"); the codes of `restful-interaction`. Bulk Data Access, `$export`.
//!
//! It fails closed: a target of no form of R4 is unknown, and a target that leaves it to the contents
//! whom it concerns says so, until [`Target::settled`] knows the contents.

use std::borrow::Cow;

use crate::found::{Completeness, Found, Limits, Name, Reason, System};
use crate::query::{self, Named};
use crate::reference::is_id;
use crate::text;
use crate::types::Type;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    interaction: Option<Interaction>,
    resource: Option<Type>,
    found: Found,
}

/// The interactions of R4 (code system `restful-interaction`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    /// The present state of a resource.
    Read,
    /// A past state of a resource.
    Vread,
    /// A resource is replaced, or created under an id of the client's.
    Update,
    /// A part of a resource is replaced.
    Patch,
    /// A resource is removed.
    Delete,
    /// The past states of one resource.
    HistoryInstance,
    /// The past states of the resources of a type.
    HistoryType,
    /// The past states of all resources.
    HistorySystem,
    /// A resource is created.
    Create,
    /// A search for resources of a type, in a compartment too.
    SearchType,
    /// A search for resources of all types, in a compartment too.
    SearchSystem,
    /// What the server can do.
    Capabilities,
    /// An operation: a segment with a dollar sign.
    Operation,
    /// Several requests in a Bundle, each for itself or all together.
    Batch,
}

impl Interaction {
    /// The code.
    pub fn name(self) -> &'static str {
        match self {
            Interaction::Read => "read",
            Interaction::Vread => "vread",
            Interaction::Update => "update",
            Interaction::Patch => "patch",
            Interaction::Delete => "delete",
            Interaction::HistoryInstance => "history-instance",
            Interaction::HistoryType => "history-type",
            Interaction::HistorySystem => "history-system",
            Interaction::Create => "create",
            Interaction::SearchType => "search-type",
            Interaction::SearchSystem => "search-system",
            Interaction::Capabilities => "capabilities",
            Interaction::Operation => "operation",
            Interaction::Batch => "batch",
        }
    }

    /// Whose word counts when the target names nobody.
    fn told_by(self) -> ToldBy {
        match self {
            Interaction::Read
            | Interaction::Vread
            | Interaction::HistoryInstance
            | Interaction::HistoryType
            | Interaction::HistorySystem
            | Interaction::SearchType
            | Interaction::SearchSystem
            | Interaction::Capabilities => ToldBy::Answer,
            Interaction::Create | Interaction::Update | Interaction::Batch => ToldBy::Body,
            Interaction::Patch | Interaction::Delete | Interaction::Operation => ToldBy::Name,
        }
    }
}

/// Whose word counts when the target names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ToldBy {
    /// The answer's, even when it names nobody.
    Answer,
    /// The body's of the request, even when it names nobody.
    Body,
    /// Either's, but only when it names somebody: what is removed need not be shown.
    Name,
}

impl Target {
    /// Reads the target of a request: `path` is what stands below the base of the API, and `query`
    /// what stands behind the question mark.
    pub fn read(method: &str, path: &str, query: Option<&str>, limits: Limits) -> Target {
        let mut found = Found::new(limits);
        let query = query.unwrap_or_default();
        let Some(place) = Place::read(path) else {
            // The query may still name somebody.
            query::read(None, query.as_bytes(), &mut found);
            found.unknown(Reason::Target);
            return Target {
                interaction: None,
                resource: None,
                found,
            };
        };
        let interaction = place.interaction(method);
        if interaction.is_none() {
            found.unknown(Reason::Target);
        }
        let named = place.names(query, &mut found);
        let is_impersonal = interaction == Some(Interaction::Capabilities)
            || place.resource.is_some_and(Type::is_impersonal);
        if place.is_bulk() {
            found.unknown(Reason::Bulk);
        } else if named == Named::Nobody && !is_impersonal {
            found.unknown(Reason::NotNamed);
        }
        Target {
            interaction,
            resource: place.resource,
            found,
        }
    }

    /// What is to be done; `None` for a method or path of no form of R4.
    pub fn interaction(&self) -> Option<Interaction> {
        self.interaction
    }

    /// The resource type that is asked for: in a compartment, the type that is sought in it.
    pub fn resource(&self) -> Option<&'static str> {
        self.resource.map(Type::name)
    }

    /// Whom the target names.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Whether this asks for a search whose criteria are in the body, as a form.
    pub fn takes_form(&self, method: &str) -> bool {
        method == "POST"
            && matches!(
                self.interaction,
                Some(Interaction::SearchType | Interaction::SearchSystem)
            )
    }

    /// Whom the form of a `_search` names: all of it, of the type
    /// `application/x-www-form-urlencoded`.
    pub fn form(&self, form: &[u8], limits: Limits) -> Found {
        let mut found = Found::new(limits);
        query::read(self.resource, form, &mut found);
        found
    }

    /// Whether all are known whom the request concerns, once its body and its answer are: `None` for
    /// what has no content or was not read. The form of a search is no body in this sense.
    pub fn settled(&self, body: Option<&Found>, answer: Option<&Found>) -> Completeness {
        for contents in [body, answer].into_iter().flatten() {
            if let Completeness::Unknown(_) = contents.completeness() {
                return contents.completeness();
            }
        }
        let names =
            |contents: Option<&Found>| contents.is_some_and(|found| !found.subjects().is_empty());
        let settles = match self.interaction.map(Interaction::told_by) {
            None => false,
            Some(ToldBy::Answer) => answer.is_some(),
            Some(ToldBy::Body) => body.is_some(),
            Some(ToldBy::Name) => names(body) || names(answer),
        };
        match self.found.completeness() {
            Completeness::Unknown(Reason::NotNamed) if settles => Completeness::All,
            completeness => completeness,
        }
    }
}

/// Finds who is named by the URL of an entry's request (R4, Bundle.entry.request.url), which is
/// relative to the base or not.
pub(crate) fn read_url(url: &str, found: &mut Found) -> Named {
    let path = url.split('#').next().unwrap_or_default();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path = match path.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => path,
    };
    let Some(place) = Place::read(path) else {
        found.unknown(Reason::Target);
        return query::read(None, query.as_bytes(), found);
    };
    let named = place.names(query, found);
    if place.is_bulk() {
        found.unknown(Reason::Bulk);
    }
    if place.resource.is_some_and(Type::is_impersonal) {
        // Nobody is to be named.
        return Named::Somebody;
    }
    named
}

/// Where a path leads.
#[derive(Debug)]
struct Place<'a> {
    /// Of a patient whose id or compartment this is.
    patient: Option<Cow<'a, str>>,
    /// The type that is asked for.
    resource: Option<Type>,
    kind: Kind<'a>,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind<'a> {
    System,
    Metadata,
    Type,
    Instance,
    /// `_search`, or the resources in a compartment.
    Search,
    HistorySystem,
    HistoryType,
    HistoryInstance,
    Version,
    Operation(Cow<'a, str>),
}

impl<'a> Place<'a> {
    /// Reads a path; what stands in front of the first word of R4 is passed over, since a base may
    /// be longer than the operator said.
    fn read(path: &'a str) -> Option<Place<'a>> {
        let mut segments = Vec::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let segment = text::decode(segment)?;
            if segment.contains('/') {
                return None;
            }
            segments.push(segment);
            if segments.len() > Self::LONGEST {
                return None;
            }
        }
        let is_word = |segment: &Cow<'_, str>| {
            Type::of(segment).is_some()
                || matches!(&**segment, "metadata" | "_history" | "_search")
                || segment.starts_with('$')
        };
        let start = match segments.iter().position(is_word) {
            Some(start) => start,
            None if segments.is_empty() => 0,
            None => return None,
        };
        Self::of(&segments[start..])
    }

    /// Segments of a path that are looked at.
    const LONGEST: usize = 32;

    fn of(segments: &[Cow<'a, str>]) -> Option<Place<'a>> {
        let place = |kind| Place {
            patient: None,
            resource: None,
            kind,
        };
        let Some((first, rest)) = segments.split_first() else {
            return Some(place(Kind::System));
        };
        match (&**first, rest) {
            ("metadata", []) => return Some(place(Kind::Metadata)),
            ("_history", []) => return Some(place(Kind::HistorySystem)),
            ("_search", []) => return Some(place(Kind::Search)),
            (name, []) if name.starts_with('$') => {
                return Some(place(Kind::Operation(first.clone())));
            }
            _ => {}
        }
        let resource = Type::of(first)?;
        let of_type = |kind| Place {
            resource: Some(resource),
            ..place(kind)
        };
        let (id, rest) = match rest {
            [] => return Some(of_type(Kind::Type)),
            [word] if word == "_history" => return Some(of_type(Kind::HistoryType)),
            [word] if word == "_search" => return Some(of_type(Kind::Search)),
            [word] if word.starts_with('$') => {
                return Some(of_type(Kind::Operation(word.clone())));
            }
            [id, rest @ ..] => (id, rest),
        };
        if !is_id(id) {
            return None;
        }
        let of_instance = |kind| Place {
            patient: resource.is_patient().then(|| id.clone()),
            ..of_type(kind)
        };
        Some(match rest {
            [] => of_instance(Kind::Instance),
            [word] if word == "_history" => of_instance(Kind::HistoryInstance),
            [word, version] if word == "_history" && is_id(version) => of_instance(Kind::Version),
            [.., word] if word.starts_with('$') && Self::may_carry_operation(rest) => {
                of_instance(Kind::Operation(word.clone()))
            }
            // In a compartment (R4 3.1.1.2): one type, or all.
            [word] | [word, _]
                if rest.get(1).is_none_or(|word| word == "_search")
                    && (word == "*" || word == "_search" || Type::of(word).is_some()) =>
            {
                Place {
                    resource: Type::of(word),
                    ..of_instance(Kind::Search)
                }
            }
            _ => return None,
        })
    }

    /// `$meta` stands behind a version too (R4, Resource operations).
    fn may_carry_operation(rest: &[Cow<'_, str>]) -> bool {
        match rest {
            [_] => true,
            [word, version, _] => word == "_history" && is_id(version),
            _ => false,
        }
    }

    fn interaction(&self, method: &str) -> Option<Interaction> {
        let reads = matches!(method, "GET" | "HEAD");
        Some(match (&self.kind, method) {
            // R3 said so, and browsers ask before they ask.
            (_, "OPTIONS") => Interaction::Capabilities,
            (Kind::Operation(_), "GET" | "HEAD" | "POST" | "PUT" | "DELETE") => {
                Interaction::Operation
            }
            (Kind::Metadata, _) if reads => Interaction::Capabilities,
            (Kind::System, "POST") => Interaction::Batch,
            (Kind::Search, "POST") => self.search(),
            (Kind::System | Kind::Search, _) if reads => self.search(),
            (Kind::Type, _) if reads => Interaction::SearchType,
            (Kind::Type, "POST") => Interaction::Create,
            (Kind::Type | Kind::Instance, "PUT") => Interaction::Update,
            (Kind::Type | Kind::Instance, "PATCH") => Interaction::Patch,
            (Kind::System | Kind::Type | Kind::Instance, "DELETE") => Interaction::Delete,
            (Kind::HistoryInstance | Kind::Version, "DELETE") => Interaction::Delete,
            (Kind::Instance, _) if reads => Interaction::Read,
            (Kind::Version, _) if reads => Interaction::Vread,
            (Kind::HistoryInstance, _) if reads => Interaction::HistoryInstance,
            (Kind::HistoryType, _) if reads => Interaction::HistoryType,
            (Kind::HistorySystem, _) if reads => Interaction::HistorySystem,
            _ => return None,
        })
    }

    fn search(&self) -> Interaction {
        match self.resource {
            Some(_) => Interaction::SearchType,
            None => Interaction::SearchSystem,
        }
    }

    fn names(&self, query: &str, found: &mut Found) -> Named {
        let named = query::read(self.resource, query.as_bytes(), found);
        let Some(id) = &self.patient else {
            return named;
        };
        found.add(Name {
            system: System::Local,
            value: id,
        });
        Named::Somebody
    }

    /// Whether this is for the data of everybody, or of a group: the answer only says where they
    /// will be.
    fn is_bulk(&self) -> bool {
        matches!(&self.kind, Kind::Operation(name) if name == "$export") && self.patient.is_none()
    }
}
