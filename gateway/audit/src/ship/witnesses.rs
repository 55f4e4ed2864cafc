//! The witnesses of a log that is being written: asked before it is opened, and then by a thread of
//! their own, again and again while it grows.
//!
//! Never a gate for an entry: a witness that is slow, wrong or gone is a figure, and after a while a
//! warning and an entry in the log itself. What a witness cosigned is kept beside the log
//! (`checkpoints::witnessed`).
//!
//! What survives a crash here: a checkpoint is durable before a witness hears of it, because what is
//! asked with is the file `checkpoint`, which gets its name after its history was synced, or, before a
//! start, the end of the history, which is synced first. So whatever a witness remembers was on the
//! disk, and a crash never looks like a log that was put back.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::http::ExchangeError;
use super::submit::{Conflict, Outcome, SubmitError, Submitted, Witness, submit};
use crate::checkpoints::history::MAX_RECORD;
use crate::checkpoints::last_note;
use crate::checkpoints::store::CHECKPOINT;
use crate::checkpoints::witnessed::{Witnessed, size_of};
use crate::error::OpenError;
use crate::event::{Entry, Event, Time, Witness as WitnessEvent};
use crate::files::{self, Directory};
use crate::log::Log;
use crate::merkle::checkpoint::Checkpoint;
use crate::merkle::key::{Signer, Verifier};
use crate::merkle::note::Note;
use crate::merkle::range::Head;
use crate::queue::Share;

/// For all that is asked of a witness at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same before a start, and at the end: somebody waits then.
const SHORT: Duration = Duration::from_secs(3);

/// What a witness said before the log was opened.
#[derive(Debug)]
pub enum Before {
    /// What it remembers is a beginning of this log, or all of it, or nothing.
    Agrees,
    /// It remembers more, or another log.
    Conflict(Conflict),
    /// It cannot be asked.
    Silent(SubmitError),
}

/// Asks each witness whether it remembers more of the log in `directory`, which was signed with these
/// keys, than lies there. Nothing is changed. Waits a few seconds at most.
///
/// # Errors
/// [`OpenError`] when the log cannot be looked at.
pub fn ask_before(
    directory: &Path,
    signer: &Signer,
    keys: &[Verifier],
    witnesses: &[Witness],
) -> Result<Vec<Before>, OpenError> {
    let note = match last_note(&Directory::new(directory))? {
        Some(note) => note,
        // A log that is gone has no checkpoint either; its witnesses remember one.
        None => Checkpoint::new(signer.verifier().name().as_str(), Head::EMPTY, &[])
            .ok()
            .and_then(|empty| empty.sign(signer).ok())
            .map(|note| note.to_string())
            .unwrap_or_default(),
    };
    let submitted = Submitted {
        directory,
        keys,
        note: &note,
    };
    // Threads, so that one that hangs in a name's resolver holds up no other, nor the caller's runtime.
    let ask = |witness: &Witness| {
        let runtime = runtime().map_err(ExchangeError::Connect)?;
        let asked = async { timeout(SHORT, submit(witness, submitted, 0)).await };
        let asked = runtime.block_on(asked);
        runtime.shutdown_background();
        asked.unwrap_or(Err(SubmitError::Exchange(ExchangeError::Slow)))
    };
    Ok(std::thread::scope(|scope| {
        let threads: Vec<_> = witnesses
            .iter()
            .map(|witness| scope.spawn(move || ask(witness)))
            .collect();
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(Ok(Outcome::Cosigned { .. })) => Before::Agrees,
            Ok(Ok(Outcome::Conflict(conflict))) => Before::Conflict(conflict),
            Ok(Err(error)) => Before::Silent(error),
            // A defect. Fail closed: nothing starts.
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ended.collect()
    }))
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
}

/// How a witness stands; written by its thread alone.
#[derive(Debug, Default)]
struct Standing {
    name: String,
    witnessed: AtomicU64,
    succeeded: AtomicU64,
    failures: AtomicU64,
    lost: AtomicBool,
    conflict: AtomicBool,
}

/// How a witness stands, for metrics and status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// The name of its key.
    pub name: String,
    /// How many entries it cosigned, as far as that is kept here.
    pub witnessed: u64,
    /// When it last knew all that was signed, seconds since 1970; 0 before it did.
    pub succeeded: u64,
    /// How often it could not be asked, or gave no cosignature.
    pub failures: u64,
    /// Whether it lags for longer than it may.
    pub is_lost: bool,
    /// Whether it remembers another log.
    pub is_conflict: bool,
}

