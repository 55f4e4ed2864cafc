//! The public side of an authority: what it is called, and its certificate.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};
use x509_parser::time::ASN1Time;

use super::encode::{verify_certificate, verify_crl};
use super::{AuthorityError, Below, Level};
use crate::constraints::NameConstraints;
use crate::lint::{self, LintError};
use crate::name::is_invisible;
use crate::profile::{self, Role, Validity};
use crate::public_key::{KeyId, PublicKey, sha256};
use crate::reason::{REASONS, RevokedEntry};
use crate::serial::Serial;
use crate::store::AuthorityRole;

/// What an authority is called: 1 to 40 printable characters, none of which hides
/// ([`is_invisible`]): people compare it. With the words that follow it, it
/// fits the 64 characters of a common name (RFC 5280 appendix A.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityName(String);

impl AuthorityName {
    const MAX: usize = 40;

    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        let length = text.chars().count();
        let well_formed = (1..=Self::MAX).contains(&length)
            && text.trim() == text
            && !text.chars().any(|c| c.is_control() || is_invisible(c));
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(AuthorityError::Name { at_most: Self::MAX })
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The common name of the authority with this key. The end of it is from the key, so that two
    /// authorities of the same name never share a distinguished name: verifiers find issuers and
    /// CRLs by it.
    pub(crate) fn common_name(&self, role: AuthorityRole, key: KeyId) -> String {
        let role = match role {
            AuthorityRole::Root => "Root",
            AuthorityRole::Issuing => "Issuing",
        };
        let key = key.to_string();
        format!("{} {role} CA {}", self.0, &key[..8])
    }
}

/// A CRL that its issuer signed, for all of its certificates, and that keeps every lint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadCrl {
    /// Its number.
    pub number: u64,
    /// thisUpdate.
    pub this_update: Timestamp,
    /// nextUpdate.
    pub next_update: Timestamp,
    /// Its entries.
    pub entries: Vec<RevokedEntry>,
}

/// A certificate of an authority, read and found to be one.
#[derive(Debug, Clone)]
pub struct AuthorityCertificate {
    der: CertificateDer<'static>,
    subject: Vec<u8>,
    common_name: String,
    key: PublicKey,
    serial: Serial,
    validity: Validity,
    tbs_sha256: [u8; 32],
    constraints: Option<NameConstraints>,
}

