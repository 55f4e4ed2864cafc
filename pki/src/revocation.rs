//! Revocation: which certificates a request means, and the CRLs that tell verifiers
//! (RFC 5280 sections 3.3, 5).
//!
//! The inventory is the truth. A revocation is recorded there first, durable; a CRL is signed from
//! it afterwards, and can be again at any time. So a crash between the two loses nothing, and says
//! so. A CRL's file is replaced in one step: no reader sees half of one.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::authority::{Authority, CrlContent, Level};
use crate::error::Error;
use crate::files::{Readers, replace};
use crate::pem;
use crate::profile::{ProfileError, Role, whole_seconds};
use crate::reason::Reason;
use crate::store::{AuthorityId, AuthorityRole, CrlState, Find, Record, Status, Store};

/// Longest validity of a CRL that is offered, in days.
pub const MAX_CRL_DAYS: u32 = 365;

/// The CRL of an authority that is published now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedCrl {
    /// Whose it is.
    pub issuer: AuthorityRole,
    /// Its file.
    pub path: PathBuf,
    /// Number, dates and length.
    pub state: CrlState,
}

/// Where an authority's CRL is published.
#[derive(Debug)]
pub(crate) struct CrlFile {
    /// What verifiers read.
    pub(crate) published: PathBuf,
    /// Where it is written before, out of their sight, on the same file system.
    pub(crate) scratch: PathBuf,
}

/// Picks, of the certificates that were found, those to revoke.
///
/// By serial or certificate that is the one found, and the answer says why if it cannot be. By name
/// it is every live one, pending ones included, which may have been signed; if none is live, the
/// latest says why.
pub(crate) fn judge(
    found: Vec<Record>,
    find: &Find,
    reason: Reason,
    now: Timestamp,
) -> Result<Vec<Record>, Error> {
    let Some(latest) = found.first().cloned() else {
        return Err(match find {
            Find::Tbs(_) => Error::Foreign,
            Find::Serial(_) | Find::Id(_) => Error::NotFound,
        });
    };
    let picked: Vec<Record> = found
        .into_iter()
        .filter(|record| record.is_live(now))
        .collect();
    if picked.is_empty() {
        return Err(why_not(latest));
    }
    for record in &picked {
        let is_authority = matches!(record.profile.role, Role::Authority { .. });
        if record.profile == crate::profile::root() {
            return Err(Error::RootRevocation);
        }
        if reason.row().authorities_only && !is_authority {
            return Err(Error::ReasonForAuthorities { reason });
        }
    }
    Ok(picked)
}

/// Why a certificate that is not live cannot be revoked.
fn why_not(record: Record) -> Error {
    let serial = record.serial;
    match (record.status, record.revoked, record.validity) {
        (Status::Revoked, Some((at, reason)), _) => Error::AlreadyRevoked { serial, at, reason },
        (Status::Pending | Status::Issued | Status::Revoked, _, Some(validity)) => Error::Expired {
            serial,
            not_after: validity.not_after,
        },
        (Status::Reserved, _, _) | (_, _, None) => Error::NeverSigned { serial },
    }
}

/// Signs a CRL from the inventory and publishes it, valid for `days` and never beyond the
/// authority itself.
pub(crate) fn publish<L: Level>(
    authority: &Authority<L>,
    id: AuthorityId,
    file: &CrlFile,
    days: u32,
    store: &mut Store,
    now: Timestamp,
) -> Result<PublishedCrl, Error> {
    if !(1..=MAX_CRL_DAYS).contains(&days) {
        return Err(Error::CrlDays {
            asked: days,
            at_most: MAX_CRL_DAYS,
        });
    }
    let this_update = whole_seconds(now)?;
    let validity = authority.certificate().validity();
    if !validity.contains(this_update) || this_update == validity.not_after {
        return Err(ProfileError::IssuerOutOfDate { now, validity }.into());
    }
    let next_update = this_update
        .checked_add(SignedDuration::from_hours(24 * i64::from(days)))
        .map_err(|_| ProfileError::Clock { now })?
        .min(validity.not_after);
    let number = store.take_crl_number(id)?;
    let state = store.publish_crl::<Error>(id, number, (this_update, next_update), |entries| {
        let der = authority.sign_crl(&CrlContent {
            number,
            this_update,
            next_update,
            entries,
        })?;
        write(&file.published, &file.scratch, &der)
    })?;
    Ok(PublishedCrl {
        issuer: L::ROLE,
        path: file.published.clone(),
        state,
    })
}

fn write(published: &Path, scratch: &Path, der: &[u8]) -> Result<(), Error> {
    let text = pem::crl(der);
    replace(published, scratch, Readers::Everybody, text.as_bytes())?;
    Ok(())
}
