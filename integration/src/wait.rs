//! Waiting for conditions, with a deadline on each, and failing with a sentence.

use std::fmt::Display;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// No condition is waited for longer than this. It is far beyond what anything takes, so that a
/// busy machine fails no test.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `probe` brings something.
///
/// # Panics
/// When it does not within [`PATIENCE`]; `what` says what was waited for.
#[track_caller]
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, probe).unwrap_or_else(|| panic!("waited in vain for {what}"))
}

/// Waits until `probe` brings something, for at most `patience`.
pub fn within<T>(patience: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        pause(Duration::from_millis(5));
    }
}

/// Lets time pass: between two looks at a condition, or as the pace of a slow peer.
pub fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a test has no runtime to block")]
    std::thread::sleep(time);
}

/// Says on the terminal, past the capture of the test runner, why a test cannot run on this machine.
/// The test returns after it.
pub fn cannot_run(test: &str, reason: &str) {
    // Whoever closed the terminal does not want to read it.
    let _ = writeln!(std::io::stderr(), "not run here: {test}: {reason}");
}

/// Whether there is time for more kills, more seeds, more of everything: `integration/test --long`.
#[must_use]
pub fn long() -> bool {
    std::env::var_os("PHIGATE_LONG").is_some()
}

/// What is left of a fallible step in a test.
pub trait OrFail<T> {
    /// The value.
    ///
    /// # Panics
    /// Fails the test with what was attempted when there is none.
    fn or_fail(self, doing: &str) -> T;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    #[track_caller]
    fn or_fail(self, doing: &str) -> T {
        match self {
            Ok(value) => value,
            Err(error) => panic!("cannot {doing}: {error}"),
        }
    }
}

impl<T> OrFail<T> for Option<T> {
    #[track_caller]
    fn or_fail(self, doing: &str) -> T {
        match self {
            Some(value) => value,
            None => panic!("cannot {doing}"),
        }
    }
}
