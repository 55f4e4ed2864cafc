//! The end of an epoch: its keys are destroyed, and nobody reads its entries any more.
//!
//! ```text
//! verify -> judge -> entry "about to be" -> records overwritten, removed -> entry "done"
//! ```
//!
//! Entries, hashes and proofs stay; what goes is the one way to what they say. Nothing is destroyed before its
//! time, or while somebody holds it, or of a log that does not verify: it might hide a hold. There is no way
//! around these rules (fail closed). Backups keep copies of the records until they are brought up to date.
//!
//! What survives a crash here: between the two entries some records may be there and some not; `verify` says
//! so, and doing it again finishes it. Each entry is durable before the next step.
//!
//! Who keeps or copies keys holds the folder of the records locked, so that no hold comes in between.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::entry;
use crate::event::{Destruction, Digest, Event, Hold, MAX_REASON, Time};
use crate::keeping::{Forbidden, Keeping};
use crate::key_records;
use crate::lock::has_writer;
use crate::read::{self, Reader, Step};
use crate::reading::{self, RecordError};
use crate::seal::epoch::Epoch;
use crate::seal::sealed::Leaf;
use crate::storage;
use crate::verify::{self, Asked, Report, Verdict, verify_watched};

/// Which epochs are to end.
#[derive(Debug, Clone)]
pub enum Which {
    /// All whose time is over, and that nobody holds.
    Due,
    /// These.
    Named(Vec<Epoch>),
}

/// Epochs that ended, also when a later one could not.
#[derive(Debug, Default)]
pub struct Ended {
    /// Each with the records of keys that were removed.
    pub epochs: Vec<(Epoch, usize)>,
    /// Indexes in the log's directory that were removed: they told of what is gone. They can be made again.
    pub indexes: Vec<String>,
}

/// Ends epochs of the log in `directory`, for `reason`, and adds them to `ended`, one by one. `watch` is told
/// how far the log is verified.
///
/// # Errors
/// [`KeepError`]. What ended before it is on record, and in `ended`.
pub fn destroy(
    directory: &Path,
    asked: &Asked<'_>,
    which: &Which,
    reason: &str,
    now: &dyn Fn() -> Time,
    watch: &mut dyn FnMut(u64, u64),
    ended: &mut Ended,
) -> Result<(), KeepError> {
    judge_reason(reason)?;
    // Root would follow wherever the owner lets a name lead.
    let owner = std::fs::metadata(directory).map_err(KeepError::Read)?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(KeepError::NotOwner { owner });
    }
    let _still = key_records::hold_still(directory).map_err(still)?;
    let report = sound(directory, asked, watch)?;
    let (mut keeping, mut next) = (report.keeping, report.entries + report.lost);
    let epochs: Vec<Epoch> = match which {
        Which::Named(epochs) => epochs.clone(),
        Which::Due => {
            let open = keeping.epochs().filter(|(_, life)| !life.is_over());
            let due = open.filter(|(epoch, _)| keeping.judge(epoch, now()).is_ok());
            due.map(|(epoch, _)| epoch.clone()).collect()
        }
    };
    // All are judged before the first one ends.
    for epoch in &epochs {
        keeping
            .judge(epoch, now())
            .map_err(|forbidden| KeepError::Forbidden {
                epoch: epoch.clone(),
                forbidden,
            })?;
    }
    for epoch in epochs {
        // What became of the log while it was verified counts too, and so does the clock.
        catch_up(directory, &mut keeping, &mut next).map_err(KeepError::Read)?;
        let judged = keeping.judge(&epoch, now());
        judged.map_err(|forbidden| KeepError::Forbidden {
            epoch: epoch.clone(),
            forbidden,
        })?;
        end(directory, &epoch, reason, ended)?;
    }
    Ok(())
}

