//! The lists that are fetched (`fetch`), as files: each lies under a name of its own in the folder that its
//! trust set keeps them in, and is read there like any other list.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use config::{ListKeeping, ListSource, ListUrl, Revocation, Trust, TrustName};

use super::files;
use crate::digest::sha256_of;

/// The file that holds what was fetched last for this trust set from this URL. Trust sets may share a
/// folder: what one has judged is nothing to another.
#[must_use]
fn kept_file(trust: &TrustName, folder: &Path, url: &ListUrl) -> PathBuf {
    let url = url.to_string();
    let hash = sha256_of([trust.as_str().as_bytes(), url.as_bytes()]);
    let mut name = String::new();
    for byte in &hash[..16] {
        // Nothing keeps a text from growing.
        let _ = write!(name, "{byte:02x}");
    }
    folder.join(name + ".crl")
}

/// The lists that a trust set has fetched, each with the file that holds it.
pub fn fetched<'a>(
    name: &'a TrustName,
    trust: &'a Trust,
) -> impl Iterator<Item = (&'a config::Placed<ListUrl>, PathBuf)> {
    let (sources, folder) = match &trust.revocation.value {
        Revocation::Crls {
            sources,
            kept: ListKeeping::Folder(folder),
            ..
        } => (sources.as_slice(), folder.path.as_path()),
        _ => (&[][..], Path::new("")),
    };
    sources.iter().filter_map(move |source| match source {
        ListSource::Http(url) => Some((url, kept_file(name, folder, &url.value))),
        ListSource::Path(_) => None,
    })
}

/// The one list (DER) in what a server sent, which is DER or PEM and holds nothing else.
#[must_use]
pub fn one_list(bytes: &[u8]) -> Option<Vec<u8>> {
    files::one_list(bytes)
}

/// What a file holds, of at most `limit` bytes; nothing when it cannot be read.
#[must_use]
pub fn content(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    files::read_into(path, limit, &mut bytes).ok()?;
    Some(bytes)
}
