//! A ceremony: the root's key is on a machine that issues nothing, and two files go between it and the machine
//! that issues. Their text, and how an answer is judged; no I/O here.
//!
//! ```text
//!  where it issues                          where the root's key is
//!  SigningRequest ── one file ───────────►  read, compared by eye, signed
//!      judged by what was asked  ◄── one file ── Answer: certificate, root, root's CRL
//!      judged by the root that is there ◄──────── Brought::Crl: a later CRL of the root alone
//! ```
//!
//! A request is a text that a person can read (TOML), with a PKCS #10 request behind it. The text says what is
//! asked for, and the profile what is granted; of the PKCS #10 request only the key and the proof of possession
//! count (RFC 2986), and one that asks for more is refused. Nothing signs the text: its SHA-256 is what people
//! compare, and a certificate that says something else than was asked for is refused where it was asked.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DistinguishedName, DnType};
use serde::{Deserialize, Serialize};
use x509_parser::pem::Pem;

use crate::authority::{
    AuthorityCertificate, AuthorityError, AuthorityName, Below, Issuing, ReadCrl, Root,
};
use crate::constraints::{NameConstraints, Network};
use crate::key::PrivateKey;
use crate::lint::LintError;
use crate::name::Name;
use crate::pem;
use crate::profile::{self, Validity};
use crate::public_key::{PublicKey, hex, sha256};
use crate::publication::Publication;
use crate::request::{Request, RequestError};
use crate::serial::Serial;
use crate::store::{AuthorityRole, Record};

/// Longest request that is read, in octets: a hundred constraints and a key.
pub const MAX_REQUEST_OCTETS: usize = 64 * 1024;
/// Longest answer that is read, in octets: two certificates, and a CRL of some thousand authorities.
pub const MAX_ANSWER_OCTETS: usize = 256 * 1024;

/// The format that this program writes and reads.
const FORMAT: u32 = 1;
/// What stands above a request.
const HEAD: &str = "# What `pki ceremony request` asks a root for. Compare the SHA-256 of this file before it is signed.\n";
/// Where the text ends: a text of TOML has no such line.
const PEM: &str = "\n-----BEGIN ";

/// What an issuing authority is to be, beside its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes {
    /// What it is called.
    pub name: AuthorityName,
    /// Where it publishes, and its root's CRL beside its own; its certificate says nothing of it if `None`.
    pub url: Option<String>,
    /// Under which names it may certify servers; any if `None`.
    pub constraints: Option<NameConstraints>,
}

/// The text of a request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: u32,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    permit_dns: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    permit_ip: Vec<String>,
}

/// A request of an issuing authority to its root, whose key was proved.
#[derive(Debug, Clone)]
pub struct SigningRequest {
    /// What it asks for.
    pub wishes: Wishes,
    /// The key that it asks for.
    pub key: PublicKey,
    /// SHA-256 of the whole file.
    pub sha256: [u8; 32],
}

impl Wishes {
    /// What its certificate says of them.
    pub(crate) fn below(&self) -> Below {
        // One of any number of shards: a root's CRL has none.
        let publication = self
            .url
            .as_ref()
            .and_then(|url| Publication::new(url, 1).ok());
        let pointers =
            publication.map(|publication| publication.pointers(AuthorityRole::Root, None));
        Below {
            pointers: pointers.unwrap_or_default(),
            constraints: self.constraints.clone(),
        }
    }

    /// What its certificate will be called.
    pub(crate) fn common_name(&self, key: &PublicKey) -> String {
        self.name.common_name(AuthorityRole::Issuing, key.key_id())
    }
}

