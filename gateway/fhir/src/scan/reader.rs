//! What the tokens mean: which object is a resource, a reference or an identifier, and whom it names.
//!
//! Standard: HL7 FHIR R4, Resource, Reference, Identifier, Bundle, Patient.
//!
//! An object is what its keys make it, whatever their order: one with `resourceType` is a resource,
//! below `identifier` it is an Identifier, any other may be a Reference. What must wait for a key
//! that may come later (the id and identifiers of what may be a Patient) waits in a store with a
//! fixed size, which is used like a stack: what an object put there goes when it closes.

use super::key::Key;
use super::store::{Piece, Store};
use crate::found::{Found, Limits, Name, Reason, Subject, System};
use crate::query::{self, Named};
use crate::reference::{Reference, Uuid};
use crate::target;
use crate::types::{Role, Type};

/// Objects and arrays that may be open at once. R4 needs about a dozen; profiles with nested items
/// some more.
const DEEPEST: usize = 96;

/// Entries of a Bundle that are remembered by their UUID, each way.
const MOST_ENTRIES: usize = 32;

/// Reads tokens and finds names.
pub(crate) struct Reader {
    open: [Open; DEEPEST],
    depth: usize,
    /// The key whose value comes next.
    key: Key,
    /// What waits for the end of an object.
    waiting: Store,
    found: Found,
    /// Entries that subjects refer to and that did not come yet.
    wanted: Vec<Uuid>,
    /// Entries that came and that a subject may refer to.
    given: Vec<Uuid>,
}

/// A text that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    ResourceType,
    Id,
    Reference,
    Type,
    System,
    Value,
    FullUrl,
    Url,
    Method,
    Location,
    IfNoneExist,
}

/// An object or array that is open.
#[derive(Clone, Copy)]
struct Open {
    /// The key that it stands below.
    key: Key,
    is_object: bool,
    /// The place of the object that an element of this belongs to.
    owner: u8,
    resource: Resource,
    /// Where in the store its own begins.
    waiting: u16,
    seen: u16,
    marks: u16,
}

/// What `resourceType` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resource {
    /// Nothing yet.
    Unsaid,
    Known(Type),
    /// A type that R4 does not know.
    Foreign,
}

/// What is known of an object.
mod mark {
    /// Reference: it has a text, whatever it means.
    pub(super) const REFERS: u16 = 1;
    /// Reference: it, or its type, means something other than a patient.
    pub(super) const OTHER: u16 = 1 << 1;
    /// Reference: its type is Patient.
    pub(super) const PATIENT: u16 = 1 << 2;
    /// Patient: named.
    pub(super) const NAMED: u16 = 1 << 3;
    /// Resource: a subject refers to what it contains.
    pub(super) const LOCAL: u16 = 1 << 4;
    /// Resource: it contains another.
    pub(super) const CONTAINS: u16 = 1 << 5;
    /// Entry: its resource may be a subject.
    pub(super) const MAY_BE_SUBJECT: u16 = 1 << 6;
    /// Request of an entry: it removes or changes what it does not hold.
    pub(super) const TAKES: u16 = 1 << 7;
    /// Request of an entry: its URL leaves it to the contents whom it concerns.
    pub(super) const NOT_NAMED: u16 = 1 << 8;
}

impl Reader {
    /// Bytes that are kept beside the reader itself and what was found.
    pub(crate) const KEPT: usize = Store::SIZE + 2 * MOST_ENTRIES * size_of::<Uuid>();

    pub(crate) fn new(limits: Limits) -> Reader {
        let nothing = Open {
            key: Key::Root,
            is_object: false,
            owner: 0,
            resource: Resource::Unsaid,
            waiting: 0,
            seen: 0,
            marks: 0,
        };
        Reader {
            open: [nothing; DEEPEST],
            depth: 0,
            key: Key::Root,
            waiting: Store::new(),
            found: Found::new(limits),
            wanted: Vec::new(),
            given: Vec::new(),
        }
    }

    pub(crate) fn found(&self) -> &Found {
        &self.found
    }

