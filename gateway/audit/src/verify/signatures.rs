//! The checkpoints of a log, one after the other: which key signed them, and what they say.
//!
//! They are read as the walk through the entries comes to their sizes, so that one at a time is in
//! memory, and so that each is judged by the key that was in force where it was signed. On a live log the last checkpoint is taken before the walk, and the history is read up to
//! there: what is signed meanwhile is the next verification's.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use super::clock::Stamped;
use super::lineage::Lineage;
use super::report::{CheckpointFault, Finding, Report};
use crate::checkpoints::history::{self, CHECKPOINTS, MAX_RECORD, Record, Records};
use crate::checkpoints::store::CHECKPOINT;
use crate::entry;
use crate::event::Event;
use crate::files::{self, Directory, Files};
use crate::merkle::checkpoint::{Checkpoint, CheckpointError};
use crate::merkle::hash::Hash;
use crate::merkle::key::Verifier;
use crate::merkle::note::{Note, NoteError, VerifyError};
use crate::merkle::range::Head;
use crate::merkle::rotation::Rotation;
use crate::read;
use crate::storage::regular;

/// A checkpoint of the history that nobody has judged, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Stated {
    /// How many entries it claims to be about.
    pub(super) size: u64,
    note: Vec<u8>,
    pub(super) file: String,
    pub(super) offset: u64,
}

/// The checkpoints of a log in order.
pub(super) struct Signatures {
    directory: PathBuf,
    live: bool,
    /// The last checkpoint, as it was before the walk.
    pointed: Option<Vec<u8>>,
    /// Which key is in force.
    pub(super) lineage: Lineage,
    pub(super) self_asserted: bool,
    /// The files of the history that are not begun, the last one first.
    days: Vec<String>,
    open: Option<(String, Records<BufReader<File>>)>,
    /// What the next checkpoint must name as the one before; nothing when that cannot be known.
    before: Before,
    size: Option<u64>,
    told_of_key: bool,
    /// How many came behind the one that is the last; nothing before it was seen.
    behind_pointed: Option<u64>,
    count: u64,
    /// What those that hold say of the clock.
    pub(super) clock: Stamped,
}

/// What comes before a checkpoint.
#[derive(Debug, Clone, Copy)]
enum Before {
    Nothing,
    Known(Hash),
    Unknown,
}

impl Signatures {
    /// The signatures of the log in `directory`; nothing when it was never signed.
    pub(super) fn find(
        directory: &Path,
        live: bool,
        key: Option<&Verifier>,
        report: &mut Report,
    ) -> io::Result<Option<Signatures>> {
        let files = Directory::new(directory);
        // Before the history: on a live log the history then holds it.
        let pointed = files::read(&files, CHECKPOINT, MAX_RECORD)?;
        let mut days = files.list(CHECKPOINTS)?.unwrap_or_default();
        days.sort_unstable_by(|a, b| b.cmp(a));
        days.retain(|name| {
            let known = history::is_day(name);
            if !known {
                let name = format!("{CHECKPOINTS}/{name}");
                report.find(Finding::Stranger { name });
            }
            known
        });
        if pointed.is_none() && days.is_empty() {
            return Ok(None);
        }
        let mut signatures = Signatures {
            directory: directory.to_owned(),
            live,
            pointed,
            lineage: Lineage::default(),
            self_asserted: key.is_none(),
            days,
            open: None,
            before: Before::Nothing,
            size: None,
            told_of_key: false,
            behind_pointed: None,
            count: 0,
            clock: Stamped::default(),
        };
        let first = match signatures.asserted(key)? {
            Asserted::Key(first) => Some(first),
            Asserted::NoKey if key.is_none() => {
                report.find(Finding::NoKey);
                None
            }
            Asserted::NoKey | Asserted::NoCheckpoint => key.cloned(),
        };
        signatures.lineage = Lineage::new(key, first);
        Ok(Some(signatures))
    }

    /// How many entries the last checkpoint claims to be about, before anything is checked.
    pub(super) fn claimed(&self) -> u64 {
        self.pointed.as_deref().and_then(size_of).unwrap_or(0)
    }

