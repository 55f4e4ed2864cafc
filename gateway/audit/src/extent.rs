//! What stands in a segment behind the place where the log ends: nothing, the remains of a write, or
//! what nobody who writes a log leaves there.

use std::fs::File;
use std::io;

use crate::frame::{self, BLOCK, MAX_BATCH};
use crate::storage;

/// A stretch of a file that is not blank.
pub(crate) struct Extent {
    /// Where it begins.
    pub(crate) first: u64,
    /// From here on, all is blank.
    pub(crate) blank_after: u64,
    /// Whether a whole batch of the same segment begins behind its start.
    pub(crate) holds_batch: bool,
}

/// What stands in `file` from `from` on; `None` when there is nothing but zeros.
pub(crate) fn extent_of(file: &File, from: u64, segment: u64) -> io::Result<Option<Extent>> {
    let mut extent: Option<Extent> = None;
    let mut window = vec![0; MAX_BATCH + BLOCK];
    let mut at = from;
    loop {
        let filled = storage::read_at(file, at, &mut window)?;
        if filled == 0 {
            return Ok(extent);
        }
        let step = filled.min(MAX_BATCH);
        for start in (0..step).step_by(BLOCK) {
            let block = &window[start..(start + BLOCK).min(filled)];
            if frame::is_blank(block) {
                continue;
            }
            let place = at + start as u64;
            let extent = extent.get_or_insert(Extent {
                first: place,
                blank_after: place,
                holds_batch: false,
            });
            extent.blank_after = place + block.len() as u64;
            // Looks for whole batches behind the first place only; a batch fits into the window
            // but for those that begin near its end, and one block tells enough of these.
            if place != from {
                let found = frame::decode_anywhere(&window[start..filled]);
                extent.holds_batch |= found.is_ok_and(|(_, place)| place.segment == segment);
            }
        }
        at += step as u64;
    }
}
