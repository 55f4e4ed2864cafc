//! Whether a captured message is what was signed: each signature with what it covers, each digest, and
//! where another capture of the same message differs.
//!
//! Standard: RFC 9421 3.2, RFC 9530. Fails closed: a message without a signature is not good, nor is one
//! of whose signatures, digests and lengths a single one is not right. A signature is judged as what it
//! says of itself; what a gateway asks of it beyond (components, age, nonce) is its configuration's, and is
//! noted where it is usual. What this file does not do: it prints nothing, and remembers no nonce.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use http::header::CONTENT_RANGE;
use http::{HeaderName, Method, StatusCode};
use integrity::digest::{CONTENT_DIGEST, REPR_DIGEST};
use integrity::explain::{self, Difference, Explanation, Line};
use integrity::{
    Algorithm, Algorithms, Component, DigestAlgorithm, DigestError, Digests, Error, Hasher, Input,
    JwkSet, Params, Policy, Selection, VerifyingKey,
};

use super::text::{Odd, Read};
use super::{Message, Request};

/// How far the clock of a signer may be ahead.
const SKEW: Duration = Duration::from_secs(30);

/// With what signatures are verified.
pub enum Keys {
    /// One key for all of them, with the name that its certificate gives it.
    One {
        /// The key.
        key: VerifyingKey,
        /// `keyid` as a gateway expects it of a certificate.
        keyid: Option<String>,
    },
    /// By `keyid`.
    Set(JwkSet),
}

/// What is looked at.
pub struct Question<'a> {
    /// The message.
    pub read: &'a Read,
    /// The request that it answers, if it is a response and that is at hand.
    pub request: Option<&'a Request>,
    /// Another capture of the same message.
    pub against: Option<&'a Message>,
    /// With what signatures are verified.
    pub keys: &'a Keys,
    /// The one signature that is meant; all where nobody says so.
    pub label: Option<&'a str>,
    /// Seconds since 1970.
    pub now: u64,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The signatures in their order, those of the trailers last.
    pub signatures: Vec<Judged>,
    /// `Content-Digest`.
    pub content_digest: DigestVerdict,
    /// `Repr-Digest`.
    pub repr_digest: DigestVerdict,
    /// In what the content of the other capture differs.
    pub content_differs: Option<ContentDifference>,
    /// What keeps the message from being good, beside signatures and digests.
    pub findings: Vec<Finding>,
    /// What is good to know.
    pub notes: Vec<Note>,
}

/// One signature.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Its label.
    pub label: Box<str>,
    /// Whether it stands in the trailer fields.
    pub in_trailers: bool,
    /// Why it is not good, if it is not.
    pub outcome: Result<(), Error>,
    /// The algorithm of the key that belongs to it; nothing where no key does.
    pub algorithm: Option<Algorithm>,
    /// What it says of itself; nothing where that cannot be read.
    pub params: Option<Params>,
    /// What it covers, with the values in the message.
    pub lines: Vec<Line>,
    /// In what the other capture, which is the first, differs.
    pub differences: Vec<Difference>,
}

/// What became of a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DigestVerdict {
    /// There is none.
    Absent,
    /// All that stand there are right.
    Good(Vec<DigestAlgorithm>),
    /// Not right, or none.
    Bad(DigestError),
    /// What it is about is not in the message.
    NotCompared(NotCompared),
}

/// Why a digest cannot be compared with the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCompared {
    /// The answer to HEAD is without the content that it tells of.
    Head,
    /// The content is a part of the representation.
    Part,
    /// The status says that there is no representation.
    Status,
}

/// Where two contents differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentDifference {
    /// Length of the other, bytes.
    pub against: usize,
    /// Length of that of the message, bytes.
    pub message: usize,
    /// The first byte in which they differ, counted from 0.
    pub at: usize,
}

/// What keeps a message from being good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// There is no signature.
    Unsigned,
    /// None has the label that is asked for.
    NoSuchLabel,
    /// The fields of signatures cannot be read.
    Fields(Error),
    /// The content is not what the head says.
    Odd(Odd),
    /// The other capture is of another kind.
    OtherKind,
}

