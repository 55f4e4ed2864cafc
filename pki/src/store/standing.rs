//! What verifiers are told of a certificate that they ask about one by one (OCSP), by its index.

use jiff::Timestamp;

use super::engine::{Engine, Row};
use super::record::optional_time;
use super::{AuthorityId, CertificateId, Status, Store, StoreError};
use crate::profile::Validity;
use crate::reason::Reason;
use crate::serial::Serial;

/// How a certificate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its place.
    pub id: CertificateId,
    /// Its serial.
    pub serial: Serial,
    /// How far it came.
    pub status: Status,
    /// From when until when it is valid; from `pending` on.
    pub validity: Option<Validity>,
    /// When and why it was revoked.
    pub revoked: Option<(Timestamp, Reason)>,
}

const COLUMNS: &str = "id, serial, status, not_before, not_after, revoked_at, reason";

impl Store {
    /// How the certificate of `issuer` with this serial stands, if there is one.
    pub fn standing(
        &self,
        issuer: AuthorityId,
        serial: &Serial,
    ) -> Result<Option<Standing>, StoreError> {
        self.engine
            .first(
                &format!("SELECT {COLUMNS} FROM certificates WHERE issuer = ?1 AND serial = ?2"),
                &[issuer.0.into(), serial.to_string().into()],
            )?
            .as_ref()
            .map(read)
            .transpose()
    }

    /// How the certificates of `issuer` stand that are signed and not past their end, latest first,
    /// at most `limit`, from before `before`.
    pub fn standings(
        &self,
        issuer: AuthorityId,
        before: Option<CertificateId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Standing>, StoreError> {
        let before = before.map_or(i64::MAX, CertificateId::number);
        self.engine
            .query(
                &format!(
                    "SELECT {COLUMNS} FROM certificates
                      WHERE issuer = ?1 AND id < ?2 AND status IN ('issued', 'revoked')
                        AND not_after >= ?3
                      ORDER BY id DESC LIMIT ?4"
                ),
                &[
                    issuer.0.into(),
                    before.into(),
                    now.as_second().into(),
                    i64::from(limit).into(),
                ],
            )?
            .iter()
            .map(read)
            .collect()
    }

    /// A number that is another one after somebody else changed the inventory; what this very `Store`
    /// changes does not count. `None` if that cannot be known without looking: a server does not say.
    pub fn version(&self) -> Result<Option<i64>, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => Ok(Some(i64::from(sqlite.pragma("data_version")?))),
            Engine::Postgres(_) => Ok(None),
        }
    }
}

fn read(row: &Row) -> Result<Standing, StoreError> {
    let corrupt = |what| StoreError::Corrupt { what };
    let validity = match (optional_time(row, 3)?, optional_time(row, 4)?) {
        (Some(not_before), Some(not_after)) => Some(Validity {
            not_before,
            not_after,
        }),
        _ => None,
    };
    let revoked = match (optional_time(row, 5)?, row.optional_text(6)?) {
        (Some(at), Some(reason)) => Some((at, Reason::parse(reason).ok_or(corrupt("a reason"))?)),
        _ => None,
    };
    Ok(Standing {
        id: CertificateId(row.integer(0)?),
        serial: Serial::parse(row.text(1)?).map_err(|_| corrupt("a serial"))?,
        status: Status::parse(row.text(2)?).ok_or(corrupt("a status"))?,
        validity,
        revoked,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Find;
    use super::super::lifecycle::tests::{a_key, at, issue, reserve, serial};
    use super::super::tests::{On, on_both_engines};
    use super::*;

    on_both_engines!(
        a_revocation_shows_by_serial,
        the_signed_and_unexpired_are_told_latest_first_page_by_page,
        what_others_change_shows_in_the_version,
    );

    fn a_revocation_shows_by_serial(on: &On) {
        let (_home, mut store, issuing) = on.new_store();
        issue(&mut store, issuing, 1, "urn:example:pump-1", 100);
        let standing = |store: &Store, number| store.standing(issuing, &serial(number)).unwrap();
        assert_eq!(standing(&store, 1).unwrap().status, Status::Issued);
        assert_eq!(standing(&store, 2), None);
        store
            .revoke::<StoreError>(&Find::Serial(serial(1)), Reason::Superseded, at(5), Ok)
            .unwrap();
        assert_eq!(
            standing(&store, 1).unwrap().revoked,
            Some((at(5), Reason::Superseded))
        );
    }

    fn the_signed_and_unexpired_are_told_latest_first_page_by_page(on: &On) {
        let (_home, mut store, issuing) = on.new_store();
        for (number, ends) in [(1, 100), (2, 10), (3, 100), (4, 100)] {
            issue(
                &mut store,
                issuing,
                number,
                &format!("urn:example:{number}"),
                ends,
            );
        }
        reserve(&mut store, issuing, 5, "urn:example:5", &a_key()).unwrap();
        let page = |before| {
            let page = store.standings(issuing, before, 2, at(50)).unwrap();
            let serials: Vec<Serial> = page.iter().map(|one| one.serial.clone()).collect();
            (serials, page.last().map(|last| last.id))
        };
        let (first, last) = page(None);
        assert_eq!(first, [serial(4), serial(3)]);
        let (second, last) = page(last);
        assert_eq!(second, [serial(1)]);
        assert_eq!(page(last).0, []);
    }

    fn what_others_change_shows_in_the_version(on: &On) {
        let (home, store, issuing) = on.new_store();
        let before = store.version().unwrap();
        assert_eq!(store.version().unwrap(), before);
        issue(&mut home.open(), issuing, 1, "urn:example:pump-1", 100);
        assert!(before.is_none() || store.version().unwrap() != before);
    }
}
