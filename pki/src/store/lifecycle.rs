//! The life of a certificate in the inventory: reserved, pending, issued, revoked. Forward only.

use jiff::Timestamp;
use rusqlite::Transaction;

use super::query::{self, Find};
use super::record::{read_names, shard_column};
use super::{AuthorityId, CertificateId, KeyOrigin, Record, Store, StoreError};
use crate::name::Name;
use crate::profile::{Profile, Validity};
use crate::public_key::{PublicKey, hex, sha256};
use crate::reason::Reason;
use crate::serial::Serial;

/// What is known when a serial is drawn.
#[derive(Debug)]
pub struct Reservation<'a> {
    /// The profile.
    pub profile: &'static Profile,
    /// What lists call it.
    pub label: &'a str,
    /// The names it will carry.
    pub names: &'a [Name],
    /// The key it will certify.
    pub key: &'a PublicKey,
    /// Where that key was made.
    pub key_origin: KeyOrigin,
    /// The shard of CRLs that it will name; `None` if its issuer's one CRL speaks for all.
    pub shard: Option<u16>,
}

impl Store {
    /// Records a serial as drawn. Afterwards nobody gets it again, whatever becomes of it.
    ///
    /// Refused, and nothing recorded, if the inventory knows something of the key that speaks
    /// against certifying it under these names.
    pub fn reserve(
        &mut self,
        issuer: AuthorityId,
        serial: &Serial,
        reservation: &Reservation<'_>,
        now: Timestamp,
    ) -> Result<CertificateId, StoreError> {
        let transaction = self.begin()?;
        let key_sha256 = hex(&reservation.key.sha256());
        refuse_known_key(&transaction, &key_sha256, reservation.names, now)?;
        let inserted = transaction.execute(
            "INSERT INTO certificates
                 (issuer, serial, status, profile, label, key_origin, key_sha256, reserved_at, shard)
             VALUES (?1, ?2, 'reserved', ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (issuer, serial) DO NOTHING",
            (
                issuer.0,
                serial.to_string(),
                reservation.profile.name,
                reservation.label,
                reservation.key_origin.as_str(),
                key_sha256,
                now.as_second(),
                shard_column(reservation.shard),
            ),
        )?;
        if inserted == 0 {
            return Err(StoreError::SerialTaken);
        }
        let id = transaction.last_insert_rowid();
        for (position, name) in (0_i64..).zip(reservation.names) {
            transaction.execute(
                "INSERT INTO names (certificate, position, kind, value) VALUES (?1, ?2, ?3, ?4)",
                (id, position, name.kind(), name.to_string()),
            )?;
        }
        transaction.commit()?;
        Ok(CertificateId(id))
    }

    /// Records what is about to be signed. From here on a certificate with this serial may exist.
    pub fn pending(
        &mut self,
        id: CertificateId,
        tbs_sha256: &[u8; 32],
        validity: &Validity,
    ) -> Result<(), StoreError> {
        let transaction = self.begin()?;
        let changed = transaction.execute(
            "UPDATE certificates
                SET status = 'pending', tbs_sha256 = ?2, not_before = ?3, not_after = ?4
              WHERE id = ?1 AND status = 'reserved'",
            (
                id.0,
                hex(tbs_sha256),
                validity.not_before.as_second(),
                validity.not_after.as_second(),
            ),
        )?;
        one_row(changed)?;
        transaction.commit()?;
        Ok(())
    }

    /// Records the signed certificate.
    ///
    /// Refused with [`StoreError::State`] if it was revoked meanwhile: a pending serial can be.
    pub fn issued(
        &mut self,
        id: CertificateId,
        der: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let transaction = self.begin()?;
        let changed = transaction.execute(
            "UPDATE certificates
                SET status = 'issued', der = ?2, fingerprint = ?3, issued_at = ?4
              WHERE id = ?1 AND status = 'pending'",
            (id.0, der, hex(&sha256(der)), now.as_second()),
        )?;
        one_row(changed)?;
        transaction.commit()?;
        Ok(())
    }

    /// Revokes the certificates that `judge` picks among those that `find` finds, all of them or
    /// none. Nothing changes between the judgement and the revocation.
    pub fn revoke<E: From<StoreError>>(
        &mut self,
        find: &Find,
        reason: Reason,
        now: Timestamp,
        judge: impl FnOnce(Vec<Record>) -> Result<Vec<Record>, E>,
    ) -> Result<Vec<Record>, E> {
        let transaction = self.begin()?;
        let mut picked = judge(query::find(&transaction, find)?)?;
        for record in &mut picked {
            let changed = transaction
                .execute(
                    "UPDATE certificates SET status = 'revoked', revoked_at = ?2, reason = ?3
                      WHERE id = ?1 AND status IN ('pending', 'issued')",
                    (record.id.0, now.as_second(), reason.row().name),
                )
                .map_err(StoreError::from)?;
            one_row(changed)?;
            record.status = super::Status::Revoked;
            record.revoked = Some((now, reason));
        }
        transaction.commit().map_err(StoreError::from)?;
        Ok(picked)
    }
}

/// Refuses a key that was reported as compromised, whenever that was, and one that a live
/// certificate carries under entirely other names: each holder has a key of its own.
///
/// A certificate that was issued under a wrong name by mistake stands in the way until it is
/// revoked. A server may gain and lose hosts and keep its key, as long as one name stays.
fn refuse_known_key(
    transaction: &Transaction<'_>,
    key_sha256: &str,
    names: &[Name],
    now: Timestamp,
) -> Result<(), StoreError> {
    let compromised: bool = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM certificates
           WHERE key_sha256 = ?1 AND reason IN ('keyCompromise', 'cACompromise'))",
        [key_sha256],
        |row| row.get(0),
    )?;
    if compromised {
        return Err(StoreError::KeyCompromised);
    }
    let mut live = transaction.prepare(
        "SELECT id FROM certificates
          WHERE key_sha256 = ?1 AND status IN ('pending', 'issued') AND not_after >= ?2",
    )?;
    let mut rows = live.query((key_sha256, now.as_second()))?;
    while let Some(row) = rows.next()? {
        let carried = read_names(transaction, row.get(0)?)?;
        if !carried.iter().any(|name| names.contains(name)) {
            return Err(StoreError::KeyOfAnother);
        }
    }
    Ok(())
}