    pub(crate) fn take(&mut self) -> Found {
        self.found.take()
    }

    pub(crate) fn unknown(&mut self, reason: Reason) {
        self.found.unknown(reason);
    }

    /// Says that the contents ended well.
    pub(crate) fn finish(&mut self) {
        if !self.wanted.is_empty() {
            self.unknown(Reason::UnresolvedReference);
        }
    }

    // What the lexer asks.

    /// Whether nothing is open.
    pub(crate) fn is_root(&self) -> bool {
        self.depth == 0
    }

    /// Whether what is open is an object.
    pub(crate) fn in_object(&self) -> bool {
        self.open[..self.depth]
            .last()
            .is_some_and(|open| open.is_object)
    }

    /// Which text comes next, if it matters.
    pub(crate) fn wants(&self) -> Option<Field> {
        // Mostly it does not.
        if self.key == Key::Other {
            return None;
        }
        let owner = &self.open[self.owner()];
        match (self.key, owner.key) {
            (Key::ResourceType, _) => Some(Field::ResourceType),
            (Key::Id, _) if owner.may_be_patient() => Some(Field::Id),
            (Key::Reference, _) => Some(Field::Reference),
            (Key::Type, _) => Some(Field::Type),
            (Key::System, Key::Identifier) if self.identifier_matters() => Some(Field::System),
            (Key::Value, Key::Identifier) if self.identifier_matters() => Some(Field::Value),
            (Key::FullUrl, Key::Entry) => Some(Field::FullUrl),
            (Key::Url, Key::Request) => Some(Field::Url),
            (Key::Method, Key::Request) => Some(Field::Method),
            (Key::Location, Key::Response) => Some(Field::Location),
            (Key::IfNoneExist, Key::Request) => Some(Field::IfNoneExist),
            _ => None,
        }
    }

    /// Whether the Identifier that is open is one of somebody who may be a patient.
    fn identifier_matters(&self) -> bool {
        let above = self.above(self.owner());
        above.is_some_and(|above| self.open[above].may_be_patient())
    }

    // What the lexer tells.

    pub(crate) fn key(&mut self, key: Key) {
        self.key = key;
    }

    /// An object or array opens.
    ///
    /// # Errors
    /// Too many are open.
    pub(crate) fn open(&mut self, is_object: bool) -> Result<(), Reason> {
        let key = if self.is_root() { Key::Root } else { self.key };
        let here = u8::try_from(self.depth).map_err(|_| Reason::TooDeep)?;
        let owner = match self.depth.checked_sub(1) {
            _ if is_object => here,
            Some(above) => self.open[above].owner,
            None => 0,
        };
        let place = self.open.get_mut(self.depth).ok_or(Reason::TooDeep)?;
        *place = Open {
            key,
            is_object,
            owner,
            resource: Resource::Unsaid,
            waiting: self.waiting.mark(),
            seen: 0,
            marks: 0,
        };
        self.depth += 1;
        self.key = key;
        Ok(())
    }

    /// What is open closes.
    pub(crate) fn close(&mut self) {
        let Some(last) = self.depth.checked_sub(1) else {
            return;
        };
        let closed = self.open[last];
        let above = self.above(last);
        if closed.is_object {
            self.close_object(&closed, above);
        } else if last == 0 {
            self.unknown(Reason::NotFhir);
        }
        self.depth = last;
        // An element of an array stands below the key of the array.
        self.key = match last.checked_sub(1) {
            Some(above) => self.open[above].key,
            None => Key::Root,
        };
    }

