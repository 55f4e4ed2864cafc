//! What lies beside the segments, held against what the log says of it: the records of keys, what was set
//! aside after a crash, and what stays of accepted losses.

use std::io::{self, Read as _};
use std::path::Path;

use super::Walk;
use super::report::{Finding, Note};
use crate::event::Digest;
use crate::frame::MAX_BATCH;
use crate::keeping::End;
use crate::key_records::{self, Found, RECORDS};
use crate::loss::digest_from;
use crate::recover::{
    SPARE, lost_name, lost_origin, quarantine_origin, segment_name, set_aside_name,
};
use crate::storage::regular;

impl Walk<'_> {
    /// Holds the records of keys against what the log says of them. What was there before the walk of a
    /// live log may have been destroyed since: the next verification reads why.
    pub(super) fn account_for_keys(&mut self, before: &[Found], found: Vec<Found>) {
        for Found { name, record } in found {
            let is_destroyed = self.destroyed.contains(&name);
            let is_ending = self.end_of(&name).is_some_and(|end| !end.done);
            match (self.keys.remove(&name), record) {
                // It is overwritten before it is removed, and a crash comes when it comes.
                (_, None) if is_ending => {}
                (_, Some(_)) if is_destroyed => self.report.find(Finding::KeyReturned { name }),
                (Some(told), Some((_, digest))) if told == digest => {}
                (Some(_), _) => {
                    self.report.find(Finding::MissingKey { name });
                }
                (None, Some(_)) => self.report.notes.push(Note::UnusedKey { name }),
                (None, None) if key_records::is_leftover(&name) => {}
                (None, None) => {
                    let name = format!("{RECORDS}/{name}");
                    self.report.find(Finding::Stranger { name });
                }
            }
        }
        for name in std::mem::take(&mut self.keys).into_keys() {
            let was_there = before.iter().any(|found| found.name == name);
            if self.end_of(&name).is_none() && !was_there {
                self.report.find(Finding::MissingKey { name });
            }
        }
        let ends = self.report.keeping.epochs();
        let ends = ends.filter_map(|(epoch, life)| Some((epoch.to_string(), life.end.clone()?)));
        let notes: Vec<_> = ends
            .map(|(epoch, end)| {
                if end.done {
                    Note::Destroyed { epoch, end }
                } else {
                    Note::Undestroyed { epoch }
                }
            })
            .collect();
        self.report.notes.extend(notes);
    }

    /// How the epoch ended that a record's name is of.
    fn end_of(&self, name: &str) -> Option<&End> {
        let (epoch, _) = name.rsplit_once('/')?;
        self.report.keeping.end_of(&epoch.parse().ok()?)
    }

    /// Holds the files beside the segments against what the log says of them.
    pub(super) fn account_for(&mut self, others: &[String]) -> io::Result<()> {
        for name in others {
            let known = match quarantine_origin(name) {
                Some(origin) => {
                    let mut recovered = self.recovered.iter();
                    recovered.any(|r| (r.segment, r.offset) == origin)
                }
                // What a crash, or the running writer, left in the making.
                None if lost_origin(name).is_some() => {
                    let mut damage = self.damage.iter().filter(|(_, d)| d.offset == 0);
                    damage.any(|(behind, d)| Some((*behind, d.segment)) == lost_origin(name))
                }
                None if name == SPARE => {
                    self.report.live || self.is_blank_but_for_a_header(SPARE)?
                }
                None => name
                    .strip_suffix(".new")
                    .is_some_and(|name| quarantine_origin(name).is_some()),
            };
            if !known {
                self.report.find(Finding::Stranger { name: name.clone() });
            }
        }
        for (behind, damage) in std::mem::take(&mut self.damage) {
            let name = match damage.offset {
                0 => lost_name(behind, damage.segment),
                _ => segment_name(damage.segment),
            };
            let found = regular(&self.directory.join("wal").join(name));
            let kept = match found {
                Ok(mut file) => {
                    digest_from(&mut file, damage.offset)? == (damage.bytes, damage.digest)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                Err(error) => return Err(error),
            };
            if !kept {
                let (segment, offset) = (damage.segment, damage.offset);
                self.report
                    .find(Finding::MissingQuarantine { segment, offset });
            }
        }
        for recovered in std::mem::take(&mut self.recovered) {
            let name = set_aside_name(recovered.segment, recovered.offset);
            let path = self.directory.join("wal").join(name);
            let kept = match read_bounded(&path) {
                Ok(bytes) => Digest::of(&bytes) == recovered.digest,
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                Err(error) => return Err(error),
            };
            if kept {
                self.report.notes.push(Note::Recovered {
                    segment: recovered.segment,
                    bytes: recovered.bytes,
                });
            } else {
                let (segment, offset) = (recovered.segment, recovered.offset);
                self.report
                    .find(Finding::MissingQuarantine { segment, offset });
            }
        }
        Ok(())
    }
}

/// A file in quarantine; one that is longer than a batch is cut, and so not what was set aside.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = regular(path)?;
    file.take(MAX_BATCH as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
