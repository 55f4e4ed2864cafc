//! What a responder says of the certificates of clients by OCSP (RFC 6960, RFC 5019), and for how long that counts.
//!
//! An answer counts until it ends, and no longer than the configuration says. Which certificates were asked about is
//! bounded: those that were longest unused go first, and are asked about again. No network, no clock: who asks
//! is `ask`.
//!
//! Fails closed: what is not known to be good is not good. An answer that is older than the one that is remembered
//! is refused, so that whoever sits on the way takes no revocation back with one from before, or from the same second.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::{OcspUrl, Placed};
use jiff::Timestamp;
use ocsp::{CertId, ErrorStatus, HashAlgorithm, Issuer, Request, Status};

use super::chain::ChainRefusal;
use super::profile::signature_algorithms;
use crate::ca::CaCertificate;
use crate::identity::{IssuerKey, Link, Serial};

/// How many certificates are remembered for a trust set, some 150 bytes each.
const MOST: usize = 64 * 1024;

/// Nobody is asked about the same certificate again so soon after it went wrong, seconds.
const PATIENCE: i64 = 1;

/// So long before an answer a request that waited for it may have come, seconds: `limits.handshake` and a margin.
const LATE: i64 = 6 * 60;

/// For so long a revocation counts at least, seconds, however short answers are remembered: every connection that
/// is rung for it looks meanwhile.
const HELD: i64 = 10;

/// The statuses of the certificates of a trust set.
#[derive(Debug)]
pub struct Statuses {
    url: Placed<OcspUrl>,
    /// Seconds.
    max_age: i64,
    known: Mutex<Known<MOST>>,
}

/// What is known of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafStanding {
    /// It is not revoked.
    Good,
    /// It is no client: it is revoked, or that was asked just now and nobody said.
    Refused(ChainRefusal),
    /// Nothing that counts: it has to be asked.
    Open,
}

/// Why an answer does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusFault {
    /// It is not to be believed, or it is over.
    Response(ocsp::Fault),
    /// The responder does not know the certificate.
    Unknown,
    /// It is older than the one before, or takes a revocation back without being newer.
    Older,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    standing: LeafStanding,
    /// When it was remembered, seconds since 1970.
    since: i64,
    /// It counts before then, seconds since 1970.
    until: i64,
    /// Of the newest answer that counted, if there was one: nothing that went wrong since takes it away.
    newest: Option<Newest>,
}

/// What the next answer is held against.
#[derive(Debug, Clone, Copy)]
struct Newest {
    /// Seconds since 1970.
    this_update: i64,
    is_revoked: bool,
}

const REVOKED: LeafStanding = LeafStanding::Refused(ChainRefusal::Revoked);

/// A certificate, by who signed it and its serial number.
type Key = (IssuerKey, Serial);

/// At most `MOST` certificates, in two halves: what is used moves to the young one, and when that is full the
/// old one is forgotten.
#[derive(Debug, Default)]
struct Known<const MOST: usize> {
    young: HashMap<Key, Entry>,
    old: HashMap<Key, Entry>,
}

