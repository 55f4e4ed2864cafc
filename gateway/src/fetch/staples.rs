//! The OCSP answers about certificates of the gateway that are asked for: anew at half of their lives and at least
//! each hour, so that a certificate that was revoked is known within one.
//!
//! An answer is judged by `tls`, which shows it from then on. What was had stays until it ends, whatever the
//! responder says or withholds, unless it says that the certificate is revoked. What survives a crash here: nothing.
//! A start asks again.

use std::mem::discriminant;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep_until};

use super::exchange;
use super::fault::AskFault;
use super::{AGAIN, LONGEST_WAIT, LOOK, sooner};
use crate::dial::Resolver;
use crate::metrics::{FetchOutcome, Metrics};
use crate::site::Site;
use crate::timer::unix_now;
use crate::tls::{OwnCertificate, Staple, StapleSource, Staples};

/// For a whole exchange.
const PATIENCE: Duration = Duration::from_secs(10);

/// After a failure it is asked again so soon, then each time after twice as long.
const SOON: Duration = Duration::from_secs(1);

/// It is asked no more seldom than this.
const SELDOM: Duration = Duration::from_hours(1);

/// All certificates whose answers are asked for.
pub(super) struct Schedule {
    pub(super) metrics: Metrics,
    pub(super) resolver: Rc<Resolver>,
    pub(super) slots: Rc<Semaphore>,
    /// Who waits until each was asked for once.
    pub(super) first: Option<oneshot::Sender<()>>,
    pub(super) entries: Vec<Entry>,
}

/// A certificate whose answer is asked for.
pub(super) struct Entry {
    own: Arc<OwnCertificate>,
    /// When it is asked for next; nothing while it is.
    due: Option<Instant>,
    failures: u32,
    told: Option<(AskFault, Instant)>,
    is_asked: bool,
}

/// How an attempt ended.
struct Done {
    own: Arc<OwnCertificate>,
    outcome: Result<FetchOutcome, AskFault>,
}

