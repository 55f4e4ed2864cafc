//! What verifying a log came to: findings, notes, and the verdict, whose numbers are the exit codes.

use super::breach::{Breach, Oddity};
use crate::entry::EntryError;
use crate::event::Time;
use crate::frame::Fault;
use crate::keeping::{End, Forbidden, Keeping};
use crate::merkle::checkpoint::CheckpointError;
use crate::merkle::key::Verifier;
use crate::merkle::rotation::RotationError;
use crate::merkle::tile::Tile;
use crate::read::Position;
use crate::seal::epoch::KeyId;
use crate::seal::sealed::LeafError;

use super::clock::Stamped;
use super::witnessed::OutsideError;

/// What was looked at, and what was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Segments that were read.
    pub segments: u64,
    /// Batches that were read.
    pub batches: u64,
    /// Entries that were read.
    pub entries: u64,
    /// Entries that are lost, and whose loss was accepted.
    pub lost: u64,
    /// Time of the first entry.
    pub first: Option<Time>,
    /// Time of the last entry.
    pub last: Option<Time>,
    /// Whether somebody writes to it now.
    pub live: bool,
    /// How far it is signed, if it is.
    pub signed: Option<Signed>,
    /// How far witnesses cosigned it.
    pub witnessed: Vec<Witnessed>,
    /// What it says of how long it is kept.
    pub keeping: Keeping,
    /// What is wrong, in the order of the log; the first is the one to look at. Not all of very many.
    pub findings: Vec<Finding>,
    /// What a crash or a failed disk left behind, and the log itself accounts for.
    pub notes: Vec<Note>,
}

/// What the signatures of a log are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The first so many entries are signed: the size of the last checkpoint that holds.
    pub entries: u64,
    /// Checkpoints that hold.
    pub checkpoints: u64,
    /// The key from outside, else the one that the log says that it began with, if one is known.
    pub key: Option<Verifier>,
    /// The keys that were in force, in order.
    pub keys: Vec<InForce>,
    /// Whether nothing but the log itself says that it is this key.
    pub self_asserted: bool,
    /// What they say of the clock that they were signed by.
    pub clock: Stamped,
}

/// A key, and where in a log it begins to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// Which.
    pub key: Verifier,
    /// The entry that brought it: what this entry is a part of is signed with it. 0 for the key
    /// that the log began with.
    pub from: u64,
}

