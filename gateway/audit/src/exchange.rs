//! A request and what became of it, as one thing: what the records of one `request_id` say together.
//! Reports and exports tell of it.
//!
//! Of patients the lists of the records add up, and the last word on whether they are all is the one
//! that counts (decision 013). Not here: which records belong together, and for how long more are waited
//! for (`export::join`, `report::collect`).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::event::{
    Code, Digest, Event, Handshake, Id, Pseudonym, Request, Subjects, Time, Unknown,
};

/// A request with its answer, as far as it is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Sequence number of its first record here.
    pub first: u64,
    /// Sequence number of its last record here.
    pub last: u64,
    /// Time of its first record here.
    pub began: Time,
    /// Time of its last record here.
    pub ended: Time,
    /// Joins its records; the `x-request-id` of its answer.
    pub request_id: Id,
    /// Joins the records of its connection.
    pub connection_id: Id,
    /// The facts of its connection, where they were read.
    pub connection: Option<Rc<Connection>>,
    /// The client's address and port, of its connection or its refusal.
    pub address: Option<SocketAddr>,
    /// The name that the certificate proved, as `trust:name`.
    pub client: Option<String>,
    /// The person.
    pub user: Option<String>,
    /// Method.
    pub method: Option<String>,
    /// Route.
    pub route: Option<String>,
    /// The rule that permitted it.
    pub rule: Option<String>,
    /// FHIR resource type.
    pub resource: Option<String>,
    /// FHIR interaction (R4, code system `restful-interaction`).
    pub interaction: Option<String>,
    /// Which of its records are joined here.
    pub records: Records,
    /// Whether one of them was asked for.
    pub is_asked: bool,
    /// How far it has come.
    pub stage: Stage,
    /// Whether more of it may be on record than is here.
    pub state: State,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Media type of the answer.
    pub content_type: Option<String>,
    /// Bytes of the answer's content: those that left where that is on record, else those that were
    /// released.
    pub bytes: Option<u64>,
    /// SHA-256 of the answer's content.
    pub digest: Option<Digest>,
    /// The upstream that answered.
    pub upstream: Option<String>,
    /// How many times the request was given to an upstream connection.
    pub attempts: Option<u8>,
    /// How it ended, or why it was refused.
    pub code: Option<Code>,
    /// Evidence for the code.
    pub detail: Option<String>,
    /// Pseudonyms of patients; one patient may have several.
    pub patients: BTreeSet<Pseudonym>,
    /// Pseudonyms that are one patient. No two of these sets share one.
    pub linked: Vec<BTreeSet<Pseudonym>>,
    /// Whether the patients are all; nothing where nobody asked whom it concerns.
    pub subjects: Option<Known>,
}

/// Which records of a request there are: the sequence number of those of which there is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Records {
    /// `intent`.
    pub intent: Option<u64>,
    /// `release`.
    pub release: Option<u64>,
    /// How many `passage` there are.
    pub passages: u64,
    /// `completion`.
    pub completion: Option<u64>,
    /// `refusal`.
    pub refusal: Option<u64>,
}

impl Records {
    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        let alone = [self.intent, self.release, self.completion, self.refusal];
        self.passages + alone.into_iter().flatten().map(|_| 1).sum::<u64>()
    }
}

/// Whether the patients of a request are all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// They are.
    All,
    /// There may be others.
    Not(Unknown),
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It was about to be forwarded.
    Intended,
    /// An answer was released, a window of it at least.
    Released,
    /// It ended, with a code.
    Completed,
    /// A refusal was the answer.
    Refused,
}

/// Whether more of a request may be on record than is told here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its last record is here, or the end of its connection was.
    Settled,
    /// It names more patients than one part holds; the next part follows.
    Part,
    /// Told as it was known when the log ended, when too many were open, or when it was waited for
    /// no longer. Records that come later are told on their own.
    Open,
}

