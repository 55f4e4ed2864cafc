//! Whom a request on a FHIR route concerns: from its target, its content and its answer, as
//! pseudonyms, for each of its records.
//!
//! A name becomes a pseudonym here and is not kept: an id on the upstream is unique within the
//! upstream's `fhir_base`, an identifier within its own system. Fails closed: what was not read, or
//! cannot be named for want of a key, makes the list of a record unknown, with the reason.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use audit::event::{Pseudonym, Subjects, Unknown};
use audit::seal::pseudonym::TenantKey;
use config::BaseUrl;
use fhir::{Completeness, Found, Limits, Reason, Subject, SubjectSystem, Target};
use http1::TargetForm;

use crate::checks;
use crate::reading::{self, Part, Shown, Upload};
use crate::request::{Content, Head};
use crate::route::RouteEntry;

/// Whom a request concerns, as far as is known so far.
pub(super) struct Concerned {
    /// `None` without a key to name patients with.
    names: Option<Names>,
    target: Target,
    takes_form: bool,
    /// The content of the request, while it passes.
    upload: Option<Rc<RefCell<Upload>>>,
    /// So many names of the upload are on record with the release.
    said: usize,
    /// Whether an answer was released, and all before it is on record.
    released: bool,
    /// Whether the upstream took what the client said (RFC 9110 15.3).
    accepted: bool,
    /// Whether somebody was named where the target left it to the content.
    settled: bool,
    /// Why the list of the last record is not complete.
    word: Option<Unknown>,
    /// What was known at the end of the answer, where no record says it.
    tail: Option<Part>,
}

/// No name.
impl std::fmt::Debug for Concerned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Concerned")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Where no answer tells more, a record holds so many patients. It has to fit a reserved place.
const FEW: usize = 16;

impl Concerned {
    /// Whom the head of a request names.
    pub(super) fn of(
        head: &Head,
        route: &Arc<RouteEntry>,
        key: Option<&Arc<TenantKey>>,
    ) -> Concerned {
        let path = checks::path_of(head).unwrap_or_default();
        let query = match head.target.form() {
            TargetForm::Origin { query, .. } | TargetForm::Absolute { query, .. } => query,
            TargetForm::Authority(_) | TargetForm::Asterisk => None,
        };
        let limits = Limits {
            subjects: Subjects::MOST,
        };
        let below = below_base(path, route);
        let target = Target::read(head.method.as_str(), below, query, limits);
        Concerned {
            takes_form: target.takes_form(head.method.as_str()),
            names: key.map(|key| Names {
                key: Arc::clone(key),
                route: Arc::clone(route),
                base: base_of(path).into(),
            }),
            target,
            upload: None,
            said: 0,
            released: false,
            accepted: false,
            settled: false,
            word: None,
            tail: None,
        }
    }

