//! Certificate entries: a chain and its key, judged together.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{Certificate, CertificateName, Place, Secret, Stapling};
use jiff::Timestamp;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::files::MEND_PEM;
use super::kept::content;
use super::loader::Loader;
use crate::digest::sha256;
use crate::site::Site;
use crate::tls::{OwnCertificate, OwnFault, StapleSource};

impl Loader {
    /// Every entry whose chain and key could be read and fit together. What `previous` knows of a certificate
    /// by OCSP is kept.
    pub(super) fn entries(
        &mut self,
        certificates: &BTreeMap<CertificateName, Certificate>,
        previous: Option<&Site>,
    ) -> HashMap<CertificateName, Arc<OwnCertificate>> {
        let mut entries = HashMap::new();
        for (name, certificate) in certificates {
            let chain = self.certificates(&certificate.chain);
            let key = self.key(&certificate.key);
            let (Some(chain), Some(key)) = (chain, key) else {
                continue;
            };
            // By reference, so that it is wiped: the provider would take it and let it go.
            let Ok(signing) = any_supported_type(&key) else {
                self.error(
                    place_of(&certificate.key),
                    "the key is not of a kind that TLS signs with",
                    Some("use P-256, P-384, Ed25519, or RSA of 2048 bits or more"),
                );
                continue;
            };
            let whole: Vec<&[u8]> = chain.iter().map(AsRef::as_ref).collect();
            self.chains.insert(name.clone(), sha256(&whole.concat()));
            match OwnCertificate::judge(name.clone(), CertifiedKey::new(chain, signing), self.now) {
                Ok(entry) => {
                    let Some(entry) = self.with_staples(entry, &certificate.ocsp) else {
                        continue;
                    };
                    let before = previous.into_iter().flat_map(|site| &site.certificates);
                    if let Some(known) = before.into_iter().find(|known| known.name() == name) {
                        entry.adopt(known, self.timestamp());
                    }
                    self.staple_from_file(&entry);
                    entries.insert(name.clone(), Arc::new(entry));
                }
                Err(fault) => self.error(
                    &certificate.chain.place,
                    fault.to_string(),
                    Some(what_to_do(fault)),
                ),
            }
        }
        entries
    }

    /// The entry with answers about it from where the configuration says.
    fn with_staples(&mut self, entry: OwnCertificate, ocsp: &Stapling) -> Option<OwnCertificate> {
        let (source, place) = match ocsp {
            Stapling::Off => return Some(entry),
            Stapling::Http(url) => (Ok(StapleSource::Http(url.value.clone())), &url.place),
            Stapling::File(file) => (Ok(StapleSource::File(file.path.clone())), &file.place),
            Stapling::Certificate(place) => (entry.responder().map(StapleSource::Http), place),
        };
        match source.and_then(|source| entry.with_staples(source, place.clone())) {
            Ok(entry) => Some(entry),
            Err(fault) => {
                self.error(place, fault.to_string(), Some(what_to_do(fault)));
                None
            }
        }
    }

    /// What lies in its file is shown from the first handshake on. One that is missing or over is no mistake in
    /// the configuration: something else keeps it fresh, and it is looked at again (`staples`).
    fn staple_from_file(&mut self, entry: &OwnCertificate) {
        let Some(staples) = entry.staples() else {
            return;
        };
        let StapleSource::File(path) = staples.source() else {
            return;
        };
        let Some(der) = content(path, ocsp::MAX_RESPONSE_OCTETS as u64) else {
            let message = format!("{} cannot be read", path.display());
            let hint = "let whatever fetches the OCSP answer write it there; it is shown as soon as it is there";
            self.warning(staples.place(), message, Some(hint));
            return;
        };
        if let Err(fault) = entry.staple(&der, self.timestamp()) {
            let message = format!("{}: {fault}", path.display());
            self.warning(staples.place(), message, Some(fault.hint()));
        }
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from_second(self.now).unwrap_or(Timestamp::MAX)
    }

