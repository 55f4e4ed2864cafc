//! What witnesses cosigned, held against the entries: the evidence beside the log, and cosigned
//! checkpoints that were brought from outside.
//!
//! Each witness's records are read as the walk through the entries comes to their sizes, one in memory
//! at a time. On a live log they are read as far as they were there before the last checkpoint was
//! looked at, so that all of them are about entries that the walk comes to.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Take};
use std::path::{Path, PathBuf};

use super::Asked;
use super::report::{Finding, Report, Witnessed, WitnessedFault};
use crate::checkpoints::history::{self, Record, Records};
use crate::checkpoints::witnessed::{MAX_WITNESSES, WITNESSED, is_witness};
use crate::event::Time;
use crate::files::{Directory, Files as _};
use crate::merkle::checkpoint::{Checkpoint, CheckpointError};
use crate::merkle::key::Verifier;
use crate::merkle::note::{Note, NoteError, SignedBy};
use crate::merkle::range::Head;
use crate::storage::regular;

/// A cosigned checkpoint that does not lie in the log.
#[derive(Debug, Clone)]
pub struct Cosigned {
    /// Where it is from, for people to read.
    pub from: String,
    /// The bytes of its note.
    pub note: Vec<u8>,
}

/// All that witnesses cosigned.
#[derive(Default)]
pub(super) struct Evidence {
    /// The keys of witnesses that were given.
    witnesses: Vec<Verifier>,
    streams: Vec<Stream>,
    /// The smallest size that is due; beyond reach when there is none.
    due: u64,
}

/// One witness's records, or one from outside.
struct Stream {
    /// Its folder, or where it is from.
    place: String,
    source: Source,
    due: Option<Due>,
    stands: Witnessed,
}

enum Source {
    Folder(Folder),
    /// What was brought is due at once, and there is no more.
    Outside,
}

/// The records of a witness in the log's directory.
struct Folder {
    path: PathBuf,
    live: bool,
    /// Its files that are not begun, the last one first, with their lengths.
    days: Vec<(String, u64)>,
    open: Option<Open>,
    size: Option<u64>,
}

/// A file that is read, and its name.
type Open = (String, Records<BufReader<Take<File>>>);

/// A checkpoint that a witness cosigned.
struct Due {
    head: Head,
    /// Its note. Who signed it is judged when the log reaches its size, and all of the log's keys up
    /// to there are known.
    note: Vec<u8>,
    file: String,
    offset: u64,
}

impl Evidence {
    /// What lies in `directory`. To be called before the last checkpoint is looked at.
    pub(super) fn find(
        directory: &Path,
        live: bool,
        asked: &Asked<'_>,
        report: &mut Report,
    ) -> io::Result<Evidence> {
        let files = Directory::new(directory);
        let mut names = files.list(WITNESSED)?.unwrap_or_default();
        names.sort_unstable();
        let mut streams = Vec::new();
        for name in names {
            let place = format!("{WITNESSED}/{name}");
            if !is_witness(&name)
                || streams.len() == MAX_WITNESSES
                || !files.is_directory(&place)?
            {
                report.find(Finding::Stranger { name: place });
                continue;
            }
            let mut days = Vec::new();
            for day in files.list(&place)?.unwrap_or_default() {
                if history::is_day(&day) {
                    let length = regular(&directory.join(&place).join(&day))?
                        .metadata()?
                        .len();
                    days.push((day, length));
                } else {
                    let name = format!("{place}/{day}");
                    report.find(Finding::Stranger { name });
                }
            }
            days.sort_unstable_by(|a, b| b.cmp(a));
            streams.push(Stream {
                source: Source::Folder(Folder {
                    path: directory.join(&place),
                    live,
                    days,
                    open: None,
                    size: None,
                }),
                place,
                due: None,
                stands: Witnessed {
                    id: name,
                    ..Witnessed::default()
                },
            });
        }
        Ok(Evidence {
            witnesses: asked.witnesses.to_vec(),
            streams,
            due: u64::MAX,
        })
    }

    /// Takes up the first records, and what was brought from outside.
    pub(super) fn begin(
        &mut self,
        log: &[Verifier],
        cosigned: &[Cosigned],
        report: &mut Report,
    ) -> io::Result<()> {
        for cosigned in cosigned {
            match outside(&cosigned.note, log, &self.witnesses) {
                Ok((due, stands)) => self.streams.push(Stream {
                    place: cosigned.from.clone(),
                    source: Source::Outside,
                    due: Some(due),
                    stands,
                }),
                Err(error) => report.find(Finding::Outside {
                    from: cosigned.from.clone(),
                    error,
                }),
            }
        }
        for at in 0..self.streams.len() {
            self.next(at, report)?;
        }
        self.reach(Head::EMPTY, log, report)
    }

