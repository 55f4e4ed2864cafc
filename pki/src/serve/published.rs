//! The files that are published, as they are sent: CRLs in DER, read anew when their file was
//! replaced.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::cache::etag;
use crate::files::read_bounded;
use crate::publication::MAX_SHARDS;

/// Longest CRL file that is served, in octets: a million entries in PEM.
const MAX_FILE_OCTETS: u64 = 64 * 1024 * 1024;
/// Most CRLs that are remembered: all shards and the root's.
const MAX_REMEMBERED: usize = MAX_SHARDS as usize + 1;

/// Something that is sent as it is.
#[derive(Debug)]
pub(crate) struct Published {
    /// What is sent.
    pub(crate) octets: Bytes,
    /// Another one for other octets.
    pub(crate) etag: String,
    /// Since when it is so, if that is known.
    pub(crate) since: Option<Timestamp>,
    /// Until when it can be used, if it ends.
    pub(crate) until: Option<Timestamp>,
}

impl Published {
    /// What never changes.
    pub(crate) fn fixed(octets: Vec<u8>) -> Self {
        Self {
            etag: etag(&octets),
            octets: octets.into(),
            since: None,
            until: None,
        }
    }
}

/// What tells one file from the one that replaced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    octets: u64,
    changed: (i64, i64),
}

/// The CRLs in a directory.
#[derive(Debug)]
pub(crate) struct Lists {
    directory: PathBuf,
    known: HashMap<String, (Stamp, Arc<Published>)>,
}

impl Lists {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            known: HashMap::new(),
        }
    }

    /// The CRL in the file of this name, which is no path. `None` if there is none, or none that can
    /// be read.
    pub(crate) fn get(&mut self, name: &str) -> Option<Arc<Published>> {
        let path = self.directory.join(name);
        let Some(stamp) = stamp(&path) else {
            self.known.remove(name);
            return None;
        };
        if let Some((known, published)) = self.known.get(name)
            && *known == stamp
        {
            return Some(Arc::clone(published));
        }
        let published = Arc::new(read(&path, stamp.octets)?);
        if self.known.len() >= MAX_REMEMBERED {
            self.known.clear();
        }
        let entry = (stamp, Arc::clone(&published));
        self.known.insert(name.to_owned(), entry);
        Some(published)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let is_served = metadata.is_file() && metadata.len() <= MAX_FILE_OCTETS;
    is_served.then(|| Stamp {
        inode: metadata.ino(),
        octets: metadata.len(),
        changed: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

fn read(path: &Path, octets: u64) -> Option<Published> {
    // One that grows while it is read was not replaced in one step: not ours.
    let pem = read_bounded(path, usize::try_from(octets).ok()?).ok()?;
    let block = Pem::iter_from_buffer(&pem).next()?.ok()?;
    if block.label != "X509 CRL" {
        return None;
    }
    let (_, crl) = CertificateRevocationList::from_der(&block.contents).ok()?;
    let time = |seconds| Timestamp::from_second(seconds).ok();
    let since = time(crl.last_update().timestamp());
    let until = crl.next_update().and_then(|end| time(end.timestamp()));
    Some(Published {
        since,
        until,
        ..Published::fixed(block.contents)
    })
}
