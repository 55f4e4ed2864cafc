//! Disclosing one entry of a log, for a reader who may open it.
//!
//! The entry is opened, proved to be in the last checkpoint, and put together with both
//! (`disclosure`). Nothing of another entry is opened, and the raw target stays sealed unless it is
//! asked for. Works on the log of a running gateway.

use std::fmt;
use std::path::Path;

use crate::disclosure::Disclosure;
use crate::entry::EntryError;
use crate::prove::{self, ProveError};
use crate::seal::opener::OpenError;
use crate::seal::sealed::{Leaf, LeafError};
use crate::unseal::Unsealer;

/// Discloses the entry `sequence` of the log in `directory`; with its raw target, if that is asked for.
///
/// # Errors
/// [`DiscloseError`]; nothing is disclosed then.
pub fn disclose(
    directory: &Path,
    sequence: u64,
    unsealer: &mut Unsealer,
    with_target: bool,
) -> Result<Disclosure, DiscloseError> {
    let (included, leaf) = prove::included(directory, sequence).map_err(DiscloseError::Prove)?;
    let sealed = match Leaf::parse(&leaf).map_err(DiscloseError::Leaf)? {
        Leaf::Sealed(sealed) => sealed,
        Leaf::Clear(_) if with_target => return Err(DiscloseError::NoTarget),
        Leaf::Clear(_) => return Ok(Disclosure::of_clear(leaf, included)),
    };
    let opened = unsealer.open(&sealed).map_err(DiscloseError::Open)?;
    let entry = opened.entry().map_err(DiscloseError::Entry)?;
    let target = if with_target {
        let target = unsealer.target(&leaf, &entry);
        let target = target.map_err(DiscloseError::Open)?;
        Some(target.ok_or(DiscloseError::NoTarget)?)
    } else {
        None
    };
    Ok(Disclosure::of_sealed(
        leaf.clone(),
        &opened,
        target.as_ref(),
        included,
    ))
}

/// Why nothing is disclosed.
#[derive(Debug)]
pub enum DiscloseError {
    /// The entry cannot be proved to be in the log.
    Prove(ProveError),
    /// What stands there is no leaf.
    Leaf(LeafError),
    /// It does not open.
    Open(OpenError),
    /// What it opens to is no entry.
    Entry(EntryError),
    /// There is no target in it.
    NoTarget,
}

impl DiscloseError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            DiscloseError::Prove(error) => error.hint(),
            DiscloseError::Open(OpenError::NoKey { .. }) => {
                "--reader names the secret half of a key that [audit] readers named when it was written"
            }
            DiscloseError::Open(OpenError::Scope) => {
                "leave --target out, or ask a reader who may open targets"
            }
            DiscloseError::NoTarget => {
                "the first record of a request holds its target, in a log that is sealed; leave --target out"
            }
            DiscloseError::Open(_) | DiscloseError::Leaf(_) | DiscloseError::Entry(_) => {
                "`audit verify` says what else is wrong"
            }
        }
    }
}

impl fmt::Display for DiscloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiscloseError::Prove(error) => error.fmt(f),
            DiscloseError::Leaf(error) => error.fmt(f),
            DiscloseError::Open(error) => error.fmt(f),
            DiscloseError::Entry(error) => error.fmt(f),
            DiscloseError::NoTarget => f.write_str("there is no request target in this entry"),
        }
    }
}

impl std::error::Error for DiscloseError {}
