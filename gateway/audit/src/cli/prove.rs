//! `audit prove` and `audit check`: proofs as texts, made where the log is and checked where it is not.

use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use terminal::counted;

use super::Failure;
use crate::keygen::write_new;
use crate::merkle::hash;
use crate::merkle::offline::{Grown, Included, MAX_BYTES, OfflineError};
use crate::prove;
use crate::public_key;
use crate::seal::sealed;

/// What is to be proved.
pub(super) enum Claim {
    /// An entry is in the log. Its bytes are written to a file, if there is one.
    Included { entry: u64, leaf: Option<PathBuf> },
    /// The log only grew.
    Grown { from: u64, to: Option<u64> },
}

/// Prints a proof.
pub(super) fn prove(
    directory: &Path,
    claim: Claim,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let text = match claim {
        Claim::Included { entry, leaf } => {
            let (proof, bytes) = prove::included(directory, entry).map_err(Failure::Prove)?;
            if let Some(path) = leaf {
                let written = write_new(&path, 0o600, &bytes);
                written.map_err(|error| Failure::Write { path, error })?;
            }
            proof.to_string()
        }
        Claim::Grown { from, to } => {
            let proof = prove::grown(directory, from, to).map_err(Failure::Prove)?;
            proof.to_string()
        }
    };
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(Failure::Output)?;
    Ok(ExitCode::SUCCESS)
}

/// What a proof is checked with, besides the public key.
pub(super) enum Against {
    /// The bytes of the entry.
    Leaf(PathBuf),
    /// An older checkpoint that was kept.
    Old(PathBuf),
}

/// Checks a proof, without the log.
pub(super) fn check(
    proof: &Path,
    key: &Path,
    against: &Against,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let key = public_key::read(key).map_err(Failure::PublicKey)?;
    let text = read(proof, MAX_BYTES)?;
    let text = String::from_utf8_lossy(&text);
    let unproved = |error: OfflineError| Failure::Unproved {
        path: proof.to_owned(),
        error,
    };
    let name = key.name();
    let said = match against {
        Against::Leaf(path) => {
            let leaf = hash::leaf(&read(path, sealed::MAX_BYTES)?);
            let included = Included::parse(&text).map_err(unproved)?;
            let head = included.verify(&leaf, &key).map_err(unproved)?;
            let size = counted(head.size, "entry/entries");
            format!(
                "good: it is entry {} of the log {name} of {size}",
                included.index()
            )
        }
        Against::Old(path) => {
            let old = read(path, MAX_BYTES)?;
            let grown = Grown::parse(&text).map_err(unproved)?;
            let (from, to) = grown.verify(&old, &key).map_err(unproved)?;
            let (from, to) = (
                counted(from.size, "entry/entries"),
                counted(to.size, "entry/entries"),
            );
            format!("good: the log {name} of {to} begins with the one of {from}")
        }
    };
    let printed = writeln!(out, "{said}").and_then(|()| out.flush());
    printed.map_err(Failure::Output)?;
    Ok(ExitCode::SUCCESS)
}

/// A file of at most so many bytes; of a longer one, one byte more.
fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::Open {
            path: path.to_owned(),
            error,
        }),
    }
}

/// What is wrong with a file that was named on the command line.
pub(super) fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "name a file that exists",
        io::ErrorKind::AlreadyExists => "name a file that does not exist yet",
        _ => "check that this user may use the file",
    }
}
