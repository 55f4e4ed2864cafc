//! Whether a log is whole and unchanged: findings with their place, not a yes or no.
//!
//! What is found: a changed, moved, missing or added byte, batch, segment or file, a cut end, an
//! entry that is not what an entry is; of a signed log, every checkpoint and tile that is not what
//! these entries make it, and a key that is not the one from outside. What is not: a change of what
//! is not signed yet that begins or ends exactly behind a batch, and a machine that was put back as a
//! whole. The report says how many entries are not signed.
//!
//! Works on the directory of a running gateway too: the batch that is being written is then not a
//! finding. Needs no secret: the rules of meaning (`meaning`) ask what stands in the clear.

mod breach;

mod report;

mod words;

mod clock;

mod requests;

mod meaning;

mod lineage;

mod signatures;

mod tree;

mod witnessed;

mod beside;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::checkpoints::history::CHECKPOINTS;
use crate::checkpoints::is_signed;
use crate::checkpoints::store::{ASIDE, CHECKPOINT, TILE};
use crate::checkpoints::witnessed::WITNESSED;
use crate::entry;
use crate::event::{Damage, Digest, Discontinuity, Event, Recovered, SigningKey, Time};
use crate::extent::{Extent, extent_of};
use crate::files::{self, Directory, is_no_evidence};
use crate::frame::{BLOCK, Fault, MAX_BATCH};
use crate::keeping::Forbidden;
use crate::key_records::{self, RECORDS};
use crate::lock::{BACKUP, BACKUP_TEXT, LOCK, has_writer};
use crate::merkle::key::Verifier;
use crate::read::{self, Position, Reader, Step};
use crate::reading::SOCKET;
use crate::recover::segment_name;
use crate::seal::epoch::KeyId;
use crate::seal::sealed::Leaf;
use crate::storage::regular;

use meaning::Meaning;
use tree::Tree;
use witnessed::Evidence;

pub use breach::{Breach, Oddity};
pub use clock::Stamped;
pub use report::{
    CheckpointFault, Finding, InForce, Note, Report, RotationFault, Signed, TileFault, Verdict,
    Witnessed, WitnessedFault,
};
pub use witnessed::{Cosigned, OutsideError};

/// What is asked of a verification.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// A key that the log must be signed with: it may have begun with this one, or have come to it by
    /// rotations. Without one, it is the key that the log itself names.
    pub key: Option<&'a Verifier>,
    /// Whether nothing passes but what is signed with a key from outside.
    pub strict: bool,
    /// Keys of witnesses, whose cosignatures are verified. Those of others are checked in form, and
    /// against the entries.
    pub witnesses: &'a [Verifier],
    /// Checkpoints that these witnesses cosigned, from outside of the log.
    pub cosigned: &'a [Cosigned],
}

/// Looks at everything in `directory`. If it is signed, the key is the one that it names itself.
///
/// # Errors
/// What the operating system says when something cannot be read.
pub fn verify(directory: &Path) -> io::Result<Report> {
    verify_watched(directory, &Asked::default(), &mut |_, _| ())
}

