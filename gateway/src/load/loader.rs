//! What loading collects: every mistake, with the line that asked for what is mistaken.

use std::collections::HashMap;

use config::{CertificateName, Finding, Place, Severity};

/// Loads, and collects what is wrong. Each file of this folder adds what it knows how to load.
pub(super) struct Loader {
    /// Seconds since 1970.
    pub(super) now: i64,
    /// What was found so far.
    pub(super) findings: Vec<Finding>,
    /// SHA-256 of the whole chain of each certificate entry: what stands above the leaf may be what
    /// changed.
    pub(super) chains: HashMap<CertificateName, [u8; 32]>,
}

impl Loader {
    /// Nothing is loaded yet. `now` in seconds since 1970.
    pub(super) fn new(now: i64) -> Loader {
        Loader {
            now,
            findings: Vec::new(),
            chains: HashMap::new(),
        }
    }

    /// Nothing can be loaded.
    pub(super) fn error(&mut self, place: &Place, message: impl Into<String>, hint: Option<&str>) {
        self.findings
            .push(Finding::error(place, printable(&message.into()), hint));
    }

    /// It probably does not do what was meant.
    pub(super) fn warning(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        hint: Option<&str>,
    ) {
        self.findings.push(Finding {
            severity: Severity::Warning,
            ..Finding::error(place, printable(&message.into()), hint)
        });
    }
}

/// Names of files in a directory, and those in certificates, are whatever somebody made them: one
/// line of a finding stays one line, and no terminal obeys it.
fn printable(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}
