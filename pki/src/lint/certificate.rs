//! The lints of certificates (RFC 5280 section 4, IHE ITI-19), applied before signing.
//!
//! Signatures are not looked at: what is linted was signed by a throw-away key.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::{self as registry, Oid};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{X509Name, X509Version};

use super::{Lint, LintError, Subject, apply, unreadable};
use crate::name::Name;
use crate::profile::{MAX_NODE_DAYS, NameRule, Profile, Purpose, Role, Validity};
use crate::public_key::{KeyId, PublicKey};
use crate::serial::Serial;

/// What a certificate is meant to say.
#[derive(Debug)]
pub struct Intended<'a> {
    /// The profile.
    pub profile: &'static Profile,
    /// The serial that was reserved.
    pub serial: &'a Serial,
    /// Whose key is certified.
    pub key: &'a PublicKey,
    /// Under which names.
    pub names: &'a [Name],
    /// organizationName of the subject.
    pub organization: Option<&'a str>,
    /// commonName of the subject.
    pub common_name: Option<&'a str>,
    /// From when until when.
    pub validity: Validity,
    /// The issuer's subject in DER; `None` for a root, which issues itself.
    pub issuer_name: Option<&'a [u8]>,
    /// The issuer's key identifier.
    pub issuer_key: KeyId,
    /// The issuer's validity; `None` for a root.
    pub issuer_validity: Option<Validity>,
}

/// The rules of this file are about certificates.
pub struct Certificates;

impl Subject for Certificates {
    type Draft<'a> = Draft<'a>;
}

/// A certificate as it reads, beside what it is meant to say.
pub struct Draft<'a> {
    certificate: X509Certificate<'a>,
    intended: &'a Intended<'a>,
}

/// Judges the DER of a certificate by every row of [`LINTS`].
pub fn lint(der: &[u8], intended: &Intended<'_>) -> Result<(), LintError> {
    let Ok((rest, certificate)) = X509Certificate::from_der(der) else {
        return Err(unreadable());
    };
    if !rest.is_empty() {
        return Err(unreadable());
    }
    apply(
        &LINTS,
        &Draft {
            certificate,
            intended,
        },
    )
}

