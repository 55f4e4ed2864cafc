//! Authorities: a name, a certificate and the secret key that signs under them.
//!
//! [`Authority<Root>`] signs issuing authorities, [`Authority<Issuing>`] signs end entities, each
//! signs its own CRLs, and no other combination compiles. What is signed was first signed by a
//! throw-away key, read back and linted; the real key then signs those octets or nothing, and only for
//! the proof that the intention is on record ([`Recorded`]). Serials are drawn and remembered elsewhere.

mod certificate;
mod encode;
mod extension;

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use rcgen::{CertificateParams, CertificateRevocationListParams, Issuer};

pub use certificate::{AuthorityCertificate, AuthorityName, ReadCrl};

use crate::constraints::NameConstraints;
use crate::key::PrivateKey;
use crate::lint::{self, LintError};
use crate::log::Recorded;
use crate::profile::{self, EndEntity, Names, Profile, Validity};
use crate::public_key::PublicKey;
use crate::publication::Pointers;
use crate::reason::RevokedEntry;
use crate::serial::Serial;
use crate::store::AuthorityRole;
use encode::{
    Committed, authority_draft, crl_params, drafted, rehearse_crl, verify_certificate, verify_crl,
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
///
/// A root signs no end entities, and an issuing authority no authorities:
///
/// ```compile_fail,E0599
/// # use pki::authority::{Authority, Root, Subject};
/// # use pki::Serial;
/// fn impossible(root: &Authority<Root>, subject: &Subject, serial: &Serial) {
///     let _ = root.draft(subject, serial);
/// }
/// ```
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

/// A linted CRL that only the authority which drafted it can sign, and only octet by octet as it was
/// linted.
#[derive(Debug)]
pub struct CrlDraft<L> {
    params: CertificateRevocationListParams,
    tbs_sha256: [u8; 32],
    level: PhantomData<L>,
}

impl<L> CrlDraft<L> {
    /// SHA-256 of what will be signed.
    pub fn tbs_sha256(&self) -> &[u8; 32] {
        &self.tbs_sha256
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
    /// Where its status is told.
    pub pointers: Pointers,
}

/// What the certificate of an issuing authority says beside its name.
#[derive(Debug, Default)]
pub struct Below {
    /// Where its status is told.
    pub pointers: Pointers,
    /// Under which names it may certify servers; any if `None`.
    pub constraints: Option<NameConstraints>,
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
    /// The distribution point that it is for; all certificates of its issuer if `None`.
    pub point: Option<&'a str>,
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

    /// Signs a root's own certificate, for the proof that this is on record.
    pub fn establish(
        key: PrivateKey,
        draft: &Draft<Root>,
        recorded: Recorded,
    ) -> Result<Self, AuthorityError> {
        let committed = Committed {
            key: &key,
            sha256: on_record(recorded, draft.tbs_sha256)?,
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
        below: &Below,
        now: Timestamp,
    ) -> Result<Draft<Root>, AuthorityError> {
        let validity = profile::issuing()
            .validity(None, now, Some(&self.certificate.validity()))
            .map_err(AuthorityError::Profile)?;
        let below = Some((&self.certificate, below));
        authority_draft::<Root, Issuing>(name, key, serial, validity, below)
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
        let intended = lint::certificate::Intended {
            profile: subject.profile.profile(),
            serial,
            key: &subject.key,
            names: subject.names.all(),
            organization: None,
            common_name: common_name.as_deref(),
            validity: subject.validity,
            pointers: &subject.pointers,
            constraints: None,
            issuer_name: Some(self.certificate.subject()),
            issuer_key: self.certificate.key_id(),
            issuer_validity: Some(self.certificate.validity()),
            issuer_constraints: self.certificate.constraints(),
        };
        drafted(&intended, Some(&self.certificate))
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

    /// Signs what was drafted, for the proof that this is on record. Returns DER.
    pub fn sign(&self, draft: &Draft<L>, recorded: Recorded) -> Result<Vec<u8>, AuthorityError> {
        let committed = Committed {
            key: &self.key,
            sha256: on_record(recorded, draft.tbs_sha256)?,
        };
        let issuer = Issuer::from_ca_cert_der(self.certificate.der(), committed)?;
        let certificate = draft.params.signed_by(&draft.key, &issuer)?;
        verify_certificate(certificate.der(), self.certificate.key())?;
        Ok(certificate.der().to_vec())
    }

    /// Drafts a CRL.
    pub fn draft_crl(&self, content: &CrlContent<'_>) -> Result<CrlDraft<L>, AuthorityError> {
        let params = crl_params(&self.certificate, content);
        Ok(CrlDraft {
            tbs_sha256: rehearse_crl(&params, content, &self.certificate)?,
            params,
            level: PhantomData,
        })
    }

    /// Signs the CRL that was drafted, for the proof that this is on record. Returns DER.
    pub fn sign_crl(
        &self,
        draft: &CrlDraft<L>,
        recorded: Recorded,
    ) -> Result<Vec<u8>, AuthorityError> {
        let committed = Committed {
            key: &self.key,
            sha256: on_record(recorded, draft.tbs_sha256)?,
        };
        let issuer = Issuer::from_ca_cert_der(self.certificate.der(), committed)?;
        let crl = draft.params.signed_by(&issuer)?;
        verify_crl(crl.der(), self.certificate.key())?;
        Ok(crl.der().to_vec())
    }
}

/// The hash of what may be signed: it is on record, and nothing else is.
#[allow(
    clippy::needless_pass_by_value,
    reason = "a proof is good for one signature"
)]
fn on_record(recorded: Recorded, tbs_sha256: [u8; 32]) -> Result<[u8; 32], AuthorityError> {
    if recorded.is_about(&tbs_sha256) {
        Ok(tbs_sha256)
    } else {
        Err(AuthorityError::Unrecorded)
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
    /// The token that holds the key made no signature.
    Token,
    /// A signature could not be made, or did not verify afterwards.
    Signature,
    /// What is on record is something else; nothing was signed.
    Unrecorded,
}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        match error {
            rcgen::Error::RemoteKeyError => Self::Token,
            error => Self::Encoding(error),
        }
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
            Self::Token => write!(f, "the token that holds the key made no signature"),
            Self::Signature => write!(f, "the signature could not be made"),
            Self::Unrecorded => write!(f, "what is on record is not what would be signed"),
        }
    }
}