    /// A text that [`Reader::wants`].
    pub(crate) fn text(&mut self, field: Field, text: &str) {
        let here = self.owner();
        let seen = 1 << field as u16;
        if self.open[here].seen & seen != 0 {
            self.unknown(Reason::DuplicateKey);
        }
        self.open[here].seen |= seen;
        match field {
            Field::ResourceType => self.resource_type(here, text),
            Field::Id => self.wait(Piece::Id, text),
            Field::System => self.wait(Piece::System, text),
            Field::Value => self.wait(Piece::Value, text),
            Field::Type => self.reference_type(here, text),
            Field::Reference => self.reference(here, text),
            Field::FullUrl => {
                if let Reference::Entry(_) = Reference::read(text) {
                    self.wait(Piece::FullUrl, text);
                }
            }
            Field::Method => {
                if matches!(text, "DELETE" | "PATCH") {
                    self.open[here].marks |= mark::TAKES;
                }
            }
            Field::Url => {
                if target::read_url(text, &mut self.found) == Named::Nobody {
                    self.open[here].marks |= mark::NOT_NAMED;
                }
            }
            Field::Location => {
                if let Reference::Patient(patient) = Reference::read(text) {
                    self.found.add(patient.name());
                }
            }
            Field::IfNoneExist => {
                // What is to be created has its identifiers itself, and stands in the same entry.
                query::read(None, text.as_bytes(), &mut self.found);
            }
        }
    }

    /// A text that [`Reader::wants`] and that could not be kept.
    pub(crate) fn lost(&mut self, field: Field) {
        let here = self.owner();
        match field {
            // No type is so long, and nobody in the same contents has such a name.
            Field::Type | Field::FullUrl => {}
            Field::Reference => {
                self.open[here].marks |= mark::REFERS;
                self.unknown(Reason::TooLong);
            }
            Field::ResourceType => {
                self.open[here].foreign();
                self.unknown(Reason::ResourceType);
            }
            Field::Id
            | Field::System
            | Field::Value
            | Field::Url
            | Field::Method
            | Field::Location
            | Field::IfNoneExist => self.unknown(Reason::TooLong),
        }
    }

    // What texts mean.

    fn resource_type(&mut self, here: usize, text: &str) {
        let Some(resource) = Type::of(text) else {
            self.open[here].foreign();
            self.unknown(Reason::ResourceType);
            return;
        };
        self.found.add_type(resource);
        let open = &mut self.open[here];
        if !open.is_patient() {
            open.resource = Resource::Known(resource);
        }
        if resource.is_patient() {
            self.name_patient(here);
        } else if !self.open[here].may_be_patient() {
            self.waiting.cut(self.open[here].waiting);
        }
    }

    fn reference_type(&mut self, here: usize, text: &str) {
        // R4, Reference.type: a URI relative to this one.
        let name = text.strip_prefix("http://hl7.org/fhir/StructureDefinition/");
        let Some(resource) = Type::of(name.unwrap_or(text)) else {
            return;
        };
        self.refers_to(here, resource);
    }

    fn refers_to(&mut self, here: usize, resource: Type) {
        self.open[here].marks |= if resource.is_patient() {
            mark::PATIENT
        } else {
            mark::OTHER
        };
        if resource.is_group() && self.role(here) == Some(Role::Subject) {
            self.unknown(Reason::Group);
        }
    }

    fn reference(&mut self, here: usize, text: &str) {
        self.open[here].marks |= mark::REFERS;
        let is_subject = self.role(here) == Some(Role::Subject);
        match Reference::read(text) {
            Reference::Patient(patient) => {
                self.found.add(patient.name());
                self.open[here].marks |= mark::PATIENT;
            }
            Reference::Other(resource) => self.refers_to(here, resource),
            Reference::Conditional(resource, criteria) => {
                self.refers_to(here, resource);
                let named = query::read(Some(resource), criteria.as_bytes(), &mut self.found);
                if resource.is_patient() && named == Named::Nobody {
                    self.unknown(Reason::Reference);
                }
            }
            // What is contained, or stands in the same Bundle, is found there. Only a subject that
            // is not there leaves a gap.
            Reference::Contained if is_subject => self.contained_subject(here),
            Reference::Entry(uuid) if is_subject => self.want(uuid),
            Reference::Urn if is_subject => self.unknown(Reason::UnresolvedReference),
            Reference::Contained | Reference::Entry(_) | Reference::Urn => {}
            Reference::Unread => self.unknown(Reason::Reference),
        }
    }

