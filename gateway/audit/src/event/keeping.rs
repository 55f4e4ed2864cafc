//! Events of keeping: how long what is written is kept, what holds it, and how it ends.
//!
//! All of them stay in the clear, since `verify` judges them without a key. The words in them are an
//! operator's: of the log's owner, or of root.

use minicbor::{Decode, Encode};
use serde::Serialize;

use super::{Digest, Time};

/// `retention`: how long what is written from here on is kept, by class.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Retention<'a> {
    /// Every class that is written to.
    #[cbor(b(0))]
    pub classes: Vec<Kept<'a>>,
}

/// A class of retention, and its period.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Kept<'a> {
    /// Its name.
    #[cbor(b(0))]
    pub class: &'a str,
    /// For how many years from the end of the month in which an entry was written.
    #[n(1)]
    pub years: u16,
}

/// `hold`: somebody holds entries, whatever their age, or lets them go (a legal hold).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Hold<'a> {
    /// Its name, such as that of a case.
    #[cbor(b(0))]
    pub name: &'a str,
    /// Whether it begins; else it ends.
    #[n(1)]
    pub placed: bool,
    /// The first month that it covers, `2026-11`; all before the last without one.
    #[cbor(b(2))]
    pub from: Option<&'a str>,
    /// The last month that it covers; all from the first on without one.
    #[cbor(b(3))]
    pub to: Option<&'a str>,
    /// Why, in the operator's words.
    #[cbor(b(4))]
    pub reason: &'a str,
    /// Who.
    #[n(5)]
    pub by: By,
}

/// `destruction`: the keys of an epoch are destroyed, so that nobody reads its entries any more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Destruction<'a> {
    /// Month and class, `2020-11/standard`.
    #[cbor(b(0))]
    pub epoch: &'a str,
    /// Whether they are gone now; else they are about to be.
    #[n(1)]
    pub done: bool,
    /// How many records of keys.
    #[n(2)]
    pub keys: u32,
    /// SHA-256 over a line for each of them, in the order of their names: `NAME DIGEST`, and a line feed.
    #[n(3)]
    pub digest: Digest,
    /// Why, in the operator's words.
    #[cbor(b(4))]
    pub reason: &'a str,
    /// Who.
    #[n(5)]
    pub by: By,
}

/// `backup`: somebody copies the signed part of the log, for a backup or a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Backup {
    /// How many entries its last checkpoint was about when the copy began.
    #[n(0)]
    pub entries: u64,
    /// Who.
    #[n(1)]
    pub by: By,
}

/// `restored`: the log goes on from a backup; what was written behind that is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Restored<'a> {
    /// How many entries the backup held.
    #[n(0)]
    pub entries: u64,
    /// The time of its last entry.
    #[n(1)]
    pub last: Option<Time>,
    /// Why, in the operator's words.
    #[cbor(b(2))]
    pub reason: &'a str,
    /// Who.
    #[n(3)]
    pub by: By,
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct By {
    /// The user: as the kernel says where a gateway recorded it.
    #[n(0)]
    pub uid: u32,
    /// The user who had logged in, where the system knows.
    #[n(1)]
    pub login_uid: Option<u32>,
    /// Whether a gateway that served the log recorded it.
    #[n(2)]
    pub served: bool,
}

/// No reason in an entry is longer, bytes.
pub const MAX_REASON: usize = 1024;

/// No name of a hold is longer, bytes.
pub(super) const MAX_NAME: usize = 64;

/// Whether a text has room and is more than nothing: what comes from outside has to be asked.
fn is_said(text: &str, most: usize) -> bool {
    !text.trim().is_empty() && text.len() <= most
}

impl Hold<'_> {
    /// Whether it says no more than it may.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        is_said(self.name, MAX_NAME)
            && is_said(self.reason, MAX_REASON)
            && self.from.is_none_or(is_month)
            && self.to.is_none_or(is_month)
            && self
                .from
                .is_none_or(|from| self.to.is_none_or(|to| from <= to))
    }
}

impl Destruction<'_> {
    /// Whether it says no more than it may.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        is_said(self.reason, MAX_REASON) && self.epoch.len() <= MAX_NAME
    }
}

/// Whether this is a month such as `2026-11`.
fn is_month(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('-') {
        Some((year, month)) => {
            year.len() == 4
                && digits(year)
                && month.len() == 2
                && ("01"..="12").contains(&month)
                && digits(month)
        }
        None => false,
    }
}
