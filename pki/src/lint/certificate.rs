//! The lints of certificates (RFC 5280 section 4, IHE ITI-19), applied before signing.
//!
//! Signatures are not looked at: what is linted was signed by a throw-away key.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use x509_parser::asn1_rs::oid;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::{self as registry, Oid};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{X509Name, X509Version};

use super::{Lint, LintError, Subject, apply, unreadable};
use crate::constraints::NameConstraints;
use crate::hardware::HardwareModule;
use crate::name::Name;
use crate::profile::{MAX_NODE_DAYS, NameRule, Profile, Purpose, Role, Validity};
use crate::public_key::{KeyId, PublicKey};
use crate::publication::Pointers;
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
    /// Where its status is told.
    pub pointers: &'a Pointers,
    /// What it may certify, if it is an authority with constraints.
    pub constraints: Option<&'a NameConstraints>,
    /// The issuer's subject in DER; `None` for a root, which issues itself.
    pub issuer_name: Option<&'a [u8]>,
    /// The issuer's key identifier.
    pub issuer_key: KeyId,
    /// The issuer's validity; `None` for a root.
    pub issuer_validity: Option<Validity>,
    /// What the issuer may certify, if it is constrained.
    pub issuer_constraints: Option<&'a NameConstraints>,
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
pub static LINTS: [Lint<Certificates>; 31] = [
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
    Lint { section: "profile", name: "the validity lies within the issuer's",
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
    Lint { section: "profile", name: "a common name repeats the first alternative name",
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
    Lint { section: "RFC 5280 4.2.1.10", name: "the name constraints are those that were meant, critical",
        holds: constraints_as_intended },
    Lint { section: "RFC 5280 4.2.1.10", name: "the names are permitted by the issuer's constraints",
        holds: |d| d.intended.issuer_constraints.is_none_or(|constraints| alternative_names(d)
            .is_some_and(|names| names.iter().all(|name| constraints.permit(name)))) },
    Lint { section: "RFC 5280 4.2.1.12", name: "the extended key usage is the profile's one purpose",
        holds: purpose_of_the_profile },
    Lint { section: "RFC 5280 4.2.1.13", name: "the CRL distribution point is its shard's, not critical",
        holds: distribution_point_as_intended },
    Lint { section: "RFC 5280 4.2.2.1", name: "the authority's access points are those that were meant, not critical",
        holds: access_as_intended },
    Lint { section: "RFC 6960 4.2.2.2.1", name: "a responder is not asked about, not critical, with NULL as its value",
        holds: |d| d.certificate.extensions().iter().filter(|extension| extension.oid == NO_CHECK)
            .all(|extension| !extension.critical && extension.value == [0x05, 0x00]) },
];

/// id-pkix-ocsp-nocheck.
const NO_CHECK: Oid<'static> = oid!(1.3.6.1.5.5.7.48.1.5);

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
            // A responder has no name to repeat.
            first.is_none() || common_name.as_str().ok() == first.as_deref()
        }
    }
}

