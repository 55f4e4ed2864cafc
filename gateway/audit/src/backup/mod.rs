//! `audit backup`: the signed part of a log in another place, as a log that `verify` and `show` take.
//!
//! ```text
//! held    what the backup holds, and whether the log goes on from there: else nothing is done
//! signed  the log's last checkpoint, where it ends, what it tells of
//! copy    all up to there into a fresh directory; what cannot change any more is linked
//! verify  the whole of it, with the key from outside
//! place   the fresh directory in the place of the old one, at once
//! ```
//!
//! Works on the log of a running gateway. What survives a crash, a full disk or a kill here: the backup
//! as it was, or the new one as a whole; so does a log that was damaged or changed, since nothing takes
//! the backup's place that does not verify. What is left aside the next attempt removes.
//!
//! A backup is marked, and nothing is added to it: a gateway does not start on it, and reads of it are
//! not on record. It follows the log in what is destroyed: a record of a key whose destruction the log
//! tells of is not in the next one, and is overwritten in the last.

mod error;

pub(crate) mod place;

pub(crate) mod signed;

mod held;

pub(crate) mod copy;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::checkpoints::says_signed;
use crate::event::Digest;
use crate::lock::has_writer;
use crate::merkle::range::Head;
use crate::opened::pause;
use crate::read::{Position, Reader};
use crate::verify::{self, Asked, Report, Verdict};

pub use copy::Done;
use copy::{Transfer, key_digests};
pub use error::{BackupError, Wrong};
use held::Held;
use place::Aside;
use signed::{Signed, Told, ending, epoch_of, walk};

/// Where long work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Segment so many of so many is copied.
    Copying(u64, u64),
    /// Segment so many of so many is verified.
    Verifying(u64, u64),
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stage::Copying(segment, last) => write!(f, "copying segment {segment} of {last}"),
            Stage::Verifying(segment, last) => write!(f, "verifying segment {segment} of {last}"),
        }
    }
}

/// A backup that can begin: the place is ours, and the log goes on from what it holds.
#[derive(Debug)]
pub struct Begun {
    from: PathBuf,
    aside: Aside,
    held: Option<Held>,
    entries: u64,
}

/// A backup that was made.
#[derive(Debug)]
pub struct Made {
    /// What verifying it came to.
    pub report: Report,
    /// How many entries it holds, and the root over them.
    pub head: Head,
    /// How many it held before.
    pub before: u64,
    /// What it took.
    pub done: Done,
}

/// Looks at the log in `from` and at the place for its backup, and takes the place. Nothing is written
/// but beside the place, and no entry is read.
///
/// # Errors
/// [`BackupError`]; the backup, if there is one, is as it was.
pub fn begin(from: &Path, to: &Path) -> Result<Begun, BackupError> {
    let signed = Signed::of(from)?;
    place::apart(from, to)?;
    let aside = Aside::take(to)?;
    let held = Held::of(aside.place())?;
    if let Some(held) = &held {
        held.anchors(from, &signed)?;
    }
    Ok(Begun {
        from: from.to_owned(),
        aside,
        held,
        entries: signed.head.size,
    })
}

impl Begun {
    /// How many entries the last checkpoint is about.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Makes the backup, as of the checkpoint that is the last one now, verifies it with the key that is
    /// asked for, and puts it into its place.
    ///
    /// # Errors
    /// [`BackupError`]; the backup, if there is one, is as it was.
    pub fn make(
        self,
        asked: &Asked<'_>,
        watch: &mut dyn FnMut(Stage),
    ) -> Result<Made, BackupError> {
        let Begun {
            from, aside, held, ..
        } = self;
        // Before the log is looked at: what is destroyed by then it tells, and nothing is until it is copied.
        let still = copy::still(&from)?;
        let (signed, end, told) = look(&from, held.as_ref())?;
        let copy = Transfer {
            from: &from,
            held: held.as_ref(),
            into: aside.target(),
            signed: &signed,
            end,
            told: &told,
            is_backup: true,
            done: Done::default(),
            folders: BTreeSet::new(),
        };
        let done = copy.make(still, &mut |segment, last| {
            watch(Stage::Copying(segment, last));
        })?;
        let report = verified(&aside.log(), asked, watch)?;
        // The entry behind the first checkpoint names the key: before it is signed, nobody could go on
        // with a restored log.
        let said = says_signed(&aside.log(), signed.head.size);
        if !said.map_err(BackupError::disk("read", &from))? {
            return Err(BackupError::Unsigned);
        }
        let before = held.as_ref().map_or(0, |held| held.signed.head.size);
        aside.put()?;
        Ok(Made {
            report,
            head: signed.head,
            before,
            done,
        })
    }
}

