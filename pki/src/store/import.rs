//! What a ceremony brings into the inventory of an issuing authority: certificates and a CRL that were signed
//! where the root's key is. Each call can be repeated, and then changes nothing.

use jiff::Timestamp;

use super::crl;
use super::engine::Engine;
use super::record::shard_column;
use super::{AuthorityId, AuthorityRole, CrlState, KeyOrigin, Store, StoreError};
use crate::profile::{Profile, Validity};
use crate::public_key::{PublicKey, hex, sha256};
use crate::serial::Serial;

/// The certificate of an authority that the root issued elsewhere.
#[derive(Debug)]
pub struct Imported<'a> {
    /// Whose it is.
    pub role: AuthorityRole,
    /// Its profile.
    pub profile: &'static Profile,
    /// What lists call it: its common name.
    pub label: &'a str,
    /// Its serial.
    pub serial: &'a Serial,
    /// Its key.
    pub key: &'a PublicKey,
    /// Where that was made.
    pub key_origin: KeyOrigin,
    /// SHA-256 of its signed part.
    pub tbs_sha256: [u8; 32],
    /// From when until when it is valid.
    pub validity: Validity,
    /// Its octets.
    pub der: &'a [u8],
}

impl Store {
    /// Takes a root and its issuing authority in, and their certificates as issued: whole or not at all.
    /// Returns their places. Refused if the root issued another certificate under the same serial.
    pub fn import(
        &mut self,
        (root, issuing): (&Imported<'_>, &Imported<'_>),
        now: Timestamp,
    ) -> Result<(AuthorityId, AuthorityId), StoreError> {
        let transaction = self.begin()?;
        let root_id = known(&transaction, root)?;
        let issuing_id = known(&transaction, issuing)?;
        for imported in [root, issuing] {
            let fingerprint = hex(&sha256(imported.der));
            transaction.execute(
                "INSERT INTO certificates
                     (issuer, serial, status, profile, label, key_origin, key_sha256, reserved_at, shard,
                      tbs_sha256, not_before, not_after, fingerprint, issued_at, der)
                 VALUES (?1, ?2, 'issued', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
                 ON CONFLICT (serial, issuer) DO NOTHING",
                &[
                    root_id.0.into(),
                    imported.serial.to_string().into(),
                    imported.profile.name.into(),
                    imported.label.into(),
                    imported.key_origin.as_str().into(),
                    hex(&imported.key.sha256()).into(),
                    now.as_second().into(),
                    shard_column(None).into(),
                    hex(&imported.tbs_sha256).into(),
                    imported.validity.not_before.as_second().into(),
                    imported.validity.not_after.as_second().into(),
                    fingerprint.as_str().into(),
                    now.as_second().into(),
                    imported.der.into(),
                ],
            )?;
            let same = transaction.number(
                "SELECT count(*) FROM certificates WHERE issuer = ?1 AND serial = ?2 AND fingerprint = ?3",
                &[
                    root_id.0.into(),
                    imported.serial.to_string().into(),
                    fingerprint.as_str().into(),
                ],
            )?;
            if same != 1 {
                return Err(StoreError::SerialTaken);
            }
        }
        transaction.commit()?;
        Ok((root_id, issuing_id))
    }

    /// Notes a CRL that was signed elsewhere as the one that is published. Numbers go up only: one that is lower
    /// than the published one is refused.
    pub fn import_crl(&mut self, issuer: AuthorityId, crl: &CrlState) -> Result<(), StoreError> {
        let beyond = |_| StoreError::Corrupt {
            what: "a CRL number",
        };
        let number = i64::try_from(crl.number).map_err(beyond)?;
        let transaction = self.begin()?;
        transaction.execute(
            "INSERT INTO crls (authority, shard, next_number) VALUES (?1, ?2, ?3)
             ON CONFLICT (authority, shard) DO UPDATE SET next_number =
                 CASE WHEN crls.next_number < ?3 THEN ?3 ELSE crls.next_number END",
            &[
                issuer.0.into(),
                shard_column(crl.shard).into(),
                number.saturating_add(1).into(),
            ],
        )?;
        crl::record(&transaction, issuer, crl)?;
        transaction.commit()
    }
}

/// The place of an authority, which is added if it is not known.
fn known(engine: &Engine, imported: &Imported<'_>) -> Result<AuthorityId, StoreError> {
    let (role, key) = (imported.role, imported.key.key_id().to_string());
    engine.execute(
        "INSERT INTO authorities (role, key_id) VALUES (?1, ?2) ON CONFLICT (key_id) DO NOTHING",
        &[role.as_str().into(), key.as_str().into()],
    )?;
    let known = engine.first(
        "SELECT id FROM authorities WHERE role = ?1 AND key_id = ?2",
        &[role.as_str().into(), key.as_str().into()],
    )?;
    let known = known.ok_or(StoreError::UnknownAuthority { role })?;
    Ok(AuthorityId(known.integer(0)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile;
    use crate::store::lifecycle::tests::{a_key, at, serial};
    use crate::store::tests::{On, on_both_engines};
    use crate::store::{Find, Status};

    on_both_engines!(
        what_is_imported_again_changes_nothing,
        another_certificate_under_the_same_serial_is_refused,
        the_numbers_of_imported_lists_go_up_only,
    );

    fn certificate<'a>(
        role: AuthorityRole,
        (number, key): (&'a Serial, &'a PublicKey),
        der: &'a [u8],
    ) -> Imported<'a> {
        Imported {
            role,
            profile: match role {
                AuthorityRole::Root => profile::root(),
                AuthorityRole::Issuing => profile::issuing(),
            },
            label: "Clinic CA",
            serial: number,
            key,
            key_origin: KeyOrigin::Request,
            tbs_sha256: [1; 32],
            validity: Validity {
                not_before: at(0),
                not_after: at(100),
            },
            der,
        }
    }

    fn what_is_imported_again_changes_nothing(on: &On) {
        let (_home, mut store) = on.empty_store();
        let (root_key, issuing_key) = (a_key(), a_key());
        let (one, two) = (serial(1), serial(2));
        let root = certificate(AuthorityRole::Root, (&one, &root_key), b"root");
        let issuing = certificate(AuthorityRole::Issuing, (&two, &issuing_key), b"issuing");
        let ids = store.import((&root, &issuing), at(0)).unwrap();
        assert_eq!(store.import((&root, &issuing), at(5)).unwrap(), ids);
        let found = store.find(&Find::Serial(serial(2))).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].status, found[0].issued_at),
            (Status::Issued, Some(at(0)))
        );
        assert_eq!(found[0].issuer, "root");
        let id = store.authority(AuthorityRole::Issuing, issuing_key.key_id());
        assert_eq!(id.unwrap(), ids.1);
        assert_eq!(store.check().unwrap(), []);
    }

    fn another_certificate_under_the_same_serial_is_refused(on: &On) {
        let (_home, mut store) = on.empty_store();
        let (root_key, issuing_key) = (a_key(), a_key());
        let (one, two) = (serial(1), serial(2));
        let root = certificate(AuthorityRole::Root, (&one, &root_key), b"root");
        let issuing = certificate(AuthorityRole::Issuing, (&two, &issuing_key), b"issuing");
        store.import((&root, &issuing), at(0)).unwrap();
        let other = certificate(AuthorityRole::Issuing, (&two, &issuing_key), b"other");
        assert!(matches!(
            store.import((&root, &other), at(0)),
            Err(StoreError::SerialTaken)
        ));
    }

    fn the_numbers_of_imported_lists_go_up_only(on: &On) {
        let (_home, mut store, root) = on.new_store();
        let list = |number| CrlState {
            shard: None,
            number,
            this_update: at(0),
            next_update: at(100),
            entries: 1,
        };
        store.import_crl(root, &list(7)).unwrap();
        store.import_crl(root, &list(7)).unwrap();
        store.import_crl(root, &list(9)).unwrap();
        assert!(store.import_crl(root, &list(8)).is_err());
        assert!(store.import_crl(root, &list(u64::MAX)).is_err());
        assert_eq!(store.crl_state(root, None).unwrap(), Some(list(9)));
        assert_eq!(store.take_crl_number(root, None).unwrap(), 10);
    }
}