    /// Whether something is due at this size.
    pub(super) fn is_due(&self, size: u64) -> bool {
        self.due <= size
    }

    /// Holds what is due against the log at this size, which was signed with these keys so far; with
    /// none when no key is known.
    pub(super) fn reach(
        &mut self,
        head: Head,
        log: &[Verifier],
        report: &mut Report,
    ) -> io::Result<()> {
        for at in 0..self.streams.len() {
            while let Some(due) = self.streams[at]
                .due
                .take_if(|due| due.head.size <= head.size)
            {
                match self.judged(at, &due, log) {
                    Ok(posix_seconds) if due.head == head => {
                        let stands = &mut self.streams[at].stands;
                        stands.records += 1;
                        stands.entries = head.size;
                        let time = posix_seconds.map(u64::cast_signed);
                        stands.until = time.map(Time::from_unix_seconds);
                    }
                    Ok(_) => report.find(Finding::Witnessed {
                        file: due.file,
                        offset: due.offset,
                        fault: WitnessedFault::Root {
                            size: due.head.size,
                        },
                    }),
                    Err(finding) => report.find(finding),
                }
                self.next(at, report)?;
            }
        }
        let due = self.streams.iter().filter_map(|stream| stream.due.as_ref());
        self.due = due.map(|due| due.head.size).min().unwrap_or(u64::MAX);
        Ok(())
    }

    /// When a record was cosigned, if it can be believed.
    fn judged(&mut self, at: usize, due: &Due, log: &[Verifier]) -> Result<Option<u64>, Finding> {
        let Stream {
            place,
            source,
            stands,
            ..
        } = &mut self.streams[at];
        judge(&due.note, log, &self.witnesses, stands).map_err(|fault| match (source, fault) {
            (Source::Outside, WitnessedFault::Wrong(error)) => Finding::Outside {
                from: place.clone(),
                error: OutsideError::Checkpoint(error),
            },
            (_, fault) => Finding::Witnessed {
                file: due.file.clone(),
                offset: due.offset,
                fault,
            },
        })
    }

    /// Ends the walk through a log of so many entries and with these keys: nothing may be due any more.
    pub(super) fn end(
        mut self,
        entries: u64,
        log: &[Verifier],
        report: &mut Report,
    ) -> io::Result<()> {
        for at in 0..self.streams.len() {
            let mut beyond = None;
            while let Some(due) = self.streams[at].due.take() {
                match self.judged(at, &due, log) {
                    Ok(_) => beyond = Some(due.head.size),
                    Err(finding) => report.find(finding),
                }
                self.next(at, report)?;
            }
            if let Some(cosigned) = beyond {
                report.find(Finding::Beyond {
                    place: self.streams[at].place.clone(),
                    cosigned,
                    entries,
                });
            }
        }
        let stands = self.streams.into_iter().map(|stream| stream.stands);
        report.witnessed = stands.collect();
        Ok(())
    }

    /// Takes up the next record of a stream, if it has one that can be believed. What is wrong with
    /// others is told.
    fn next(&mut self, at: usize, report: &mut Report) -> io::Result<()> {
        let Stream {
            place, source, due, ..
        } = &mut self.streams[at];
        let Source::Folder(folder) = source else {
            return Ok(());
        };
        while let Some((file, offset, record, is_last)) = folder.next()? {
            let file = format!("{place}/{file}");
            let judged = match record {
                None if is_last => Err(WitnessedFault::Cut),
                // No crash tears what others follow.
                None => Err(WitnessedFault::Wrong(CheckpointError::Note(NoteError::End))),
                Some(note) => head_of(&note).map(|head| (head, note)),
            };
            let judged = judged.and_then(|(head, note)| {
                let size = head.size;
                if folder.size.is_some_and(|before| size <= before) {
                    return Err(WitnessedFault::Order { size });
                }
                folder.size = Some(size);
                Ok((head, note))
            });
            match judged {
                Ok((head, note)) => {
                    *due = Some(Due {
                        head,
                        note,
                        file,
                        offset,
                    });
                    return Ok(());
                }
                // The writer of a live log may be in the middle of it.
                Err(WitnessedFault::Cut) if folder.live && is_last => {}
                Err(WitnessedFault::Wrong(CheckpointError::Note(_))) if is_last => {
                    // A note with holes is what a crash can leave of the last one.
                    let fault = WitnessedFault::Cut;
                    report.find(Finding::Witnessed {
                        file,
                        offset,
                        fault,
                    });
                }
                Err(fault) => report.find(Finding::Witnessed {
                    file,
                    offset,
                    fault,
                }),
            }
        }
        Ok(())
    }
}

