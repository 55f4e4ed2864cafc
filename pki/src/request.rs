//! Certificate signing requests (PKCS #10, RFC 2986): out of one come the public key, the proof
//! that the requester holds its secret half, and the names it asked for. Nothing else.
//!
//! Key usage, lifetime, subject and every other wish in a request are ignored, because the profile
//! decides; what a request marks as critical and the profile cannot honor is refused instead.
//! Reading the file is the caller's business; here there are only bytes.

use std::fmt;
use std::net::IpAddr;

use x509_parser::asn1_rs::{Any, oid};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::{ParsedCriAttribute, X509CriAttribute};
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::Oid;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use crate::hardware::HardwareModule;
use crate::name::Name;
use crate::profile::{EndEntity, NameRule, Names, Purpose};
use crate::public_key::{PublicKey, PublicKeyError, SignatureError, shown_oid};

/// Longest request that is read, in octets. A request with an RSA key of 4096 bits and fifty names
/// has about 4 KiB.
pub const MAX_REQUEST_OCTETS: usize = 64 * 1024;

/// A request whose signature proves possession of the secret key.
#[derive(Debug)]
pub struct Request {
    key: PublicKey,
    names: Vec<AskedName>,
    common_names: Vec<String>,
    critical_purposes: Option<Vec<Option<Purpose>>>,
}

/// A name that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum AskedName {
    /// One of the kinds that certificates carry.
    Known(Name),
    /// Another kind, or not well formed; the text is escaped and short.
    Other(String),
}

