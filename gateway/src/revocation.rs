//! What has been revoked: an index from issuer key to serial numbers, built once when revocation
//! lists are loaded and asked at constant cost at each handshake and each request.
//!
//! A list counts when the authority that issued it signed it, may sign lists, and its dates hold.
//! Whole lists and shards by distribution point are understood; delta, indirect, attribute and
//! reason-partitioned lists are refused, since each leaves something unsaid. Standard: RFC 5280 5.
//! No file, no clock.
//!
//! Fails closed: a certificate whose issuer has no list is `Unknown`, and one under a stale list is
//! `Stale`; neither is good.

use std::collections::{HashMap, HashSet};
use std::fmt;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::EndEntityCert;
use x509_parser::asn1_rs::Any;
use x509_parser::extensions::{
    DistributionPointName, GeneralName, IssuingDistributionPoint, ParsedExtension,
};
use x509_parser::oid_registry as oid;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::identity::{IssuerKey, Link, Serial};
use crate::trust::Authority;

/// No list that is read is larger than this, bytes: about two million serials.
pub const MAX_LIST_BYTES: u64 = 64 * 1024 * 1024;

/// So far may the clock of an authority be ahead of ours, seconds.
const SKEW: i64 = 300;

/// A revocation list whose signature was verified.
#[derive(Debug)]
pub struct List {
    issuer: IssuerKey,
    scope: Scope,
    this_update: i64,
    next_update: i64,
    serials: Vec<Serial>,
}

/// Which certificates of its issuer a list speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Scope {
    /// `None` for all; else those whose distribution point is one of these.
    points: Option<Vec<Box<str>>>,
    only_users: bool,
    only_authorities: bool,
}

impl List {
    /// Reads a list (DER) and verifies its signature with the one of `authorities` that issued it.
    /// `now` in seconds since 1970.
    pub fn read(
        der: &[u8],
        authorities: &[&Authority],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        now: i64,
    ) -> Result<List, ListFault> {
        let Ok(([], list)) = CertificateRevocationList::from_der(der) else {
            return Err(ListFault::Malformed);
        };
        let issuer = signer(&list, authorities, algorithms)?;
        let this_update = list.last_update().timestamp();
        if this_update > now + SKEW {
            return Err(ListFault::FromTheFuture { this_update });
        }
        let next_update = list
            .next_update()
            .ok_or(ListFault::NoNextUpdate)?
            .timestamp();
        Ok(List {
            issuer,
            scope: scope(&list)?,
            this_update,
            next_update,
            serials: list
                .iter_revoked_certificates()
                .map(|revoked| Serial::new(revoked.raw_serial()))
                .collect(),
        })
    }

    /// When it was issued, seconds since 1970.
    pub fn this_update(&self) -> i64 {
        self.this_update
    }

    /// When it grows stale, seconds since 1970.
    pub fn next_update(&self) -> i64 {
        self.next_update
    }

    /// How many serials it names.
    pub fn len(&self) -> usize {
        self.serials.len()
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.serials.is_empty()
    }
}

/// What is known to be revoked, and how long that knowledge lasts.
#[derive(Debug, Default)]
pub struct Index {
    issuers: HashMap<IssuerKey, Issuer>,
    lists: usize,
}

#[derive(Debug, Default)]
struct Issuer {
    revoked: HashSet<Serial>,
    coverage: Vec<Coverage>,
}

#[derive(Debug)]
struct Coverage {
    scope: Scope,
    this_update: i64,
    next_update: i64,
}

/// The standing of one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A current list covers it and does not name it.
    Good,
    /// A list names it.
    Revoked,
    /// The list that covers it is out of date.
    Stale {
        /// Since when, seconds since 1970.
        next_update: i64,
    },
    /// No list covers it.
    Unknown,
}