/// The same, with what is asked, and for whoever waits: `watch` is told of each segment that is
/// begun, and of how many there are.
///
/// # Errors
/// What the operating system says when something cannot be read.
pub fn verify_watched(
    directory: &Path,
    asked: &Asked<'_>,
    watch: &mut dyn FnMut(u64, u64),
) -> io::Result<Report> {
    let begun = Time::from_system(SystemTime::now());
    let mut report = Report {
        live: has_writer(directory)?,
        ..Report::default()
    };
    let is_there = |name: &str| directory.join(name).try_exists();
    if !is_there("wal")? {
        // Another directory, whatever lies there, is nobody's evidence; a log that is gone is.
        let finding = if is_there(LOCK)? {
            Finding::Gone
        } else {
            std::fs::read_dir(directory)?;
            Finding::Empty
        };
        report.find(finding);
        return Ok(report);
    }
    let known = [
        "wal",
        RECORDS,
        LOCK,
        BACKUP,
        CHECKPOINT,
        CHECKPOINTS,
        WITNESSED,
        TILE,
        ASIDE,
    ];
    for name in crate::storage::list(directory)? {
        let is_no_evidence = is_no_evidence(&name) || is_socket(directory, &name)?;
        if !known.contains(&name.as_str()) && !is_no_evidence {
            report.find(Finding::Stranger { name });
        }
    }
    if std::fs::metadata(directory.join(LOCK)).is_ok_and(|lock| lock.len() > 0) {
        report.find(Finding::Stranger {
            name: LOCK.to_owned(),
        });
    }
    marked(directory, &mut report)?;
    // What is cosigned is looked at before what is signed, and that before the entries: on a live log
    // they are then all there.
    let mut evidence = Evidence::find(directory, report.live, asked, &mut report)?;
    let tree = Tree::find(directory, report.live, asked.key, &mut report)?;
    let keys = tree.as_ref().map_or_else(Vec::new, Tree::known_keys);
    evidence.begin(&keys, asked.cosigned, &mut report)?;
    // Keys that are there now may be destroyed before the walk ends.
    let keys_before = key_records::list(directory)?;
    let (segments, others) = read::inventory(directory)?;
    let Some(&last) = segments.last() else {
        report.find(match &tree {
            Some(_) => Finding::Gone,
            None => Finding::Empty,
        });
        evidence.end(0, &keys, &mut report)?;
        return Ok(report);
    };
    if let Some(segment) = (1..=last).find(|number| !segments.contains(number)) {
        report.find(Finding::MissingSegment { segment });
    }
    let mut walk = Walk {
        directory,
        last,
        until: last,
        unsigned_since: None,
        report,
        tree,
        meaning: Meaning::new(),
        evidence,
        recovered: Vec::new(),
        segment: 0,
        first: 0,
        damage: Vec::new(),
        behind: None,
        keys: BTreeMap::new(),
        told: HashSet::new(),
        destroyed: BTreeSet::new(),
        key: None,
        watch,
    };
    walk.run()?;
    walk.account_for(&others)?;
    // After the walk: a record is there before the log tells of its key.
    walk.account_for_keys(&keys_before, key_records::list(directory)?);
    let Walk {
        mut report,
        tree,
        unsigned_since,
        meaning,
        evidence,
        ..
    } = walk;
    meaning.end(&mut report);
    // Nothing can be held against a log without a tree.
    let (size, keys) = match &tree {
        Some(tree) => (tree.size(), tree.known_keys()),
        None => (0, Vec::new()),
    };
    evidence.end(size, &keys, &mut report)?;
    match tree {
        Some(tree) => tree.end(&mut report)?,
        None if asked.key.is_some() || asked.strict => report.find(Finding::Unsigned),
        None => {}
    }
    if asked.strict && report.signed.as_ref().is_some_and(|s| s.self_asserted) {
        report.find(Finding::SelfAsserted);
    }
    if asked.strict
        && report.unsigned() > 0
        && let Some(since) = unsigned_since
        && (!report.live || since.0.saturating_add(SIGNED_WITHIN) < begun.0)
    {
        let entries = report.unsigned();
        report.find(Finding::UnsignedTail { entries, since });
    }
    Ok(report)
}

/// On a live log, nanoseconds within which an entry should be signed: many times of what it takes.
const SIGNED_WITHIN: u64 = 60_000_000_000;

