//! Revocation lists that are fetched over plain HTTP: by a thread of its own, each as often as its trust set asks
//! for it, and kept as files that are read like any other (`load::kept`, `refresh`).
//!
//! ```text
//! schedule --> exchange  GET, conditional, bounded       bytes of whoever answered
//!          --> keep      signature, dates, succession    a file, synced, under its name
//!          --> refresh   is woken                        in force
//! ```
//!
//! The OCSP answers about certificates of the gateway are asked for by the same thread (`staples`), and shown by `tls`.
//! Another thread asks about the certificates of clients (`statuses`).
//!
//! Nothing waits for it but the start, for a moment. Fails closed: a list that was never fetched covers nobody, and
//! one that cannot be fetched any more counts until it grows stale, which `freshness` tells ahead. Who withholds a
//! list gains no more than that.

mod exchange;

mod fault;

mod keep;

mod staples;

mod statuses;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem::discriminant;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use config::{Config, ListUrl, Placed, Revocation, TrustName};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout};

use self::exchange::{Got, Validators};
pub use self::fault::{AskFault, FetchFault};
pub use self::statuses::answer;
use crate::dial::Resolver;
use crate::digest::sha256;
use crate::load;
use crate::metrics::{FetchOutcome, Metrics};
use crate::site::Site;
use crate::timer::unix_now;
use crate::tls::ClientTrust;

/// How many lists are fetched at once: each may take the memory of the largest list.
const AT_ONCE: usize = 4;

/// How soon a configuration that came into force is noticed.
const LOOK: Duration = Duration::from_secs(1);

/// A list that cannot be fetched is asked for no more seldom than this, unless its trust set asks for it more
/// seldom anyway.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What was not mended is told again after this long.
const AGAIN: Duration = Duration::from_hours(1);

/// The start waits so long for the first answers.
const FIRST: Duration = Duration::from_secs(5);

/// A handle on the thread. It ends when the handle is dropped, and is never waited for.
#[derive(Debug)]
pub struct Fetcher {
    first: Vec<oneshot::Receiver<()>>,
    _stop: mpsc::Sender<()>,
}

impl Fetcher {
    /// Starts the thread; `woken` is called whenever another list was kept.
    ///
    /// # Errors
    /// The operating system's, when it gives no thread or no runtime.
    pub fn start(
        site: Arc<ArcSwap<Site>>,
        metrics: Metrics,
        woken: impl Fn() + Send + 'static,
    ) -> io::Result<Fetcher> {
        let (stop, stopped) = mpsc::channel(1);
        let (asked, first) = oneshot::channel();
        let (asked_about_us, first_about_us) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .build()?;
        std::thread::Builder::new()
            .name("fetch".to_owned())
            .spawn(move || {
                let resolver = Rc::new(Resolver::new());
                let about_us = staples::Schedule {
                    metrics: metrics.clone(),
                    resolver: Rc::clone(&resolver),
                    slots: Rc::new(Semaphore::new(AT_ONCE)),
                    first: Some(asked_about_us),
                    entries: Vec::new(),
                };
                let schedule = Schedule {
                    sources: Vec::new(),
                    metrics,
                    resolver,
                    slots: Rc::new(Semaphore::new(AT_ONCE)),
                    first: Some(asked),
                };
                let both = async {
                    tokio::select! {
                        () = schedule.run(&site, stopped, woken) => {}
                        () = about_us.run(&site) => {}
                    }
                };
                LocalSet::new().block_on(&runtime, both);
                // Whatever still resolves a name is not waited for.
                runtime.shutdown_background();
            })?;
        Ok(Fetcher {
            first: vec![first, first_about_us],
            _stop: stop,
        })
    }

    /// Waits a few seconds, until each list and each OCSP answer was asked for once.
    pub async fn first(&mut self) {
        let firsts = std::mem::take(&mut self.first);
        // What did not come by then comes into force when it does.
        let _ = timeout(FIRST, join_all(firsts)).await;
    }
}

/// The trust sets that fetch lists.
pub fn trust_sets(config: &Config) -> Vec<TrustName> {
    let sets = config.trust.iter();
    sets.filter(|(name, trust)| load::fetched(name, trust).next().is_some())
        .map(|(name, _)| name.clone())
        .collect()
}

/// All lists that are fetched.
struct Schedule {
    sources: Vec<Source>,
    metrics: Metrics,
    resolver: Rc<Resolver>,
    slots: Rc<Semaphore>,
    /// Who waits until each was asked for once.
    first: Option<oneshot::Sender<()>>,
}

/// A list that is fetched.
struct Source {
    trust: Arc<ClientTrust>,
    url: Placed<ListUrl>,
    path: PathBuf,
    every: Duration,
    known: Known,
    /// When it is asked for next; nothing while it is.
    due: Option<Instant>,
    failures: u32,
    told: Option<(FetchFault, Instant)>,
    is_asked: bool,
}

/// What is known of the list that was fetched last.
#[derive(Debug, Clone, Default)]
struct Known {
    validators: Validators,
    /// SHA-256 of what came, for servers that say nothing by which it could be known again.
    content: Option<[u8; 32]>,
}

/// How an attempt ended.
struct Done {
    path: PathBuf,
    outcome: Result<(FetchOutcome, Known), FetchFault>,
}