impl Statuses {
    /// Nothing is known yet of what this responder says.
    pub fn new(url: Placed<OcspUrl>, max_age: Duration) -> Statuses {
        Statuses {
            url,
            max_age: i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX),
            known: Mutex::default(),
        }
    }

    /// Whether it is of this responder, and remembers for as long.
    pub fn is_like(&self, other: &Statuses) -> bool {
        self.url.value == other.url.value && self.max_age == other.max_age
    }

    /// Who is asked.
    pub fn url(&self) -> &Placed<OcspUrl> {
        &self.url
    }

    /// What is known of a certificate, for a request that came then (seconds since 1970), perhaps before it was known.
    pub fn standing(&self, link: &Link, at: i64) -> LeafStanding {
        self.within(link, at, LATE)
    }

    /// What need not be asked anew. `now` in seconds since 1970: what was remembered later than that was remembered
    /// before the clock stepped back, and nobody knows how long it counts. Only a revocation does not depend on it.
    pub fn settled(&self, link: &Link, now: i64) -> LeafStanding {
        self.within(link, now, 0)
    }

    fn within(&self, link: &Link, now: i64, late: i64) -> LeafStanding {
        let Some(entry) = self.known().get(&key(link)) else {
            return LeafStanding::Open;
        };
        let is_from_later = now < entry.since.saturating_sub(late) && entry.standing != REVOKED;
        if is_from_later || now >= entry.until {
            return LeafStanding::Open;
        }
        entry.standing
    }

    /// What the responder is asked about a certificate of this authority (OCSPRequest, DER). Nothing when no question
    /// can be asked about it.
    pub fn question(issuer: &CaCertificate, link: &Link) -> Option<Vec<u8>> {
        let named = Issuer::of_certificate(issuer.der())?;
        // RFC 5019 section 2.1.1: the hash that responders know.
        let id = CertId::of(HashAlgorithm::Sha1, named, link.serial.octets()).ok()?;
        Some(Request::new(id).encode())
    }

    /// Judges an answer (OCSPResponse, DER), and remembers it.
    ///
    /// # Errors
    /// [`StatusFault`]; what was known stays.
    pub fn put(
        &self,
        der: &[u8],
        issuer: &CaCertificate,
        link: &Link,
        now: Timestamp,
    ) -> Result<LeafStanding, StatusFault> {
        let (algorithms, serial) = (signature_algorithms(), link.serial.octets());
        let verified = ocsp::verify(der, issuer.der(), serial, now, algorithms)
            .map_err(StatusFault::Response)?;
        let standing = match verified.status {
            Status::Good => LeafStanding::Good,
            Status::Revoked { .. } => REVOKED,
            Status::Unknown => return Err(StatusFault::Unknown),
        };
        let newest = Newest {
            this_update: verified.this_update.as_second(),
            is_revoked: standing == REVOKED,
        };
        let since = now.as_second();
        let until = verified.next_update.as_second();
        let until = until.min(since.saturating_add(self.max_age));
        let held = since.saturating_add(if newest.is_revoked { HELD } else { 0 });
        let entry = Entry {
            standing,
            since,
            until: until.max(held),
            newest: Some(newest),
        };
        let mut known = self.known();
        let before = known.get(&key(link)).and_then(|before| before.newest);
        if before.is_some_and(|before| before.is_after(newest)) {
            return Err(StatusFault::Older);
        }
        known.put(key(link), entry);
        Ok(standing)
    }

    /// Remembers for a moment that nobody said anything that counts. What was revoked before is so still.
    pub fn failed(&self, link: &Link, refusal: ChainRefusal, now: i64) {
        let mut known = self.known();
        let before = known.get(&key(link));
        let newest = before.and_then(|before| before.newest);
        let is_revoked = newest.is_some_and(|newest| newest.is_revoked);
        let until = now.saturating_add(PATIENCE);
        let held = before.filter(|_| is_revoked).map(|before| before.until);
        let entry = Entry {
            standing: if is_revoked {
                REVOKED
            } else {
                LeafStanding::Refused(refusal)
            },
            since: now,
            until: held.map_or(until, |held| held.max(until)),
            newest,
        };
        known.put(key(link), entry);
    }

    /// A panic elsewhere cannot have left the maps half-changed in a way that matters: an entry is whole or
    /// missing.
    fn known(&self) -> MutexGuard<'_, Known<MOST>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Newest {
    /// Whether another answer is from before this one. Of two from the same second the one that says "revoked" is
    /// the later.
    fn is_after(self, other: Newest) -> bool {
        let takes_back = self.is_revoked && !other.is_revoked;
        other.this_update < self.this_update
            || (takes_back && other.this_update == self.this_update)
    }
}

fn key(link: &Link) -> Key {
    (link.issuer, link.serial.clone())
}

impl<const MOST: usize> Known<MOST> {
    fn get(&mut self, key: &Key) -> Option<Entry> {
        if let Some(entry) = self.young.get(key) {
            return Some(*entry);
        }
        let entry = self.old.remove(key)?;
        self.put(key.clone(), entry);
        Some(entry)
    }

    fn put(&mut self, key: Key, entry: Entry) {
        if self.young.len() >= MOST / 2 && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, entry);
    }
}

impl StatusFault {
    /// How a client is refused for it.
    pub fn refusal(&self) -> ChainRefusal {
        match self {
            StatusFault::Unknown
            | StatusFault::Response(ocsp::Fault::Refused {
                status: ErrorStatus::Unauthorized,
            }) => ChainRefusal::StatusUnknown,
            StatusFault::Response(ocsp::Fault::Refused { .. }) => ChainRefusal::StatusUnavailable,
            StatusFault::Response(_) | StatusFault::Older => ChainRefusal::StatusInvalid,
        }
    }

