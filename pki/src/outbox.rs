//! Where a certificate is handed over: four files in a directory, all of them or none, and never
//! over a file that is there.
//!
//! The directory is made ready, and a new secret key written in it, before a serial is drawn. So
//! whatever would be in the way shows while nothing has happened yet, and no certificate is signed
//! for a key that could not be kept.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files::{FileError, Readers, create_new};
use crate::issue::Issued;
use crate::key::PrivateKey;
use crate::pem;
use crate::secret::Secret;
use crate::staging::{CreatedDirectories, Staging};

/// The leaf.
const CERTIFICATE: &str = "cert.pem";
/// The leaf and the issuing CA.
const CHAIN: &str = "chain.pem";
/// The root.
const TRUST: &str = "trust.pem";
/// The secret key, if it was made here.
const KEY: &str = "key.pem";

/// Where the files of a certificate are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOver {
    /// `cert.pem`: the leaf.
    pub certificate: PathBuf,
    /// `chain.pem`: the leaf and the issuing CA.
    pub chain: PathBuf,
    /// `key.pem`: the secret key, if it was made here.
    pub key: Option<PathBuf>,
    /// `trust.pem`: the root.
    pub trust: PathBuf,
}

/// A directory that is ready to receive a certificate.
#[derive(Debug)]
pub(crate) struct Outbox {
    directory: PathBuf,
    /// Dropped before the directories that it lies in, which must be empty to go.
    staging: Staging,
    created: CreatedDirectories,
    has_key: bool,
}

impl Outbox {
    /// Makes `directory` ready: creates it if it is not there, finds nothing in the way, can write,
    /// and writes the secret key if there is one. Dropped, it leaves everything as it was.
    /// The key is encrypted if there is a passphrase.
    pub(crate) fn prepare(
        directory: &Path,
        secret: Option<&PrivateKey>,
        passphrase: Option<&Secret>,
    ) -> Result<Self, Error> {
        for name in [CERTIFICATE, CHAIN, TRUST, KEY] {
            let path = directory.join(name);
            if path.symlink_metadata().is_ok() {
                return Err(FileError::Exists { path }.into());
            }
        }
        let created = CreatedDirectories::down_to(directory)?;
        let staging = Staging::create(directory)?;
        if let Some(secret) = secret {
            let path = staging.path().join(KEY);
            let pem = match passphrase {
                Some(passphrase) => secret.to_encrypted_pem(passphrase),
                None => secret.to_pem(),
            };
            let pem = pem.map_err(|error| Error::Key {
                path: path.clone(),
                error,
            })?;
            create_new(&path, Readers::Owner, pem.as_bytes())?;
        }
        Ok(Self {
            directory: directory.to_owned(),
            staging,
            created,
            has_key: secret.is_some(),
        })
    }

    /// Step 7: writes the certificates and lets all files appear. The leaf comes last: whoever
    /// waits for it finds the others there.
    pub(crate) fn hand_over(
        self,
        issued: &Issued,
        issuing: &[u8],
        root: &[u8],
    ) -> Result<HandedOver, FileError> {
        let leaf = pem::certificate(&issued.der);
        let chain = format!("{leaf}{}", pem::certificate(issuing));
        for (name, text) in [
            (CERTIFICATE, &leaf),
            (CHAIN, &chain),
            (TRUST, &pem::certificate(root)),
        ] {
            let path = self.staging.path().join(name);
            create_new(&path, Readers::Everybody, text.as_bytes())?;
        }
        let key = self.has_key.then_some(KEY);
        let names: Vec<&str> = key.into_iter().chain([TRUST, CHAIN, CERTIFICATE]).collect();
        self.staging.hand_out(&names, &self.directory)?;
        self.created.keep();
        Ok(HandedOver {
            certificate: self.directory.join(CERTIFICATE),
            chain: self.directory.join(CHAIN),
            key: key.map(|key| self.directory.join(key)),
            trust: self.directory.join(TRUST),
        })
    }
}
