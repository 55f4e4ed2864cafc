//! What the inventory contributes to CRLs: numbers, entries, and the record of what was published.

use jiff::Timestamp;
use rusqlite::Connection;

use super::record::optional_time;
use super::{AuthorityId, Store, StoreError};
use crate::reason::{Reason, RevokedEntry};
use crate::serial::Serial;

/// A CRL that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrlState {
    /// Its number.
    pub number: u64,
    /// Its thisUpdate.
    pub this_update: Timestamp,
    /// Its nextUpdate.
    pub next_update: Timestamp,
    /// How many certificates are on it.
    pub entries: u64,
}

impl Store {
    /// Takes the next CRL number. It is never handed out again, also if no CRL comes of it
    /// (RFC 5280 section 5.2.3: increasing; gaps are allowed).
    pub fn take_crl_number(&mut self, issuer: AuthorityId) -> Result<u64, StoreError> {
        let transaction = self.begin()?;
        let number: i64 = transaction.query_row(
            "UPDATE authorities SET next_crl_number = next_crl_number + 1 WHERE id = ?1
             RETURNING next_crl_number - 1",
            [issuer.0],
            |row| row.get(0),
        )?;
        transaction.commit()?;
        Ok(number.unsigned_abs())
    }

    /// Publishes the CRL with `number`: hands the entries to `sign_and_replace`, and records it
    /// when that succeeds. Returns the CRL that is published now.
    ///
    /// The write lock is held throughout, so CRLs reach their file in the order of their numbers,
    /// and nothing is revoked between the reading of the entries and the replacement of the file.
    /// If another process published a later number in the meantime, that one stays: it holds
    /// everything that was revoked before this number was taken. A crash after the replacement
    /// leaves the record behind the file; the next number is higher than both.
    ///
    /// An entry leaves the list only after a CRL whose thisUpdate lies beyond the certificate's
    /// notAfter carried it (RFC 5280 section 3.3), and comes back if the clock was ahead then.
    pub fn publish_crl<E: From<StoreError>>(
        &mut self,
        issuer: AuthorityId,
        number: u64,
        (this_update, next_update): (Timestamp, Timestamp),
        sign_and_replace: impl FnOnce(&[RevokedEntry]) -> Result<(), E>,
    ) -> Result<CrlState, E> {
        let transaction = self.begin()?;
        if let Some(published) = state(&transaction, issuer)?
            && published.number > number
        {
            return Ok(published);
        }
        let entries = entries(&transaction, issuer, this_update)?;
        sign_and_replace(&entries)?;
        let published = CrlState {
            number,
            this_update,
            next_update,
            entries: entries.len() as u64,
        };
        record(&transaction, issuer, &published)?;
        transaction.commit().map_err(StoreError::from)?;
        Ok(published)
    }

    /// The CRL of this authority that was last published, if there was one.
    pub fn crl_state(&self, issuer: AuthorityId) -> Result<Option<CrlState>, StoreError> {
        state(&self.connection, issuer)
    }
}

fn state(connection: &Connection, issuer: AuthorityId) -> Result<Option<CrlState>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT published_number, this_update, next_update, entries FROM authorities
          WHERE id = ?1 AND published_number > 0",
    )?;
    let mut rows = statement.query([issuer.0])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let number = |column| Ok::<_, StoreError>(row.get::<_, i64>(column)?.unsigned_abs());
    let time = |column| optional_time(row, column)?.ok_or_else(|| corrupt("a time"));
    Ok(Some(CrlState {
        number: number(0)?,
        this_update: time(1)?,
        next_update: time(2)?,
        entries: number(3)?,
    }))
}

fn record(
    connection: &Connection,
    issuer: AuthorityId,
    published: &CrlState,
) -> Result<(), StoreError> {
    let number = published.number.cast_signed();
    connection.execute(
        "UPDATE authorities
            SET published_number = ?2, this_update = ?3, next_update = ?4, entries = ?5
          WHERE id = ?1",
        (
            issuer.0,
            number,
            published.this_update.as_second(),
            published.next_update.as_second(),
            published.entries.cast_signed(),
        ),
    )?;
    connection.execute(
        "UPDATE certificates SET retired_by_crl = ?2
          WHERE issuer = ?1 AND status = 'revoked' AND retired_by_crl IS NULL AND not_after < ?3",
        (issuer.0, number, published.this_update.as_second()),
    )?;
    Ok(())
}