impl SigningRequest {
    /// Writes a request: its file.
    pub(crate) fn write(wishes: &Wishes, key: &PrivateKey) -> Result<String, CeremonyError> {
        let unwritten = |_| CeremonyError::Unwritten;
        let constraints = wishes.constraints.as_ref();
        let text = Text {
            format: FORMAT,
            name: wishes.name.as_str().to_owned(),
            url: wishes.url.clone(),
            permit_dns: constraints.map_or_else(Vec::new, |permitted| permitted.hosts().to_vec()),
            permit_ip: constraints.map_or_else(Vec::new, |permitted| {
                permitted
                    .networks()
                    .iter()
                    .map(ToString::to_string)
                    .collect()
            }),
        };
        let text = toml::to_string(&text).map_err(|_| CeremonyError::Unwritten)?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, wishes.name.as_str());
        subject.push(DnType::CommonName, wishes.common_name(key.public()));
        let mut params = CertificateParams::default();
        params.distinguished_name = subject;
        let request = params.serialize_request(key).map_err(unwritten)?;
        Ok([HEAD, &text, "\n", &request.pem().map_err(unwritten)?].concat())
    }

    /// Reads a request, and verifies that whoever made it holds the key.
    ///
    /// Fails closed: a word that is not known, and whatever the PKCS #10 request asks for beside its key, is
    /// refused. The key is of the kind that the profile of an issuing authority makes.
    pub fn read(bytes: &[u8]) -> Result<Self, CeremonyError> {
        let unfit = |what| CeremonyError::NoRequest { what };
        let whole = std::str::from_utf8(bytes).map_err(|_| unfit("it is no text"))?;
        let (text, _) = whole
            .split_once(PEM)
            .ok_or(unfit("it has no PKCS #10 request"))?;
        let request = whole.get(text.len()..).unwrap_or_default();
        let text: Text = toml::from_str(text).map_err(|_| unfit("its text is not understood"))?;
        if text.format != FORMAT {
            return Err(unfit("its format is of another version of this program"));
        }
        let wishes = wishes(text)?;
        let key = Request::parse(request.as_bytes()).and_then(Request::bare)?;
        if key.kind() != profile::issuing().new_key {
            return Err(unfit("its key is not on P-256"));
        }
        Ok(Self {
            wishes,
            key,
            sha256: sha256(bytes),
        })
    }
}

impl SigningRequest {
    /// Of what a root issued, the certificates of this request that live, or may: those under its name, for its key.
    ///
    /// Refused if one of them was issued and then revoked: whoever has the key would have it certified again. One
    /// that was revoked while it was pending never left. Refused as well while the name, whose end is 32 bits of
    /// the key's identifier, is that of another key: verifiers find issuers and CRLs by it.
    pub(crate) fn issued_before(
        &self,
        mut records: Vec<Record>,
        now: Timestamp,
    ) -> Result<Vec<Record>, CeremonyError> {
        let (label, key) = (self.wishes.common_name(&self.key), hex(&self.key.sha256()));
        for record in &records {
            let is_same_name = record.label == label;
            if is_same_name && record.key_sha256 != key && record.is_live(now) {
                return Err(CeremonyError::NameTaken);
            }
            let was_issued = record.issued_at.is_some() && record.revoked.is_some();
            if is_same_name && record.key_sha256 == key && was_issued {
                let serial = record.serial.clone();
                return Err(CeremonyError::RevokedBefore { serial });
            }
        }
        records.retain(|record| record.label == label && record.key_sha256 == key);
        records.retain(|record| record.is_live(now));
        Ok(records)
    }
}

fn wishes(text: Text) -> Result<Wishes, CeremonyError> {
    let unfit = |what| CeremonyError::NoRequest { what };
    if let Some(url) = &text.url {
        Publication::new(url, 1)
            .map_err(|_| unfit("its URL is none that can be published under"))?;
    }
    let hosts: Result<Vec<Name>, _> = text.permit_dns.iter().map(|host| Name::dns(host)).collect();
    let hosts = hosts.map_err(|_| unfit("a domain of its constraints"))?;
    let networks = text.permit_ip.iter().map(|network| Network::parse(network));
    let networks: Result<Vec<Network>, _> = networks.collect();
    let networks = networks.map_err(|_| unfit("a network of its constraints"))?;
    let is_constrained = !hosts.is_empty() || !networks.is_empty();
    let constraints = is_constrained.then(|| NameConstraints::new(&hosts, networks));
    Ok(Wishes {
        name: AuthorityName::parse(&text.name).map_err(|_| unfit("its name"))?,
        url: text.url,
        constraints: constraints
            .transpose()
            .map_err(|_| unfit("it has too many constraints"))?,
    })
}

/// What is brought from where the root's key is.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The answer to a request, in DER.
    Whole {
        /// The issuing authority's certificate.
        issuing: Vec<u8>,
        /// The root's certificate.
        root: Vec<u8>,
        /// The root's CRL.
        crl: Vec<u8>,
    },
    /// A later CRL of the root, in DER.
    Crl(Vec<u8>),
}