/// Places a hold on months of the log in `directory`, or releases it.
///
/// # Errors
/// [`KeepError`]; the hold is then as it was.
pub fn hold(
    directory: &Path,
    asked: &Asked<'_>,
    hold: Hold<'_>,
    watch: &mut dyn FnMut(u64, u64),
) -> Result<(), KeepError> {
    judge_reason(hold.reason)?;
    if !hold.is_plain() {
        return Err(KeepError::Hold);
    }
    let _still = key_records::hold_still(directory).map_err(still)?;
    // To place one a log need not be whole: what is there is then held all the same.
    if !hold.placed {
        let keeping = keeping(directory, asked, watch)?;
        if !keeping.holds().any(|(name, _)| name == hold.name) {
            return Err(KeepError::NoHold);
        }
    }
    let put = reading::put(directory, Event::Hold(hold));
    put.map(drop).map_err(KeepError::Unrecorded)
}

/// What a log that verifies says of how long it is kept.
///
/// # Errors
/// [`KeepError`].
pub fn keeping(
    directory: &Path,
    asked: &Asked<'_>,
    watch: &mut dyn FnMut(u64, u64),
) -> Result<Keeping, KeepError> {
    sound(directory, asked, watch).map(|report| report.keeping)
}

/// The report of a log that verifies.
fn sound(
    directory: &Path,
    asked: &Asked<'_>,
    watch: &mut dyn FnMut(u64, u64),
) -> Result<Report, KeepError> {
    let report = verify_watched(directory, asked, watch).map_err(KeepError::Read)?;
    match report.verdict() {
        Verdict::Good => Ok(report),
        Verdict::Tampered | Verdict::Truncated | Verdict::CannotVerify => {
            Err(KeepError::Unsound(Box::new(report)))
        }
    }
}