impl Request {
    /// Reads a request in PEM or DER and verifies its signature (RFC 2986 section 3).
    ///
    /// Fails closed: whatever cannot be read, a second request beside the first and bytes after it
    /// included, is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > MAX_REQUEST_OCTETS {
            return Err(RequestError::TooLarge);
        }
        let der = der_of(bytes)?;
        let (rest, request) = X509CertificationRequest::from_der(&der)
            .map_err(|_| RequestError::Malformed { what: "structure" })?;
        if !rest.is_empty() {
            return Err(RequestError::Malformed {
                what: "bytes after it",
            });
        }
        let info = &request.certification_request_info;
        if info.version != X509Version(0) {
            return Err(RequestError::Malformed { what: "version" });
        }
        let key = PublicKey::from_spki(info.subject_pki.raw).map_err(RequestError::Key)?;
        key.verify(
            &request.signature_algorithm.algorithm,
            info.raw,
            &request.signature_value.data,
        )
        .map_err(RequestError::Possession)?;
        let mut asked = Self {
            key,
            names: Vec::new(),
            common_names: Vec::new(),
            critical_purposes: None,
        };
        for common_name in info.subject.iter_common_name() {
            // A common name in an encoding that is no text names nothing that a certificate of
            // ours could carry.
            asked
                .common_names
                .extend(common_name.as_str().ok().map(str::to_owned));
        }
        for extension in requested_extensions(info.attributes())? {
            asked.judge(extension)?;
        }
        Ok(asked)
    }

    /// Gives out the key if what the request asks for agrees with what is granted.
    ///
    /// Every alternative name in the request must be granted; asking for fewer is fine. A common
    /// name must be granted too if it reads as a name of the profile's kind; `CN=Pump 1` is a
    /// label, and ignored.
    pub fn agree(self, profile: EndEntity, granted: &Names) -> Result<PublicKey, RequestError> {
        for asked in self.names {
            match asked {
                AskedName::Known(name) if granted.all().contains(&name) => {}
                AskedName::Known(name) => {
                    return Err(RequestError::ForeignName {
                        name: name.to_string(),
                    });
                }
                AskedName::Other(name) => return Err(RequestError::ForeignName { name }),
            }
        }
        for common_name in &self.common_names {
            if let Some(name) = common_name_as(common_name, profile)
                && !granted.all().contains(&name)
            {
                return Err(RequestError::ForeignName {
                    name: name.to_string(),
                });
            }
        }
        if let Some(purposes) = self.critical_purposes
            && purposes
                .iter()
                .any(|asked| *asked != Some(profile.purpose()))
        {
            return Err(RequestError::Purpose);
        }
        Ok(self.key)
    }

    /// Gives out the key if the request asks for nothing beside: for an authority, whose names are not its
    /// request's to say. A common name is a label, and ignored.
    pub fn bare(self) -> Result<PublicKey, RequestError> {
        match self.names.into_iter().next() {
            Some(AskedName::Known(name)) => Err(RequestError::ForeignName {
                name: name.to_string(),
            }),
            Some(AskedName::Other(name)) => Err(RequestError::ForeignName { name }),
            None if self.critical_purposes.is_some() => Err(RequestError::Purpose),
            None => Ok(self.key),
        }
    }

    /// The names that it asks for, as far as a profile knows them: its alternative names or, without
    /// any, its common name. What may be granted is for the caller to say; [`Request::agree`] then holds
    /// the request to it, names that are left out here included.
    pub fn names(&self, profile: EndEntity) -> Vec<Name> {
        let known: Vec<Name> = self
            .names
            .iter()
            .filter_map(|asked| match asked {
                AskedName::Known(name) => Some(name.clone()),
                AskedName::Other(_) => None,
            })
            .collect();
        if !known.is_empty() {
            return known;
        }
        let readings = self.common_names.iter();
        readings
            .filter_map(|text| common_name_as(text, profile))
            .collect()
    }

    /// The key that it proves possession of.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    fn judge(&mut self, extension: &X509Extension<'_>) -> Result<(), RequestError> {
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
                Err(RequestError::Authority)
            }
            ParsedExtension::BasicConstraints(_) => Ok(()),
            ParsedExtension::KeyUsage(usage) if usage.key_cert_sign() || usage.crl_sign() => {
                Err(RequestError::Authority)
            }
            ParsedExtension::KeyUsage(_) => Ok(()),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                if extension.critical {
                    self.critical_purposes = Some(purposes(usage));
                }
                Ok(())
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                self.names
                    .extend(names.general_names.iter().map(asked_name));
                Ok(())
            }
            ParsedExtension::ParseError { .. } => Err(RequestError::Malformed {
                what: "a requested extension",
            }),
            _ if extension.critical => Err(RequestError::CriticalExtension {
                oid: shown_oid(&extension.oid),
            }),
            _ => Ok(()),
        }
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// Longer than [`MAX_REQUEST_OCTETS`].
    TooLarge,
    /// Neither PEM nor DER.
    NoRequest,
    /// PEM of something else.
    Label {
        /// What it says it is, escaped and short.
        label: String,
    },
    /// More than one PEM block.
    SeveralBlocks,
    /// It cannot be read.
    Malformed {
        /// Which part.
        what: &'static str,
    },
    /// The same extension twice (RFC 5280 section 4.2).
    RepeatedExtension {
        /// Its object identifier.
        oid: String,
    },
    /// The public key is of a kind or strength that is not certified.
    Key(PublicKeyError),
    /// The signature does not prove possession of the key (RFC 2986 section 3).
    Possession(SignatureError),
    /// It asks for an authority: CA:TRUE, keyCertSign or cRLSign.
    Authority,
    /// It asks for a critical extension that no profile knows.
    CriticalExtension {
        /// Its object identifier.
        oid: String,
    },
    /// It insists (critical) on a purpose that the profile does not grant.
    Purpose,
    /// It asks for a name that was not granted.
    ForeignName {
        /// The name, escaped and short.
        name: String,
    },
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "the request is larger than {MAX_REQUEST_OCTETS} octets"),
            Self::NoRequest => write!(f, "the file holds no certificate signing request"),
            Self::Label { label } => {
                write!(
                    f,
                    "the file holds no certificate signing request but a {label}"
                )
            }
            Self::SeveralBlocks => write!(f, "the file holds more than one PEM block"),
            Self::Malformed { what } => write!(f, "the request is malformed ({what})"),
            Self::RepeatedExtension { oid } => {
                write!(f, "the request names extension {oid} twice")
            }
            Self::Key(error) => write!(f, "{error}"),
            Self::Possession(error) => write!(
                f,
                "the request does not prove possession of its key: {error}"
            ),
            Self::Authority => write!(f, "the request asks for a certificate authority"),
            Self::CriticalExtension { oid } => {
                write!(
                    f,
                    "the request insists on extension {oid}, which is not known"
                )
            }
            Self::Purpose => write!(
                f,
                "the request insists on an extended key usage that the profile does not grant"
            ),
            Self::ForeignName { name } => {
                write!(
                    f,
                    "the request asks for the name {name}, which was not granted"
                )
            }
        }
    }
}

