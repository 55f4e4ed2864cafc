//! `gateway run`: from a configuration to a process that serves, and back.
//!
//! What survives a crash here: the audit log, which is opened before the first socket. SIGHUP puts
//! the configuration in force anew, new revocation lists come into force by themselves, SIGTERM and SIGINT drain.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use audit::clock::Kernel;
use audit::event::{Entry, Event, Start, Stop, Time};
use audit::log::{Committer, Log, Options};
use audit::public_key::{self, PublicKeyError};
use audit::queue::Limits;
use audit::ship::witnesses::Witnesses;
use audit::storage::Durability;
use config::{AccessLog as Access, Admin, Finding, Findings, Place};
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, LocalSet};

use crate::access::AccessLog;
use crate::admin::{self, Told};
use crate::ask::Asker;
use crate::connection::Phase;
use crate::descriptors;
use crate::fetch::{self, Fetcher};
use crate::freshness::Reminder;
use crate::load::{self, Loaded, Renewed, Source};
use crate::log_reads::Readers;
use crate::metrics::Metrics;
use crate::record::RecorderShared;
use crate::refresh::{self, Proposal, Wake};
use crate::reload;
use crate::retention;
use crate::server::{AUDIT_PATIENCE, BindError, Common, Fleet};
use crate::site::Site;
use crate::witnesses::{self, WitnessError};

/// Why the process does not serve, or did not end well.
#[derive(Debug)]
pub enum RunError {
    /// The configuration, or what it names.
    Findings(Findings),
    /// The audit log does not open.
    Audit {
        /// Where the configuration names it.
        place: Place,
        /// Why.
        error: audit::error::OpenError,
    },
    /// The public key beside the audit log is not the one that it is signed with.
    PublicKey {
        /// Where the configuration names the log.
        place: Place,
        /// Why.
        error: PublicKeyError,
    },
    /// A witness says that the log is not the one that it saw.
    Witness {
        /// Where the configuration names it.
        place: Place,
        /// Why.
        error: Box<WitnessError>,
    },
    /// Nothing could be put on record.
    Record(audit::error::AppendError),
    /// A worker has ended by itself.
    WorkerEnded,
    /// The operating system.
    System {
        /// What was attempted.
        doing: &'static str,
        /// What it said.
        error: std::io::Error,
    },
}

impl RunError {
    fn system(doing: &'static str) -> impl Fn(std::io::Error) -> RunError {
        move |error| RunError::System { doing, error }
    }
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RunError::Findings(findings) => findings.fmt(f),
            RunError::Audit { place, error } => write!(
                f,
                "error: {place}: the audit log does not open: {error}\nhint: {}",
                error.hint()
            ),
            RunError::PublicKey { place, error } => {
                write!(f, "error: {place}: {error}\nhint: {}", error.hint())
            }
            RunError::Witness { place, error } => {
                write!(f, "error: {place}: {error}\nhint: {}", error.hint())
            }
            RunError::Record(error) => write!(
                f,
                "error: {error}\nhint: nothing is served that cannot be recorded; check the disk of the audit log"
            ),
            RunError::WorkerEnded => f.write_str(
                "error: a worker has ended by itself, which is a defect\nhint: its last words are above; start the gateway again",
            ),
            RunError::System { doing, error } => write!(f, "error: cannot {doing}: {error}"),
        }
    }
}

/// A gateway that serves, for whoever embeds it.
#[derive(Debug)]
pub struct Running {
    source: Arc<Source>,
    common: Common,
    fleet: Fleet,
    metrics: Metrics,
    committer: Committer,
    witnesses: Option<Witnesses>,
    phase: watch::Sender<Phase>,
    whole: watch::Sender<bool>,
    reminder: Reminder,
    lists: Lists,
    /// Rings when a responder says that a certificate is revoked.
    rung: mpsc::Receiver<()>,
    /// Ends before the log does.
    readers: Option<JoinHandle<()>>,
}

/// What brings new revocation lists.
#[derive(Debug)]
struct Lists {
    wake: Wake,
    proposals: mpsc::Receiver<Proposal>,
    /// Whether it was told that they are not looked at.
    hang: bool,
    /// Whether it was told that they cannot be put on record.
    are_unrecorded: bool,
    _fetcher: Fetcher,
}

/// Serves the configuration in `path` until a signal ends it.
///
/// # Errors
/// [`RunError`]; nothing is served then.
pub fn run(path: &Path) -> Result<(), RunError> {
    let runtime = main_runtime()?;
    LocalSet::new().block_on(&runtime, async {
        let signals = Signals::listen()?;
        let running = Running::start(Source::file(path), |warnings| {
            warnings.iter().for_each(tell);
        })
        .await?;
        notify(&[NotifyState::Ready]);
        running.until_signal(signals).await
    })
}

