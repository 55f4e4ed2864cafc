//! One witness, asked for a cosignature of a log's last checkpoint (C2SP tlog-witness,
//! "add-checkpoint"): the client's side.
//!
//! What a witness says is believed as far as it is signed. A cosignature is verified with the witness's
//! key. That it remembers a larger log, or another one, is proved by the checkpoint that it remembers,
//! which the log itself signed ("Monitor Retrieval Mechanism"); without that it is a claim, and the
//! caller decides what a claim is worth on the way that it came.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::http::{Answer, ExchangeError, Server};
use crate::merkle::checkpoint::{Checkpoint, CheckpointError};
use crate::merkle::key::Verifier;
use crate::merkle::note::{Note, NoteError, Signature, VerifyError};
use crate::merkle::range::Head;
use crate::prove::{self, ProveError};
use crate::witness::name_of;

/// A witness, as the operator names it.
#[derive(Debug, Clone)]
pub struct Witness {
    /// Its key.
    pub key: Verifier,
    /// Where it is.
    pub server: Server,
    /// It is asked no oftener than this.
    pub every: Duration,
    /// It may lag so long until somebody is told.
    pub alarm: Duration,
}

/// A log on the disk, as its witnesses are told of it.
#[derive(Debug, Clone, Copy)]
pub struct Submitted<'a> {
    /// Its directory, with the tiles.
    pub directory: &'a Path,
    /// Its keys. The name of the first is its origin.
    pub keys: &'a [Verifier],
    /// Its last checkpoint, which is durable.
    pub note: &'a str,
}

/// What a witness answered.
#[derive(Debug)]
pub enum Outcome {
    /// It cosigned.
    Cosigned {
        /// The checkpoint with the cosignature.
        note: Note,
        /// How large the log was when the witness was asked with a size that it remembered.
        remembered: u64,
    },
    /// It remembers a larger log than this one, or another one.
    Conflict(Conflict),
}

/// Two histories of one log: the one here, and the one that a witness remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// How many entries are signed here.
    pub signed: u64,
    /// How many the witness says that it remembers, if it says so.
    pub remembered: Option<u64>,
    /// What it proves to remember: cosigned, and signed by the log itself.
    pub proved: Option<Proved>,
}

/// What a witness remembers, by a checkpoint that the log and the witness signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// How large the log was, and its root.
    pub head: Head,
    /// When it was cosigned, seconds since 1970, by the witness's clock.
    pub posix_seconds: u64,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = self.signed;
        match (&self.proved, self.remembered) {
            (
                Some(Proved {
                    head,
                    posix_seconds,
                }),
                _,
            ) => {
                let time = crate::event::Time::from_unix_seconds(posix_seconds.cast_signed());
                let Head { size, root } = head;
                write!(
                    f,
                    "it cosigned {size} entries with the root {root} at {time}, and the log here has {signed} and does not lead there"
                )
            }
            (None, Some(remembered)) => write!(
                f,
                "it says that it cosigned {remembered} entries, and the log here has {signed}"
            ),
            (None, None) => write!(
                f,
                "it says that it cosigned another log than the one here of {signed} entries"
            ),
        }
    }
}