impl Answer {
    /// Writes the answer to a request: its file.
    pub(crate) fn write(issuing: &[u8], root: &[u8], crl: &[u8]) -> String {
        [
            pem::certificate(issuing),
            pem::certificate(root),
            pem::crl(crl),
        ]
        .concat()
    }

    /// Reads what was brought: in PEM, the issuing authority's certificate, the root's and its CRL, in this
    /// order; or its CRL alone. Any other block is refused; words around the blocks are not looked at.
    pub fn read(bytes: &[u8]) -> Result<Self, CeremonyError> {
        const MOST: usize = 3;
        let blocks: Vec<Pem> = Pem::iter_from_buffer(bytes)
            .take(MOST + 1)
            .collect::<Result<_, _>>()
            .map_err(|_| CeremonyError::NoAnswer)?;
        let labels: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).collect();
        let is_whole = match labels[..] {
            ["CERTIFICATE", "CERTIFICATE", "X509 CRL"] => true,
            ["X509 CRL"] => false,
            _ => return Err(CeremonyError::NoAnswer),
        };
        let mut contents = blocks.into_iter().map(|block| block.contents);
        let mut next = || contents.next().ok_or(CeremonyError::NoAnswer);
        if !is_whole {
            return Ok(Self::Crl(next()?));
        }
        Ok(Self::Whole {
            issuing: next()?,
            root: next()?,
            crl: next()?,
        })
    }
}

/// An answer that was judged: what it says belongs together, and is what was asked for.
#[derive(Debug)]
pub struct Judged {
    /// The issuing authority's certificate.
    pub issuing: AuthorityCertificate,
    /// The root's.
    pub root: AuthorityCertificate,
    /// The root's CRL.
    pub crl: ReadCrl,
}

impl SigningRequest {
    /// Judges the answer to it: the root is the one whose fingerprint (SHA-256 of its certificate) a person gave,
    /// it signed the certificate and the CRL, all are in date, the CRL is not from before the certificate's notBefore
    /// and does not name it, and the certificate says what was asked for and what the profile says, for this key, and nothing else.
    pub fn judge(
        &self,
        (issuing, root, crl): (&[u8], &[u8], &[u8]),
        root_sha256: &[u8; 32],
        now: Timestamp,
    ) -> Result<Judged, CeremonyError> {
        let found = sha256(root);
        if found != *root_sha256 {
            return Err(CeremonyError::AnotherRoot { found });
        }
        let root = AuthorityCertificate::parse::<Root>(root).map_err(CeremonyError::Root)?;
        root.verify_signed_by(&root).map_err(CeremonyError::Root)?;
        in_date("root", &root.validity(), now)?;
        let issuing =
            AuthorityCertificate::parse::<Issuing>(issuing).map_err(CeremonyError::Issuing)?;
        if issuing.verify_signed_by(&root).is_err() {
            return Err(CeremonyError::NotByRoot {
                what: "certificate",
            });
        }
        if issuing.key().spki() != self.key.spki() {
            return Err(CeremonyError::AnotherKey);
        }
        in_date("issuing CA", &issuing.validity(), now)?;
        let wishes = &self.wishes;
        issuing
            .verify_issuing(&root, (&wishes.name, &self.key), &wishes.below())
            .map_err(CeremonyError::NotAsAsked)?;
        let validity = issuing.validity();
        if validity.not_before.duration_until(validity.not_after) > longest_life() {
            return Err(CeremonyError::LivesTooLong);
        }
        let crl = judge_crl(&root, crl, now)?;
        // Not a list of before, on which a revocation could not be.
        if crl.this_update < validity.not_before {
            return Err(CeremonyError::CrlBeforeCertificate);
        }
        if crl
            .entries
            .iter()
            .any(|entry| entry.serial == *issuing.serial())
        {
            return Err(CeremonyError::Revoked);
        }
        Ok(Judged { issuing, root, crl })
    }
}

/// Judges a CRL of a root that is known: it signed it, for all of its certificates, and it is in date.
pub fn judge_crl(
    root: &AuthorityCertificate,
    crl: &[u8],
    now: Timestamp,
) -> Result<ReadCrl, CeremonyError> {
    if root.crl_number(crl).is_none() {
        return Err(CeremonyError::NotByRoot { what: "CRL" });
    }
    let crl = root.read_crl(crl).map_err(CeremonyError::Crl)?;
    let validity = Validity {
        not_before: crl.this_update,
        not_after: crl.next_update,
    };
    in_date("root's CRL", &validity, now)?;
    Ok(crl)
}