/// What is good to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The content was taken as it stands.
    Odd(Odd),
    /// No signature that is good covers a digest of the content.
    ContentNotCovered,
    /// `keyid` is not what the certificate makes of it.
    OtherKeyId {
        /// Of which signature.
        label: Box<str>,
        /// What it would be.
        expected: String,
    },
    /// Components of a request that are usual, and that the signature does not cover.
    NotCovered {
        /// Of which signature.
        label: Box<str>,
        /// Which.
        components: Vec<&'static str>,
    },
    /// A parameter that is usual is missing.
    Without {
        /// Of which signature.
        label: Box<str>,
        /// Which.
        parameter: &'static str,
    },
}

/// Judges a message.
pub fn report(question: &Question<'_>) -> Report {
    let message = &question.read.message;
    let mut report = Report {
        signatures: Vec::new(),
        content_digest: digest(question, &CONTENT_DIGEST),
        repr_digest: digest(question, &REPR_DIGEST),
        content_differs: None,
        findings: Vec::new(),
        notes: Vec::new(),
    };
    match question.read.odd {
        Some(odd @ Odd::Length { .. }) => report.findings.push(Finding::Odd(odd)),
        Some(odd @ Odd::NotChunked) => report.notes.push(Note::Odd(odd)),
        None => {}
    }
    if let Some(against) = question.against {
        if against.kind() == message.kind() {
            report.content_differs = differing(against.content(), message.content());
        } else {
            report.findings.push(Finding::OtherKind);
        }
    }
    let view = message.view(question.request);
    let mut seen = false;
    let sections = [Some(view.headers()), view.trailers()];
    for (section, in_trailers) in sections.into_iter().zip([false, true]) {
        let Some(fields) = section else { continue };
        match explain::labels(fields) {
            Ok(labels) => {
                seen |= !labels.is_empty();
                let meant = |label: &str| question.label.is_none_or(|meant| meant == label);
                let labels = labels.into_iter().filter(|label| meant(label));
                report
                    .signatures
                    .extend(labels.map(|label| judge(question, label, in_trailers)));
            }
            Err(error) => {
                seen = true;
                report.findings.push(Finding::Fields(error));
            }
        }
    }
    if !seen {
        report.findings.push(Finding::Unsigned);
    } else if report.signatures.is_empty() && report.findings.is_empty() {
        report.findings.push(Finding::NoSuchLabel);
    }
    let notes = notes(question, &report.signatures);
    report.notes.extend(notes);
    report
}

fn judge(question: &Question<'_>, label: Box<str>, in_trailers: bool) -> Judged {
    let message = question.read.message.view(question.request);
    let mut selection = Selection::label(&label);
    if in_trailers {
        selection = selection.in_trailers();
    }
    let policy = Policy {
        required: Vec::new(),
        max_age: None,
        skew: SKEW,
        require_expires: false,
        require_nonce: false,
        require_keyid: false,
        tags: None,
        algorithms: Algorithms::PUBLIC_KEY,
    };
    let key = |keyid: Option<&str>| match question.keys {
        Keys::One { key, .. } => Some(key),
        Keys::Set(set) => set.get(keyid?),
    };
    let outcome = integrity::verify(&message, selection, &policy, question.now, key);
    let explained = Explanation::of(&message, selection);
    let (params, lines, differences) = match explained {
        Ok(explained) => {
            let input = Input::parse(explained.parameters.as_bytes());
            let differences = differences(question, selection, &explained, input.as_ref().ok());
            let params = input.ok().map(|input| input.params().clone());
            (params, explained.lines, differences)
        }
        // Why is what `outcome` says.
        Err(_) => (None, Vec::new(), Vec::new()),
    };
    let keyid = params.as_ref().and_then(|params| params.keyid.as_deref());
    Judged {
        label,
        in_trailers,
        outcome: outcome.map(|_| ()),
        algorithm: key(keyid).map(VerifyingKey::algorithm),
        params,
        lines,
        differences,
    }
}