/// The signals that a gateway acts on. Listened for before it starts: one that comes meanwhile is
/// acted on once it serves, instead of ending the process on the spot.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on. To be called on the runtime of the main thread.
    ///
    /// # Errors
    /// The operating system's.
    pub fn listen() -> Result<Signals, RunError> {
        let listen = |kind| signal(kind).map_err(RunError::system("listen for signals"));
        Ok(Signals {
            hangup: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }
}

/// The runtime of the main thread.
///
/// # Errors
/// The operating system's.
pub fn main_runtime() -> Result<tokio::runtime::Runtime, RunError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(RunError::system("start a runtime"))
}

impl Running {
    /// Opens the log, loads the configuration, binds and serves.
    ///
    /// # Errors
    /// [`RunError`]; nothing is served then.
    pub async fn start(source: Source, warn: impl FnOnce(&[Finding])) -> Result<Running, RunError> {
        let config = source.read().map_err(RunError::Findings)?;
        let Loaded { site, warnings } = load::load(config, None).map_err(RunError::Findings)?;
        warn(&warnings);
        if let Err(error) = descriptors::raise() {
            tracing::warn!(%error, "the limit on file descriptors could not be raised");
        }
        // Before the log is opened: what was put back is evidence, and nothing is added to it.
        let asked =
            witnesses::ask(&site).map_err(|(place, error)| RunError::Witness { place, error })?;
        let (log, committer) = open_log(&site)?;
        reload::open_replays(&site)
            .map_err(|finding| RunError::Findings([finding].into_iter().collect()))?;
        let metrics = Metrics::new();
        let access = match site.config.access_log {
            Access::Off => AccessLog::off(metrics.clone()),
            Access::Stdout => AccessLog::stdout(metrics.clone())
                .map_err(RunError::system("start the access log"))?,
        };
        let recording = Arc::new(RecorderShared::new(
            site.config.audit.min_free.get(),
            metrics.clone(),
            access,
            site.audit_keys.patients.clone(),
        ));
        let current = Arc::new(ArcSwap::from(Arc::new(site)));
        let lists = bring_lists(&current, &metrics).await?;
        let (asker, questions) = Asker::new();
        let (ring, rung) = mpsc::channel(1);
        // One that waits already is rung once for both.
        let revoked = move || {
            let _ = ring.try_send(());
        };
        fetch::answer(questions, metrics.clone(), revoked)
            .map_err(RunError::system("ask for the status of clients"))?;
        let common = Common {
            site: Arc::clone(&current),
            log,
            recording,
            asker,
        };
        let current = current.load_full();
        let mut fleet = Fleet::start(common.clone(), &current.config.workers)
            .map_err(RunError::system("start the workers"))?;
        let bound = fleet
            .bind(&current)
            .map_err(|errors| RunError::Findings(errors.iter().map(reload::finding).collect()))?;
        let admin = bind_admin(&current.config.admin).await?;
        // All that could fail is at hand: from here on the log says that the gateway serves.
        record_start(&common.log)?;
        reload::record(&current, "start", &common.log).map_err(RunError::Record)?;
        reload::publish(&current, &metrics);
        let witnesses = witnesses::follow(&current, &common.log, &committer, asked)
            .map_err(RunError::system("follow the witnesses of the audit log"))?;
        let (phase, told_phase) = watch::channel(Phase {
            generation: current.generation,
            draining: false,
        });
        let (whole, told_whole) = watch::channel(true);
        if let Some(listener) = admin {
            let told = Told {
                common: common.clone(),
                phase: told_phase,
                whole: told_whole,
                witnesses: witnesses
                    .as_ref()
                    .map(Witnesses::stands)
                    .unwrap_or_default(),
            };
            tokio::task::spawn_local(admin::serve(listener, told));
        }
        let readers = serve_readers(&current, &common.log);
        fleet.listen(&current, bound).await;
        Ok(Running {
            readers,
            source: Arc::new(source),
            common,
            fleet,
            metrics,
            committer,
            witnesses,
            phase,
            whole,
            reminder: Reminder::default(),
            lists,
            rung,
        })
    }

