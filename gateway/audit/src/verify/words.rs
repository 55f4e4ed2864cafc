//! What verifying a log came to, in words: a sentence for each finding and each note.
//!
//! What a person or a log wrote is escaped: it must not drive the terminal.

use std::fmt;

use super::report::{CheckpointFault, Finding, Note, RotationFault, TileFault, WitnessedFault};

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Changed {
                at,
                sequence,
                fault,
            } => {
                write!(
                    f,
                    "segment {} at byte {}: entry {sequence} should follow, and what stands there is {fault}",
                    at.segment, at.offset
                )
            }
            Finding::Entry { sequence, error } => write!(f, "entry {sequence}: {error}"),
            Finding::Leaf { sequence, error } => write!(f, "entry {sequence}: {error}"),
            Finding::UnknownKey { sequence, key } => write!(
                f,
                "entry {sequence} is sealed under a key {key} that the log does not tell of"
            ),
            Finding::Meaning {
                sequence,
                breach,
                cites,
            } => write!(f, "entry {sequence}: {breach} ({cites})"),
            Finding::Destroyed { .. }
            | Finding::KeyReturned { .. }
            | Finding::MissingKey { .. } => of_keys(self, f),
            Finding::EndsEarly { at } => write!(
                f,
                "segment {} ends at byte {}, before its successor says",
                at.segment, at.offset
            ),
            Finding::Added { at } => write!(
                f,
                "segment {} at byte {}: bytes were added behind its end",
                at.segment, at.offset
            ),
            Finding::MissingSegment { segment } => write!(f, "segment {segment} is missing"),
            Finding::MissingQuarantine { segment, offset } => {
                write!(
                    f,
                    "what was set aside of segment {segment} from byte {offset} on is missing, or changed"
                )
            }
            Finding::Stranger { name } => write!(f, "{name:?} does not belong to the log"),
            Finding::Unfinished { at } => write!(
                f,
                "segment {} at byte {}: the last batch is unfinished; a crash leaves that, and the next start of the gateway sets it aside; so does a cut",
                at.segment, at.offset
            ),
            Finding::Empty => f.write_str("there is no log in this directory"),
            Finding::Gone => f.write_str(
                "there was a log in this directory: its lock is there, its segments are not",
            ),
            Finding::Unsigned => {
                f.write_str("nothing in this log is signed, so no key can vouch for it")
            }
            Finding::Shorter { signed, entries } => write!(
                f,
                "the log was cut or rolled back: {signed} entries are signed, {entries} could be read"
            ),
            Finding::Checkpoint {
                file,
                offset,
                fault,
            } => write!(f, "{file} at byte {offset}: {fault}"),
            Finding::Witnessed {
                file,
                offset,
                fault,
            } => {
                if !file.is_empty() {
                    write!(f, "{file} at byte {offset}: ")?;
                }
                fault.fmt(f)
            }
            Finding::Beyond {
                place,
                cosigned,
                entries,
            } => write!(
                f,
                "the log was cut or rolled back: {cosigned} entries are cosigned ({place}), {entries} could be read"
            ),
            Finding::Outside { from, error } => {
                write!(f, "the checkpoint {from} proves nothing: {error}")
            }
            Finding::Tile { tile, fault } => match fault {
                TileFault::Missing => write!(f, "{tile} is missing"),
                TileFault::Differs => {
                    write!(f, "{tile} does not hold the hashes of these entries")
                }
            },
            Finding::NoCheckpoint { sequence } => write!(
                f,
                "entry {sequence} says that the log is signed, and there is no checkpoint"
            ),
            Finding::OtherKey { signed } => write!(
                f,
                "the log is signed with another key than the one that was given: {signed}"
            ),
            Finding::OtherKeyNamed { sequence } => write!(
                f,
                "entry {sequence} names another key than the one that the log is signed with"
            ),
            Finding::Rotation { sequence, fault } => write!(f, "entry {sequence}: {fault}"),
            Finding::NoKey => {
                f.write_str("the log is signed, and names no key; give it with --key")
            }
            Finding::UnsignedTail { entries, since } => write!(
                f,
                "entries are not signed, {entries} at the end, since {since}; a crash leaves a moment's worth of them, which the next start signs"
            ),
            Finding::SelfAsserted => f.write_str(
                "only the log itself says which key it is signed with; give the key with --key",
            ),
        }
    }
}

/// A finding about the record of a key; nothing of another one.
fn of_keys(finding: &Finding, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match finding {
        Finding::Destroyed {
            sequence,
            epoch,
            forbidden,
        } => write!(
            f,
            "entry {sequence}: the keys of {} were destroyed, and {forbidden} (45 CFR 164.316(b)(2)(i))",
            epoch.escape_debug()
        ),
        Finding::KeyReturned { name } => {
            let name = name.escape_debug();
            write!(f, "keys/{name} was destroyed, and is there again")
        }
        Finding::MissingKey { name } => write!(
            f,
            "the record of a key, keys/{}, is missing or changed: what is sealed under it cannot be read",
            name.escape_debug()
        ),
        _ => Ok(()),
    }
}

