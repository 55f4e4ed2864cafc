//! The kernel's clocks, and its own word on the one that is set: adjtimex(2) with nothing to adjust.
//!
//! The call needs no privilege. Where a filter of system calls refuses it (glibc asks by
//! clock_adjtime(2), which systemd's `ProtectClock=yes` forbids), the state is unknown (decision 020).

use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use rtime_clock::adjtime::{Timex, adjtimex};
use rustix::time::{ClockId, clock_gettime};

use crate::clock::state::{Clock, Reading, State, Unknown};
use crate::event::Time;

/// The clock of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Kernel;

impl Clock for Kernel {
    fn read(&self) -> Reading {
        let before = boot();
        let time = Time::from_system(SystemTime::now());
        let slack = boot().saturating_sub(before);
        Reading {
            time,
            boot: before,
            slack,
            state: state(),
        }
    }
}

/// What the kernel says of the clock.
fn state() -> State {
    // All zero: no mode, so nothing is adjusted.
    let mut timex = Timex::new();
    match adjtimex(&mut timex) {
        Ok(code) => {
            let max_error_us = u64::try_from(timex.0.maxerror).ok();
            judge(code, timex.0.status, max_error_us)
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            State::Unknown(Unknown::Refused)
        }
        Err(_) => State::Unknown(Unknown::Failed),
    }
}

/// What adjtimex(2) returned, and the fields `status` and `maxerror`, if that is an error at all.
fn judge(code: i32, status: i32, max_error_us: Option<u64>) -> State {
    let Some(max_error_us) = max_error_us else {
        return State::Unknown(Unknown::Failed);
    };
    // Either of them is the kernel's no; it also has reasons other than the flag.
    if code == TIME_ERROR || status & STA_UNSYNC != 0 {
        State::Unsynchronized { max_error_us }
    } else {
        State::Synchronized { max_error_us }
    }
}

/// uapi/linux/timex.h: "clock not synchronized".
const TIME_ERROR: i32 = 5;

/// uapi/linux/timex.h: "clock unsynchronized".
const STA_UNSYNC: i32 = 0x0040;

fn boot() -> Duration {
    let since = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(since.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(since.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_no_is_a_no_whichever_way_it_says_it() {
        let no = State::Unsynchronized { max_error_us: 7 };
        assert_eq!(judge(TIME_ERROR, 0, Some(7)), no);
        assert_eq!(judge(0, STA_UNSYNC | 1, Some(7)), no);
        assert_eq!(judge(TIME_ERROR, STA_UNSYNC, Some(7)), no);
        // A leap second that is announced, or under way, is none.
        for code in 0..TIME_ERROR {
            let yes = State::Synchronized { max_error_us: 7 };
            assert_eq!(judge(code, 0x2001, Some(7)), yes);
        }
        assert_eq!(judge(0, 1, None), State::Unknown(Unknown::Failed));
    }

    #[test]
    fn the_machines_clocks_can_be_read() {
        let (first, second) = (Kernel.read(), Kernel.read());
        assert!(first.boot > Duration::ZERO);
        assert!(second.boot >= first.boot);
        assert!(first.time > Time(1_700_000_000_000_000_000));
    }
}
