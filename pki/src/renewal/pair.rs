//! The directory of a certificate and its key: read whole, held against other renewers, and replaced
//! in one step.
//!
//! Dead before the exchange, the old pair is in place, and what was prepared aside is swept away by
//! the next renewer. Dead after it, the new pair is. There is no moment in which the directory holds
//! one file of each. A reader that opened one file before the exchange and opens the other after it
//! mixes them all the same: whoever loads a pair checks that its halves belong together, as the
//! gateway does.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::error::RenewalError;
use super::leaf::{Chain, Leaf, Trust};
use crate::files::{
    Doing, FileError, Readers, create_directory, create_new, parent_of, read_bounded, read_secret,
};
use crate::key::{MAX_KEY_FILE_OCTETS, PrivateKey};
use crate::pem::{self, MAX_CERTIFICATE_FILE_OCTETS};
use crate::staging::{Staging, sweep};

/// The files, as `pki issue --out` writes them.
const CERTIFICATE: &str = "cert.pem";
const CHAIN: &str = "chain.pem";
const KEY: &str = "key.pem";
const TRUST: &str = "trust.pem";
const FILES: [&str; 4] = [KEY, TRUST, CHAIN, CERTIFICATE];

/// How long another renewer at the same directory is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the files of a renewed certificate are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// `cert.pem`: the certificate.
    pub certificate: PathBuf,
    /// `chain.pem`: the certificate and its issuers.
    pub chain: PathBuf,
    /// `key.pem`: the secret key.
    pub key: PathBuf,
    /// `trust.pem`: the root.
    pub trust: PathBuf,
}

impl PairFiles {
    pub(super) fn of(directory: &Path) -> Self {
        Self {
            certificate: directory.join(CERTIFICATE),
            chain: directory.join(CHAIN),
            key: directory.join(KEY),
            trust: directory.join(TRUST),
        }
    }
}

/// A certificate and its key in a directory that nobody else renews meanwhile.
#[derive(Debug)]
pub(super) struct Pair {
    /// Without links, so that what is exchanged is the directory itself.
    directory: PathBuf,
    /// The certificate.
    pub(super) leaf: Leaf,
    /// Its issuers.
    pub(super) issuers: Vec<Vec<u8>>,
    /// Its key.
    pub(super) key: PrivateKey,
    /// `trust.pem` as it is.
    trust: Vec<u8>,
    looks: Looks,
    /// Also keeps a sweeper from the old directory while it is being destroyed.
    _lock: File,
}