impl std::error::Error for RequestError {}

/// The labels of RFC 7468 section 7: the one to write and the one that older tools write.
const LABELS: [&str; 2] = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];

fn der_of(bytes: &[u8]) -> Result<Vec<u8>, RequestError> {
    const DER_SEQUENCE: u8 = 0x30;
    if bytes.first() == Some(&DER_SEQUENCE) {
        return Ok(bytes.to_vec());
    }
    let mut found = None;
    for block in Pem::iter_from_buffer(bytes) {
        let block = block.map_err(|_| RequestError::Malformed { what: "PEM" })?;
        if !LABELS.contains(&block.label.as_str()) {
            return Err(RequestError::Label {
                label: shown(&block.label),
            });
        }
        if found.replace(block.contents).is_some() {
            return Err(RequestError::SeveralBlocks);
        }
    }
    found.ok_or(RequestError::NoRequest)
}

const EXTENSION_REQUEST: Oid<'static> = oid!(1.2.840.113549.1.9.14);

/// The extensions of the one extensionRequest attribute (RFC 2985 section 5.4.2: single-valued).
fn requested_extensions<'a>(
    attributes: &'a [X509CriAttribute<'a>],
) -> Result<&'a [X509Extension<'a>], RequestError> {
    let malformed = || RequestError::Malformed {
        what: "the extension request",
    };
    let mut requests = attributes
        .iter()
        .filter(|attribute| attribute.oid == EXTENSION_REQUEST);
    let Some(request) = requests.next() else {
        return Ok(&[]);
    };
    // The parser looks at the first attribute and at its first value only. A second one could ask
    // for something that nobody judged. Today it also cuts `value` off behind the first, so that
    // the set does not read whole; neither way must two pass.
    let (after_set, set) = Any::from_der(request.value).map_err(|_| malformed())?;
    let (after_value, _) = Any::from_der(set.data).map_err(|_| malformed())?;
    if requests.next().is_some() || !after_set.is_empty() || !after_value.is_empty() {
        return Err(malformed());
    }
    let ParsedCriAttribute::ExtensionRequest(parsed) = request.parsed_attribute() else {
        return Err(malformed());
    };
    for (position, extension) in parsed.extensions.iter().enumerate() {
        let earlier = &parsed.extensions[..position];
        if earlier.iter().any(|other| other.oid == extension.oid) {
            return Err(RequestError::RepeatedExtension {
                oid: shown_oid(&extension.oid),
            });
        }
    }
    Ok(&parsed.extensions)
}

fn purposes(usage: &ExtendedKeyUsage<'_>) -> Vec<Option<Purpose>> {
    let mut purposes = Vec::new();
    if usage.server_auth {
        purposes.push(Some(Purpose::ServerAuth));
    }
    if usage.client_auth {
        purposes.push(Some(Purpose::ClientAuth));
    }
    let another = usage.any
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    if another {
        purposes.push(None);
    }
    purposes
}

/// A common name, if it reads as a name of the profile's kind.
fn common_name_as(text: &str, profile: EndEntity) -> Option<Name> {
    match profile.name_rule() {
        NameRule::OneUri | NameRule::OneUriAndHardware | NameRule::None => Name::uri(text).ok(),
        NameRule::Hosts { .. } => Name::ip(text).or_else(|_| Name::dns(text)).ok(),
    }
}

/// id-on-hardwareModuleName (RFC 4108 section 5).
const HARDWARE_MODULE: Oid<'static> = oid!(1.3.6.1.5.5.7.8.4);

