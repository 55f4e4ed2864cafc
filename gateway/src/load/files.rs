//! Reads files with a bound, and takes certificates and revocation lists out of them (RFC 7468, or
//! DER). What they are worth is not asked here.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use config::{FilePath, Place};
use rustix::fs::OFlags;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::loader::Loader;

/// No certificate or key file is larger than this, bytes.
const MAX_PEM_BYTES: u64 = 4 * 1024 * 1024;

/// No directory of revocation lists holds more files than this.
const MAX_LISTS: usize = 10_000;

/// What a file in a directory of lists is called; others lie there for somebody else.
const EXTENSIONS: &[&str] = &["crl", "pem", "crt", "cer", "der"];

/// What to do about a file that begins like PEM (RFC 7468) and does not go on so.
pub(super) const MEND_PEM: &str =
    "copy it again: every BEGIN line needs its END line, and base64 between them";

/// What to do about a list that is not whole.
pub(super) const COPY_AGAIN: &str =
    "copy it again, under another name, and rename it when it is whole; or take it away";

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Certificates.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// Revocation lists, DER.
    pub(super) lists: Vec<Vec<u8>>,
}

impl Loader {
    /// The certificates of a PEM file, at least one.
    pub(super) fn certificates(&mut self, file: &FilePath) -> Option<Vec<CertificateDer<'static>>> {
        let bytes = self.read(&file.path, &file.place, MAX_PEM_BYTES)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match found {
            Ok(found) if !found.is_empty() => Some(found),
            Ok(_) => {
                self.error(
                    &file.place,
                    format!("{} holds no certificate in PEM form", file.path.display()),
                    Some("openssl x509 -in FILE -out FILE.pem converts DER"),
                );
                None
            }
            Err(_) => {
                self.error(
                    &file.place,
                    format!("{} is not well-formed PEM", file.path.display()),
                    Some(MEND_PEM),
                );
                None
            }
        }
    }

    /// The file itself, or the files of a directory that can hold lists or certificates.
    pub(super) fn files_of(&mut self, path: &Path, place: &Place) -> Vec<PathBuf> {
        match listed(path) {
            Ok(Some(paths)) => paths,
            Ok(None) => {
                let message = format!("{} holds more than {MAX_LISTS} files", path.display());
                let hint = "name a folder that holds nothing but the lists in use";
                self.error(place, message, Some(hint));
                Vec::new()
            }
            Err(error) => {
                let message = format!("cannot list {}: {error}", path.display());
                self.error(place, message, Some(what_to_do(&error)));
                Vec::new()
            }
        }
    }

    /// The certificates and revocation lists in a file: any number in PEM, or one in DER. A file with
    /// neither is a mistake: it may be what a copy left that broke off.
    pub(super) fn contents(&mut self, bytes: &[u8], path: &Path, place: &Place) -> Contents {
        let Ok(contents) = Contents::read(bytes) else {
            let message = format!("{} is not well-formed PEM", path.display());
            self.error(place, message, Some(COPY_AGAIN));
            // What stands before the fault is no more to be believed than the rest.
            return Contents::default();
        };
        if contents.certificates.is_empty() && contents.lists.is_empty() {
            let message = format!(
                "{} holds neither a revocation list nor a certificate",
                path.display()
            );
            self.error(place, message, Some(COPY_AGAIN));
        }
        contents
    }

    /// A whole file of at most `limit` bytes.
    pub(super) fn read(&mut self, path: &Path, place: &Place, limit: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        match read_into(path, limit, &mut bytes) {
            Ok(()) => Some(bytes),
            Err((message, hint)) => {
                self.error(place, message, Some(hint));
                None
            }
        }
    }

    /// A whole file that holds a secret.
    pub(super) fn read_secret(&mut self, path: &Path, place: &Place) -> Option<Zeroizing<Vec<u8>>> {
        // Sized ahead, so that no half of it is left behind by a buffer that grew.
        let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
        match read_into(path, 64 * 1024 - 1, &mut bytes) {
            Ok(()) => Some(bytes),
            Err((message, hint)) => {
                self.error(place, message, Some(hint));
                None
            }
        }
    }
}

impl Contents {
    fn read(bytes: &[u8]) -> Result<Contents, pem::Error> {
        let mut contents = Contents::default();
        // A SEQUENCE begins every certificate and every list, and no PEM.
        if bytes.first() == Some(&0x30) {
            match X509Certificate::from_der(bytes) {
                Ok(([], _)) => contents
                    .certificates
                    .push(CertificateDer::from(bytes.to_vec())),
                // Whether it is a list at all is seen when it is judged.
                _ => contents.lists.push(bytes.to_vec()),
            }
            return Ok(contents);
        }
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
            match section? {
                (SectionKind::Certificate, der) => {
                    contents.certificates.push(CertificateDer::from(der));
                }
                (SectionKind::Crl, der) => contents.lists.push(der),
                _ => {}
            }
        }
        Ok(contents)
    }
}

/// The file itself, or the files of a directory that can hold lists or certificates, in their order; nothing
/// when they are too many.
///
/// # Errors
/// The operating system's, when a directory cannot be listed.
pub(super) fn listed(path: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    if !path.is_dir() {
        return Ok(Some(vec![path.to_owned()]));
    }
    let items: Vec<_> = std::fs::read_dir(path)?
        .take(MAX_LISTS + 1)
        .collect::<io::Result<_>>()?;
    if items.len() > MAX_LISTS {
        return Ok(None);
    }
    let is_known = |path: &PathBuf| {
        path.extension().is_some_and(|extension| {
            EXTENSIONS
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        })
    };
    let mut paths: Vec<_> = items
        .iter()
        .map(std::fs::DirEntry::path)
        .filter(is_known)
        .collect();
    paths.sort();
    Ok(Some(paths))
}

/// The one list (DER) in these bytes, which are DER or PEM and hold nothing else.
pub(super) fn one_list(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut contents = Contents::read(bytes).ok()?;
    let list = contents.lists.pop()?;
    (contents.lists.is_empty() && contents.certificates.is_empty()).then_some(list)
}

/// Why a file was not read, and what to do about it.
type Unread = (String, &'static str);

/// Never waits: neither for a writer of a named pipe, nor for more than `limit` bytes.
pub(super) fn read_into(path: &Path, limit: u64, bytes: &mut Vec<u8>) -> Result<(), Unread> {
    let name = path.display();
    let failed = |doing: &str, error: &io::Error| {
        (format!("cannot {doing} {name}: {error}"), what_to_do(error))
    };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(|error| failed("open", &error))?;
    let regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if !regular {
        return Err((format!("{name} is not a file"), "name a file"));
    }
    file.take(limit + 1)
        .read_to_end(bytes)
        .map_err(|error| failed("read", &error))?;
    if bytes.len() as u64 > limit {
        let message = format!("{name} is larger than {limit} bytes");
        return Err((message, "check that it is the right file"));
    }
    Ok(())
}

/// What to do when the operating system does not let us at a file.
fn what_to_do(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => {
            "check the path; one that does not begin with / starts at the folder of the configuration"
        }
        ErrorKind::PermissionDenied => "let the user that the gateway runs as read it",
        ErrorKind::NotADirectory => "a part of the path is a file: check the path",
        // Others are about the machine; their own words are all that is known.
        _ => "look at the disk, and at what the kernel's log says of it",
    }
}
