//! What the inventory contributes to CRLs: numbers, entries, and the record of what was published.

use jiff::Timestamp;

use super::engine::{Engine, Row};
use super::record::{optional_time, shard_column, shard_of};
use super::{AuthorityId, Store, StoreError};
use crate::reason::{Reason, RevokedEntry};
use crate::serial::Serial;

/// A CRL that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrlState {
    /// Which part of the certificates it speaks for; `None` if for all.
    pub shard: Option<u16>,
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
    /// Takes the next number of this CRL. It is never handed out again, also if no CRL comes of it
    /// (RFC 5280 section 5.2.3: increasing within a scope, which is a shard; gaps are allowed).
    pub fn take_crl_number(
        &mut self,
        issuer: AuthorityId,
        shard: Option<u16>,
    ) -> Result<u64, StoreError> {
        let transaction = self.begin()?;
        let number = transaction.number(
            "INSERT INTO crls (authority, shard, next_number)
             SELECT id, ?2, crl_floor + 1 FROM authorities WHERE id = ?1
             ON CONFLICT (authority, shard) DO UPDATE SET next_number = crls.next_number + 1
             RETURNING next_number - 1",
            &[issuer.0.into(), shard_column(shard).into()],
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
        shard: Option<u16>,
        number: u64,
        (this_update, next_update): (Timestamp, Timestamp),
        sign_and_replace: impl FnOnce(&[RevokedEntry]) -> Result<(), E>,
    ) -> Result<CrlState, E> {
        let transaction = self.begin()?;
        if let Some(published) = state(&transaction, issuer, shard)?
            && published.number > number
        {
            return Ok(published);
        }
        let entries = entries(&transaction, issuer, shard, this_update)?;
        sign_and_replace(&entries)?;
        let published = CrlState {
            shard,
            number,
            this_update,
            next_update,
            entries: entries.len() as u64,
        };
        record(&transaction, issuer, &published)?;
        transaction.commit()?;
        Ok(published)
    }

    /// The CRL of this authority and shard that was last published, if there was one.
    pub fn crl_state(
        &self,
        issuer: AuthorityId,
        shard: Option<u16>,
    ) -> Result<Option<CrlState>, StoreError> {
        state(&self.engine, issuer, shard)
    }

    /// The CRLs of this authority that were last published: the whole one first, then by shard.
    pub fn crl_states(&self, issuer: AuthorityId) -> Result<Vec<CrlState>, StoreError> {
        self.engine
            .query(
                "SELECT shard, published_number, this_update, next_update, entries FROM crls
                  WHERE authority = ?1 AND published_number > 0 ORDER BY shard",
                &[issuer.0.into()],
            )?
            .iter()
            .map(read_state)
            .collect()
    }

    /// Leaves out the next `by` numbers of every CRL, and of those that are yet to come: after a
    /// restore, which knows nothing of the CRLs that were published after the copy was made. A
    /// verifier takes no CRL with a number below the one that it has.
    pub fn raise_crl_numbers(&mut self, by: u32) -> Result<(), StoreError> {
        let by = i64::from(by);
        let transaction = self.begin()?;
        transaction.execute(
            &format!(
                "UPDATE crls SET next_number = next_number + ?1 WHERE {}",
                self.scoped("authority")
            ),
            &[by.into()],
        )?;
        transaction.execute(
            &format!(
                "UPDATE authorities SET crl_floor = ?1 + (SELECT coalesce(max(crls.next_number), \
                 authorities.crl_floor) FROM crls WHERE crls.authority = authorities.id) WHERE {}",
                self.scoped("id")
            ),
            &[by.into()],
        )?;
        transaction.commit()
    }
}

fn state(
    engine: &Engine,
    issuer: AuthorityId,
    shard: Option<u16>,
) -> Result<Option<CrlState>, StoreError> {
    engine
        .first(
            "SELECT shard, published_number, this_update, next_update, entries FROM crls
              WHERE authority = ?1 AND shard = ?2 AND published_number > 0",
            &[issuer.0.into(), shard_column(shard).into()],
        )?
        .as_ref()
        .map(read_state)
        .transpose()
}

fn read_state(row: &Row) -> Result<CrlState, StoreError> {
    let number = |column| row.integer(column).map(i64::unsigned_abs);
    let time = |column| optional_time(row, column)?.ok_or_else(|| corrupt("a time"));
    Ok(CrlState {
        shard: shard_of(row.integer(0)?)?,
        number: number(1)?,
        this_update: time(2)?,
        next_update: time(3)?,
        entries: number(4)?,
    })
}