    /// A subject is contained in the same resource, which is the outermost that contains any.
    fn contained_subject(&mut self, here: usize) {
        let mut above = self.above(here);
        while let Some(at) = above {
            if self.open[at].key.holds_resource() && self.open[at].key != Key::Contained {
                self.open[at].marks |= mark::LOCAL;
                return;
            }
            above = self.above(at);
        }
        self.unknown(Reason::UnresolvedReference);
    }

    fn want(&mut self, uuid: Uuid) {
        if self.given.contains(&uuid) || self.wanted.contains(&uuid) {
            return;
        }
        if self.wanted.len() < MOST_ENTRIES {
            self.wanted.push(uuid);
        } else {
            self.unknown(Reason::UnresolvedReference);
        }
    }

    fn wait(&mut self, piece: Piece, text: &str) {
        if !self.waiting.push(piece, text) {
            self.unknown(Reason::TooLong);
        }
        let here = self.owner();
        if piece == Piece::Id && self.open[here].is_patient() {
            self.name_patient(here);
        }
    }

    /// Names a Patient resource by what waits, and keeps its first name, to which later ones are
    /// linked.
    fn name_patient(&mut self, here: usize) {
        let Open { key, waiting, .. } = self.open[here];
        let mut first = None;
        for (name, end) in names(&self.waiting, waiting) {
            // The id of what is contained is a name within the resource that contains it.
            if name.system == System::Local && key == Key::Contained {
                continue;
            }
            self.open[here].marks |= mark::NAMED;
            let at = add(&mut self.found, name);
            match &first {
                None => first = Some((at, end)),
                Some((first, _)) => {
                    if let (Some(first), Some(at)) = (*first, at) {
                        self.found.link(first, at);
                    }
                }
            }
        }
        self.waiting.cut(first.map_or(waiting, |(_, end)| end));
    }

    // What ends mean.

    fn close_object(&mut self, closed: &Open, above: Option<usize>) {
        match (closed.resource, closed.key, above) {
            (Resource::Known(_) | Resource::Foreign, _, _) => self.close_resource(closed, above),
            (Resource::Unsaid, Key::Identifier, Some(above))
                if self.open[above].key != Key::Identifier =>
            {
                // It stays with the object above.
                self.close_identifier(closed, above);
                return;
            }
            (Resource::Unsaid, Key::Entry, _) => self.close_entry(closed),
            (Resource::Unsaid, Key::Request, _) => {
                let both = mark::TAKES | mark::NOT_NAMED;
                if closed.marks & both == both {
                    self.unknown(Reason::NotNamed);
                }
            }
            (Resource::Unsaid, _, Some(_)) => self.close_reference(closed, above),
            (Resource::Unsaid, _, None) => self.unknown(Reason::NotFhir),
        }
        self.waiting.cut(closed.waiting);
    }

    fn close_resource(&mut self, closed: &Open, above: Option<usize>) {
        if closed.is_patient() && closed.marks & mark::NAMED == 0 {
            self.unknown(Reason::UnnamedPatient);
        }
        if closed.marks & (mark::LOCAL | mark::CONTAINS) == mark::LOCAL {
            self.unknown(Reason::UnresolvedReference);
        }
        let Some(above) = above else {
            return;
        };
        match (closed.key, closed.resource) {
            (Key::Contained, _) => self.open[above].marks |= mark::CONTAINS,
            (Key::Resource, Resource::Known(resource)) if may_be_subject(resource) => {
                self.open[above].marks |= mark::MAY_BE_SUBJECT;
            }
            _ => {}
        }
    }

    fn close_identifier(&mut self, closed: &Open, above: usize) {
        if self.waiting.mark() == closed.waiting {
            return;
        }
        if !self.waiting.push(Piece::End, "") {
            self.unknown(Reason::TooLong);
            self.waiting.cut(closed.waiting);
        }
        if self.open[above].is_patient() {
            self.name_patient(above);
        }
    }