/// Modes and owners, which stay.
#[derive(Debug)]
struct Looks {
    directory: Look,
    files: [(&'static str, Look); 4],
}

#[derive(Debug, Clone, Copy)]
struct Look {
    mode: u32,
    user: u32,
    group: u32,
}

impl Pair {
    /// Reads the pair in `directory`, once no other renewer holds it. Refused if the directory holds
    /// anything but the four files, or if they do not belong together.
    pub(super) fn hold(directory: &Path) -> Result<Self, RenewalError> {
        let directory = fs::canonicalize(directory)
            .map_err(|source| FileError::io(Doing::Open, directory, source))?;
        let lock = lock(&directory)?;
        // What an issue left that was killed while it handed over into this directory.
        sweep(&directory);
        refuse_others(&directory)?;
        let looks = Looks::of(&directory)?;
        let path = |name| directory.join(name);
        let key_path = path(KEY);
        let key = PrivateKey::from_pem(&read_secret(&key_path, MAX_KEY_FILE_OCTETS)?).map_err(
            |error| RenewalError::Key {
                path: key_path.clone(),
                error,
            },
        )?;
        let leaf_path = path(CERTIFICATE);
        let leaf = pem::first_certificate(&read_certificates(&leaf_path)?)
            .and_then(|der| Leaf::parse(&der))
            .ok_or_else(|| RenewalError::Certificate {
                path: leaf_path.clone(),
            })?;
        if leaf.spki != key.public().spki() {
            return Err(RenewalError::Mismatch {
                one: key_path,
                other: leaf_path,
            });
        }
        let chain_path = path(CHAIN);
        let chain = pem::certificates(&read_certificates(&chain_path)?);
        let Some((first, issuers)) = chain.split_first() else {
            return Err(RenewalError::Certificate { path: chain_path });
        };
        if *first != leaf.der {
            return Err(RenewalError::Mismatch {
                one: chain_path,
                other: leaf_path,
            });
        }
        Ok(Self {
            trust: read_certificates(&path(TRUST))?,
            issuers: issuers.to_vec(),
            leaf,
            key,
            looks,
            directory,
            _lock: lock,
        })
    }

    /// The roots of `trust.pem`.
    pub(super) fn trust(&self, now: Timestamp) -> Result<Trust, RenewalError> {
        Trust::read(&self.trust, now).map_err(|what| RenewalError::Trust {
            path: self.directory.join(TRUST),
            what,
        })
    }

    /// Makes sure that the pair can be replaced, and writes the new key aside, durable: whatever
    /// speaks against it shows before a certificate is asked for, and none is ever issued for a key
    /// that could not be kept.
    pub(super) fn prepare(&self, key: &PrivateKey) -> Result<Staging, RenewalError> {
        let parent = parent_of(&self.directory);
        let device = |path: &Path| {
            let metadata =
                fs::metadata(path).map_err(|source| FileError::io(Doing::Open, path, source))?;
            Ok::<_, FileError>(metadata.dev())
        };
        if self.directory.file_name().is_none() || device(&self.directory)? != device(parent)? {
            return Err(RenewalError::MountPoint {
                path: self.directory.clone(),
            });
        }
        let staging = Staging::create(parent)?;
        if !staging.can_exchange()? {
            return Err(RenewalError::NoExchange {
                path: parent.to_owned(),
            });
        }
        let probe = staging.path().join("probe");
        create_directory(&probe, Readers::Owner)?;
        self.looks.directory.put_on(&probe)?;
        fs::remove_dir(&probe).map_err(|source| FileError::io(Doing::Write, &probe, source))?;
        let path = staging.path().join(KEY);
        write_key(&path, key)?;
        self.looks.put_on_file(staging.path(), KEY)?;
        Ok(staging)
    }

    /// Puts the new certificate with its key in place, and destroys the old ones.
    pub(super) fn replace(&self, staging: Staging, chain: &Chain) -> Result<(), RenewalError> {
        write_certificates(&staging, chain, &self.trust)?;
        for name in FILES {
            self.looks.put_on_file(staging.path(), name)?;
        }
        // Last, because a directory of another user is not swept away if this is the end.
        self.looks.directory.put_on(staging.path())?;
        staging.exchange_with(&self.directory)?;
        Ok(())
    }
}

/// A directory that does not exist or is empty, made ready for a first certificate.
#[derive(Debug)]
pub(super) struct NewPair {
    directory: PathBuf,
    staging: Staging,
}

impl NewPair {
    /// Writes the key aside, durable, before a certificate is asked for.
    pub(super) fn prepare(directory: &Path, key: &PrivateKey) -> Result<Self, RenewalError> {
        match fs::read_dir(directory) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    let path = directory.to_owned();
                    return Err(FileError::Exists { path }.into());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(FileError::io(Doing::Open, directory, source).into()),
        }
        let staging = Staging::create(parent_of(directory))?;
        write_key(&staging.path().join(KEY), key)?;
        Ok(Self {
            directory: directory.to_owned(),
            staging,
        })
    }

    /// Lets the files appear, all at once.
    pub(super) fn appear(self, chain: &Chain, trust: &Trust) -> Result<(), RenewalError> {
        let roots: String = trust
            .roots
            .iter()
            .map(|der| pem::certificate(der))
            .collect();
        write_certificates(&self.staging, chain, roots.as_bytes())?;
        self.staging
            .rename_to(&self.directory, Readers::Everybody)?;
        Ok(())
    }
}

impl Looks {
    fn of(directory: &Path) -> Result<Self, FileError> {
        let mut files = FILES.map(|name| (name, Look::UNKNOWN));
        for (name, look) in &mut files {
            *look = Look::of(&directory.join(*name))?;
        }
        Ok(Self {
            directory: Look::of(directory)?,
            files,
        })
    }

