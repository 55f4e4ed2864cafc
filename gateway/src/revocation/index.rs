//! The index that is asked: from issuer key to serial numbers.

use std::collections::{HashMap, HashSet};

use super::edition::Edition;
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
    /// For messages.
    name: Box<str>,
    revoked: HashSet<Serial>,
    /// The list in force for each scope.
    in_force: HashMap<Scope, InForce>,
    /// What was in force for scopes that have no list now.
    gone: HashMap<Scope, InForce>,
    /// The spans of lists that are bound to no distribution point, and of those that are.
    whole: Vec<Span>,
    sharded: HashMap<Box<str>, Vec<Span>>,
}

/// A list, as far as it outlives its reading.
#[derive(Debug, Clone)]
struct InForce {
    edition: Edition,
    next_update: i64,
    /// Which of the lists that the index was built from, in their order.
    at: usize,
}

/// Which certificates a list vouches for, and until when.
#[derive(Debug)]
struct Span {
    scope: Scope,
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

/// What an index has less than the one that it follows.
#[derive(Debug, Default)]
pub struct Succession {
    /// Lists that are older than the one in force. The index must not come into force: whoever put
    /// them there would take revocations back.
    pub setbacks: Vec<Setback>,
    /// Scopes whose list is missing. What only that list covered is refused.
    pub gone: Vec<Gone>,
}

/// Lists in force that have little of their lifetime left, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The name of the issuer of the first of them.
    pub issuer: Box<str>,
    /// When that one grows stale, seconds since 1970.
    pub next_update: i64,
    /// How many there are.
    pub lists: usize,
}

/// A list that is older than the one in force.
#[derive(Debug)]
pub struct Setback {
    /// Which of the lists that the index was built from, in their order.
    pub list: usize,
    /// What it is.
    pub edition: Edition,
    /// What is in force.
    pub in_force: Edition,
}

/// A list that was in force, and has no successor.
#[derive(Debug)]
pub struct Gone {
    /// The name of its issuer.
    pub issuer: Box<str>,
    /// Of which certificates it spoke; continues "a list for".
    pub scope: String,
}

impl Index {
    /// The index of these lists. Of two lists with the same issuer and scope the newer counts, and
    /// the serials of both: nothing that was revoked is forgotten because an old file lies about.
    pub fn build(lists: Vec<List>) -> Index {
        let mut index = Index {
            lists: lists.len(),
            ..Index::default()
        };
        for (at, list) in lists.into_iter().enumerate() {
            let issuer = index.issuers.entry(list.issuer).or_default();
            issuer.name = list.issuer_name;
            issuer.revoked.extend(list.serials);
            let known = issuer.in_force.get(&list.scope);
            if known.is_none_or(|known| known.edition.is_older_than(&list.edition)) {
                let in_force = InForce {
                    edition: list.edition,
                    next_update: list.next_update,
                    at,
                };
                issuer.in_force.insert(list.scope, in_force);
            }
        }
        index.issuers.values_mut().for_each(Issuer::arrange);
        index
    }

