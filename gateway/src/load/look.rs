//! A look at the files and folders that hold revocation lists: their names and metadata, never their content,
//! so that it can be taken each second.
//!
//! Polling, because what publishes lists seldom writes a file in place: Kubernetes swaps a symlink two
//! folders up, network file systems tell nobody of what another machine wrote, and a watch on a folder that was
//! moved away watches what is gone. A look through the path that is configured sees what a read would.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use config::{ListSource, Revocation, Trust, TrustName};

use super::files::listed;
use super::kept::fetched;
use crate::digest::sha256_of;
use crate::revocation::Seen;

/// How the places look that the lists of this trust set are read from. Bounded: no more is looked at than would
/// be read.
#[must_use]
pub fn look(name: &TrustName, trust: &Trust) -> Seen {
    let Revocation::Crls { sources, .. } = &trust.revocation.value else {
        return Seen::default();
    };
    let (mut files, mut kept) = (Vec::new(), Vec::new());
    for source in sources {
        let ListSource::Path(source) = source else {
            continue;
        };
        match listed(&source.path) {
            Ok(Some(paths)) => paths.iter().for_each(|path| note(&mut files, path)),
            Ok(None) => files.push(b"too many".to_vec()),
            Err(error) => files.push(error.kind().to_string().into_bytes()),
        }
    }
    for (_, path) in fetched(name, trust) {
        note(&mut kept, &path);
    }
    Seen {
        files: sha256_of(files.iter().map(Vec::as_slice)),
        fetched: sha256_of(kept.iter().map(Vec::as_slice)),
    }
}

/// How one file looks.
#[must_use]
pub fn look_at(path: &Path) -> [u8; 32] {
    let mut seen = Vec::new();
    note(&mut seen, path);
    sha256_of(seen.iter().map(Vec::as_slice))
}

/// Notes a file: where it is and what changes when somebody writes it, or puts another one in its place.
fn note(seen: &mut Vec<Vec<u8>>, path: &Path) {
    seen.push(path.as_os_str().as_bytes().to_vec());
    seen.push(match fs::metadata(path) {
        Ok(it) => {
            let times = [it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec()];
            let numbers = [it.dev(), it.ino(), it.size()].map(u64::to_be_bytes);
            [numbers.concat(), times.map(i64::to_be_bytes).concat()].concat()
        }
        Err(error) => error.kind().to_string().into_bytes(),
    });
}
