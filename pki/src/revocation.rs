//! Revocation: which certificates a request means, and the CRLs that tell verifiers
//! (RFC 5280 sections 3.3, 5).
//!
//! The inventory is the truth. A revocation is recorded there first, durable; a CRL is signed from
//! it afterwards, and can be again at any time. So a crash between the two loses nothing, and says
//! so. A CRL's file is replaced in one step: no reader sees half of one.
//!
//! That a CRL will be signed is on record before it is, with the hash of what is signed; what is
//! published is on record behind it.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::authority::{Authority, CrlContent, Level};
use crate::error::Error;
use crate::files::{Readers, replace};
use crate::log::{CrlEntry, Recorder};
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
    /// Which part of the certificates it speaks for; all if `None`.
    pub(crate) shard: Option<u16>,
    /// The distribution point that names this part.
    pub(crate) point: Option<String>,
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
    (store, recorder): (&mut Store, &Recorder),
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
    let updates = (this_update, next_update);
    let mut again = if store.is_shared() { MAX_OVERTAKEN } else { 0 };
    loop {
        let (state, ours) = publish_one(authority, id, file, updates, (store, recorder))?;
        // Who overtook this one and shares only the inventory wrote a file of its own.
        if ours || again == 0 {
            return Ok(PublishedCrl {
                issuer: L::ROLE,
                path: file.published.clone(),
                state,
            });
        }
        again -= 1;
    }
}

/// How often another issuer may publish a later CRL first, before this one leaves it at that.
const MAX_OVERTAKEN: u32 = 8;

/// Signs one CRL and publishes it, unless a later one was published meanwhile. Returns the one that
/// is published now, and whether it is this one.
fn publish_one<L: Level>(
    authority: &Authority<L>,
    id: AuthorityId,
    file: &CrlFile,
    updates: (Timestamp, Timestamp),
    (store, recorder): (&mut Store, &Recorder),
) -> Result<(CrlState, bool), Error> {
    let number = store.take_crl_number(id, file.shard)?;
    let (this_update, next_update) = updates;
    let mut tbs_sha256 = None;
    let entry = |tbs_sha256, entries| CrlEntry {
        issuer: authority.certificate().key_id(),
        shard: file.shard,
        number,
        updates,
        entries,
        tbs_sha256,
    };
    let state = store.publish_crl::<Error>(id, file.shard, number, updates, |entries| {
        let draft = authority.draft_crl(&CrlContent {
            number,
            this_update,
            next_update,
            point: file.point.as_deref(),
            entries,
        })?;
        let intended = entry(*draft.tbs_sha256(), entries.len() as u64);
        let recorded = recorder.intend_crl(&intended)?;
        let der = authority.sign_crl(&draft, recorded)?;
        tbs_sha256 = Some(*draft.tbs_sha256());
        write(&file.published, &file.scratch, &der)
    })?;
    // Nothing, where a later number was published meanwhile.
    if let Some(tbs_sha256) = tbs_sha256 {
        recorder.published(&entry(tbs_sha256, state.entries))?;
    }
    Ok((state, tbs_sha256.is_some()))
}

