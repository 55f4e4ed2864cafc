//! What rules of meaning can be broken by, in words. The rules are in `meaning`.

use std::fmt;

use terminal::counted;

/// What no honest gateway leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    /// A record of a request does not say of which.
    Nameless,
    /// An answer was released a second time.
    SecondRelease,
    /// An answer was released, and the intent that its method asks for does not stand before it.
    Unintended,
    /// A window of an answer passed that was not released, or had ended.
    Unreleased,
    /// An answer ended that was not released.
    EndUnreleased,
}

/// What an honest gateway may leave, and an auditor may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// A run began, and the one before it had not ended.
    Died,
    /// Requests were forwarded in the run before, and nothing says what became of them.
    Unanswered,
    /// The clock was set back: the gateway saw it, or a run began before the latest time of the one before.
    ClockBack,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Breach::Nameless => "a record of a request that does not say of which",
            Breach::SecondRelease => "the answer of a request is released a second time",
            Breach::Unintended => {
                "an answer is released, and the intent that its method asks for does not stand before it"
            }
            Breach::Unreleased => {
                "a window of an answer passes that was not released before, or had ended"
            }
            Breach::EndUnreleased => "an answer ends that was not released before",
        })
    }
}

impl Oddity {
    /// The sentence, for so many times.
    #[must_use]
    pub fn told(self, times: u64) -> String {
        match self {
            Oddity::Died => format!(
                "{} not end with a stop: the process was killed or died",
                counted(times, "run did/runs did")
            ),
            Oddity::Unanswered => format!(
                "{} forwarded, and nothing says what became of them",
                counted(times, "request was/requests were")
            ),
            Oddity::ClockBack => format!(
                "the clock was set back, {}: times from there on overlap with those before",
                counted(times, "time")
            ),
        }
    }
}
