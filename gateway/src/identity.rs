//! Who a certificate names: a verified chain becomes a [`ClientIdentity`], with exactly one name.
//!
//! Whether the chain leads to a trusted root is not asked here (that is `tls`), and whether the name
//! may do anything neither (that is `authorize`). Standards: RFC 5280 4.2.1.6 for the names, 4.1.2.5
//! for the dates. No clock: the dates are handed on.
//!
//! Fails closed: none, two, or a name that could be read in two ways is no identity.

use std::fmt;
use std::sync::OnceLock;

use config::{ClientName, NameKind, TrustName};
use integrity::VerifyingKey;
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::digest::sha256;
use crate::headers::{client_cert, client_cert_chain};

/// A client as its certificate proved it.
#[derive(Debug)]
pub struct ClientIdentity {
    trust: TrustName,
    name: ClientName,
    qualified: Box<str>,
    leaf: CertificateFacts,
    /// The leaf, then each certificate above it up to, and without, the root.
    path: Vec<Link>,
    header: http::HeaderValue,
    chain_header: Option<http::HeaderValue>,
    /// The SubjectPublicKeyInfo of the leaf, and the key once somebody asked for it.
    spki: Box<[u8]>,
    key: OnceLock<Option<VerifyingKey>>,
}

impl ClientIdentity {
    /// Reads the one name of this kind in the leaf of a verified path. `issuers` are the keys that
    /// signed each certificate of the path, in its order.
    pub fn read(
        trust: &TrustName,
        kind: NameKind,
        path: &[CertificateDer<'_>],
        issuers: &[IssuerKey],
    ) -> Result<ClientIdentity, IdentityRefusal> {
        let (leaf, above) = path.split_first().ok_or(IdentityRefusal::Malformed)?;
        let (name, spki) = {
            let parsed = parse(leaf)?;
            (one_name(&parsed, kind)?, parsed.public_key().raw.into())
        };
        let links: Result<Vec<Link>, IdentityRefusal> = path
            .iter()
            .zip(issuers)
            .map(|(certificate, issuer)| Link::read(certificate, *issuer))
            .collect();
        let path = links?;
        Ok(ClientIdentity {
            trust: trust.clone(),
            qualified: format!("{trust}:{name}").into(),
            name,
            leaf: CertificateFacts::read(leaf),
            path,
            header: client_cert(leaf),
            chain_header: client_cert_chain(above),
            spki,
            key: OnceLock::new(),
        })
    }

    /// The trust set that vouches for the name.
    pub fn trust(&self) -> &TrustName {
        &self.trust
    }

    /// The name, which means something within its trust set only.
    pub fn name(&self) -> &ClientName {
        &self.name
    }

    /// `trust:name`, as it stands in records.
    pub fn qualified(&self) -> &str {
        &self.qualified
    }

    /// The leaf.
    pub fn leaf(&self) -> &CertificateFacts {
        &self.leaf
    }

    /// What has to be looked up to know whether the chain still counts.
    pub fn path(&self) -> &[Link] {
        &self.path
    }

    /// The value of `Client-Cert` (RFC 9440 2.2).
    pub fn header(&self) -> &http::HeaderValue {
        &self.header
    }

    /// The key that its certificate is for, if it is one that signs messages.
    pub fn key(&self) -> Option<&VerifyingKey> {
        let read = || VerifyingKey::from_spki(&self.spki).ok();
        self.key.get_or_init(read).as_ref()
    }

    /// The value of `Client-Cert-Chain` (RFC 9440 2.3), when there is anything between leaf and root.
    pub fn chain_header(&self) -> Option<&http::HeaderValue> {
        self.chain_header.as_ref()
    }
}

/// SHA-256 of the SubjectPublicKeyInfo of whoever signed: what revocation is filed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssuerKey(pub [u8; 32]);

impl IssuerKey {
    /// Of this SubjectPublicKeyInfo (DER).
    pub fn of(spki: &[u8]) -> IssuerKey {
        IssuerKey(sha256(spki))
    }
}

/// A serial number without leading zeros, so that two spellings of one number are one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Serial(Box<[u8]>);

impl Serial {
    /// From the content octets of the INTEGER (RFC 5280 4.1.2.2).
    pub fn new(octets: &[u8]) -> Serial {
        let zeros = octets.iter().take_while(|&&octet| octet == 0).count();
        Serial(octets[zeros..].into())
    }

