//! `pki backup` and `pki restore`: what is typed, and what is printed.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use pki::Ca;
use pki::backup::Manifest;
use pki::ca::BackupKeys;
use serde_json::json;
use terminal::counted;

use super::{Failure, print};

/// Copy the authority into a new directory: inventory, certificates, lists, log, encrypted keys.
///
/// It appears whole or not at all, with a manifest of SHA-256 sums. Others work on meanwhile. Keys in tokens are
/// not in it; a key that is plain refuses the backup unless it is told to go along or to stay.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pki backup --dir pki --to /var/backups/pki-2026-11-22
  pki restore --from /var/backups/pki-2026-11-22 --verify")]
pub(super) struct Backup {
    /// Directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Directory to create.
    #[arg(long, value_name = "BACKUP")]
    pub(super) to: PathBuf,
    /// Plain secret keys go along: whoever has the backup is the authority.
    #[arg(long, conflicts_with = "without_keys")]
    pub(super) with_plain_keys: bool,
    /// No secret key goes along.
    #[arg(long)]
    pub(super) without_keys: bool,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

/// Verify a backup, or bring one back into a new directory.
///
/// What was issued after the backup is unknown to it. If the log of the lost directory is left, put it in the
/// place of DIR/audit before anything else is done, and run `pki recover --revoke`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pki restore --from /var/backups/pki-2026-11-22 --verify
  pki restore --from /var/backups/pki-2026-11-22 --dir pki && pki crl --dir pki && pki doctor --dir pki")]
#[command(group(clap::ArgGroup::new("what").required(true).args(["dir", "verify"])))]
pub(super) struct Restore {
    /// The backup.
    #[arg(long, value_name = "BACKUP")]
    pub(super) from: PathBuf,
    /// Directory to create.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Only say whether it can be relied on.
    #[arg(long)]
    pub(super) verify: bool,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn backup(args: &Backup, now: Timestamp) -> Result<String, Failure> {
    let keys = match (args.with_plain_keys, args.without_keys) {
        (true, _) => BackupKeys::Plain,
        (false, true) => BackupKeys::Without,
        (false, false) => BackupKeys::Encrypted,
    };
    let manifest = Ca::open(&args.dir)?.backup(&args.to, keys, now)?;
    Ok(told("copied", &manifest, &args.to, args.json))
}

pub(super) fn restore(args: &Restore, now: Timestamp) -> Result<String, Failure> {
    let Some(directory) = &args.dir else {
        let (manifest, _) = Ca::verify_backup(&args.from, &std::env::temp_dir(), now)?;
        return Ok(told("verified", &manifest, &args.from, args.json));
    };
    let manifest = Ca::restore(&args.from, directory, now)?;
    Ok(told("restored", &manifest, directory, args.json))
}

fn told(done: &str, manifest: &Manifest, path: &Path, json: bool) -> String {
    if json {
        return print::document(&json!({
            "done": done,
            "name": manifest.name,
            "issuing_key": manifest.issuing_key,
            "made_at": manifest.made_at.to_string(),
            "files": manifest.files.len(),
            "path": print::path(path),
        }));
    }
    format!(
        "{done:<9} {}, of {}, {}\n",
        path.display(),
        manifest.made_at,
        counted(manifest.files.len(), "file")
    )
}
