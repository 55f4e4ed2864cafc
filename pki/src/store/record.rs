//! One row of the inventory, as the rest of the program sees it.

use jiff::Timestamp;
use rusqlite::{Connection, Row};

use super::StoreError;
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

    fn parse(text: &str) -> Option<Self> {
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
     c.issued_at, c.revoked_at, c.reason, c.shard";

/// Reads a row of [`COLUMNS`], and the names that belong to it.
pub(super) fn read(connection: &Connection, row: &Row<'_>) -> Result<Record, StoreError> {
    let id: i64 = row.get(0)?;
    let corrupt = |what| StoreError::Corrupt { what };
    let validity = match (optional_time(row, 9)?, optional_time(row, 10)?) {
        (Some(not_before), Some(not_after)) => Some(Validity {
            not_before,
            not_after,
        }),
        _ => None,
    };
    let revoked = match (optional_time(row, 13)?, row.get::<_, Option<String>>(14)?) {
        (Some(at), Some(reason)) => Some((at, Reason::parse(&reason).ok_or(corrupt("a reason"))?)),
        _ => None,
    };
    Ok(Record {
        id: CertificateId(id),
        serial: Serial::parse(&row.get::<_, String>(1)?).map_err(|_| corrupt("a serial"))?,
        issuer: row.get(2)?,
        shard: shard_of(row.get(15)?)?,
        status: Status::parse(&row.get::<_, String>(3)?).ok_or(corrupt("a status"))?,
        profile: profile::named(&row.get::<_, String>(4)?).ok_or(corrupt("a profile"))?,
        label: row.get(5)?,
        names: read_names(connection, id)?,
        key_origin: KeyOrigin::parse(&row.get::<_, String>(6)?).ok_or(corrupt("a key origin"))?,
        reserved_at: optional_time(row, 7)?.ok_or(corrupt("a time"))?,
        tbs_sha256: row.get(8)?,
        validity,
        fingerprint: row.get(11)?,
        issued_at: optional_time(row, 12)?,
        revoked,
    })
}

pub(super) fn read_names(connection: &Connection, id: i64) -> Result<Vec<Name>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT kind, value FROM names WHERE certificate = ?1 ORDER BY position")?;
    let mut rows = statement.query([id])?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        let (kind, value): (String, String) = (row.get(0)?, row.get(1)?);
        names.push(
            Name::from_parts(&kind, &value).map_err(|_| StoreError::Corrupt { what: "a name" })?,
        );
    }
    Ok(names)
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
pub(super) fn optional_time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, StoreError> {
    row.get::<_, Option<i64>>(column)?
        .map(|seconds| {
            Timestamp::from_second(seconds).map_err(|_| StoreError::Corrupt { what: "a time" })
        })
        .transpose()
}