/// Says so of a backup. Its mark is one text and no other: nothing hides there.
fn marked(directory: &Path, report: &mut Report) -> io::Result<()> {
    let is_no_file = |name| match std::fs::symlink_metadata(directory.join(name)) {
        Ok(found) => Ok(!found.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    let lock = Finding::Stranger {
        name: LOCK.to_owned(),
    };
    if is_no_file(LOCK)? && !report.findings.contains(&lock) {
        report.find(lock);
    }
    let mark = if is_no_file(BACKUP)? {
        Some(Vec::new())
    } else {
        files::read(&Directory::new(directory), BACKUP, BACKUP_TEXT.len())?
    };
    match mark {
        None => {}
        Some(text) if text == BACKUP_TEXT.as_bytes() => report.notes.push(Note::Backup),
        Some(_) => report.find(Finding::Stranger {
            name: BACKUP.to_owned(),
        }),
    }
    Ok(())
}

/// Whether this is where a gateway serves readers of the log, or once did.
fn is_socket(directory: &Path, name: &str) -> io::Result<bool> {
    if name != SOCKET {
        return Ok(false);
    }
    match std::fs::symlink_metadata(directory.join(name)) {
        Ok(found) => Ok(found.file_type().is_socket()),
        // A gateway that stops takes it away.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

struct Walk<'a> {
    directory: &'a Path,
    last: u64,
    /// The last segment that there was when the walk began. A live log is not followed beyond it, or a
    /// writer that is faster than we are would keep us for ever.
    until: u64,
    /// The time of the first entry behind the last checkpoint.
    unsigned_since: Option<Time>,
    report: Report,
    tree: Option<Tree>,
    meaning: Meaning,
    evidence: Evidence,
    recovered: Vec<Recovered>,
    /// The segment that is read.
    segment: u64,
    /// The number of its first entry: the one that may tell of a loss before it, and no other, or a log
    /// could tell of more than there is memory for.
    first: u64,
    /// What stays as evidence of accepted losses, each with the segment that the log went on behind.
    damage: Vec<(u64, Damage)>,
    /// Where something stands behind the end of the segment before: the entry that comes next accounts
    /// for it, or nothing does.
    behind: Option<Position>,
    /// The keys that the log told of: the names of their records, and what these must be.
    keys: BTreeMap<String, Digest>,
    /// The ids of all keys that the log told of.
    told: HashSet<KeyId>,
    /// Names of records that were destroyed.
    destroyed: BTreeSet<String>,
    /// One of them, which the last sealed entry was under.
    key: Option<KeyId>,
    watch: &'a mut dyn FnMut(u64, u64),
}

impl Walk<'_> {
    fn run(&mut self) -> io::Result<()> {
        let mut reader = Reader::new(self.directory);
        let mut stuck = 0;
        // Set once the end was reached and more was there a moment later.
        let mut caught_up = false;
        loop {
            let (before, expected) = (reader.position(), reader.sequence());
            match reader.step()? {
                Step::Segment(header) => {
                    stuck = 0;
                    if header.first_sequence > expected {
                        self.lost(expected, header.first_sequence)?;
                    }
                    (self.segment, self.first) = (header.number, header.first_sequence);
                    self.last = self.last.max(header.number);
                    if header.number > 1 {
                        self.behind(
                            header.number - 1,
                            header.previous_end,
                            header.previous_failed,
                        )?;
                    }
                    if self.report.live && header.number > self.until {
                        return Ok(());
                    }
                    self.report.segments += 1;
                    (self.watch)(header.number, self.last);
                }
                Step::Batch {
                    sequence, records, ..
                } => {
                    stuck = 0;
                    self.report.batches += 1;
                    self.entries(sequence, &records)?;
                    if let Some(at) = self.behind.take() {
                        self.report.find(Finding::Added { at });
                    }
                    if caught_up {
                        // All that was there when the end was reached is whole; what a busy writer
                        // adds meanwhile is the next verification's.
                        return Ok(());
                    }
                }
                step @ (Step::End | Step::Fault(_)) => {
                    let moving = self.report.live && self.is_moving(before)?;
                    if moving && stuck < PATIENCE {
                        // A live log is between two states; give it a moment to reach the next.
                        caught_up = true;
                        stuck += 1;
                        pause();
                        continue;
                    }
                    let fault = match step {
                        Step::Fault(fault) => fault,
                        _ => Fault::Blank,
                    };
                    if fault == Fault::Blank && self.report.live && !moving {
                        return Ok(());
                    }
                    return self.end(before, reader.sequence(), fault);
                }
            }
        }
    }

    fn entries(&mut self, sequence: u64, records: &[u8]) -> io::Result<()> {
        for (sequence, leaf) in read::entries(sequence, records) {
            self.report.entries += 1;
            match Leaf::parse(leaf) {
                Ok(Leaf::Clear(bytes)) => self.clear(sequence, bytes)?,
                Ok(Leaf::Sealed(sealed)) => {
                    self.saw(sequence, sealed.header.time, false);
                    self.under(sequence, sealed.header.key);
                    self.meaning
                        .sealed(sequence, &sealed.header, &mut self.report);
                }
                Err(error) => self.report.find(Finding::Leaf { sequence, error }),
            }
            // Behind what it says: a rotation is a part of what the new key signs first.
            if let Some(tree) = &mut self.tree {
                tree.take(leaf, &mut self.report)?;
                if self.evidence.is_due(tree.size()) {
                    let keys = tree.known_keys();
                    self.evidence.reach(tree.head(), &keys, &mut self.report)?;
                }
            }
        }
        Ok(())
    }

    fn clear(&mut self, sequence: u64, bytes: &[u8]) -> io::Result<()> {
        let entry = match entry::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                self.report.find(Finding::Entry { sequence, error });
                return Ok(());
            }
        };
        let is_read = matches!(
            entry.event,
            Event::LogRead(_) | Event::Backup(_) | Event::Restored(_)
        );
        self.saw(sequence, entry.time, is_read);
        self.meaning
            .clear(sequence, bytes, &entry, &mut self.report);
        if let Some(forbidden) = self.report.keeping.take(sequence, entry.time, &entry.event)
            && let Event::Destruction(end) = &entry.event
        {
            let epoch = end.epoch.chars().take(64).collect();
            self.report.find(Finding::Destroyed {
                sequence,
                epoch,
                forbidden,
            });
        }
        match entry.event {
            Event::Destruction(end) if end.done => {
                let of_it = format!("{}/", end.epoch);
                let gone = self
                    .keys
                    .extract_if(of_it.clone().., |name, _| name.starts_with(&of_it));
                self.destroyed.extend(gone.map(|(name, _)| name));
            }
            Event::Restored(restored) if sequence == self.first => {
                self.report.notes.push(Note::Restored {
                    sequence,
                    entries: restored.entries,
                    at: entry.time,
                    uid: restored.by.uid,
                    reason: restored.reason.to_owned(),
                });
            }
            Event::Recovered(recovered) => self.recovered.push(recovered),
            Event::EpochKey(key) => {
                self.told.extend(KeyId::parse(key.key));
                let name = format!("{}/{}", key.epoch, key.key);
                self.keys.insert(name, key.record);
            }
            Event::Discontinuity(loss) if sequence == self.first => {
                self.accepted(entry.time, loss);
            }
            Event::SigningKey(named) => self.signing_key(sequence, &named)?,
            _ => {}
        }
        Ok(())
    }

    /// Judges an entry that says with which key the log is signed.
    fn signing_key(&mut self, sequence: u64, named: &SigningKey<'_>) -> io::Result<()> {
        let finding = match &mut self.tree {
            // A live log may have been signed for the first time since we looked.
            None if self.report.live && is_signed(&Directory::new(self.directory))? => {
                return Ok(());
            }
            None => Finding::NoCheckpoint { sequence },
            Some(tree) => match named.rotation {
                Some(note) => match tree.rotate(sequence, named.key, note) {
                    Ok(()) => return Ok(()),
                    Err(fault) => Finding::Rotation { sequence, fault },
                },
                None if tree.is_other_key(named.key) => Finding::OtherKeyNamed { sequence },
                None => return Ok(()),
            },
        };
        self.report.find(finding);
        Ok(())
    }

    /// Holds the key that an entry is sealed under against those that the log told of.
    fn under(&mut self, sequence: u64, key: KeyId) {
        if self.key == Some(key) {
            return;
        }
        if self.told.contains(&key) {
            self.key = Some(key);
        } else {
            self.report.find(Finding::UnknownKey { sequence, key });
        }
    }

    /// Who reads, copies or restores a log that nobody serves leaves an entry that the next start signs:
    /// that much is in order.
    fn saw(&mut self, sequence: u64, time: Time, is_read: bool) {
        if !is_read
            && self
                .tree
                .as_ref()
                .is_some_and(|tree| sequence >= tree.claimed())
        {
            self.unsigned_since.get_or_insert(time);
        }
        self.report.first.get_or_insert(time);
        self.report.last = Some(time);
        if let Some((sequence, epoch, due)) = self.report.keeping.was_ahead(time) {
            self.report.find(Finding::Destroyed {
                sequence,
                epoch: epoch.to_string(),
                forbidden: Forbidden::Early { due },
            });
        }
    }

    /// Judges what lies behind the end of a segment that has a successor.
    fn behind(&mut self, segment: u64, end: u64, failed: bool) -> io::Result<()> {
        let Some(extent) = self.extent(segment, end)? else {
            return Ok(());
        };
        if failed && extent.blank_after <= end + MAX_BATCH as u64 {
            self.report.notes.push(Note::GivenUp { segment });
        } else {
            let offset = extent.first;
            if let Some(at) = self.behind.replace(Position { segment, offset }) {
                self.report.find(Finding::Added { at });
            }
        }
        Ok(())
    }

    /// Passes entries whose loss was accepted. Of those that were signed the tiles hold the hashes,
    /// which the checkpoints must bear out.
    fn lost(&mut self, from: u64, to: u64) -> io::Result<()> {
        self.report.lost += to - from;
        match &mut self.tree {
            Some(tree) => tree.pass(to, &mut self.evidence, &mut self.report),
            None => Ok(()),
        }
    }

    /// Takes what an entry says of a loss that was accepted.
    fn accepted(&mut self, at: Time, loss: Discontinuity<'_>) {
        if self.behind.is_some_and(|behind| {
            let covers = |damage: &Damage| {
                damage.segment == behind.segment
                    && damage.offset > 0
                    && damage.offset <= behind.offset
            };
            loss.damage.iter().any(covers)
        }) {
            self.behind = None;
        }
        self.report.notes.push(Note::Lost {
            from: loss.from,
            to: loss.to,
            at,
            uid: loss.uid,
            reason: loss.reason.to_owned(),
        });
        let behind = self.segment.saturating_sub(1);
        let damage = loss.damage.into_iter().map(|damage| (behind, damage));
        self.damage.extend(damage);
    }

    /// Judges the place at which the walk ended.
    fn end(&mut self, at: Position, sequence: u64, fault: Fault) -> io::Result<()> {
        if at.offset == 0 || at.segment < self.last {
            // Between segments, or in one that others follow: nothing but an edit explains it.
            let finding = match fault {
                // The missing segment is a finding of its own.
                Fault::Blank if at.offset > 0 && !self.exists(at.segment + 1) => return Ok(()),
                Fault::Blank if at.offset > 0 => Finding::EndsEarly { at },
                Fault::Blank if !self.exists(at.segment) => return Ok(()),
                fault => Finding::Changed {
                    at,
                    sequence,
                    fault,
                },
            };
            self.report.find(finding);
            return Ok(());
        }
        let Some(extent) = self.extent(at.segment, at.offset)? else {
            return Ok(());
        };
        // What one write can leave: something from here on, no longer than a batch, with no whole
        // batch behind it. A live log may be in the middle of that write.
        let remains = extent.first == at.offset
            && extent.blank_after <= at.offset + MAX_BATCH as u64
            && !extent.holds_batch;
        let finding = match (remains, self.report.live) {
            (true, true) => return Ok(()),
            (true, false) => Finding::Unfinished { at },
            (false, _) => Finding::Changed {
                at,
                sequence,
                fault,
            },
        };
        self.report.find(finding);
        Ok(())
    }

    fn exists(&self, segment: u64) -> bool {
        let name = segment_name(segment);
        self.directory.join("wal").join(name).exists()
    }

    fn is_moving(&self, at: Position) -> io::Result<bool> {
        Ok(at.segment < self.last || self.extent(at.segment, at.offset)?.is_some())
    }

    fn is_blank_but_for_a_header(&self, name: &str) -> io::Result<bool> {
        let file = regular(&self.directory.join("wal").join(name))?;
        Ok(extent_of(&file, BLOCK as u64, 0)?.is_none())
    }

    /// What stands in a segment from `from` on; `None` when there is nothing but zeros.
    fn extent(&self, segment: u64, from: u64) -> io::Result<Option<Extent>> {
        let path = self.directory.join("wal").join(segment_name(segment));
        let file = match regular(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        extent_of(&file, from, segment)
    }
}

/// On a live log, so often is looked again at a place that cannot be passed.
pub(crate) const PATIENCE: u32 = 40;

/// Waits a moment for the writer of a live log.
pub(crate) fn pause() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a command-line tool that waits for the writer of a live log"
    )]
    std::thread::sleep(Duration::from_millis(25));
}