impl Schedule {
    /// Fetches until the handle is dropped.
    async fn run(
        mut self,
        site: &ArcSwap<Site>,
        mut stopped: mpsc::Receiver<()>,
        woken: impl Fn(),
    ) {
        // Weak: a configuration that is no longer in force gives its files back at once, and the next one may
        // want them.
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
            for source in &mut self.sources {
                if source.due.is_some_and(|due| due <= now) {
                    source.due = None;
                    let (resolver, slots) = (Rc::clone(&self.resolver), Rc::clone(&self.slots));
                    under_way.push(attempt(source, resolver, slots));
                }
            }
            if self.sources.iter().all(|source| source.is_asked)
                && let Some(first) = self.first.take()
            {
                let _ = first.send(());
            }
            let due = self.sources.iter().filter_map(|source| source.due).min();
            let wake = due.unwrap_or(now + LOOK).min(now + LOOK);
            tokio::select! {
                _ = stopped.recv() => return,
                Some(done) = under_way.next(), if !under_way.is_empty() => if self.settle(done) {
                    woken();
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Takes over the sources of a configuration. What is known of one that stays is kept.
    fn arrange(&mut self, site: &Site) {
        let mut before = std::mem::take(&mut self.sources);
        for trust in &site.trust {
            let Some(stated) = site.config.trust.get(&trust.name) else {
                continue;
            };
            let Revocation::Crls { refresh, .. } = &stated.revocation.value else {
                continue;
            };
            for (url, path) in load::fetched(&trust.name, stated) {
                let at = before.iter().position(|known| known.path == path);
                let known = at.map(|at| before.swap_remove(at));
                let trust = Arc::clone(trust);
                self.sources.push(match known {
                    Some(known) => Source {
                        trust,
                        url: url.clone(),
                        every: *refresh,
                        ..known
                    },
                    None => Source {
                        trust,
                        url: url.clone(),
                        path,
                        every: *refresh,
                        known: Known::default(),
                        due: Some(Instant::now()),
                        failures: 0,
                        told: None,
                        is_asked: false,
                    },
                });
            }
        }
        self.count();
    }

    /// Notes how an attempt ended. Says whether another list was kept.
    fn settle(&mut self, done: Done) -> bool {
        // A reload may have taken it away meanwhile.
        let Some(source) = self
            .sources
            .iter_mut()
            .find(|source| source.path == done.path)
        else {
            return false;
        };
        source.is_asked = true;
        let outcome = match done.outcome {
            Ok((outcome, known)) => {
                source.known = known;
                source.failures = 0;
                if source.told.take().is_some() {
                    tracing::info!(
                        "{}: {} is fetched again",
                        source.url.place,
                        source.url.value
                    );
                }
                outcome
            }
            Err(fault) => {
                source.failures = source.failures.saturating_add(1);
                let outcome = if fault.is_refusal() {
                    FetchOutcome::Refused
                } else {
                    FetchOutcome::Failed
                };
                source.tell(fault);
                outcome
            }
        };
        source.due = Some(Instant::now() + source.pause());
        self.metrics
            .revocation_fetch(source.trust.name.as_str(), outcome);
        self.count();
        outcome == FetchOutcome::Updated
    }

    /// Tells the metrics how many cannot be fetched.
    fn count(&self) {
        let mut unfetched = BTreeMap::new();
        for source in &self.sources {
            let count: &mut i64 = unfetched.entry(source.trust.name.as_str()).or_default();
            *count += i64::from(source.failures > 0);
        }
        self.metrics.revocation_unfetched(&unfetched);
    }
}

impl Source {
    /// Until it is asked for again: as long as is stated, each time longer while it fails, and somewhat less by
    /// chance, so that not everybody comes at once.
    fn pause(&self) -> Duration {
        let doubled = self.every.saturating_mul(1 << self.failures.min(16));
        let longest = self.every.max(LONGEST_WAIT);
        sooner(doubled.min(longest))
    }

    /// Tells a fault once, and each hour as long as nobody mends it.
    fn tell(&mut self, fault: FetchFault) {
        let is_known = self.told.as_ref().is_some_and(|(told, at)| {
            discriminant(told) == discriminant(&fault) && at.elapsed() < AGAIN
        });
        if is_known {
            return;
        }
        tracing::warn!(
            hint = fault.hint(),
            "{}: {} was not fetched: {fault}; what was fetched before counts until it is out of date",
            self.url.place,
            self.url.value,
        );
        self.told = Some((fault, Instant::now()));
    }
}

/// Up to a quarter less, by chance.
fn sooner(pause: Duration) -> Duration {
    let chance = u32::from(RandomState::new().hash_one(()).to_be_bytes()[0]);
    pause.saturating_sub(pause / 4 * chance / 255)
}

/// Fetches once.
fn attempt(
    source: &Source,
    resolver: Rc<Resolver>,
    slots: Rc<Semaphore>,
) -> impl Future<Output = Done> + use<> {
    let trust = Arc::clone(&source.trust);
    let (url, path) = (source.url.value.clone(), source.path.clone());
    let known = source.known.clone();
    async move {
        let outcome = async {
            let _slot = slots.acquire().await;
            // What is no longer there has to be sent, whatever we remember of it.
            let known = if path.exists() {
                known
            } else {
                Known::default()
            };
            match exchange::get(&url, &known.validators, &resolver).await? {
                Got::Unchanged => Ok((FetchOutcome::Unchanged, known)),
                Got::Content(bytes, validators) => {
                    let content = Some(sha256(&bytes));
                    let is_new = known.content != content
                        && keep::keep(&bytes, &path, &trust, unix_now().cast_signed())?;
                    let outcome = if is_new {
                        FetchOutcome::Updated
                    } else {
                        FetchOutcome::Unchanged
                    };
                    let known = Known {
                        validators,
                        content,
                    };
                    Ok((outcome, known))
                }
            }
        };
        let outcome = outcome.await;
        Done { path, outcome }
    }
}
