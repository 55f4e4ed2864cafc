//! Authorities: a name, a certificate and the secret key that signs under them.
//!
//! [`Authority<Root>`] signs issuing authorities, [`Authority<Issuing>`] signs end entities, each
//! signs its own CRLs, and no other combination compiles. What is signed was first signed by a
//! throw-away key, read back and linted; the real key then signs those octets or nothing. Serials
//! are drawn and remembered elsewhere.

mod certificate;
mod encode;

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, Issuer};

pub use certificate::{AuthorityCertificate, AuthorityName};

use crate::key::PrivateKey;
use crate::lint::{self, LintError};
use crate::profile::{self, EndEntity, Names, Profile, Validity};
use crate::public_key::PublicKey;
use crate::reason::RevokedEntry;
use crate::serial::Serial;
use crate::store::AuthorityRole;
use encode::{
    Committed, authority_draft, crl_params, drafted, params, rehearse_crl, verify_certificate,
    verify_crl,
};

/// The level of the root.
#[derive(Debug)]
pub enum Root {}

/// The level of the issuing authority.
#[derive(Debug)]
pub enum Issuing {}

/// One of the two levels.
pub trait Level: sealed::Sealed {
    /// Its role.
    const ROLE: AuthorityRole;
    /// Its profile.
    fn profile() -> &'static Profile;
}

impl Level for Root {
    const ROLE: AuthorityRole = AuthorityRole::Root;
    fn profile() -> &'static Profile {
        profile::root()
    }
}

impl Level for Issuing {
    const ROLE: AuthorityRole = AuthorityRole::Issuing;
    fn profile() -> &'static Profile {
        profile::issuing()
    }
}

mod sealed {
    /// No other levels.
    pub trait Sealed {}
    impl Sealed for super::Root {}
    impl Sealed for super::Issuing {}
}

/// An authority that can sign.
#[derive(Debug)]
pub struct Authority<L> {
    certificate: AuthorityCertificate,
    key: PrivateKey,
    level: PhantomData<L>,
}

/// A linted certificate that only the authority which drafted it can sign, and only octet by octet
/// as it was linted.
#[derive(Debug)]
pub struct Draft<L> {
    params: CertificateParams,
    key: PublicKey,
    validity: Validity,
    tbs_sha256: [u8; 32],
    level: PhantomData<L>,
}

impl<L> Draft<L> {
    /// SHA-256 of what will be signed.
    pub fn tbs_sha256(&self) -> &[u8; 32] {
        &self.tbs_sha256
    }

    /// From when until when the certificate will be valid.
    pub fn validity(&self) -> &Validity {
        &self.validity
    }
}

/// What an end-entity certificate will say, but for its serial.
#[derive(Debug)]
pub struct Subject {
    /// The profile.
    pub profile: EndEntity,
    /// The names.
    pub names: Names,
    /// The key.
    pub key: PublicKey,
    /// From when until when.
    pub validity: Validity,
}

/// What a CRL will say.
#[derive(Debug)]
pub struct CrlContent<'a> {
    /// Its number.
    pub number: u64,
    /// thisUpdate.
    pub this_update: Timestamp,
    /// nextUpdate.
    pub next_update: Timestamp,
    /// Its entries.
    pub entries: &'a [RevokedEntry],
}

impl Authority<Root> {
    /// Drafts the certificate of a new root.
    pub fn draft_root(
        name: &AuthorityName,
        key: &PrivateKey,
        serial: &Serial,
        now: Timestamp,
    ) -> Result<Draft<Root>, AuthorityError> {
        let validity = profile::root()
            .validity(None, now, None)
            .map_err(AuthorityError::Profile)?;
        authority_draft::<Root, Root>(name, key.public(), serial, validity, None)
    }

    /// Signs a root's own certificate.
    pub fn establish(key: PrivateKey, draft: &Draft<Root>) -> Result<Self, AuthorityError> {
        let committed = Committed {
            key: &key,
            sha256: draft.tbs_sha256,
        };
        let issuer = Issuer::from_params(&draft.params, committed);
        let certificate = draft.params.signed_by(&draft.key, &issuer)?;
        verify_certificate(certificate.der(), key.public())?;
        let certificate = AuthorityCertificate::parse::<Root>(certificate.der())?;
        Self::unlock(certificate, key)
    }

    /// Drafts the certificate of an issuing authority.
    pub fn draft_issuing(
        &self,
        name: &AuthorityName,
        key: &PublicKey,
        serial: &Serial,
        now: Timestamp,
    ) -> Result<Draft<Root>, AuthorityError> {
        let validity = profile::issuing()
            .validity(None, now, Some(&self.certificate.validity()))
            .map_err(AuthorityError::Profile)?;
        authority_draft::<Root, Issuing>(name, key, serial, validity, Some(&self.certificate))
    }
}

