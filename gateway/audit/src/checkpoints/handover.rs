//! Which key signs next: the one of the last checkpoint, or one that rotations lead to from there.
//!
//! A checkpoint is signed with the key that its own entries name: a rotation takes force with the
//! entry `signing_key` that holds it. What survives a crash here, and what the next start makes of it:
//!
//! - before that entry is durable: the log ends as the old key left it. The entry is written again.
//! - before the first checkpoint of the new key: the entry stands among those that are not signed
//!   yet. It is found there, not written again, and nothing is signed that it is not a part of.
//!
//! So no checkpoint of the new key lacks the rotation, and none of the old key holds it. Fail closed: a
//! log does not open with keys that no rotation leads to from where it is, also not with the old ones
//! once the entry is durable. Every rotation also says what the log held when the keys were
//! changed: a log that holds less, or something else, was cut or written anew, and does not open.

use std::io;

use super::store::{Means, Stored};
use crate::entry;
use crate::error::OpenError;
use crate::event::Event;
use crate::merkle::key::Verifier;
use crate::merkle::range::{Frontier, Head};
use crate::merkle::rotation::Rotation;
use crate::merkle::tile::{TileNodes, TilesError};
use crate::read::{self, Reader, Step};

/// How the log comes from the key of its last checkpoint to ours.
#[derive(Debug, Clone, Default)]
pub(super) struct Handover {
    /// The entry that holds the last rotation. Nothing is signed that it is not a part of.
    pub(super) at: Option<u64>,
    /// The rotations that no entry holds yet. They become the next entries.
    pub(super) owed: Vec<Rotation>,
}

/// Sees that the log of `head`, whose last checkpoint is signed with `signed`, goes on with our key.
/// `reader` stands at the end of what is signed, and the log is durable up to `durable`.
pub(super) fn judge(
    means: &Means,
    signed: &Verifier,
    head: Head,
    reader: Reader,
    durable: u64,
) -> Result<Handover, OpenError> {
    anchored(means, head)?;
    let ours = means.signer.verifier();
    let found = unsigned(reader, head.size, durable, signed.clone());
    let (current, at) = found.map_err(OpenError::disk("read a segment"))?;
    if current == *ours {
        return Ok(Handover {
            at,
            owed: Vec::new(),
        });
    }
    let owed = means.rotations.behind_key(&current);
    let leads_to_us = |owed: &&[Rotation]| owed.last().is_some_and(|last| last.new_key() == ours);
    let Some(owed) = owed.filter(leads_to_us) else {
        return Err(OpenError::OtherKey {
            signed: format!("{}+{}", current.name(), current.id()),
            key: ours.to_string(),
        });
    };
    Ok(Handover {
        at: (durable + owed.len() as u64).checked_sub(1),
        owed: owed.to_vec(),
    })
}

/// Sees that a log without a checkpoint may be signed for the first time: that no rotation tells of
/// an earlier one.
pub(super) fn judge_first(means: &Means, durable: u64) -> Result<(), OpenError> {
    match means.rotations.rotations().last() {
        None => Ok(()),
        Some(last) if last.behind().size > durable => Err(OpenError::Shorter {
            signed: last.behind().size,
            entries: durable,
        }),
        Some(_) => Err(OpenError::NoCheckpoint),
    }
}

/// Holds the log against what its rotations say that it held.
fn anchored(means: &Means, head: Head) -> Result<(), OpenError> {
    for rotation in means.rotations.rotations() {
        let behind = rotation.behind();
        if behind.size > head.size {
            return Err(OpenError::Shorter {
                signed: behind.size,
                entries: head.size,
            });
        }
        if !holds(Stored(&*means.files), head.size, behind).map_err(unreadable)? {
            return Err(OpenError::Root { size: behind.size });
        }
    }
    Ok(())
}

/// Whether the tiles of a tree of `size` entries lead to `earlier`, which is no larger.
pub(crate) fn holds(
    tiles: Stored<'_>,
    size: u64,
    earlier: Head,
) -> Result<bool, TilesError<io::Error>> {
    let mut nodes = TileNodes::new(tiles, size);
    Ok(Frontier::read(&mut nodes, earlier.size)?.head() == earlier)
}

/// The key in force behind the entries that are durable and not signed, from `current` on, and the
/// entry that brought it.
fn unsigned(
    mut reader: Reader,
    from: u64,
    durable: u64,
    mut current: Verifier,
) -> io::Result<(Verifier, Option<u64>)> {
    let mut at = None;
    while reader.sequence() < durable {
        match reader.step()? {
            Step::Segment(_) => {}
            Step::Batch {
                sequence, records, ..
            } => {
                for (sequence, leaf) in read::entries(sequence, &records) {
                    if let Some(rotation) = rotation_in(leaf)
                        && sequence >= from
                        && *rotation.old() == current
                    {
                        current = rotation.new_key().clone();
                        at = Some(sequence);
                    }
                }
            }
            // Whoever reads it for the tree comes to the same place, and says so.
            Step::End | Step::Fault(_) => break,
        }
    }
    Ok((current, at))
}

/// The rotation in an entry, if it is one that holds one.
pub(super) fn rotation_in(leaf: &[u8]) -> Option<Rotation> {
    match entry::decode(leaf).ok()?.event {
        Event::SigningKey(named) => Rotation::parse(named.rotation?.as_bytes()).ok(),
        _ => None,
    }
}

/// Why a tree could not be taken up, when its tiles could not be read.
pub(super) fn unreadable(error: TilesError<io::Error>) -> OpenError {
    match error {
        TilesError::Missing { tile } => OpenError::Tile { tile },
        TilesError::Length(error) => OpenError::Tile { tile: error.tile },
        TilesError::Outside { size, .. } => OpenError::Root { size },
        TilesError::Reader(error) => OpenError::Disk {
            doing: "read a tile",
            error,
        },
    }
}