    /// Takes over what must not be forgotten of `previous`, and tells what there is less of. `now` in
    /// seconds since 1970.
    ///
    /// While the list of a scope is missing, everything that its issuer had revoked stays revoked, and
    /// its edition is remembered: nobody takes a revocation back by removing a list first and putting
    /// an older one, or one of another scope, in its place later. That ends when the missing list
    /// would be out of date itself, because then older ones are too.
    pub fn follow(&mut self, previous: &Index, now: i64) -> Succession {
        let mut succession = Succession::default();
        for (key, was) in &previous.issuers {
            let mut missing = Vec::new();
            for (scope, known) in was.in_force.iter().chain(&was.gone) {
                let successor = self
                    .issuers
                    .get(key)
                    .and_then(|issuer| issuer.in_force.get(scope));
                match successor {
                    Some(list) if list.edition.is_older_than(&known.edition) => {
                        succession.setbacks.push(Setback {
                            list: list.at,
                            edition: list.edition.clone(),
                            in_force: known.edition.clone(),
                        });
                    }
                    Some(_) => {}
                    None => missing.push((scope, known)),
                }
            }
            for (scope, _) in missing
                .iter()
                .filter(|(scope, _)| was.in_force.contains_key(scope))
            {
                succession.gone.push(Gone {
                    issuer: was.name.clone(),
                    scope: scope.to_string(),
                });
            }
            missing.retain(|(_, known)| known.next_update >= now);
            if !missing.is_empty() {
                let issuer = self.issuers.entry(*key).or_default();
                issuer.name.clone_from(&was.name);
                issuer.revoked.extend(was.revoked.iter().cloned());
                let missing = missing.into_iter();
                issuer
                    .gone
                    .extend(missing.map(|(scope, known)| (scope.clone(), known.clone())));
            }
        }
        succession.setbacks.sort_by_key(|setback| setback.list);
        let name = |gone: &Gone| (gone.issuer.clone(), gone.scope.clone());
        succession.gone.sort_by_key(name);
        succession
    }

    /// Keeps the lists of `previous` in force of which this index has none, or an older one. To be called
    /// behind [`Index::follow`] when something could not be read: what was lost with it is not known, and
    /// the last good list stands until it grows stale.
    ///
    /// Until all can be read again everything that such an issuer had revoked stays revoked.
    pub fn hold(&mut self, previous: &Index) {
        for (key, was) in &previous.issuers {
            let issuer = self.issuers.entry(*key).or_default();
            let mut is_held = false;
            for (scope, known) in &was.in_force {
                let list = issuer.in_force.get(scope);
                if list.is_none_or(|list| list.edition.is_older_than(&known.edition)) {
                    self.lists += usize::from(list.is_none());
                    issuer.in_force.insert(scope.clone(), known.clone());
                    issuer.gone.remove(scope);
                    is_held = true;
                }
            }
            if is_held {
                issuer.name.clone_from(&was.name);
                issuer.revoked.extend(was.revoked.iter().cloned());
                issuer.arrange();
            }
        }
        self.issuers
            .retain(|_, issuer| !(issuer.in_force.is_empty() && issuer.gone.is_empty()));
    }

    /// Whether both say the same of every certificate, now and later.
    pub fn is_like(&self, other: &Index) -> bool {
        let same = |mine: &Issuer, other: &Issuer| {
            mine.revoked == other.revoked
                && are_like(&mine.in_force, &other.in_force)
                && are_like(&mine.gone, &other.gone)
        };
        self.issuers.len() == other.issuers.len()
            && self.issuers.iter().all(|(key, mine)| {
                let other = other.issuers.get(key);
                other.is_some_and(|other| same(mine, other))
            })
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
        let points = &link.distribution_points;
        let sharded = points.iter().filter_map(|point| issuer.sharded.get(point));
        let covering = issuer
            .whole
            .iter()
            .chain(sharded.flatten())
            .filter(|span| span.scope.is_for(is_leaf));
        match covering.map(|span| span.next_update).max() {
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
            .flat_map(|issuer| issuer.in_force.values())
            .map(|list| list.next_update)
            .min()
    }

    /// The lists in force whose successors are due: no more than a third of their lifetime is left,
    /// and no more than a day. `now` in seconds since 1970.
    pub fn due(&self, now: i64) -> Option<Due> {
        let mut due: Option<Due> = None;
        for issuer in self.issuers.values() {
            for list in issuer.in_force.values().filter(|list| list.is_due(now)) {
                let due = due.get_or_insert_with(|| Due {
                    issuer: issuer.name.clone(),
                    next_update: list.next_update,
                    lists: 0,
                });
                due.lists += 1;
                if list.next_update < due.next_update {
                    due.issuer.clone_from(&issuer.name);
                    due.next_update = list.next_update;
                }
            }
        }
        due
    }

    /// Whether any list of this issuer is in force.
    pub fn knows(&self, issuer: IssuerKey) -> bool {
        self.issuers
            .get(&issuer)
            .is_some_and(|issuer| !issuer.in_force.is_empty())
    }
}

impl InForce {
    /// The last stretch of a list's life, in which its successor should have come, is at most this
    /// long, seconds.
    const LONGEST_DUE: i64 = 86_400;

