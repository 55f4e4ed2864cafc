//! One row of the inventory, as the rest of the program sees it.

use std::collections::HashMap;

use jiff::Timestamp;

use super::StoreError;
use super::engine::{Engine, Row};
use crate::name::Name;
use crate::profile::{self, Profile, Validity};
use crate::reason::Reason;
use crate::serial::Serial;

/// A certificate's place in the inventory. Also what a page of a list ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateId(pub(super) i64);

impl CertificateId {
    /// As a number, for a program to hand back.
    pub fn number(self) -> i64 {
        self.0
    }

    /// The place that was handed out as this number.
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }
}

/// How far a certificate came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Its serial was drawn; nothing was built with it yet.
    Reserved,
    /// It was built and linted, and may have been signed.
    Pending,
    /// It was signed and stored.
    Issued,
    /// It was revoked.
    Revoked,
}

impl Status {
    /// As it is stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Pending => "pending",
            Self::Issued => "issued",
            Self::Revoked => "revoked",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Reserved, Self::Pending, Self::Issued, Self::Revoked]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

/// Where the key of a certificate was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrigin {
    /// Here, beside the authority (`--new-key`).
    New,
    /// At its holder, who proved possession by a request.
    Request,
}

impl KeyOrigin {
    /// As it is stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Request => "request",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::New, Self::Request]
            .into_iter()
            .find(|origin| origin.as_str() == text)
    }
}

/// Everything that is known of one certificate, but for its octets.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its place.
    pub id: CertificateId,
    /// Its serial.
    pub serial: Serial,
    /// The role of its issuer: `root` or `issuing`.
    pub issuer: String,
    /// The shard of CRLs that it belongs to; `None` if its issuer's one CRL speaks for all.
    pub shard: Option<u16>,
    /// How far it came.
    pub status: Status,
    /// Its profile.
    pub profile: &'static Profile,
    /// What it is called: its first name, or the common name of an authority.
    pub label: String,
    /// Its alternative names, in order.
    pub names: Vec<Name>,
    /// Where its key was made.
    pub key_origin: KeyOrigin,
    /// SHA-256 of its key's SubjectPublicKeyInfo, in hexadecimal.
    pub key_sha256: String,
    /// When its serial was drawn.
    pub reserved_at: Timestamp,
    /// SHA-256 of what was to be signed, in hexadecimal; from `pending` on.
    pub tbs_sha256: Option<String>,
    /// From when until when it is valid; from `pending` on.
    pub validity: Option<Validity>,
    /// SHA-256 of the certificate, in hexadecimal; if it was stored.
    pub fingerprint: Option<String>,
    /// When it was stored.
    pub issued_at: Option<Timestamp>,
    /// When and why it was revoked.
    pub revoked: Option<(Timestamp, Reason)>,
}

impl Record {
    /// Whether it is past its notAfter.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.validity
            .is_some_and(|validity| validity.not_after < now)
    }

    /// Whether somebody could use it now or later: issued, or perhaps signed, not revoked, not
    /// expired.
    pub fn is_live(&self, now: Timestamp) -> bool {
        matches!(self.status, Status::Pending | Status::Issued) && !self.is_expired(now)
    }
}

/// The columns that [`read`] reads, of `certificates AS c` and `authorities AS a`.
pub(super) const COLUMNS: &str = "c.id, c.serial, a.role, c.status, c.profile, c.label, \
     c.key_origin, c.reserved_at, c.tbs_sha256, c.not_before, c.not_after, c.fingerprint, \
     c.issued_at, c.revoked_at, c.reason, c.shard, c.key_sha256";