pub(super) fn record(
    engine: &Engine,
    issuer: AuthorityId,
    published: &CrlState,
) -> Result<(), StoreError> {
    let number = published.number.cast_signed();
    let shard = shard_column(published.shard);
    let this_update = published.this_update.as_second();
    engine.execute(
        "UPDATE crls
            SET published_number = ?3, this_update = ?4, next_update = ?5, entries = ?6
          WHERE authority = ?1 AND shard = ?2",
        &[
            issuer.0.into(),
            shard.into(),
            number.into(),
            this_update.into(),
            published.next_update.as_second().into(),
            published.entries.cast_signed().into(),
        ],
    )?;
    engine.execute(
        RETIRE,
        &[
            issuer.0.into(),
            shard.into(),
            number.into(),
            this_update.into(),
        ],
    )?;
    Ok(())
}

fn entries(
    engine: &Engine,
    issuer: AuthorityId,
    shard: Option<u16>,
    this_update: Timestamp,
) -> Result<Vec<RevokedEntry>, StoreError> {
    let mut entries = Vec::new();
    // Two halves, each with an index of its own: what no CRL retired, and what one retired whose
    // clock was ahead.
    engine.each(
        ENTRIES,
        &[
            issuer.0.into(),
            shard_column(shard).into(),
            this_update.as_second().into(),
        ],
        &mut |row| {
            entries.push(RevokedEntry {
                serial: Serial::parse(row.text(1)?).map_err(|_| corrupt("a serial"))?,
                at: optional_time(&row, 2)?.ok_or_else(|| corrupt("a time"))?,
                reason: Reason::parse(row.text(3)?).ok_or_else(|| corrupt("a reason"))?,
            });
            Ok(())
        },
    )?;
    Ok(entries)
}

/// Marks what is on a CRL beyond its expiry.
pub(super) const RETIRE: &str = "UPDATE certificates SET retired_by_crl = ?3
      WHERE issuer = ?1 AND shard = ?2 AND status = 'revoked' AND retired_by_crl IS NULL
        AND not_after < ?4";

/// What belongs on a CRL.
pub(super) const ENTRIES: &str = "SELECT id, serial, revoked_at, reason FROM certificates
      WHERE issuer = ?1 AND shard = ?2 AND status = 'revoked' AND retired_by_crl IS NULL
     UNION ALL
     SELECT id, serial, revoked_at, reason FROM certificates
      WHERE issuer = ?1 AND shard = ?2 AND status = 'revoked' AND retired_by_crl IS NOT NULL
        AND not_after >= ?3
      ORDER BY id";

fn corrupt(what: &'static str) -> StoreError {
    StoreError::Corrupt { what }
}

#[cfg(test)]
mod tests {
    use super::super::Find;
    use super::super::lifecycle::tests::{at, issue, issue_in_shard, serial};
    use super::super::tests::{On, on_both_engines};
    use super::*;

    on_both_engines!(
        numbers_go_up_by_one_and_are_never_handed_out_again,
        a_revoked_certificate_leaves_the_list_only_after_one_crl_beyond_its_expiry,
        a_clock_that_was_ahead_once_brings_no_revoked_certificate_back,
        a_crl_that_was_not_written_retires_nothing,
        an_older_number_never_takes_the_place_of_a_newer_one,
        each_shard_counts_lists_and_retires_for_itself,
    );

    fn publish(store: &mut Store, issuer: AuthorityId, number: u64, now: i64) -> Vec<u64> {
        publish_shard(store, issuer, None, number, now)
    }

