//! After a crash or a restore: certificates that may exist and that nobody answers for are found, taken
//! into the inventory, and revoked.
//!
//! Two kinds. *Pending*: the inventory holds them, and the run that was to sign them did not come to its
//! end. *Unknown*: the log says that they were about to be signed, and the inventory, from a backup that is
//! older, knows nothing of them. And what the log says was revoked, while such an inventory still holds it
//! for good, is revoked again. Revocation is possible before certainty: whether one exists does not
//! matter once it is revoked.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Ca, Revoked, Which};
use crate::error::Error;
use crate::log::{Logged, LoggedStep, certificates};
use crate::reason::Reason;
use crate::serial::Serial;
use crate::store::{Adopted, AuthorityRole, Filter, Find, MAX_PAGE, Record, Status, StatusFilter};

/// Most unknown certificates that are found at once; a second run finds the next ones.
const MOST_UNKNOWN: usize = 10_000;

/// Certificates that nobody answers for.
#[derive(Debug, Default)]
pub struct Unfinished {
    /// In the inventory, perhaps signed, not stored; at most 10,000.
    pub pending: Vec<Record>,
    /// Only in the log; at most 10,000.
    pub unknown: Vec<Serial>,
    /// Revoked by the word of the log, and not in the inventory; at most 10,000.
    pub taken_back: Vec<Serial>,
    /// Serials that were drawn and never used. Nothing was built with them; there is nothing to revoke.
    pub reserved: u64,
}

impl Ca {
    /// What a crash or a restore left. Changes nothing.
    pub fn unfinished(&self, now: Timestamp) -> Result<Unfinished, Error> {
        let stored = |status| Filter {
            status: Some(StatusFilter::Stored(status)),
            ..Filter::default()
        };
        let pending = self
            .store
            .list(&stored(Status::Pending), None, MAX_PAGE, now)?;
        let reserved = self.store.list(&stored(Status::Reserved), None, 1, now)?;
        let unknown = self.unknown()?;
        Ok(Unfinished {
            pending: pending.records,
            unknown: unknown.into_iter().map(|logged| logged.serial).collect(),
            taken_back: self.taken_back()?,
            reserved: reserved.total,
        })
    }

    /// Takes the unknown ones into the inventory, and revokes them and the pending ones, durable and on
    /// record like any revocation. What expired meanwhile stays as it is: no verifier accepts it. What a root
    /// issued whose key is elsewhere is revoked in the inventory alone ([`Revoked::elsewhere`]): nothing is issued
    /// under it any more, and verifiers learn it from that root's list.
    pub fn recover(&mut self, now: Timestamp) -> Result<Revoked, Error> {
        for logged in self.unknown()? {
            self.adopt(&logged, now)?;
        }
        let mut revoked = Revoked {
            records: Vec::new(),
            crls: Vec::new(),
            others: Vec::new(),
            elsewhere: Vec::new(),
        };
        let unfinished = self.unfinished(now)?;
        let pending = unfinished.pending.into_iter();
        let pending = pending.filter(|record| record.is_live(now));
        let serials = pending.map(|record| record.serial);
        for serial in serials.chain(unfinished.taken_back) {
            let find = Find::Serial(serial);
            let one = match self.revoke_those(&find, Which::Told, Reason::Unspecified, now) {
                // It ended meanwhile, or somebody else was faster.
                Err(Error::Expired { .. } | Error::AlreadyRevoked { .. }) => continue,
                one => one?,
            };
            revoked.elsewhere.extend(one.elsewhere);
            revoked.records.extend(one.records);
            for crl in one.crls {
                revoked.crls.retain(|older| older.path != crl.path);
                revoked.crls.push(crl);
            }
        }
        Ok(revoked)
    }

    /// What the log intended to sign and the inventory does not know.
    fn unknown(&self) -> Result<Vec<Logged>, Error> {
        let mut seen = BTreeSet::new();
        let mut unknown = Vec::new();
        for logged in certificates(&self.directory) {
            let logged = logged?;
            if unknown.len() >= MOST_UNKNOWN {
                break;
            }
            if logged.step == LoggedStep::Intended
                && seen.insert(logged.serial.clone())
                && self
                    .store
                    .find(&Find::Serial(logged.serial.clone()))?
                    .is_empty()
            {
                unknown.push(logged);
            }
        }
        Ok(unknown)
    }

    /// What the log says was revoked and the inventory holds as good.
    fn taken_back(&self) -> Result<Vec<Serial>, Error> {
        let mut taken_back = BTreeSet::new();
        for logged in certificates(&self.directory) {
            let logged = logged?;
            if taken_back.len() >= MOST_UNKNOWN {
                break;
            }
            if logged.step == LoggedStep::Revoked && self.is_good(&logged.serial)? {
                taken_back.insert(logged.serial);
            }
        }
        Ok(taken_back.into_iter().collect())
    }

    /// Whether the inventory holds it, and not as revoked.
    pub(super) fn is_good(&self, serial: &Serial) -> Result<bool, Error> {
        let found = self.store.find(&Find::Serial(serial.clone()))?;
        Ok(found
            .iter()
            .any(|record| matches!(record.status, Status::Pending | Status::Issued)))
    }

    fn adopt(&mut self, logged: &Logged, now: Timestamp) -> Result<(), Error> {
        let Some(intended) = &logged.intended else {
            return Ok(());
        };
        let issuer = if logged.issuer == self.root.1.key_id().to_string() {
            AuthorityRole::Root
        } else {
            AuthorityRole::Issuing
        };
        let shard = match issuer {
            AuthorityRole::Root => None,
            AuthorityRole::Issuing => self
                .publication
                .as_ref()
                .map(|publication| publication.shard_of(&logged.serial)),
        };
        let adopted = Adopted {
            profile: intended.profile,
            names: &intended.names,
            label: &intended.label,
            key_sha256: &intended.key_sha256,
            tbs_sha256: &intended.tbs_sha256,
            validity: intended.validity,
            shard,
        };
        let id = self.id(issuer)?;
        Ok(self.store.adopt(id, &logged.serial, &adopted, now)?)
    }
}