impl Index {
    /// The index of these lists. Of two lists with the same issuer and scope the newer counts, and
    /// the serials of both: nothing that was revoked is forgotten because an old file lies about.
    pub fn build(lists: Vec<List>) -> Index {
        let mut index = Index {
            lists: lists.len(),
            ..Index::default()
        };
        for list in lists {
            let issuer = index.issuers.entry(list.issuer).or_default();
            issuer.revoked.extend(list.serials);
            let coverage = Coverage {
                scope: list.scope,
                this_update: list.this_update,
                next_update: list.next_update,
            };
            match issuer
                .coverage
                .iter_mut()
                .find(|known| known.scope == coverage.scope)
            {
                Some(known) if known.this_update >= coverage.this_update => {}
                Some(known) => *known = coverage,
                None => issuer.coverage.push(coverage),
            }
        }
        index
    }

    /// The standing of a certificate. `is_leaf` tells apart what lists for users and for
    /// authorities speak of.
    pub fn standing(&self, link: &Link, is_leaf: bool, now: i64) -> Standing {
        let Some(issuer) = self.issuers.get(&link.issuer) else {
            return Standing::Unknown;
        };
        if issuer.revoked.contains(&link.serial) {
            return Standing::Revoked;
        }
        let covering = issuer
            .coverage
            .iter()
            .filter(|coverage| coverage.scope.covers(link, is_leaf));
        match covering.map(|coverage| coverage.next_update).max() {
            Some(next_update) if next_update < now => Standing::Stale { next_update },
            Some(_) => Standing::Good,
            None => Standing::Unknown,
        }
    }

    /// How many lists it was built from.
    pub fn lists(&self) -> usize {
        self.lists
    }

    /// How many serials are revoked.
    pub fn serials(&self) -> usize {
        self.issuers
            .values()
            .map(|issuer| issuer.revoked.len())
            .sum()
    }

    /// When the first of the lists in force grows stale, seconds since 1970.
    pub fn next_update(&self) -> Option<i64> {
        self.issuers
            .values()
            .flat_map(|issuer| &issuer.coverage)
            .map(|coverage| coverage.next_update)
            .min()
    }

    /// Whether any list of this issuer is known.
    pub fn knows(&self, issuer: IssuerKey) -> bool {
        self.issuers.contains_key(&issuer)
    }
}

impl Scope {
    fn covers(&self, link: &Link, is_leaf: bool) -> bool {
        let kind = if is_leaf {
            !self.only_authorities
        } else {
            !self.only_users
        };
        let place = match &self.points {
            None => true,
            Some(points) => points
                .iter()
                .any(|point| link.distribution_points.contains(point)),
        };
        kind && place
    }
}

/// The authority that issued the list, with its signature verified.
fn signer(
    list: &CertificateRevocationList<'_>,
    authorities: &[&Authority],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<IssuerKey, ListFault> {
    let issuer = || list.issuer().to_string().into_boxed_str();
    let named: Vec<_> = authorities
        .iter()
        .filter(|authority| has_subject(authority.der(), list.issuer().as_raw()))
        .collect();
    if named.is_empty() {
        return Err(ListFault::UnknownIssuer { issuer: issuer() });
    }
    if list.tbs_cert_list.signature != list.signature_algorithm {
        return Err(ListFault::Malformed);
    }
    let to_be_signed = list.tbs_cert_list.as_ref();
    let algorithm = signature_algorithm(list).ok_or(ListFault::Malformed)?;
    for authority in named {
        let Ok(certificate) = EndEntityCert::try_from(authority.der()) else {
            continue;
        };
        let verified = algorithms
            .iter()
            .filter(|known| known.signature_alg_id().as_ref() == algorithm)
            .any(|known| {
                certificate
                    .verify_signature(*known, to_be_signed, list.signature_value.data.as_ref())
                    .is_ok()
            });
        if verified && authority.signs_lists() {
            return Ok(authority.key());
        }
        if verified {
            return Err(ListFault::MayNotSign { issuer: issuer() });
        }
    }
    Err(ListFault::Signature { issuer: issuer() })
}

fn has_subject(certificate: &CertificateDer<'_>, name: &[u8]) -> bool {
    x509_parser::parse_x509_certificate(certificate)
        .is_ok_and(|(_, certificate)| certificate.subject().as_raw() == name)
}

/// The content octets of the list's signature AlgorithmIdentifier, as `webpki` compares them.
fn signature_algorithm<'a>(list: &CertificateRevocationList<'a>) -> Option<&'a [u8]> {
    let (_, whole) = Any::from_der(list.as_raw()).ok()?;
    let behind = whole.data.get(list.tbs_cert_list.as_ref().len()..)?;
    let (_, algorithm) = Any::from_der(behind).ok()?;
    Some(algorithm.data)
}

