//! The index that is asked: from issuer key to serial numbers.

use std::collections::{HashMap, HashSet};

use super::list::List;
use super::scope::Scope;
use crate::identity::{IssuerKey, Link, Serial};

/// What is known to be revoked, and how long that knowledge lasts.
#[derive(Debug, Default)]
pub struct Index {
    issuers: HashMap<IssuerKey, Issuer>,
    lists: usize,
}

#[derive(Debug, Default)]
struct Issuer {
    revoked: HashSet<Serial>,
    coverage: Vec<Coverage>,
}

#[derive(Debug)]
struct Coverage {
    scope: Scope,
    this_update: i64,
    next_update: i64,
}

/// The standing of one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A current list covers it and does not name it.
    Good,
    /// A list names it.
    Revoked,
    /// The list that covers it is out of date.
    Stale {
        /// Since when, seconds since 1970.
        next_update: i64,
    },
    /// No list covers it.
    Unknown,
}

impl Index {
    /// The index of these lists. Of two lists with the same issuer and scope the newer counts, and
    /// the serials of both: nothing that was revoked is forgotten because an old file lies about.
    pub fn build(lists: Vec<List>) -> Index {
        let mut index = Index {
            lists: lists.len(),
            ..Index::default()
        };
        for list in lists {
            let issuer = index.issuers.entry(list.issuer).or_default();
            issuer.revoked.extend(list.serials);
            let coverage = Coverage {
                scope: list.scope,
                this_update: list.this_update,
                next_update: list.next_update,
            };
            match issuer
                .coverage
                .iter_mut()
                .find(|known| known.scope == coverage.scope)
            {
                Some(known) if known.this_update >= coverage.this_update => {}
                Some(known) => *known = coverage,
                None => issuer.coverage.push(coverage),
            }
        }
        index
    }

    /// The standing of a certificate. `is_leaf` tells apart what lists for users and for
    /// authorities speak of.
    pub fn standing(&self, link: &Link, is_leaf: bool, now: i64) -> Standing {
        let Some(issuer) = self.issuers.get(&link.issuer) else {
            return Standing::Unknown;
        };
        if issuer.revoked.contains(&link.serial) {
            return Standing::Revoked;
        }
        let covering = issuer
            .coverage
            .iter()
            .filter(|coverage| coverage.scope.covers(link, is_leaf));
        match covering.map(|coverage| coverage.next_update).max() {
            Some(next_update) if next_update < now => Standing::Stale { next_update },
            Some(_) => Standing::Good,
            None => Standing::Unknown,
        }
    }

    /// How many lists it was built from.
    pub fn lists(&self) -> usize {
        self.lists
    }

    /// How many serials are revoked.
    pub fn serials(&self) -> usize {
        self.issuers
            .values()
            .map(|issuer| issuer.revoked.len())
            .sum()
    }

    /// When the first of the lists in force grows stale, seconds since 1970.
    pub fn next_update(&self) -> Option<i64> {
        self.issuers
            .values()
            .flat_map(|issuer| &issuer.coverage)
            .map(|coverage| coverage.next_update)
            .min()
    }

    /// Whether any list of this issuer is known.
    pub fn knows(&self, issuer: IssuerKey) -> bool {
        self.issuers.contains_key(&issuer)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, date_time_ymd};

    use super::super::testing::{Ca, NOW, params, read, usual};
    use super::*;

    fn link(ca: &Ca, serial: u64, points: &[&str]) -> Link {
        Link {
            issuer: ca.authority.key(),
            serial: Serial::new(&serial.to_be_bytes()),
            distribution_points: points.iter().map(|&point| point.into()).collect(),
            not_before: 0,
            not_after: i64::MAX,
        }
    }

    #[test]
    fn a_serial_on_the_list_of_its_issuer_is_revoked_and_only_there() {
        let (one, other) = (usual("one"), usual("other"));
        let both = [&one.authority, &other.authority];
        let index = Index::build(vec![
            read(&one, params(&[5]), &both).unwrap(),
            read(&other, params(&[6]), &both).unwrap(),
        ]);
        assert_eq!(
            index.standing(&link(&one, 5, &[]), true, NOW),
            Standing::Revoked
        );
        assert_eq!(
            index.standing(&link(&one, 6, &[]), true, NOW),
            Standing::Good
        );
        assert_eq!(
            index.standing(&link(&other, 5, &[]), true, NOW),
            Standing::Good
        );
        assert_eq!((index.lists(), index.serials()), (2, 2));
    }

    #[test]
    fn without_a_list_nothing_is_good() {
        let one = usual("one");
        assert_eq!(
            Index::default().standing(&link(&one, 1, &[]), true, NOW),
            Standing::Unknown
        );
    }

    #[test]
    fn a_list_grows_stale_and_still_tells_what_is_revoked() {
        let one = usual("one");
        let index = Index::build(vec![read(&one, params(&[5]), &[&one.authority]).unwrap()]);
        let later = NOW + 30 * 86_400;
        assert!(matches!(
            index.standing(&link(&one, 6, &[]), true, later),
            Standing::Stale { .. }
        ));
        assert_eq!(
            index.standing(&link(&one, 5, &[]), true, later),
            Standing::Revoked
        );
    }

    #[test]
    fn of_two_lists_the_newer_dates_count_and_nothing_is_forgotten() {
        let one = usual("one");
        let older = read(&one, params(&[5]), &[&one.authority]).unwrap();
        let mut newer = params(&[6]);
        newer.this_update = date_time_ymd(2026, 1, 2);
        newer.next_update = date_time_ymd(2026, 2, 1);
        let newer = read(&one, newer, &[&one.authority]).unwrap();
        let index = Index::build(vec![newer, older]);
        let later = NOW + 15 * 86_400;
        assert_eq!(
            index.standing(&link(&one, 7, &[]), true, later),
            Standing::Good
        );
        assert_eq!(
            index.standing(&link(&one, 5, &[]), true, later),
            Standing::Revoked
        );
        assert_eq!(
            index.standing(&link(&one, 6, &[]), true, later),
            Standing::Revoked
        );
    }

    #[test]
    fn a_shard_covers_the_certificates_that_name_it() {
        let one = usual("one");
        let mut shard = params(&[5]);
        shard.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint {
                uris: vec!["http://crl.example/1".to_owned()],
            },
            scope: Some(CrlScope::UserCertsOnly),
        });
        let index = Index::build(vec![read(&one, shard, &[&one.authority]).unwrap()]);
        assert_eq!(
            index.standing(&link(&one, 6, &["http://crl.example/1"]), true, NOW),
            Standing::Good
        );
        assert_eq!(
            index.standing(&link(&one, 6, &["http://crl.example/2"]), true, NOW),
            Standing::Unknown
        );
        assert_eq!(
            index.standing(&link(&one, 6, &[]), true, NOW),
            Standing::Unknown
        );
        assert_eq!(
            index.standing(&link(&one, 6, &["http://crl.example/1"]), false, NOW),
            Standing::Unknown
        );
        assert_eq!(
            index.standing(&link(&one, 5, &[]), true, NOW),
            Standing::Revoked
        );
    }
}