    fn close_entry(&mut self, closed: &Open) {
        if closed.marks & mark::MAY_BE_SUBJECT == 0 {
            return;
        }
        let uuid = self
            .waiting
            .texts(closed.waiting)
            .find_map(|(piece, text, _)| match Reference::read(text) {
                Reference::Entry(uuid) if piece == Piece::FullUrl => Some(uuid),
                _ => None,
            });
        let Some(uuid) = uuid else {
            return;
        };
        self.wanted.retain(|wanted| *wanted != uuid);
        // What is not remembered is unresolved when a subject refers to it.
        if self.given.len() < MOST_ENTRIES && !self.given.contains(&uuid) {
            self.given.push(uuid);
        }
    }

    fn close_reference(&mut self, closed: &Open, above: Option<usize>) {
        let role = above.and_then(|above| closed.key.role(self.open[above].key));
        let has = |mark: u16| closed.marks & mark != 0;
        let is_named = has(mark::PATIENT) || (role == Some(Role::Subject) && !has(mark::OTHER));
        let mut identified = false;
        for (name, _) in names(&self.waiting, closed.waiting) {
            if name.system == System::Local {
                continue;
            }
            identified = true;
            if is_named {
                add(&mut self.found, name);
            }
        }
        match role {
            Some(Role::Subject) if !identified && !has(mark::REFERS) => {
                self.unknown(Reason::UnnamedSubject);
            }
            Some(Role::Party) if identified && !has(mark::REFERS | mark::PATIENT | mark::OTHER) => {
                self.unknown(Reason::UntypedReference);
            }
            _ => {}
        }
    }

    // Where things stand.

    /// The innermost object that is open.
    fn owner(&self) -> usize {
        let last = self.open[..self.depth].last();
        last.map_or(0, |open| usize::from(open.owner))
    }

    /// The innermost object that holds what is open here.
    fn above(&self, here: usize) -> Option<usize> {
        let above = self.open[..here].last()?;
        Some(usize::from(above.owner)).filter(|above| self.open[*above].is_object)
    }

    fn role(&self, here: usize) -> Option<Role> {
        let above = self.above(here)?;
        self.open[here].key.role(self.open[above].key)
    }
}

impl Open {
    fn is_patient(&self) -> bool {
        matches!(self.resource, Resource::Known(resource) if resource.is_patient())
    }

    /// Whether it is a Patient, or it may still turn out to be one.
    fn may_be_patient(&self) -> bool {
        match self.resource {
            Resource::Unsaid => true,
            Resource::Known(resource) => resource.is_patient(),
            Resource::Foreign => false,
        }
    }

    fn foreign(&mut self) {
        if self.resource == Resource::Unsaid {
            self.resource = Resource::Foreign;
        }
    }
}

/// The names that wait from here on, each with the place behind it: ids and identifiers.
fn names(store: &Store, mark: u16) -> impl Iterator<Item = (Name<'_>, u16)> {
    let (mut system, mut value) = ("", "");
    store.texts(mark).filter_map(move |(piece, text, end)| {
        let name = match piece {
            Piece::Id => Name {
                system: System::Local,
                value: text,
            },
            Piece::System => {
                system = text;
                return None;
            }
            Piece::Value => {
                value = text;
                return None;
            }
            Piece::End => Name {
                system: System::of_identifier(std::mem::take(&mut system)),
                value: std::mem::take(&mut value),
            },
            Piece::FullUrl => return None,
        };
        (!name.value.is_empty()).then_some((name, end))
    })
}

fn add(found: &mut Found, name: Name<'_>) -> Option<u32> {
    if name.value.len() > Subject::LONGEST {
        found.unknown(Reason::TooLong);
        return None;
    }
    found.add(name)
}

/// Whether a subject may refer to a resource of this type (R4: what `subject` refers to).
fn may_be_subject(resource: Type) -> bool {
    matches!(
        resource.name(),
        "Patient"
            | "Group"
            | "Device"
            | "Location"
            | "Medication"
            | "Organization"
            | "Practitioner"
            | "PractitionerRole"
            | "Substance"
    )
}