impl Authority<Issuing> {
    /// Drafts the certificate of an end entity.
    pub fn draft(
        &self,
        subject: &Subject,
        serial: &Serial,
    ) -> Result<Draft<Issuing>, AuthorityError> {
        let common_name = subject.names.common_name();
        let mut name = DistinguishedName::new();
        if let Some(common_name) = &common_name {
            name.push(DnType::CommonName, common_name.as_str());
        }
        let profile = subject.profile.profile();
        let params = params(
            profile,
            serial,
            &subject.validity,
            name,
            subject.names.all(),
            subject.key.key_id(),
        )?;
        let intended = lint::certificate::Intended {
            profile,
            serial,
            key: &subject.key,
            names: subject.names.all(),
            organization: None,
            common_name: common_name.as_deref(),
            validity: subject.validity,
            issuer_name: Some(self.certificate.subject()),
            issuer_key: self.certificate.key_id(),
            issuer_validity: Some(self.certificate.validity()),
        };
        drafted(params, &intended, Some(&self.certificate))
    }
}

impl<L: Level> Authority<L> {
    /// Puts a certificate and its secret key together. Refused if they do not belong together.
    pub fn unlock(
        certificate: AuthorityCertificate,
        key: PrivateKey,
    ) -> Result<Self, AuthorityError> {
        if certificate.key().spki() != key.public().spki() {
            return Err(AuthorityError::KeyMismatch);
        }
        Ok(Self {
            certificate,
            key,
            level: PhantomData,
        })
    }

    /// Its certificate.
    pub fn certificate(&self) -> &AuthorityCertificate {
        &self.certificate
    }

    /// Signs what was drafted. Returns DER.
    pub fn sign(&self, draft: &Draft<L>) -> Result<Vec<u8>, AuthorityError> {
        let committed = Committed {
            key: &self.key,
            sha256: draft.tbs_sha256,
        };
        let issuer = Issuer::from_ca_cert_der(self.certificate.der(), committed)?;
        let certificate = draft.params.signed_by(&draft.key, &issuer)?;
        verify_certificate(certificate.der(), self.certificate.key())?;
        Ok(certificate.der().to_vec())
    }

    /// Builds, lints and signs a CRL. Returns DER.
    pub fn sign_crl(&self, content: &CrlContent<'_>) -> Result<Vec<u8>, AuthorityError> {
        let params = crl_params(&self.certificate, content);
        let sha256 = rehearse_crl(&params, content, &self.certificate)?;
        let committed = Committed {
            key: &self.key,
            sha256,
        };
        let issuer = Issuer::from_ca_cert_der(self.certificate.der(), committed)?;
        let crl = params.signed_by(&issuer)?;
        verify_crl(crl.der(), self.certificate.key())?;
        Ok(crl.der().to_vec())
    }
}

/// What an authority cannot do.
#[derive(Debug)]
pub enum AuthorityError {
    /// The name is empty, too long, or not printable.
    Name {
        /// The limit, in characters.
        at_most: usize,
    },
    /// The certificate is not one of such an authority.
    Certificate {
        /// In what.
        what: &'static str,
    },
    /// Certificate and secret key do not belong together.
    KeyMismatch,
    /// The lifetime that was asked for.
    Profile(profile::ProfileError),
    /// The encoder refused.
    Encoding(rcgen::Error),
    /// A rule is not kept; nothing was signed.
    Lint(LintError),
    /// A signature could not be made, or did not verify afterwards.
    Signature,
}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Encoding(error)
    }
}

impl From<LintError> for AuthorityError {
    fn from(error: LintError) -> Self {
        Self::Lint(error)
    }
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { at_most } => write!(
                f,
                "the name of an authority has 1 to {at_most} printable characters"
            ),
            Self::Certificate { what } => {
                write!(f, "the authority's certificate is not usable: {what}")
            }
            Self::KeyMismatch => write!(
                f,
                "the authority's certificate and its secret key do not belong together"
            ),
            Self::Profile(error) => write!(f, "{error}"),
            Self::Encoding(error) => write!(f, "the certificate cannot be encoded: {error}"),
            Self::Lint(error) => write!(f, "{error}"),
            Self::Signature => write!(f, "the signature could not be made"),
        }
    }
}

impl std::error::Error for AuthorityError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Profile(error) => Some(error),
            Self::Encoding(error) => Some(error),
            Self::Lint(error) => Some(error),
            Self::Name { .. } | Self::Certificate { .. } | Self::KeyMismatch | Self::Signature => {
                None
            }
        }
    }
}