fn in_date(what: &'static str, validity: &Validity, now: Timestamp) -> Result<(), CeremonyError> {
    if validity.contains(now) {
        return Ok(());
    }
    Err(CeremonyError::OutOfDate {
        what,
        validity: *validity,
        now,
    })
}

/// The longest time from notBefore to notAfter that the profile grants.
fn longest_life() -> SignedDuration {
    let profile = profile::issuing();
    SignedDuration::from_hours(24 * i64::from(profile.max_days)) + profile.backdate
}

/// Why nothing comes of a ceremony.
#[derive(Debug)]
pub enum CeremonyError {
    /// A request could not be written.
    Unwritten,
    /// The file is no request of this program.
    NoRequest {
        /// In what.
        what: &'static str,
    },
    /// The PKCS #10 request in it.
    Request(RequestError),
    /// The request has another SHA-256 than the one that was given.
    Unconfirmed {
        /// Which it has.
        found: [u8; 32],
    },
    /// The file is no answer of this program, and no CRL.
    NoAnswer,
    /// The root of the answer has another fingerprint than the one that was given.
    AnotherRoot {
        /// Which it has.
        found: [u8; 32],
    },
    /// The root's certificate.
    Root(AuthorityError),
    /// The issuing authority's certificate.
    Issuing(AuthorityError),
    /// Something in the answer is not signed by the root.
    NotByRoot {
        /// What.
        what: &'static str,
    },
    /// The certificate is for another key than the one that was made here: the answer to another request.
    AnotherKey,
    /// The certificate says something else than was asked for.
    NotAsAsked(LintError),
    /// The certificate is valid for longer than the profile grants.
    LivesTooLong,
    /// Something in the answer is not valid now.
    OutOfDate {
        /// What.
        what: &'static str,
        /// From when until when it is.
        validity: Validity,
        /// The time.
        now: Timestamp,
    },
    /// The root's CRL.
    Crl(AuthorityError),
    /// The root's CRL revokes the certificate that it comes with.
    Revoked,
    /// A certificate that was issued to the request was revoked since.
    RevokedBefore {
        /// Its serial.
        serial: Serial,
    },
    /// Another key has the name that the request asks for.
    NameTaken,
    /// The root's CRL was signed before the certificate that it comes with.
    CrlBeforeCertificate,
    /// A later CRL of the root is here already, or another one with its number.
    OlderCrl {
        /// Its number.
        number: u64,
        /// That of the one that is here.
        known: u64,
    },
    /// The answer is not one to the certificate that is in use here.
    AnotherCertificate,
    /// An answer is to be imported for the first time, and nobody said which root it must be from.
    NoFingerprint,
    /// The directory made no request: nothing can be imported into it.
    NoCeremony,
}

impl From<RequestError> for CeremonyError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl fmt::Display for CeremonyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritten => write!(f, "the request could not be written"),
            Self::NoRequest { what } => {
                write!(f, "that is no request of `pki ceremony request`: {what}")
            }
            Self::Request(error) => write!(f, "{error}"),
            Self::Unconfirmed { found } => write!(
                f,
                "the request is not the one that was confirmed: its SHA-256 is {}",
                hex(found)
            ),
            Self::NoAnswer => write!(
                f,
                "that is no answer of `pki ceremony sign`, and no CRL in PEM"
            ),
            Self::AnotherRoot { found } => write!(
                f,
                "the answer is from another root: the SHA-256 of its certificate is {}",
                hex(found)
            ),
            Self::Root(error) => write!(f, "the root of the answer: {error}"),
            Self::Issuing(error) => write!(f, "the certificate of the answer: {error}"),
            Self::NotByRoot { what } => write!(f, "the root did not sign the {what}"),
            Self::AnotherKey => write!(
                f,
                "the certificate is for another key than the one that was made here"
            ),
            Self::NotAsAsked(error) => {
                write!(
                    f,
                    "the certificate is not the one that was asked for; it does not hold that"
                )?;
                for (position, finding) in error.findings.iter().enumerate() {
                    let separator = if position == 0 { "" } else { ";" };
                    write!(f, "{separator} {} ({})", finding.name, finding.section)?;
                }
                Ok(())
            }
            Self::LivesTooLong => {
                write!(
                    f,
                    "the certificate is valid for longer than its profile grants"
                )
            }
            Self::OutOfDate {
                what,
                validity,
                now,
            } => write!(
                f,
                "the {what} is valid from {} to {}, and it is {now}",
                validity.not_before, validity.not_after
            ),
            Self::Crl(error) => write!(f, "the root's CRL: {error}"),
            Self::Revoked => write!(f, "the root's CRL revokes the certificate"),
            Self::RevokedBefore { serial } => write!(
                f,
                "certificate {serial} was issued to this request, and revoked since"
            ),
            Self::NameTaken => write!(f, "another key has the name that the request asks for"),
            Self::CrlBeforeCertificate => write!(
                f,
                "the root's CRL is older than the certificate that it comes with"
            ),
            Self::OlderCrl { number, known } => write!(
                f,
                "the root's CRL has number {number}, and number {known} is here already"
            ),
            Self::AnotherCertificate => write!(
                f,
                "another certificate of the issuing CA is in use here already"
            ),
            Self::NoFingerprint => write!(f, "nobody said which root the answer must be from"),
            Self::NoCeremony => write!(f, "this authority made no request to a root"),
        }
    }
}