impl Schedule {
    /// Asks until it is dropped.
    pub(super) async fn run(mut self, site: &ArcSwap<Site>) {
        let mut of: Weak<Site> = Weak::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            let current = site.load_full();
            if !std::ptr::eq(of.as_ptr(), Arc::as_ptr(&current)) {
                self.arrange(&current);
                of = Arc::downgrade(&current);
            }
            drop(current);
            let now = Instant::now();
            for entry in &mut self.entries {
                if entry.due.is_some_and(|due| due <= now) {
                    entry.due = None;
                    let (resolver, slots) = (Rc::clone(&self.resolver), Rc::clone(&self.slots));
                    under_way.push(attempt(Arc::clone(&entry.own), resolver, slots));
                }
            }
            if self.entries.iter().all(|entry| entry.is_asked)
                && let Some(first) = self.first.take()
            {
                let _ = first.send(());
            }
            let due = self.entries.iter().filter_map(|entry| entry.due).min();
            let wake = due.unwrap_or(now + LOOK).min(now + LOOK);
            tokio::select! {
                Some(done) = under_way.next(), if !under_way.is_empty() => self.settle(done),
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Takes over the certificates of a configuration. One that stays is asked for when it is due.
    fn arrange(&mut self, site: &Site) {
        let mut before = std::mem::take(&mut self.entries);
        for own in &site.certificates {
            let Some(StapleSource::Http(url)) = own.staples().map(Staples::source) else {
                continue;
            };
            let stays = |known: &Entry| {
                known.own.name() == own.name()
                    && known.own.fingerprint() == own.fingerprint()
                    && known
                        .own
                        .staples()
                        .is_some_and(|it| *it.source() == StapleSource::Http(url.clone()))
            };
            let known = before.iter().position(stays);
            let known = known.map(|at| before.swap_remove(at));
            let own = Arc::clone(own);
            self.entries.push(match known {
                // What is under way is about the certificate of before, and does not come back here.
                Some(known) if !Arc::ptr_eq(&known.own, &own) => Entry {
                    own,
                    due: known.due.or(Some(Instant::now())),
                    ..known
                },
                Some(known) => known,
                None => Entry {
                    own,
                    due: Some(Instant::now()),
                    failures: 0,
                    told: None,
                    is_asked: false,
                },
            });
        }
    }

    fn settle(&mut self, done: Done) {
        // A reload may have put another one in its place meanwhile.
        let is_it = |entry: &&mut Entry| Arc::ptr_eq(&entry.own, &done.own);
        let Some(entry) = self.entries.iter_mut().find(is_it) else {
            return;
        };
        entry.is_asked = true;
        let outcome = match done.outcome {
            Ok(outcome) => {
                entry.failures = 0;
                if entry.told.take().is_some() {
                    entry.say("is had again");
                }
                outcome
            }
            Err(fault) => {
                entry.failures = entry.failures.saturating_add(1);
                let outcome = if fault.is_refusal() {
                    FetchOutcome::Refused
                } else {
                    FetchOutcome::Failed
                };
                entry.tell(fault);
                outcome
            }
        };
        entry.due = Some(Instant::now() + entry.pause(unix_now().cast_signed()));
        self.metrics
            .staple_fetch(entry.own.name().as_str(), outcome);
    }
}

impl Entry {
    /// Until it is asked for again, somewhat less by chance, so that not everybody comes at once.
    fn pause(&self, now: i64) -> Duration {
        if self.failures > 0 {
            let doubled = SOON.saturating_mul(1 << (self.failures - 1).min(16));
            return sooner(doubled.min(LONGEST_WAIT));
        }
        let newest = self.own.staples().and_then(Staples::newest);
        sooner(newest.map_or(SOON, |staple| until_half(&staple, now)))
    }

    fn say(&self, what: &str) {
        if let Some(staples) = self.own.staples() {
            tracing::info!("{}: the OCSP answer about it {what}", staples.place());
        }
    }

    /// Tells a fault once, and each hour as long as nobody mends it.
    fn tell(&mut self, fault: AskFault) {
        let is_known = self.told.as_ref().is_some_and(|(told, at)| {
            discriminant(told) == discriminant(&fault) && at.elapsed() < AGAIN
        });
        let Some(staples) = self.own.staples().filter(|_| !is_known) else {
            return;
        };
        let hint = fault.hint();
        if fault.is_alarm() {
            tracing::error!(hint, "{}: {fault}; nothing is stapled", staples.place());
        } else {
            tracing::warn!(
                hint,
                "{}: the OCSP answer was not had: {fault}; the one before is stapled until it ends",
                staples.place(),
            );
        }
        self.told = Some((fault, Instant::now()));
    }
}

/// Until half of its life is over; and where the responder gives nothing newer by then, in steps.
fn until_half(staple: &Staple, now: i64) -> Duration {
    let half = staple.this_update.saturating_add(staple.life() / 2);
    let seconds = if now < half {
        half - now
    } else {
        staple.next_update.saturating_sub(now) / 4
    };
    let wait = Duration::from_secs(seconds.max(0).unsigned_abs());
    wait.clamp(SOON, SELDOM)
}

/// Asks once.
async fn attempt(own: Arc<OwnCertificate>, resolver: Rc<Resolver>, slots: Rc<Semaphore>) -> Done {
    let outcome = ask(&own, &resolver, &slots).await;
    Done { own, outcome }
}

async fn ask(
    own: &OwnCertificate,
    resolver: &Resolver,
    slots: &Semaphore,
) -> Result<FetchOutcome, AskFault> {
    let _slot = slots.acquire().await;
    let Some(staples) = own.staples() else {
        return Ok(FetchOutcome::Unchanged);
    };
    let StapleSource::Http(url) = staples.source() else {
        return Ok(FetchOutcome::Unchanged);
    };
    let question = Bytes::copy_from_slice(staples.question());
    let answer = exchange::post(url, question, PATIENCE, resolver)
        .await
        .map_err(AskFault::Exchange)?;
    match own.staple(&answer, Timestamp::now()) {
        Ok(true) => Ok(FetchOutcome::Updated),
        Ok(false) => Ok(FetchOutcome::Unchanged),
        Err(fault) => Err(AskFault::Staple(fault)),
    }
}