impl std::error::Error for AuthorityError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Profile(error) => Some(error),
            Self::Encoding(error) => Some(error),
            Self::Lint(error) => Some(error),
            Self::Name { .. }
            | Self::Certificate { .. }
            | Self::KeyMismatch
            | Self::Token
            | Self::Signature
            | Self::Unrecorded => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::log::tests::recorded;
    use crate::name::Name;
    use crate::public_key::KeyKind;
    use crate::reason::Reason;
    use rustls_pki_types::{CertificateDer, UnixTime};
    use std::time::Duration;
    use webpki::{
        CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
        RevocationOptionsBuilder,
    };

    pub(crate) fn now() -> Timestamp {
        "2026-06-01T12:00:00Z".parse().unwrap()
    }

    fn serial(octet: u8) -> Serial {
        Serial::from_octets(&[octet; 16]).unwrap()
    }

    pub(crate) fn new_root() -> (AuthorityName, Authority<Root>) {
        let name = AuthorityName::parse("Test").unwrap();
        let key = PrivateKey::generate(profile::root().new_key).unwrap();
        let draft = Authority::draft_root(&name, &key, &serial(1), now()).unwrap();
        let recorded = recorded(draft.tbs_sha256());
        (name, Authority::establish(key, &draft, recorded).unwrap())
    }

    pub(crate) fn new_issuing(name: &AuthorityName, root: &Authority<Root>) -> Authority<Issuing> {
        let key = PrivateKey::generate(profile::issuing().new_key).unwrap();
        let draft = root
            .draft_issuing(name, key.public(), &serial(2), &Below::default(), now())
            .unwrap();
        let der = root.sign(&draft, recorded(draft.tbs_sha256())).unwrap();
        let certificate = AuthorityCertificate::parse::<Issuing>(&der).unwrap();
        certificate.verify_signed_by(root.certificate()).unwrap();
        Authority::unlock(certificate, key).unwrap()
    }

    fn signed(issuing: &Authority<Issuing>, draft: &Draft<Issuing>) -> Vec<u8> {
        let recorded = recorded(draft.tbs_sha256());
        issuing.sign(draft, recorded).unwrap()
    }

    fn pump(issuing: &Authority<Issuing>) -> Subject {
        let profile = EndEntity::Device;
        let key = PrivateKey::generate(KeyKind::P256).unwrap();
        Subject {
            profile,
            names: profile
                .admit(vec![Name::uri("urn:example:pump-1").unwrap()])
                .unwrap(),
            key: key.public().clone(),
            validity: profile
                .profile()
                .validity(None, now(), Some(&issuing.certificate().validity()))
                .unwrap(),
            pointers: Pointers::default(),
        }
    }

    fn crl<L: Level>(authority: &Authority<L>, entries: &[RevokedEntry]) -> Vec<u8> {
        let draft = authority
            .draft_crl(&CrlContent {
                number: 1,
                this_update: now(),
                next_update: now() + jiff::SignedDuration::from_hours(24),
                point: None,
                entries,
            })
            .unwrap();
        let recorded = recorded(draft.tbs_sha256());
        authority.sign_crl(&draft, recorded).unwrap()
    }

    /// The judgement of the verifier that gateways use, revocation of the whole chain included.
    fn verify(
        leaf: &[u8],
        issuing: &Authority<Issuing>,
        root: &Authority<Root>,
        crls: &[Vec<u8>],
    ) -> Result<(), webpki::Error> {
        let crls: Vec<CertRevocationList<'_>> = crls
            .iter()
            .map(|crl| OwnedCertRevocationList::from_der(crl).unwrap().into())
            .collect();
        let crls: Vec<&CertRevocationList<'_>> = crls.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&crls)
            .unwrap()
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build();
        let leaf = CertificateDer::from(leaf);
        let anchor = webpki::anchor_from_trusted_cert(root.certificate().der()).unwrap();
        let at = Duration::from_secs(now().as_second().unsigned_abs() + 60);
        EndEntityCert::try_from(&leaf)?
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &[anchor],
                &[issuing.certificate().der().clone()],
                UnixTime::since_unix_epoch(at),
                KeyUsage::client_auth(),
                Some(revocation),
                None,
            )
            .map(|_| ())
    }

    #[test]
    fn a_gateways_verifier_accepts_the_chain_until_it_is_revoked() {
        let (name, root) = new_root();
        let issuing = new_issuing(&name, &root);
        // A serial with the high bit, which has an octet more in DER.
        let serial = serial(0xf0);
        let draft = issuing.draft(&pump(&issuing), &serial).unwrap();
        let leaf = signed(&issuing, &draft);
        let entry = RevokedEntry {
            serial,
            at: now(),
            reason: Reason::Unspecified,
        };
        let (root_crl, empty) = (crl(&root, &[]), crl(&issuing, &[]));
        assert_eq!(
            verify(&leaf, &issuing, &root, &[root_crl.clone(), empty.clone()]),
            Ok(())
        );
        let listed = crl(&issuing, std::slice::from_ref(&entry));
        assert_eq!(
            verify(&leaf, &issuing, &root, &[root_crl, listed]),
            Err(webpki::Error::CertRevoked)
        );
        let issuing_revoked = crl(
            &root,
            &[RevokedEntry {
                serial: issuing.certificate().serial().clone(),
                reason: Reason::CaCompromise,
                ..entry
            }],
        );
        assert_eq!(
            verify(&leaf, &issuing, &root, &[issuing_revoked, empty]),
            Err(webpki::Error::CertRevoked)
        );
    }

    #[test]
    fn what_differs_from_what_was_linted_is_not_signed() {
        let (name, root) = new_root();
        let issuing = new_issuing(&name, &root);
        let mut draft = issuing.draft(&pump(&issuing), &serial(3)).unwrap();
        draft.params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        assert!(matches!(
            issuing.sign(&draft, recorded(draft.tbs_sha256())),
            Err(AuthorityError::Encoding(rcgen::Error::RingUnspecified))
        ));
    }

    #[test]
    fn what_is_on_record_is_signed_and_nothing_else() {
        let (name, root) = new_root();
        let issuing = new_issuing(&name, &root);
        let subject = pump(&issuing);
        let draft = issuing.draft(&subject, &serial(3)).unwrap();
        let other = issuing.draft(&subject, &serial(4)).unwrap();
        assert!(matches!(
            issuing.sign(&draft, recorded(other.tbs_sha256())),
            Err(AuthorityError::Unrecorded)
        ));
        signed(&issuing, &draft);
        signed(&issuing, &other);
    }

    #[test]
    fn a_draft_that_breaks_a_rule_is_refused_with_the_rule() {
        let (name, root) = new_root();
        let issuing = new_issuing(&name, &root);
        let mut subject = pump(&issuing);
        subject.validity.not_after = issuing.certificate().validity().not_after;
        let Err(AuthorityError::Lint(error)) = issuing.draft(&subject, &serial(3)) else {
            unreachable!("five years are too long for a device");
        };
        assert!(error.to_string().contains("ITI-19"), "{error}");
    }

    #[test]
    fn a_certificate_and_a_key_that_do_not_belong_together_are_refused() {
        let (name, root) = new_root();
        let issuing = new_issuing(&name, &root);
        let other = PrivateKey::generate(KeyKind::P256).unwrap();
        assert!(matches!(
            Authority::<Issuing>::unlock(issuing.certificate().clone(), other),
            Err(AuthorityError::KeyMismatch)
        ));
    }

    #[test]
    fn a_leaf_or_an_authority_of_the_other_level_is_not_taken_for_one() {
        let (name, root) = new_root();
        let issuing = new_issuing(&name, &root);
        let draft = issuing.draft(&pump(&issuing), &serial(3)).unwrap();
        let leaf = signed(&issuing, &draft);
        assert!(AuthorityCertificate::parse::<Issuing>(&leaf).is_err());
        assert!(AuthorityCertificate::parse::<Issuing>(root.certificate().der()).is_err());
        assert!(AuthorityCertificate::parse::<Root>(issuing.certificate().der()).is_err());
    }

    #[test]
    fn a_certificate_that_another_root_signed_is_found_out() {
        let (name, root) = new_root();
        let issuing = new_issuing(&name, &root);
        let (_, other) = new_root();
        assert!(
            issuing
                .certificate()
                .verify_signed_by(other.certificate())
                .is_err()
        );
    }

    #[test]
    fn two_authorities_of_one_name_have_different_subjects() {
        let ((_, one), (_, other)) = (new_root(), new_root());
        assert_ne!(
            one.certificate().common_name(),
            other.certificate().common_name()
        );
    }

    #[test]
    fn names_of_authorities_fit_a_common_name() {
        for good in ["Clinic North", "Spital Zürich", &"x".repeat(40)] {
            assert!(AuthorityName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", " x", "x ", "a\nb", "\u{1b}[1m", &"x".repeat(41)] {
            assert!(AuthorityName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
