//! `audit prove` and `audit check`: proofs as texts, made where the log is and checked where it is not.

use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use terminal::counted;

use super::disclose;
use super::failure::Failure;
use crate::disclosure;
use crate::keygen::write_new;
use crate::merkle::hash;
use crate::merkle::offline::{Grown, Included, MAX_BYTES, OfflineError};
use crate::merkle::rotation::Chain;
use crate::prove;
use crate::public_key;
use crate::rotate::{self, Known};
use crate::seal::sealed;

/// Prove that an entry is in a log, or that the log only grew, as a text for others to check.
///
/// An entry is proved to be in the last checkpoint (C2SP tlog-proof). Two sizes are proved to
/// belong to one log that only grew (C2SP tlog-witness, add-checkpoint); the larger must be that of
/// a checkpoint.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  audit prove /var/lib/phigate/audit --entry 4711 --leaf 4711.leaf > 4711.tlog-proof\n  audit prove /var/lib/phigate/audit --from 1000 > grown"
)]
pub(super) struct Prove {
    /// The log's directory.
    directory: PathBuf,
    /// The number of the entry, from 0, as `audit show --json` prints it.
    #[arg(long, value_name = "N", required_unless_present = "from")]
    entry: Option<u64>,
    /// Where to write the bytes of the entry, which the proof is checked with.
    #[arg(long, value_name = "FILE", requires = "entry", conflicts_with = "from")]
    leaf: Option<PathBuf>,
    /// The smaller size: that of a checkpoint that somebody kept.
    #[arg(long, value_name = "SIZE", conflicts_with = "entry")]
    from: Option<u64>,
    /// The larger size: that of a checkpoint. Without it, the last one.
    #[arg(long, value_name = "SIZE", requires = "from")]
    to: Option<u64>,
}

impl Prove {
    /// Prints the proof.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let claim = match (self.entry, self.from) {
            (Some(entry), _) => Claim::Included {
                entry,
                leaf: self.leaf,
            },
            // One of both is there: the parser saw to it.
            (None, from) => Claim::Grown {
                from: from.unwrap_or(0),
                to: self.to,
            },
        };
        prove(&self.directory, claim, out)
    }
}

/// What is to be proved.
enum Claim {
    /// An entry is in the log. Its bytes are written to a file, if there is one.
    Included { entry: u64, leaf: Option<PathBuf> },
    /// The log only grew.
    Grown { from: u64, to: Option<u64> },
}

fn prove(directory: &Path, claim: Claim, out: &mut impl Write) -> Result<ExitCode, Failure> {
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

/// Check a proof of `audit prove`, or what `audit disclose` disclosed, without the log.
///
/// Without --leaf and --old it is a disclosure, and the entry in it is printed.
///
/// Exit codes: 0 it holds, 1 it does not, 64 wrong usage.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  audit check 4711.disclosed --key log.vkey\n  audit check 4711.tlog-proof --key log.vkey --leaf 4711.leaf\n  audit check grown --key log.vkey --old checkpoint.of.last.year"
)]
pub(super) struct Check {
    /// The proof, or the disclosure.
    proof: PathBuf,
    /// A file with the public key of the log.
    #[arg(long, value_name = "VKEY")]
    key: PathBuf,
    /// A file with the rotations of the log's key, log.rotations as `audit rotate` wrote it: the
    /// proof then holds also with a key that the given one led to.
    #[arg(long, value_name = "FILE")]
    rotations: Option<PathBuf>,
    /// The bytes of the entry, which the proof is about.
    #[arg(long, value_name = "FILE")]
    leaf: Option<PathBuf>,
    /// The older checkpoint that was kept, which the proof begins with.
    #[arg(long, value_name = "FILE", conflicts_with = "leaf")]
    old: Option<PathBuf>,
}

impl Check {
    /// Says what the proof proves.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let against = match (self.leaf, self.old) {
            (Some(leaf), _) => Against::Leaf(leaf),
            (None, Some(old)) => Against::Old(old),
            (None, None) => Against::Nothing,
        };
        let key = public_key::read(&self.key).map_err(Failure::PublicKey)?;
        let rotations = match &self.rotations {
            Some(path) => rotate::read_rotations(path).map_err(Failure::Rotate)?,
            None => Chain::default(),
        };
        check(&self.proof, &Known::new(key, &rotations), &against, out)
    }
}

/// What a proof is checked with, besides the public key.
enum Against {
    /// The bytes of the entry.
    Leaf(PathBuf),
    /// An older checkpoint that was kept.
    Old(PathBuf),
    /// Nothing: what it is about is in it.
    Nothing,
}

fn check(
    proof: &Path,
    known: &Known,
    against: &Against,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let text = read(proof, disclosure::MAX_BYTES.max(MAX_BYTES))?;
    let words = || String::from_utf8_lossy(&text);
    let unproved = |error: OfflineError| Failure::Unproved {
        path: proof.to_owned(),
        error,
    };
    let name = known.given().name();
    let said = match against {
        Against::Nothing => return disclose::check(proof, &text, known, out),
        Against::Leaf(path) => {
            let leaf = hash::leaf(&read(path, sealed::MAX_BYTES)?);
            let included = Included::parse(&words()).map_err(unproved)?;
            let head = known.with_any(|key| {
                let head = included.verify(&leaf, key)?;
                Ok((head, head.size))
            });
            let head = head.map_err(unproved)?;
            let size = counted(head.size, "entry/entries");
            format!(
                "good: it is entry {} of the log {name} of {size}",
                included.index()
            )
        }
        Against::Old(path) => {
            let old = read(path, MAX_BYTES)?;
            let grown = Grown::parse(&words()).map_err(unproved)?;
            let grew = known.with_any(|key| {
                let (from, to) = grown.verify(&old, known.all(), key)?;
                Ok(((from, to), to.size))
            });
            let (from, to) = grew.map_err(unproved)?;
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
pub(super) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
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