fn scope(list: &CertificateRevocationList<'_>) -> Result<Scope, ListFault> {
    let mut scope = Scope {
        points: None,
        only_users: false,
        only_authorities: false,
    };
    for extension in list.extensions() {
        if extension.oid == oid::OID_X509_EXT_DELTA_CRL_INDICATOR {
            return Err(ListFault::Unsupported {
                what: "a delta list",
            });
        }
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point) => restrict(&mut scope, point)?,
            _ if extension.critical => {
                return Err(ListFault::Unsupported {
                    what: "a critical extension that is not understood",
                });
            }
            _ => {}
        }
    }
    let entries = list
        .iter_revoked_certificates()
        .flat_map(|revoked| revoked.extensions());
    if entries.into_iter().any(|extension| extension.critical) {
        return Err(ListFault::Unsupported {
            what: "a critical entry extension (an indirect list)",
        });
    }
    Ok(scope)
}

fn restrict(scope: &mut Scope, point: &IssuingDistributionPoint<'_>) -> Result<(), ListFault> {
    if point.indirect_crl {
        return Err(ListFault::Unsupported {
            what: "an indirect list",
        });
    }
    if point.only_some_reasons.is_some() {
        return Err(ListFault::Unsupported {
            what: "a list for some reasons only",
        });
    }
    if point.only_contains_attribute_certs {
        return Err(ListFault::Unsupported {
            what: "a list of attribute certificates",
        });
    }
    scope.only_users = point.only_contains_user_certs;
    scope.only_authorities = point.only_contains_ca_certs;
    match &point.distribution_point {
        None => {}
        Some(DistributionPointName::FullName(names)) => {
            let uris = names.iter().filter_map(|name| match name {
                GeneralName::URI(uri) => Some((*uri).into()),
                _ => None,
            });
            scope.points = Some(uris.collect());
        }
        Some(DistributionPointName::NameRelativeToCRLIssuer(_)) => {
            return Err(ListFault::Unsupported {
                what: "a distribution point relative to its issuer",
            });
        }
    }
    Ok(())
}

/// Why a file is not a revocation list that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListFault {
    /// It cannot be read.
    Malformed,
    /// No authority of the trust set has the name that the list gives as its issuer.
    UnknownIssuer {
        /// The name.
        issuer: Box<str>,
    },
    /// The signature does not verify, or is of an algorithm that does not count.
    Signature {
        /// Who should have signed.
        issuer: Box<str>,
    },
    /// The authority's key usage does not let it sign lists.
    MayNotSign {
        /// The authority.
        issuer: Box<str>,
    },
    /// It is dated later than now.
    FromTheFuture {
        /// Its date, seconds since 1970.
        this_update: i64,
    },
    /// It does not say when the next one comes (RFC 5280 5.1.2.5 demands it).
    NoNextUpdate,
    /// It is of a kind that leaves something unsaid.
    Unsupported {
        /// Which kind.
        what: &'static str,
    },
}

