//! The record of a request, owed until it is settled.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use audit::appender::Append;
use audit::error::AppendError;
use audit::event::{
    Code, Completion, Digest, Entry, Event, Id, Integrity, Intent, Passage, Refusal, Release,
    Request, Sender, Subjects, Unknown,
};
use audit::log::Slot;
use http::{HeaderMap, Method, StatusCode};
use http1::Target;

use super::subjects::Concerned;
use super::{ConnectionRecord, Recorder, now};
use crate::authorize::Rule;
use crate::checks;
use crate::message::Proof;
use crate::peer::{Client, Peer};
use crate::reading::{Part, Reading};
use crate::request::{Content, Head};
use crate::route::RouteEntry;

/// The record of a request, owed until it is settled. Dropped unsettled, it says why the connection
/// ends, or that the client went away.
#[derive(Debug)]
pub struct Record {
    recorder: Recorder,
    connection: Rc<ConnectionRecord>,
    slot: Option<Slot>,
    id: Id,
    /// `None` for what did not become a request.
    method: Option<Method>,
    /// What was asked for, until a record holds it.
    target: Option<Target>,
    route: Option<Arc<RouteEntry>>,
    rule: Option<Rule>,
    resource: Option<&'static str>,
    /// Whom the request concerns; on FHIR routes.
    concerned: Option<Box<Concerned>>,
    /// What was proved of its message, if anything.
    proof: Option<Box<Proof>>,
    attempts: u8,
    since: Instant,
    /// Bytes of the answer's content that were handed to the connection.
    sent: u64,
    /// Whether the log may say that an answer was released.
    release_queued: bool,
    stage: Stage,
}

/// How far the outcome of a request is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing, or the intent: something is owed.
    Open,
    /// The release of an answer: owed is how it ends.
    Released { status: u16 },
    /// All of it.
    Settled,
}

/// What is on record of an answer before it leaves.
#[derive(Debug, Clone, Copy)]
pub struct AnswerFacts<'a> {
    /// Its status.
    pub status: u16,
    /// Its media type.
    pub content_type: Option<&'a str>,
    /// Its length in bytes, in hand or declared.
    pub length: Option<u64>,
    /// SHA-256 of its content, in hand.
    pub digest: Option<[u8; 32]>,
    /// The upstream's name.
    pub upstream: &'a str,
}

impl Record {
    /// Opens the record of a request and reserves the place that its outcome will need. A client
    /// without a certificate gets its place once a rule has permitted the request.
    ///
    /// # Errors
    /// [`AppendError`]: what cannot be recorded is not served.
    pub fn open(
        recorder: &Recorder,
        connection: &Rc<ConnectionRecord>,
        id: Id,
        head: Option<&Head>,
    ) -> Result<Record, AppendError> {
        let mut record = Record {
            recorder: recorder.clone(),
            connection: Rc::clone(connection),
            slot: None,
            id,
            method: head.map(|head| head.method.clone()),
            target: head.map(|head| head.target.clone()),
            route: None,
            rule: None,
            resource: None,
            concerned: None,
            proof: None,
            attempts: 0,
            since: Instant::now(),
            sent: 0,
            release_queued: false,
            stage: Stage::Settled,
        };
        if let Client::Known(_) = connection.peer().client {
            record.reserve()?;
        }
        record.stage = Stage::Open;
        Ok(record)
    }

    fn reserve(&mut self) -> Result<(), AppendError> {
        if !self.connection.ensure() {
            return Err(AppendError::Unavailable);
        }
        let log = self.recorder.log.log();
        self.slot = Some(log.reserve(self.connection.share())?);
        Ok(())
    }

    /// Notes the route that was taken, and on a FHIR route what is asked for and of whom.
    pub fn routed(&mut self, route: &Arc<RouteEntry>, head: &Head) {
        if route.route.fhir {
            let path = checks::path_of(head).unwrap_or_default();
            let key = self.recorder.shared.patients.as_ref();
            let concerned = Concerned::of(head, route, key);
            self.resource = concerned.resource().or_else(|| fhir::resource_type(path));
            self.concerned = Some(Box::new(concerned));
        }
        self.route = Some(Arc::clone(route));
    }

    /// Content of the request that is read while it passes, on FHIR routes.
    pub fn read_along(&mut self, content: Content, headers: &HeaderMap) -> Content {
        match &mut self.concerned {
            Some(concerned) => concerned.read_along(content, headers),
            None => content,
        }
    }

    /// How an answer with this head is read.
    pub fn reading(&self, status: StatusCode, headers: &HeaderMap) -> Reading {
        match &self.concerned {
            None => Reading::Unasked,
            Some(concerned) if concerned.has_key() => Reading::of_answer(status, headers),
            Some(_) => Reading::Unread(Unknown::NoKey),
        }
    }

