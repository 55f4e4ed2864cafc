//! Reads files with a bound, and takes certificates and revocation lists out of them (RFC 7468, or
//! DER). What they are worth is not asked here.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use config::{FilePath, Place};
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use zeroize::Zeroizing;

use super::loader::Loader;

/// No certificate or key file is larger than this, bytes.
const MAX_PEM_BYTES: u64 = 4 * 1024 * 1024;

/// No directory of revocation lists holds more files than this.
const MAX_LISTS: usize = 10_000;

impl Loader {
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
                    None,
                );
                None
            }
        }
    }

    /// The file itself, or the files of a directory that can hold lists or certificates.
    pub(super) fn files_of(&mut self, source: &FilePath) -> Vec<PathBuf> {
        if !source.path.is_dir() {
            return vec![source.path.clone()];
        }
        let listed: std::io::Result<Vec<_>> =
            std::fs::read_dir(&source.path).and_then(|items| items.take(MAX_LISTS + 1).collect());
        match listed {
            Ok(items) if items.len() > MAX_LISTS => {
                self.error(
                    &source.place,
                    format!(
                        "{} holds more than {MAX_LISTS} files",
                        source.path.display()
                    ),
                    None,
                );
                Vec::new()
            }
            Ok(items) => {
                let known = |path: &PathBuf| {
                    path.extension()
                        .and_then(|extension| extension.to_str())
                        .is_some_and(|extension| {
                            matches!(extension, "crl" | "pem" | "crt" | "cer" | "der")
                        })
                };
                let mut paths: Vec<_> = items
                    .iter()
                    .map(std::fs::DirEntry::path)
                    .filter(known)
                    .collect();
                paths.sort();
                paths
            }
            Err(error) => {
                self.error(
                    &source.place,
                    format!("cannot list {}: {error}", source.path.display()),
                    None,
                );
                Vec::new()
            }
        }
    }

    /// The certificates and revocation lists in a file, be it PEM or one list in DER.
    pub(super) fn pem_or_der(
        &mut self,
        bytes: &[u8],
        path: &Path,
        place: &Place,
    ) -> (Vec<CertificateDer<'static>>, Vec<Vec<u8>>) {
        let (mut certificates, mut lists) = (Vec::new(), Vec::new());
        if bytes.first() == Some(&0x30) {
            return (certificates, vec![bytes.to_vec()]);
        }
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
            match section {
                Ok((SectionKind::Certificate, der)) => certificates.push(CertificateDer::from(der)),
                Ok((SectionKind::Crl, der)) => {
                    lists.push(CertificateRevocationListDer::from(der).as_ref().to_vec());
                }
                Ok(_) => {}
                Err(_) => {
                    self.error(
                        place,
                        format!("{} is neither PEM nor DER", path.display()),
                        None,
                    );
                    break;
                }
            }
        }
        (certificates, lists)
    }

    pub(super) fn read(&mut self, path: &Path, place: &Place, limit: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        match read_into(path, limit, &mut bytes) {
            Ok(()) => Some(bytes),
            Err(message) => {
                self.error(place, message, None);
                None
            }
        }
    }

    pub(super) fn read_secret(&mut self, path: &Path, place: &Place) -> Option<Zeroizing<Vec<u8>>> {
        // Sized ahead, so that no half of it is left behind by a buffer that grew.
        let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
        match read_into(path, 64 * 1024 - 1, &mut bytes) {
            Ok(()) => Some(bytes),
            Err(message) => {
                self.error(place, message, None);
                None
            }
        }
    }
}

fn read_into(path: &Path, limit: u64, bytes: &mut Vec<u8>) -> Result<(), String> {
    let file =
        File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    let regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if !regular {
        return Err(format!("{} is not a file", path.display()));
    }
    file.take(limit + 1)
        .read_to_end(bytes)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if bytes.len() as u64 > limit {
        return Err(format!("{} is larger than {limit} bytes", path.display()));
    }
    Ok(())
}