fn extensions_of_the_profile(draft: &Draft<'_>) -> bool {
    use registry as r;
    let pointers = draft.intended.pointers;
    let (mut purposes, mut names) = (Vec::new(), NameRule::None);
    if let Role::EndEntity {
        purpose,
        names: rule,
    } = draft.intended.profile.role
    {
        purposes.push(purpose);
        names = rule;
    }
    let has_access = pointers.ocsp.is_some() || pointers.issuer.is_some();
    let expected: Vec<Oid<'static>> = [
        (r::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, true),
        (r::OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, true),
        (r::OID_X509_EXT_KEY_USAGE, true),
        (r::OID_X509_EXT_BASIC_CONSTRAINTS, true),
        (r::OID_X509_EXT_EXTENDED_KEY_USAGE, !purposes.is_empty()),
        (r::OID_X509_EXT_SUBJECT_ALT_NAME, names != NameRule::None),
        (NO_CHECK, purposes.contains(&Purpose::OcspSigning)),
        (
            r::OID_X509_EXT_NAME_CONSTRAINTS,
            draft.intended.constraints.is_some(),
        ),
        (
            r::OID_X509_EXT_CRL_DISTRIBUTION_POINTS,
            pointers.crl.is_some(),
        ),
        (r::OID_PKIX_AUTHORITY_INFO_ACCESS, has_access),
    ]
    .into_iter()
    .filter_map(|(oid, is_there)| is_there.then_some(oid))
    .collect();
    let extensions = draft.certificate.extensions();
    extensions.len() == expected.len()
        && expected
            .iter()
            .all(|oid| extensions.iter().any(|extension| extension.oid == *oid))
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
                GeneralName::OtherName(oid, value) if *oid == HARDWARE_MODULE => {
                    HardwareModule::from_other_name(value).map(Name::Hardware)
                }
                _ => None,
            })
            .collect(),
        Some(_) => None,
    }
}

/// id-on-hardwareModuleName (RFC 4108 section 5).
const HARDWARE_MODULE: Oid<'static> = oid!(1.3.6.1.5.5.7.8.4);

fn constraints_as_intended(draft: &Draft<'_>) -> bool {
    match (
        draft.intended.constraints,
        extension(draft, &registry::OID_X509_EXT_NAME_CONSTRAINTS),
    ) {
        (None, None) => true,
        (Some(meant), Some((true, ParsedExtension::NameConstraints(read)))) => {
            NameConstraints::read(read).as_ref() == Ok(meant)
        }
        _ => false,
    }
}

fn distribution_point_as_intended(draft: &Draft<'_>) -> bool {
    let read = extension(draft, &registry::OID_X509_EXT_CRL_DISTRIBUTION_POINTS);
    match (&draft.intended.pointers.crl, read) {
        (None, None) => true,
        (Some(meant), Some((false, ParsedExtension::CRLDistributionPoints(points)))) => {
            let [point] = &points.points[..] else {
                return false;
            };
            let Some(DistributionPointName::FullName(names)) = &point.distribution_point else {
                return false;
            };
            point.reasons.is_none()
                && point.crl_issuer.is_none()
                && matches!(&names[..], [GeneralName::URI(url)] if url == meant)
        }
        _ => false,
    }
}

fn access_as_intended(draft: &Draft<'_>) -> bool {
    let pointers = draft.intended.pointers;
    let meant: Vec<(Oid<'static>, &str)> = [
        (registry::OID_PKIX_ACCESS_DESCRIPTOR_OCSP, &pointers.ocsp),
        (
            registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS,
            &pointers.issuer,
        ),
    ]
    .into_iter()
    .filter_map(|(method, place)| Some((method, place.as_deref()?)))
    .collect();
    match extension(draft, &registry::OID_PKIX_AUTHORITY_INFO_ACCESS) {
        None => meant.is_empty(),
        Some((false, ParsedExtension::AuthorityInfoAccess(access))) => access.accessdescs.len()
            == meant.len()
            && access
                .accessdescs
                .iter()
                .zip(&meant)
                .all(|(read, (method, place))| {
                    read.access_method == *method
                        && matches!(&read.access_location, GeneralName::URI(url) if url == place)
                }),
        Some(_) => false,
    }
}

