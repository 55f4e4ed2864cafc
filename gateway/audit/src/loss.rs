//! `audit recover`: letting a log go on that has lost something at its end.
//!
//! A start refuses what no crash explains. Here an operator looks at what is lost, and accepts it with
//! a reason. Nothing is deleted and nothing that is there is rewritten: the log goes on in a fresh
//! segment whose first entry, a `discontinuity`, says what is missing, by whose hand and why, and bears
//! the digests of what stays behind as evidence.
//!
//! ```text
//! segment 7  |batch|batch|## damage ##|        segment 8 |header: from 120|discontinuity 100..120|
//!                        ^ entry 100           (tiles still hold the hashes of 100 to 119)
//! ```
//!
//! The signed tree goes on over the lost entries, whose hashes the tiles hold. So what was signed stays
//! signed, witnesses see a log that only grew, and an entry that turns up in a copy can still be
//! proved. A log whose last checkpoint or tiles are gone cannot go on: fail closed, begin another.
//!
//! What survives a crash here: the log as it was, or the log that goes on. Of more segments than one
//! that are set aside some may have their new names: doing it again finishes it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

use crate::checkpoints;
use crate::checkpoints::store::Stored;
use crate::entry;
use crate::error::OpenError;
use crate::event::{Damage, Digest, Discontinuity, Entry, Event, Time};
use crate::extent::extent_of;
use crate::files::{Directory, Files as _};
use crate::frame::{self, BLOCK, MAX_BATCH, Place, SegmentHeader};
use crate::keys::system_random;
use crate::lock;
use crate::merkle::hash;
use crate::merkle::key::Verifier;
use crate::merkle::range::{Node, Nodes as _};
use crate::merkle::rotation::{MAX_ROTATIONS, Rotation};
use crate::merkle::tile::TileNodes;
use crate::read::{self, Reader, Step, inventory};
use crate::recover::{SPARE, lost_name, lost_origin, segment_name};
use crate::seal::NoRandomness;
use crate::storage::{self, regular};

/// What a log has lost at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Where it ends that can be believed.
    end: Place,
    log: [u8; 16],
    /// Where that is in its segment, bytes.
    offset: u64,
    /// The first entry that is lost.
    pub from: u64,
    /// The first that is not: the next one that the log takes. The same as `from` when nothing that was
    /// signed is lost.
    pub to: u64,
    /// What stands behind the end, and stays as evidence.
    pub damage: Vec<Damage>,
}

/// Who accepts a loss, and why.
#[derive(Debug, Clone, Copy)]
pub struct Acceptance<'a> {
    /// In the operator's words.
    pub reason: &'a str,
    /// The user.
    pub uid: u32,
    /// The user who had logged in, where the system knows.
    pub login_uid: Option<u32>,
    /// When.
    pub now: Time,
}

/// Looks at the end of the log in `directory`, as it was signed with `key`; nothing when nothing is
/// lost. Changes nothing.
///
/// # Errors
/// [`LossError`]; the log is as it was.
pub fn assess(directory: &Path, key: Option<&Verifier>) -> Result<Option<Loss>, LossError> {
    if !directory.join("wal").is_dir() {
        return Err(LossError::NoLog);
    }
    let files = Directory::new(directory);
    let signed = match key {
        Some(key) => {
            let keys = keys_from(directory, key).map_err(LossError::Read)?;
            checkpoints::signed_size(&files, &keys).map_err(LossError::Tree)?
        }
        None if checkpoints::is_signed(&files).map_err(LossError::Read)? => {
            return Err(LossError::NoKey);
        }
        None => None,
    };
    let signed = signed.unwrap_or(0);
    let (numbers, others) = inventory(directory).map_err(LossError::Read)?;
    let end = End::of(directory, &numbers, signed).map_err(LossError::Read)?;
    let last = end.place.segment;
    // Segments that do not follow. Some may have the name of what is set aside already, when an
    // attempt was ended by a crash.
    let named = numbers.iter().map(|&number| (number, segment_name(number)));
    let aside = others.into_iter().filter_map(|name| {
        let (behind, segment) = lost_origin(&name)?;
        (behind == last).then_some((segment, name))
    });
    let stranded: Vec<_> = named
        .chain(aside)
        .filter(|(segment, _)| *segment > last)
        .collect();
    if stranded.len() > MOST {
        return Err(LossError::Many {
            segments: stranded.len(),
        });
    }
    let from = end.place.sequence;
    let to = from.max(signed);
    if stranded.is_empty() && end.is_a_crash && from == to {
        return Ok(None);
    }
    let mut damage = Vec::new();
    if last > 0 {
        let rest = damage_of(directory, last, end.offset, &segment_name(last));
        damage.extend(rest.map_err(LossError::Read)?);
    }
    for (segment, name) in stranded {
        let whole = damage_of(directory, segment, 0, &name);
        damage.extend(whole.map_err(LossError::Read)?);
    }
    damage.sort_by_key(|damage| (damage.segment, damage.offset));
    Ok(Some(Loss {
        end: end.place,
        log: end.log,
        offset: end.offset,
        from,
        to,
        damage,
    }))
}

