//! Who signs OCSP responses: a certificate of profile `ocsp` with a key of its own, so that the
//! issuing key is not used for each of them (RFC 6960 section 4.2.2.2).
//!
//! Certificate and key lie in one file, replaced in one step: they always belong together. Whoever
//! has the file can answer for revoked certificates until its certificate ends, which nobody can
//! revoke; so it ends soon, and a new one is made when half of its life is over.

use std::path::PathBuf;

use jiff::Timestamp;

use super::{CA, Ca};
use crate::authority::Issuing;
use crate::error::Error;
use crate::files::{FileError, Readers, read_secret, replace};
use crate::inspect::Inspected;
use crate::issue::{KeySource, Order, Validated};
use crate::key::{KeyError, MAX_KEY_FILE_OCTETS, PrivateKey};
use crate::log::Asker;
use crate::pem::{self, MAX_CERTIFICATE_FILE_OCTETS};
use crate::profile::{AuthorityRole, EndEntity, Names, Validity};
use crate::store::{Find, Status};

/// Certificate and key of the responder.
const FILE: &str = "ocsp.pem";
/// Whose passphrase encrypts the key, if there is one: that of the authority it speaks for.
const ROLE: AuthorityRole = AuthorityRole::Issuing;

/// A certificate and key to sign OCSP responses with.
#[derive(Debug)]
pub struct Responder {
    /// DER of the certificate.
    pub certificate: Vec<u8>,
    /// Its secret key.
    pub key: PrivateKey,
    /// From when until when it may sign.
    pub validity: Validity,
}

impl Ca {
    /// The responder's certificate and key: those that are there or, if they are past half of their
    /// life, revoked, or none at all, new ones, issued in the seven steps like any other.
    pub fn responder(&mut self, now: Timestamp) -> Result<Responder, Error> {
        match self.kept_responder(now)? {
            Some(responder) => Ok(responder),
            None => self.new_responder(now),
        }
    }

    fn responder_file(&self) -> PathBuf {
        self.directory.join(CA).join(FILE)
    }

    fn kept_responder(&self, now: Timestamp) -> Result<Option<Responder>, Error> {
        let path = self.responder_file();
        let text = match read_secret(&path, MAX_KEY_FILE_OCTETS + MAX_CERTIFICATE_FILE_OCTETS) {
            Ok(text) => text,
            Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let (Some(certificate), Some(inspected)) =
            (pem::first_certificate(&text), Inspected::read(&text))
        else {
            return Err(Error::NoCertificate { path });
        };
        let key = match self.keyring.open_pem(ROLE, &path, key_block(&text)) {
            // From before the passphrase was changed: a new one is cheaper than a passphrase of its own.
            Err(Error::Key {
                error: KeyError::Passphrase | KeyError::Encrypted,
                ..
            }) => return Ok(None),
            opened => opened?,
        };
        let Validity {
            not_before,
            not_after,
        } = inspected.validity;
        let is_fresh =
            not_before <= now && not_before.duration_until(now) < now.duration_until(not_after);
        let found = self.store.find(&Find::Tbs(inspected.tbs_sha256))?;
        // A file of another authority, or one from a backup that is older than its revocation.
        let is_ours = found.iter().any(|record| {
            record.status == Status::Issued && record.profile == EndEntity::Responder.profile()
        });
        Ok((is_fresh && is_ours).then_some(Responder {
            certificate,
            key,
            validity: inspected.validity,
        }))
    }

    fn new_responder(&mut self, now: Timestamp) -> Result<Responder, Error> {
        self.refuse_if_issuer_is_revoked()?;
        let order = Order {
            profile: EndEntity::Responder,
            names: Names::of_responder(format!("{} OCSP", self.name())),
            key: KeySource::New,
            days: None,
        };
        let mut validated = Validated::check(order, self.issuing()?, now)?;
        let Some(key) = validated.take_secret() else {
            unreachable!("a new key was asked for");
        };
        let authority = self.unlock::<Issuing>()?;
        let issued = self.certify(validated, (&authority, &Asker::Operator), now)?;
        let path = self.responder_file();
        let secret = self.keyring.seal(ROLE, &path, &key)?;
        let text = zeroize::Zeroizing::new(format!("{}{}", *secret, pem::certificate(&issued.der)));
        let scratch = self.directory.join(CA).join(format!("{FILE}.new"));
        replace(&path, &scratch, Readers::Owner, text.as_bytes())?;
        let Some(inspected) = Inspected::read(&issued.der) else {
            return Err(Error::NoCertificate { path });
        };
        Ok(Responder {
            certificate: issued.der,
            key,
            validity: inspected.validity,
        })
    }
}

/// The first PEM block: the key stands before the certificate.
fn key_block(text: &[u8]) -> &[u8] {
    const NEXT: &[u8] = b"-----BEGIN CERTIFICATE-----\n";
    let end = text.windows(NEXT.len()).position(|window| window == NEXT);
    &text[..end.unwrap_or(0)]
}