/// What a witness cosigned of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Witnessed {
    /// The id of its key.
    pub id: String,
    /// The name of its key, as it says itself unless that was verified.
    pub name: Option<String>,
    /// Whether its key was given, and its cosignatures hold.
    pub is_verified: bool,
    /// The first so many entries are those that it cosigned.
    pub entries: u64,
    /// When it cosigned them, by its own clock, if that was verified.
    pub until: Option<Time>,
    /// Cosigned checkpoints that were read.
    pub records: u64,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// What stands there is not what was written.
    Changed {
        /// Where.
        at: Position,
        /// The entry that should begin there.
        sequence: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// An entry is not the canonical form of anything.
    Entry {
        /// Which.
        sequence: u64,
        /// What is wrong with it.
        error: EntryError,
    },
    /// An entry is neither in the clear nor sealed in a form that is known.
    Leaf {
        /// Which.
        sequence: u64,
        /// What is wrong with it.
        error: LeafError,
    },
    /// An entry is sealed under a key that the log does not tell of.
    UnknownKey {
        /// Which.
        sequence: u64,
        /// The key's id.
        key: KeyId,
    },
    /// A record that no honest gateway leaves where it stands.
    Meaning {
        /// Which entry.
        sequence: u64,
        /// What it breaks.
        breach: Breach,
        /// Where the rule comes from.
        cites: &'static str,
    },
    /// The record of a key that entries are sealed under is gone or changed: nobody reads them any
    /// more.
    MissingKey {
        /// Its name below `keys/`.
        name: String,
    },
    /// The keys of an epoch were destroyed, or about to be, and must not have been.
    Destroyed {
        /// Which entry says so.
        sequence: u64,
        /// Month and class.
        epoch: String,
        /// Why they must not.
        forbidden: Forbidden,
    },
    /// A key that was destroyed is there: somebody put it back.
    KeyReturned {
        /// Its name below `keys/`.
        name: String,
    },
    /// A segment ends before the place where the next one says that it ends.
    EndsEarly {
        /// Where it ends.
        at: Position,
    },
    /// Bytes were added behind the end of a segment.
    Added {
        /// Where.
        at: Position,
    },
    /// A segment is gone.
    MissingSegment {
        /// Its number.
        segment: u64,
    },
    /// What was set aside, after a crash or when a loss was accepted, is gone or changed.
    MissingQuarantine {
        /// The segment that it was cut from.
        segment: u64,
        /// Where it was cut, bytes.
        offset: u64,
    },
    /// A file that does not belong to the log.
    Stranger {
        /// Its name.
        name: String,
    },
    /// The log ends within a batch. A crash leaves that, and so does a cut.
    Unfinished {
        /// Where.
        at: Position,
    },
    /// There is no log.
    Empty,
    /// The log is gone: what locks it is there, and nothing of what it locked.
    Gone,
    /// Nothing in the log is signed, and a signature was asked for.
    Unsigned,
    /// The log holds fewer entries than are signed.
    Shorter {
        /// How many are signed.
        signed: u64,
        /// How many could be read.
        entries: u64,
    },
    /// A checkpoint is not what it should be.
    Checkpoint {
        /// The file in the log's directory.
        file: String,
        /// Where in it, bytes.
        offset: u64,
        /// What is wrong with it.
        fault: CheckpointFault,
    },
    /// What a witness cosigned is not what it should be.
    Witnessed {
        /// The file in the log's directory; empty for a checkpoint from outside.
        file: String,
        /// Where in it, bytes.
        offset: u64,
        /// What is wrong with it.
        fault: WitnessedFault,
    },
    /// A witness cosigned more entries than the log holds.
    Beyond {
        /// Where its cosignature is from.
        place: String,
        /// How many it cosigned.
        cosigned: u64,
        /// How many could be read.
        entries: u64,
    },
    /// A checkpoint from outside proves nothing.
    Outside {
        /// Where it is from.
        from: String,
        /// Why.
        error: OutsideError,
    },
    /// A tile is not what it should be.
    Tile {
        /// Which.
        tile: Tile,
        /// What is wrong with it.
        fault: TileFault,
    },
    /// An entry says that the log is signed, and there is no checkpoint.
    NoCheckpoint {
        /// Which entry.
        sequence: u64,
    },
    /// The log is signed with another key.
    OtherKey {
        /// Names and ids of the keys that it claims.
        signed: String,
    },
    /// An entry names another key than the one that the log is signed with.
    OtherKeyNamed {
        /// Which entry.
        sequence: u64,
    },
    /// An entry does not hand over to the key that it names.
    Rotation {
        /// Which entry.
        sequence: u64,
        /// What is wrong with it.
        fault: RotationFault,
    },
    /// The log is signed, and it cannot be found out with which key.
    NoKey,
    /// Only the log itself says which key it is signed with, and a key from outside was asked for.
    SelfAsserted,
    /// The end of the log is not signed, although nobody is about to sign it, and only what is signed
    /// was to pass.
    UnsignedTail {
        /// How many entries.
        entries: u64,
        /// Since when.
        since: Time,
    },
}