/// The log as it is now, while nobody destroys keys of it. One whose keys were destroyed a moment ago is
/// looked at again once that is signed: before that, a copy would lack records without a word why.
fn look(from: &Path, held: Option<&Held>) -> Result<(Signed, Position, Told), BackupError> {
    const LOOKS: u32 = 30;
    let theirs = key_digests(from)?;
    let ours = held.map(|held| key_digests(&held.directory)).transpose()?;
    let ours = ours.unwrap_or_default();
    let view = |signed: Signed| {
        if let Some(held) = held {
            held.anchors(from, &signed)?;
        }
        let (end, told) = extent(from, held, &signed)?;
        Ok::<_, BackupError>((signed, end, told))
    };
    let mut looked = view(Signed::of(from)?)?;
    for _ in 1..LOOKS {
        match unsigned_end(from, &looked, &theirs, &ours)? {
            None => return Ok(looked),
            Some(_) if has_writer(from).map_err(BackupError::disk("look at", from))? => pause(),
            Some(epoch) => return Err(BackupError::Ending { epoch }),
        }
        let signed = Signed::of(from)?;
        if signed.head != looked.0.head {
            looked = view(signed)?;
        }
    }
    match unsigned_end(from, &looked, &theirs, &ours)? {
        None => Ok(looked),
        Some(epoch) => Err(BackupError::Ending { epoch }),
    }
}

/// An epoch of which records are missing, and of whose end the log tells in what is not signed.
fn unsigned_end(
    from: &Path,
    (signed, _, told): &(Signed, Position, Told),
    theirs: &BTreeMap<String, Digest>,
    ours: &BTreeMap<String, Digest>,
) -> Result<Option<String>, BackupError> {
    let mut missing = told.missing(theirs, ours).map(epoch_of).peekable();
    if missing.peek().is_none() {
        return Ok(None);
    }
    let ending = ending(from, signed.head.size).map_err(BackupError::disk("read", from))?;
    let epoch = missing.find(|epoch| ending.contains(*epoch));
    Ok(epoch.map(str::to_owned))
}

/// Where the signed part of a log ends, and what it tells of behind what is held.
fn extent(
    from: &Path,
    held: Option<&Held>,
    signed: &Signed,
) -> Result<(Position, Told), BackupError> {
    let reader = match held {
        None => Reader::new(from),
        Some(held) => {
            let reader = Reader::near(from, held.signed.head.size);
            let reader = reader.map_err(BackupError::disk("read", from))?;
            let segment = held.end.segment;
            if reader.position().segment != segment {
                return Err(BackupError::Lost { segment });
            }
            reader
        }
    };
    let behind = held.map_or(0, |held| held.signed.head.size);
    walk(reader, behind, signed.head.size)
}

/// Verifies a copy as a whole. What does not pass is an error.
pub(crate) fn verified(
    log: &Path,
    asked: &Asked<'_>,
    watch: &mut dyn FnMut(Stage),
) -> Result<Report, BackupError> {
    signed::plain(log)?;
    let report = verify::verify_watched(log, asked, &mut |segment, last| {
        watch(Stage::Verifying(segment, last));
    });
    let report = report.map_err(BackupError::disk("verify", log))?;
    match report.verdict() {
        Verdict::Good => Ok(report),
        Verdict::Tampered | Verdict::Truncated | Verdict::CannotVerify => {
            Err(BackupError::Verdict(Box::new(report)))
        }
    }
}

/// A copy of a whole log that is not to be a backup, into a directory that nobody else knows.
pub(crate) fn copied(
    from: &Path,
    into: PathBuf,
    watch: &mut dyn FnMut(Stage),
) -> Result<(Head, Done), BackupError> {
    let still = copy::still(from)?;
    let signed = Signed::of(from)?;
    let (end, told) = extent(from, None, &signed)?;
    let copy = Transfer {
        from,
        held: None,
        into,
        signed: &signed,
        end,
        told: &told,
        is_backup: false,
        done: Done::default(),
        folders: BTreeSet::new(),
    };
    let done = copy.make(still, &mut |segment, last| {
        watch(Stage::Copying(segment, last));
    })?;
    Ok((signed.head, done))
}
