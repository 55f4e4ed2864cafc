//! Looking up: one certificate by what is known of it, or a page of many with an exact count.

use jiff::Timestamp;

use super::engine::Engine;
use super::record::{COLUMNS, add_names, read};
use super::search::Search;
use super::{CertificateId, Record, Status, Store, StoreError};
use crate::profile::Profile;
use crate::public_key::hex;
use crate::serial::Serial;

/// How a certificate is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Find {
    /// By its serial.
    Serial(Serial),
    /// By one of its names, in full. There may be several such certificates.
    Id(String),
    /// By the hash of its to-be-signed part, which also finds one that was signed but not stored.
    Tbs([u8; 32]),
}

/// Which certificates a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those in this state.
    pub status: Option<StatusFilter>,
    /// Only those of this profile.
    pub profile: Option<&'static Profile>,
    /// Only those with such a name.
    pub id: Option<IdFilter>,
    /// Only those that were issued, are not expired, and expire at this time or before.
    pub expires_by: Option<Timestamp>,
}

/// A state to list. The first four are the stored ones; `Issued` includes what has expired since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFilter {
    /// As stored.
    Stored(Status),
    /// Issued and past its notAfter.
    Expired,
}

/// Part of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdFilter {
    /// The name begins with this.
    Prefix(String),
    /// The name contains this.
    Contains(String),
}

/// Part of a list, in the order in which serials were drawn.
#[derive(Debug)]
pub struct Page {
    /// At most as many as were asked for.
    pub records: Vec<Record>,
    /// How many match the filter in all.
    pub total: u64,
    /// Where the next page begins, if there is one.
    pub next: Option<CertificateId>,
}

/// Longest page.
pub const MAX_PAGE: u32 = 10_000;

impl Store {
    /// Every certificate that is known like this, latest first.
    pub fn find(&self, find: &Find) -> Result<Vec<Record>, StoreError> {
        let snapshot = self.engine.snapshot()?;
        self::find(&snapshot, find, &self.scoped("c.issuer"))
    }

    /// The certificates that match, at most `limit` (and [`MAX_PAGE`]), after `after`.
    pub fn list(
        &self,
        filter: &Filter,
        after: Option<CertificateId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Page, StoreError> {
        let limit = limit.clamp(1, MAX_PAGE) as usize;
        // One snapshot for the count and the rows.
        let snapshot = self.engine.snapshot()?;
        let search = Search::new(filter, &self.scope, now);
        // One more than asked for says that there is a next page.
        let mut matches = search.run(&snapshot, after.map_or(0, |id| id.0), limit + 1)?;
        let more = matches.ids.len() > limit;
        matches.ids.truncate(limit);
        let records = records(&snapshot, &matches.ids)?;
        Ok(Page {
            next: more.then(|| records.last().map(|last| last.id)).flatten(),
            records,
            total: matches.total,
        })
    }

    /// The certificate's octets, if it was stored.
    pub fn der(&self, id: CertificateId) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self
            .engine
            .first("SELECT der FROM certificates WHERE id = ?1", &[id.0.into()])?;
        match row {
            Some(row) => Ok(row.optional_octets(0)?.map(<[u8]>::to_vec)),
            None => Ok(None),
        }
    }
}

pub(super) fn find(engine: &Engine, find: &Find, scope: &str) -> Result<Vec<Record>, StoreError> {
    let (condition, value) = match find {
        Find::Serial(serial) => (BY_SERIAL, serial.to_string()),
        Find::Id(name) => (BY_NAME, name.clone()),
        Find::Tbs(hash) => (BY_TBS, hex(hash)),
    };
    let mut records = engine
        .query(&select(condition, scope), &[value.into()])?
        .iter()
        .map(read)
        .collect::<Result<Vec<_>, _>>()?;
    add_names(engine, &mut records)?;
    Ok(records)
}

pub(super) const BY_SERIAL: &str = "c.serial = ?1";
pub(super) const BY_NAME: &str = "c.id IN (SELECT certificate FROM names WHERE value = ?1)";
pub(super) const BY_TBS: &str = "c.tbs_sha256 = ?1";

pub(super) fn select(condition: &str, scope: &str) -> String {
    format!(
        "SELECT {COLUMNS} FROM certificates AS c JOIN authorities AS a ON a.id = c.issuer
          WHERE {condition} AND {scope} ORDER BY c.id DESC"
    )
}

/// How many certificates are read at once.
const AT_ONCE: usize = 500;