    /// Serves until SIGTERM or SIGINT, and ends cleanly. A worker that ends by itself is a defect: its
    /// share of the connections would go nowhere, so the gateway ends too.
    ///
    /// # Errors
    /// [`RunError`], when a worker has ended, or something could not be put on record at the end.
    pub async fn until_signal(mut self, mut signals: Signals) -> Result<(), RunError> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = signals.hangup.recv() => self.reload().await,
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                Some(proposal) = self.lists.proposals.recv() => self.renew(proposal).await,
                _ = tick.tick() => if !self.look() {
                    self.stop("a worker ended").await?;
                    return Err(RunError::WorkerEnded);
                },
            }
        }
        self.stop("signal").await
    }

    /// Puts the configuration in force anew, or says why not.
    pub async fn reload(&mut self) {
        // Without the time systemd would not know which reload this is (sd_notify(3)).
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(_) => notify(&[NotifyState::Reloading]),
        }
        let current: Arc<Site> = self.common.site.load_full();
        let (source, log) = (Arc::clone(&self.source), self.common.log.clone());
        match reload::reload(source, current, &mut self.fleet, log, &self.metrics).await {
            Ok(warnings) => {
                warnings.iter().for_each(tell);
                let generation = self.common.site.load().generation;
                self.phase
                    .send_modify(|phase| phase.generation = generation);
                tracing::info!(generation, "the configuration was put in force");
            }
            Err(findings) => {
                findings.list().iter().for_each(tell);
                tracing::error!(
                    mistakes = findings.list().len() + findings.unlisted(),
                    "the configuration was refused; the old one stays in force"
                );
            }
        }
        notify(&[NotifyState::Ready]);
    }

    /// Puts new revocation lists in force, or says why not.
    async fn renew(&mut self, proposal: Proposal) {
        let Proposal {
            base,
            renewed,
            settled,
        } = proposal;
        let Renewed {
            trust,
            findings,
            refused,
        } = renewed;
        let current = self.common.site.load_full();
        if !Arc::ptr_eq(&base, &current) {
            // A reload has read them meanwhile. Whoever proposed it looks again.
            return;
        }
        if !trust.is_empty() {
            let log = self.common.log.clone();
            let outcome = reload::renew(&current, &trust, &self.fleet, log, &self.metrics).await;
            let was_told = std::mem::replace(&mut self.lists.are_unrecorded, outcome.is_err());
            if let Err(finding) = outcome {
                if !was_told {
                    tell(&finding);
                }
                return;
            }
        }
        for trust in &trust {
            tracing::info!(trust = %trust.name, "new revocation lists were put in force");
        }
        for (name, findings) in &findings {
            findings.iter().for_each(tell);
            let is_sound = !refused.contains(name);
            self.metrics.revocation_renewal(name.as_str(), is_sound);
        }
        // Whoever waits for it is gone when the gateway ends.
        let _ = settled.send(());
    }

    /// Ends cleanly: no new connections, a while for those that are there, all of it on record.
    ///
    /// # Errors
    /// [`RunError`], when something could not be put on record.
    pub async fn stop(self, reason: &str) -> Result<(), RunError> {
        notify(&[NotifyState::Stopping]);
        self.phase.send_modify(|phase| phase.draining = true);
        tracing::info!(reason, "stopping");
        let patience = self.common.site.load().config.drain;
        self.fleet.drain(patience).await;
        if let Some(readers) = self.readers {
            readers.abort();
            // The socket goes while we have the lock: behind it, it could be that of the next gateway.
            let _ = readers.await;
        }
        let log = &self.common.log;
        self.common.recording.sweep(log, true);
        let stop = Entry {
            time: Time::from_system(SystemTime::now()),
            event: Event::Stop(Stop { reason }),
        };
        if let Some(replays) = &self.common.site.load().replays
            && let Err(error) = replays.close()
        {
            tracing::warn!(%error, "which signed messages were accepted is not synced: should the machine lose power now, the next start does not know");
        }
        let recorded = log.append_blocking(&stop, AUDIT_PATIENCE);
        let closed = self.committer.close(AUDIT_PATIENCE);
        // Behind the last checkpoint, so that nothing is left that no witness saw.
        if let Some(witnesses) = self.witnesses {
            witnesses.end();
        }
        recorded.map(drop).and(closed).map_err(RunError::Record)
    }

    /// What is to be done once a second. Says whether every worker lives.
    fn look(&mut self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs().cast_signed());
        let site = self.common.site.load();
        for finding in self.reminder.look(&site, now) {
            tell(&finding);
        }
        reload::publish_staples(&site, &self.metrics, now);
        // Not at once: whoever asked is on his way to an answer that says so.
        if self.rung.try_recv().is_ok() {
            self.fleet.ring();
        }
        let hang = self.lists.wake.hang(&Place::whole(&site.config.path), now);
        let was_told = std::mem::replace(&mut self.lists.hang, hang.is_some());
        if let Some(finding) = hang.filter(|_| !was_told) {
            tell(&finding);
        }
        drop(site);
        self.common.recording.sweep(&self.common.log, false);
        self.common.log.kick();
        self.common.site.load().routes.sweep();
        let is_whole = self.fleet.is_whole();
        self.whole
            .send_if_modified(|whole| std::mem::replace(whole, is_whole) != is_whole);
        is_whole
    }
}

