//! What is known of the clock, and the one spelling of it in a checkpoint.
//!
//! ```text
//! clock 2026-11-22T08:03:29.123456Z synchronized 1234        maximum error, microseconds
//! clock 2026-11-22T08:03:29.123456Z unsynchronized 16000000
//! clock 2026-11-22T08:03:29.123456Z unknown
//! ```
//!
//! An extension line of ours (C2SP tlog-checkpoint): who signs it says when it signed by its own clock,
//! and what the kernel said of that clock then. Others may read it as text.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::event::Time;

/// A source of time, and of what is known of it.
pub trait Clock: fmt::Debug + Send + Sync {
    /// How it stands now. Does not wait.
    fn read(&self) -> Reading;
}

/// What a clock shows at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The time, as it can be set.
    pub time: Time,
    /// The time since the machine began, also while it slept: it runs at the same rate, and nobody
    /// sets it (`CLOCK_BOOTTIME`).
    pub boot: Duration,
    /// So far apart the two may have been read.
    pub slack: Duration,
    /// What the kernel says of it.
    pub state: State,
}

/// Whether a clock is synchronized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is.
    Synchronized {
        /// No further off than this, microseconds.
        max_error_us: u64,
    },
    /// It is not, or no longer.
    Unsynchronized {
        /// What the kernel names as its maximum error, microseconds.
        max_error_us: u64,
    },
    /// The kernel does not say. Never to be taken for synchronized.
    Unknown(Unknown),
}

/// Why the state of a clock is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The kernel refused the question: a filter of system calls does that.
    Refused,
    /// The kernel failed otherwise, or its answer has no meaning.
    Failed,
    /// Only this much was written down.
    Untold,
}

impl State {
    /// Whether the kernel says that it is. Fail closed: what is not known is not synchronized.
    #[must_use]
    pub fn is_synchronized(self) -> bool {
        match self {
            State::Synchronized { .. } => true,
            State::Unsynchronized { .. } | State::Unknown(_) => false,
        }
    }

    /// The maximum error that the kernel names, microseconds.
    #[must_use]
    pub fn max_error_us(self) -> Option<u64> {
        match self {
            State::Synchronized { max_error_us } | State::Unsynchronized { max_error_us } => {
                Some(max_error_us)
            }
            State::Unknown(_) => None,
        }
    }

    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Synchronized { .. } => "synchronized",
            State::Unsynchronized { .. } => "unsynchronized",
            State::Unknown(_) => "unknown",
        }
    }

    /// Why it is not known.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            State::Unknown(Unknown::Refused) => Some("refused"),
            State::Unknown(Unknown::Failed) => Some("failed"),
            State::Synchronized { .. }
            | State::Unsynchronized { .. }
            | State::Unknown(Unknown::Untold) => None,
        }
    }
}

impl State {
    /// What an operator can do about it.
    #[must_use]
    pub fn advice(self) -> Option<&'static str> {
        match self {
            State::Synchronized { .. } => None,
            State::Unsynchronized { .. } => Some(
                "run a time service that tells the kernel: chrony does with `rtcsync`, systemd-timesyncd by itself",
            ),
            State::Unknown(Unknown::Refused) => Some(
                "let the process call clock_adjtime(2) and adjtimex(2): `ProtectClock=yes` of systemd and filters of containers forbid it",
            ),
            State::Unknown(Unknown::Failed | Unknown::Untold) => {
                Some("see what adjtimex(2) says on this machine")
            }
        }
    }
}

/// Microseconds, as people read them: `0.001234 s`.
#[must_use]
pub fn seconds(us: u64) -> String {
    format!("{}.{:06} s", us / 1_000_000, us % 1_000_000)
}

/// For people: `synchronized, maximum error 0.001234 s`.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Synchronized { max_error_us } => {
                write!(f, "synchronized, maximum error {}", seconds(*max_error_us))
            }
            State::Unsynchronized { max_error_us } => {
                write!(
                    f,
                    "not synchronized, maximum error {}",
                    seconds(*max_error_us)
                )
            }
            State::Unknown(why) => f.write_str(match why {
                Unknown::Refused => "unknown: the kernel was not allowed to say",
                Unknown::Failed => "unknown: the kernel does not say",
                Unknown::Untold => "unknown",
            }),
        }
    }
}

/// When something is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time by the system's clock.
    pub time: Time,
    /// What is known of that clock; nothing when nobody asked.
    pub state: Option<State>,
}

impl Moment {
    /// What a checkpoint says of it, if somebody asked.
    #[must_use]
    pub fn stamp(&self) -> Option<Stamp> {
        let time = self.time;
        self.state.map(|state| Stamp { time, state })
    }
}

impl From<Time> for Moment {
    fn from(time: Time) -> Moment {
        Moment { time, state: None }
    }
}

impl From<&Reading> for Moment {
    fn from(reading: &Reading) -> Moment {
        Moment {
            time: reading.time,
            state: Some(reading.state),
        }
    }
}

/// The extension line of a checkpoint that says when it was signed, and how the clock stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When, by the signer's clock; in the line to the microsecond.
    pub time: Time,
    /// What the signer's kernel said of it.
    pub state: State,
}

impl Stamp {
    /// The stamp among the extension lines of a checkpoint; nothing when there is none.
    ///
    /// # Errors
    /// [`StampError`] when there is one that cannot be read, or a second one.
    pub fn among(lines: &[String]) -> Result<Option<Stamp>, StampError> {
        let mut lines = lines.iter().filter(|line| line.starts_with(CLOCK));
        let Some(line) = lines.next() else {
            return Ok(None);
        };
        match lines.next() {
            None => line.parse().map(Some),
            Some(_) => Err(StampError),
        }
    }
}

