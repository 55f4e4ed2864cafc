//! What rcgen is told to write, the rehearsal with a throw-away key, and the key that signs only
//! what was rehearsed.

use std::marker::PhantomData;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CidrSubnet,
    CrlDistributionPoint, CrlIssuingDistributionPoint, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose,
    NameConstraints, PublicKeyData, RevocationReason, RevokedCertParams, SanType, SerialNumber,
    SignatureAlgorithm, SigningKey,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::{
    AuthorityCertificate, AuthorityError, AuthorityName, Below, CrlContent, Draft, Level, extension,
};
use crate::constraints::{Network, Subtree};
use crate::key::PrivateKey;
use crate::lint;
use crate::name::Name;
use crate::profile::{Purpose, Role, Validity};
use crate::public_key::{KeyKind, PublicKey, sha256};
use crate::publication::Pointers;
use crate::reason::Reason;
use crate::serial::Serial;

/// The certificate of an authority at level `L`, issued at level `I`.
pub(super) fn authority_draft<I, L: Level>(
    name: &AuthorityName,
    key: &PublicKey,
    serial: &Serial,
    validity: Validity,
    below: Option<(&AuthorityCertificate, &Below)>,
) -> Result<Draft<I>, AuthorityError> {
    let common_name = name.common_name(L::ROLE, key.key_id());
    let issuer = below.map(|(issuer, _)| issuer);
    let nowhere = Pointers::default();
    let intended = lint::certificate::Intended {
        profile: L::profile(),
        serial,
        key,
        names: &[],
        organization: Some(name.as_str()),
        common_name: Some(&common_name),
        validity,
        pointers: below.map_or(&nowhere, |(_, below)| &below.pointers),
        constraints: below.and_then(|(_, below)| below.constraints.as_ref()),
        issuer_name: issuer.map(AuthorityCertificate::subject),
        issuer_key: issuer.map_or(key.key_id(), AuthorityCertificate::key_id),
        issuer_validity: issuer.map(AuthorityCertificate::validity),
        issuer_constraints: None,
    };
    drafted(&intended, issuer)
}

/// Everything that rcgen will write. Each field is set: its defaults include the year 4096 and a
/// serial made of the key.
fn params(intended: &lint::certificate::Intended<'_>) -> Result<CertificateParams, AuthorityError> {
    let at = |time: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + since_1970(time);
    let mut subject = DistinguishedName::new();
    for (kind, text) in [
        (DnType::OrganizationName, intended.organization),
        (DnType::CommonName, intended.common_name),
    ] {
        if let Some(text) = text {
            subject.push(kind, text);
        }
    }
    let mut params = CertificateParams::default();
    params.not_before = at(intended.validity.not_before);
    params.not_after = at(intended.validity.not_after);
    params.serial_number = Some(SerialNumber::from_slice(intended.serial.octets()));
    let is_unnamed = subject.iter().next().is_none();
    params.distinguished_name = subject;
    params.custom_extensions = Vec::new();
    params.subject_alt_names = Vec::new();
    if intended.names.iter().any(is_module) {
        let names = extension::alternative_names(intended.names, is_unnamed);
        params.custom_extensions.push(names);
    } else {
        for name in intended.names {
            params.subject_alt_names.push(alternative_name(name)?);
        }
    }
    match intended.profile.role {
        Role::Authority { path_length } => {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.extended_key_usages = Vec::new();
        }
        Role::EndEntity { purpose, .. } => {
            // Without "explicit" rcgen leaves the basic constraints out.
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![match purpose {
                Purpose::ServerAuth => ExtendedKeyUsagePurpose::ServerAuth,
                Purpose::ClientAuth => ExtendedKeyUsagePurpose::ClientAuth,
                Purpose::OcspSigning => ExtendedKeyUsagePurpose::OcspSigning,
            }];
            if purpose == Purpose::OcspSigning {
                params.custom_extensions.push(extension::no_check());
            }
        }
    }
    params.name_constraints = intended.constraints.map(name_constraints);
    let point = |url: &String| CrlDistributionPoint {
        uris: vec![url.clone()],
    };
    params.crl_distribution_points = intended.pointers.crl.iter().map(point).collect();
    let access = extension::authority_access(intended.pointers);
    params.custom_extensions.extend(access);
    params.use_authority_key_identifier_extension = true;
    params.key_identifier_method = KeyIdMethod::PreSpecified(intended.key.key_id().0.to_vec());
    Ok(params)
}

fn is_module(name: &Name) -> bool {
    matches!(name, Name::Hardware(_))
}

fn name_constraints(constraints: &crate::constraints::NameConstraints) -> NameConstraints {
    let network = |network: &Network| {
        let (address, prefix) = network.parts();
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, prefix))
    };
    let hosts = constraints.hosts().iter().cloned();
    NameConstraints {
        permitted_subtrees: hosts
            .map(GeneralSubtree::DnsName)
            .chain(constraints.networks().iter().map(network))
            .collect(),
        excluded_subtrees: constraints
            .excluded()
            .iter()
            .map(|subtree| match subtree {
                Subtree::Host(host) => GeneralSubtree::DnsName(host.clone()),
                Subtree::Network(excluded) => network(excluded),
            })
            .collect(),
    }
}

fn alternative_name(name: &Name) -> Result<SanType, AuthorityError> {
    let text = name.to_string();
    Ok(match name {
        Name::Uri(_) => SanType::URI(text.try_into()?),
        Name::Dns(_) => SanType::DnsName(text.try_into()?),
        Name::Ip(address) => SanType::IpAddress(*address),
        // rcgen writes other names as text alone; `extension` writes the whole extension then.
        Name::Hardware(_) => return Err(AuthorityError::Signature),
    })
}