/// Every rule for certificates.
#[rustfmt::skip]
pub static LINTS: [Lint<Certificates>; 26] = [
    Lint { section: "RFC 5280 4.1.2.1", name: "the version is 3",
        holds: |d| d.certificate.version() == X509Version::V3 },
    Lint { section: "RFC 5280 4.1.2.2", name: "the serial is positive and has at most 20 octets",
        holds: |d| is_positive_integer(d.certificate.raw_serial()) },
    Lint { section: "RFC 5280 4.1.2.2", name: "the serial is the one that was reserved",
        holds: |d| Serial::from_octets(d.certificate.raw_serial()).as_ref() == Ok(d.intended.serial) },
    Lint { section: "RFC 5280 4.1.1.2", name: "both signature algorithms are the same",
        holds: |d| d.certificate.signature_algorithm == d.certificate.tbs_certificate.signature },
    Lint { section: "RFC 5280 4.1.2.4", name: "the issuer is the signer's subject, octet by octet",
        holds: issuer_is_the_signer },
    Lint { section: "RFC 5280 4.1.2.5", name: "the validity is the one that was meant",
        holds: |d| read_validity(d) == Some(d.intended.validity) },
    Lint { section: "RFC 5280 4.1.2.5", name: "notBefore comes before notAfter",
        holds: |d| d.certificate.validity().not_before < d.certificate.validity().not_after },
    Lint { section: "RFC 5280 4.1.2.5", name: "dates to 2049 are UTCTime, later ones GeneralizedTime",
        holds: |d| [d.certificate.validity().not_before, d.certificate.validity().not_after].iter().all(has_right_type) },
    Lint { section: "RFC 5280 6.1.3 (a)(2)", name: "the validity lies within the issuer's",
        holds: validity_within_issuer },
    Lint { section: "IHE ITI-19 3.19.6.1.3", name: "an end entity is valid for at most two years",
        holds: |d| is_authority(d) || lifetime(d) <= SignedDuration::from_hours(24 * MAX_NODE_DAYS) },
    Lint { section: "RFC 5280 4.1.2.6", name: "the subject says what was meant, and nothing more",
        holds: subject_as_intended },
    Lint { section: "RFC 5280 4.1.2.6", name: "an authority has a subject",
        holds: |d| !is_authority(d) || d.certificate.subject().iter().next().is_some() },
    Lint { section: "RFC 5280 A.1 (ub-common-name)", name: "a common name has 1 to 64 characters",
        holds: |d| d.certificate.subject().iter_common_name()
            .all(|name| name.as_str().is_ok_and(|text| (1..=64).contains(&text.chars().count()))) },
    Lint { section: "RFC 6125 6.4.4", name: "a common name repeats the first alternative name",
        holds: common_name_repeats_first_name },
    Lint { section: "RFC 5280 4.1.2.7", name: "the key is the one that was proven or made",
        holds: |d| d.certificate.public_key().raw == d.intended.key.spki() },
    Lint { section: "RFC 5280 4.1.2.8", name: "there are no unique identifiers",
        holds: |d| d.certificate.tbs_certificate.issuer_uid.is_none() && d.certificate.tbs_certificate.subject_uid.is_none() },
    Lint { section: "RFC 5280 4.2", name: "the extensions are those of the profile, each once",
        holds: extensions_of_the_profile },
    Lint { section: "RFC 5280 4.2.1.1", name: "the authority key identifier is the signer's, not critical",
        holds: |d| matches!(extension(d, &registry::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER), Some((false, ParsedExtension::AuthorityKeyIdentifier(aki)))
            if aki.key_identifier.as_ref().map(|id| id.0) == Some(&d.intended.issuer_key.0)
                && aki.authority_cert_issuer.is_none() && aki.authority_cert_serial.is_none()) },
    Lint { section: "RFC 5280 4.2.1.2, RFC 7093 2 (1)", name: "the subject key identifier is the key's, not critical",
        holds: |d| matches!(extension(d, &registry::OID_X509_EXT_SUBJECT_KEY_IDENTIFIER), Some((false, ParsedExtension::SubjectKeyIdentifier(id)))
            if id.0 == d.intended.key.key_id().0) },
    Lint { section: "RFC 5280 4.2.1.3", name: "the key usage is the profile's, critical",
        holds: |d| matches!(extension(d, &registry::OID_X509_EXT_KEY_USAGE), Some((true, ParsedExtension::KeyUsage(usage)))
            if usage.flags == key_usage(d.intended.profile)) },
    Lint { section: "RFC 5280 4.2.1.6", name: "the alternative names are those that were granted, in order",
        holds: |d| alternative_names(d).as_deref() == Some(d.intended.names) },
    Lint { section: "RFC 5280 4.2.1.6", name: "the alternative name is critical if, and only if, the subject is empty",
        holds: |d| extension(d, &registry::OID_X509_EXT_SUBJECT_ALT_NAME)
            .is_none_or(|(critical, _)| critical == d.certificate.subject().iter().next().is_none()) },
    Lint { section: "profile", name: "a client has exactly one name, a URI",
        holds: one_uri_where_the_profile_says_so },
    Lint { section: "RFC 5280 4.2.1.9", name: "basic constraints are critical and say CA if, and only if, it is one",
        holds: |d| matches!(extension(d, &registry::OID_X509_EXT_BASIC_CONSTRAINTS), Some((true, ParsedExtension::BasicConstraints(constraints)))
            if constraints.ca == is_authority(d)) },
    Lint { section: "RFC 5280 4.2.1.9", name: "the path length is the profile's",
        holds: |d| matches!(extension(d, &registry::OID_X509_EXT_BASIC_CONSTRAINTS), Some((_, ParsedExtension::BasicConstraints(constraints)))
            if constraints.path_len_constraint == path_length(d.intended.profile)) },
    Lint { section: "RFC 5280 4.2.1.12", name: "the extended key usage is the profile's one purpose",
        holds: purpose_of_the_profile },
];