/// Reads a row of [`COLUMNS`]. The names belong to it, but stand elsewhere ([`add_names`]).
pub(super) fn read(row: &Row) -> Result<Record, StoreError> {
    let corrupt = |what| StoreError::Corrupt { what };
    let validity = match (optional_time(row, 9)?, optional_time(row, 10)?) {
        (Some(not_before), Some(not_after)) => Some(Validity {
            not_before,
            not_after,
        }),
        _ => None,
    };
    let revoked = match (optional_time(row, 13)?, row.optional_text(14)?) {
        (Some(at), Some(reason)) => Some((at, Reason::parse(reason).ok_or(corrupt("a reason"))?)),
        _ => None,
    };
    Ok(Record {
        id: CertificateId(row.integer(0)?),
        serial: Serial::parse(row.text(1)?).map_err(|_| corrupt("a serial"))?,
        issuer: row.text(2)?.to_owned(),
        shard: shard_of(row.integer(15)?)?,
        status: Status::parse(row.text(3)?).ok_or(corrupt("a status"))?,
        profile: profile::named(row.text(4)?).ok_or(corrupt("a profile"))?,
        label: row.text(5)?.to_owned(),
        names: Vec::new(),
        key_origin: KeyOrigin::parse(row.text(6)?).ok_or(corrupt("a key origin"))?,
        key_sha256: row.text(16)?.to_owned(),
        reserved_at: optional_time(row, 7)?.ok_or(corrupt("a time"))?,
        tbs_sha256: row.optional_text(8)?.map(str::to_owned),
        validity,
        fingerprint: row.optional_text(11)?.map(str::to_owned),
        issued_at: optional_time(row, 12)?,
        revoked,
    })
}

/// Of how many certificates the names are read at once.
const NAMES_OF: usize = 500;

/// Reads the names of these certificates.
pub(super) fn add_names(engine: &Engine, records: &mut [Record]) -> Result<(), StoreError> {
    for records in records.chunks_mut(NAMES_OF) {
        let mut places: HashMap<i64, &mut Record> = HashMap::with_capacity(records.len());
        let mut ids = Vec::with_capacity(records.len());
        for record in records {
            ids.push(record.id.0.to_string());
            places.insert(record.id.0, record);
        }
        let sql = format!(
            "SELECT certificate, kind, value FROM names WHERE certificate IN ({})
              ORDER BY certificate, position",
            ids.join(", ")
        );
        engine.each(&sql, &[], &mut |row| {
            if let Some(record) = places.get_mut(&row.integer(0)?) {
                record.names.push(name(row.text(1)?, row.text(2)?)?);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The names of one certificate.
pub(super) fn names(engine: &Engine, id: i64) -> Result<Vec<Name>, StoreError> {
    engine
        .query(
            "SELECT kind, value FROM names WHERE certificate = ?1 ORDER BY position",
            &[id.into()],
        )?
        .iter()
        .map(|row| name(row.text(0)?, row.text(1)?))
        .collect()
}

/// A name as it was stored.
pub(super) fn name(kind: &str, value: &str) -> Result<Name, StoreError> {
    Name::from_parts(kind, value).map_err(|_| StoreError::Corrupt { what: "a name" })
}

/// A shard as it is stored: the whole list is -1.
pub(super) fn shard_column(shard: Option<u16>) -> i64 {
    shard.map_or(WHOLE, i64::from)
}

/// A shard as it was stored.
pub(super) fn shard_of(column: i64) -> Result<Option<u16>, StoreError> {
    if column == WHOLE {
        return Ok(None);
    }
    u16::try_from(column)
        .map(Some)
        .map_err(|_| StoreError::Corrupt { what: "a shard" })
}

/// What stands for no shard where a shard is stored, because NULL equals nothing in a key.
const WHOLE: i64 = -1;

/// A time of the store, if there is one.
pub(super) fn optional_time(row: &Row, column: usize) -> Result<Option<Timestamp>, StoreError> {
    row.optional_integer(column)?.map(time).transpose()
}

/// A time of the store.
pub(super) fn time(seconds: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_second(seconds).map_err(|_| StoreError::Corrupt { what: "a time" })
}
