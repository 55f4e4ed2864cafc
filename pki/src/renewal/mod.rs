//! Renewal and enrolment from the side of the holder: a program that a timer starts, and that is
//! gone when it is done.
//!
//! ```text
//!  OUT, held ──► due? ──► new key aside ──► request ──► authority, here or over EST
//!                                                              │
//!  OUT exchanged in one step ◄── judged: key, names, purpose, chain, dates
//! ```
//!
//! Whatever fails leaves the old certificate in its place. The old key is destroyed when the new
//! pair is durable, and not before.

mod der;

mod due;

mod leaf;

mod est;

mod token;

mod error;

mod pair;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

pub use crate::ca::GRACE_DAYS;
pub use due::{Jitter, Part, due_at};
pub use error::RenewalError;
pub use est::{EstError, EstServer};
pub use leaf::AnswerError;
pub use pair::PairFiles;
pub use token::{TokenError, TokenSource};

use crate::ca::{Ca, PassphraseSources, Revoked};
use crate::error::Error;
use crate::files::read_bounded;
use crate::key::PrivateKey;
use crate::name::Name;
use crate::pem::MAX_CERTIFICATE_FILE_OCTETS;
use crate::profile::Validity;
use crate::public_key::{KeyKind, hex, sha256};
use crate::reason::Reason;
use crate::serial::Serial;
use crate::store::Find;
use est::{Answer, Client};
use leaf::{Chain, Leaf, Trust, Wanted, WantedNames};
use pair::{NewPair, Pair};

/// A renewal.
#[derive(Debug)]
pub struct Renew {
    /// The directory with the certificate and its key.
    pub directory: PathBuf,
    /// Who issues the new one.
    pub authority: Issuer,
    /// Only if it is due; now if `None`.
    pub if_needed: Option<(Part, Jitter)>,
    /// Keep the key, and do not make a new one.
    pub same_key: bool,
}

/// Who issues the new certificate.
#[derive(Debug)]
pub enum Issuer {
    /// The authority in this directory.
    Here {
        /// The directory.
        directory: PathBuf,
        /// Where the passphrase of its key is, if not where its settings say.
        passphrases: PassphraseSources,
        /// For how many days after its end a certificate is renewed.
        grace_days: u32,
        /// Whether the old one is revoked as superseded.
        revoke_old: bool,
    },
    /// An EST server, which asks for the old certificate.
    Est {
        /// The server.
        server: EstServer,
        /// The roots it must lead to; those of the directory if `None`.
        trust: Option<PathBuf>,
    },
}

/// What came of a renewal.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing was done: it is not due.
    NotDue {
        /// The certificate's serial.
        serial: Serial,
        /// When it is due.
        due: Timestamp,
        /// When it ends.
        not_after: Timestamp,
    },
    /// A new certificate is in place.
    Renewed(Box<Renewed>),
}

/// A renewal that was done.
#[derive(Debug)]
pub struct Renewed {
    /// The new certificate.
    pub new: Obtained,
    /// The serial of the old one, and when it ends.
    pub old: (Serial, Timestamp),
    /// What came of revoking the old one, if that was asked for and it had not expired.
    pub revoked: Option<Revoked>,
}

/// A certificate that is in place.
#[derive(Debug)]
pub struct Obtained {
    /// Its serial.
    pub serial: Serial,
    /// From when until when it is valid.
    pub validity: Validity,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Its files.
    pub files: PairFiles,
}

/// A first enrolment, with a one-time token.
#[derive(Debug)]
pub struct Enrol {
    /// The server.
    pub server: EstServer,
    /// The name that is asked for.
    pub name: Name,
    /// Where the token is.
    pub token: TokenSource,
    /// Why the server is believed.
    pub anchor: Anchor,
    /// A directory that does not exist or is empty.
    pub directory: PathBuf,
}

/// Why a server is believed that was never met before.
#[derive(Debug)]
pub enum Anchor {
    /// It leads to a root in this file.
    File(PathBuf),
    /// It leads to the root that has this SHA-256, which it brings itself.
    Fingerprint([u8; 32]),
}

/// Renews the certificate in a directory, if it is due.
///
/// Fails closed: whatever goes wrong, the old pair stays as it is, and the error says until when it
/// is good. A certificate that was issued and could not be put in place stays unused; the next run
/// asks for another one.
pub fn renew(plan: &Renew, now: Timestamp) -> Result<Outcome, RenewalError> {
    let pair = Pair::hold(&plan.directory)?;
    let validity = pair.leaf.validity();
    if let Some((part, jitter)) = plan.if_needed {
        let due = due_at(pair.leaf.serial(), &validity, part, jitter);
        if now < due {
            return Ok(Outcome::NotDue {
                serial: pair.leaf.serial().clone(),
                due,
                not_after: validity.not_after,
            });
        }
    }
    let new = replace(plan, &pair, now).map_err(|error| RenewalError::NotRenewed {
        not_after: validity.not_after,
        lives: now <= validity.not_after,
        error: Box::new(error),
    })?;
    let revoked = match &plan.authority {
        Issuer::Here {
            directory,
            passphrases,
            revoke_old: true,
            ..
        } => revoke((directory, passphrases), &pair.leaf, now)?,
        Issuer::Here { .. } | Issuer::Est { .. } => None,
    };
    Ok(Outcome::Renewed(Box::new(Renewed {
        new: obtained(&new, &plan.directory),
        old: (pair.leaf.serial().clone(), validity.not_after),
        revoked,
    })))
}