    fn publish_shard(
        store: &mut Store,
        issuer: AuthorityId,
        shard: Option<u16>,
        number: u64,
        now: i64,
    ) -> Vec<u64> {
        let mut listed = Vec::new();
        let dates = (at(now), at(now + 100));
        store
            .publish_crl::<StoreError>(issuer, shard, number, dates, |entries| {
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

    fn numbers_go_up_by_one_and_are_never_handed_out_again(on: &On) {
        let (dir, mut store, issuing) = on.new_store();
        assert_eq!(store.take_crl_number(issuing, None).unwrap(), 1);
        assert_eq!(store.take_crl_number(issuing, None).unwrap(), 2);
        store.close().unwrap();
        let mut again = dir.open();
        assert_eq!(again.take_crl_number(issuing, None).unwrap(), 3);
    }

    fn a_revoked_certificate_leaves_the_list_only_after_one_crl_beyond_its_expiry(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
        issue(&mut store, issuing, 1, "urn:example:a", 100);
        issue(&mut store, issuing, 2, "urn:example:b", 500);
        revoke(&mut store, 1, 10);
        revoke(&mut store, 2, 10);
        let numbers: Vec<u64> = (0..4)
            .map(|_| store.take_crl_number(issuing, None).unwrap())
            .collect();
        assert_eq!(publish(&mut store, issuing, numbers[0], 20), [1, 2]);
        assert_eq!(publish(&mut store, issuing, numbers[1], 100), [1, 2]);
        assert_eq!(publish(&mut store, issuing, numbers[2], 101), [1, 2]);
        assert_eq!(publish(&mut store, issuing, numbers[3], 102), [2]);
    }

    fn a_clock_that_was_ahead_once_brings_no_revoked_certificate_back(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
        issue(&mut store, issuing, 1, "urn:example:a", 100);
        revoke(&mut store, 1, 10);
        for (ahead, listed) in [(20, true), (5000, true), (5001, false), (30, true)] {
            let number = store.take_crl_number(issuing, None).unwrap();
            let entries = publish(&mut store, issuing, number, ahead);
            assert_eq!(!entries.is_empty(), listed, "at {ahead}");
        }
    }

    fn a_crl_that_was_not_written_retires_nothing(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
        issue(&mut store, issuing, 1, "urn:example:a", 100);
        revoke(&mut store, 1, 10);
        let number = store.take_crl_number(issuing, None).unwrap();
        let failed = store.publish_crl(issuing, None, number, (at(200), at(300)), |_| {
            Err(StoreError::Full)
        });
        assert!(matches!(failed, Err(StoreError::Full)));
        assert_eq!(store.crl_state(issuing, None).unwrap(), None);
        assert_eq!(publish(&mut store, issuing, number, 201), [1]);
    }

    fn an_older_number_never_takes_the_place_of_a_newer_one(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
        let older = store.take_crl_number(issuing, None).unwrap();
        let newer = store.take_crl_number(issuing, None).unwrap();
        publish(&mut store, issuing, newer, 10);
        let late = store.publish_crl::<StoreError>(issuing, None, older, (at(11), at(12)), |_| {
            unreachable!("the newer one stays")
        });
        let published = CrlState {
            shard: None,
            number: newer,
            this_update: at(10),
            next_update: at(110),
            entries: 0,
        };
        assert_eq!(late.unwrap(), published);
        assert_eq!(store.crl_state(issuing, None).unwrap(), Some(published));
    }

    fn each_shard_counts_lists_and_retires_for_itself(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
        for (number, shard) in [(1, None), (2, Some(0)), (3, Some(1)), (4, Some(1))] {
            issue_in_shard(&mut store, issuing, number, shard, 100);
            revoke(&mut store, number, 10);
        }
        for (shard, listed) in [(None, vec![1]), (Some(0), vec![2]), (Some(1), vec![3, 4])] {
            let number = store.take_crl_number(issuing, shard).unwrap();
            assert_eq!(number, 1);
            let entries = publish_shard(&mut store, issuing, shard, number, 20);
            assert_eq!(entries, listed, "{shard:?}");
        }
        // The last CRL of one shard beyond expiry takes nothing from another.
        for listed in [vec![3, 4], vec![]] {
            let number = store.take_crl_number(issuing, Some(1)).unwrap();
            let entries = publish_shard(&mut store, issuing, Some(1), number, 200);
            assert_eq!(entries, listed);
        }
        let number = store.take_crl_number(issuing, Some(0)).unwrap();
        assert_eq!(number, 2);
        assert_eq!(
            publish_shard(&mut store, issuing, Some(0), number, 200),
            [2]
        );
        let states = store.crl_states(issuing).unwrap();
        let of = |state: &CrlState| (state.shard, state.number, state.entries);
        assert_eq!(
            states.iter().map(of).collect::<Vec<_>>(),
            [(None, 1, 1), (Some(0), 2, 1), (Some(1), 3, 0)]
        );
    }
}
