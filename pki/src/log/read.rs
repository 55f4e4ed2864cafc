//! What the log says of certificates, to be held against the inventory.

use std::path::Path;

use audit::event::{CertificateIntended, Entry, Event, Time};
use audit::{entry, read};
use jiff::Timestamp;

use super::{AuditLog, LogError};
use crate::name::Name;
use crate::profile::{self, NameRule, Profile, Role, Validity};
use crate::serial::Serial;

/// What the log says of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// What was, or was about to be, done with it.
    pub step: LoggedStep,
    /// The issuer's key identifier, in hexadecimal.
    pub issuer: String,
    /// Its serial.
    pub serial: Serial,
    /// Of one that was about to be signed: what it was to say.
    pub intended: Option<LoggedIntention>,
}

/// What a certificate that was about to be signed was to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIntention {
    /// Its profile.
    pub profile: &'static Profile,
    /// Its alternative names.
    pub names: Vec<Name>,
    /// What lists call it: its first name or, without any, its common name.
    pub label: String,
    /// From when until when it was to be valid.
    pub validity: Validity,
    /// SHA-256 of its public key, in hexadecimal.
    pub key_sha256: String,
    /// SHA-256 of what was signed, in hexadecimal.
    pub tbs_sha256: String,
}

/// What the log says was, or was about to be, done with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoggedStep {
    /// It was about to be signed: it may exist.
    Intended,
    /// It was signed, and was in the inventory then.
    Issued,
    /// It was about to be revoked.
    Revoked,
}

/// What the log of the authority in `directory` says of certificates, in its order, also while somebody
/// writes to it. To be held against the inventory. Holds one batch of the log in memory, at most 1 MiB.
///
/// It follows the links of the log and stops with an error where they break; signatures are
/// `audit verify`'s to judge.
#[must_use]
pub fn certificates(directory: &Path) -> Certificates {
    Certificates {
        reader: read::Reader::new(&AuditLog::of(directory).directory()),
        batch: Vec::new().into_iter(),
        is_over: false,
    }
}

/// See [`certificates`].
#[derive(Debug)]
pub struct Certificates {
    reader: read::Reader,
    batch: std::vec::IntoIter<Logged>,
    is_over: bool,
}

impl Iterator for Certificates {
    type Item = Result<Logged, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(logged) = self.batch.next() {
                return Some(Ok(logged));
            }
            if self.is_over {
                return None;
            }
            match self.read() {
                Ok(Some(batch)) => self.batch = batch.into_iter(),
                Ok(None) => self.is_over = true,
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Certificates {
    /// Those of the next batch; nothing at the end.
    fn read(&mut self) -> Result<Option<Vec<Logged>>, LogError> {
        let at = self.reader.position();
        let damaged = || LogError::Damaged {
            segment: at.segment,
            offset: at.offset,
        };
        match self.reader.step().map_err(LogError::Read)? {
            read::Step::Segment(_) => Ok(Some(Vec::new())),
            read::Step::End => Ok(None),
            read::Step::Fault(_) => Err(damaged()),
            read::Step::Batch {
                sequence, records, ..
            } => {
                let logged = read::entries(sequence, &records).filter_map(|(_, bytes)| {
                    let entry = entry::decode(bytes).map_err(|_| damaged());
                    entry.and_then(|entry| logged(&entry, damaged)).transpose()
                });
                logged.collect::<Result<_, _>>().map(Some)
            }
        }
    }
}

/// What an entry says of a certificate, if it is about one.
fn logged(entry: &Entry<'_>, damaged: impl Fn() -> LogError) -> Result<Option<Logged>, LogError> {
    let (step, issuer, serial) = match &entry.event {
        Event::CertificateIntended(e) => (LoggedStep::Intended, e.issuer, e.serial),
        Event::CertificateIssued(e) => (LoggedStep::Issued, e.issuer, e.serial),
        Event::CertificateRevoked(e) => (LoggedStep::Revoked, e.issuer, e.serial),
        _ => return Ok(None),
    };
    Ok(Some(Logged {
        step,
        issuer: issuer.to_owned(),
        serial: Serial::parse(serial).map_err(|_| damaged())?,
        intended: match &entry.event {
            Event::CertificateIntended(event) => Some(intention(event).ok_or_else(damaged)?),
            _ => None,
        },
    }))
}

/// `None` if the entry says what no certificate of ours does.
fn intention(event: &CertificateIntended<'_>) -> Option<LoggedIntention> {
    let profile = profile::named(event.profile)?;
    let time = |time: Time| Timestamp::from_second(time.unix_seconds()).ok();
    let has_names =
        matches!(profile.role, Role::EndEntity { names, .. } if names != NameRule::None);
    let names = if has_names {
        let names = event.names.iter().map(|text| name(text));
        names.collect::<Option<_>>()?
    } else {
        Vec::new()
    };
    Some(LoggedIntention {
        profile,
        names,
        label: (*event.names.first()?).to_owned(),
        validity: Validity {
            not_before: time(event.not_before)?,
            not_after: time(event.not_after)?,
        },
        key_sha256: event.public_key.to_string(),
        tbs_sha256: event.tbs.to_string(),
    })
}

/// The log tells names without their kinds; no text is of two.
fn name(text: &str) -> Option<Name> {
    Name::hardware(text)
        .or_else(|_| Name::uri(text))
        .or_else(|_| Name::ip(text))
        .or_else(|_| Name::dns(text))
        .ok()
}