/// No answer, or none that can be used.
#[derive(Debug)]
pub enum SubmitError {
    /// The witness cannot be asked.
    Exchange(ExchangeError),
    /// It refuses.
    Refused {
        /// The status of its answer.
        status: u16,
    },
    /// It answers otherwise than the specification says.
    Answer,
    /// Its cosignature does not hold, or is another's.
    Cosignature(VerifyError),
    /// The checkpoint here is none.
    Note(NoteError),
    /// The same, in its text.
    Checkpoint(CheckpointError),
    /// The proof cannot be made.
    Prove(ProveError),
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubmitError::Exchange(error) => error.fmt(f),
            SubmitError::Refused { status: 403 } => {
                f.write_str("it refuses (403): it knows another key of this log")
            }
            SubmitError::Refused { status: 404 } => {
                f.write_str("it refuses (404): it does not know this log, or is no witness")
            }
            SubmitError::Refused { status } => write!(f, "it refuses ({status})"),
            SubmitError::Answer => f.write_str("its answer is none of a witness"),
            SubmitError::Cosignature(error) => write!(f, "its cosignature: {error}"),
            SubmitError::Note(error) => write!(f, "the checkpoint here: {error}"),
            SubmitError::Checkpoint(error) => write!(f, "the checkpoint here: {error}"),
            SubmitError::Prove(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SubmitError {}

impl From<ExchangeError> for SubmitError {
    fn from(error: ExchangeError) -> SubmitError {
        SubmitError::Exchange(error)
    }
}

/// So often a witness may answer with another size: it is asked by others too, and it may forget.
const ATTEMPTS: usize = 3;

/// Asks `witness`, which remembered `remembered` entries when it was asked last. The caller bounds the
/// time.
///
/// # Errors
/// [`SubmitError`]; the same can be tried again later.
pub async fn submit(
    witness: &Witness,
    log: Submitted<'_>,
    remembered: u64,
) -> Result<Outcome, SubmitError> {
    let note = Note::parse(log.note.as_bytes()).map_err(SubmitError::Note)?;
    let checkpoint = Checkpoint::parse(note.text())
        .map_err(|error| SubmitError::Checkpoint(CheckpointError::Text(error)))?;
    let head = checkpoint.head();
    let mut old = remembered.min(head.size);
    for _ in 0..ATTEMPTS {
        let body = body(log, old)?;
        let answer = witness.server.post("/add-checkpoint", body).await?;
        match answer.status {
            200 => {
                let note = cosigned(note, &answer, &witness.key)?;
                return Ok(Outcome::Cosigned {
                    note,
                    remembered: old,
                });
            }
            409 => match size_of(&answer).ok_or(SubmitError::Answer)? {
                size if size > head.size => {
                    return conflict(witness, log, head, Some(size)).await;
                }
                size => old = size,
            },
            422 => return conflict(witness, log, head, None).await,
            // It does not know the key that this checkpoint is signed with. What it remembers may be
            // signed with a later one all the same, and it shows that to anybody.
            status @ (403 | 404) => {
                let proved = proof(witness, log, head).await;
                return match proved {
                    Some(_) => Ok(Outcome::Conflict(Conflict {
                        signed: head.size,
                        remembered: None,
                        proved,
                    })),
                    None => Err(SubmitError::Refused { status }),
                };
            }
            status => return Err(SubmitError::Refused { status }),
        }
    }
    Err(SubmitError::Answer)
}

/// The body of a request: the log of the checkpoint begins with the one of `old` entries.
fn body(log: Submitted<'_>, old: u64) -> Result<String, SubmitError> {
    if old == 0 {
        return Ok(format!("old 0\n\n{}", log.note));
    }
    let grown = prove::grown_to(log.directory, old, log.note).map_err(SubmitError::Prove)?;
    Ok(grown.to_string())
}

/// The checkpoint with the witness's cosignature. Signatures of others are left out.
fn cosigned(mut note: Note, answer: &Answer, key: &Verifier) -> Result<Note, SubmitError> {
    let text = std::str::from_utf8(&answer.content).map_err(|_| SubmitError::Answer)?;
    let lines = text.strip_suffix('\n').ok_or(SubmitError::Answer)?;
    for line in lines.split('\n') {
        let signature = Signature::parse(line).ok_or(SubmitError::Answer)?;
        if signature.name() == key.name() && signature.id() == key.id() {
            note.add(signature).map_err(SubmitError::Note)?;
        }
    }
    let keys = std::slice::from_ref(key);
    note.verify(keys).map_err(SubmitError::Cosignature)?;
    Ok(note)
}

/// The size that a witness remembers, as it answers 409.
fn size_of(answer: &Answer) -> Option<u64> {
    let kind = answer.content_type.as_deref()?;
    let is_size = kind.split(';').next()?.trim() == "text/x.tlog.size";
    let text = std::str::from_utf8(&answer.content)
        .ok()?
        .strip_suffix('\n')?;
    let size: u64 = text.parse().ok()?;
    (is_size && size.to_string() == text).then_some(size)
}

/// Asks for what the witness remembers.
async fn conflict(
    witness: &Witness,
    log: Submitted<'_>,
    head: Head,
    remembered: Option<u64>,
) -> Result<Outcome, SubmitError> {
    let proved = proof(witness, log, head).await;
    Ok(Outcome::Conflict(Conflict {
        signed: head.size,
        remembered,
        proved,
    }))
}

/// What the witness remembers, if it can show it and it is not a part of this log.
async fn proof(witness: &Witness, log: Submitted<'_>, here: Head) -> Option<Proved> {
    let origin = log.keys.first()?.name().as_str();
    let path = format!("/{}/checkpoint", name_of(origin));
    let answer = witness.server.get(&path).await.ok()?;
    if answer.status != 200 {
        return None;
    }
    let keys = std::slice::from_ref(&witness.key);
    let opened = Checkpoint::open(&answer.content, origin, log.keys, keys).ok()?;
    let posix_seconds = opened.cosigned().first()?.posix_seconds()?;
    let head = opened.checkpoint().head();
    let is_ours =
        head.size <= here.size && prove::head_at(log.directory, head.size, here.size).ok()? == head;
    (!is_ours).then_some(Proved {
        head,
        posix_seconds,
    })
}