    fn is_due(&self, now: i64) -> bool {
        let lifetime = self.next_update.saturating_sub(self.edition.this_update());
        let due = (lifetime / 3).min(Self::LONGEST_DUE);
        now >= self.next_update.saturating_sub(due)
    }
}

impl Issuer {
    /// Lays out what [`Index::standing`] looks at.
    fn arrange(&mut self) {
        self.whole.clear();
        self.sharded.clear();
        for (scope, list) in &self.in_force {
            let span = || Span {
                scope: scope.clone(),
                next_update: list.next_update,
            };
            match scope.points() {
                None => self.whole.push(span()),
                Some(points) => {
                    for point in points {
                        self.sharded.entry(point.clone()).or_default().push(span());
                    }
                }
            }
        }
    }
}

fn are_like(mine: &HashMap<Scope, InForce>, other: &HashMap<Scope, InForce>) -> bool {
    let same = |mine: &InForce, other: &InForce| {
        mine.edition == other.edition && mine.next_update == other.next_update
    };
    mine.len() == other.len()
        && mine.iter().all(|(scope, list)| {
            let other = other.get(scope);
            other.is_some_and(|other| same(list, other))
        })
}

#[cfg(test)]
mod tests {
    use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, date_time_ymd};

    use super::super::testing::{Ca, NOW, edition, params, read, usual};
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
    fn what_is_held_is_in_force_as_before_and_what_is_newer_stays() {
        let (one, other) = (usual("one"), usual("other"));
        let both = [&one.authority, &other.authority];
        let index = |lists: &[(&Ca, u64, &[u64])]| {
            let read = |(ca, number, serials): &(&Ca, u64, &[u64])| {
                read(ca, edition(*number, 1, serials), &both)
            };
            Index::build(lists.iter().map(|list| read(list).unwrap()).collect())
        };
        let before = index(&[(&one, 4, &[5]), (&other, 4, &[6])]);
        // The one's is older, the other's is gone.
        let mut worse = index(&[(&one, 3, &[])]);
        worse.follow(&before, NOW);
        worse.hold(&before);
        assert!(worse.is_like(&before) && before.is_like(&worse));
        assert_eq!(worse.lists(), 2);
        for (ca, serial) in [(&one, 5), (&other, 6)] {
            let standing = |serial| worse.standing(&link(ca, serial, &[]), true, NOW);
            assert_eq!(standing(serial), Standing::Revoked);
            assert_eq!(standing(9), Standing::Good);
        }
        // The one's is newer, and says less.
        let mut newer = index(&[(&one, 5, &[])]);
        newer.follow(&before, NOW);
        newer.hold(&before);
        assert_eq!(
            newer.standing(&link(&one, 5, &[]), true, NOW),
            Standing::Good
        );
        assert_eq!(
            newer.standing(&link(&other, 6, &[]), true, NOW),
            Standing::Revoked
        );
        assert!(!newer.is_like(&before));
        // It is held no longer than it counts.
        let later = NOW + 30 * 86_400;
        let stale = newer.standing(&link(&other, 9, &[]), true, later);
        assert!(matches!(stale, Standing::Stale { .. }), "{stale:?}");
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
    fn a_list_is_due_a_day_or_a_third_of_its_lifetime_before_it_is_stale() {
        let (one, other) = (usual("one"), usual("other"));
        let both = [&one.authority, &other.authority];
        let day = 86_400;
        // Lifetimes of nine days and of one day and a half.
        let (mut long, mut short) = (params(&[]), params(&[]));
        (long.this_update, long.next_update) =
            (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 1, 10));
        short.this_update = date_time_ymd(2026, 1, 1);
        short.next_update = date_time_ymd(2026, 1, 2) + std::time::Duration::from_hours(12);
        let (end, short_end) = (NOW + 8 * day, NOW + day / 2);
        let index = Index::build(vec![read(&one, long, &both).unwrap()]);
        assert_eq!(index.due(end - day - 1), None);
        let due = |issuer: &str, next_update, lists| {
            let issuer = format!("CN={issuer}").into();
            Some(Due {
                issuer,
                next_update,
                lists,
            })
        };
        for now in [end - day, end, end + 30 * day] {
            assert_eq!(index.due(now), due("one", end, 1));
        }
        let short = Index::build(vec![read(&other, short, &both).unwrap()]);
        assert_eq!(short.due(short_end - day / 2 - 1), None);
        assert_eq!(short.due(short_end - day / 2), due("other", short_end, 1));
    }