fn asked_name(name: &GeneralName<'_>) -> AskedName {
    let known = match name {
        GeneralName::URI(text) => Name::uri(text).ok(),
        GeneralName::DNSName(text) => Name::dns(text).ok(),
        GeneralName::IPAddress(octets) => address(octets).map(Name::Ip),
        GeneralName::OtherName(oid, value) if *oid == HARDWARE_MODULE => {
            HardwareModule::from_other_name(value).map(Name::Hardware)
        }
        _ => None,
    };
    known.map_or_else(
        || AskedName::Other(shown(&name.to_string())),
        AskedName::Known,
    )
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

/// Text from outside, fit for a terminal and an error message.
fn shown(text: &str) -> String {
    const MAX: usize = 80;
    let short: String = text.chars().take(MAX).collect();
    short.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose,
        IsCa, KeyPair, KeyUsagePurpose, SanType, SigningKey,
    };

    const PUMP: &str = "urn:example:pump-1";

    fn request(shape: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        signed_by(&KeyPair::generate().unwrap(), shape)
    }

    fn signed_by(key: &impl SigningKey, shape: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        shape(&mut params);
        params.serialize_request(key).unwrap().der().to_vec()
    }

    fn pump() -> Names {
        EndEntity::Device
            .admit(vec![Name::uri(PUMP).unwrap()])
            .unwrap()
    }

    fn agreed(der: &[u8]) -> Result<PublicKey, RequestError> {
        Request::parse(der)?.agree(EndEntity::Device, &pump())
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn foreign(name: &str) -> RequestError {
        RequestError::ForeignName {
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_request_gives_the_key_it_was_signed_with() {
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ED25519,
            &rcgen::PKCS_RSA_SHA256,
        ] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let der = signed_by(&key, |params| params.subject_alt_names.push(uri(PUMP)));
            assert_eq!(
                agreed(&der).unwrap().spki(),
                rcgen::PublicKeyData::subject_public_key_info(&key)
            );
        }
    }

    #[test]
    fn pem_and_der_are_the_same_request() {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::default();
        let request = params.serialize_request(&key).unwrap();
        let pem = request.pem().unwrap();
        let old_label = pem.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST");
        for text in [&pem, &old_label, &format!("Subject: something\n{pem}")] {
            assert!(agreed(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_single_request_is_refused() {
        let key = KeyPair::generate().unwrap();
        let pem = CertificateParams::default()
            .serialize_request(&key)
            .unwrap()
            .pem()
            .unwrap();
        let refused = |bytes: &[u8]| Request::parse(bytes).unwrap_err();
        assert_eq!(refused(b""), RequestError::NoRequest);
        assert_eq!(refused(b"garbage\n"), RequestError::NoRequest);
        assert_eq!(
            refused(key.serialize_pem().as_bytes()),
            RequestError::Label {
                label: "PRIVATE KEY".to_owned()
            }
        );
        assert_eq!(
            refused(format!("{pem}{pem}").as_bytes()),
            RequestError::SeveralBlocks
        );
        assert_eq!(
            refused(&vec![b'a'; MAX_REQUEST_OCTETS + 1]),
            RequestError::TooLarge
        );
        let mut longer = request(|_| {});
        longer.push(0);
        assert_eq!(
            refused(&longer),
            RequestError::Malformed {
                what: "bytes after it"
            }
        );
    }

    #[test]
    fn a_wrong_signature_proves_nothing() {
        let mut der = request(|_| {});
        let last = der.len() - 1;
        der[last] ^= 1;
        assert_eq!(
            Request::parse(&der).unwrap_err(),
            RequestError::Possession(SignatureError::Wrong)
        );
    }

    #[test]
    fn a_request_for_an_authority_is_refused() {
        let ca = request(|params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        });
        assert_eq!(Request::parse(&ca).unwrap_err(), RequestError::Authority);
        for usage in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
            let signs = request(|params| params.key_usages.push(usage));
            assert_eq!(Request::parse(&signs).unwrap_err(), RequestError::Authority);
        }
    }

    #[test]
    fn an_unknown_extension_is_refused_only_if_it_is_critical() {
        let with = |critical| {
            request(|params| {
                let mut extension =
                    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
                extension.set_criticality(critical);
                params.custom_extensions.push(extension);
            })
        };
        assert!(agreed(&with(false)).is_ok());
        assert_eq!(
            agreed(&with(true)).unwrap_err(),
            RequestError::CriticalExtension {
                oid: "1.3.6.1.4.1.99999.1".to_owned()
            }
        );
    }

    #[test]
    fn an_extension_that_is_named_twice_is_refused() {
        let der = request(|params| {
            for _ in 0..2 {
                params
                    .custom_extensions
                    .push(CustomExtension::from_oid_content(&[1, 3, 6, 1], vec![5, 0]));
            }
        });
        assert!(matches!(
            Request::parse(&der).unwrap_err(),
            RequestError::RepeatedExtension { .. }
        ));
    }

    #[test]
    fn a_second_extension_request_is_refused() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(uri(PUMP));
        let hidden = rcgen::Attribute {
            oid: &[1, 2, 840, 113_549, 1, 9, 14],
            // SET { SEQUENCE { } }
            values: vec![0x31, 2, 0x30, 0],
        };
        let der = params
            .serialize_request_with_attributes(&key, vec![hidden])
            .unwrap()
            .der()
            .to_vec();
        assert!(matches!(
            Request::parse(&der).unwrap_err(),
            RequestError::Malformed { .. }
        ));
    }

    #[test]
    fn a_second_value_in_the_extension_request_is_refused() {
        let key = KeyPair::generate().unwrap();
        let twice = rcgen::Attribute {
            oid: &[1, 2, 840, 113_549, 1, 9, 14],
            values: vec![0x31, 4, 0x30, 0, 0x30, 0],
        };
        let der = CertificateParams::default()
            .serialize_request_with_attributes(&key, vec![twice])
            .unwrap()
            .der()
            .to_vec();
        assert!(matches!(
            Request::parse(&der).unwrap_err(),
            RequestError::Malformed { .. }
        ));
    }

    #[test]
    fn names_that_cannot_be_read_are_refused_and_not_passed_over() {
        let der = request(|params| {
            let broken = CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![4, 1, 0]);
            params.custom_extensions.push(broken);
        });
        assert_eq!(
            agreed(&der).unwrap_err(),
            RequestError::Malformed {
                what: "a requested extension"
            }
        );
    }

    #[test]
    fn names_that_were_not_granted_are_refused() {
        for (name, shown) in [
            (uri("urn:example:pump-2"), "urn:example:pump-2"),
            (
                SanType::DnsName("pump-1.example".try_into().unwrap()),
                "pump-1.example",
            ),
        ] {
            let der = request(|params| {
                params.subject_alt_names = vec![uri(PUMP), name];
            });
            assert_eq!(agreed(&der).unwrap_err(), foreign(shown));
        }
        let mail = request(|params| {
            params
                .subject_alt_names
                .push(SanType::Rfc822Name("a@example".try_into().unwrap()));
        });
        assert!(matches!(
            agreed(&mail).unwrap_err(),
            RequestError::ForeignName { .. }
        ));
    }

    #[test]
    fn a_common_name_counts_when_it_reads_as_a_name() {
        let named = |common_name: &str| {
            request(|params| {
                params
                    .distinguished_name
                    .push(DnType::CommonName, common_name);
            })
        };
        assert!(agreed(&named("Pump 1, ward 3")).is_ok());
        assert!(agreed(&named(PUMP)).is_ok());
        assert_eq!(
            agreed(&named("urn:example:pump-2")).unwrap_err(),
            foreign("urn:example:pump-2")
        );
        let host = EndEntity::Server
            .admit(vec![Name::dns("api.clinic.example").unwrap()])
            .unwrap();
        let other = Request::parse(&named("other.clinic.example")).unwrap();
        assert_eq!(
            other.agree(EndEntity::Server, &host).unwrap_err(),
            foreign("other.clinic.example")
        );
    }

    #[test]
    fn a_purpose_is_ignored_unless_the_request_insists_on_it() {
        let wish = request(|params| {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        });
        assert!(agreed(&wish).is_ok());
        let insists = |purpose: u8| {
            request(|params| {
                let usage = vec![0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, purpose];
                let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 37], usage);
                extension.set_criticality(true);
                params.custom_extensions.push(extension);
            })
        };
        assert!(agreed(&insists(2)).is_ok());
        assert_eq!(agreed(&insists(1)).unwrap_err(), RequestError::Purpose);
        assert_eq!(agreed(&insists(9)).unwrap_err(), RequestError::Purpose);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::parse(&bytes);
        }

        #[test]
        fn a_request_with_one_changed_octet_never_yields_another_key(
            at in 0_usize..1000, change in 1_u8..=255
        ) {
            let key = KeyPair::generate().unwrap();
            let mut der = signed_by(&key, |params| params.subject_alt_names.push(uri(PUMP)));
            let at = at % der.len();
            der[at] ^= change;
            if let Ok(read) = Request::parse(&der) {
                prop_assert_eq!(
                    read.key.spki(),
                    rcgen::PublicKeyData::subject_public_key_info(&key)
                );
            }
        }
    }
}
