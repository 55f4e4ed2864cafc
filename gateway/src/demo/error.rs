//! What keeps the demo from starting, in the words that a person reads.

use std::fmt;

/// What went wrong, and what to do about it where there is something to do.
#[derive(Debug)]
pub(super) struct DemoError {
    what: String,
    hint: Option<String>,
}

impl DemoError {
    /// What went wrong.
    pub(super) fn new(what: impl fmt::Display) -> DemoError {
        DemoError {
            what: what.to_string(),
            hint: None,
        }
    }

    /// With what to do about it.
    pub(super) fn hint(self, hint: impl fmt::Display) -> DemoError {
        DemoError {
            hint: Some(hint.to_string()),
            ..self
        }
    }
}

/// An `error:` line and, if there is one, a `hint:` line.
impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}
