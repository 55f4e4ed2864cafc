//! What a backup is made of: copies of files, their sums, and the manifest that holds them.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::files::{Doing, FileError, Readers, create_directory, read_bounded, sync_directory};
use crate::public_key::hex;

/// The sums of all files, and what the backup is of.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Longest manifest that is read, in octets: about a hundred thousand files.
const MAX_MANIFEST_OCTETS: usize = 16 * 1024 * 1024;
/// Version of the manifest.
const FORMAT: u32 = 1;
/// Deepest directory that is copied.
const MAX_DEPTH: usize = 8;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    /// What the authority is called.
    pub name: String,
    /// The key identifier of the issuing authority; none of a root that is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuing_key: Option<String>,
    /// When it was made.
    pub made_at: Timestamp,
    /// SHA-256 of each file, by its path in the backup.
    pub files: BTreeMap<String, String>,
}

impl Manifest {
    pub(crate) fn new(
        name: &str,
        issuing_key: Option<String>,
        made_at: Timestamp,
        files: BTreeMap<String, String>,
    ) -> Self {
        Self {
            format: FORMAT,
            name: name.to_owned(),
            issuing_key,
            made_at,
            files,
        }
    }

    /// As it is written.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, BackupError> {
        serde_json::to_vec_pretty(self).map_err(|error| BackupError::Unwell {
            message: error.to_string(),
        })
    }

    /// Reads that of a backup.
    pub(crate) fn read(backup: &Path) -> Result<Self, BackupError> {
        read_bounded(&backup.join(MANIFEST), MAX_MANIFEST_OCTETS)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .filter(|manifest: &Self| manifest.format == FORMAT)
            .ok_or_else(|| BackupError::NoManifest {
                path: backup.to_owned(),
            })
    }
}

/// Why a backup is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupError {
    /// A secret key is plain, and nobody said that it may go along.
    PlainKey {
        /// Which file.
        path: PathBuf,
    },
    /// There is no manifest, or it cannot be read.
    NoManifest {
        /// Where it should be.
        path: PathBuf,
    },
    /// A file is missing, was changed, or is one too many.
    File {
        /// Its path in the backup.
        name: String,
    },
    /// What is in it does not hold together.
    Unwell {
        /// In what.
        message: String,
    },
}

impl std::fmt::Display for BackupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PlainKey { path } => write!(f, "{} is not encrypted", path.display()),
            Self::NoManifest { path } => {
                write!(f, "{} is no backup: it has no manifest", path.display())
            }
            Self::File { name } => write!(
                f,
                "the backup is damaged: {} is missing, was changed, or is one too many",
                name.escape_debug()
            ),
            Self::Unwell { message } => write!(f, "the backup does not hold together: {message}"),
        }
    }
}

impl std::error::Error for BackupError {}

/// Copies a file or a directory with everything in it, but for links, for its owner alone.
pub(crate) fn copy_all(from: &Path, to: &Path, depth: usize) -> Result<(), FileError> {
    let failed = |error| FileError::io(Doing::Read, from, error);
    let metadata = match fs::symlink_metadata(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata.map_err(failed)?,
    };
    if metadata.is_file() {
        return copy(from, to);
    }
    if !metadata.is_dir() || depth > MAX_DEPTH {
        return Ok(());
    }
    if !to.exists() {
        create_directory(to, Readers::Owner)?;
    }
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        copy_all(&entry.path(), &to.join(entry.file_name()), depth + 1)?;
    }
    sync_directory(to)
}

/// Copies a file into a new one, durable, for its owner alone.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), FileError> {
    let mut source = File::open(from).map_err(|error| FileError::io(Doing::Open, from, error))?;
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(Readers::Owner.file_mode())
        .open(to)
        .map_err(|error| FileError::io(Doing::Create, to, error))?;
    io::copy(&mut source, &mut target)
        .and_then(|_| target.flush())
        .and_then(|()| target.sync_all())
        .map_err(|error| FileError::io(Doing::Write, to, error))
}

/// SHA-256 of every file below a directory, by its path there.
pub(crate) fn sums(directory: &Path) -> Result<BTreeMap<String, String>, FileError> {
    let mut sums = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let failed = |error| FileError::io(Doing::Read, &path, error);
        if !path.is_dir() {
            let name = path.strip_prefix(directory).unwrap_or(&path);
            sums.insert(name.to_string_lossy().into_owned(), sum(&path)?);
            continue;
        }
        for entry in fs::read_dir(&path).map_err(failed)? {
            left.push(entry.map_err(failed)?.path());
        }
    }
    Ok(sums)
}

fn sum(path: &Path) -> Result<String, FileError> {
    let failed = |error| FileError::io(Doing::Read, path, error);
    let mut file = File::open(path).map_err(failed)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hex(context.finish().as_ref())),
            read => context.update(&buffer[..read]),
        }
    }
}