impl fmt::Display for WitnessedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WitnessedFault::Wrong(error) => write!(f, "no checkpoint of this log: {error}"),
            WitnessedFault::Signature => {
                f.write_str("the checkpoint bears a signature of an unknown key")
            }
            WitnessedFault::Cosignature => {
                f.write_str("the checkpoint is not cosigned by this witness")
            }
            WitnessedFault::Root { size } => write!(
                f,
                "the first {size} entries are not those that a witness cosigned: the log was rolled back, or written anew"
            ),
            WitnessedFault::Order { size } => write!(
                f,
                "the checkpoint of {size} entries is not larger than the one before it"
            ),
            WitnessedFault::Cut => f.write_str(
                "the last cosigned checkpoint is unfinished; a crash leaves that, and the next start of the gateway drops it; so does a cut",
            ),
        }
    }
}

impl fmt::Display for CheckpointFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointFault::Wrong(error) => write!(f, "no checkpoint of this log: {error}"),
            CheckpointFault::Signature => {
                f.write_str("the checkpoint bears a signature of an unknown key")
            }
            CheckpointFault::Root { size } => write!(
                f,
                "the first {size} entries are not those that were signed here"
            ),
            CheckpointFault::Order { size } => write!(
                f,
                "the checkpoint of {size} entries is not larger than the one before it"
            ),
            CheckpointFault::Link => {
                f.write_str("the checkpoint does not follow the one before it: one was taken out, or put in")
            }
            CheckpointFault::Cut => f.write_str(
                "the last checkpoint is unfinished; a crash leaves that, and the next start of the gateway drops it; so does a cut",
            ),
            CheckpointFault::NotInHistory => {
                f.write_str("the last checkpoint is not in the history")
            }
            CheckpointFault::Stale => {
                f.write_str("this is not the last checkpoint: the history goes on behind it")
            }
            CheckpointFault::Missing => f.write_str("the last checkpoint is missing"),
        }
    }
}

impl fmt::Display for RotationFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RotationFault::Wrong(error) => write!(f, "no rotation of the key: {error}"),
            RotationFault::Named => {
                f.write_str("the rotation leads to another key than the entry names")
            }
            RotationFault::Elsewhere => {
                f.write_str("the rotation does not lead on from the key in force there")
            }
            RotationFault::Behind { size } => write!(
                f,
                "the rotation says that {size} signed entries come before it, and they do not"
            ),
            RotationFault::TooMany => f.write_str("more rotations than a log has"),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Backup => f.write_str(
                "this is a backup: nothing is added to it, and reads of it are not on record",
            ),
            Note::Recovered { segment, bytes } => {
                write!(
                    f,
                    "a crash tore {bytes} bytes off segment {segment} that were never acknowledged; they are in quarantine"
                )
            }
            Note::Lost {
                from,
                to,
                at,
                uid,
                reason,
            } => {
                let lost = to.saturating_sub(*from);
                // What a person wrote must not drive the terminal.
                let reason = reason.escape_debug();
                write!(
                    f,
                    "LOST: {lost} signed entries from {from} on, and whatever was not signed behind them; user {uid} accepted it at {at}: {reason}"
                )
            }
            Note::Destroyed { epoch, end } => write!(
                f,
                "the keys of {epoch} were destroyed at {} by user {}: {}",
                end.at,
                end.by.uid,
                end.reason.escape_debug()
            ),
            Note::Undestroyed { epoch } => write!(
                f,
                "the keys of {epoch} were about to be destroyed, and are there: `audit destroy` finishes it"
            ),
            Note::Restored {
                sequence,
                entries,
                at,
                uid,
                reason,
            } => write!(
                f,
                "RESTORED: from entry {sequence} on the log goes on from a backup of {entries} entries; what was written behind them is not in it; user {uid} at {at}: {}",
                reason.escape_debug()
            ),
            Note::UnusedKey { name } => {
                write!(f, "nothing is sealed under the key of keys/{name}")
            }
            Note::Odd {
                oddity,
                first,
                times,
                cites,
            } => write!(
                f,
                "{} ({cites}), first at entry {first}",
                oddity.told(*times)
            ),
            Note::Clock {
                unsynchronized,
                checkpoints,
                first,
                since,
            } => {
                write!(
                    f,
                    "when {unsynchronized} of {} were signed, the clock was not known to be synchronized (45 CFR 170.210(g)), first that of {}",
                    terminal::counted(*checkpoints, "checkpoint"),
                    terminal::counted(*first, "entry/entries"),
                )?;
                match since {
                    Some(since) => write!(
                        f,
                        "; still so at the last, since that of {}",
                        terminal::counted(*since, "entry/entries")
                    ),
                    None => Ok(()),
                }
            }
            Note::Unjudged { first, records } => write!(
                f,
                "{} of requests too long ago to be remembered, first at entry {first}: whether they may stand there was not looked at",
                terminal::counted(*records, "record")
            ),
            Note::GivenUp { segment } => write!(
                f,
                "segment {segment} was given up after a failed write; the log goes on in the next"
            ),
        }
    }
}