    /// Notes the rule that permitted the request. From here on even a client without a name has a
    /// place reserved.
    ///
    /// # Errors
    /// [`AppendError`]: what cannot be recorded is not served.
    pub fn permitted(&mut self, rule: &Rule) -> Result<(), AppendError> {
        self.placed()?;
        self.rule = Some(rule.clone());
        Ok(())
    }

    /// Sees to it that a place is reserved, and the connection on record, also for a client without a name.
    ///
    /// # Errors
    /// [`AppendError`]: what cannot be recorded is not served.
    pub fn placed(&mut self) -> Result<(), AppendError> {
        if self.slot.is_none() {
            self.reserve()?;
        }
        Ok(())
    }

    /// Notes what was proved of the message.
    pub fn proved(&mut self, proof: &Proof) {
        self.proof = (*proof != Proof::default()).then(|| Box::new(proof.clone()));
    }

    /// Notes that an upstream connection may have seen some of the request.
    pub fn attempted(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }

    /// The record before forwarding; the future ends when it is durable.
    ///
    /// # Errors
    /// [`AppendError`]: do not forward.
    pub fn intent(&mut self, content_length: Option<u64>) -> Result<Append, AppendError> {
        let subjects = self
            .concerned
            .as_mut()
            .map(|concerned| concerned.intended());
        let append = self.append_first(Event::Intent(Intent {
            request: self.request(subjects),
            content_length,
        }))?;
        self.target = None;
        Ok(append)
    }

    /// The record before the first byte of an answer; the future ends when it is durable. What is
    /// still owed after it is how the answer ends. `part` is what is known of its first window.
    ///
    /// # Errors
    /// [`AppendError`]: nothing of the answer may leave.
    pub fn release(
        &mut self,
        answer: &AnswerFacts<'_>,
        part: &Part,
    ) -> Result<Append, AppendError> {
        let accepted = (200..300).contains(&answer.status);
        let concerned = self.concerned.as_mut();
        let subjects = concerned.map(|concerned| concerned.released(part, accepted));
        let append = self.append_first(Event::Release(Release {
            request: self.request(subjects.clone()),
            status: answer.status,
            content_type: answer.content_type,
            bytes: answer.length,
            digest: answer.digest.map(Digest::new),
            upstream: answer.upstream,
            attempts: self.attempts,
        }))?;
        if let (Some(concerned), Some(subjects)) = (&mut self.concerned, &subjects) {
            concerned.stands(subjects);
        }
        self.target = None;
        self.stage = Stage::Released {
            status: answer.status,
        };
        self.release_queued = true;
        Ok(append)
    }

    /// Whom a further window of the answer concerns.
    pub fn passing(&mut self, part: &Part) -> Option<Subjects> {
        let concerned = self.concerned.as_mut();
        concerned.map(|concerned| concerned.passed(part))
    }

    /// The record before a further window of the answer, or of what the client sends in a tunnel, `offset`
    /// bytes into it; the future ends when it is durable.
    ///
    /// # Errors
    /// [`AppendError`]: nothing of the window may leave.
    pub fn passage(
        &self,
        (offset, sender): (u64, Option<Sender>),
        bytes: u64,
        subjects: Option<Subjects>,
    ) -> Result<Append, AppendError> {
        self.append(Event::Passage(Passage {
            request: self.request(subjects),
            offset,
            bytes,
            sender,
        }))
    }

    /// Notes that a passage is in the log.
    pub fn passage_stands(&mut self, subjects: Option<&Subjects>) {
        if let (Some(concerned), Some(subjects)) = (&mut self.concerned, subjects) {
            concerned.passage_stands(subjects);
        }
    }

    /// Notes what was known at the end of an answer, where its last window had left before.
    pub fn read_to_its_end(&mut self, part: Part) {
        if let Some(concerned) = &mut self.concerned {
            concerned.ended(part);
        }
    }

    /// Whether the log takes records at the moment.
    pub fn is_recordable(&self) -> bool {
        self.recorder.log.log().is_available()
    }

    /// The record in place of a release. The future ends when it is durable; there is none for a
    /// peer that proved nothing, who never waits.
    ///
    /// # Errors
    /// [`AppendError`]: answer that nothing can be recorded.
    pub fn refusal(
        &mut self,
        status: u16,
        code: Code,
        detail: Option<&str>,
    ) -> Result<Option<Append>, AppendError> {
        // Whom somebody names who proved nothing is not kept.
        let proved = self.slot.is_some();
        let concerned = self.concerned.as_mut().filter(|_| proved);
        let subjects = concerned.map(|concerned| concerned.refused());
        let event = |subjects| {
            Event::Refusal(Refusal {
                request: self.request(subjects),
                address: self.peer().address,
                status,
                code,
                detail,
                attempts: self.attempts,
            })
        };
        self.count(status);
        if self.recorder.shared.access.is_on() {
            self.recorder.shared.access.write(&event(None));
        }
        let event = event(subjects);
        let append = match (&self.peer().client, &self.rule) {
            (Client::Anonymous, None) => {
                let share = self.connection.share();
                self.recorder.noise(self.peer().address, code, || {
                    self.connection.ensure() && self.recorder.queue(event, share)
                });
                None
            }
            (Client::Known(_), _) | (_, Some(_)) => Some(self.append_first(event)?),
        };
        self.stage = Stage::Settled;
        Ok(append)
    }

