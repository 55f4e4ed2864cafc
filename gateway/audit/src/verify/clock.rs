//! What the checkpoints of a log say of the clock that they were signed by.
//!
//! It is the signer's word on its own clock, so that an auditor knows how far to trust the times of a log.
//! What it says is a note, never a finding: a machine without a time service is not tampering. Times that
//! go back are `meaning`'s.

use super::report::Note;
use crate::clock::{Stamp, State, Unknown};
use crate::merkle::checkpoint::Checkpoint;

/// What was said of the clock where a log was signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamped {
    /// Checkpoints from the first one on that says how the clock stood. Those before are of a gateway
    /// that did not ask.
    pub checkpoints: u64,
    /// Of these, those that do not say that it was synchronized.
    pub unsynchronized: u64,
    /// The size of the first of them.
    pub first: Option<u64>,
    /// The size of the first of those at the end, if the last checkpoint is one of them.
    pub since: Option<u64>,
    /// The largest maximum error, microseconds, where the clock was synchronized.
    pub max_error_us: Option<u64>,
}

impl Stamped {
    /// Takes what the next checkpoint says.
    pub(super) fn take(&mut self, checkpoint: &Checkpoint) {
        let state = match Stamp::among(checkpoint.extensions()) {
            Ok(Some(stamp)) => stamp.state,
            Ok(None) if self.checkpoints == 0 => return,
            // Fail closed: what is not said, or cannot be read, is not synchronized.
            Ok(None) | Err(_) => State::Unknown(Unknown::Untold),
        };
        self.checkpoints += 1;
        if state.is_synchronized() {
            self.since = None;
            self.max_error_us = self.max_error_us.max(state.max_error_us());
        } else {
            let size = checkpoint.head().size;
            self.unsynchronized += 1;
            self.first.get_or_insert(size);
            self.since.get_or_insert(size);
        }
    }

    /// What an auditor has to know of it, if anything.
    pub(super) fn note(&self) -> Option<Note> {
        Some(Note::Clock {
            unsynchronized: self.unsynchronized,
            checkpoints: self.checkpoints,
            first: self.first?,
            since: self.since,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Time;
    use crate::merkle::hash::Hash;
    use crate::merkle::range::Head;

    fn stamped(said: &[&str]) -> Stamped {
        let mut stamped = Stamped::default();
        for (size, said) in (10..).zip(said) {
            let root = Hash::new([9; 32]);
            let lines: Vec<_> = said.lines().collect();
            let checkpoint = Checkpoint::new("o", Head { size, root }, &lines).unwrap();
            stamped.take(&checkpoint);
        }
        stamped
    }

    fn line(state: State) -> String {
        let time = Time(1_700_000_000_000_000_000);
        Stamp { time, state }.to_string()
    }

    fn good(max_error_us: u64) -> String {
        line(State::Synchronized { max_error_us })
    }

    #[test]
    fn checkpoints_of_before_say_nothing_and_nothing_is_said_of_them() {
        assert_eq!(stamped(&["", "previous x", ""]), Stamped::default());
        assert_eq!(Stamped::default().note(), None);
        let counted = stamped(&["", &good(5), &good(7), &good(6)]);
        assert_eq!((counted.checkpoints, counted.max_error_us), (3, Some(7)));
        assert_eq!(counted.note(), None);
    }

    #[test]
    fn what_is_not_said_to_be_synchronized_is_counted_with_its_place() {
        let lost = line(State::Unsynchronized { max_error_us: 9 });
        let unknown = line(State::Unknown(Unknown::Refused));
        let note = |first, since, unsynchronized, checkpoints| {
            Some(Note::Clock {
                unsynchronized,
                checkpoints,
                first,
                since,
            })
        };
        let counted = stamped(&[&good(1), &lost, &good(1)]);
        assert_eq!(counted.note(), note(11, None, 1, 3));
        let counted = stamped(&[&lost, &good(1), &unknown, &lost]);
        assert_eq!(counted.note(), note(10, Some(12), 3, 4));
    }

    #[test]
    fn a_line_that_is_left_out_doubled_or_cannot_be_read_is_not_synchronized() {
        let twice = format!("{}\n{}", good(1), good(1));
        for said in ["", "clock right", &twice] {
            let counted = stamped(&[&good(1), said]);
            assert_eq!(
                (counted.checkpoints, counted.since),
                (2, Some(11)),
                "{said}"
            );
        }
        assert_eq!(stamped(&["clock right"]).unsynchronized, 1);
    }
}