    /// What the operator can do.
    pub fn hint(&self) -> &'static str {
        match self {
            StatusFault::Unknown | StatusFault::Response(ocsp::Fault::Refused { .. }) => {
                "check that it is the responder of the authority that issued the clients' certificates"
            }
            StatusFault::Response(ocsp::Fault::Stale { .. } | ocsp::Fault::NotYet { .. }) => {
                "look at the responder, or check the clock of this machine"
            }
            StatusFault::Response(_) | StatusFault::Older => {
                "look at the responder; whoever sits between can change what it says too, and nobody gets in by it"
            }
        }
    }
}

impl fmt::Display for StatusFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatusFault::Response(fault) => fault.fmt(f),
            StatusFault::Unknown => f.write_str("the responder does not know the certificate"),
            StatusFault::Older => f.write_str("the answer is older than the one before"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, revoked};
    use super::*;
    use crate::revocation::testing::{Ca, NOW, usual};
    use config::Place;

    const DAY: i64 = 86_400;

    fn statuses(max_age: u64) -> Statuses {
        let url = Placed {
            value: OcspUrl::parse("http://127.0.0.1:1/ocsp").unwrap(),
            place: Place::whole(std::path::Path::new("gateway.toml")),
        };
        Statuses::new(url, Duration::from_secs(max_age))
    }

    fn link(ca: &Ca, serial: &[u8]) -> Link {
        Link {
            issuer: ca.authority.key(),
            serial: Serial::new(serial),
            distribution_points: Vec::new(),
            not_before: 0,
            not_after: i64::MAX,
        }
    }

    fn put(
        statuses: &Statuses,
        ca: &Ca,
        by: &Ca,
        (status, from, until): (Status, i64, i64),
    ) -> Result<LeafStanding, StatusFault> {
        let der = answer(by, &[7], status, from, until);
        let now = Timestamp::from_second(NOW).unwrap();
        statuses.put(&der, &ca.authority, &link(ca, &[7]), now)
    }

    #[test]
    fn an_answer_counts_until_it_ends_and_no_longer_than_is_stated() {
        let ca = usual("one");
        let seven = link(&ca, &[7]);
        for (lasts, max_age, counts) in [(DAY, 300, 300), (100, 300, 100)] {
            let statuses = statuses(max_age);
            assert_eq!(statuses.standing(&seven, NOW), LeafStanding::Open);
            let said = put(&statuses, &ca, &ca, (Status::Good, NOW - 10, NOW + lasts));
            assert_eq!(said, Ok(LeafStanding::Good));
            assert_eq!(
                statuses.standing(&seven, NOW + counts - 1),
                LeafStanding::Good
            );
            assert_eq!(statuses.standing(&seven, NOW + counts), LeafStanding::Open);
            assert_eq!(statuses.standing(&link(&ca, &[8]), NOW), LeafStanding::Open);
        }
    }

    #[test]
    fn a_revocation_is_not_taken_back_by_an_answer_from_before_or_from_somebody_else() {
        let ca = usual("one");
        let (statuses, seven) = (statuses(300), link(&ca, &[7]));
        let said = put(&statuses, &ca, &ca, (revoked(), NOW - 10, NOW + DAY));
        assert_eq!(said, Ok(REVOKED));
        let old = put(&statuses, &ca, &ca, (Status::Good, NOW - 20, NOW + DAY));
        assert_eq!(old, Err(StatusFault::Older));
        let forged = put(
            &statuses,
            &ca,
            &usual("one"),
            (Status::Good, NOW, NOW + DAY),
        );
        assert_eq!(forged.unwrap_err().refusal(), ChainRefusal::StatusInvalid);
        let unknown = put(&statuses, &ca, &ca, (Status::Unknown, NOW, NOW + DAY));
        assert_eq!(unknown.unwrap_err().refusal(), ChainRefusal::StatusUnknown);
        assert_eq!(statuses.standing(&seven, NOW), REVOKED);
        // Nor when nobody answers for a while.
        statuses.failed(&seven, ChainRefusal::StatusUnavailable, NOW);
        let old = put(&statuses, &ca, &ca, (Status::Good, NOW - 20, NOW + DAY));
        assert_eq!(old, Err(StatusFault::Older));
    }

    #[test]
    fn a_revocation_is_taken_back_by_an_answer_that_is_newer_and_by_none_of_the_same_second() {
        let ca = usual("one");
        let (statuses, seven) = (statuses(300), link(&ca, &[7]));
        let say = |status, from| put(&statuses, &ca, &ca, (status, from, NOW + DAY));
        assert_eq!(say(Status::Good, NOW - 10), Ok(LeafStanding::Good));
        assert_eq!(say(revoked(), NOW - 10), Ok(REVOKED));
        assert_eq!(say(revoked(), NOW - 10), Ok(REVOKED), "it says the same");
        assert_eq!(say(Status::Good, NOW - 10), Err(StatusFault::Older));
        // Nor when nobody answered meanwhile.
        statuses.failed(&seven, ChainRefusal::StatusUnavailable, NOW);
        assert_eq!(say(Status::Good, NOW - 10), Err(StatusFault::Older));
        // It was only on hold.
        assert_eq!(say(Status::Good, NOW - 9), Ok(LeafStanding::Good));
        assert_eq!(statuses.standing(&seven, NOW), LeafStanding::Good);
    }

    #[test]
    fn a_clock_that_steps_back_stretches_nothing_but_a_revocation() {
        let ca = usual("one");
        let (statuses, seven) = (statuses(300), link(&ca, &[7]));
        let say = |status, from| put(&statuses, &ca, &ca, (status, from, NOW + DAY));
        say(Status::Good, NOW - 20).unwrap();
        assert_eq!(statuses.settled(&seven, NOW), LeafStanding::Good);
        assert_eq!(statuses.settled(&seven, NOW - 1), LeafStanding::Open);
        // Who waited for that answer came before it.
        assert_eq!(statuses.standing(&seven, NOW - LATE), LeafStanding::Good);
        assert_eq!(
            statuses.standing(&seven, NOW - LATE - 1),
            LeafStanding::Open
        );
        statuses.failed(&seven, ChainRefusal::StatusUnavailable, NOW);
        assert_eq!(statuses.settled(&seven, NOW - 1), LeafStanding::Open);
        say(revoked(), NOW - 10).unwrap();
        for before in [1, LATE + 1, DAY] {
            assert_eq!(statuses.settled(&seven, NOW - before), REVOKED);
            assert_eq!(statuses.standing(&seven, NOW - before), REVOKED);
        }
    }

    #[test]
    fn a_revocation_outlasts_its_answer_for_whoever_is_rung_and_nothing_that_goes_wrong_hides_it() {
        let ca = usual("one");
        let seven = link(&ca, &[7]);
        for (lasts, max_age) in [(DAY, 1), (1, 300)] {
            let statuses = statuses(max_age);
            let said = put(&statuses, &ca, &ca, (revoked(), NOW - 10, NOW + lasts));
            assert_eq!(said, Ok(REVOKED));
            assert_eq!(statuses.standing(&seven, NOW + HELD - 1), REVOKED);
            statuses.failed(&seven, ChainRefusal::StatusUnavailable, NOW + 1);
            assert_eq!(statuses.standing(&seven, NOW + HELD - 1), REVOKED);
            // Then it is asked anew: it may have been on hold only.
            let after = NOW + HELD;
            assert_eq!(statuses.settled(&seven, after), LeafStanding::Open);
            statuses.failed(&seven, ChainRefusal::StatusUnavailable, after);
            assert_eq!(statuses.settled(&seven, after), REVOKED);
        }
    }

    #[test]
    fn a_failure_is_remembered_for_a_moment() {
        let ca = usual("one");
        let (statuses, seven) = (statuses(300), link(&ca, &[7]));
        statuses.failed(&seven, ChainRefusal::StatusUnavailable, NOW);
        let refused = LeafStanding::Refused(ChainRefusal::StatusUnavailable);
        assert_eq!(statuses.standing(&seven, NOW), refused);
        assert_eq!(
            statuses.standing(&seven, NOW + PATIENCE),
            LeafStanding::Open
        );
        let said = put(&statuses, &ca, &ca, (Status::Good, NOW, NOW + DAY));
        assert_eq!(said, Ok(LeafStanding::Good));
    }

    #[test]
    fn so_many_are_remembered_and_those_that_are_used_stay() {
        let mut known = Known::<8>::default();
        let entry = Entry {
            standing: LeafStanding::Good,
            since: 0,
            until: 0,
            newest: None,
        };
        let key = |number: u64| (IssuerKey([0; 32]), Serial::new(&number.to_be_bytes()));
        for number in 1..1000 {
            known.put(key(number), entry);
            assert!(known.get(&key(1)).is_some(), "it is used each time");
            assert!(known.young.len() + known.old.len() <= 8);
        }
        assert!(known.get(&key(990)).is_none());
    }
}