/// File, offset, the bytes of a record if it is whole in form, and whether it is the last one.
type Read = (String, u64, Option<Vec<u8>>, bool);

impl Folder {
    fn next(&mut self) -> io::Result<Option<Read>> {
        loop {
            let Some((file, mut records)) = self.opened()? else {
                return Ok(None);
            };
            let offset = records.position();
            match records.next()? {
                Record::End => {}
                Record::Torn => {
                    return Ok(Some((file, offset, None, self.days.is_empty())));
                }
                Record::Whole(note) => {
                    let is_last = self.days.is_empty() && records.is_at_end()?;
                    self.open = Some((file.clone(), records));
                    return Ok(Some((file, offset, Some(note), is_last)));
                }
            }
        }
    }

    fn opened(&mut self) -> io::Result<Option<Open>> {
        if let Some(open) = self.open.take() {
            return Ok(Some(open));
        }
        let Some((day, length)) = self.days.pop() else {
            return Ok(None);
        };
        let file = regular(&self.path.join(&day))?.take(length);
        let records = Records::new(BufReader::new(file));
        Ok(Some((day, records)))
    }
}

/// How large the log was that a note is about, as it says.
fn head_of(note: &[u8]) -> Result<Head, WitnessedFault> {
    let note = Note::parse(note).map_err(CheckpointError::Note);
    let checkpoint =
        note.and_then(|note| Checkpoint::parse(note.text()).map_err(CheckpointError::Text));
    Ok(checkpoint.map_err(WitnessedFault::Wrong)?.head())
}

/// Whether witness and log signed a record, and when the witness did if its key is known.
fn judge(
    note: &[u8],
    log: &[Verifier],
    witnesses: &[Verifier],
    stands: &mut Witnessed,
) -> Result<Option<u64>, WitnessedFault> {
    let parsed = Note::parse(note)
        .map_err(CheckpointError::Note)
        .map_err(WitnessedFault::Wrong)?;
    let mut own = parsed.signatures().iter();
    let own = own.find(|signature| signature.id().to_string() == stands.id);
    let own = own.ok_or(WitnessedFault::Cosignature)?;
    stands.name.get_or_insert_with(|| own.name().to_string());
    let key = witnesses.iter().find(|key| key.id() == own.id());
    let Some(origin) = log.first().map(|key| key.name().as_str()) else {
        return Ok(None);
    };
    let opened = Checkpoint::open(note, origin, log, key.map_or(&[], std::slice::from_ref));
    let opened = opened.map_err(WitnessedFault::Wrong)?;
    if opened.signed().len() + 1 != parsed.signatures().len() {
        return Err(WitnessedFault::Signature);
    }
    let cosigned = opened.cosigned().first();
    if key.is_some() && cosigned.is_none() {
        return Err(WitnessedFault::Cosignature);
    }
    stands.is_verified = key.is_some();
    Ok(cosigned.and_then(SignedBy::posix_seconds))
}

/// What was brought from outside counts only if both the log and a known witness signed it.
fn outside(
    note: &[u8],
    log: &[Verifier],
    witnesses: &[Verifier],
) -> Result<(Due, Witnessed), OutsideError> {
    if log.is_empty() {
        return Err(OutsideError::NoKey);
    }
    let parsed = Note::parse(note).map_err(CheckpointError::Note);
    let parsed = parsed.map_err(OutsideError::Checkpoint)?;
    let checkpoint = Checkpoint::parse(parsed.text()).map_err(CheckpointError::Text);
    let head = checkpoint.map_err(OutsideError::Checkpoint)?.head();
    let mut known = witnesses.iter();
    let by = known.find(|key| parsed.signatures().iter().any(|by| by.id() == key.id()));
    let by = by.ok_or(OutsideError::NoWitness)?;
    let due = Due {
        head,
        note: note.to_vec(),
        file: String::new(),
        offset: 0,
    };
    let stands = Witnessed {
        id: by.id().to_string(),
        name: Some(by.name().to_string()),
        ..Witnessed::default()
    };
    Ok((due, stands))
}

/// Why a checkpoint from outside proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutsideError {
    /// The key of the log is not known.
    NoKey,
    /// None of the witnesses whose keys were given cosigned it.
    NoWitness,
    /// It is none of this log.
    Checkpoint(CheckpointError),
}

impl std::fmt::Display for OutsideError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OutsideError::NoKey => f.write_str("the key of the log is not known"),
            OutsideError::NoWitness => {
                f.write_str("no witness whose key was given with --witness cosigned it")
            }
            OutsideError::Checkpoint(error) => error.fmt(f),
        }
    }
}