    /// How many checkpoints were read that hold.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The key that the log began with: the one from outside, if that signed the first checkpoint,
    /// else the one that the log names itself, in the entry behind it.
    fn asserted(&self, outside: Option<&Verifier>) -> io::Result<Asserted> {
        for day in self.days.iter().rev() {
            let file = regular(&self.path(day))?;
            let Record::Whole(note) = Records::new(BufReader::new(file)).next()? else {
                continue;
            };
            if let Some(key) = outside
                && Note::parse(&note)
                    .is_ok_and(|note| note.verify(std::slice::from_ref(key)).is_ok())
            {
                return Ok(Asserted::Key(key.clone()));
            }
            let Some(first) = size_of(&note) else {
                return Ok(Asserted::NoKey);
            };
            let bytes = read::entry_at(&self.directory, first)?;
            let key = bytes.and_then(|bytes| key_named(&bytes));
            return Ok(key.map_or(Asserted::NoKey, Asserted::Key));
        }
        Ok(Asserted::NoCheckpoint)
    }

    fn path(&self, day: &str) -> PathBuf {
        self.directory.join(CHECKPOINTS).join(day)
    }

    /// The next checkpoint that says what it is about. What is wrong with others is told.
    pub(super) fn next(&mut self, report: &mut Report) -> io::Result<Option<Stated>> {
        loop {
            if self.live && self.behind_pointed.is_some() {
                return Ok(None);
            }
            let Some((file, mut records)) = self.opened()? else {
                return Ok(None);
            };
            let offset = records.position();
            let fault = |fault| Finding::Checkpoint {
                file: file.clone(),
                offset,
                fault,
            };
            match records.next()? {
                Record::End => {}
                Record::Torn => {
                    let cut = if self.days.is_empty() {
                        CheckpointFault::Cut
                    } else {
                        CheckpointFault::Wrong(CheckpointError::Note(NoteError::End))
                    };
                    report.find(fault(cut));
                    self.before = Before::Unknown;
                }
                Record::Whole(note) => {
                    self.saw(&note);
                    let is_last = self.days.is_empty() && records.is_at_end()?;
                    self.open = Some((file.clone(), records));
                    let size = size_of(&note);
                    // A note with holes is what a crash can leave of the last one.
                    if size.is_none() && is_last && Note::parse(&note).is_err() {
                        report.find(fault(CheckpointFault::Cut));
                        continue;
                    }
                    let stated = Stated {
                        size: size.unwrap_or_default(),
                        note,
                        file,
                        offset,
                    };
                    if size.is_some() {
                        return Ok(Some(stated));
                    }
                    self.judge(&stated, At::Place, report);
                }
            }
        }
    }

    /// What a checkpoint says, if it can be believed, or, without a key, if it is well-formed. What is
    /// wrong with it is told. To be asked of each in order, when the walk comes to its size, or
    /// when there is nothing more to come to.
    pub(super) fn judge(&mut self, stated: &Stated, at: At, report: &mut Report) -> Option<Head> {
        let known = match at {
            At::Place if !self.lineage.is_broken() => {
                self.lineage.current().into_iter().cloned().collect()
            }
            At::Place | At::BehindTheEnd => self.lineage.either(),
        };
        match self.believe(&stated.note, &known) {
            Ok(head) => {
                self.count += 1;
                match at {
                    At::Place => self.lineage.mend(&stated.note, head.size),
                    At::BehindTheEnd => self.lineage.promises(&stated.note),
                }
                return Some(head);
            }
            Err(Wrong::Fault(fault)) => report.find(Finding::Checkpoint {
                file: stated.file.clone(),
                offset: stated.offset,
                fault,
            }),
            Err(Wrong::Key(signed)) => self.other_key(signed, report),
        }
        None
    }

    fn other_key(&mut self, signed: String, report: &mut Report) {
        if !std::mem::replace(&mut self.told_of_key, true) {
            report.find(Finding::OtherKey { signed });
        }
    }

    /// Notes which of them is the one that is the last.
    fn saw(&mut self, note: &[u8]) {
        match &mut self.behind_pointed {
            Some(behind) => *behind += 1,
            None if self.pointed.as_deref() == Some(note) => self.behind_pointed = Some(0),
            None => {}
        }
    }

