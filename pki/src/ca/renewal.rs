//! A certificate's successor: same profile, same names, a key that proves itself by a request.
//!
//! Whoever asks holds the old certificate; whether that one still deserves a successor is judged
//! here, by the inventory. The old one stays valid until its end, so that a holder that was
//! interrupted is not locked out.

use jiff::{SignedDuration, Timestamp};

use super::Ca;
use crate::error::Error;
use crate::inspect::Inspected;
use crate::issue::{KeySource, Order, Validated};
use crate::log::Asker;
use crate::profile::EndEntity;
use crate::store::{Find, Record, Status};

/// For how many days after its end a certificate is still renewed, if nothing else is said: a device
/// that was off for a month comes back.
pub const GRACE_DAYS: u32 = 30;

impl Ca {
    /// Issues the successor of `old` for the key of `request`, and returns its octets.
    ///
    /// Refused if `old` is not one of this authority, was revoked, or ended more than `grace_days`
    /// ago; and if the request asks for other names. A refusal is on record, as is what is issued.
    pub fn renew(
        &mut self,
        old: &Inspected,
        request: Vec<u8>,
        grace_days: u32,
        now: Timestamp,
    ) -> Result<Vec<u8>, Error> {
        self.issuing()?;
        let record = self.one(&Find::Tbs(old.tbs_sha256))?;
        let (profile, names) = (record.profile, record.names.clone());
        let renewed = self.renew_or_refuse(record, request, grace_days, now);
        match &renewed {
            Ok(_) | Err(Error::Log(_) | Error::IssuedUnrecorded { .. }) => {}
            Err(error) => self.log.record(|recorder| {
                recorder.refused(error.code(), Some(profile), &names, &Asker::Operator)
            })?,
        }
        renewed
    }

    fn renew_or_refuse(
        &mut self,
        old: Record,
        request: Vec<u8>,
        grace_days: u32,
        now: Timestamp,
    ) -> Result<Vec<u8>, Error> {
        self.refuse_if_issuer_is_revoked()?;
        let (profile, predecessor) = (deserving(&old, grace_days, now)?, old.id);
        let order = Order {
            profile,
            days: same_days(&old, self.issuing()?.validity().not_after, now),
            names: profile.admit(old.names)?,
            key: KeySource::Request(request),
        };
        let validated =
            Validated::check(order, self.issuing()?, now)?.with_predecessor(Some(predecessor));
        let authority = self.unlock()?;
        Ok(self
            .certify(validated, (&authority, &Asker::Operator), now)?
            .der)
    }
}

/// The profile of a certificate that may have a successor.
fn deserving(record: &Record, grace_days: u32, now: Timestamp) -> Result<EndEntity, Error> {
    let serial = record.serial.clone();
    match (record.status, record.revoked, record.validity) {
        (Status::Issued, _, Some(validity)) => {
            let grace = SignedDuration::from_hours(24 * i64::from(grace_days));
            let not_after = validity.not_after;
            if not_after.duration_until(now) > grace {
                return Err(Error::Expired { serial, not_after });
            }
        }
        (Status::Revoked, Some((at, reason)), _) => {
            return Err(Error::AlreadyRevoked { serial, at, reason });
        }
        (Status::Reserved | Status::Pending | Status::Issued | Status::Revoked, _, _) => {
            return Err(Error::NotStored { serial });
        }
    }
    [
        EndEntity::Server,
        EndEntity::Device,
        EndEntity::Client,
        EndEntity::Operator,
    ]
    .into_iter()
    .find(|profile| profile.profile() == record.profile)
    // An authority, or its responder, which it renews itself.
    .ok_or(Error::Foreign)
}

/// The lifetime of the old one in days, if it was given in days and still fits.
pub(super) fn same_days(record: &Record, issuer_ends: Timestamp, now: Timestamp) -> Option<u32> {
    const DAY: i64 = 24 * 60 * 60;
    let seconds = 1 + record
        .reserved_at
        .duration_until(record.validity?.not_after)
        .as_secs();
    let fits = now.duration_until(issuer_ends).as_secs() >= seconds;
    let days = u32::try_from(seconds / DAY).ok()?;
    (seconds % DAY == 0 && fits && (1..=record.profile.max_days).contains(&days)).then_some(days)
}
