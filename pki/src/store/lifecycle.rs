//! The life of a certificate in the inventory: reserved, pending, issued, revoked. Forward only.

use super::engine::Engine;
use super::query::{self, Find};
use super::record::{names, shard_column};
use super::token;
use super::{AuthorityId, CertificateId, KeyOrigin, Record, Store, StoreError};
use crate::name::Name;
use crate::profile::{Profile, Validity};
use crate::public_key::{PublicKey, hex, sha256};
use crate::reason::Reason;
use crate::serial::Serial;
use jiff::Timestamp;

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
    /// SHA-256 of the one-time token that it is asked for with, if it is. The token is used up with
    /// the reservation, also if no certificate comes of it.
    pub token: Option<[u8; 32]>,
    /// The certificate that it follows, if its holder asked with that one.
    pub predecessor: Option<CertificateId>,
}

/// A certificate that was signed, or was about to be, and that the inventory lost.
#[derive(Debug)]
pub struct Adopted<'a> {
    /// The profile.
    pub profile: &'static Profile,
    /// What lists call it.
    pub label: &'a str,
    /// Its names.
    pub names: &'a [Name],
    /// SHA-256 of its key, in hexadecimal.
    pub key_sha256: &'a str,
    /// SHA-256 of what was signed, in hexadecimal.
    pub tbs_sha256: &'a str,
    /// From when until when it is valid.
    pub validity: Validity,
    /// The shard of CRLs that it names.
    pub shard: Option<u16>,
}