    /// FHIR's word for what is asked.
    pub(super) fn interaction(&self) -> Option<&'static str> {
        self.target.interaction().map(fhir::Interaction::name)
    }

    /// The type that is asked for.
    pub(super) fn resource(&self) -> Option<&'static str> {
        self.target.resource()
    }

    /// Whether patients can be named.
    pub(super) fn has_key(&self) -> bool {
        self.names.is_some()
    }

    /// Reads the content of the request along while it passes.
    pub(super) fn read_along(&mut self, content: Content, headers: &http::HeaderMap) -> Content {
        if !self.has_key() {
            return content;
        }
        let (content, upload) = reading::read_along(content, headers, self.takes_form);
        self.upload = upload;
        content
    }

    /// For `intent`: whom the target names.
    pub(super) fn intended(&mut self) -> Subjects {
        let mut subjects = Subjects::new();
        self.add_target(&mut subjects, Subjects::MOST);
        match &self.upload {
            Some(_) => subjects.leave_open(Unknown::Open),
            None => self.judge(&mut subjects, None, None),
        }
        subjects
    }

    /// For `release`: whom the target, the content so far and the answer so far name.
    pub(super) fn released(&mut self, part: &Part, accepted: bool) -> Subjects {
        self.accepted = accepted;
        let mut subjects = Subjects::new();
        self.add_target(&mut subjects, Subjects::MOST);
        self.add_upload(&mut subjects, Subjects::MOST);
        self.add_part(&mut subjects, part);
        self.conclude(&mut subjects, part);
        subjects
    }

    /// Notes that what [`Concerned::released`] said is in the log.
    pub(super) fn stands(&mut self, subjects: &Subjects) {
        self.released = true;
        self.word = subjects.unknown();
        self.said = self.upload_names();
    }

    /// For `passage`: whom a further part of the answer names.
    pub(super) fn passed(&mut self, part: &Part) -> Subjects {
        let mut subjects = Subjects::new();
        self.add_part(&mut subjects, part);
        self.conclude(&mut subjects, part);
        subjects
    }

    /// Notes that what [`Concerned::passed`] said is in the log.
    pub(super) fn passage_stands(&mut self, subjects: &Subjects) {
        self.word = subjects.unknown();
    }

    /// Notes what was known at the end of an answer behind its last window.
    pub(super) fn ended(&mut self, part: Part) {
        self.tail = Some(part);
    }

    /// Whether something is known, or owed, that no record says yet.
    pub(super) fn has_more(&self) -> bool {
        self.tail.is_some()
            || self.upload_names() > self.said
            || matches!(self.word, Some(Unknown::Open | Unknown::Unread))
    }

    /// For `refusal`, and for `completion` without a release: whom the request names.
    pub(super) fn refused(&mut self) -> Subjects {
        let mut subjects = Subjects::new();
        self.said = 0;
        self.add_target(&mut subjects, FEW);
        self.add_upload(&mut subjects, FEW);
        self.judge(&mut subjects, self.finished().as_ref(), None);
        is_last_word(&mut subjects);
        subjects
    }

    /// For `completion`: what no record says yet. `None` when there is nothing.
    pub(super) fn rest(&mut self) -> Option<Subjects> {
        if !self.released {
            return Some(self.refused());
        }
        if !self.has_more() {
            return None;
        }
        let mut subjects = Subjects::new();
        self.add_upload(&mut subjects, FEW);
        match self.tail.take() {
            Some(part) => {
                self.add_part(&mut subjects, &part);
                self.conclude(&mut subjects, &part);
            }
            // The answer was cut, or only the content of the request was still on its way.
            None => {
                if let Some(word) = self.word {
                    subjects.leave_open(word);
                }
                self.judge_upload(&mut subjects);
            }
        }
        is_last_word(&mut subjects);
        Some(subjects)
    }

    /// Says whether all are named, with a part of the answer at hand.
    fn conclude(&mut self, subjects: &mut Subjects, part: &Part) {
        if let Some(reason) = part.unread {
            self.require_key(subjects);
            subjects.leave_open(reason);
            return;
        }
        let body = self.finished();
        if !part.ended {
            subjects.leave_open(Unknown::Open);
        }
        self.judge(subjects, body.as_ref(), part.found.as_ref());
    }

    /// Says whether all are named that the request concerns.
    fn judge(&mut self, subjects: &mut Subjects, body: Option<&Found>, answer: Option<&Found>) {
        self.require_key(subjects);
        self.judge_upload(subjects);
        match self.target.settled(body, answer) {
            Completeness::All => self.settled = true,
            Completeness::Unknown(Reason::NotNamed) if self.settled => {}
            // Where more is to come, that more is to come is the better word.
            Completeness::Unknown(Reason::NotNamed)
                if subjects.unknown() == Some(Unknown::Open) => {}
            Completeness::Unknown(reason) => subjects.leave_open(unknown(reason)),
        }
    }

    /// Says what of the request's content was not read.
    fn judge_upload(&self, subjects: &mut Subjects) {
        let Some(upload) = &self.upload else { return };
        let upload = upload.borrow();
        match upload.shown() {
            Shown::Unread(reason) => subjects.leave_open(reason),
            Shown::Found(_) | Shown::Criteria(_) if !upload.ended => {
                let reason = if self.released {
                    Unknown::Unread
                } else {
                    Unknown::Open
                };
                subjects.leave_open(reason);
            }
            Shown::Found(found) => {
                if let Completeness::Unknown(reason) = found.completeness() {
                    subjects.leave_open(unknown(reason));
                }
            }
            Shown::Criteria(_) => {
                if let Some(Completeness::Unknown(reason)) =
                    self.criteria().map(|found| found.completeness())
                {
                    subjects.leave_open(unknown(reason));
                }
            }
        }
    }

    fn require_key(&self, subjects: &mut Subjects) {
        if self.names.is_none() {
            subjects.leave_open(Unknown::NoKey);
        }
    }

    /// The request's content, once all of it was read. Search criteria are part of the target.
    fn finished(&self) -> Option<Found> {
        let upload = self.upload.as_ref()?.borrow();
        match upload.shown() {
            Shown::Found(found) if upload.ended => Some(found.clone()),
            Shown::Found(_) | Shown::Criteria(_) | Shown::Unread(_) => None,
        }
    }

    /// Whom search criteria name that came as content.
    fn criteria(&self) -> Option<Found> {
        let upload = self.upload.as_ref()?.borrow();
        match upload.shown() {
            Shown::Criteria(form) if upload.ended => {
                let limits = Limits {
                    subjects: Subjects::MOST,
                };
                Some(self.target.form(form, limits))
            }
            Shown::Found(_) | Shown::Criteria(_) | Shown::Unread(_) => None,
        }
    }

    fn upload_names(&self) -> usize {
        let Some(upload) = &self.upload else { return 0 };
        match upload.borrow().shown() {
            Shown::Found(found) => found.subjects().len(),
            Shown::Criteria(_) => self.criteria().map_or(0, |found| found.subjects().len()),
            Shown::Unread(_) => 0,
        }
    }

    fn add_target(&self, subjects: &mut Subjects, most: usize) {
        if let Some(names) = &self.names {
            names.add(subjects, self.target.found(), 0, false, most);
        }
    }

    /// What the client says of links counts once the upstream has taken it.
    fn add_upload(&self, subjects: &mut Subjects, most: usize) {
        let (Some(names), Some(upload)) = (&self.names, &self.upload) else {
            return;
        };
        if let Some(found) = self.criteria() {
            names.add(subjects, &found, self.said, false, most);
        } else if let Shown::Found(found) = upload.borrow().shown() {
            names.add(subjects, found, self.said, self.accepted, most);
        }
    }

    fn add_part(&self, subjects: &mut Subjects, part: &Part) {
        if let (Some(names), Some(found)) = (&self.names, &part.found) {
            names.add(subjects, found, 0, true, Subjects::MOST);
        }
    }
}

