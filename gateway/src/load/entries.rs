//! Certificate entries: a chain and its key, judged together.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{CertificateName, Config, Place, Secret};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::loader::Loader;
use crate::tls::{self, Entry};

impl Loader {
    pub(super) fn entries(&mut self, config: &Config) -> HashMap<CertificateName, Arc<Entry>> {
        let mut entries = HashMap::new();
        for (name, certificate) in &config.certificates {
            let chain = self.certificates(&certificate.chain);
            let key = self.key(&certificate.key);
            let (Some(chain), Some(key)) = (chain, key) else {
                continue;
            };
            let Ok(signing) = tls::provider().key_provider.load_private_key(key) else {
                self.error(
                    place_of(&certificate.key),
                    "the key is not of a kind that TLS signs with",
                    Some("use P-256, P-384, Ed25519, or RSA of 2048 bits or more"),
                );
                continue;
            };
            match Entry::judge(name.clone(), CertifiedKey::new(chain, signing), self.now) {
                Ok(entry) => {
                    entries.insert(name.clone(), Arc::new(entry));
                }
                Err(fault) => self.error(&certificate.chain.place, fault.to_string(), None),
            }
        }
        entries
    }

    fn key(&mut self, secret: &Secret) -> Option<PrivateKeyDer<'static>> {
        let place = place_of(secret);
        let (bytes, origin) = match secret {
            Secret::File(file) => {
                self.judge_secret_file(&file.path, place);
                (
                    self.read_secret(&file.path, place)?,
                    file.path.display().to_string(),
                )
            }
            Secret::Env(name) => {
                if let Ok(value) = std::env::var(&name.value) {
                    (
                        Zeroizing::new(value.into_bytes()),
                        format!("environment variable {}", name.value),
                    )
                } else {
                    self.error(
                        place,
                        format!(
                            "environment variable {} is not set, or is not text",
                            name.value
                        ),
                        None,
                    );
                    return None;
                }
            }
            Secret::Credential(name) => {
                let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
                    self.error(
                        place,
                        "there are no credentials: CREDENTIALS_DIRECTORY is not set",
                        Some("start the gateway by systemd with LoadCredential="),
                    );
                    return None;
                };
                let path = PathBuf::from(directory).join(&name.value);
                (
                    self.read_secret(&path, place)?,
                    format!("credential {}", name.value),
                )
            }
        };
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(key) => Some(key),
            Err(pem::Error::NoItemsFound) => {
                let encrypted = bytes
                    .windows(b"ENCRYPTED PRIVATE KEY".len())
                    .any(|part| part == b"ENCRYPTED PRIVATE KEY");
                let hint = if encrypted {
                    "it is encrypted: give the gateway a decrypted key, as a credential for instance"
                } else {
                    "it must hold a PRIVATE KEY in PEM form (PKCS#8)"
                };
                self.error(place, format!("{origin} holds no private key"), Some(hint));
                None
            }
            Err(_) => {
                self.error(place, format!("{origin} is not well-formed PEM"), None);
                None
            }
        }
    }

    fn judge_secret_file(&mut self, path: &Path, place: &Place) {
        use std::os::unix::fs::MetadataExt;
        if let Ok(metadata) = std::fs::metadata(path)
            && metadata.mode() & 0o044 != 0
        {
            self.warning(
                place,
                format!("{} can be read by others on this machine", path.display()),
                Some("chmod 600"),
            );
        }
    }
}

fn place_of(secret: &Secret) -> &Place {
    match secret {
        Secret::File(file) => &file.place,
        Secret::Env(name) | Secret::Credential(name) => &name.place,
    }
}