/// The key that is known from outside, and those that the log hands over to from it, as far as it can
/// be read.
fn keys_from(directory: &Path, key: &Verifier) -> io::Result<Vec<Verifier>> {
    let mut keys = vec![key.clone()];
    let mut reader = Reader::new(directory);
    loop {
        match reader.step()? {
            Step::Segment(_) => {}
            Step::Batch {
                sequence, records, ..
            } => {
                for (_, bytes) in read::entries(sequence, &records) {
                    if let Some(rotation) = rotation_of(bytes)
                        && Some(rotation.old()) == keys.last()
                        && keys.len() <= MAX_ROTATIONS
                    {
                        keys.push(rotation.new_key().clone());
                    }
                }
            }
            Step::End | Step::Fault(_) => return Ok(keys),
        }
    }
}

/// The rotation that an entry holds, if both keys signed it.
fn rotation_of(bytes: &[u8]) -> Option<Rotation> {
    match entry::decode(bytes).ok()?.event {
        Event::SigningKey(named) => Rotation::parse(named.rotation?.as_bytes()).ok(),
        _ => None,
    }
}

/// So many segments can be set aside at once: what one entry can tell of.
const MOST: usize = 64;

/// Lets the log in `directory` go on without what [`assess`] finds lost. Returns what that was.
///
/// # Errors
/// [`LossError`]; the log then does not go on, and nothing is lost by trying again.
pub fn accept(
    directory: &Path,
    key: Option<&Verifier>,
    acceptance: &Acceptance<'_>,
) -> Result<Option<Loss>, LossError> {
    if acceptance.reason.trim().is_empty() || acceptance.reason.len() > MAX_REASON {
        return Err(LossError::Reason);
    }
    if !directory.join("wal").is_dir() {
        return Err(LossError::NoLog);
    }
    let owner = std::fs::metadata(directory).map_err(LossError::Read)?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(LossError::NotOwner { owner });
    }
    let _lock = lock::take(directory).map_err(LossError::Open)?;
    let Some(loss) = assess(directory, key)? else {
        return Ok(None);
    };
    let files = Directory::new(directory);
    for damage in loss.damage.iter().filter(|damage| damage.offset == 0) {
        let name = segment_name(damage.segment);
        if directory.join("wal").join(&name).exists() {
            let aside = lost_name(loss.end.segment, damage.segment);
            if directory.join("wal").join(&aside).exists() {
                return Err(LossError::Write(io::ErrorKind::AlreadyExists.into()));
            }
            files
                .rename(&format!("wal/{name}"), &format!("wal/{aside}"))
                .map_err(LossError::Write)?;
        }
    }
    files.sync("wal").map_err(LossError::Write)?;
    let mut log = loss.log;
    if loss.end.segment == 0 {
        // Without any segment it goes on under a new id.
        let drawn = system_random(&mut log);
        drawn.map_err(|NoRandomness| LossError::Open(OpenError::NoRandomness))?;
    }
    let segment = next_segment(log, &loss, acceptance);
    let spare = format!("wal/{SPARE}");
    let name = format!("wal/{}", segment_name(loss.end.segment + 1));
    let written = files
        .remove(&spare)
        .and_then(|()| files.write_at(&spare, 0, &segment))
        .and_then(|()| files.sync(&spare))
        .and_then(|()| files.rename(&spare, &name))
        .and_then(|()| files.sync("wal"));
    written.map_err(LossError::Write)?;
    Ok(Some(loss))
}