/// How the patients of an upstream are named.
struct Names {
    key: Arc<TenantKey>,
    route: Arc<RouteEntry>,
    /// What stands in the path of the request before the first word of FHIR.
    base: Box<str>,
}

impl Names {
    /// Adds who was found from this place on, and who of them are one.
    fn add(&self, subjects: &mut Subjects, found: &Found, from: usize, links: bool, most: usize) {
        let mut place = |subject| subjects.add(self.pseudonym(subject), most);
        if !links || found.links().is_empty() {
            for subject in found.subjects().iter().skip(from) {
                place(subject);
            }
            return;
        }
        let places: Vec<_> = found.subjects().iter().map(place).collect();
        let of = |at: u32| places.get(usize::try_from(at).ok()?).copied().flatten();
        for (one, other) in found.links() {
            if let (Some(one), Some(other)) = (of(*one), of(*other)) {
                subjects.link(one, other);
            }
        }
    }

    fn pseudonym(&self, subject: &Subject) -> Pseudonym {
        let of = |system: &str| self.key.pseudonym(system, subject.value());
        match subject.system() {
            SubjectSystem::Local => of(&self.route.patients),
            SubjectSystem::Identifier(system) => of(system),
            SubjectSystem::Unsaid => of(""),
            SubjectSystem::Server(base) => match BaseUrl::parse(base) {
                Ok(base) if self.is_own(base.as_str()) => of(&self.route.patients),
                Ok(base) => of(base.as_str()),
                Err(_) => of(base),
            },
        }
    }