/// In what the other capture differs: from its own signature of this label, or without one by what this
/// signature covers.
fn differences(
    question: &Question<'_>,
    selection: Selection<'_>,
    explained: &Explanation,
    input: Option<&Input>,
) -> Vec<Difference> {
    let message = &question.read.message;
    let against = question.against.filter(|it| it.kind() == message.kind());
    let Some(against) = against else {
        return Vec::new();
    };
    let view = against.view(question.request);
    let own = Explanation::of(&view, selection).ok();
    let other = own.or_else(|| Some(Explanation::of_input(&view, input?)));
    other.map_or_else(Vec::new, |other| other.differences(explained))
}

/// Compares a digest with the content.
fn digest(question: &Question<'_>, field: &HeaderName) -> DigestVerdict {
    let message = question.read.message.view(question.request);
    let mut stated = Vec::new();
    for fields in [Some(message.headers()), message.trailers()]
        .into_iter()
        .flatten()
    {
        match Digests::read(fields, field) {
            Ok(digests) => stated.extend(digests),
            Err(error) => return DigestVerdict::Bad(error),
        }
    }
    if stated.is_empty() {
        return DigestVerdict::Absent;
    }
    if let Some(reason) = not_compared(question, field) {
        return DigestVerdict::NotCompared(reason);
    }
    let mut algorithms = BTreeSet::new();
    for digests in &stated {
        let computed = Hasher::digest(&digests.algorithms(), question.read.message.content());
        if let Err(error) = digests.check(&computed) {
            return DigestVerdict::Bad(error);
        }
        algorithms.extend(digests.algorithms());
    }
    DigestVerdict::Good(algorithms.into_iter().collect())
}

fn not_compared(question: &Question<'_>, field: &HeaderName) -> Option<NotCompared> {
    let is_repr = *field == REPR_DIGEST;
    let (status, headers) = match &question.read.message {
        Message::Request(request) => (None, &request.headers),
        Message::Response(response) => (Some(response.status), &response.headers),
    };
    let is_head = question
        .request
        .is_some_and(|request| request.method == Method::HEAD);
    match status {
        Some(_) if is_head => Some(NotCompared::Head),
        Some(StatusCode::PARTIAL_CONTENT) if is_repr => Some(NotCompared::Part),
        Some(StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT) if is_repr => {
            Some(NotCompared::Status)
        }
        _ if is_repr && headers.contains_key(CONTENT_RANGE) => Some(NotCompared::Part),
        _ => None,
    }
}

fn differing(against: &[u8], message: &[u8]) -> Option<ContentDifference> {
    if against == message {
        return None;
    }
    let pairs = against.iter().zip(message);
    Some(ContentDifference {
        against: against.len(),
        message: message.len(),
        at: pairs.take_while(|(first, second)| first == second).count(),
    })
}