/// Signs with a throw-away key of the issuer's kind, lints the result, and remembers the hash of
/// what was signed.
pub(super) fn drafted<L>(
    intended: &lint::certificate::Intended<'_>,
    issuer: Option<&AuthorityCertificate>,
) -> Result<Draft<L>, AuthorityError> {
    let params = params(intended)?;
    let kind = issuer.map_or(intended.key.kind(), |issuer| issuer.key().kind());
    let throw_away = throw_away(kind)?;
    let rehearsal = match issuer {
        Some(issuer) => Issuer::from_ca_cert_der(issuer.der(), &throw_away)?,
        None => Issuer::from_params(&params, &throw_away),
    };
    let rehearsed = params.signed_by(intended.key, &rehearsal)?;
    lint::certificate::lint(rehearsed.der(), intended)?;
    let (_, certificate) =
        X509Certificate::from_der(rehearsed.der()).map_err(|_| AuthorityError::Signature)?;
    let tbs_sha256 = sha256(certificate.tbs_certificate.as_ref());
    drop(rehearsal);
    Ok(Draft {
        key: intended.key.clone(),
        validity: intended.validity,
        tbs_sha256,
        params,
        level: PhantomData,
    })
}

/// Everything that rcgen will write into a CRL.
pub(super) fn crl_params(
    issuer: &AuthorityCertificate,
    content: &CrlContent<'_>,
) -> CertificateRevocationListParams {
    let at = |time: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + since_1970(time);
    CertificateRevocationListParams {
        this_update: at(content.this_update),
        next_update: at(content.next_update),
        crl_number: SerialNumber::from(content.number),
        issuing_distribution_point: content.point.map(|url| CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint {
                uris: vec![url.to_owned()],
            },
            scope: None,
        }),
        revoked_certs: content
            .entries
            .iter()
            .map(|entry| RevokedCertParams {
                serial_number: SerialNumber::from_slice(entry.serial.octets()),
                revocation_time: at(entry.at),
                reason_code: code(entry.reason),
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::PreSpecified(issuer.key_id().0.to_vec()),
    }
}

/// Signs a CRL with a throw-away key, lints the result, and returns the hash of what was signed.
pub(super) fn rehearse_crl(
    params: &CertificateRevocationListParams,
    content: &CrlContent<'_>,
    issuer: &AuthorityCertificate,
) -> Result<[u8; 32], AuthorityError> {
    let throw_away = throw_away(issuer.key().kind())?;
    let rehearsed = params.signed_by(&Issuer::from_ca_cert_der(issuer.der(), &throw_away)?)?;
    lint::crl::lint(
        rehearsed.der(),
        &lint::crl::Intended {
            issuer_name: issuer.subject(),
            issuer_key: issuer.key_id(),
            number: content.number,
            this_update: content.this_update,
            next_update: content.next_update,
            point: content.point,
            entries: content.entries,
        },
    )?;
    let (_, crl) = CertificateRevocationList::from_der(rehearsed.der())
        .map_err(|_| AuthorityError::Signature)?;
    Ok(sha256(crl.tbs_cert_list.as_ref()))
}

fn throw_away(kind: KeyKind) -> Result<PrivateKey, AuthorityError> {
    PrivateKey::generate(kind).map_err(|_| AuthorityError::Signature)
}

/// Times are checked to be after 2025 where they enter (`profile::whole_seconds`).
fn since_1970(time: Timestamp) -> Duration {
    Duration::from_secs(time.as_second().unsigned_abs())
}

fn code(reason: Reason) -> Option<RevocationReason> {
    match reason {
        Reason::Unspecified => None,
        Reason::KeyCompromise => Some(RevocationReason::KeyCompromise),
        Reason::CaCompromise => Some(RevocationReason::CaCompromise),
        Reason::AffiliationChanged => Some(RevocationReason::AffiliationChanged),
        Reason::Superseded => Some(RevocationReason::Superseded),
        Reason::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
        Reason::PrivilegeWithdrawn => Some(RevocationReason::PrivilegeWithdrawn),
    }
}

/// A key that signs one message: the one whose hash was agreed on.
pub(super) struct Committed<'a> {
    pub(super) key: &'a PrivateKey,
    pub(super) sha256: [u8; 32],
}

impl PublicKeyData for Committed<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.key.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.key.algorithm()
    }
}

impl SigningKey for Committed<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        if sha256(message) != self.sha256 {
            // rcgen has no word for it; what it says of remote keys is for those in tokens.
            return Err(rcgen::Error::RingUnspecified);
        }
        self.key.sign(message)
    }
}

/// A signature that went wrong in the machine, or in a token, is found before anybody gets it.
pub(super) fn verify_certificate(der: &[u8], issuer: &PublicKey) -> Result<(), AuthorityError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| AuthorityError::Signature)?;
    issuer
        .verify(
            &certificate.signature_algorithm.algorithm,
            certificate.tbs_certificate.as_ref(),
            &certificate.signature_value.data,
        )
        .map_err(|_| AuthorityError::Signature)
}

pub(super) fn verify_crl(der: &[u8], issuer: &PublicKey) -> Result<(), AuthorityError> {
    let (_, crl) =
        CertificateRevocationList::from_der(der).map_err(|_| AuthorityError::Signature)?;
    issuer
        .verify(
            &crl.signature_algorithm.algorithm,
            crl.tbs_cert_list.as_ref(),
            &crl.signature_value.data,
        )
        .map_err(|_| AuthorityError::Signature)
}