/// No reason is longer than this, bytes.
const MAX_REASON: usize = 1024;

/// The whole content of the segment in which the log goes on.
fn next_segment(log: [u8; 16], loss: &Loss, acceptance: &Acceptance<'_>) -> Vec<u8> {
    let header = SegmentHeader {
        log,
        number: loss.end.segment + 1,
        first_sequence: loss.to,
        previous: loss.end.previous,
        previous_end: loss.offset,
        previous_failed: false,
    };
    let entry = Entry {
        time: acceptance.now,
        event: Event::Discontinuity(Discontinuity {
            from: loss.from,
            to: loss.to,
            damage: loss.damage.clone(),
            reason: acceptance.reason,
            uid: acceptance.uid,
            login_uid: acceptance.login_uid,
        }),
    };
    let (mut leaf, mut records, mut batch) = (Vec::new(), Vec::new(), Vec::new());
    entry::encode(&entry, &mut leaf);
    let length = u32::try_from(leaf.len()).expect("reason and damage are bounded");
    records.extend_from_slice(&length.to_le_bytes());
    records.extend_from_slice(&leaf);
    let place = Place {
        segment: header.number,
        sequence: header.first_sequence,
        previous: header.hash(),
    };
    frame::encode_batch(&place, 1, &records, &mut batch);
    [&header.encode()[..], &batch].concat()
}

/// Where a log ends that can be believed.
struct End {
    place: Place,
    log: [u8; 16],
    offset: u64,
    /// Whether a crash explains what stands behind, so that a start sets it aside by itself.
    is_a_crash: bool,
}

impl End {
    /// The last of the segments that are there without a gap, and in it the last batch that is whole and,
    /// as far as it is signed, the one that was signed.
    fn of(directory: &Path, numbers: &[u64], signed: u64) -> io::Result<End> {
        let mut end = End {
            place: Place {
                segment: 0,
                sequence: 0,
                previous: [0; 32],
            },
            log: [0; 16],
            offset: 0,
            is_a_crash: true,
        };
        let mut live = None;
        for (expected, &number) in (1..).zip(numbers) {
            let path = directory.join("wal").join(segment_name(number));
            let file = regular(&path)?;
            let mut block = [0; BLOCK];
            let filled = storage::read_at(&file, 0, &mut block)?;
            match SegmentHeader::decode(&block[..filled]) {
                Ok(header)
                    if (header.number, number) == (expected, expected)
                        && (expected == 1 || header.log == end.log) =>
                {
                    end.log = header.log;
                    end.place = Place {
                        segment: number,
                        sequence: header.first_sequence,
                        previous: header.hash(),
                    };
                    live = Some(file);
                }
                Ok(_) | Err(_) => break,
            }
        }
        let Some(file) = live else { return Ok(end) };
        end.offset = BLOCK as u64;
        end.walk(&file, directory, signed)?;
        Ok(end)
    }

    fn walk(&mut self, file: &File, directory: &Path, signed: u64) -> io::Result<()> {
        let files = Directory::new(directory);
        let mut nodes = TileNodes::new(Stored(&files), signed);
        let mut window = vec![0; MAX_BATCH];
        loop {
            let filled = storage::read_at(file, self.offset, &mut window)?;
            let Ok(batch) = frame::decode_batch(&window[..filled], &self.place) else {
                self.is_a_crash = self.is_a_crash(file)?;
                return Ok(());
            };
            let is_signed = |(index, bytes): (u64, &[u8])| {
                index >= signed
                    || nodes
                        .node(Node { level: 0, index })
                        .is_ok_and(|known| known == hash::leaf(bytes))
            };
            if !(self.place.sequence..)
                .zip(frame::split(batch.records))
                .all(is_signed)
            {
                self.is_a_crash = false;
                return Ok(());
            }
            self.offset += batch.bytes as u64;
            self.place.sequence += u64::from(batch.count);
            self.place.previous = batch.hash;
        }
    }

