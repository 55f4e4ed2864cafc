//! New revocation lists come into force while the gateway runs, without a reload: a thread of its own looks each
//! second at the places that they are read from (`load::look`), and at once when something was fetched
//! (`fetch`). What changed is read and judged there; the main thread puts it on record and in force.
//!
//! A file is read when it looked the same twice in a row, so that a copy under way is not taken for a list that is
//! damaged; but one that changes all the time is not waited for longer than a third look. So a list that was
//! replaced is in force about two seconds later.
//!
//! OCSP answers about certificates of the gateway that lie in files are looked at by the way (`staples`).
//!
//! What is on a file system that hangs holds up this thread and nothing else; the main thread tells when it has
//! heard nothing from it for too long, and lists that are not renewed grow stale and then cover nobody.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use config::{Finding, Place, TrustName};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::load::{self, Renewed};
use crate::revocation::Seen;
use crate::site::Site;
use crate::staples;
use crate::timer::unix_now;
use crate::tls::{ClientTrust, Revocation};

/// How often the lists are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A place that looks different each time is read at this look.
const MOST_LOOKS: u32 = 3;

/// What did not count is read again after this long, though it looks as it did: its date may have come, and a disk
/// that failed may be mended.
const AGAIN: Duration = Duration::from_mins(1);

/// A look that takes longer is told, seconds.
const LONGEST_LOOK: u64 = 30;

/// Lists that were read anew, for the main thread. What it does not say of them counts as not done, and they
/// are read again.
#[derive(Debug)]
pub struct Proposal {
    /// The configuration that they are for. Once another one is in force they are worth nothing.
    pub base: Arc<Site>,
    /// What they say.
    pub renewed: Renewed,
    /// To be told when all of it is in force.
    pub settled: oneshot::Sender<()>,
}

/// A handle on the thread. It ends when all of them are dropped.
#[derive(Debug, Clone)]
pub struct Wake {
    sender: SyncSender<()>,
    looked: Arc<AtomicU64>,
}

impl Wake {
    /// Something was fetched: look now.
    pub fn wake(&self) {
        // One that waits already is woken once for both.
        let _ = self.sender.try_send(());
    }

    /// What is to be told when the thread hangs. `now` in seconds since 1970.
    pub fn hang(&self, place: &Place, now: i64) -> Option<Finding> {
        let looked = self.looked.load(Ordering::Relaxed);
        (now.cast_unsigned() > looked.saturating_add(LONGEST_LOOK)).then(|| {
            let message = "the revocation lists cannot be looked at: reading them has not ended";
            let hint = "look at the file systems that they lie on; what is in force stays in force until it grows stale";
            Finding::error(place, message, Some(hint))
        })
    }
}

/// Starts the thread. It is never waited for.
///
/// # Errors
/// The operating system's, when it gives no thread.
pub fn start(site: Arc<ArcSwap<Site>>) -> io::Result<(Wake, mpsc::Receiver<Proposal>)> {
    let (sender, woken) = sync_channel(1);
    let (proposals, proposed) = mpsc::channel(1);
    let looked = Arc::new(AtomicU64::new(unix_now()));
    let wake = Wake {
        sender,
        looked: Arc::clone(&looked),
    };
    std::thread::Builder::new()
        .name("lists".to_owned())
        .spawn(move || follow(&site, &woken, &proposals, &looked))?;
    Ok((wake, proposed))
}

/// Looks until nobody is left who could put anything in force.
fn follow(
    site: &ArcSwap<Site>,
    woken: &Receiver<()>,
    proposals: &mpsc::Sender<Proposal>,
    looked: &AtomicU64,
) {
    let mut looks = Looks::default();
    let mut told = BTreeMap::new();
    let mut staples = staples::Files::default();
    loop {
        if woken.recv_timeout(LOOK) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        let base = site.load_full();
        staples.look(&base, Timestamp::now());
        let due = looks.due(&base, Instant::now(), load::look);
        looked.store(unix_now(), Ordering::Relaxed);
        if due.is_empty() {
            continue;
        }
        let names: Vec<TrustName> = due.keys().cloned().collect();
        let mut renewed = load::renew(&base, &names);
        let findings = renewed.findings.clone();
        let refused = renewed.refused.clone();
        only_new(&mut renewed.findings, &told);
        let (settled, answer) = oneshot::channel();
        let proposal = Proposal {
            base,
            renewed,
            settled,
        };
        if proposals.blocking_send(proposal).is_err() {
            return;
        }
        if answer.blocking_recv().is_ok() {
            looks.were_read(due, &refused, Instant::now());
            told.extend(findings);
        }
    }
}

/// Leaves what was not told the last time that these lists were read.
fn only_new(
    findings: &mut BTreeMap<TrustName, Vec<Finding>>,
    told: &BTreeMap<TrustName, Vec<Finding>>,
) {
    for (name, findings) in findings {
        if let Some(told) = told.get(name) {
            findings.retain(|finding| !told.contains(finding));
        }
    }
}

/// How each trust set's lists looked when they were last read.
#[derive(Debug, Default)]
struct Looks {
    known: BTreeMap<TrustName, Known>,
}

#[derive(Debug)]
struct Known {
    /// What was read for; another one of its name was read by itself.
    trust: Arc<ClientTrust>,
    read: Seen,
    /// How the files look that changed, and how often they were looked at since.
    settling: Option<([u8; 32], u32)>,
    /// When what did not count is read again.
    again: Option<Instant>,
}

