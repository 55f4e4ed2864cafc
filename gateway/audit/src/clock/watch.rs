//! What became of a clock since it was last looked at: lost, back, or set.
//!
//! A clock that is slewed runs a little faster or slower, and so does the time since the machine began:
//! the kernel disciplines both alike. So the two drift apart only when somebody sets the one. They are
//! held against where they stood at the start, or when a step was last told: many small steps add up.

use crate::clock::state::{Reading, State};
use crate::event::{self, Event};

/// A clock that is watched.
#[derive(Debug, Clone)]
pub struct Watch {
    state: State,
    /// How far the clock is ahead of the time since the machine began, nanoseconds.
    ahead: i128,
    /// So far off that may be, nanoseconds.
    slack: i128,
}

/// What is told of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// What became of it.
    pub change: Change,
    /// How it stands now.
    pub state: State,
}

/// What can become of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is looked at for the first time.
    Begun,
    /// It was set.
    Stepped {
        /// By so many microseconds; back when negative.
        by_us: i64,
    },
    /// It is not synchronized, and was; or is unknown now, and was not.
    Lost,
    /// It is synchronized, and was not.
    Back,
}

impl Change {
    /// By how many microseconds the clock was set; back when negative.
    #[must_use]
    pub fn step_us(self) -> Option<i64> {
        match self {
            Change::Stepped { by_us } => Some(by_us),
            Change::Begun | Change::Lost | Change::Back => None,
        }
    }
}

impl Watch {
    /// A step is told of when the clock is off by more than this, nanoseconds: the second within which
    /// clocks are to agree (IHE ITI TF-1 7).
    const STEP: i128 = 1_000_000_000;

    /// Begins with what a clock shows now.
    #[must_use]
    pub fn begin(reading: &Reading) -> Watch {
        Watch {
            state: reading.state,
            ahead: ahead(reading),
            slack: slack(reading),
        }
    }

    /// What is to be told at the beginning.
    #[must_use]
    pub fn begun(&self) -> Told {
        Told {
            change: Change::Begun,
            state: self.state,
        }
    }

    /// What is to be told next, if anything. It is told again until it was [taken](Watch::take).
    #[must_use]
    pub fn look(&self, reading: &Reading) -> Option<Told> {
        let state = reading.state;
        let moved = ahead(reading) - self.ahead;
        if moved.abs() > Self::STEP + self.slack + slack(reading) {
            let by_us = moved / 1000;
            let most = if by_us < 0 { i64::MIN } else { i64::MAX };
            let by_us = i64::try_from(by_us).unwrap_or(most);
            let change = Change::Stepped { by_us };
            return Some(Told { change, state });
        }
        let change = match (self.state, state) {
            (before, now) if before.is_synchronized() != now.is_synchronized() => {
                if now.is_synchronized() {
                    Change::Back
                } else {
                    Change::Lost
                }
            }
            (before, now) if before.name() != now.name() => Change::Lost,
            _ => return None,
        };
        Some(Told { change, state })
    }

    /// This was told of this reading.
    pub fn take(&mut self, told: &Told, reading: &Reading) {
        match told.change {
            Change::Stepped { .. } => {
                self.ahead = ahead(reading);
                self.slack = slack(reading);
            }
            Change::Begun | Change::Lost | Change::Back => self.state = told.state,
        }
    }
}

fn ahead(reading: &Reading) -> i128 {
    i128::from(reading.time.0) - reading.boot.as_nanos().cast_signed()
}

fn slack(reading: &Reading) -> i128 {
    reading.slack.as_nanos().cast_signed()
}