/// Takes in what was added from entry `next` on. What cannot be read there might be a hold, so it is an error.
fn catch_up(directory: &Path, keeping: &mut Keeping, next: &mut u64) -> io::Result<()> {
    let mut reader = Reader::near(directory, *next)?;
    let mut stuck = 0;
    loop {
        let (first, records) = match reader.step()? {
            Step::Segment(_) => continue,
            Step::Batch {
                sequence, records, ..
            } => (sequence, records),
            Step::End => return Ok(()),
            // A live log is between two states; give it a moment to reach the next.
            Step::Fault(_) if stuck < verify::PATIENCE && has_writer(directory)? => {
                stuck += 1;
                verify::pause();
                continue;
            }
            Step::Fault(fault) => {
                let message = format!("what was added meanwhile is {fault}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        };
        for (sequence, leaf) in read::entries(first, &records) {
            if sequence < *next {
                continue;
            }
            if let Ok(Leaf::Clear(bytes)) = Leaf::parse(leaf)
                && let Ok(entry) = entry::decode(bytes)
            {
                keeping.take(sequence, entry.time, &entry.event);
            }
            *next = sequence + 1;
        }
    }
}

/// Ends one epoch. What was removed is in `ended` as soon as it is, whether or not the log says so too.
fn end(directory: &Path, epoch: &Epoch, reason: &str, ended: &mut Ended) -> Result<(), KeepError> {
    let records = key_records::of_epoch(directory, epoch).map_err(KeepError::Read)?;
    let lines = records
        .iter()
        .map(|(name, digest)| format!("{name} {digest}\n"));
    let digest = Digest::of(lines.collect::<String>().as_bytes());
    let name = epoch.to_string();
    let said = |done| {
        Event::Destruction(Destruction {
            epoch: &name,
            done,
            keys: u32::try_from(records.len()).unwrap_or(u32::MAX),
            digest,
            reason,
            by: reading::own_hand(),
        })
    };
    reading::put(directory, said(false)).map_err(KeepError::Unrecorded)?;
    let names = records.iter().map(|(name, _)| name.clone());
    key_records::remove(directory, epoch, names).map_err(KeepError::Write)?;
    ended.epochs.push((epoch.clone(), records.len()));
    let indexes = remove_indexes(directory).map_err(KeepError::Write)?;
    ended.indexes.extend(indexes);
    let put = reading::put(directory, said(true));
    put.map(drop).map_err(KeepError::Unfinished)
}

/// Removes what readers drew from the log and left in its directory.
fn remove_indexes(directory: &Path) -> io::Result<Vec<String>> {
    let names = storage::list(directory)?.into_iter();
    let indexes: Vec<_> = names
        .filter(|name| name.starts_with("index") && directory.join(name).is_file())
        .collect();
    for name in &indexes {
        std::fs::remove_file(directory.join(name))?;
    }
    Ok(indexes)
}

fn judge_reason(reason: &str) -> Result<(), KeepError> {
    if reason.trim().is_empty() || reason.len() > MAX_REASON {
        return Err(KeepError::Reason);
    }
    Ok(())
}

fn still(error: io::Error) -> KeepError {
    match error.kind() {
        io::ErrorKind::WouldBlock => KeepError::Busy,
        _ => KeepError::Read(error),
    }
}

/// Why nothing ends, or is held.
#[derive(Debug)]
pub enum KeepError {
    /// The reason is empty, or longer than [`MAX_REASON`] bytes.
    Reason,
    /// The name or a month of a hold is none.
    Hold,
    /// No such hold stands.
    NoHold,
    /// An epoch must not end yet.
    Forbidden {
        /// Which.
        epoch: Epoch,
        /// Why.
        forbidden: Forbidden,
    },
    /// The log is another user's.
    NotOwner {
        /// Whose.
        owner: u32,
    },
    /// The log does not verify.
    Unsound(Box<Report>),
    /// Somebody else keeps or copies its keys at the moment.
    Busy,
    /// It could not be put on record, so it was not done.
    Unrecorded(RecordError),
    /// It was done, and is on record as begun; that it was done could not be put on record.
    Unfinished(RecordError),
    /// Something cannot be read.
    Read(io::Error),
    /// Something cannot be removed.
    Write(io::Error),
}

impl KeepError {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            KeepError::Reason => "say in a sentence why, for an auditor: --reason TEXT",
            KeepError::Hold => {
                "a name has 1 to 64 bytes, and a month is written 2026-11: --name, --from, --to"
            }
            KeepError::NoHold => "`audit keep` lists the holds that stand",
            KeepError::Forbidden { forbidden, .. } => match forbidden {
                Forbidden::Held { .. } => "release the hold first, if it is yours to release",
                Forbidden::Early { .. } => {
                    "a period that was promised when something was written is not made shorter"
                }
                Forbidden::Unknown | Forbidden::Unannounced | Forbidden::TooMuch => {
                    "`audit keep` lists the months and classes of a log"
                }
            },
            KeepError::Unsound(_) => "`audit verify` says what is wrong; nothing ends before that",
            KeepError::NotOwner { .. } => "do it as the log's owner, with sudo -u for instance",
            KeepError::Busy => "try again when it is done",
            KeepError::Unrecorded(_) => {
                "do it as the log's owner or as root; a gateway that serves the log has to answer"
            }
            KeepError::Unfinished(_) => "do it again, so that the log tells of its end",
            KeepError::Read(_) | KeepError::Write(_) => "check the disk, and who owns the files",
        }
    }
}

impl fmt::Display for KeepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeepError::Reason => write!(f, "the reason is empty or over {MAX_REASON} bytes"),
            KeepError::Hold => f.write_str("that is no hold"),
            KeepError::NoHold => f.write_str("no hold of this name stands"),
            KeepError::Forbidden { epoch, forbidden } => {
                write!(f, "the keys of {epoch} are not destroyed: {forbidden}")
            }
            KeepError::NotOwner { owner } => write!(f, "the log belongs to user {owner}"),
            KeepError::Unsound(report) => match report.findings.first() {
                Some(finding) => write!(f, "the log does not verify: {finding}"),
                None => f.write_str("the log does not verify"),
            },
            KeepError::Busy => f.write_str("somebody keeps or copies the keys of this log"),
            KeepError::Unrecorded(error) => write!(f, "it cannot be put on record: {error}"),
            KeepError::Unfinished(error) => {
                write!(f, "it is done, which cannot be put on record: {error}")
            }
            KeepError::Read(error) => write!(f, "cannot read: {error}"),
            KeepError::Write(error) => write!(f, "cannot remove: {error}"),
        }
    }
}

impl std::error::Error for KeepError {}