fn one_row(changed: usize) -> Result<(), StoreError> {
    if changed == 1 {
        Ok(())
    } else {
        Err(StoreError::State)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::key::PrivateKey;
    use crate::profile::EndEntity;
    use crate::public_key::KeyKind;
    use crate::store::tests::new_store;

    pub(crate) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    pub(crate) fn serial(number: u64) -> Serial {
        Serial::from_octets(&number.to_be_bytes()).unwrap()
    }

    pub(crate) fn a_key() -> PublicKey {
        PrivateKey::generate(KeyKind::P256)
            .unwrap()
            .public()
            .clone()
    }

    pub(crate) fn reserve(
        store: &mut Store,
        issuer: AuthorityId,
        number: u64,
        name: &str,
        key: &PublicKey,
    ) -> Result<CertificateId, StoreError> {
        let names = [Name::uri(name).unwrap()];
        let reservation = Reservation {
            profile: EndEntity::Device.profile(),
            label: name,
            names: &names,
            key,
            key_origin: KeyOrigin::New,
            shard: None,
        };
        store.reserve(issuer, &serial(number), &reservation, at(0))
    }

    /// Like [`issue`], in a shard.
    pub(crate) fn issue_in_shard(
        store: &mut Store,
        issuer: AuthorityId,
        number: u64,
        shard: Option<u16>,
        seconds: i64,
    ) -> CertificateId {
        let names = [Name::uri(&format!("urn:example:{number}")).unwrap()];
        let reservation = Reservation {
            profile: EndEntity::Device.profile(),
            label: "urn:example:a",
            names: &names,
            key: &a_key(),
            key_origin: KeyOrigin::New,
            shard,
        };
        let id = store
            .reserve(issuer, &serial(number), &reservation, at(0))
            .unwrap();
        pend(store, id, seconds);
        store.issued(id, &number.to_be_bytes(), at(0)).unwrap();
        id
    }

    /// Issued at `at(0)`, valid for `seconds`.
    pub(crate) fn issue(
        store: &mut Store,
        issuer: AuthorityId,
        number: u64,
        name: &str,
        seconds: i64,
    ) -> CertificateId {
        let id = reserve(store, issuer, number, name, &a_key()).unwrap();
        let validity = Validity {
            not_before: at(0),
            not_after: at(seconds),
        };
        store.pending(id, &[1; 32], &validity).unwrap();
        store.issued(id, &number.to_be_bytes(), at(0)).unwrap();
        id
    }

    fn revoke(store: &mut Store, number: u64, reason: Reason) -> Result<Vec<Record>, StoreError> {
        store.revoke(&Find::Serial(serial(number)), reason, at(5), Ok)
    }

    #[test]
    fn no_serial_is_drawn_twice() {
        let (_dir, mut store, issuing) = new_store();
        reserve(&mut store, issuing, 1, "urn:example:a", &a_key()).unwrap();
        assert!(matches!(
            reserve(&mut store, issuing, 1, "urn:example:b", &a_key()),
            Err(StoreError::SerialTaken)
        ));
    }

    #[test]
    fn steps_are_taken_in_order_or_not_at_all() {
        let (_dir, mut store, issuing) = new_store();
        let id = reserve(&mut store, issuing, 1, "urn:example:a", &a_key()).unwrap();
        let validity = Validity {
            not_before: at(0),
            not_after: at(10),
        };
        assert!(matches!(
            store.issued(id, b"der", at(0)),
            Err(StoreError::State)
        ));
        assert!(matches!(
            revoke(&mut store, 1, Reason::Superseded),
            Err(StoreError::State)
        ));
        store.pending(id, &[1; 32], &validity).unwrap();
        assert!(matches!(
            store.pending(id, &[1; 32], &validity),
            Err(StoreError::State)
        ));
        store.issued(id, b"der", at(0)).unwrap();
        revoke(&mut store, 1, Reason::Superseded).unwrap();
        assert!(matches!(
            revoke(&mut store, 1, Reason::Superseded),
            Err(StoreError::State)
        ));
    }

    #[test]
    fn a_serial_that_was_revoked_while_pending_is_not_issued() {
        let (_dir, mut store, issuing) = new_store();
        let id = reserve(&mut store, issuing, 1, "urn:example:a", &a_key()).unwrap();
        let validity = Validity {
            not_before: at(0),
            not_after: at(10),
        };
        store.pending(id, &[1; 32], &validity).unwrap();
        revoke(&mut store, 1, Reason::CessationOfOperation).unwrap();
        assert!(matches!(
            store.issued(id, b"der", at(0)),
            Err(StoreError::State)
        ));
    }

    #[test]
    fn the_schema_itself_forbids_to_forget_rename_or_go_back() {
        let (_dir, mut store, issuing) = new_store();
        issue(&mut store, issuing, 1, "urn:example:a", 10);
        revoke(&mut store, 1, Reason::KeyCompromise).unwrap();
        store.take_crl_number(issuing, None).unwrap();
        for forbidden in [
            "DELETE FROM certificates",
            "DELETE FROM names",
            "UPDATE certificates SET serial = '02'",
            "UPDATE certificates SET issuer = 2",
            "UPDATE certificates SET status = 'issued'",
            "UPDATE certificates SET revoked_at = NULL",
            "UPDATE certificates SET shard = 3",
            "UPDATE crls SET next_number = 0",
            "UPDATE crls SET shard = 3",
            "DELETE FROM crls",
            "INSERT INTO certificates (issuer, serial, shard, status, profile, label, key_origin, key_sha256, reserved_at)
             VALUES (1, '05', -1, 'issued', 'device', 'x', 'new', '', 0)",
        ] {
            assert!(store.connection.execute(forbidden, []).is_err(), "{forbidden}");
        }
    }

    #[test]
    fn revoking_several_is_all_or_nothing() {
        let (_dir, mut store, issuing) = new_store();
        issue(&mut store, issuing, 1, "urn:example:a", 10);
        reserve(&mut store, issuing, 2, "urn:example:a", &a_key()).unwrap();
        let find = Find::Id("urn:example:a".to_owned());
        assert!(matches!(
            store.revoke::<StoreError>(&find, Reason::Superseded, at(5), Ok),
            Err(StoreError::State)
        ));
        let untouched = &store.find(&Find::Serial(serial(1))).unwrap()[0];
        assert!(untouched.revoked.is_none());
    }

    /// Brings a reserved certificate to `pending`, valid for `seconds`.
    fn pend(store: &mut Store, id: CertificateId, seconds: i64) {
        let validity = Validity {
            not_before: at(0),
            not_after: at(seconds),
        };
        store.pending(id, &[1; 32], &validity).unwrap();
    }

    #[test]
    fn a_key_that_was_compromised_is_never_certified_again() {
        let (_dir, mut store, issuing) = new_store();
        let key = a_key();
        let id = reserve(&mut store, issuing, 1, "urn:example:a", &key).unwrap();
        pend(&mut store, id, 10);
        assert!(reserve(&mut store, issuing, 2, "urn:example:a", &key).is_ok());
        revoke(&mut store, 1, Reason::KeyCompromise).unwrap();
        assert!(matches!(
            reserve(&mut store, issuing, 3, "urn:example:a", &key),
            Err(StoreError::KeyCompromised)
        ));
        assert!(store.find(&Find::Serial(serial(3))).unwrap().is_empty());
    }

    #[test]
    fn a_key_serves_another_name_only_after_its_certificates_are_revoked_or_expired() {
        let (_dir, mut store, issuing) = new_store();
        let (revoked, expired) = (a_key(), a_key());
        for (number, key, seconds) in [(1, &revoked, 10), (2, &expired, -1)] {
            let id = reserve(&mut store, issuing, number, "urn:example:a", key).unwrap();
            pend(&mut store, id, seconds);
        }
        assert!(matches!(
            reserve(&mut store, issuing, 3, "urn:example:b", &revoked),
            Err(StoreError::KeyOfAnother)
        ));
        revoke(&mut store, 1, Reason::Superseded).unwrap();
        reserve(&mut store, issuing, 4, "urn:example:b", &revoked).unwrap();
        reserve(&mut store, issuing, 5, "urn:example:b", &expired).unwrap();
    }

    #[test]
    fn a_server_keeps_its_key_when_one_of_its_names_stays() {
        let (_dir, mut store, issuing) = new_store();
        let key = a_key();
        let mut reserve = |number, hosts: &[&str]| {
            let names: Vec<Name> = hosts.iter().map(|host| Name::dns(host).unwrap()).collect();
            let reservation = Reservation {
                profile: EndEntity::Server.profile(),
                label: hosts[0],
                names: &names,
                key: &key,
                key_origin: KeyOrigin::Request,
                shard: None,
            };
            let id = store.reserve(issuing, &serial(number), &reservation, at(0))?;
            pend(&mut store, id, 10);
            Ok::<(), StoreError>(())
        };
        reserve(1, &["a.example", "b.example"]).unwrap();
        reserve(2, &["c.example", "b.example"]).unwrap();
        assert!(matches!(
            reserve(3, &["d.example"]),
            Err(StoreError::KeyOfAnother)
        ));
    }

    #[test]
    fn two_connections_wait_for_each_other() {
        let (dir, mut first, issuing) = new_store();
        let mut second = Store::open(&dir.path().join("inventory.db")).unwrap();
        let writer = std::thread::spawn(move || {
            for number in 0..50 {
                reserve(
                    &mut second,
                    issuing,
                    1000 + number,
                    "urn:example:b",
                    &a_key(),
                )
                .unwrap();
            }
        });
        for number in 1..=50 {
            reserve(&mut first, issuing, number, "urn:example:a", &a_key()).unwrap();
        }
        writer.join().unwrap();
        let count: i64 = first
            .connection
            .query_row("SELECT count(*) FROM certificates", [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 100);
    }
}