fn is_authority(draft: &Draft<'_>) -> bool {
    matches!(draft.intended.profile.role, Role::Authority { .. })
}

/// DER content of an INTEGER that is above zero and has at most 20 octets.
fn is_positive_integer(octets: &[u8]) -> bool {
    octets.first().is_some_and(|&first| first < 0x80)
        && octets.len() <= 20
        && octets.iter().any(|&octet| octet != 0)
}

fn issuer_is_the_signer(draft: &Draft<'_>) -> bool {
    let issuer = draft.certificate.issuer();
    let signer = draft
        .intended
        .issuer_name
        .unwrap_or_else(|| draft.certificate.subject().as_raw());
    issuer.as_raw() == signer && issuer.iter().next().is_some()
}

fn read_validity(draft: &Draft<'_>) -> Option<Validity> {
    let read = |time: ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some(Validity {
        not_before: read(draft.certificate.validity().not_before)?,
        not_after: read(draft.certificate.validity().not_after)?,
    })
}

/// Both ends belong to the validity, so a certificate that ends where it begins lasts a second.
fn lifetime(draft: &Draft<'_>) -> SignedDuration {
    read_validity(draft).map_or(SignedDuration::MAX, |validity| {
        validity.not_before.duration_until(validity.not_after) + SignedDuration::from_secs(1)
    })
}

pub(super) fn has_right_type(time: &ASN1Time) -> bool {
    time.is_utctime() == (time.to_datetime().year() < 2050)
}

fn validity_within_issuer(draft: &Draft<'_>) -> bool {
    match (draft.intended.issuer_validity, read_validity(draft)) {
        (None, Some(_)) => draft.intended.issuer_name.is_none(),
        (Some(issuer), Some(own)) => {
            issuer.not_before <= own.not_before && own.not_after <= issuer.not_after
        }
        (_, None) => false,
    }
}

fn subject_as_intended(draft: &Draft<'_>) -> bool {
    let subject = draft.certificate.subject();
    let only = |name: &X509Name<'_>, oid: &Oid<'static>, value: Option<&str>| {
        let mut values = name.iter_by_oid(oid);
        let first = values.next().and_then(|value| value.as_str().ok());
        first == value && values.next().is_none()
    };
    let attributes = usize::from(draft.intended.organization.is_some())
        + usize::from(draft.intended.common_name.is_some());
    only(
        subject,
        &registry::OID_X509_ORGANIZATION_NAME,
        draft.intended.organization,
    ) && only(
        subject,
        &registry::OID_X509_COMMON_NAME,
        draft.intended.common_name,
    ) && subject.iter_attributes().count() == attributes
        && subject.iter_rdn().count() == attributes
}

fn common_name_repeats_first_name(draft: &Draft<'_>) -> bool {
    if is_authority(draft) {
        return true;
    }
    let mut common_names = draft.certificate.subject().iter_common_name();
    match common_names.next() {
        None => true,
        Some(common_name) => {
            let first = draft.intended.names.first().map(ToString::to_string);
            common_name.as_str().ok() == first.as_deref()
        }
    }
}

