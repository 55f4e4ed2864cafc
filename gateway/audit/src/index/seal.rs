//! The seal of an index: what tells whether the file is as its reader left it.
//!
//! Who may write to the directory can put another index there, but not seal it. An index that hides
//! something is found so, and not only one that lies. A log in the clear has no secret to seal with:
//! there the seal finds damage alone.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::{digest, hmac};

use super::INDEX;
use crate::storage::{guarded, regular};
use crate::unseal::Unsealer;

/// The file with the seal.
const SEAL: &str = "index.seal";

const LABEL: &[u8] = b"phigate audit index 1";

/// Bytes of a seal.
const BYTES: usize = 32;

/// Whether the index is as its reader left it.
pub(super) fn holds(directory: &Path, unsealer: &Unsealer) -> io::Result<bool> {
    let mut seal = Vec::with_capacity(BYTES + 1);
    match regular(&directory.join(SEAL)) {
        Ok(file) => file.take(BYTES as u64 + 1).read_to_end(&mut seal)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let hash = hash(&directory.join(INDEX))?;
    Ok(hmac::verify(&unsealer.sealing_key(LABEL), hash.as_ref(), &seal).is_ok())
}

/// Seals the index as it is now.
pub(super) fn seal(directory: &Path, unsealer: &Unsealer) -> io::Result<()> {
    let hash = hash(&directory.join(INDEX))?;
    let seal = hmac::sign(&unsealer.sealing_key(LABEL), hash.as_ref());
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(guarded())
        .open(directory.join(SEAL))?
        .write_all(seal.as_ref())
}

/// Takes the seal away: what is written from here on is half of an index.
pub(super) fn unseal(directory: &Path) -> io::Result<()> {
    match std::fs::remove_file(directory.join(SEAL)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn hash(path: &Path) -> io::Result<digest::Digest> {
    let mut file = regular(path)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut piece = vec![0; 1024 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(context.finish()),
            filled => context.update(&piece[..filled]),
        }
    }
}