    /// Whether what stands behind the end is what one write that did not finish leaves.
    fn is_a_crash(&self, file: &File) -> io::Result<bool> {
        let extent = extent_of(file, self.offset, self.place.segment)?;
        Ok(extent.is_none_or(|extent| {
            extent.blank_after <= self.offset + MAX_BATCH as u64 && !extent.holds_batch
        }))
    }
}

/// What a file holds from `offset` on; nothing when that is nothing but zeros.
fn damage_of(
    directory: &Path,
    segment: u64,
    offset: u64,
    name: &str,
) -> io::Result<Option<Damage>> {
    let mut file = regular(&directory.join("wal").join(name))?;
    if offset > 0 && extent_of(&file, offset, segment)?.is_none() {
        return Ok(None);
    }
    let (bytes, digest) = digest_from(&mut file, offset)?;
    Ok(Some(Damage {
        segment,
        offset,
        bytes,
        digest,
    }))
}

/// How many bytes a file holds from `offset` on, and their SHA-256. Holds little of them in memory.
pub(crate) fn digest_from(file: &mut File, offset: u64) -> io::Result<(u64, Digest)> {
    file.seek(SeekFrom::Start(offset))?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            filled => {
                context.update(&buffer[..filled]);
                bytes += filled as u64;
            }
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Ok((bytes, Digest::new(digest)))
}

/// Why a log does not go on.
#[derive(Debug)]
pub enum LossError {
    /// There is no log.
    NoLog,
    /// The log is signed, and its public key is not at hand.
    NoKey,
    /// What is signed cannot be told: the last checkpoint or the tiles are not whole.
    Tree(OpenError),
    /// The log cannot be opened for writing.
    Open(OpenError),
    /// More is lost than one entry can tell of.
    Many {
        /// How many segments.
        segments: usize,
    },
    /// The log belongs to another user, who could not go on with what we would write.
    NotOwner {
        /// Which.
        owner: u32,
    },
    /// There is no reason, or too much of it.
    Reason,
    /// The log cannot be read.
    Read(io::Error),
    /// The log cannot be written.
    Write(io::Error),
}

impl LossError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            LossError::NoLog => {
                "name the directory that [audit] directory names in the gateway's configuration"
            }
            LossError::NoKey => {
                "name a file with the log's public key with --key, such as the log.vkey that the gateway wrote"
            }
            LossError::Tree(OpenError::OtherKey { .. }) => {
                "name the log's own public key with --key"
            }
            LossError::Tree(_) | LossError::Many { .. } => {
                "keep the directory as evidence, and begin another log in another place, with keys of its own (`audit keygen`)"
            }
            LossError::Open(OpenError::Locked) => "stop the gateway that writes to it",
            LossError::Open(error) => error.hint(),
            LossError::NotOwner { .. } => "do it as that user, with sudo -u for instance",
            LossError::Reason => {
                "say in a sentence why the loss is accepted: an auditor will read it"
            }
            LossError::Read(_) | LossError::Write(_) => {
                "do it as the user that the log belongs to, and check the disk"
            }
        }
    }
}

impl fmt::Display for LossError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LossError::NoLog => f.write_str("there is no log"),
            LossError::NoKey => f.write_str("the log is signed, and its public key is not at hand"),
            LossError::Tree(error) => {
                write!(f, "what was signed cannot be told any more: {error}")
            }
            LossError::Open(error) => error.fmt(f),
            LossError::Many { segments } => {
                write!(
                    f,
                    "{segments} segments are damaged, more than one entry can tell of"
                )
            }
            LossError::NotOwner { owner } => write!(f, "the log belongs to the user {owner}"),
            LossError::Reason => {
                write!(f, "a reason is needed, of at most {MAX_REASON} bytes")
            }
            LossError::Read(error) => write!(f, "cannot read the log: {error}"),
            LossError::Write(error) => write!(f, "cannot write the log: {error}"),
        }
    }
}

impl std::error::Error for LossError {}