/// What is wrong with a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointFault {
    /// It is none, or not signed as it should be.
    Wrong(CheckpointError),
    /// It bears a signature of a key that nobody knows.
    Signature,
    /// The entries do not lead to its root.
    Root {
        /// Its size.
        size: u64,
    },
    /// It is not about more entries than the one before it.
    Order {
        /// Its size.
        size: u64,
    },
    /// It does not name the one before it: one was taken out, or put in.
    Link,
    /// The file ends within it. A crash leaves that, and so does a cut.
    Cut,
    /// It is not in the history.
    NotInHistory,
    /// The history goes on behind it.
    Stale,
    /// It is gone.
    Missing,
}

/// What is wrong with a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationFault {
    /// It is none, or not signed by both keys.
    Wrong(RotationError),
    /// It leads to another key than the entry names.
    Named,
    /// It does not lead on from the key in force there.
    Elsewhere,
    /// It says that so many entries come before it, and there are fewer, or others.
    Behind {
        /// How many.
        size: u64,
    },
    /// There are more of them than any log has.
    TooMany,
}

/// What is wrong with a checkpoint that a witness cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WitnessedFault {
    /// It is none of this log.
    Wrong(CheckpointError),
    /// It bears a signature of a key that nobody knows.
    Signature,
    /// The witness did not cosign it.
    Cosignature,
    /// The entries do not lead to its root.
    Root {
        /// Its size.
        size: u64,
    },
    /// It is not about more entries than the one before it.
    Order {
        /// Its size.
        size: u64,
    },
    /// The file ends within it. A crash leaves that, and so does a cut.
    Cut,
}

/// What is wrong with a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileFault {
    /// It is gone.
    Missing,
    /// It does not hold the hashes of these entries.
    Differs,
}

/// Something that is not wrong, but worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// It is a backup: nobody adds to it.
    Backup,
    /// A crash tore a batch that was never acknowledged; it is in quarantine.
    Recovered {
        /// The segment.
        segment: u64,
        /// Bytes that were set aside.
        bytes: u64,
    },
    /// The record of a key that nothing was sealed under: a start that ended before it wrote.
    UnusedKey {
        /// Its name below `keys/`.
        name: String,
    },
    /// The keys of an epoch were destroyed when its time was over: nobody reads its entries any more.
    Destroyed {
        /// Month and class.
        epoch: String,
        /// When, by whom and why.
        end: End,
    },
    /// The keys of an epoch were about to be destroyed, and are still there.
    Undestroyed {
        /// Month and class.
        epoch: String,
    },
    /// The log went on from a backup; what was written behind that is not in it.
    Restored {
        /// The entry that says so.
        sequence: u64,
        /// How many entries the backup held.
        entries: u64,
        /// When.
        at: Time,
        /// By which user.
        uid: u32,
        /// Why, in the operator's words.
        reason: String,
    },
    /// The log went on although some of it was lost: an operator accepted it.
    Lost {
        /// The first entry that is lost.
        from: u64,
        /// The first that is not.
        to: u64,
        /// When that was.
        at: Time,
        /// By which user.
        uid: u32,
        /// Why, in the operator's words.
        reason: String,
    },
    /// A segment was given up after a failed write; the remains of that write lie behind its end.
    GivenUp {
        /// The segment.
        segment: u64,
    },
    /// What an honest gateway may leave.
    Odd {
        /// What.
        oddity: Oddity,
        /// The first entry that shows it.
        first: u64,
        /// How often.
        times: u64,
        /// Where it comes from that this is looked for.
        cites: &'static str,
    },
    /// Checkpoints were signed while the clock was not known to be synchronized.
    Clock {
        /// How many.
        unsynchronized: u64,
        /// Of so many that could say so.
        checkpoints: u64,
        /// How many entries the first of them is about.
        first: u64,
        /// How many entries the first of those at the end is about, if the last is one of them.
        since: Option<u64>,
    },
    /// Records that follow another one of their request, which is not remembered any more: whether it
    /// was there cannot be said.
    Unjudged {
        /// The first of them.
        first: u64,
        /// How many.
        records: u64,
    },
}