impl State {
    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Settled => "settled",
            State::Part => "part",
            State::Open => "open",
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An answer below 400 left, or was released and nothing else is on record.
    Success,
    /// The gateway refused it.
    Refused,
    /// The upstream answered with 4xx.
    Rejected,
    /// The upstream answered with 5xx.
    Failed,
    /// It ended otherwise than it should.
    BrokenOff,
    /// It was about to be forwarded, and no more is on record.
    Unknown,
}

impl Outcome {
    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Refused => "refused",
            Outcome::Rejected => "rejected",
            Outcome::Failed => "failed",
            Outcome::BrokenOff => "broken_off",
            Outcome::Unknown => "unknown",
        }
    }

    /// The indicator of DICOM PS3.15 A.5.1 and of FHIR's code system `audit-event-outcome`: 0 success,
    /// 4 minor failure, 8 serious failure.
    #[must_use]
    pub fn indicator(self) -> &'static str {
        match self {
            Outcome::Success => "0",
            Outcome::Refused | Outcome::Rejected | Outcome::BrokenOff => "4",
            Outcome::Failed | Outcome::Unknown => "8",
        }
    }
}

/// The facts of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The listener that accepted it.
    pub listener: String,
    /// The peer's address and port.
    pub address: SocketAddr,
    /// SHA-256 of the client's certificate.
    pub certificate: Option<Digest>,
    /// The server name that the client asked for.
    pub sni: Option<String>,
    /// Whether one request follows another on it (HTTP/1.1), none beside another.
    pub is_sequential: bool,
}

impl Connection {
    /// The facts that a handshake tells.
    #[must_use]
    pub fn of(handshake: &Handshake<'_>) -> Connection {
        Connection {
            listener: handshake.listener.to_owned(),
            address: handshake.address,
            certificate: handshake.certificate.as_ref().map(|it| it.fingerprint),
            sni: handshake.sni.map(str::to_owned),
            is_sequential: handshake.alpn != Some("h2"),
        }
    }
}

impl Exchange {
    /// Of one request no more patients than these are told at once. As many fit a cell of a
    /// spreadsheet (32,767 characters) in hex.
    pub const PATIENTS: usize = 960;

    /// A request whose first record this is. Its event still has to be taken in.
    #[must_use]
    pub fn new(sequence: u64, time: Time, request: &Request<'_>) -> Exchange {
        Exchange {
            first: sequence,
            last: sequence,
            began: time,
            ended: time,
            request_id: request.request_id,
            connection_id: request.connection_id,
            connection: None,
            address: None,
            client: None,
            user: None,
            method: None,
            route: None,
            rule: None,
            resource: None,
            interaction: None,
            records: Records::default(),
            is_asked: false,
            stage: Stage::Intended,
            state: State::Open,
            status: None,
            content_type: None,
            bytes: None,
            digest: None,
            upstream: None,
            attempts: None,
            code: None,
            detail: None,
            patients: BTreeSet::new(),
            linked: Vec::new(),
            subjects: None,
        }
    }

    /// Takes in one of its records, but for the patients that it names.
    pub fn take(&mut self, sequence: u64, time: Time, request: &Request<'_>, event: &Event<'_>) {
        self.last = sequence;
        self.ended = time;
        self.describe(request);
        match event {
            Event::Intent(_) => self.records.intent = Some(sequence),
            Event::Release(it) => {
                self.records.release = Some(sequence);
                self.stage = Stage::Released;
                self.status = Some(it.status);
                self.content_type = owned(it.content_type);
                self.bytes = it.bytes;
                self.digest = it.digest;
                self.upstream = Some(it.upstream.to_owned());
                self.attempts = Some(it.attempts);
            }
            Event::Passage(it) => {
                self.records.passages += 1;
                self.stage = Stage::Released;
                if it.sender.is_none() {
                    self.bytes = Some(it.offset.saturating_add(it.bytes));
                }
            }
            Event::Completion(it) => {
                self.records.completion = Some(sequence);
                self.stage = Stage::Completed;
                self.status = it.status.or(self.status);
                self.bytes = Some(it.bytes);
                self.code = Some(it.code);
            }
            Event::Refusal(it) => {
                self.records.refusal = Some(sequence);
                self.stage = Stage::Refused;
                self.address = Some(it.address);
                self.status = Some(it.status);
                self.code = Some(it.code);
                self.detail = owned(it.detail);
                self.attempts = Some(it.attempts);
            }
            // No other record is of a request.
            _ => {}
        }
    }