/// A reader of how all witnesses stand. Clones read the same.
#[derive(Debug, Clone, Default)]
pub struct Stands(Arc<[Arc<Standing>]>);

impl Stands {
    /// All of them, in the order in which they were named.
    pub fn iter(&self) -> impl Iterator<Item = Stand> {
        self.0.iter().map(|standing| Stand {
            name: standing.name.clone(),
            witnessed: standing.witnessed.load(Ordering::Relaxed),
            succeeded: standing.succeeded.load(Ordering::Relaxed),
            failures: standing.failures.load(Ordering::Relaxed),
            is_lost: standing.lost.load(Ordering::Relaxed),
            is_conflict: standing.conflict.load(Ordering::Relaxed),
        })
    }
}

/// A log that is being written, for its witnesses.
#[derive(Debug, Clone)]
pub struct Followed {
    /// Its directory.
    pub directory: PathBuf,
    /// Its keys. The name of the first is its origin.
    pub keys: Vec<Verifier>,
    /// The log itself, for what is to be put on record.
    pub log: Log,
    /// Held until nothing more is kept as evidence.
    pub lock: Option<Arc<File>>,
}

/// The thread that asks, and its end.
pub struct Witnesses {
    stands: Stands,
    end: watch::Sender<bool>,
    ended: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Witnesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stands.fmt(f)
    }
}

impl Witnesses {
    /// Asks `witnesses` from now on; each with what it said before.
    ///
    /// # Errors
    /// What the operating system says when there is no thread to be had, or when the evidence cannot
    /// be taken up.
    pub fn start(followed: Followed, witnesses: Vec<(Witness, Before)>) -> io::Result<Witnesses> {
        let (end, told) = watch::channel(false);
        let (done, ended) = mpsc::channel();
        let files = Directory::new(&followed.directory);
        Witnessed::mend(&files)?;
        let followed = Arc::new(followed);
        let mut following = Vec::new();
        for (witness, before) in witnesses {
            following.push(Following::new(Arc::clone(&followed), witness, &before)?);
        }
        let stands = following.iter().map(|one| Arc::clone(&one.standing));
        let stands = Stands(stands.collect());
        let runtime = runtime()?;
        let thread = std::thread::Builder::new()
            .name("audit-witness".to_owned())
            .spawn(move || {
                let tasks = LocalSet::new();
                for one in following {
                    tasks.spawn_local(one.follow(told.clone()));
                }
                drop((told, followed));
                runtime.block_on(tasks);
                runtime.shutdown_background();
                let _ = done.send(());
            })?;
        Ok(Witnesses {
            stands,
            end,
            ended,
            thread: Some(thread),
        })
    }

    /// How they stand.
    #[must_use]
    pub fn stands(&self) -> Stands {
        self.stands.clone()
    }