/// Has revocation lists looked at and fetched from now on. Those that can be had within a moment are in force
/// when it returns; without the others, whom they would cover is refused.
async fn bring_lists(current: &Arc<ArcSwap<Site>>, metrics: &Metrics) -> Result<Lists, RunError> {
    let (wake, proposals) = refresh::start(Arc::clone(current))
        .map_err(RunError::system("look at the revocation lists"))?;
    let woken = wake.clone();
    let mut fetcher = Fetcher::start(Arc::clone(current), metrics.clone(), move || woken.wake())
        .map_err(RunError::system("fetch revocation lists"))?;
    fetcher.first().await;
    let site = current.load_full();
    let names = fetch::trust_sets(&site.config);
    let Renewed {
        trust, findings, ..
    } = load::renew(&site, &names);
    findings.values().flatten().for_each(tell);
    if !trust.is_empty() {
        current.store(Arc::new(site.with_trust(&trust)));
    }
    Ok(Lists {
        wake,
        proposals,
        hang: false,
        are_unrecorded: false,
        _fetcher: fetcher,
    })
}

/// Lets readers of the log put their reads on record. Requests do not wait for that: without the socket
/// the gateway serves, and the log is not read in order until it stops.
fn serve_readers(site: &Site, log: &Log) -> Option<JoinHandle<()>> {
    match Readers::bind(&site.config.audit.directory.path) {
        Ok(readers) => Some(tokio::task::spawn_local(readers.serve(log.clone()))),
        Err(error) => {
            tracing::warn!(%error, "readers of the audit log cannot put their reads on record: `audit show` refuses");
            None
        }
    }
}

async fn bind_admin(admin: &Admin) -> Result<Option<TcpListener>, RunError> {
    let Admin::Listen(address) = admin else {
        return Ok(None);
    };
    let bound = TcpListener::bind(address.value).await;
    bound.map(Some).map_err(|error| {
        let error = BindError {
            place: address.place.clone(),
            address: address.value,
            error,
        };
        RunError::Findings([reload::finding(&error)].into_iter().collect())
    })
}

/// Opens the log. Its public key lies beside it, from the first start on: looked at before the log is
/// touched, written when the log has taken the key.
fn open_log(site: &Site) -> Result<(Log, Committer), RunError> {
    let directory = &site.config.audit.directory;
    let place = || directory.place.clone();
    let keys = &site.audit_keys;
    let published = match &keys.signer {
        Some(signer) => {
            public_key::is_published(&directory.path, signer.verifier(), &keys.rotations)
        }
        None => Ok(true),
    };
    let place_of_key = place();
    let published = published.map_err(|error| RunError::PublicKey {
        place: place_of_key,
        error,
    })?;
    let opened =
        Log::open_with_clock(&options(site, published), Arc::new(Kernel)).map_err(|error| {
            RunError::Audit {
                place: place(),
                error,
            }
        })?;
    // The key that the log began with: from there, the log itself leads on.
    let signer = keys.signer.as_ref().map(|signer| signer.verifier());
    if let Some(key) = keys.rotations.keys().next().or(signer)
        && !published
        && let Err(error) = public_key::publish(&directory.path, key)
    {
        let path = public_key::beside(&directory.path);
        tracing::warn!(%error, path = %path.display(), key = %key, "the public key of the audit log is not written beside it: keep it yourself");
    }
    Ok(opened)
}

fn options(site: &Site, is_known: bool) -> Options {
    let audit = &site.config.audit;
    Options {
        directory: audit.directory.path.clone(),
        durability: match audit.durability.value {
            config::Durability::Durable => Durability::Durable,
            config::Durability::Buffered => Durability::Buffered,
        },
        segment_bytes: audit.segment_size.get(),
        limits: Limits {
            entries: audit.queue_entries.get() as usize,
            bytes: usize::try_from(audit.queue_bytes.get()).unwrap_or(usize::MAX),
        },
        readers: site.audit_keys.readers.clone(),
        classes: retention::classes(&site.config),
        signer: site.audit_keys.signer.clone(),
        is_known,
        rotations: site.audit_keys.rotations.clone(),
    }
}

fn record_start(log: &Log) -> Result<(), RunError> {
    let start = Start {
        program: "gateway",
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
    };
    let entry = Entry {
        time: Time::from_system(SystemTime::now()),
        event: Event::Start(start),
    };
    log.append_blocking(&entry, AUDIT_PATIENCE)
        .map(drop)
        .map_err(RunError::Record)
}

/// A finding of a running process, for the operator.
fn tell(finding: &Finding) {
    match finding.severity {
        config::Severity::Error => tracing::error!(
            hint = finding.hint,
            "{}: {}",
            finding.place,
            finding.message
        ),
        config::Severity::Warning => tracing::warn!(
            hint = finding.hint,
            "{}: {}",
            finding.place,
            finding.message
        ),
    }
}

/// Tells the service manager, if there is one.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
