//! What an entry becomes before it is queued: a leaf, sealed to the readers if there are any.
//!
//! Fail closed: an entry that cannot be sealed is not recorded, and what waits for it does not go on.

use std::sync::Arc;

use crate::entry;
use crate::error::AppendError;
use crate::event::{Entry, Event};
use crate::keeping::Classes;
use crate::keyring::{Current, Keyring};
use crate::keys::system_random;
use crate::seal::NoRandomness;
use crate::seal::sealed::stays_clear;
use crate::seal::sealer::{SealError, Sealer};
use crate::seal::target;

/// Makes leaves, for one thread at a time.
#[derive(Debug)]
pub(crate) struct Encoder {
    sealing: Option<Sealing>,
}

/// The system's generator.
type System = fn(&mut [u8]) -> Result<(), NoRandomness>;

#[derive(Debug)]
struct Sealing {
    keyring: Arc<Keyring>,
    /// What belongs to which class.
    classes: Arc<Classes>,
    /// One for each class, in their order.
    sealers: Vec<Sealer<System>>,
    /// The block of the target that was sealed last; its memory serves the next one.
    block: Vec<u8>,
    /// The turn of the keyring that the sealers know.
    turns: u64,
}

impl Encoder {
    /// Without a keyring leaves are in the clear.
    pub(crate) fn new(keyring: Option<Arc<Keyring>>) -> Encoder {
        Encoder {
            sealing: keyring.map(|keyring| {
                // Looked at first: a key that comes in between is taken up at the next entry.
                let turns = keyring.turns();
                let Current { classes, keys } = keyring.current();
                let sealer = |key| Sealer::new(key, keyring.join(), system_random as System);
                Sealing {
                    turns,
                    classes,
                    sealers: keys.into_iter().map(sealer).collect(),
                    block: Vec::new(),
                    keyring,
                }
            }),
        }
    }

    /// Appends the leaf of `entry` to `out`.
    ///
    /// # Errors
    /// [`AppendError::TooLong`], [`AppendError::Unsealed`]; the entry must count as not recorded.
    pub(crate) fn encode(
        &mut self,
        entry: &Entry<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), AppendError> {
        match self.sealer(&entry.event) {
            Some((sealer, _)) => sealer.seal(entry, out).map_err(refused),
            None => clear(entry, out),
        }
    }

    /// The same, with the raw target of the entry's request in a sealed block of its own, cut where it
    /// is too long. An entry that stays in the clear does without.
    ///
    /// # Errors
    /// As for [`Encoder::encode`].
    pub(crate) fn encode_with_target(
        &mut self,
        entry: Entry<'_>,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), AppendError> {
        let Some((sealer, block)) = self.sealer(&entry.event) else {
            return clear(&entry, out);
        };
        let raw = target::kept(raw);
        block.clear();
        let slot = sealer.slot(entry.time).map_err(refused)?;
        slot.target(&raw, block).map_err(refused)?;
        let entry = Entry {
            time: entry.time,
            event: entry.event.with_target(block),
        };
        slot.seal(&entry, out).map_err(refused)
    }

    /// What seals this event, under the key that is in use for its class, and the memory for a block;
    /// nothing where it stays in the clear.
    fn sealer(&mut self, event: &Event<'_>) -> Option<(&mut Sealer<System>, &mut Vec<u8>)> {
        let sealing = self.sealing.as_mut().filter(|_| !stays_clear(event))?;
        let turns = sealing.keyring.turns();
        if sealing.turns != turns {
            sealing.turns = turns;
            let Current { classes, keys } = sealing.keyring.current();
            sealing.classes = classes;
            for (sealer, key) in sealing.sealers.iter_mut().zip(keys) {
                sealer.turn(key);
            }
        }
        // A class without a key would be a defect: its events are standard ones then, never in the clear.
        let class = sealing.classes.of(event).min(sealing.sealers.len() - 1);
        Some((&mut sealing.sealers[class], &mut sealing.block))
    }
}

fn clear(entry: &Entry<'_>, out: &mut Vec<u8>) -> Result<(), AppendError> {
    let start = out.len();
    entry::encode(entry, out);
    if out.len() - start <= entry::MAX_BYTES {
        Ok(())
    } else {
        Err(AppendError::TooLong)
    }
}

fn refused(error: SealError) -> AppendError {
    match error {
        SealError::TooLong { .. } | SealError::TargetTooLong { .. } => AppendError::TooLong,
        SealError::NoRandomness | SealError::Library => AppendError::Unsealed,
    }
}