    /// The file of the history that is read, with its name.
    fn opened(&mut self) -> io::Result<Option<(String, Records<BufReader<File>>)>> {
        if let Some(open) = self.open.take() {
            return Ok(Some(open));
        }
        let Some(day) = self.days.pop() else {
            return Ok(None);
        };
        let file = regular(&self.path(&day))?;
        let records = Records::new(BufReader::with_capacity(64 * 1024, file));
        Ok(Some((format!("{CHECKPOINTS}/{day}"), records)))
    }

    fn believe(&mut self, note: &[u8], known: &[Verifier]) -> Result<Head, Wrong> {
        let before = std::mem::replace(&mut self.before, Before::Unknown);
        let wrong = |error| Wrong::Fault(CheckpointFault::Wrong(error));
        let parsed = Note::parse(note)
            .map_err(CheckpointError::Note)
            .map_err(wrong)?;
        let text = parsed.text();
        // Whatever is wrong with it: the next one names this text.
        self.before = Before::Known(history::link(text));
        let checkpoint = match known.first() {
            Some(key) => match Checkpoint::open(note, key.name().as_str(), known, &[]) {
                Ok(opened) if opened.signed().len() < parsed.signatures().len() => {
                    return Err(Wrong::Fault(CheckpointFault::Signature));
                }
                Ok(opened) => opened.checkpoint().clone(),
                Err(CheckpointError::Signature(VerifyError::Unsigned)) => {
                    return Err(Wrong::Key(history::signers(&parsed)));
                }
                Err(error) => return Err(wrong(error)),
            },
            None => Checkpoint::parse(text)
                .map_err(CheckpointError::Text)
                .map_err(wrong)?,
        };
        let follows = match before {
            Before::Nothing => history::follows(&checkpoint, None),
            Before::Known(link) => history::follows(&checkpoint, Some(&link)),
            Before::Unknown => true,
        };
        if !follows {
            return Err(Wrong::Fault(CheckpointFault::Link));
        }
        let head = checkpoint.head();
        if self.size.is_some_and(|size| head.size <= size) {
            return Err(Wrong::Fault(CheckpointFault::Order { size: head.size }));
        }
        self.size = Some(head.size);
        self.clock.take(&checkpoint);
        Ok(head)
    }

    /// Judges the last checkpoint by the history, which was read to its end, and the key from outside
    /// by what it signed.
    pub(super) fn end(&mut self, report: &mut Report) {
        if self.lineage.is_foreign() {
            let signed = self
                .lineage
                .current()
                .map_or_else(String::new, |key| format!("{}+{}", key.name(), key.id()));
            self.other_key(signed, report);
        }
        let fault = match (&self.pointed, self.behind_pointed) {
            // A crash comes between the history and the first `checkpoint`, or the next one.
            (None, _) if self.count <= 1 => return,
            (Some(_), Some(0..=1)) => return,
            (None, _) => CheckpointFault::Missing,
            (Some(_), None) => CheckpointFault::NotInHistory,
            (Some(_), Some(_)) => CheckpointFault::Stale,
        };
        report.find(Finding::Checkpoint {
            file: CHECKPOINT.to_owned(),
            offset: 0,
            fault,
        });
    }
}

/// Which key a log says that it is signed with.
enum Asserted {
    Key(Verifier),
    /// None.
    NoKey,
    /// Nothing is signed yet: a crash came within the first checkpoint.
    NoCheckpoint,
}

/// How many entries a note claims to be about.
fn size_of(note: &[u8]) -> Option<u64> {
    let note = Note::parse(note).ok()?;
    Some(Checkpoint::parse(note.text()).ok()?.head().size)
}

/// Where the walk is when a checkpoint is judged.
#[derive(Debug, Clone, Copy)]
pub(super) enum At {
    /// Behind the entries that it is about: one key is in force there.
    Place,
    /// Behind the last entry that is there. Rotations may be among those that are not.
    BehindTheEnd,
}

/// Why a checkpoint does not count.
enum Wrong {
    Fault(CheckpointFault),
    /// Signed with these keys, and not with ours.
    Key(String),
}

/// The key that an entry names, if it is one that does; of a rotation, the one that it leads from.
fn key_named(bytes: &[u8]) -> Option<Verifier> {
    let Event::SigningKey(named) = entry::decode(bytes).ok()?.event else {
        return None;
    };
    match named.rotation {
        Some(note) => Some(Rotation::parse(note.as_bytes()).ok()?.old().clone()),
        None => named.key.parse().ok(),
    }
}
