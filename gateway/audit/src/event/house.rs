//! Events of the house: who writes, under which configuration, and what became of the log itself.

use minicbor::{Decode, Encode};
use serde::Serialize;

use super::{Digest, Pseudonym, Time};

/// `start`: who opened the log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Start<'a> {
    /// The program's name.
    #[cbor(b(0))]
    pub program: &'a str,
    /// Its version.
    #[cbor(b(1))]
    pub version: &'a str,
    /// Its process id.
    #[n(2)]
    pub pid: u32,
}

/// `stop`: why the writer ends.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Stop<'a> {
    /// The reason, one of the program's own words.
    #[cbor(b(0))]
    pub reason: &'a str,
}

/// `configuration`: which configuration, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Configuration<'a> {
    /// SHA-256 of the configuration file's bytes.
    #[n(0)]
    pub digest: Digest,
    /// Whether it is in force now.
    #[n(1)]
    pub accepted: bool,
    /// `start` or `reload`.
    #[cbor(b(2))]
    pub occasion: &'a str,
    /// How many mistakes kept it out of force; the mistakes themselves are in the operator's log.
    #[n(3)]
    pub mistakes: u32,
    /// Rises by one with every configuration that this process put in force.
    #[n(4)]
    pub generation: u64,
}

/// `decision`: a weakened default, with the operator's reason.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Decision<'a> {
    /// Which control, a row of the table `ADDRESSABLE`.
    #[cbor(b(0))]
    pub control: &'a str,
    /// Its paragraph of 45 CFR 164.312.
    #[cbor(b(1))]
    pub paragraph: &'a str,
    /// The key in the configuration.
    #[cbor(b(2))]
    pub key: &'a str,
    /// The reason, in the operator's words.
    #[cbor(b(3))]
    pub rationale: &'a str,
}

/// `revocation`: what is known to be revoked from now on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Revocation<'a> {
    /// The trust set.
    #[cbor(b(0))]
    pub trust: &'a str,
    /// How many lists were read.
    #[n(1)]
    pub lists: u32,
    /// How many serials they name.
    #[n(2)]
    pub serials: u64,
    /// When the first of them grows stale.
    #[n(3)]
    pub next_update: Option<Time>,
    /// Number of the configuration that names the lists.
    #[n(4)]
    pub generation: u64,
}

/// `epoch_key`: whom what follows is encrypted to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct EpochKey<'a> {
    /// Month and class, `2026-11/standard`.
    #[cbor(b(0))]
    pub epoch: &'a str,
    /// The id of the key, which every entry under it bears.
    #[cbor(b(1))]
    pub key: &'a str,
    /// SHA-256 of its record under `keys/`.
    #[n(2)]
    pub record: Digest,
    /// The ids of the readers that it was wrapped to.
    #[n(3)]
    pub readers: Vec<Digest>,
}

/// `recovered`: what a crash left behind.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Recovered {
    /// The segment that was cut.
    #[n(0)]
    pub segment: u64,
    /// Where its last whole batch ends.
    #[n(1)]
    pub offset: u64,
    /// SHA-256 of the bytes that were set aside.
    #[n(2)]
    pub digest: Digest,
    /// How many bytes were set aside.
    #[n(3)]
    pub bytes: u64,
}

/// `interrupted`: a stretch of time in which nothing could be recorded, so nothing was released.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Interrupted {
    /// Since when.
    #[n(0)]
    pub since: Time,
    /// How many appends were turned away.
    #[n(1)]
    pub refused: u64,
}

/// `signing_key`: what the log's checkpoints are signed with from here on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct SigningKey<'a> {
    /// The public key in its text form (C2SP signed-note, "Verifier keys").
    #[cbor(b(0))]
    pub key: &'a str,
    /// How the key before it handed over: a note that both signed (`merkle::rotation`). Not with
    /// the key that the log began with.
    #[cbor(b(1))]
    pub rotation: Option<&'a str>,
}

/// `unsigned_tail`: entries at the end of the log that were durable and not signed when it was opened.
/// A crash leaves a moment's worth of them. Whoever could write to the log while nobody served it could
/// have changed these, and no others.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct UnsignedTail {
    /// How many entries the last checkpoint was about.
    #[n(0)]
    pub signed: u64,
    /// How many follow them.
    #[n(1)]
    pub entries: u64,
}