fn entries(
    connection: &Connection,
    issuer: AuthorityId,
    this_update: Timestamp,
) -> Result<Vec<RevokedEntry>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT serial, revoked_at, reason FROM certificates
          WHERE issuer = ?1 AND status = 'revoked'
            AND (retired_by_crl IS NULL OR not_after >= ?2)
          ORDER BY id",
    )?;
    let mut rows = statement.query([issuer.0, this_update.as_second()])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let serial: String = row.get(0)?;
        let reason: String = row.get(2)?;
        entries.push(RevokedEntry {
            serial: Serial::parse(&serial).map_err(|_| corrupt("a serial"))?,
            at: optional_time(row, 1)?.ok_or_else(|| corrupt("a time"))?,
            reason: Reason::parse(&reason).ok_or_else(|| corrupt("a reason"))?,
        });
    }
    Ok(entries)
}

fn corrupt(what: &'static str) -> StoreError {
    StoreError::Corrupt { what }
}

#[cfg(test)]
mod tests {
    use super::super::Find;
    use super::super::lifecycle::tests::{at, issue, serial};
    use super::super::tests::new_store;
    use super::*;

    fn publish(store: &mut Store, issuer: AuthorityId, number: u64, now: i64) -> Vec<u64> {
        let mut listed = Vec::new();
        store
            .publish_crl::<StoreError>(issuer, number, (at(now), at(now + 100)), |entries| {
                listed = entries
                    .iter()
                    .map(|entry| u64::from_str_radix(&entry.serial.to_string(), 16).unwrap())
                    .collect();
                Ok(())
            })
            .unwrap();
        listed
    }

    fn revoke(store: &mut Store, number: u64, now: i64) {
        store
            .revoke::<StoreError>(
                &Find::Serial(serial(number)),
                Reason::Superseded,
                at(now),
                Ok,
            )
            .unwrap();
    }

    #[test]
    fn numbers_go_up_by_one_and_are_never_handed_out_again() {
        let (dir, mut store, issuing) = new_store();
        assert_eq!(store.take_crl_number(issuing).unwrap(), 1);
        assert_eq!(store.take_crl_number(issuing).unwrap(), 2);
        store.close().unwrap();
        let mut again = Store::open(&dir.path().join("inventory.db")).unwrap();
        assert_eq!(again.take_crl_number(issuing).unwrap(), 3);
    }

    #[test]
    fn a_revoked_certificate_leaves_the_list_only_after_one_crl_beyond_its_expiry() {
        let (_dir, mut store, issuing) = new_store();
        issue(&mut store, issuing, 1, "urn:example:a", 100);
        issue(&mut store, issuing, 2, "urn:example:b", 500);
        revoke(&mut store, 1, 10);
        revoke(&mut store, 2, 10);
        let numbers: Vec<u64> = (0..4)
            .map(|_| store.take_crl_number(issuing).unwrap())
            .collect();
        assert_eq!(publish(&mut store, issuing, numbers[0], 20), [1, 2]);
        assert_eq!(publish(&mut store, issuing, numbers[1], 100), [1, 2]);
        assert_eq!(publish(&mut store, issuing, numbers[2], 101), [1, 2]);
        assert_eq!(publish(&mut store, issuing, numbers[3], 102), [2]);
    }

    #[test]
    fn a_clock_that_was_ahead_once_brings_no_revoked_certificate_back() {
        let (_dir, mut store, issuing) = new_store();
        issue(&mut store, issuing, 1, "urn:example:a", 100);
        revoke(&mut store, 1, 10);
        for (ahead, listed) in [(20, true), (5000, true), (5001, false), (30, true)] {
            let number = store.take_crl_number(issuing).unwrap();
            let entries = publish(&mut store, issuing, number, ahead);
            assert_eq!(!entries.is_empty(), listed, "at {ahead}");
        }
    }

    #[test]
    fn a_crl_that_was_not_written_retires_nothing() {
        let (_dir, mut store, issuing) = new_store();
        issue(&mut store, issuing, 1, "urn:example:a", 100);
        revoke(&mut store, 1, 10);
        let number = store.take_crl_number(issuing).unwrap();
        let failed = store.publish_crl(issuing, number, (at(200), at(300)), |_| {
            Err(StoreError::Full)
        });
        assert!(matches!(failed, Err(StoreError::Full)));
        assert_eq!(store.crl_state(issuing).unwrap(), None);
        assert_eq!(publish(&mut store, issuing, number, 201), [1]);
    }

    #[test]
    fn an_older_number_never_takes_the_place_of_a_newer_one() {
        let (_dir, mut store, issuing) = new_store();
        let older = store.take_crl_number(issuing).unwrap();
        let newer = store.take_crl_number(issuing).unwrap();
        publish(&mut store, issuing, newer, 10);
        let late = store.publish_crl::<StoreError>(issuing, older, (at(11), at(12)), |_| {
            unreachable!("the newer one stays")
        });
        let published = CrlState {
            number: newer,
            this_update: at(10),
            next_update: at(110),
            entries: 0,
        };
        assert_eq!(late.unwrap(), published);
        assert_eq!(store.crl_state(issuing).unwrap(), Some(published));
    }
}