impl std::error::Error for CeremonyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Request(error) => Some(error),
            Self::Root(error) | Self::Issuing(error) | Self::Crl(error) => Some(error),
            Self::NotAsAsked(error) => Some(error),
            Self::Unwritten
            | Self::NoRequest { .. }
            | Self::Unconfirmed { .. }
            | Self::NoAnswer
            | Self::AnotherRoot { .. }
            | Self::NotByRoot { .. }
            | Self::AnotherKey
            | Self::LivesTooLong
            | Self::OutOfDate { .. }
            | Self::Revoked
            | Self::RevokedBefore { .. }
            | Self::NameTaken
            | Self::CrlBeforeCertificate
            | Self::OlderCrl { .. }
            | Self::AnotherCertificate
            | Self::NoFingerprint
            | Self::NoCeremony => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PrivateKey;
    use crate::public_key::KeyKind;
    use crate::reason::Reason;
    use crate::store::{CertificateId, KeyOrigin, Status};

    #[test]
    fn a_name_is_that_of_one_key_and_a_revoked_key_is_not_certified_again() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let day = SignedDuration::from_hours(24);
        let request = SigningRequest {
            wishes: Wishes {
                name: AuthorityName::parse("Clinic").unwrap(),
                url: None,
                constraints: None,
            },
            key: PrivateKey::generate(KeyKind::P256)
                .unwrap()
                .public()
                .clone(),
            sha256: [0; 32],
        };
        let record = |key_sha256: &str, status, issued: bool| Record {
            id: CertificateId::from_number(1),
            serial: Serial::from_octets(&[0x4f]).unwrap(),
            issuer: "root".to_owned(),
            shard: None,
            status,
            profile: profile::issuing(),
            label: request.wishes.common_name(&request.key),
            names: Vec::new(),
            key_origin: KeyOrigin::Request,
            key_sha256: key_sha256.to_owned(),
            reserved_at: now,
            tbs_sha256: None,
            validity: Some(Validity {
                not_before: now - day,
                not_after: now + day,
            }),
            fingerprint: None,
            issued_at: issued.then_some(now),
            revoked: (status == Status::Revoked).then_some((now, Reason::Superseded)),
        };
        let own = hex(&request.key.sha256());
        let other = "4f".repeat(32);
        let judged = |record: Record, at| {
            let before = request.issued_before(vec![record], at);
            before.map(|records| records.len())
        };
        assert!(matches!(
            judged(record(&own, Status::Issued, true), now),
            Ok(1)
        ));
        assert!(matches!(
            judged(record(&own, Status::Pending, false), now),
            Ok(1)
        ));
        assert!(matches!(
            judged(record(&own, Status::Revoked, false), now),
            Ok(0)
        ));
        for at in [now, now + day * 2] {
            assert!(matches!(
                judged(record(&own, Status::Revoked, true), at),
                Err(CeremonyError::RevokedBefore { .. })
            ));
        }
        // Two keys whose identifiers begin with the same 32 bits.
        assert!(matches!(
            judged(record(&other, Status::Issued, true), now),
            Err(CeremonyError::NameTaken)
        ));
        assert!(matches!(
            judged(record(&other, Status::Issued, true), now + day * 2),
            Ok(0)
        ));
    }
}
