//! Checkpoints of the log: a thread beside the committer that says, again and again, what is durable.
//!
//! ```text
//! store    how the tree lies in the directory          history  every checkpoint, in order
//! resume   where a signed tree ends, is it the one     keeper   durable entries -> tiles, checkpoint
//! handover which key signs next
//! witnessed what witnesses cosigned of it, kept as evidence
//! ```
//!
//! Every second, and earlier when many entries wait, the keeper reads what is durable from the
//! segments and signs it (C2SP tlog-tiles, tlog-checkpoint). It reads the disk, not a queue: what is
//! signed is what lies there, and nothing grows when it falls behind. Nobody waits for it: a disk
//! that takes entries and no tiles is a warning and a figure, and is tried again each second.
//!
//! Entries stand in the segments, which are kept (decision 023); `mirror` makes bundles of them.

pub(crate) mod history;

pub(crate) mod store;

mod handover;

mod resume;

pub mod witnessed;

mod keeper;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use crate::clock::{Clock, Moment};
use crate::event::Time;
use crate::shared::Shared;

pub(crate) use handover::holds;
pub use keeper::{KeepError, Keeper};
pub use resume::last_note;
pub(crate) use resume::{claimed, is_signed, says_signed, signed_size};
pub use store::Means;

/// A checkpoint is made at least this often, while something grows.
const EVERY: Duration = Duration::from_secs(1);

/// This many entries do not wait that long.
const MANY: u64 = 4096;

/// Signs what becomes durable until the log is closed, and then the rest. Each checkpoint says how the
/// clock stands, if there is one to ask. The directory's lock is held until nothing more is written.
pub(crate) fn run(shared: &Shared, mut keeper: Keeper, clock: Option<&dyn Clock>, lock: Arc<File>) {
    let _done = Done(shared);
    let mut failing = false;
    let mut patient = false;
    loop {
        let due = if patient {
            u64::MAX
        } else {
            keeper.signed() + MANY
        };
        let is_last = shared.wait_to_sign(due, EVERY);
        // One attempt a second is enough while the disk refuses.
        patient = !catch_up(shared, &mut keeper, clock, &mut failing);
        if is_last {
            break;
        }
    }
    drop(lock);
}

/// Signs all that is durable now, and says whether that was possible.
fn catch_up(
    shared: &Shared,
    keeper: &mut Keeper,
    clock: Option<&dyn Clock>,
    failing: &mut bool,
) -> bool {
    let durable = shared.durable.load(Ordering::Acquire);
    loop {
        let now = now(clock);
        let before = keeper.signed();
        match keeper.advance(durable, now) {
            Ok(()) if std::mem::take(failing) => {
                tracing::info!(signed = keeper.signed(), "the audit log is signed again");
            }
            Ok(()) => {}
            Err(error) => {
                if !std::mem::replace(failing, true) {
                    tracing::warn!(%error, signed = keeper.signed(), "the audit log is not signed further: tried again each second");
                }
                return false;
            }
        }
        if keeper.signed() > before {
            shared.signed_up_to(keeper.signed(), now.time);
        }
        if keeper.signed() == durable {
            return true;
        }
        if keeper.awaits_handover(durable) {
            return false;
        }
    }
}

/// What this clock shows; without one, the time that the system has.
pub(crate) fn now(clock: Option<&dyn Clock>) -> Moment {
    match clock {
        Some(clock) => Moment::from(&clock.read()),
        None => Time::from_system(SystemTime::now()).into(),
    }
}

/// Tells whoever closes the log that nothing more is signed, however this thread ended.
struct Done<'a>(&'a Shared);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.signing_ended();
    }
}