impl AuthorityCertificate {
    /// Reads the certificate of an authority at level `L`. Whether its issuer signed it is not
    /// looked at; [`AuthorityCertificate::verify_signed_by`] does that.
    pub fn parse<L: Level>(der: &[u8]) -> Result<Self, AuthorityError> {
        let unfit = |what| AuthorityError::Certificate { what };
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| unfit("it cannot be read"))?;
        if !rest.is_empty() {
            return Err(unfit("there are bytes after it"));
        }
        let Role::Authority { path_length } = L::profile().role else {
            unreachable!("every level's profile is an authority's");
        };
        let constraints = certificate.basic_constraints().ok().flatten();
        let is_authority = constraints.is_some_and(|constraints| {
            constraints.value.ca
                && constraints.value.path_len_constraint == Some(u32::from(path_length))
        });
        let usage = certificate.key_usage().ok().flatten();
        let may_sign =
            usage.is_some_and(|usage| usage.value.key_cert_sign() && usage.value.crl_sign());
        if !is_authority || !may_sign {
            return Err(unfit("it is not that of such an authority"));
        }
        let key = PublicKey::from_spki(certificate.public_key().raw)
            .map_err(|_| unfit("its key is not of a certified kind"))?;
        // rcgen repeats the subject in what it signs, and collapses a name that has the same
        // attribute twice. Ours have an organization and a common name.
        let subject = certificate.subject();
        let common_name = subject
            .iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok())
            .ok_or(unfit("it has no common name"))?
            .to_owned();
        let has_key_id = certificate.extensions().iter().any(|extension| {
            matches!(extension.parsed_extension(),
                ParsedExtension::SubjectKeyIdentifier(id) if id.0 == key.key_id().0)
        });
        if !has_key_id {
            return Err(unfit("its subject key identifier is not that of its key"));
        }
        let constraints = certificate
            .name_constraints()
            .map_err(|_| unfit("its name constraints"))?
            .map(|extension| NameConstraints::read(extension.value))
            .transpose()
            .map_err(|_| unfit("its name constraints are not understood"))?;
        let time = |time: ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|_| unfit("its dates"))
        };
        Ok(Self {
            der: CertificateDer::from(der.to_vec()),
            subject: subject.as_raw().to_vec(),
            common_name,
            serial: Serial::from_octets(certificate.raw_serial())
                .map_err(|_| unfit("its serial"))?,
            validity: Validity {
                not_before: time(certificate.validity().not_before)?,
                not_after: time(certificate.validity().not_after)?,
            },
            tbs_sha256: sha256(certificate.tbs_certificate.as_ref()),
            constraints,
            key,
        })
    }

    /// Verifies that `issuer` signed it.
    pub fn verify_signed_by(&self, issuer: &Self) -> Result<(), AuthorityError> {
        verify_certificate(&self.der, &issuer.key)
    }

    /// The number of a CRL that it signed; `None` of anything else.
    pub fn crl_number(&self, der: &[u8]) -> Option<u64> {
        verify_crl(der, &self.key).ok()?;
        let (_, crl) = CertificateRevocationList::from_der(der).ok()?;
        let number = crl.crl_number()?;
        number.try_into().ok()
    }

    /// Reads a CRL that it signed, for all of its certificates. A delta CRL, one of a part, and one that says
    /// anything that is not understood are refused.
    pub fn read_crl(&self, der: &[u8]) -> Result<ReadCrl, AuthorityError> {
        let read = self.crl(der).ok_or(AuthorityError::Signature)?;
        let intended = lint::crl::Intended {
            issuer_name: &self.subject,
            issuer_key: self.key_id(),
            number: read.number,
            this_update: read.this_update,
            next_update: read.next_update,
            point: None,
            entries: &read.entries,
        };
        lint::crl::lint(der, &intended)?;
        Ok(read)
    }

    /// `None` of what it did not sign.
    fn crl(&self, der: &[u8]) -> Option<ReadCrl> {
        let number = self.crl_number(der)?;
        let (_, crl) = CertificateRevocationList::from_der(der).ok()?;
        let time = |time: ASN1Time| Timestamp::from_second(time.timestamp()).ok();
        let entry = |listed: &RevokedCertificate<'_>| {
            let code = listed.reason_code().map_or(0, |(_, code)| code.0);
            Some(RevokedEntry {
                serial: Serial::from_octets(listed.raw_serial()).ok()?,
                at: time(listed.revocation_date)?,
                reason: REASONS.iter().find(|row| row.code == code)?.reason,
            })
        };
        Some(ReadCrl {
            number,
            this_update: time(crl.last_update())?,
            next_update: time(crl.next_update()?)?,
            entries: crl
                .iter_revoked_certificates()
                .map(entry)
                .collect::<Option<_>>()?,
        })
    }

    /// Judges, as before a signature, that it says of this key under this name what the profile of an issuing
    /// authority says, and what stands in `below`, and nothing else. Signatures are not looked at.
    pub fn verify_issuing(
        &self,
        issuer: &Self,
        (name, key): (&AuthorityName, &PublicKey),
        below: &Below,
    ) -> Result<(), LintError> {
        let common_name = name.common_name(AuthorityRole::Issuing, key.key_id());
        let intended = lint::certificate::Intended {
            profile: profile::issuing(),
            serial: &self.serial,
            key,
            names: &[],
            organization: Some(name.as_str()),
            common_name: Some(&common_name),
            validity: self.validity,
            pointers: &below.pointers,
            constraints: below.constraints.as_ref(),
            issuer_name: Some(&issuer.subject),
            issuer_key: issuer.key_id(),
            issuer_validity: Some(issuer.validity),
            issuer_constraints: None,
        };
        lint::certificate::lint(&self.der, &intended)
    }

    /// DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The common name of its subject.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// Its key identifier.
    pub fn key_id(&self) -> KeyId {
        self.key.key_id()
    }

    /// The DER of its subject.
    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// Its public key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Its serial.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// From when until when it is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Under which names it may certify servers; any if `None`.
    pub fn constraints(&self) -> Option<&NameConstraints> {
        self.constraints.as_ref()
    }

    /// SHA-256 of the whole certificate: its fingerprint.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.der)
    }

    /// SHA-256 of its signed part: how the inventory knows it.
    pub fn tbs_sha256(&self) -> [u8; 32] {
        self.tbs_sha256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Issuing;
    use crate::key::PrivateKey;
    use crate::public_key::KeyKind;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyIdMethod, KeyUsagePurpose};

    /// A certificate that would do for an issuing authority, but for what `spoil` changes.
    fn parsed(spoil: impl FnOnce(&mut CertificateParams)) -> Result<(), AuthorityError> {
        let key = PrivateKey::generate(KeyKind::P256).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Test");
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.key_identifier_method = KeyIdMethod::PreSpecified(key.public().key_id().0.to_vec());
        spoil(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        AuthorityCertificate::parse::<Issuing>(certificate.der()).map(|_| ())
    }

    #[test]
    fn a_name_has_no_character_that_nobody_sees() {
        for hidden in [
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200f}',
            '\u{2028}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{206f}',
            '\u{feff}',
            '\u{fffb}',
            '\u{e0001}',
            '\u{e007f}',
        ] {
            let name = format!("Cli{hidden}nic");
            assert!(AuthorityName::parse(&name).is_err(), "{hidden:?}");
        }
        for name in ["Clinic", "Klinik Süd", "Больница № 1", "病院", "مستشفى"] {
            AuthorityName::parse(name).unwrap();
        }
    }

    #[test]
    fn what_lacks_anything_of_an_authority_is_none() {
        parsed(|_| {}).unwrap();
        let refused = |spoil: fn(&mut CertificateParams)| {
            assert!(matches!(
                parsed(spoil),
                Err(AuthorityError::Certificate { .. })
            ));
        };
        refused(|params| params.is_ca = IsCa::ExplicitNoCa);
        refused(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        refused(|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)));
        refused(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
        refused(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
        refused(|params| params.key_usages.clear());
        refused(|params| params.key_identifier_method = KeyIdMethod::Sha256);
        refused(|params| params.distinguished_name = rcgen::DistinguishedName::new());
    }
}