fn one_uri_where_the_profile_says_so(draft: &Draft<'_>) -> bool {
    let Role::EndEntity { names: rule, .. } = draft.intended.profile.role else {
        return true;
    };
    let Some(names) = alternative_names(draft) else {
        return false;
    };
    match rule {
        NameRule::OneUri => matches!(names[..], [Name::Uri(_)]),
        NameRule::OneUriAndHardware => {
            matches!(
                names[..],
                [Name::Uri(_)] | [Name::Uri(_), Name::Hardware(_)]
            )
        }
        NameRule::Hosts { at_most } => (1..=at_most).contains(&names.len()),
        NameRule::None => names.is_empty(),
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
        && usage.other.is_empty();
    let only = [usage.server_auth, usage.client_auth, usage.ocsp_signing]
        == [
            Purpose::ServerAuth,
            Purpose::ClientAuth,
            Purpose::OcspSigning,
        ]
        .map(|possible| possible == purpose);
    nothing_else && only
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, CidrSubnet, CrlDistributionPoint, CustomExtension,
        DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod,
        KeyUsagePurpose, SanType, SerialNumber,
    };

    use super::super::tests::edit;
    use super::*;
    use crate::key::PrivateKey;
    use crate::profile::{self, EndEntity};
    use crate::public_key::KeyKind;

    /// A certificate that breaks no rule, and what is needed to make it anew with one broken.
    struct World {
        params: CertificateParams,
        issuer: CertificateParams,
        issuer_key: PrivateKey,
        key: PrivateKey,
        serial: Serial,
        names: Vec<Name>,
        profile: &'static Profile,
        common_name: Option<String>,
        validity: Validity,
        pointers: Pointers,
        constraints: Option<NameConstraints>,
        issuer_constraints: Option<NameConstraints>,
    }

    const PUMP: &str = "urn:example:pump-1";

    fn constraints() -> NameConstraints {
        NameConstraints::new(&[Name::dns("clinic.example").unwrap()], Vec::new()).unwrap()
    }

    fn point(url: &str) -> CrlDistributionPoint {
        CrlDistributionPoint {
            uris: vec![url.to_owned()],
        }
    }

    impl World {
        fn device() -> Self {
            let (issuer_key, key) = (
                PrivateKey::generate(KeyKind::P256).unwrap(),
                PrivateKey::generate(KeyKind::P256).unwrap(),
            );
            let mut issuer = CertificateParams::default();
            issuer.distinguished_name = rcgen::DistinguishedName::new();
            issuer
                .distinguished_name
                .push(DnType::CommonName, "Test Issuing CA");
            issuer.key_identifier_method =
                KeyIdMethod::PreSpecified(issuer_key.public().key_id().0.to_vec());
            let mut params = CertificateParams::default();
            params.serial_number = Some(SerialNumber::from_slice(&[0x90; 16]));
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, PUMP);
            params.subject_alt_names = vec![SanType::URI(PUMP.try_into().unwrap())];
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.use_authority_key_identifier_extension = true;
            params.key_identifier_method =
                KeyIdMethod::PreSpecified(key.public().key_id().0.to_vec());
            let mut world = Self {
                params,
                issuer,
                issuer_key,
                key,
                serial: Serial::from_octets(&[0x90; 16]).unwrap(),
                names: vec![Name::uri(PUMP).unwrap()],
                profile: EndEntity::Device.profile(),
                common_name: Some(PUMP.to_owned()),
                validity: Validity {
                    not_before: Timestamp::UNIX_EPOCH,
                    not_after: Timestamp::UNIX_EPOCH,
                },
                pointers: Pointers::default(),
                constraints: None,
                issuer_constraints: None,
            };
            world.lives("2026-01-01T00:00:00Z", "2026-03-31T23:59:59Z");
            world
        }

        /// A device whose certificate says where its status is told, from a constrained issuer.
        fn published() -> Self {
            let mut world = Self::device();
            world.pointers = Pointers {
                crl: Some("http://a.example/crl/issuing-00.crl".to_owned()),
                ocsp: Some("http://a.example/ocsp".to_owned()),
                issuer: None,
            };
            world.params.crl_distribution_points =
                vec![point("http://a.example/crl/issuing-00.crl")];
            // One description: id-ad-ocsp, http://a.example/ocsp
            let mut access = vec![
                0x30, 35, 0x30, 33, 6, 8, 0x2b, 6, 1, 5, 5, 7, 48, 1, 0x86, 21,
            ];
            access.extend(b"http://a.example/ocsp");
            let access = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access);
            world.params.custom_extensions.push(access);
            world.issuer_constraints = Some(constraints());
            world
        }

        fn responder() -> Self {
            let mut world = Self::device();
            world.profile = EndEntity::Responder.profile();
            world.names.clear();
            world.params.subject_alt_names.clear();
            world.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
            let no_check = &[1, 3, 6, 1, 5, 5, 7, 48, 1, 5];
            let no_check = CustomExtension::from_oid_content(no_check, vec![5, 0]);
            world.params.custom_extensions.push(no_check);
            world
        }

        fn constrained() -> Self {
            let mut world = Self::issuing();
            world.constraints = Some(constraints());
            world.params.name_constraints = Some(rcgen::NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName("clinic.example".to_owned())],
                excluded_subtrees: vec![
                    GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
                    GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
                ],
            });
            world
        }

        fn issuing() -> Self {
            let mut world = Self::device();
            world.profile = profile::issuing();
            world.names.clear();
            world.params.subject_alt_names.clear();
            world.params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            world.params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            world.params.extended_key_usages.clear();
            world
        }

        fn lives(&mut self, from: &str, until: &str) {
            let (from, until): (Timestamp, Timestamp) =
                (from.parse().unwrap(), until.parse().unwrap());
            self.validity = Validity {
                not_before: from,
                not_after: until,
            };
            let at = |time: Timestamp| {
                rcgen::date_time_ymd(1970, 1, 1)
                    + Duration::from_secs(time.as_second().unsigned_abs())
            };
            self.params.not_before = at(from);
            self.params.not_after = at(until);
        }

        fn intended(&self) -> Intended<'_> {
            Intended {
                profile: self.profile,
                serial: &self.serial,
                key: self.key.public(),
                names: &self.names,
                organization: None,
                common_name: self.common_name.as_deref(),
                validity: self.validity,
                pointers: &self.pointers,
                constraints: self.constraints.as_ref(),
                issuer_constraints: self.issuer_constraints.as_ref(),
                issuer_name: Some(ISSUER_NAME),
                issuer_key: self.issuer_key.public().key_id(),
                issuer_validity: Some(Validity {
                    not_before: "2020-01-01T00:00:00Z".parse().unwrap(),
                    not_after: "2060-01-01T00:00:00Z".parse().unwrap(),
                }),
            }
        }

        fn der(&self) -> Vec<u8> {
            let issuer = Issuer::from_params(&self.issuer, &self.issuer_key);
            self.params
                .signed_by(self.key.public(), &issuer)
                .unwrap()
                .der()
                .to_vec()
        }

        fn findings(&self, der: &[u8]) -> Vec<&'static str> {
            match lint(der, &self.intended()) {
                Ok(()) => Vec::new(),
                Err(error) => error.findings.iter().map(|finding| finding.name).collect(),
            }
        }
    }

    /// `CN=Test Issuing CA` as a UTF8String.
    const ISSUER_NAME: &[u8] =
        b"\x30\x1a\x31\x18\x30\x16\x06\x03\x55\x04\x03\x0c\x0fTest Issuing CA";

    type Spoiled = (&'static str, fn() -> World, fn(&mut World));
    type Edit = (&'static [usize], fn(&mut Vec<u8>));

    /// Ways to break one rule by telling the encoder something else.
    const SPOILED: &[Spoiled] = &[
        (
            "the serial is the one that was reserved",
            World::device,
            |w| {
                w.params.serial_number = Some(SerialNumber::from_slice(&[0x91; 16]));
            },
        ),
        (
            "the issuer is the signer's subject, octet by octet",
            World::device,
            |w| {
                w.issuer
                    .distinguished_name
                    .push(DnType::CommonName, "Test Issuing Ca");
            },
        ),
        (
            "the validity is the one that was meant",
            World::device,
            |w| {
                w.params.not_after = rcgen::date_time_ymd(2026, 4, 1);
            },
        ),
        ("notBefore comes before notAfter", World::device, |w| {
            w.lives("2026-03-01T00:00:00Z", "2026-02-01T00:00:00Z");
        }),
        (
            "the validity lies within the issuer's",
            World::device,
            |w| {
                w.lives("2059-12-01T00:00:00Z", "2060-01-01T00:00:01Z");
            },
        ),
        (
            "an end entity is valid for at most two years",
            World::device,
            |w| {
                w.lives("2026-01-01T00:00:00Z", "2028-01-01T00:00:00Z");
            },
        ),
        (
            "the subject says what was meant, and nothing more",
            World::device,
            |w| {
                w.params
                    .distinguished_name
                    .push(DnType::OrganizationName, "Clinic");
            },
        ),
        ("an authority has a subject", World::issuing, |w| {
            w.params.distinguished_name = rcgen::DistinguishedName::new();
            w.common_name = None;
        }),
        (
            "a common name has 1 to 64 characters",
            World::issuing,
            |w| {
                let long = "x".repeat(65);
                w.params
                    .distinguished_name
                    .push(DnType::CommonName, long.as_str());
                w.common_name = Some(long);
            },
        ),
        (
            "a common name repeats the first alternative name",
            World::device,
            |w| {
                w.params
                    .distinguished_name
                    .push(DnType::CommonName, "Pump 1");
                w.common_name = Some("Pump 1".to_owned());
            },
        ),
        (
            "the extensions are those of the profile, each once",
            World::device,
            |w| {
                let again = CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![3, 2, 7, 0x80]);
                w.params.custom_extensions.push(again);
            },
        ),
        (
            "the authority key identifier is the signer's, not critical",
            World::device,
            |w| {
                w.issuer.key_identifier_method = KeyIdMethod::PreSpecified(vec![1; 20]);
            },
        ),
        (
            "the subject key identifier is the key's, not critical",
            World::device,
            |w| {
                w.params.key_identifier_method = KeyIdMethod::Sha256;
            },
        ),
        (
            "the key usage is the profile's, critical",
            World::device,
            |w| {
                w.params.key_usages.push(KeyUsagePurpose::KeyAgreement);
            },
        ),
        (
            "the alternative names are those that were granted, in order",
            World::device,
            |w| {
                w.params.subject_alt_names =
                    vec![SanType::URI("urn:example:pump-2".try_into().unwrap())];
            },
        ),
        ("a client has exactly one name, a URI", World::device, |w| {
            w.params
                .subject_alt_names
                .push(SanType::DnsName("pump-1.example".try_into().unwrap()));
            w.names.push(Name::dns("pump-1.example").unwrap());
        }),
        (
            "basic constraints are critical and say CA if, and only if, it is one",
            World::device,
            |w| {
                w.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            },
        ),
        (
            "basic constraints are critical and say CA if, and only if, it is one",
            World::device,
            |w| {
                w.params.is_ca = IsCa::NoCa;
            },
        ),
        ("the path length is the profile's", World::issuing, |w| {
            w.params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        }),
        (
            "the extended key usage is the profile's one purpose",
            World::device,
            |w| {
                w.params
                    .extended_key_usages
                    .push(ExtendedKeyUsagePurpose::ServerAuth);
            },
        ),
        (
            "the name constraints are those that were meant, critical",
            World::constrained,
            |w| {
                let constraints = w.params.name_constraints.as_mut().unwrap();
                constraints.excluded_subtrees.pop();
            },
        ),
        (
            "the name constraints are those that were meant, critical",
            World::constrained,
            |w| w.params.name_constraints = None,
        ),
        (
            "the names are permitted by the issuer's constraints",
            World::published,
            |w| {
                w.profile = EndEntity::Server.profile();
                w.params.subject_alt_names =
                    vec![SanType::DnsName("evil.example".try_into().unwrap())];
            },
        ),
        (
            "the CRL distribution point is its shard's, not critical",
            World::published,
            |w| {
                w.params.crl_distribution_points =
                    vec![point("http://a.example/crl/issuing-01.crl")];
            },
        ),
        (
            "the authority's access points are those that were meant, not critical",
            World::published,
            |w| w.pointers.ocsp = Some("http://a.example/other".to_owned()),
        ),
        (
            "a responder is not asked about, not critical, with NULL as its value",
            World::responder,
            |w| w.params.custom_extensions[0].set_criticality(true),
        ),
        (
            "the extended key usage is the profile's one purpose",
            World::issuing,
            |w| {
                w.params
                    .extended_key_usages
                    .push(ExtendedKeyUsagePurpose::ClientAuth);
            },
        ),
    ];

    /// Ways to break one rule that the encoder has no words for. Children of the certificate: 0 is
    /// the signed part, with version, serial, signature, issuer, validity, subject, key, extensions.
    const EDITED: &[(&str, Edit)] = &[
        ("the version is 3", (&[0, 0, 0], |version| version[2] = 1)),
        (
            "the serial is positive and has at most 20 octets",
            (&[0, 1], |serial| {
                // A zero octet stands before the high bit; without it the number is negative.
                serial.remove(2);
                serial[1] -= 1;
            }),
        ),
        (
            "both signature algorithms are the same",
            (&[0, 2, 0], |oid| *oid.last_mut().unwrap() = 3),
        ),
        (
            "dates to 2049 are UTCTime, later ones GeneralizedTime",
            (&[0, 4, 0], |utc| {
                let mut general = vec![0x18, 15];
                general.extend(b"20");
                general.extend(&utc[2..]);
                *utc = general;
            }),
        ),
        (
            "the key is the one that was proven or made",
            (&[0, 6, 1], |key| *key.last_mut().unwrap() ^= 1),
        ),
        (
            "there are no unique identifiers",
            (&[0, 6], |key| key.extend([0x81, 2, 0, 1])),
        ),
        (
            "the alternative name is critical if, and only if, the subject is empty",
            (&[0, 7, 0, 1, 0], |oid| {
                oid.extend([1, 1, 0xff]);
            }),
        ),
    ];

    #[test]
    fn what_breaks_no_rule_passes() {
        for world in [
            World::device(),
            World::issuing(),
            World::published(),
            World::responder(),
            World::constrained(),
        ] {
            assert_eq!(world.findings(&world.der()), [""; 0]);
        }
    }

    #[test]
    fn every_rule_can_be_broken_and_is_found() {
        let mut found = BTreeSet::new();
        for (name, world, spoil) in SPOILED {
            let mut world = world();
            spoil(&mut world);
            let findings = world.findings(&world.der());
            assert!(findings.contains(name), "{name}: {findings:?}");
            found.insert(*name);
        }
        for (name, (path, change)) in EDITED {
            let world = World::device();
            let findings = world.findings(&edit(&world.der(), path, change));
            assert!(findings.contains(name), "{name}: {findings:?}");
            found.insert(*name);
        }
        let all: BTreeSet<&str> = LINTS.iter().map(|lint| lint.name).collect();
        assert_eq!(all.difference(&found).collect::<Vec<_>>(), [&""; 0]);
    }

    #[test]
    fn what_does_not_parse_whole_is_a_finding() {
        let world = World::device();
        let mut longer = world.der();
        longer.push(0);
        for der in [&longer[..], &longer[..100], b""] {
            assert_eq!(world.findings(der).len(), 1);
        }
    }

    #[test]
    fn every_rule_cites_where_it_stands() {
        for lint in &LINTS {
            assert!(!lint.section.is_empty() && !lint.name.is_empty());
        }
    }
}