fn write(published: &Path, scratch: &Path, der: &[u8]) -> Result<(), Error> {
    let text = pem::crl(der);
    replace(published, scratch, Readers::Everybody, text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::tests::{new_issuing, new_root, now};
    use crate::profile::{EndEntity, Profile, Validity, issuing, root};
    use crate::serial::Serial;
    use crate::store::{CertificateId, KeyOrigin};

    fn record(number: u8, status: Status, profile: &'static Profile) -> Record {
        let day = SignedDuration::from_hours(24);
        Record {
            id: CertificateId::from_number(i64::from(number)),
            serial: Serial::from_octets(&[number]).unwrap(),
            issuer: "issuing".to_owned(),
            shard: None,
            status,
            profile,
            label: "urn:example:a".to_owned(),
            names: Vec::new(),
            key_origin: KeyOrigin::New,
            key_sha256: "4f".repeat(32),
            reserved_at: now(),
            tbs_sha256: None,
            validity: (status != Status::Reserved).then(|| Validity {
                not_before: now() - day,
                not_after: now() + day,
            }),
            fingerprint: None,
            issued_at: None,
            revoked: (status == Status::Revoked).then_some((now(), Reason::Superseded)),
        }
    }

    fn device(number: u8, status: Status) -> Record {
        record(number, status, EndEntity::Device.profile())
    }

    fn by_name() -> Find {
        Find::Id("urn:example:a".to_owned())
    }

    fn picked(found: Vec<Record>, reason: Reason, at: Timestamp) -> Result<Vec<i64>, Error> {
        let picked = judge(found, &by_name(), reason, at)?;
        Ok(picked.iter().map(|record| record.id.number()).collect())
    }

    #[test]
    fn by_name_the_live_ones_are_picked_and_pending_ones_count_as_live() {
        let found = vec![
            device(5, Status::Issued),
            device(4, Status::Pending),
            device(3, Status::Revoked),
            device(2, Status::Reserved),
            device(1, Status::Issued),
        ];
        assert_eq!(picked(found, Reason::Superseded, now()).unwrap(), [5, 4, 1]);
    }

    #[test]
    fn an_expired_certificate_is_not_revoked_and_the_answer_says_when_it_expired() {
        let found = vec![device(1, Status::Issued)];
        let last_second = now() + SignedDuration::from_hours(24);
        assert!(picked(found.clone(), Reason::Superseded, last_second).is_ok());
        let later = last_second + SignedDuration::from_secs(1);
        assert!(matches!(
            picked(found, Reason::Superseded, later),
            Err(Error::Expired { not_after, .. }) if not_after == last_second
        ));
    }

    #[test]
    fn a_serial_that_was_only_drawn_has_nothing_to_revoke() {
        assert!(matches!(
            picked(vec![device(1, Status::Reserved)], Reason::Superseded, now()),
            Err(Error::NeverSigned { .. })
        ));
    }

    #[test]
    fn what_was_revoked_says_when_and_why() {
        assert!(matches!(
            picked(
                vec![device(1, Status::Revoked)],
                Reason::KeyCompromise,
                now()
            ),
            Err(Error::AlreadyRevoked {
                reason: Reason::Superseded,
                ..
            })
        ));
    }

    #[test]
    fn what_is_not_there_is_not_found_and_a_foreign_certificate_is_foreign() {
        assert!(matches!(
            picked(Vec::new(), Reason::Superseded, now()),
            Err(Error::NotFound)
        ));
        let foreign = judge(Vec::new(), &Find::Tbs([0; 32]), Reason::Superseded, now());
        assert!(matches!(foreign, Err(Error::Foreign)));
    }

    #[test]
    fn a_root_revokes_everything_below_it_but_not_itself() {
        let reason = Reason::CaCompromise;
        let below = record(1, Status::Issued, issuing());
        assert!(picked(vec![below], reason, now()).is_ok());
        let itself = record(1, Status::Issued, root());
        assert!(matches!(
            picked(vec![itself], reason, now()),
            Err(Error::RootRevocation)
        ));
        assert!(matches!(
            picked(vec![device(1, Status::Issued)], reason, now()),
            Err(Error::ReasonForAuthorities { .. })
        ));
    }

    #[test]
    fn a_crl_never_promises_beyond_the_end_of_its_authority() {
        let (name, root) = new_root();
        let issuing = new_issuing(&name, &root);
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::create(&directory.path().join("inventory.db")).unwrap();
        let certificate = issuing.certificate();
        let id = store
            .add_authority(AuthorityRole::Issuing, certificate.key_id())
            .unwrap();
        let file = CrlFile {
            published: directory.path().join("issuing.crl"),
            scratch: directory.path().join("issuing.crl.new"),
            shard: None,
            point: None,
        };
        let ends = certificate.validity().not_after;
        let (_directory, log) = crate::log::tests::new_log();
        let recorder = log.open().unwrap();
        let mut at = |time| publish(&issuing, id, &file, 7, (&mut store, &recorder), time);
        let last = at(ends - SignedDuration::from_hours(1)).unwrap();
        assert_eq!(last.state.next_update, ends);
        for too_late in [ends, ends + SignedDuration::from_secs(1)] {
            assert!(matches!(
                at(too_late),
                Err(Error::Profile(ProfileError::IssuerOutOfDate { .. }))
            ));
        }
    }
}