fn replace(plan: &Renew, pair: &Pair, now: Timestamp) -> Result<Leaf, RenewalError> {
    let trust = pair.trust(now)?;
    let made = (!plan.same_key)
        .then(|| new_key(&plan.directory))
        .transpose()?;
    let key = made.as_ref().unwrap_or(&pair.key);
    let staging = pair.prepare(key)?;
    let request = signed_request(key, &pair.leaf.subject, &pair.leaf.names)?;
    let answer = match &plan.authority {
        Issuer::Here {
            directory,
            passphrases,
            grace_days,
            ..
        } => renew_here((directory, passphrases), *grace_days, pair, request, now)?,
        Issuer::Est {
            server,
            trust: file,
        } => {
            let of_server = file
                .as_ref()
                .map(|path| read_trust(path, now))
                .transpose()?;
            let client = Client::Holder {
                chain: std::iter::once(&pair.leaf.der)
                    .chain(&pair.issuers)
                    .cloned()
                    .collect(),
                key: &pair.key,
            };
            let trust = of_server.as_ref().unwrap_or(&trust);
            est::certify(server, trust, &client, &request)?
        }
    };
    let wanted = Wanted {
        spki: key.public().spki(),
        names: WantedNames::OfOld(&pair.leaf),
    };
    let others = [answer.authorities, pair.issuers.clone()].concat();
    let chain = wanted.judge(&answer.certificates, &others, &trust, now)?;
    pair.replace(staging, &chain)?;
    Ok(chain.leaf)
}

/// The successor, and its issuer.
fn renew_here(
    authority: (&Path, &PassphraseSources),
    grace_days: u32,
    pair: &Pair,
    request: Vec<u8>,
    now: Timestamp,
) -> Result<Answer, RenewalError> {
    let refused = |error: Error| match error {
        Error::AlreadyRevoked { serial, at, reason } => {
            RenewalError::Revoked { serial, at, reason }
        }
        Error::Expired { not_after, .. } => RenewalError::TooLate { not_after },
        error => RenewalError::Authority(Box::new(error)),
    };
    let mut ca = open(authority).map_err(refused)?;
    let new = ca
        .renew(&pair.leaf.inspected, request, grace_days, now)
        .map_err(refused)?;
    Ok(Answer {
        certificates: vec![new],
        authorities: vec![ca.issuing().map_err(refused)?.der().to_vec()],
    })
}

fn open((directory, passphrases): (&Path, &PassphraseSources)) -> Result<Ca, Error> {
    Ok(Ca::open(directory)?.with_passphrases(passphrases.clone()))
}

/// Revokes the old one, which nobody uses any more. One that expired needs it no longer.
fn revoke(
    authority: (&Path, &PassphraseSources),
    old: &Leaf,
    now: Timestamp,
) -> Result<Option<Revoked>, RenewalError> {
    let find = Find::Tbs(old.inspected.tbs_sha256);
    let revoked = open(authority).and_then(|mut ca| ca.revoke(&find, Reason::Superseded, now));
    match revoked {
        Ok(revoked) => Ok(Some(revoked)),
        Err(Error::Expired { .. }) => Ok(None),
        Err(error) => Err(RenewalError::OldNotRevoked {
            serial: old.serial().clone(),
            error: Box::new(error),
        }),
    }
}

/// Enrols: a new key, a certificate for it by a one-time token, and the root, in a new directory.
///
/// The token is given to a server alone that proved itself. A token that was spent on a certificate
/// which then could not be kept is lost: ask for another one.
pub fn enrol(plan: &Enrol, now: Timestamp) -> Result<Obtained, RenewalError> {
    let token = plan.token.read()?;
    let key = new_key(&plan.directory)?;
    let new = NewPair::prepare(&plan.directory, &key)?;
    let trust = match &plan.anchor {
        Anchor::File(path) => read_trust(path, now)?,
        Anchor::Fingerprint(fingerprint) => {
            let root =
                est::bootstrap(&plan.server, fingerprint)?.ok_or(RenewalError::Fingerprint)?;
            Trust::of(vec![root], now).map_err(|what| RenewalError::Trust {
                path: PathBuf::from("root"),
                what,
            })?
        }
    };
    let names = der::alternative_name(&plan.name);
    let request = signed_request(&key, der::EMPTY_NAME, &names)?;
    let client = Client::Token {
        user: &plan.name.to_string(),
        token: &token,
    };
    let answer = est::certify(&plan.server, &trust, &client, &request)?;
    let wanted = Wanted {
        spki: key.public().spki(),
        names: WantedNames::AtLeast(&names),
    };
    let chain: Chain = wanted.judge(&answer.certificates, &answer.authorities, &trust, now)?;
    new.appear(&chain, &trust)?;
    Ok(obtained(&chain.leaf, &plan.directory))
}

fn new_key(directory: &Path) -> Result<PrivateKey, RenewalError> {
    PrivateKey::generate(KeyKind::P256).map_err(|error| RenewalError::Key {
        path: directory.to_owned(),
        error,
    })
}

fn signed_request(key: &PrivateKey, subject: &[u8], names: &[u8]) -> Result<Vec<u8>, RenewalError> {
    der::request(key, subject, names).ok_or(RenewalError::Unsigned)
}

fn read_trust(path: &Path, now: Timestamp) -> Result<Trust, RenewalError> {
    let bytes = read_bounded(path, MAX_CERTIFICATE_FILE_OCTETS)?;
    Trust::read(&bytes, now).map_err(|what| RenewalError::Trust {
        path: path.to_owned(),
        what,
    })
}

fn obtained(leaf: &Leaf, directory: &Path) -> Obtained {
    Obtained {
        serial: leaf.serial().clone(),
        validity: leaf.validity(),
        sha256: hex(&sha256(&leaf.der)),
        files: PairFiles::of(directory),
    }
}