impl Store {
    /// Takes a certificate in that the inventory lost, as pending: whether it exists is not known.
    pub fn adopt(
        &mut self,
        issuer: AuthorityId,
        serial: &Serial,
        adopted: &Adopted<'_>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let transaction = self.begin()?;
        let inserted = transaction.first(
            "INSERT INTO certificates
                 (issuer, serial, status, profile, label, key_origin, key_sha256, reserved_at, shard,
                  tbs_sha256, not_before, not_after)
             VALUES (?1, ?2, 'pending', ?3, ?4, 'request', ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (serial, issuer) DO NOTHING RETURNING id",
            &[
                issuer.0.into(),
                serial.to_string().into(),
                adopted.profile.name.into(),
                adopted.label.into(),
                adopted.key_sha256.into(),
                now.as_second().into(),
                shard_column(adopted.shard).into(),
                adopted.tbs_sha256.into(),
                adopted.validity.not_before.as_second().into(),
                adopted.validity.not_after.as_second().into(),
            ],
        )?;
        let id = inserted.ok_or(StoreError::SerialTaken)?.integer(0)?;
        insert_names(&transaction, id, adopted.names)?;
        transaction.commit()
    }

    /// Records a serial as drawn. Afterwards nobody gets it again, whatever becomes of it.
    ///
    /// Refused, and nothing recorded, if the inventory knows something of the key that speaks
    /// against certifying it under these names, or if the token, where one is shown, does not stand
    /// for exactly these names and this profile, now.
    pub fn reserve(
        &mut self,
        issuer: AuthorityId,
        serial: &Serial,
        reservation: &Reservation<'_>,
        now: Timestamp,
    ) -> Result<CertificateId, StoreError> {
        let transaction = self.begin()?;
        let token = reservation
            .token
            .map(|hash| token::admit(&transaction, issuer, &hash, reservation, now))
            .transpose()?;
        if let Some(predecessor) = reservation.predecessor {
            refuse_unless_issued(&transaction, predecessor)?;
        }
        let key_sha256 = hex(&reservation.key.sha256());
        refuse_known_key(&transaction, &key_sha256, reservation.names, now)?;
        let inserted = transaction.first(
            "INSERT INTO certificates
                 (issuer, serial, status, profile, label, key_origin, key_sha256, reserved_at, shard)
             VALUES (?1, ?2, 'reserved', ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (serial, issuer) DO NOTHING RETURNING id",
            &[
                issuer.0.into(),
                serial.to_string().into(),
                reservation.profile.name.into(),
                reservation.label.into(),
                reservation.key_origin.as_str().into(),
                key_sha256.into(),
                now.as_second().into(),
                shard_column(reservation.shard).into(),
            ],
        )?;
        let id = inserted.ok_or(StoreError::SerialTaken)?.integer(0)?;
        insert_names(&transaction, id, reservation.names)?;
        if let Some(token) = token {
            token::spend(&transaction, token, id, now)?;
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
            &[
                id.0.into(),
                hex(tbs_sha256).into(),
                validity.not_before.as_second().into(),
                validity.not_after.as_second().into(),
            ],
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
            &[
                id.0.into(),
                der.into(),
                hex(&sha256(der)).into(),
                now.as_second().into(),
            ],
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
        let mut picked = judge(query::find(&transaction, find, &self.scoped("c.issuer"))?)?;
        for record in &mut picked {
            let changed = transaction.execute(
                "UPDATE certificates SET status = 'revoked', revoked_at = ?2, reason = ?3
                  WHERE id = ?1 AND status IN ('pending', 'issued')",
                &[
                    record.id.0.into(),
                    now.as_second().into(),
                    reason.row().name.into(),
                ],
            )?;
            one_row(changed)?;
            record.status = super::Status::Revoked;
            record.revoked = Some((now, reason));
        }
        transaction.commit()?;
        Ok(picked)
    }
}

/// Refuses a key that was reported as compromised, whenever that was, and one that a live
/// certificate carries under entirely other names: each holder has a key of its own.
///
/// A certificate that was issued under a wrong name by mistake stands in the way until it is
/// revoked. A server may gain and lose hosts and keep its key, as long as one name stays.
fn refuse_known_key(
    engine: &Engine,
    key_sha256: &str,
    wanted: &[Name],
    now: Timestamp,
) -> Result<(), StoreError> {
    let compromised = engine.first(COMPROMISED, &[key_sha256.into()])?;
    if compromised.is_some() {
        return Err(StoreError::KeyCompromised);
    }
    let live = engine.query(LIVE, &[key_sha256.into(), now.as_second().into()])?;
    for certificate in live {
        let carried = names(engine, certificate.integer(0)?)?;
        if !carried.iter().any(|name| wanted.contains(name)) {
            return Err(StoreError::KeyOfAnother);
        }
    }
    Ok(())
}

/// Whether a key was ever reported as compromised.
pub(super) const COMPROMISED: &str = "SELECT id FROM certificates
      WHERE key_sha256 = ?1 AND reason IN ('keyCompromise', 'cACompromise') LIMIT 1";

/// The live certificates of a key.
pub(super) const LIVE: &str = "SELECT id FROM certificates
      WHERE key_sha256 = ?1 AND status IN ('pending', 'issued') AND not_after >= ?2";

/// Refused if it was revoked since somebody looked: a revocation that waits for the write lock is not
/// overtaken by a successor of what it revokes.
fn refuse_unless_issued(engine: &Engine, id: CertificateId) -> Result<(), StoreError> {
    let issued = "SELECT count(*) FROM certificates WHERE id = ?1 AND status = 'issued'";
    if engine.number(issued, &[id.0.into()])? == 1 {
        Ok(())
    } else {
        Err(StoreError::State)
    }
}

fn insert_names(engine: &Engine, certificate: i64, names: &[Name]) -> Result<(), StoreError> {
    for (position, name) in (0_i64..).zip(names) {
        engine.execute(
            "INSERT INTO names (certificate, position, kind, value) VALUES (?1, ?2, ?3, ?4)",
            &[
                certificate.into(),
                position.into(),
                name.kind().into(),
                name.to_string().into(),
            ],
        )?;
    }
    Ok(())
}

fn one_row(changed: u64) -> Result<(), StoreError> {
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
    use crate::store::tests::{On, on_both_engines};

    on_both_engines!(
        no_serial_is_drawn_twice,
        steps_are_taken_in_order_or_not_at_all,
        a_serial_that_was_revoked_while_pending_is_not_issued,
        the_schema_itself_forbids_to_forget_rename_or_go_back,
        revoking_several_is_all_or_nothing,
        a_key_that_was_compromised_is_never_certified_again,
        a_key_serves_another_name_only_after_its_certificates_are_revoked_or_expired,
        a_server_keeps_its_key_when_one_of_its_names_stays,
        two_connections_wait_for_each_other,
    );

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
            token: None,
            predecessor: None,
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
            token: None,
            predecessor: None,
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

    fn no_serial_is_drawn_twice(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
        reserve(&mut store, issuing, 1, "urn:example:a", &a_key()).unwrap();
        assert!(matches!(
            reserve(&mut store, issuing, 1, "urn:example:b", &a_key()),
            Err(StoreError::SerialTaken)
        ));
    }

    fn steps_are_taken_in_order_or_not_at_all(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
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

    fn a_serial_that_was_revoked_while_pending_is_not_issued(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
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

    fn the_schema_itself_forbids_to_forget_rename_or_go_back(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
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
            assert!(store.engine.batch(forbidden).is_err(), "{forbidden}");
        }
    }

    fn revoking_several_is_all_or_nothing(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
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

    fn a_key_that_was_compromised_is_never_certified_again(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
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

    fn a_key_serves_another_name_only_after_its_certificates_are_revoked_or_expired(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
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

    fn a_server_keeps_its_key_when_one_of_its_names_stays(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
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
                token: None,
                predecessor: None,
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

    fn two_connections_wait_for_each_other(on: &On) {
        let (dir, mut first, issuing) = on.new_store();
        let mut second = dir.open();
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
        let count = first
            .engine
            .number("SELECT count(*) FROM certificates", &[])
            .unwrap();
        assert_eq!(count, 100);
    }
}