    /// Notes that so many bytes of the answer's content were handed to the connection.
    pub fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// Settles an answer that left as its release promised: nothing more needs to be said of it,
    /// unless the request went on to name somebody.
    pub fn left_whole(mut self) {
        if self
            .concerned
            .as_ref()
            .is_some_and(|concerned| concerned.has_more())
        {
            return self.settle(Code::Complete);
        }
        if let Stage::Released { status } = self.stage {
            self.report(status, Code::Complete);
        }
        self.stage = Stage::Settled;
    }

    /// Settles the request with how its answer ended.
    pub fn ended(mut self, code: Code) {
        self.settle(code);
    }

    /// Settles a request whose refusal could not be recorded when it had to be: what can be said of
    /// it goes into the place that was reserved.
    pub fn unrecorded(mut self) {
        let code = if self.release_queued {
            Code::Withheld
        } else {
            Code::AuditUnavailable
        };
        self.stage = Stage::Open;
        self.settle(code);
    }

    /// The route's name, once there is one.
    pub fn route_name(&self) -> Option<&str> {
        self.route
            .as_ref()
            .map(|entry| entry.route.name.value.as_str())
    }

    fn peer(&self) -> &Peer {
        self.connection.peer()
    }

    /// Appends a record that may be the first of the request: with its target, if none has it yet.
    fn append_first(&self, event: Event<'_>) -> Result<Append, AppendError> {
        let Some(target) = &self.target else {
            return self.append(event);
        };
        let entry = Entry { time: now(), event };
        let (log, share) = (&self.recorder.log, self.connection.share());
        log.append_with_target(entry, target.as_bytes(), share)
    }

    fn append(&self, event: Event<'_>) -> Result<Append, AppendError> {
        let entry = Entry { time: now(), event };
        self.recorder.log.append(&entry, self.connection.share())
    }

    fn settle(&mut self, code: Code) {
        let status = match self.stage {
            Stage::Settled => return,
            Stage::Open => None,
            Stage::Released { status } => Some(status),
        };
        self.stage = Stage::Settled;
        self.report(status.unwrap_or(0), code);
        if let Some(slot) = self.slot.take() {
            let subjects = match &mut self.concerned {
                Some(concerned) => concerned.rest(),
                None => None,
            };
            let event = Event::Completion(self.completion(status, code, subjects));
            slot.fill(&Entry { time: now(), event });
        }
    }

    fn report(&self, status: u16, code: Code) {
        self.count(status);
        if self.recorder.shared.access.is_on() {
            let status = (status > 0).then_some(status);
            let event = Event::Completion(self.completion(status, code, None));
            self.recorder.shared.access.write(&event);
        }
    }

    fn count(&self, status: u16) {
        let metrics = self.recorder.metrics();
        let route = self.route.as_ref().map(|entry| &entry.route.name.value);
        metrics.request(route, status, self.since.elapsed());
    }

    fn completion(
        &self,
        status: Option<u16>,
        code: Code,
        subjects: Option<Subjects>,
    ) -> Completion<'_> {
        Completion {
            request: self.request(subjects),
            status,
            bytes: self.sent,
            code,
        }
    }

    fn request(&self, subjects: Option<Subjects>) -> Request<'_> {
        Request {
            request_id: self.id,
            connection_id: self.peer().connection,
            client: self.peer().client.qualified(),
            user: None,
            method: self.method.as_ref().map(|method| self.method_name(method)),
            route: self.route_name(),
            rule: self.rule.as_ref().map(Rule::as_str),
            resource: self.resource,
            interaction: self.concerned.as_ref().and_then(|it| it.interaction()),
            subjects,
            // Set where the entry is sealed, if it is.
            target: None,
            integrity: self.proof.as_deref().map(integrity),
        }
    }

    /// A method that a client made up could say anything: those that are named are the registered
    /// ones, and those that the operator named in a route.
    fn method_name<'a>(&self, method: &'a Method) -> &'a str {
        let is_registered = matches!(
            *method,
            Method::GET
                | Method::HEAD
                | Method::POST
                | Method::PUT
                | Method::DELETE
                | Method::PATCH
                | Method::OPTIONS
                | Method::TRACE
                | Method::CONNECT
        );
        if self.route.is_some() || is_registered {
            method.as_str()
        } else {
            "(other)"
        }
    }
}

fn integrity(proof: &Proof) -> Integrity<'_> {
    let signer = proof.signer.as_ref();
    Integrity {
        content: proof.content,
        key: signer.map(|signer| signer.key.as_deref().unwrap_or("certificate")),
        algorithm: signer.map(|signer| signer.algorithm),
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.stage != Stage::Settled {
            self.settle(self.connection.unsaid());
        }
    }
}