    fn put_on_file(&self, directory: &Path, name: &str) -> Result<(), FileError> {
        let found = self.files.iter().find(|(known, _)| *known == name);
        match found {
            Some((_, look)) => look.put_on(&directory.join(name)),
            None => Ok(()),
        }
    }
}

impl Look {
    const UNKNOWN: Self = Self {
        mode: 0,
        user: 0,
        group: 0,
    };

    fn of(path: &Path) -> Result<Self, FileError> {
        let metadata =
            fs::metadata(path).map_err(|source| FileError::io(Doing::Open, path, source))?;
        Ok(Self {
            mode: metadata.mode() & 0o7777,
            user: metadata.uid(),
            group: metadata.gid(),
        })
    }

    /// Gives a file or directory this mode and these owners, durable. The owners come first, while
    /// the mode lets nobody else read.
    fn put_on(self, path: &Path) -> Result<(), FileError> {
        let written = |source| FileError::io(Doing::Write, path, source);
        let now = Self::of(path)?;
        if (now.user, now.group) != (self.user, self.group) {
            chown(path, Some(self.user), Some(self.group)).map_err(written)?;
        }
        let file = File::open(path).map_err(written)?;
        file.set_permissions(Permissions::from_mode(self.mode))
            .and_then(|()| file.sync_all())
            .map_err(written)
    }
}

fn write_key(path: &Path, key: &PrivateKey) -> Result<(), RenewalError> {
    let pem = key.to_pem().map_err(|error| RenewalError::Key {
        path: path.to_owned(),
        error,
    })?;
    create_new(path, Readers::Owner, pem.as_bytes())?;
    Ok(())
}

fn write_certificates(staging: &Staging, chain: &Chain, trust: &[u8]) -> Result<(), FileError> {
    let leaf = pem::certificate(&chain.leaf.der);
    let issuers: String = chain
        .issuers
        .iter()
        .map(|issuer| pem::certificate(issuer))
        .collect();
    let all = format!("{leaf}{issuers}");
    for (name, text) in [
        (CERTIFICATE, leaf.as_bytes()),
        (CHAIN, all.as_bytes()),
        (TRUST, trust),
    ] {
        create_new(&staging.path().join(name), Readers::Everybody, text)?;
    }
    Ok(())
}

fn read_certificates(path: &Path) -> Result<Vec<u8>, FileError> {
    read_bounded(path, MAX_CERTIFICATE_FILE_OCTETS)
}

/// The whole directory is replaced, so it must hold nothing that would be lost.
fn refuse_others(directory: &Path) -> Result<(), RenewalError> {
    let failed = |source| FileError::io(Doing::Read, directory, source);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_ours = FILES.iter().any(|name| entry.file_name() == *name);
        let is_file = entry.file_type().map_err(failed)?.is_file();
        if !is_ours || !is_file {
            return Err(RenewalError::Others { path: entry.path() });
        }
    }
    Ok(())
}

/// Locks the directory. Whoever waited may hold one that was exchanged meanwhile, and looks again.
fn lock(directory: &Path) -> Result<File, RenewalError> {
    let until = Instant::now() + PATIENCE;
    let failed = |source| FileError::io(Doing::Lock, directory, source);
    loop {
        let file = File::open(directory)
            .map_err(|source| FileError::io(Doing::Open, directory, source))?;
        match file.try_lock() {
            Ok(()) => {
                let locked = file.metadata().map_err(failed)?;
                let named = fs::metadata(directory).map_err(failed)?;
                if (locked.dev(), locked.ino()) == (named.dev(), named.ino()) {
                    return Ok(file);
                }
            }
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                // This program does one thing, and it is waiting for another process.
                #[allow(clippy::disallowed_methods)]
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(RenewalError::Busy {
                    path: directory.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source).into()),
        }
    }
}