    /// What every record says of the request. A later one knows more of it than one before.
    fn describe(&mut self, request: &Request<'_>) {
        for (field, told) in [
            (&mut self.client, request.client),
            (&mut self.user, request.user),
            (&mut self.method, request.method),
            (&mut self.route, request.route),
            (&mut self.rule, request.rule),
            (&mut self.resource, request.resource),
            (&mut self.interaction, request.interaction),
        ] {
            if told.is_some() && field.as_deref() != told {
                *field = owned(told);
            }
        }
        if let Some(subjects) = &request.subjects {
            self.subjects = Some(match subjects.unknown() {
                None => Known::All,
                Some(reason) => Known::Not(reason),
            });
        }
    }

    /// Takes in the patients that a record names.
    pub fn take_patients(&mut self, subjects: &Subjects) {
        self.patients.extend(subjects.patients());
        for group in subjects.links() {
            self.link(group.into_iter().collect());
        }
    }

    fn link(&mut self, mut names: BTreeSet<Pseudonym>) {
        let (touched, others) = std::mem::take(&mut self.linked)
            .into_iter()
            .partition(|group| !group.is_disjoint(&names));
        self.linked = others;
        names.extend(Vec::into_iter(touched).flatten());
        self.linked.push(names);
    }

    /// Forgets the patients who are not among these, under any name.
    pub fn keep_patients(&mut self, asked: &BTreeSet<Pseudonym>) {
        self.linked.retain(|group| !group.is_disjoint(asked));
        let linked: BTreeSet<Pseudonym> = self.linked.iter().flatten().copied().collect();
        self.patients
            .retain(|name| asked.contains(name) || linked.contains(name));
    }

    /// Forgets the patients: they were told.
    pub fn forget_patients(&mut self) {
        self.patients.clear();
        self.linked.clear();
    }

    /// The patients, each with all pseudonyms that the records link: the one to name it by first.
    #[must_use]
    pub fn persons(&self) -> Vec<Vec<Pseudonym>> {
        let is_linked = |name: &Pseudonym| self.linked.iter().any(|group| group.contains(name));
        let alone = self.patients.iter().filter(|name| !is_linked(name));
        let groups = self
            .linked
            .iter()
            .map(|group| group.iter().copied().collect());
        groups.chain(alone.map(|name| vec![*name])).collect()
    }

    /// What became of it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match (self.stage, self.code, self.status) {
            (Stage::Refused, _, _) => Outcome::Refused,
            (_, Some(code), _) if code != Code::Complete => Outcome::BrokenOff,
            (Stage::Released | Stage::Completed, _, Some(500..)) => Outcome::Failed,
            (Stage::Released | Stage::Completed, _, Some(400..)) => Outcome::Rejected,
            (Stage::Released | Stage::Completed, _, _) => Outcome::Success,
            (Stage::Intended, _, _) => Outcome::Unknown,
        }
    }

    /// What became of it, in a line: the code, and why not all patients are known.
    #[must_use]
    pub fn remark(&self) -> String {
        let mut remark = match self.code {
            Some(code) => code.name().to_owned(),
            None if self.stage == Stage::Intended => "no outcome on record".to_owned(),
            None => "released".to_owned(),
        };
        if let Some(Known::Not(reason)) = self.subjects {
            remark.push_str("; patients not all known: ");
            remark.push_str(reason.name());
        }
        if self.state != State::Settled {
            remark.push_str("; ");
            remark.push_str(self.state.name());
        }
        remark
    }

    /// The client's name, in the trust set that vouched for it: `devices`, `urn:example:pump-1`.
    #[must_use]
    pub fn client_parts(&self) -> Option<(&str, &str)> {
        self.client.as_deref()?.split_once(':')
    }
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}