    #[test]
    fn of_several_lists_that_are_due_the_first_to_grow_stale_is_named() {
        let (one, other) = (usual("one"), usual("other"));
        let both = [&one.authority, &other.authority];
        let until = |day| {
            let mut list = params(&[]);
            list.next_update = date_time_ymd(2026, 1, day);
            list
        };
        let index = Index::build(vec![
            read(&one, until(9), &both).unwrap(),
            read(&other, until(8), &both).unwrap(),
        ]);
        let due = index.due(NOW + 30 * 86_400).unwrap();
        assert_eq!((&*due.issuer, due.lists), ("CN=other", 2));
        assert_eq!(due.next_update, NOW + 6 * 86_400);
        assert_eq!(Index::default().due(i64::MAX), None);
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

    /// A list for the distribution point `point`.
    fn at(
        point: &str,
        mut list: rcgen::CertificateRevocationListParams,
    ) -> rcgen::CertificateRevocationListParams {
        list.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint {
                uris: vec![point.to_owned()],
            },
            scope: None,
        });
        list
    }

    fn index(ca: &Ca, lists: Vec<rcgen::CertificateRevocationListParams>) -> Index {
        let lists = lists.into_iter();
        Index::build(
            lists
                .map(|list| read(ca, list, &[&ca.authority]).unwrap())
                .collect(),
        )
    }

    fn setbacks(succession: &Succession) -> Vec<usize> {
        let setbacks = succession.setbacks.iter();
        setbacks.map(|setback| setback.list).collect()
    }

    #[test]
    fn a_list_that_is_older_than_the_one_in_force_is_told() {
        let one = usual("one");
        let in_force = index(&one, vec![edition(5, 2, &[7])]);
        for (list, is_older) in [
            (edition(4, 2, &[7]), true),
            (edition(4, 1, &[]), true),
            (edition(5, 1, &[7]), true),
            (edition(5, 2, &[7]), false),
            (edition(6, 2, &[7]), false),
            (edition(6, 2, &[]), false),
        ] {
            let mut next = index(&one, vec![list]);
            let succession = next.follow(&in_force, NOW);
            assert_eq!(!succession.setbacks.is_empty(), is_older);
            assert!(succession.gone.is_empty());
        }
    }

    #[test]
    fn an_old_file_beside_the_newest_is_no_setback() {
        let one = usual("one");
        let lists = || vec![edition(4, 1, &[6]), edition(5, 2, &[7]), edition(3, 1, &[])];
        let in_force = index(&one, lists());
        let succession = index(&one, lists()).follow(&in_force, NOW);
        assert!(succession.setbacks.is_empty() && succession.gone.is_empty());
        let succession =
            index(&one, vec![edition(3, 1, &[]), edition(4, 1, &[6])]).follow(&in_force, NOW);
        assert_eq!(setbacks(&succession), [1]);
    }

    #[test]
    fn lists_of_other_scopes_and_issuers_are_counted_apart() {
        let (one, other) = (usual("one"), usual("other"));
        let in_force = index(
            &one,
            vec![at("a:1", edition(9, 2, &[])), edition(5, 2, &[])],
        );
        let mut next = index(
            &one,
            vec![at("a:1", edition(9, 2, &[])), edition(5, 2, &[])],
        );
        assert!(next.follow(&in_force, NOW).setbacks.is_empty());
        let mut next = index(&other, vec![edition(1, 1, &[])]);
        assert!(next.follow(&in_force, NOW).setbacks.is_empty());
    }

    #[test]
    fn a_newer_list_that_no_longer_names_a_serial_counts() {
        let one = usual("one");
        let in_force = index(&one, vec![edition(5, 1, &[7])]);
        let mut next = index(&one, vec![edition(6, 2, &[])]);
        next.follow(&in_force, NOW);
        assert_eq!(
            next.standing(&link(&one, 7, &[]), true, NOW),
            Standing::Good
        );
    }

    #[test]
    fn what_a_missing_list_covered_is_refused_and_it_is_told_once() {
        let one = usual("one");
        let in_force = index(&one, vec![edition(5, 1, &[7])]);
        let mut next = Index::default();
        let succession = next.follow(&in_force, NOW);
        assert_eq!(succession.gone.len(), 1);
        assert_eq!(&*succession.gone[0].issuer, "CN=one");
        assert_eq!(succession.gone[0].scope, "all certificates");
        assert!(!next.knows(one.authority.key()));
        assert_eq!(next.next_update(), None);
        for (serial, standing) in [(7, Standing::Revoked), (8, Standing::Unknown)] {
            assert_eq!(next.standing(&link(&one, serial, &[]), true, NOW), standing);
        }
        let succession = Index::default().follow(&next, NOW);
        assert!(succession.gone.is_empty());
    }

    #[test]
    fn removing_a_list_first_does_not_help_an_older_one() {
        let one = usual("one");
        let in_force = index(&one, vec![edition(5, 2, &[7])]);
        let mut nothing = Index::default();
        nothing.follow(&in_force, NOW);
        let mut still = Index::default();
        still.follow(&nothing, NOW);
        let succession = index(&one, vec![edition(4, 1, &[])]).follow(&still, NOW);
        assert_eq!(setbacks(&succession), [0]);
        let mut back = index(&one, vec![edition(6, 2, &[])]);
        assert!(back.follow(&still, NOW).setbacks.is_empty());
        assert_eq!(
            back.standing(&link(&one, 7, &[]), true, NOW),
            Standing::Good
        );
    }

    #[test]
    fn a_list_of_another_scope_does_not_take_revocations_back() {
        let one = usual("one");
        let revoked = link(&one, 7, &["a:1"]);
        let in_force = index(&one, vec![at("a:1", edition(9, 2, &[7]))]);
        let mut next = index(&one, vec![edition(3, 1, &[])]);
        let succession = next.follow(&in_force, NOW);
        assert_eq!(
            succession.gone[0].scope,
            "all certificates of the distribution point a:1"
        );
        assert_eq!(next.standing(&revoked, true, NOW), Standing::Revoked);
        let mut after = index(&one, vec![edition(3, 1, &[])]);
        after.follow(&next, NOW);
        assert_eq!(after.standing(&revoked, true, NOW), Standing::Revoked);
    }

    #[test]
    fn what_is_missing_is_forgotten_when_it_would_be_out_of_date() {
        let one = usual("one");
        let in_force = index(&one, vec![edition(5, 2, &[7])]);
        let later = NOW + 30 * 86_400;
        let mut next = Index::default();
        assert_eq!(next.follow(&in_force, later).gone.len(), 1);
        assert_eq!(next.serials(), 0);
    }
}
