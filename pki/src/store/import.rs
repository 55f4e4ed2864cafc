//! What a ceremony brings into the inventory of an issuing authority: certificates and a CRL that were signed
//! where the root's key is. Each call can be repeated, and then changes nothing.

use jiff::Timestamp;

use super::crl;
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
        let mut ids = Vec::new();
        for imported in [root, issuing] {
            transaction.execute(
                "INSERT INTO authorities (role, key_id) VALUES (?1, ?2) ON CONFLICT (key_id) DO NOTHING",
                &[
                    imported.role.as_str().into(),
                    imported.key.key_id().to_string().into(),
                ],
            )?;
            let role = imported.role;
            let known = transaction.first(
                "SELECT id FROM authorities WHERE role = ?1 AND key_id = ?2",
                &[
                    role.as_str().into(),
                    imported.key.key_id().to_string().into(),
                ],
            )?;
            let known = known.ok_or(StoreError::UnknownAuthority { role })?;
            ids.push(AuthorityId(known.integer(0)?));
        }
        let &[root_id, issuing_id] = &ids[..] else {
            unreachable!("two were added")
        };
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