    /// Its octets, without leading zeros; none for zero.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("00");
        }
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// A certificate in a verified path, as far as its standing can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Who signed it.
    pub issuer: IssuerKey,
    /// Its serial number.
    pub serial: Serial,
    /// Where its revocation list is published (RFC 5280 4.2.1.13): tells the shards of a list apart.
    pub distribution_points: Vec<Box<str>>,
    /// Seconds since 1970 before which it does not count.
    pub not_before: i64,
    /// Seconds since 1970 after which it does not count.
    pub not_after: i64,
}

impl Link {
    fn read(der: &CertificateDer<'_>, issuer: IssuerKey) -> Result<Link, IdentityRefusal> {
        let certificate = parse(der)?;
        let validity = certificate.validity();
        Ok(Link {
            issuer,
            serial: Serial::new(certificate.raw_serial()),
            distribution_points: distribution_points(&certificate),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }
}

/// What a record says of a certificate, good or bad: whatever could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// SHA-256 of the DER.
    pub fingerprint: [u8; 32],
    /// Serial number, lower-case hex.
    pub serial: Option<Box<str>>,
    /// The issuer's name, cut at 256 bytes.
    pub issuer: Option<Box<str>>,
    /// End of validity, seconds since 1970.
    pub not_after: Option<i64>,
}

impl CertificateFacts {
    /// Reads what can be read.
    pub fn read(der: &CertificateDer<'_>) -> CertificateFacts {
        let fingerprint = sha256(der);
        match parse(der) {
            Ok(certificate) => CertificateFacts {
                fingerprint,
                serial: Some(
                    Serial::new(certificate.raw_serial())
                        .to_string()
                        .chars()
                        .take(64)
                        .collect::<String>()
                        .into(),
                ),
                issuer: Some(cut(&certificate.issuer().to_string(), 256).into()),
                not_after: Some(certificate.validity().not_after.timestamp()),
            },
            Err(_) => CertificateFacts {
                fingerprint,
                serial: None,
                issuer: None,
                not_after: None,
            },
        }
    }
}

/// Why a certificate is no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityRefusal {
    /// It holds no name of the kind.
    Missing,
    /// It holds several.
    Ambiguous {
        /// How many.
        names: usize,
    },
    /// Its name, or the extension that holds it, is not well-formed.
    Malformed,
}

/// No name is longer than this, bytes: it stands in every record of its client.
const MAX_NAME: usize = 255;

fn one_name(
    certificate: &X509Certificate<'_>,
    kind: NameKind,
) -> Result<ClientName, IdentityRefusal> {
    // An error here is an extension that is there twice, or cannot be read.
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| IdentityRefusal::Malformed)?;
    let names = names.map_or(&[][..], |extension| &extension.value.general_names);
    if names
        .iter()
        .any(|name| matches!(name, GeneralName::Invalid(..)))
    {
        return Err(IdentityRefusal::Malformed);
    }
    let mut of_kind = names.iter().filter_map(|name| match (kind, name) {
        (NameKind::SanUri, GeneralName::URI(name))
        | (NameKind::SanDns, GeneralName::DNSName(name))
        | (NameKind::SanEmail, GeneralName::RFC822Name(name)) => Some(*name),
        _ => None,
    });
    let name = of_kind.next().ok_or(IdentityRefusal::Missing)?;
    let others = of_kind.count();
    if others > 0 {
        return Err(IdentityRefusal::Ambiguous { names: others + 1 });
    }
    let sound = match kind {
        NameKind::SanUri => name.contains(':'),
        NameKind::SanDns => true,
        NameKind::SanEmail => {
            name.split('@').filter(|part| !part.is_empty()).count() == 2
                && name.matches('@').count() == 1
        }
    };
    // A star in a name would read as a pattern to people who see it in a record.
    if !sound || name.contains('*') || name.len() > MAX_NAME {
        return Err(IdentityRefusal::Malformed);
    }
    let name = if kind == NameKind::SanDns {
        name.to_ascii_lowercase()
    } else {
        name.to_owned()
    };
    ClientName::parse(&name).map_err(|_| IdentityRefusal::Malformed)
}

fn distribution_points(certificate: &X509Certificate<'_>) -> Vec<Box<str>> {
    let mut found = Vec::new();
    for extension in certificate.extensions() {
        let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() else {
            continue;
        };
        for point in &points.points {
            let Some(DistributionPointName::FullName(names)) = &point.distribution_point else {
                continue;
            };
            for name in names {
                if let GeneralName::URI(uri) = name {
                    found.push((*uri).into());
                }
            }
        }
    }
    found
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, IdentityRefusal> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(IdentityRefusal::Malformed),
    }
}

fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn leaf(names: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.serial_number = Some(vec![0xff, 1].into());
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .clone()
    }

    fn uri(name: &str) -> SanType {
        SanType::URI(name.try_into().unwrap())
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    fn email(name: &str) -> SanType {
        SanType::Rfc822Name(name.try_into().unwrap())
    }

    fn read(kind: NameKind, names: Vec<SanType>) -> Result<String, IdentityRefusal> {
        let trust = TrustName::parse("devices").unwrap();
        ClientIdentity::read(&trust, kind, &[leaf(names)], &[IssuerKey([0; 32])])
            .map(|identity| identity.qualified().to_owned())
    }

    #[test]
    fn the_one_name_of_the_kind_is_the_identity() {
        assert_eq!(
            read(NameKind::SanUri, vec![uri("urn:example:pump-1")]).as_deref(),
            Ok("devices:urn:example:pump-1")
        );
        assert_eq!(
            read(NameKind::SanUri, vec![dns("a.example"), uri("urn:x:1")]).as_deref(),
            Ok("devices:urn:x:1")
        );
        assert_eq!(
            read(
                NameKind::SanDns,
                vec![dns("Pump-1.Example"), uri("urn:x:1")]
            )
            .as_deref(),
            Ok("devices:pump-1.example")
        );
        assert_eq!(
            read(NameKind::SanEmail, vec![email("nurse@clinic.example")]).as_deref(),
            Ok("devices:nurse@clinic.example")
        );
    }

    #[test]
    fn none_and_several_are_no_identity() {
        assert_eq!(
            read(NameKind::SanUri, vec![]),
            Err(IdentityRefusal::Missing)
        );
        assert_eq!(
            read(NameKind::SanUri, vec![dns("a.example")]),
            Err(IdentityRefusal::Missing)
        );
        assert_eq!(
            read(NameKind::SanUri, vec![uri("urn:x:1"), uri("urn:x:2")]),
            Err(IdentityRefusal::Ambiguous { names: 2 })
        );
        assert_eq!(
            read(NameKind::SanUri, vec![uri("urn:x:1"), uri("urn:x:1")]),
            Err(IdentityRefusal::Ambiguous { names: 2 })
        );
    }

    #[test]
    fn names_that_could_be_read_in_two_ways_are_no_identity() {
        for name in [
            "urn:x:\0admin",
            "urn:x:a b",
            "urn:x:\u{7f}",
            "urn:x:*",
            "no-scheme",
            "",
        ] {
            assert_eq!(
                read(NameKind::SanUri, vec![uri(name)]),
                Err(IdentityRefusal::Malformed),
                "{name:?}"
            );
        }
        for name in ["a@b@c", "@clinic.example", "nurse@", "nurse"] {
            assert_eq!(
                read(NameKind::SanEmail, vec![email(name)]),
                Err(IdentityRefusal::Malformed),
                "{name:?}"
            );
        }
        assert_eq!(
            read(NameKind::SanDns, vec![dns("*.example")]),
            Err(IdentityRefusal::Malformed)
        );
        assert_eq!(
            read(
                NameKind::SanUri,
                vec![uri(&format!("urn:{}", "x".repeat(300)))]
            ),
            Err(IdentityRefusal::Malformed)
        );
    }

    #[test]
    fn bytes_that_are_no_certificate_leave_a_fingerprint() {
        let facts = CertificateFacts::read(&CertificateDer::from(vec![1, 2, 3]));
        assert_eq!(
            (facts.serial, facts.issuer, facts.not_after),
            (None, None, None)
        );
        let trust = TrustName::parse("devices").unwrap();
        let garbage = [CertificateDer::from(vec![0x30, 0x80])];
        let read = ClientIdentity::read(&trust, NameKind::SanUri, &garbage, &[IssuerKey([0; 32])]);
        assert_eq!(read.unwrap_err(), IdentityRefusal::Malformed);
    }

    #[test]
    fn serial_numbers_have_one_spelling() {
        assert_eq!(Serial::new(&[0, 0xff, 1]), Serial::new(&[0xff, 1]));
        assert_eq!(Serial::new(&[0, 0xff, 1]).to_string(), "ff01");
        assert_eq!(Serial::new(&[0]).to_string(), "00");
    }
}
