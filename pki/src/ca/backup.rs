//! Backups of an authority, and the way back.
//!
//! A backup is a directory like the authority's own, with an inventory copied as of one moment, the audit
//! log, and a manifest of SHA-256 sums that is written last; it appears whole or not at all. It holds what
//! the directory holds: encrypted keys encrypted, plain keys only when somebody says so, keys in tokens not
//! at all. A restore is verified before it takes a name: sums, inventory, certificates.
//!
//! What was issued after the backup is unknown to the restored inventory. The log of the lost directory,
//! if it is left, knows it: put it in the place of the older one, and `pki recover` finds and revokes them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use audit::event::Act;
use jiff::Timestamp;

use super::doctor::{Finding, Verdict};
use super::{CA, CRL, Ca, INVENTORY, SETTINGS, TRUST, certificate_file, key_file};
use crate::backup::{BackupError, MANIFEST, Manifest, copy, copy_all, sums};
use crate::error::Error;
use crate::files::{Doing, FileError, Readers, create_directory, create_new, parent_of};
use crate::settings::Settings;
use crate::staging::Staging;
use crate::store::{AuthorityRole, Store};

/// How many CRL numbers a restore leaves out: more than were published since any backup.
const NUMBERS_LEFT_OUT: u32 = 1_000_000;

/// What becomes of secret keys in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupKeys {
    /// Encrypted ones go along; a plain one refuses the backup.
    Encrypted,
    /// All go along.
    Plain,
    /// None goes along.
    Without,
}

impl Ca {
    /// Copies the authority into a new directory. On record before it is copied, so the copy tells of
    /// itself; nobody writes to the log meanwhile.
    pub fn backup(
        &self,
        target: &Path,
        keys: BackupKeys,
        now: Timestamp,
    ) -> Result<Manifest, Error> {
        let own = self.directory.join(CA);
        let mut secrets = Vec::new();
        for role in [AuthorityRole::Root, AuthorityRole::Issuing] {
            let path = own.join(key_file(role));
            if keys == BackupKeys::Without || !path.exists() {
                continue;
            }
            if keys == BackupKeys::Encrypted && is_plain(&path)? {
                return Err(BackupError::PlainKey { path }.into());
            }
            secrets.push(key_file(role));
        }
        let recorder = self.log.open()?;
        recorder.act(Act::BackedUp, None, None, None)?;
        let staging = Staging::create(parent_of(target))?;
        let to = staging.path().join(CA);
        create_directory(&to, Readers::Owner)?;
        self.store.backup_to(&to.join(INVENTORY))?;
        let certificates = self.known_roles().map(certificate_file);
        for name in certificates.chain([SETTINGS, "audit.keys"]).chain(secrets) {
            copy(&own.join(name), &to.join(name))?;
        }
        for name in [TRUST, "log.vkey", CRL, crate::log::DIRECTORY] {
            copy_all(&self.directory.join(name), &staging.path().join(name), 0)?;
        }
        recorder.close()?;
        let issuing = self.issuing.as_ref();
        let issuing_key = issuing.map(|(_, issuing)| issuing.key_id().to_string());
        let files = sums(staging.path())?;
        let manifest = Manifest::new(self.name(), issuing_key, now, files);
        let text = manifest.to_json()?;
        create_new(&staging.path().join(MANIFEST), Readers::Owner, &text)?;
        staging.rename_to(target, Readers::Owner)?;
        Ok(manifest)
    }

    /// Verifies a backup: its sums, and that what it holds is an authority that is well. Writes into a
    /// directory of its own beside `scratch`, which is gone afterwards.
    pub fn verify_backup(
        backup: &Path,
        scratch: &Path,
        now: Timestamp,
    ) -> Result<(Manifest, Vec<Finding>), Error> {
        let staging = Staging::create(scratch)?;
        let (manifest, _, findings) = unpack(backup, &staging, now)?;
        Ok((manifest, findings))
    }

    /// Brings a backup back into a new directory, verified before it takes that name. CRL numbers go on
    /// beyond any that were published since. Its CRLs are to be signed anew (`pki crl`).
    pub fn restore(backup: &Path, directory: &Path, now: Timestamp) -> Result<Manifest, Error> {
        let staging = Staging::create(parent_of(directory))?;
        let (manifest, mut ca, _) = unpack(backup, &staging, now)?;
        ca.store.raise_crl_numbers(NUMBERS_LEFT_OUT)?;
        // Some were used, or taken back, since the backup was made.
        let by = super::tokens::operator();
        if let Some((issuing, _)) = ca.issuing {
            ca.store.cancel_tokens(issuing, &by, now)?;
        }
        ca.log
            .record(|recorder| recorder.act(Act::Restored, None, None, None))?;
        ca.store.close()?;
        // What verifiers read, whoever they run as.
        for name in [CRL, TRUST, "log.vkey"] {
            for_everybody(&staging.path().join(name))?;
        }
        staging
            .rename_to(directory, Readers::Everybody)
            .map_err(|error| match error {
                FileError::Exists { path } => Error::NotEmpty { path },
                error => error.into(),
            })?;
        Ok(manifest)
    }
}

/// Copies a backup into a directory, compares its sums on the way, and looks at what it is.
fn unpack(
    backup: &Path,
    staging: &Staging,
    now: Timestamp,
) -> Result<(Manifest, Ca, Vec<Finding>), Error> {
    let manifest = Manifest::read(backup)?;
    copy_all(backup, staging.path(), 0)?;
    fs::remove_file(staging.path().join(MANIFEST))
        .map_err(|error| FileError::io(Doing::Write, staging.path(), error))?;
    let found = sums(staging.path())?;
    if found != manifest.files {
        let differs = |name: &&String| found.get(*name) != manifest.files.get(*name);
        let name = found.keys().chain(manifest.files.keys()).find(differs);
        let name = name.cloned().unwrap_or_default();
        return Err(BackupError::File { name }.into());
    }
    let ca = Ca::open_copy(staging.path())?;
    let findings = ca.examine(now);
    // Lists grow stale in a backup, and modes are the copy's: that is no fault of it.
    let fatal = findings.iter().find(|finding| {
        finding.verdict == Verdict::Bad && matches!(finding.check, "inventory" | "log")
    });
    match fatal {
        Some(finding) => Err(BackupError::Unwell {
            message: finding.message.clone(),
        }
        .into()),
        None => Ok((manifest, ca, findings)),
    }
}

impl Ca {
    /// Opens a restored copy. Its inventory is a file, also if the original was on a server: its settings
    /// name none any more, so that nothing that is looked at or changed here is the server's.
    fn open_copy(directory: &Path) -> Result<Self, Error> {
        let own = directory.join(CA);
        Settings::without_server(&own.join(SETTINGS), &own.join("authority.toml.new"))?;
        let path = directory.join(CA).join(INVENTORY);
        // What was left open would be folded into the file only at the first change.
        Store::open(&path)?.close()?;
        Self::open(directory)
    }
}

/// Lets everybody read a file, or a directory and the files in it.
fn for_everybody(path: &Path) -> Result<(), FileError> {
    let allow = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|error| FileError::io(Doing::Write, path, error))
    };
    if !path.is_dir() {
        return if path.exists() {
            allow(path, Readers::Everybody.file_mode())
        } else {
            Ok(())
        };
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        allow(&entry.path(), Readers::Everybody.file_mode())?;
    }
    allow(path, Readers::Everybody.directory_mode())
}

fn is_plain(path: &Path) -> Result<bool, Error> {
    let text = crate::files::read_secret(path, crate::key::MAX_KEY_FILE_OCTETS)?;
    Ok(!text.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"))
}