impl Looks {
    /// The trust sets whose lists are to be read, with how they look.
    fn due(
        &mut self,
        site: &Site,
        now: Instant,
        look: impl Fn(&TrustName, &config::Trust) -> Seen,
    ) -> BTreeMap<TrustName, Seen> {
        let is_there = |name: &TrustName| site.config.trust.contains_key(name);
        self.known.retain(|name, _| is_there(name));
        let mut due = BTreeMap::new();
        for trust in &site.trust {
            let Revocation::Lists { seen: read, .. } = &trust.revocation else {
                continue;
            };
            let Some(stated) = site.config.trust.get(&trust.name) else {
                continue;
            };
            let fresh = || Known {
                trust: Arc::clone(trust),
                read: *read,
                settling: None,
                again: None,
            };
            let known = self.known.entry(trust.name.clone()).or_insert_with(fresh);
            if !Arc::ptr_eq(&known.trust, trust) {
                let again = known.again;
                *known = Known { again, ..fresh() };
            }
            let seen = look(&trust.name, stated);
            if known.is_due(seen, now) {
                due.insert(trust.name.clone(), seen);
            }
        }
        due
    }

    /// These were read, and what they say is in force.
    fn were_read(&mut self, due: BTreeMap<TrustName, Seen>, refused: &[TrustName], now: Instant) {
        for (name, seen) in due {
            if let Some(known) = self.known.get_mut(&name) {
                known.read = seen;
                known.settling = None;
                known.again = refused.contains(&name).then_some(now + AGAIN);
            }
        }
    }
}

impl Known {
    fn is_due(&mut self, seen: Seen, now: Instant) -> bool {
        if seen == self.read {
            self.settling = None;
            return self.again.is_some_and(|again| again <= now);
        }
        // What was fetched is put in place whole.
        if seen.fetched != self.read.fetched {
            return true;
        }
        let (before, looks) = self.settling.unwrap_or_default();
        self.settling = Some((seen.files, looks + 1));
        looks > 0 && (before == seen.files || looks + 1 >= MOST_LOOKS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::testing::Place as Folder;

    fn seen(files: u8, fetched: u8) -> Seen {
        Seen {
            files: [files; 32],
            fetched: [fetched; 32],
        }
    }

    fn known() -> Known {
        let place = Folder::new();
        place.revoke(1, 2, &[]);
        let site = place.load(None).unwrap();
        Known {
            trust: Arc::clone(&site.trust[0]),
            read: seen(1, 1),
            settling: None,
            again: None,
        }
    }

    #[test]
    fn files_are_read_when_they_look_the_same_twice_or_at_the_third_look() {
        let mut known = known();
        assert!(!known.is_due(seen(1, 1), Instant::now()));
        assert!(
            !known.is_due(seen(2, 1), Instant::now()),
            "it may not be whole"
        );
        assert!(known.is_due(seen(2, 1), Instant::now()));
        known.settling = None;
        assert!(!known.is_due(seen(3, 1), Instant::now()));
        assert!(!known.is_due(seen(4, 1), Instant::now()));
        assert!(
            known.is_due(seen(5, 1), Instant::now()),
            "it is not waited for for ever"
        );
        known.settling = None;
        assert!(!known.is_due(seen(6, 1), Instant::now()));
        assert!(
            !known.is_due(seen(1, 1), Instant::now()),
            "it is what it was"
        );
        assert!(
            !known.is_due(seen(6, 1), Instant::now()),
            "and now begins to change"
        );
    }

    #[test]
    fn what_was_fetched_is_read_at_once_and_again_until_it_is_in_force() {
        let mut known = known();
        assert!(known.is_due(seen(1, 2), Instant::now()));
        assert!(known.is_due(seen(1, 2), Instant::now()));
        known.read = seen(1, 2);
        assert!(!known.is_due(seen(1, 2), Instant::now()));
    }

    #[test]
    fn what_did_not_count_is_read_again_after_a_while() {
        let mut known = known();
        let now = Instant::now();
        known.again = Some(now + AGAIN);
        assert!(!known.is_due(seen(1, 1), now));
        assert!(known.is_due(seen(1, 1), now + AGAIN));
    }

    #[test]
    fn a_list_that_is_replaced_is_due_and_what_is_read_by_a_reload_is_not() {
        let place = Folder::new();
        place.revoke(1, 2, &[]);
        let first = place.load(None).unwrap();
        let mut looks = Looks::default();
        let count =
            |looks: &mut Looks, site: &Site| looks.due(site, Instant::now(), load::look).len();
        assert_eq!(count(&mut looks, &first), 0);
        place.revoke(2, 3, &[7]);
        assert_eq!(count(&mut looks, &first), 0);
        assert_eq!(count(&mut looks, &first), 1);
        assert_eq!(count(&mut looks, &first), 1, "until it was read");
        let second = place.load(Some(&first)).unwrap();
        assert_eq!(count(&mut looks, &second), 0);
        assert_eq!(count(&mut looks, &second), 0);
    }

    #[test]
    fn what_was_told_is_not_told_again_while_it_stays_so() {
        let place = Place::whole(std::path::Path::new("gateway.toml"));
        let name = TrustName::parse("devices").unwrap();
        let finding = |message: &str| Finding::error(&place, message, None);
        let mut told = BTreeMap::new();
        let mut tell = |messages: &[&str]| {
            let all: Vec<_> = messages.iter().map(|message| finding(message)).collect();
            let mut findings = BTreeMap::from([(name.clone(), all.clone())]);
            only_new(&mut findings, &told);
            told.insert(name.clone(), all);
            findings.remove(&name).unwrap().len()
        };
        assert_eq!(tell(&["a", "b"]), 2);
        assert_eq!(tell(&["b"]), 0);
        assert_eq!(tell(&["a", "b"]), 1, "it was mended in between");
        assert_eq!(tell(&[]), 0);
        assert_eq!(tell(&["b"]), 1);
    }
}