impl Told {
    /// The entry that says so.
    #[must_use]
    pub fn event(&self) -> Event<'static> {
        let change = match self.change {
            Change::Begun => "begun",
            Change::Stepped { .. } => "stepped",
            Change::Lost => "lost",
            Change::Back => "back",
        };
        Event::Clock(event::Clock {
            change,
            state: self.state.name(),
            max_error_us: self.state.max_error_us(),
            step_us: self.change.step_us(),
            reason: self.state.reason(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::state::Unknown;
    use crate::event::Time;
    use proptest::prelude::*;
    use std::time::Duration;

    const GOOD: State = State::Synchronized { max_error_us: 5 };
    const BAD: State = State::Unsynchronized {
        max_error_us: 16_000_000,
    };

    /// What a clock shows so many seconds after the start, set off by so many milliseconds.
    fn reading(second: u64, off_ms: i64, state: State) -> Reading {
        let time = 1_700_000_000_000_000_000 + second * 1_000_000_000;
        Reading {
            time: Time(time.checked_add_signed(off_ms * 1_000_000).unwrap()),
            boot: Duration::from_secs(500 + second),
            slack: Duration::ZERO,
            state,
        }
    }

    /// Looks at one after the other, and tells all.
    fn told(readings: &[Reading]) -> Vec<Change> {
        let mut watch = Watch::begin(&readings[0]);
        let mut all = Vec::new();
        for reading in &readings[1..] {
            while let Some(told) = watch.look(reading) {
                assert_eq!(told.state, reading.state);
                watch.take(&told, reading);
                all.push(told.change);
            }
        }
        all
    }

    #[test]
    fn a_clock_that_is_lost_and_comes_back_is_told_of_once_each() {
        let seconds = [GOOD, GOOD, BAD, BAD, GOOD, GOOD];
        let readings: Vec<_> = (0..)
            .zip(seconds)
            .map(|(at, state)| reading(at, 0, state))
            .collect();
        assert_eq!(told(&readings), [Change::Lost, Change::Back]);
    }

    #[test]
    fn a_maximum_error_that_grows_is_no_change() {
        let grows = |second| {
            let state = State::Synchronized {
                max_error_us: second * 500,
            };
            reading(second, 0, state)
        };
        let readings: Vec<_> = (0..100).map(grows).collect();
        assert_eq!(told(&readings), []);
    }

    #[test]
    fn a_kernel_that_no_longer_says_is_lost() {
        let unknown = State::Unknown(Unknown::Refused);
        let other = State::Unknown(Unknown::Failed);
        for before in [GOOD, BAD] {
            let readings = [reading(0, 0, before), reading(1, 0, unknown)];
            assert_eq!(told(&readings), [Change::Lost]);
        }
        let readings = [reading(0, 0, unknown), reading(1, 0, other)];
        assert_eq!(told(&readings), []);
    }

    #[test]
    fn a_step_of_more_than_a_second_is_told_of_either_way() {
        for off in [1001, -1001, 3_600_000, -3_600_000] {
            let readings = [
                reading(0, 0, GOOD),
                reading(1, off, GOOD),
                reading(2, off, GOOD),
            ];
            let by_us = off * 1000;
            assert_eq!(told(&readings), [Change::Stepped { by_us }], "{off}");
        }
        for off in [1000, -1000, 3, 0] {
            assert_eq!(told(&[reading(0, 0, GOOD), reading(1, off, GOOD)]), []);
        }
    }

    #[test]
    fn small_steps_add_up_to_one() {
        let readings: Vec<_> = (0..5)
            .map(|second| reading(second, -400 * second.cast_signed(), GOOD))
            .collect();
        assert_eq!(told(&readings), [Change::Stepped { by_us: -1_200_000 }]);
    }

    #[test]
    fn a_step_and_a_state_are_both_told_of() {
        let readings = [reading(0, 0, BAD), reading(1, 5000, GOOD)];
        let stepped = Change::Stepped { by_us: 5_000_000 };
        assert_eq!(told(&readings), [stepped, Change::Back]);
    }

    #[test]
    fn what_is_not_taken_is_told_of_again() {
        let watch = Watch::begin(&reading(0, 0, GOOD));
        let set = reading(1, -5000, BAD);
        assert_eq!(watch.look(&set), watch.look(&set));
        assert!(watch.look(&set).is_some());
    }

    #[test]
    fn a_process_that_did_not_run_between_two_looks_at_clocks_invents_no_step() {
        let mut late = reading(1, 30_000, GOOD);
        late.slack = Duration::from_secs(30);
        assert_eq!(told(&[reading(0, 0, GOOD), late]), []);
        let mut first = reading(0, -30_000, GOOD);
        first.slack = Duration::from_secs(30);
        assert_eq!(told(&[first, reading(1, 0, GOOD)]), []);
    }

    proptest! {
        #[test]
        fn a_clock_that_nobody_sets_is_never_said_to_be_set(rates in prop::collection::vec(-100_000..=100_000_i64, 1..50)) {
            // Slewed by as much as a tenth: both run alike.
            let (mut wall, mut boot) = (1_700_000_000_000_000_000_u64, 500_000_000_000_u64);
            let mut readings = Vec::new();
            for rate in rates {
                let passed = (1_000_000_000 + rate * 1000).unsigned_abs();
                (wall, boot) = (wall + passed, boot + passed);
                readings.push(Reading { time: Time(wall), boot: Duration::from_nanos(boot), slack: Duration::ZERO, state: GOOD });
            }
            prop_assert_eq!(told(&readings), []);
        }

        #[test]
        fn whatever_clocks_show_nothing_panics(times: [u64; 3], boots: [u64; 3], slack: u64) {
            let readings: Vec<_> = times.into_iter().zip(boots).map(|(time, boot)| Reading {
                time: Time(time), boot: Duration::from_secs(boot), slack: Duration::from_nanos(slack), state: BAD,
            }).collect();
            told(&readings);
        }
    }
}