const CLOCK: &str = "clock ";

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CLOCK}{} {}", self.time, self.state.name())?;
        match self.state.max_error_us() {
            Some(us) => write!(f, " {us}"),
            None => Ok(()),
        }
    }
}

/// A line is not a stamp, in its one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StampError;

impl fmt::Display for StampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not what a checkpoint says of a clock")
    }
}

impl std::error::Error for StampError {}

impl FromStr for Stamp {
    type Err = StampError;

    fn from_str(line: &str) -> Result<Stamp, StampError> {
        let mut words = line.strip_prefix(CLOCK).ok_or(StampError)?.split(' ');
        let mut word = || words.next().ok_or(StampError);
        let time: jiff::Timestamp = word()?.parse().map_err(|_| StampError)?;
        let nanoseconds = u64::try_from(time.as_nanosecond()).map_err(|_| StampError)?;
        let name = word()?;
        let mut max_error_us = || word()?.parse::<u64>().map_err(|_| StampError);
        let state = match name {
            "synchronized" => State::Synchronized {
                max_error_us: max_error_us()?,
            },
            "unsynchronized" => State::Unsynchronized {
                max_error_us: max_error_us()?,
            },
            "unknown" => State::Unknown(Unknown::Untold),
            _ => return Err(StampError),
        };
        let stamp = Stamp {
            time: Time(nanoseconds),
            state,
        };
        // One spelling: what is written again is what was read.
        (stamp.to_string() == line)
            .then_some(stamp)
            .ok_or(StampError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: Time = Time(1_795_334_609_123_456_000);

    #[test]
    fn each_state_has_its_line() {
        for (state, line) in [
            (
                State::Synchronized { max_error_us: 1234 },
                "clock 2026-11-22T08:03:29.123456Z synchronized 1234",
            ),
            (
                State::Unsynchronized {
                    max_error_us: 16_000_000,
                },
                "clock 2026-11-22T08:03:29.123456Z unsynchronized 16000000",
            ),
            (
                State::Unknown(Unknown::Refused),
                "clock 2026-11-22T08:03:29.123456Z unknown",
            ),
        ] {
            let stamp = Stamp { time: TIME, state };
            assert_eq!(stamp.to_string(), line);
            let read: Stamp = line.parse().unwrap();
            assert_eq!(read.time, TIME);
            assert_eq!(read.state.name(), state.name());
            assert_eq!(read.state.max_error_us(), state.max_error_us());
        }
    }

    #[test]
    fn no_other_spelling_is_read() {
        let now = "2026-11-22T08:03:29.123456Z";
        for line in [
            "clock".to_owned(),
            format!("clock {now}"),
            format!("clock {now} synchronized"),
            format!("clock {now} synchronized 01"),
            format!("clock {now} synchronized +1"),
            format!("clock {now} synchronized -1"),
            format!("clock {now} synchronized 1 "),
            format!("clock {now} synchronized 1 2"),
            format!("clock {now} synchronized 18446744073709551616"),
            format!("clock {now} Synchronized 1"),
            format!("clock {now} synced 1"),
            format!("clock {now} unknown 1"),
            format!("clock {now} unknown "),
            format!("clock  {now} unknown"),
            format!("Clock {now} unknown"),
            "clock 2026-11-22T08:03:29.12345Z unknown".to_owned(),
            "clock 2026-11-22T08:03:29.1234560Z unknown".to_owned(),
            "clock 2026-11-22T09:03:29.123456+01:00 unknown".to_owned(),
            "clock 2026-11-22t08:03:29.123456z unknown".to_owned(),
            "clock 1969-12-31T23:59:59.999999Z unknown".to_owned(),
            "clock 1763798609 unknown".to_owned(),
        ] {
            assert_eq!(line.parse::<Stamp>(), Err(StampError), "{line:?}");
        }
    }

    #[test]
    fn of_several_lines_none_counts() {
        let stamp = Stamp {
            time: TIME,
            state: State::Synchronized { max_error_us: 1 },
        };
        let (line, other) = (stamp.to_string(), "previous x".to_owned());
        assert_eq!(Stamp::among(std::slice::from_ref(&other)), Ok(None));
        let one = [other, line.clone()];
        assert_eq!(Stamp::among(&one), Ok(Some(stamp)));
        assert_eq!(Stamp::among(&[line.clone(), line]), Err(StampError));
        let wrong = ["clock right".to_owned()];
        assert_eq!(Stamp::among(&wrong), Err(StampError));
    }

    #[test]
    fn what_is_not_known_is_not_synchronized() {
        for why in [Unknown::Refused, Unknown::Failed, Unknown::Untold] {
            assert!(!State::Unknown(why).is_synchronized());
        }
        assert!(!State::Unsynchronized { max_error_us: 0 }.is_synchronized());
        assert!(State::Synchronized { max_error_us: 0 }.is_synchronized());
    }

    proptest! {
        #[test]
        fn a_stamp_reads_back(micros in 0..=u64::MAX / 1000, max_error_us: u64, kind in 0..3) {
            let state = match kind {
                0 => State::Synchronized { max_error_us },
                1 => State::Unsynchronized { max_error_us },
                _ => State::Unknown(Unknown::Untold),
            };
            let stamp = Stamp { time: Time(micros * 1000), state };
            prop_assert_eq!(stamp.to_string().parse(), Ok(stamp));
        }

        #[test]
        fn whatever_is_read_has_one_spelling(line in "clock [0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,7})?Z? (synchronized|unsynchronized|unknown)( [0-9]{1,21})?|\\PC{0,60}") {
            if let Ok(stamp) = line.parse::<Stamp>() {
                prop_assert_eq!(stamp.to_string(), line);
            }
        }
    }
}