/// What is usual and missing of signatures that are good.
fn notes(question: &Question<'_>, signatures: &[Judged]) -> Vec<Note> {
    let message = &question.read.message;
    let mut notes = Vec::new();
    let good = || signatures.iter().filter(|judged| judged.outcome.is_ok());
    for judged in good() {
        let covers = |name: &&str| {
            let known = Component::named(name);
            known.is_ok_and(|known| judged.lines.iter().any(|line| line.component == known))
        };
        let wanted: &[&str] = match message {
            Message::Request(request) if request.query().is_some() => {
                &["@method", "@authority", "@path", "@query"]
            }
            Message::Request(_) => &["@method", "@authority", "@path"],
            Message::Response(_) => &["@status"],
        };
        let covers_uri = matches!(message, Message::Request(_)) && covers(&"@target-uri");
        let missing = wanted
            .iter()
            .copied()
            .filter(|name| !covers(name) && (*name == "@method" || !covers_uri));
        let components: Vec<_> = missing.collect();
        let label = || judged.label.clone();
        if !components.is_empty() {
            notes.push(Note::NotCovered {
                label: label(),
                components,
            });
        }
        let Some(params) = &judged.params else {
            continue;
        };
        for (parameter, is_there) in [
            ("created", params.created.is_some()),
            ("nonce", params.nonce.is_some()),
            ("keyid", params.keyid.is_some()),
        ] {
            // A nonce keeps a request from being sent again; an answer is bound to its request.
            let is_usual = parameter != "nonce" || matches!(message, Message::Request(_));
            if is_usual && !is_there {
                notes.push(Note::Without {
                    label: label(),
                    parameter,
                });
            }
        }
        if let (
            Keys::One {
                keyid: Some(expected),
                ..
            },
            Some(keyid),
        ) = (question.keys, &params.keyid)
            && **keyid != **expected
        {
            notes.push(Note::OtherKeyId {
                label: label(),
                expected: expected.clone(),
            });
        }
    }
    let is_digest = |line: &Line| {
        matches!(
            line.component.name(),
            integrity::Name::Field { name, .. } if *name == CONTENT_DIGEST || *name == REPR_DIGEST
        ) && !line.component.is_of_request()
    };
    let has_good = good().next().is_some();
    let is_covered = good().any(|judged| judged.lines.iter().any(is_digest));
    if has_good && !is_covered && !message.content().is_empty() {
        notes.push(Note::ContentNotCovered);
    }
    notes
}

impl Report {
    /// Whether everything that there is, is right, and there is a signature.
    pub fn is_good(&self) -> bool {
        let bad = |digest: &DigestVerdict| matches!(digest, DigestVerdict::Bad(_));
        self.findings.is_empty()
            && !self.signatures.is_empty()
            && self.signatures.iter().all(|judged| judged.outcome.is_ok())
            && ![&self.content_digest, &self.repr_digest]
                .into_iter()
                .any(bad)
    }
}

/// The kind of keys: they are not shown.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keys::One { key, .. } => key.fmt(f),
            Keys::Set(set) => write!(f, "{} keys", set.iter().count()),
        }
    }
}

impl fmt::Display for DigestVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DigestVerdict::Absent => f.write_str("none"),
            DigestVerdict::Good(algorithms) => {
                let names: Vec<_> = algorithms.iter().map(|it| it.name()).collect();
                write!(f, "good, {}", names.join(" and "))
            }
            DigestVerdict::Bad(error) => write!(f, "not good: {error}"),
            DigestVerdict::NotCompared(reason) => write!(f, "not compared: {reason}"),
        }
    }
}

impl fmt::Display for NotCompared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotCompared::Head => "the answer to HEAD is without its content",
            NotCompared::Part => "the content is a part of the representation",
            NotCompared::Status => "the status says that there is no representation here",
        })
    }
}

impl fmt::Display for ContentDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ContentDifference {
            against,
            message,
            at,
        } = self;
        write!(
            f,
            "- {against} bytes, + {message} bytes, not the same from byte {at} on"
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Unsigned => f.write_str("there is no signature"),
            Finding::NoSuchLabel => f.write_str("no signature has this label"),
            Finding::Fields(error) => error.fmt(f),
            Finding::Odd(odd) => odd.fmt(f),
            Finding::OtherKind => {
                f.write_str("one of both captures is a request, the other a response")
            }
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Odd(odd) => write!(f, "{odd}; it was taken as it stands"),
            Note::ContentNotCovered => f.write_str(
                "no signature covers a digest of the content: it could be any other content",
            ),
            Note::OtherKeyId { label, expected } => write!(
                f,
                "{label}: keyid is not that of the certificate, which is {expected}"
            ),
            Note::NotCovered { label, components } => {
                write!(f, "{label} does not cover {}", components.join(", "))
            }
            Note::Without { label, parameter } => write!(f, "{label} has no {parameter}"),
        }
    }
}

#[cfg(test)]
mod tests;
