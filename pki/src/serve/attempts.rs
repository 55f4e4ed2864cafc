//! Who tried in vain with a certificate that was revoked, so that each is put on record once in a while and
//! nobody fills the log.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::serial::Serial;

/// Between two entries for one certificate.
const QUIET: Duration = Duration::from_hours(1);
/// Most certificates that are remembered. With more of them at once, some are put on record again sooner.
const REMEMBERED: usize = 1024;
/// Most entries within an hour, whoever tries.
const MOST: usize = 4 * REMEMBERED;

/// The attempts of the last hour.
#[derive(Debug)]
pub(crate) struct Attempts {
    seen: HashMap<Serial, Instant>,
    began: Instant,
    told: usize,
}

impl Attempts {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            seen: HashMap::new(),
            began: now,
            told: 0,
        }
    }

    /// Has `put` put an attempt on record, if it is to be. One that it failed for is as if it had not been.
    pub(crate) fn tell<E>(
        &mut self,
        serial: &Serial,
        now: Instant,
        put: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.is_new(serial, now) {
            return Ok(());
        }
        let told = put();
        if told.is_err() {
            self.seen.remove(serial);
            self.told = self.told.saturating_sub(1);
        }
        told
    }

    /// Whether an attempt is to be put on record.
    fn is_new(&mut self, serial: &Serial, now: Instant) -> bool {
        if now.duration_since(self.began) >= QUIET {
            self.began = now;
            self.told = 0;
        }
        let known = self.seen.get(serial);
        if self.told >= MOST || known.is_some_and(|at| now.duration_since(*at) < QUIET) {
            return false;
        }
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        self.seen.insert(serial.clone(), now);
        self.told += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(number: usize) -> Serial {
        Serial::from_octets(&(number as u64 + 1).to_be_bytes()[4..]).unwrap()
    }

    #[test]
    fn one_certificate_is_put_on_record_once_an_hour() {
        let start = Instant::now();
        let mut attempts = Attempts::new(start);
        assert!(attempts.is_new(&serial(1), start));
        assert!(!attempts.is_new(&serial(1), start + QUIET / 2));
        assert!(attempts.is_new(&serial(2), start + QUIET / 2));
        assert!(attempts.is_new(&serial(1), start + QUIET));
    }

    #[test]
    fn an_attempt_that_the_log_did_not_take_is_told_by_the_next_one() {
        let start = Instant::now();
        let mut attempts = Attempts::new(start);
        let mut told = 0;
        for fails in [true, true, false, false] {
            let put = || {
                told += 1;
                if fails { Err(()) } else { Ok(()) }
            };
            assert_eq!(attempts.tell(&serial(1), start, put).is_err(), fails);
        }
        assert_eq!(told, 3, "the fourth is within the hour");
    }

    #[test]
    fn however_many_try_the_memory_and_the_entries_are_bounded() {
        let start = Instant::now();
        let mut attempts = Attempts::new(start);
        let told = (0..3 * MOST)
            .filter(|number| attempts.is_new(&serial(*number), start))
            .count();
        assert_eq!(told, MOST);
        assert!(attempts.seen.len() <= REMEMBERED);
        assert!(attempts.is_new(&serial(3 * MOST), start + QUIET));
    }
}