    /// Asks each a last time, for what was signed at the end of the log, and ends the thread. Waits a
    /// few seconds at most.
    pub fn end(mut self) {
        let _ = self.end.send(true);
        let ended = self.ended.recv_timeout(SHORT + Duration::from_secs(1));
        if ended.is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// One witness, and what is known of it.
struct Following {
    followed: Arc<Followed>,
    files: Directory,
    witness: Witness,
    evidence: Witnessed,
    standing: Arc<Standing>,
    /// How many entries it remembers, as far as we know.
    remembered: u64,
    /// Since when it lags.
    behind: Option<Instant>,
}

impl Following {
    fn new(followed: Arc<Followed>, witness: Witness, before: &Before) -> io::Result<Following> {
        let files = Directory::new(&followed.directory);
        let evidence = Witnessed::open(&files, witness.key.id())?;
        let remembered = evidence.size().unwrap_or(0);
        let standing = Standing {
            name: witness.key.name().to_string(),
            witnessed: AtomicU64::new(remembered),
            ..Standing::default()
        };
        let mut one = Following {
            followed,
            files,
            witness,
            evidence,
            standing: Arc::new(standing),
            remembered,
            behind: None,
        };
        match before {
            Before::Agrees => {}
            Before::Silent(error) => one.lose(error),
            Before::Conflict(conflict) => one.conflict(conflict),
        }
        Ok(one)
    }

    async fn follow(mut self, mut end: watch::Receiver<bool>) {
        let mut tick = interval(self.witness.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let round = async {
                tick.tick().await;
                self.round(PATIENCE).await;
            };
            tokio::select! {
                biased;
                // Whatever happened to whoever tells: it is the end.
                _ = end.changed() => break,
                () = round => {}
            }
        }
        self.round(SHORT).await;
    }

    /// Asks for a cosignature, if something was signed since the last one.
    async fn round(&mut self, patience: Duration) {
        let note = match files::read(&self.files, CHECKPOINT, MAX_RECORD) {
            Ok(Some(note)) => String::from_utf8_lossy(&note).into_owned(),
            Ok(None) => return,
            Err(error) => return self.failed(&error),
        };
        let Some(size) = size_of(note.as_bytes()) else {
            return;
        };
        if size == self.standing.witnessed.load(Ordering::Relaxed) {
            return self.succeeded();
        }
        let submitted = Submitted {
            directory: &self.followed.directory,
            keys: &self.followed.keys,
            note: &note,
        };
        let asked = submit(&self.witness, submitted, self.remembered);
        let slow = Err(SubmitError::Exchange(ExchangeError::Slow));
        match timeout(patience, asked).await.unwrap_or(slow) {
            Ok(Outcome::Cosigned { note, remembered }) => self.cosigned(&note, size, remembered),
            Ok(Outcome::Conflict(conflict)) => {
                self.conflict(&conflict);
                self.failed(&conflict);
            }
            Err(error) => self.failed(&error),
        }
    }

    fn cosigned(&mut self, note: &Note, size: u64, remembered: u64) {
        if remembered < self.remembered {
            tracing::warn!(witness = self.name(), url = %self.witness.server, remembered,
                cosigned = self.remembered,
                "a witness forgot what it had cosigned: up to there it proves nothing any more");
            self.record("forgot", Some(remembered));
        }
        self.remembered = size;
        let now = Time::from_system(SystemTime::now());
        if let Err(error) = self.evidence.keep(&self.files, note, now) {
            return self.failed(&error);
        }
        self.standing.witnessed.store(size, Ordering::Relaxed);
        if self.standing.conflict.swap(false, Ordering::Relaxed) {
            tracing::warn!(witness = self.name(), url = %self.witness.server,
                "a witness that remembered another log cosigns this one again");
        }
        self.succeeded();
    }

    fn succeeded(&mut self) {
        self.behind = None;
        let now = Time::from_system(SystemTime::now()).unix_seconds();
        let now = u64::try_from(now).unwrap_or(0);
        self.standing.succeeded.store(now, Ordering::Relaxed);
        if self.standing.lost.swap(false, Ordering::Relaxed) {
            tracing::info!(witness = self.name(), url = %self.witness.server,
                "the audit log is witnessed again");
            self.record("back", None);
        }
    }

    fn failed(&mut self, error: &dyn fmt::Display) {
        self.standing.failures.fetch_add(1, Ordering::Relaxed);
        let since = *self.behind.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.witness.alarm {
            self.lose(error);
        }
    }

    /// Tells once that nothing is witnessed any more.
    fn lose(&mut self, error: &dyn fmt::Display) {
        if !self.standing.lost.swap(true, Ordering::Relaxed) {
            tracing::warn!(witness = self.name(), url = %self.witness.server, %error,
                "the audit log is not witnessed: what is signed meanwhile could be put back unseen");
            self.record("lost", None);
        }
    }

    /// Tells once that there are two histories.
    fn conflict(&mut self, conflict: &Conflict) {
        if !self.standing.conflict.swap(true, Ordering::Relaxed) {
            tracing::error!(witness = self.name(), url = %self.witness.server,
                hint = "compare the log with its backups, and with what the witness cosigned",
                "the audit log and its witness disagree: {conflict}");
            let proved = conflict.proved.as_ref().map(|proved| proved.head.size);
            self.record("conflict", proved.or(conflict.remembered));
        }
    }

    fn name(&self) -> &str {
        &self.standing.name
    }

    /// Puts it into the log. Nobody waits for it; a log that takes no entries has told that already.
    fn record(&self, state: &str, remembered: Option<u64>) {
        let log = &self.followed.log;
        let event = Event::Witness(WitnessEvent {
            name: self.name(),
            state,
            signed: log.status().signed,
            witnessed: self.standing.witnessed.load(Ordering::Relaxed),
            remembered,
        });
        let entry = Entry {
            time: Time::from_system(SystemTime::now()),
            event,
        };
        if let Err(error) = log.append_unwaited(&entry, Share::Proven) {
            tracing::warn!(%error, witness = self.name(), state, "a witness could not be put on record");
        }
        log.kick();
    }
}