    /// Whether this is the server that was asked: by the base that the operator gave, or by the host
    /// and path under which clients know it.
    fn is_own(&self, base: &str) -> bool {
        if *base == *self.route.patients {
            return true;
        }
        let Some((_, rest)) = base.split_once("://") else {
            return false;
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        let hosts = &self.route.route.hosts;
        *path == *self.base && hosts.iter().any(|known| known.value.as_str() == host)
    }
}

/// Nothing comes behind this record that could say more.
fn is_last_word(subjects: &mut Subjects) {
    if subjects.unknown() == Some(Unknown::Open) {
        subjects.leave_open(Unknown::Unread);
    }
}

/// The path as the crate `fhir` takes it, which passes over a base before a word of FHIR. Where none
/// follows, the base is known by the route or by the upstream's `fhir_base`.
fn below_base<'a>(path: &'a str, route: &RouteEntry) -> &'a str {
    let asked = path.trim_end_matches('/');
    let stated = route.patients.split_once("://").map(|(_, rest)| rest);
    let stated = stated.map_or("", |rest| &rest[rest.find('/').unwrap_or(rest.len())..]);
    let prefix = &route.route.path.value;
    let is_prefix = asked.split('/').skip(1).count() == prefix.segments().len()
        && prefix.matches(path)
        && fhir::resource_type(asked).is_none();
    if asked == stated || is_prefix {
        ""
    } else {
        path
    }
}

/// What stands before the first word of FHIR.
fn base_of(path: &str) -> &str {
    let mut end = 0;
    for segment in path.split('/').skip(1) {
        if segment.starts_with(['$', '_']) || fhir::resource_type(segment).is_some() {
            return &path[..end];
        }
        end += 1 + segment.len();
    }
    path.trim_end_matches('/')
}

fn unknown(reason: Reason) -> Unknown {
    match reason {
        Reason::NotNamed => Unknown::NotNamed,
        Reason::Bulk => Unknown::Bulk,
        Reason::Target => Unknown::Target,
        Reason::Query => Unknown::Query,
        Reason::Syntax => Unknown::Syntax,
        Reason::NotUtf8 => Unknown::NotUtf8,
        Reason::TooDeep => Unknown::TooDeep,
        Reason::Truncated => Unknown::Truncated,
        Reason::TooLong => Unknown::TooLong,
        Reason::DuplicateKey => Unknown::DuplicateKey,
        Reason::NotFhir => Unknown::NotFhir,
        Reason::ResourceType => Unknown::ResourceType,
        Reason::UnnamedPatient => Unknown::UnnamedPatient,
        Reason::UnnamedSubject => Unknown::UnnamedSubject,
        Reason::UntypedReference => Unknown::UntypedReference,
        Reason::Reference => Unknown::Reference,
        Reason::UnresolvedReference => Unknown::UnresolvedReference,
        Reason::Group => Unknown::Group,
        Reason::More => Unknown::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_what_stands_before_the_first_word_of_fhir() {
        for (path, base) in [
            ("/fhir/Patient/1", "/fhir"),
            ("/Patient/1", ""),
            ("/a/b/metadata", "/a/b"),
            ("/fhir/$everything", "/fhir"),
            ("/fhir/_history", "/fhir"),
            ("/fhir/", "/fhir"),
            ("/fhir", "/fhir"),
            ("/", ""),
            ("", ""),
        ] {
            assert_eq!(base_of(path), base, "{path}");
        }
    }

    #[test]
    fn every_reason_keeps_its_name() {
        for reason in [Reason::NotNamed, Reason::Bulk, Reason::Syntax, Reason::More] {
            assert_eq!(unknown(reason).name(), reason.name());
        }
    }
}