fn extensions_of_the_profile(draft: &Draft<'_>) -> bool {
    use registry as r;
    let authority = [
        &r::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
        &r::OID_X509_EXT_SUBJECT_KEY_IDENTIFIER,
        &r::OID_X509_EXT_KEY_USAGE,
        &r::OID_X509_EXT_BASIC_CONSTRAINTS,
    ];
    let end_entity = [
        &r::OID_X509_EXT_SUBJECT_ALT_NAME,
        &r::OID_X509_EXT_EXTENDED_KEY_USAGE,
    ];
    let expected: Vec<&Oid<'_>> = match draft.intended.profile.role {
        Role::Authority { .. } => authority.to_vec(),
        Role::EndEntity { .. } => authority.iter().chain(&end_entity).copied().collect(),
    };
    let extensions = draft.certificate.extensions();
    extensions.len() == expected.len()
        && expected
            .iter()
            .all(|oid| extensions.iter().any(|extension| extension.oid == **oid))
}

/// Whether it is critical, and what it says.
fn extension<'a>(draft: &'a Draft<'_>, oid: &Oid<'_>) -> Option<(bool, &'a ParsedExtension<'a>)> {
    let found: &X509Extension<'_> = draft
        .certificate
        .extensions()
        .iter()
        .find(|extension| extension.oid == *oid)?;
    Some((found.critical, found.parsed_extension()))
}

/// Bits of KeyUsage as x509-parser numbers them: bit 0 is digitalSignature.
fn key_usage(profile: &Profile) -> u16 {
    const DIGITAL_SIGNATURE: u16 = 1;
    const KEY_CERT_SIGN: u16 = 1 << 5;
    const CRL_SIGN: u16 = 1 << 6;
    match profile.role {
        Role::Authority { .. } => KEY_CERT_SIGN | CRL_SIGN,
        Role::EndEntity { .. } => DIGITAL_SIGNATURE,
    }
}

fn path_length(profile: &Profile) -> Option<u32> {
    match profile.role {
        Role::Authority { path_length } => Some(u32::from(path_length)),
        Role::EndEntity { .. } => None,
    }
}

/// The names as they read; empty if there is no such extension, `None` if one of them is of
/// another kind or not well formed.
fn alternative_names(draft: &Draft<'_>) -> Option<Vec<Name>> {
    match extension(draft, &registry::OID_X509_EXT_SUBJECT_ALT_NAME) {
        None => Some(Vec::new()),
        Some((_, ParsedExtension::SubjectAlternativeName(names))) => names
            .general_names
            .iter()
            .map(|name| match name {
                GeneralName::URI(text) => Name::uri(text).ok(),
                GeneralName::DNSName(text) => Name::dns(text).ok(),
                GeneralName::IPAddress(octets) => <[u8; 4]>::try_from(*octets)
                    .map(IpAddr::from)
                    .or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from))
                    .map(Name::Ip)
                    .ok(),
                _ => None,
            })
            .collect(),
        Some(_) => None,
    }
}

fn one_uri_where_the_profile_says_so(draft: &Draft<'_>) -> bool {
    match draft.intended.profile.role {
        Role::EndEntity {
            names: NameRule::OneUri,
            ..
        } => matches!(alternative_names(draft).as_deref(), Some([Name::Uri(_)])),
        Role::EndEntity {
            names: NameRule::Hosts { at_most },
            ..
        } => alternative_names(draft).is_some_and(|names| (1..=at_most).contains(&names.len())),
        Role::Authority { .. } => true,
    }
}

fn purpose_of_the_profile(draft: &Draft<'_>) -> bool {
    let read = extension(draft, &registry::OID_X509_EXT_EXTENDED_KEY_USAGE);
    let Role::EndEntity { purpose, .. } = draft.intended.profile.role else {
        return read.is_none();
    };
    let Some((false, ParsedExtension::ExtendedKeyUsage(usage))) = read else {
        return false;
    };
    let nothing_else = !usage.any
        && !usage.code_signing
        && !usage.email_protection
        && !usage.time_stamping
        && !usage.ocsp_signing
        && usage.other.is_empty();
    let only = match purpose {
        Purpose::ServerAuth => usage.server_auth && !usage.client_auth,
        Purpose::ClientAuth => usage.client_auth && !usage.server_auth,
    };
    nothing_else && only
}