/// `discontinuity`: an operator let the log go on although some of it was lost (`audit recover`).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Discontinuity<'a> {
    /// The first entry that is lost.
    #[n(0)]
    pub from: u64,
    /// The first that is not: this one. The same as `from` when only such are lost, if any, as nothing
    /// was signed of.
    #[n(1)]
    pub to: u64,
    /// What is lost and what its file held: the segments, and where their damage begins.
    #[n(2)]
    pub damage: Vec<Damage>,
    /// Why the loss is accepted, in the operator's words.
    #[cbor(b(3))]
    pub reason: &'a str,
    /// The user who accepted it.
    #[n(4)]
    pub uid: u32,
    /// The user who had logged in, where the system knows.
    #[n(5)]
    pub login_uid: Option<u32>,
}

/// A part of a segment that is not to be believed, and stays as evidence.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Damage {
    /// The segment.
    #[n(0)]
    pub segment: u64,
    /// Where it begins, bytes; 0 for a whole segment, which then has the name of what is set aside.
    #[n(1)]
    pub offset: u64,
    /// How many bytes.
    #[n(2)]
    pub bytes: u64,
    /// Their SHA-256.
    #[n(3)]
    pub digest: Digest,
}

/// `log_read`: somebody read the log (DICOM PS3.16, 110101 "Audit Log Used"). Stays in the clear, since
/// a reader who records it alone has nothing to seal it under for others.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct LogRead<'a> {
    /// The user who read: as the kernel says where a gateway recorded it.
    #[n(0)]
    pub uid: u32,
    /// The user who had logged in, where the system knows.
    #[n(1)]
    pub login_uid: Option<u32>,
    /// With what: `show`, `report access`.
    #[cbor(b(2))]
    pub verb: &'a str,
    /// By what was asked: `patient`, `client`; never for which.
    #[cbor(b(3))]
    pub filters: Vec<&'a str>,
    /// The patients that were asked for, by pseudonym, at most [`LogRead::MOST`].
    #[n(4)]
    pub patients: Vec<Pseudonym>,
    /// How many more there were.
    #[n(5)]
    pub more: u64,
    /// Not before.
    #[n(6)]
    pub since: Option<Time>,
    /// Before.
    #[n(7)]
    pub until: Option<Time>,
    /// Whether a gateway that served the log recorded it.
    #[n(8)]
    pub served: bool,
}

impl LogRead<'_> {
    /// More patients are not named.
    pub const MOST: usize = 256;

    /// Whether it says no more than it may: words of this program, and few. What comes from outside
    /// has to be asked.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let is_word = |word: &str| {
            word.len() <= 24 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b' ')
        };
        is_word(self.verb)
            && self.filters.len() <= 16
            && self.filters.iter().all(|word| is_word(word))
            && self.patients.len() <= Self::MOST
    }
}

/// `witness`: what became of somebody who cosigns this log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Witness<'a> {
    /// The name of its key.
    #[cbor(b(0))]
    pub name: &'a str,
    /// `lost`: it has not cosigned for too long. `back`: it cosigns again. `forgot`: it remembers less
    /// than it cosigned. `conflict`: it remembers another log than this one.
    #[cbor(b(1))]
    pub state: &'a str,
    /// How many entries are signed.
    #[n(2)]
    pub signed: u64,
    /// How many of them it cosigned.
    #[n(3)]
    pub witnessed: u64,
    /// How many it says that it remembers, where that is the trouble.
    #[n(4)]
    pub remembered: Option<u64>,
}

/// `clock`: how the system's clock stands, by the kernel's word (adjtimex(2)), and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Clock<'a> {
    /// `begun`: at the start. `lost`: not synchronized, or not known to be, and it was otherwise before.
    /// `back`: synchronized again. `stepped`: somebody set it.
    #[cbor(b(0))]
    pub change: &'a str,
    /// `synchronized`, `unsynchronized` or `unknown`.
    #[cbor(b(1))]
    pub state: &'a str,
    /// The maximum error that the kernel names, microseconds.
    #[n(2)]
    pub max_error_us: Option<u64>,
    /// By how many microseconds it was set; back when negative.
    #[n(3)]
    pub step_us: Option<i64>,
    /// Why the state is unknown: `refused` by the kernel, or `failed`.
    #[cbor(b(4))]
    pub reason: Option<&'a str>,
}