    /// The first private key in what a secret names.
    pub(super) fn key(&mut self, secret: &Secret) -> Option<Zeroizing<PrivateKeyDer<'static>>> {
        let place = place_of(secret);
        let (bytes, origin) = self.secret(secret)?;
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(key) => Some(Zeroizing::new(key)),
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
                let message = format!("{origin} is not well-formed PEM");
                self.error(place, message, Some(MEND_PEM));
                None
            }
        }
    }

    /// What a secret names, and how it is called in messages.
    pub(super) fn secret(&mut self, secret: &Secret) -> Option<(Zeroizing<Vec<u8>>, String)> {
        let place = place_of(secret);
        match secret {
            Secret::File(file) => {
                self.judge_secret_file(&file.path, place);
                let bytes = self.read_secret(&file.path, place)?;
                Some((bytes, file.path.display().to_string()))
            }
            Secret::Env(name) => {
                let origin = format!("environment variable {}", name.value);
                if let Ok(value) = std::env::var(&name.value) {
                    return Some((Zeroizing::new(value.into_bytes()), origin));
                }
                let message = format!("{origin} is not set, or is not text");
                let hint = "let whatever starts the gateway set it to the secret itself";
                self.error(place, message, Some(hint));
                None
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
                let bytes = self.read_secret(&path, place)?;
                Some((bytes, format!("credential {}", name.value)))
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

/// What to do about a certificate of ours that cannot be used.
pub(super) fn what_to_do(fault: OwnFault) -> &'static str {
    match fault {
        OwnFault::Empty | OwnFault::Malformed => {
            "name a PEM file with the certificate first and its issuers behind it"
        }
        OwnFault::KeyMismatch | OwnFault::KeyUnknown => {
            "name the key that the certificate was issued for, or have one issued for this key"
        }
        OwnFault::Authority => "put the certificate of the gateway first in the file",
        OwnFault::NotForServers => "have one issued for servers: `pki issue --profile server`",
        OwnFault::NotForClients => "have one issued for clients: `pki issue --profile client`",
        OwnFault::Expired { .. } => "have a new one issued, or check the clock of this machine",
        OwnFault::NotYetValid { .. } => "check the clock of this machine",
        OwnFault::NoName => "have one issued with the host names that clients ask for",
        OwnFault::Unstapled => {
            "write ocsp = \"certificate\" beside it, or the URL of its responder"
        }
        OwnFault::NoIssuer => "put the certificate of its issuer behind it in the file",
        OwnFault::NoResponder => "name the responder of its authority: ocsp = \"http://...\"",
    }
}

pub(super) fn place_of(secret: &Secret) -> &Place {
    match secret {
        Secret::File(file) => &file.place,
        Secret::Env(name) | Secret::Credential(name) => &name.place,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::super::testing::Place;

    #[test]
    fn a_key_that_cannot_be_used_is_told_with_what_to_do() {
        let place = Place::new();
        place.revoke(1, 2, &[]);
        let key = place.directory.path().join("server/key.pem");
        let encrypted =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for (content, told) in [
            ("", "holds no private key"),
            (encrypted, "hint: it is encrypted"),
            ("-----BEGIN PRIVATE KEY-----\n", "is not well-formed PEM"),
            (
                &encrypted.replace("ENCRYPTED ", ""),
                "not of a kind that TLS signs with",
            ),
            (&other, "the key does not belong"),
        ] {
            fs::write(&key, content).unwrap();
            let errors = place.load(None).unwrap_err();
            assert!(errors.contains(told), "{told:?} in {errors}");
            assert_eq!(errors.matches("error: ").count(), 1, "{errors}");
            assert_eq!(errors.matches("hint: ").count(), 1, "{errors}");
        }
        fs::remove_file(&key).unwrap();
        let errors = place.load(None).unwrap_err();
        assert!(errors.contains("cannot open"), "{errors}");
        assert!(errors.contains("hint: check the path"), "{errors}");
    }

    #[test]
    fn a_key_that_others_can_read_is_warned_of() {
        let place = Place::new();
        place.revoke(1, 2, &[]);
        let key = place.directory.path().join("server/key.pem");
        for (mode, is_told) in [(0o600, false), (0o640, true), (0o604, true)] {
            fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
            let told = place.warnings();
            assert_eq!(told.contains("can be read by others"), is_told, "{told}");
        }
    }

    #[test]
    fn a_certificate_that_names_a_variable_that_is_not_there_is_told() {
        let place = Place::new();
        place.revoke(1, 2, &[]);
        place.edit("file:server/key.pem", "env:PHIGATE_NO_SUCH_VARIABLE");
        let errors = place.load(None).unwrap_err();
        assert!(
            errors.contains("PHIGATE_NO_SUCH_VARIABLE is not set"),
            "{errors}"
        );
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let place = Place::new();
        let at = |name: &str| place.directory.path().join(name);
        fs::write(at("server/key.pem"), "").unwrap();
        fs::write(at("pki/trust.pem"), "").unwrap();
        let errors = place.load(None).unwrap_err();
        for told in [
            "certificates.server.key",
            "trust.devices.roots",
            "trust.devices.revocation",
        ] {
            assert!(errors.contains(told), "{told:?} in {errors}");
        }
    }
}