impl fmt::Display for ListFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListFault::Malformed => f.write_str("it is not a well-formed revocation list"),
            ListFault::UnknownIssuer { issuer } => write!(
                f,
                "its issuer \"{issuer}\" is not an authority of this trust set"
            ),
            ListFault::Signature { issuer } => {
                write!(f, "the signature of \"{issuer}\" on it does not verify")
            }
            ListFault::MayNotSign { issuer } => write!(
                f,
                "the key usage of \"{issuer}\" does not let it sign revocation lists"
            ),
            ListFault::FromTheFuture { this_update } => {
                write!(
                    f,
                    "it is dated {}, which is later than this machine's clock",
                    audit::event::Time::from_unix_seconds(*this_update)
                )
            }
            ListFault::NoNextUpdate => f.write_str("it does not say when the next one comes"),
            ListFault::Unsupported { what } => write!(f, "it is {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
        CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, IsCa, Issuer as Signer,
        KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
    };

    const NOW: i64 = 1_767_225_600 + 86_400; // 2026-01-02

    struct Ca {
        certificate: Certificate,
        signer: Signer<'static, KeyPair>,
        authority: Authority,
    }

    fn ca(name: &str, usages: Vec<KeyUsagePurpose>) -> Ca {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = usages;
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let authority = Authority::judge(certificate.der(), NOW).unwrap();
        Ca {
            certificate,
            signer: Signer::new(params, key),
            authority,
        }
    }

    fn usual(name: &str) -> Ca {
        ca(
            name,
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
        )
    }

    fn params(serials: &[u64]) -> CertificateRevocationListParams {
        CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2026, 1, 8),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: serials
                .iter()
                .map(|&serial| RevokedCertParams {
                    serial_number: SerialNumber::from(serial),
                    revocation_time: date_time_ymd(2025, 12, 1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "made for the one call")]
    fn read(
        ca: &Ca,
        params: CertificateRevocationListParams,
        authorities: &[&Authority],
    ) -> Result<List, ListFault> {
        let der = params.signed_by(&ca.signer).unwrap().der().to_vec();
        List::read(&der, authorities, webpki::ALL_VERIFICATION_ALGS, NOW)
    }

    fn link(ca: &Ca, serial: u64, points: &[&str]) -> Link {
        Link {
            issuer: ca.authority.key(),
            serial: Serial::new(&serial.to_be_bytes()),
            distribution_points: points.iter().map(|&point| point.into()).collect(),
            not_before: 0,
            not_after: i64::MAX,
        }
    }

    #[test]
    fn a_serial_on_the_list_of_its_issuer_is_revoked_and_only_there() {
        let (one, other) = (usual("one"), usual("other"));
        let both = [&one.authority, &other.authority];
        let index = Index::build(vec![
            read(&one, params(&[5]), &both).unwrap(),
            read(&other, params(&[6]), &both).unwrap(),
        ]);
        assert_eq!(
            index.standing(&link(&one, 5, &[]), true, NOW),
            Standing::Revoked
        );
        assert_eq!(
            index.standing(&link(&one, 6, &[]), true, NOW),
            Standing::Good
        );
        assert_eq!(
            index.standing(&link(&other, 5, &[]), true, NOW),
            Standing::Good
        );
        assert_eq!((index.lists(), index.serials()), (2, 2));
    }

    #[test]
    fn without_a_list_nothing_is_good() {
        let one = usual("one");
        assert_eq!(
            Index::default().standing(&link(&one, 1, &[]), true, NOW),
            Standing::Unknown
        );
    }

    #[test]
    fn a_list_grows_stale_and_still_tells_what_is_revoked() {
        let one = usual("one");
        let index = Index::build(vec![read(&one, params(&[5]), &[&one.authority]).unwrap()]);
        let later = NOW + 30 * 86_400;
        assert!(matches!(
            index.standing(&link(&one, 6, &[]), true, later),
            Standing::Stale { .. }
        ));
        assert_eq!(
            index.standing(&link(&one, 5, &[]), true, later),
            Standing::Revoked
        );
    }

    #[test]
    fn of_two_lists_the_newer_dates_count_and_nothing_is_forgotten() {
        let one = usual("one");
        let older = read(&one, params(&[5]), &[&one.authority]).unwrap();
        let mut newer = params(&[6]);
        newer.this_update = date_time_ymd(2026, 1, 2);
        newer.next_update = date_time_ymd(2026, 2, 1);
        let newer = read(&one, newer, &[&one.authority]).unwrap();
        let index = Index::build(vec![newer, older]);
        let later = NOW + 15 * 86_400;
        assert_eq!(
            index.standing(&link(&one, 7, &[]), true, later),
            Standing::Good
        );
        assert_eq!(
            index.standing(&link(&one, 5, &[]), true, later),
            Standing::Revoked
        );
        assert_eq!(
            index.standing(&link(&one, 6, &[]), true, later),
            Standing::Revoked
        );
    }

    #[test]
    fn a_list_that_its_issuer_did_not_sign_is_refused() {
        let (one, impostor) = (usual("same name"), usual("same name"));
        assert!(matches!(
            read(&impostor, params(&[]), &[&one.authority]),
            Err(ListFault::Signature { .. })
        ));
        let stranger = usual("stranger");
        assert!(matches!(
            read(&stranger, params(&[]), &[&one.authority]),
            Err(ListFault::UnknownIssuer { .. })
        ));
        // Two authorities may share a name; the one that signed is found.
        assert!(
            read(
                &impostor,
                params(&[]),
                &[&one.authority, &impostor.authority]
            )
            .is_ok()
        );
        let der = params(&[5]).signed_by(&one.signer).unwrap().der().to_vec();
        for at in (0..der.len()).step_by(3) {
            let mut changed = der.clone();
            changed[at] ^= 1;
            assert!(
                List::read(
                    &changed,
                    &[&one.authority],
                    webpki::ALL_VERIFICATION_ALGS,
                    NOW
                )
                .is_err(),
                "byte {at}"
            );
        }
    }

    #[test]
    fn an_authority_that_may_not_sign_lists_is_not_believed() {
        let mut one = usual("one");
        let without = ca("one", vec![KeyUsagePurpose::KeyCertSign]);
        one.authority = without.authority.clone();
        let der = params(&[])
            .signed_by(&usual("one").signer)
            .unwrap()
            .der()
            .to_vec();
        assert!(List::read(&der, &[&one.authority], webpki::ALL_VERIFICATION_ALGS, NOW).is_err());
        let _ = without.certificate;
    }

    #[test]
    fn a_list_from_the_future_is_refused() {
        let one = usual("one");
        let mut early = params(&[]);
        early.this_update = date_time_ymd(2026, 1, 4);
        assert!(matches!(
            read(&one, early, &[&one.authority]),
            Err(ListFault::FromTheFuture { .. })
        ));
    }

    #[test]
    fn a_shard_covers_the_certificates_that_name_it() {
        let one = usual("one");
        let mut shard = params(&[5]);
        shard.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint {
                uris: vec!["http://crl.example/1".to_owned()],
            },
            scope: Some(CrlScope::UserCertsOnly),
        });
        let index = Index::build(vec![read(&one, shard, &[&one.authority]).unwrap()]);
        assert_eq!(
            index.standing(&link(&one, 6, &["http://crl.example/1"]), true, NOW),
            Standing::Good
        );
        assert_eq!(
            index.standing(&link(&one, 6, &["http://crl.example/2"]), true, NOW),
            Standing::Unknown
        );
        assert_eq!(
            index.standing(&link(&one, 6, &[]), true, NOW),
            Standing::Unknown
        );
        assert_eq!(
            index.standing(&link(&one, 6, &["http://crl.example/1"]), false, NOW),
            Standing::Unknown
        );
        assert_eq!(
            index.standing(&link(&one, 5, &[]), true, NOW),
            Standing::Revoked
        );
    }

    #[test]
    fn garbage_is_refused() {
        for garbage in [&b""[..], b"garbage", &[0x30, 0x03, 1, 2, 3]] {
            assert!(matches!(
                List::read(garbage, &[], webpki::ALL_VERIFICATION_ALGS, NOW),
                Err(ListFault::Malformed)
            ));
        }
    }
}