/// The certificates at these places, which ascend.
fn records(engine: &Engine, ids: &[i64]) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::with_capacity(ids.len());
    for ids in ids.chunks(AT_ONCE) {
        let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
        let sql = format!(
            "SELECT {COLUMNS} FROM certificates AS c JOIN authorities AS a ON a.id = c.issuer
              WHERE c.id IN ({}) ORDER BY c.id",
            ids.join(", ")
        );
        engine.each(&sql, &[], &mut |row| {
            records.push(read(&row)?);
            Ok(())
        })?;
    }
    add_names(engine, &mut records)?;
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::super::lifecycle::tests::{a_key, at, issue, reserve, serial};
    use super::super::tests::{Home, On, on_both_engines};
    use super::*;
    use crate::profile;
    use crate::reason::Reason;

    on_both_engines!(
        each_filter_shows_what_it_says,
        pages_join_without_gap_or_overlap_and_each_says_the_total,
        a_certificate_is_found_by_serial_name_and_signed_part,
        a_prefix_finds_names_that_go_on_with_any_character,
        a_serial_with_the_high_bit_reads_back,
    );

    fn labels(page: &Page) -> Vec<&str> {
        page.records
            .iter()
            .map(|record| record.label.as_str())
            .collect()
    }

    fn three_devices(on: &On) -> (Home, Store) {
        let (dir, mut store, issuing) = on.new_store();
        issue(&mut store, issuing, 1, "urn:example:pump-1", 100);
        issue(&mut store, issuing, 2, "urn:example:pump-2", 200);
        issue(&mut store, issuing, 3, "urn:example:monitor-1", 300);
        reserve(&mut store, issuing, 4, "urn:example:pump-3", &a_key()).unwrap();
        store
            .revoke::<StoreError>(&Find::Serial(serial(2)), Reason::Superseded, at(5), Ok)
            .unwrap();
        (dir, store)
    }

    fn each_filter_shows_what_it_says(on: &On) {
        let (_dir, store) = three_devices(on);
        let listed = |filter: Filter| {
            let page = store.list(&filter, None, 100, at(150)).unwrap();
            assert_eq!(page.total, page.records.len() as u64);
            labels(&page)
                .iter()
                .map(|label| label.trim_start_matches("urn:example:").to_owned())
                .collect::<Vec<_>>()
        };
        let status = |status| Filter {
            status: Some(status),
            ..Filter::default()
        };
        let id = |id| Filter {
            id: Some(id),
            ..Filter::default()
        };
        assert_eq!(
            listed(Filter::default()),
            ["pump-1", "pump-2", "monitor-1", "pump-3"]
        );
        assert_eq!(
            listed(status(StatusFilter::Stored(Status::Issued))),
            ["pump-1", "monitor-1"]
        );
        assert_eq!(
            listed(status(StatusFilter::Stored(Status::Revoked))),
            ["pump-2"]
        );
        assert_eq!(
            listed(status(StatusFilter::Stored(Status::Reserved))),
            ["pump-3"]
        );
        assert_eq!(listed(status(StatusFilter::Expired)), ["pump-1"]);
        assert_eq!(
            listed(id(IdFilter::Prefix("urn:example:pump-".to_owned()))),
            ["pump-1", "pump-2", "pump-3"]
        );
        assert_eq!(
            listed(id(IdFilter::Contains("-1".to_owned()))),
            ["pump-1", "monitor-1"]
        );
        assert_eq!(listed(id(IdFilter::Contains("%".to_owned()))), [""; 0]);
        assert_eq!(
            listed(Filter {
                expires_by: Some(at(300)),
                ..Filter::default()
            }),
            ["monitor-1"]
        );
        assert_eq!(
            listed(Filter {
                profile: Some(profile::root()),
                ..Filter::default()
            }),
            [""; 0]
        );
    }

    fn pages_join_without_gap_or_overlap_and_each_says_the_total(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
        for number in 1..=7 {
            issue(&mut store, issuing, number, "urn:example:a", 100);
        }
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = store.list(&Filter::default(), after, 3, at(1)).unwrap();
            assert_eq!(page.total, 7);
            seen.extend(page.records.iter().map(|record| record.serial.clone()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, (1..=7).map(serial).collect::<Vec<_>>());
    }

    fn a_certificate_is_found_by_serial_name_and_signed_part(on: &On) {
        let (_dir, store) = three_devices(on);
        let by_serial = store.find(&Find::Serial(serial(2))).unwrap();
        assert_eq!(by_serial[0].label, "urn:example:pump-2");
        assert_eq!(by_serial[0].revoked, Some((at(5), Reason::Superseded)));
        let by_name = store
            .find(&Find::Id("urn:example:monitor-1".to_owned()))
            .unwrap();
        assert_eq!(by_name[0].serial, serial(3));
        assert_eq!(store.find(&Find::Tbs([1; 32])).unwrap().len(), 3);
        assert!(
            store
                .find(&Find::Id("urn:example:pump".to_owned()))
                .unwrap()
                .is_empty()
        );
        assert!(store.der(by_serial[0].id).unwrap().is_some());
    }

    fn a_prefix_finds_names_that_go_on_with_any_character(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
        for (number, tail) in (1..).zip(["", "!", "A", "~", "~~"]) {
            let name = format!("urn:example:pump-{tail}");
            issue(&mut store, issuing, number, &name, 100);
        }
        issue(&mut store, issuing, 9, "urn:example:pumq", 100);
        let filter = Filter {
            id: Some(IdFilter::Prefix("urn:example:pump-".to_owned())),
            ..Filter::default()
        };
        assert_eq!(store.list(&filter, None, 100, at(1)).unwrap().total, 5);
    }

    fn a_serial_with_the_high_bit_reads_back(on: &On) {
        let (_dir, mut store, issuing) = on.new_store();
        let high = u64::MAX - 1;
        issue(&mut store, issuing, high, "urn:example:a", 100);
        assert_eq!(
            store.find(&Find::Serial(serial(high))).unwrap()[0].serial,
            serial(high)
        );
    }
}