/// What the findings come to. The numbers are the exit codes of `audit verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Whole and unchanged, as far as this can tell.
    Good = 0,
    /// Changed.
    Tampered = 1,
    /// Cut off.
    Truncated = 2,
    /// There is nothing to verify.
    CannotVerify = 3,
}

impl Report {
    /// Somebody can put any number of files into a directory: beyond so many findings, only those are
    /// kept that make the verdict another.
    const MANY_FINDINGS: usize = 1000;

    /// Keeps a finding, within the bound.
    pub(super) fn find(&mut self, finding: Finding) {
        let is_many = self.findings.len() >= Self::MANY_FINDINGS;
        if !is_many || finding.verdict().rank() > self.verdict().rank() {
            self.findings.push(finding);
        }
    }

    /// How many entries at the end are not signed yet.
    #[must_use]
    pub fn unsigned(&self) -> u64 {
        let signed = self.signed.as_ref().map_or(0, |signed| signed.entries);
        (self.entries + self.lost).saturating_sub(signed)
    }

    /// How many entries at the end no witness is verified to have cosigned.
    #[must_use]
    pub fn unwitnessed(&self) -> u64 {
        let verified = self.witnessed.iter().filter(|known| known.is_verified);
        let most = verified.map(|known| known.entries).max().unwrap_or(0);
        (self.entries + self.lost).saturating_sub(most)
    }

    /// The worst of the findings.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.findings
            .iter()
            .map(Finding::verdict)
            .max_by_key(|verdict| verdict.rank())
            .unwrap_or(Verdict::Good)
    }
}

impl Verdict {
    /// The worst is the greatest.
    fn rank(self) -> u8 {
        match self {
            Verdict::Good => 0,
            Verdict::CannotVerify => 1,
            Verdict::Truncated => 2,
            Verdict::Tampered => 3,
        }
    }
}

impl Finding {
    fn verdict(&self) -> Verdict {
        match self {
            Finding::Changed { .. }
            | Finding::Entry { .. }
            | Finding::Leaf { .. }
            | Finding::UnknownKey { .. }
            | Finding::Meaning { .. }
            | Finding::MissingKey { .. }
            | Finding::KeyReturned { .. }
            | Finding::Destroyed { .. }
            | Finding::EndsEarly { .. }
            | Finding::Added { .. }
            | Finding::MissingQuarantine { .. }
            | Finding::Stranger { .. }
            | Finding::Tile { .. }
            | Finding::NoCheckpoint { .. }
            | Finding::Witnessed {
                fault:
                    WitnessedFault::Wrong(_)
                    | WitnessedFault::Signature
                    | WitnessedFault::Cosignature
                    | WitnessedFault::Root { .. }
                    | WitnessedFault::Order { .. },
                ..
            }
            | Finding::OtherKey { .. }
            | Finding::Rotation { .. }
            | Finding::OtherKeyNamed { .. } => Verdict::Tampered,
            Finding::Checkpoint { fault, .. } => match fault {
                CheckpointFault::Cut => Verdict::Truncated,
                CheckpointFault::Wrong(_)
                | CheckpointFault::Signature
                | CheckpointFault::Root { .. }
                | CheckpointFault::Order { .. }
                | CheckpointFault::Link
                | CheckpointFault::NotInHistory
                | CheckpointFault::Stale
                | CheckpointFault::Missing => Verdict::Tampered,
            },
            Finding::MissingSegment { .. }
            | Finding::Unfinished { .. }
            | Finding::Gone
            | Finding::Beyond { .. }
            | Finding::Witnessed {
                fault: WitnessedFault::Cut,
                ..
            }
            | Finding::Shorter { .. } => Verdict::Truncated,
            Finding::Empty
            | Finding::Unsigned
            | Finding::NoKey
            | Finding::Outside { .. }
            | Finding::SelfAsserted
            | Finding::UnsignedTail { .. } => Verdict::CannotVerify,
        }
    }
}
