//! `audit ship`: the log to a syslog receiver, as it grows.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use terminal::{complain, counted};

use super::export::source_of;
use super::failure::Failure;
use super::source::Source;
use crate::event::Time;
use crate::opened::{WalkError, pause};
use crate::select::Filter;
use crate::ship::cursor::{Cursor, CursorError, CursorFile};
use crate::ship::feed::{Feed, FeedError};
use crate::ship::syslog::{Goodbye, Proofs, Receiver, ReceiverError, Round};

/// Send a log to a syslog receiver over TLS, and go on while it grows.
///
/// Messages are those of `audit export --format dicom` (RFC 5424, RFC 5425). Where the receiver is away,
/// it is waited for; how far it got is kept in a file, sealed by the reader's key. Each message is sent at
/// least once: after a crash of either side some come twice. A log that lost entries that were sent is sent
/// again from the last place that both have.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  audit ship /var/lib/phigate/audit --syslog logs.clinic.example:6514 --authority ca.pem --certificate chain.pem --key key.pem"
)]
pub(super) struct Ship {
    #[command(flatten)]
    source: Source,
    /// Where the receiver listens; its certificate must name this host.
    #[arg(long, value_name = "HOST:PORT")]
    syslog: String,
    /// A file with the roots that the receiver's certificate must lead to.
    #[arg(long, value_name = "FILE")]
    authority: PathBuf,
    /// A file with our certificate and its chain, for a receiver that asks for one.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// A file with the key of our certificate.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// A file that keeps how far the log was sent. Without it, one in the log's directory, named after
    /// the receiver. It is for this receiver alone, and two programs must not share one. A log in the clear has no key to seal it with: keep it
    /// where only this user can write.
    #[arg(long, value_name = "FILE")]
    cursor: Option<PathBuf>,
    /// Begin with this entry (0 is the first), whatever the cursor says. The log before it is read for what
    /// it tells of connections that live.
    #[arg(long, value_name = "SEQUENCE")]
    from: Option<u64>,
    /// Take what was sent for read although the receiver ends its connections without the goodbye of TLS
    /// (close_notify). What it had not read when it died is then lost.
    #[arg(long)]
    no_goodbye: bool,
    /// End when all that is there was sent, or could not be.
    #[arg(long)]
    once: bool,
}

impl Ship {
    /// Ends by itself only with `--once`, or when the log cannot be read.
    pub(super) fn run(self, _out: &mut impl Write) -> Result<ExitCode, Failure> {
        let source = &self.source;
        let directory = &source.directory;
        source.look()?;
        let own = self.certificate.as_deref().zip(self.key.as_deref());
        let authority = &self.authority;
        let receiver = Receiver::new(&self.syslog, Proofs { authority, own });
        let receiver = match receiver {
            Ok(receiver) => receiver,
            Err(error @ ReceiverError::Place) => {
                return Ok(terminal::misused(
                    format_args!("--syslog {}: {error}", self.syslog),
                    error.hint(),
                ));
            }
            Err(error) => return Ok(terminal::fail(&error, Some(error.hint()))),
        };
        // The key first: whoever has none has not read anything.
        let mut unsealer = source.unsealer()?;
        let file = CursorFile::new(&self.cursor_path(), &self.syslog, &unsealer);
        let cursor = match self.from.map_or_else(|| file.load(), |_| Ok(None)) {
            Ok(cursor) => cursor,
            Err(error) => return Ok(bad_cursor(&file, &error)),
        };
        let mut shipper = Shipper {
            cursor,
            file,
            receiver,
            place: &self.syslog,
            wait: Wait::new(),
            no_goodbye: self.no_goodbye,
        };
        source.record("ship", &Filter::default())?;
        let of = source_of(directory).map_err(|error| source.failed(error))?;
        loop {
            if let Err(error) = shipper.look_back(directory) {
                return Ok(bad_cursor(&shipper.file, &error));
            }
            let from = self.from.unwrap_or(0);
            let mut feed = Feed::open(directory, unsealer, shipper.cursor.as_ref(), from, &of)
                .map_err(|error| source.failed(error))?;
            match shipper.follow(&mut feed, self.once) {
                Ok(()) => return Ok(ExitCode::SUCCESS),
                Err(Stop::Feed(FeedError::Gone)) => {}
                Err(Stop::Feed(FeedError::Cursor(error))) => {
                    return Ok(self.bad_start(&shipper, &error));
                }
                Err(Stop::Feed(error)) => return Ok(terminal::fail(&error, Some(hint(&error)))),
                Err(Stop::Store(error)) => {
                    let path = shipper.file.path().to_owned();
                    return Err(Failure::Write { path, error });
                }
                Err(Stop::Lost(error)) => {
                    let error = format!("{}: {error}", self.syslog);
                    if self.once {
                        return Ok(terminal::fail(error, Some(AWAY)));
                    }
                    shipper.await_receiver(&error);
                }
            }
            unsealer = feed.into_unsealer();
        }
    }

    /// The log does not have the place where the sending should begin.
    fn bad_start(&self, shipper: &Shipper<'_>, error: &CursorError) -> ExitCode {
        match (self.from, error) {
            (Some(from), CursorError::Ahead { entries }) if shipper.cursor.is_none() => {
                terminal::misused(
                    format_args!("--from {from}: the log has {entries} entries"),
                    "entries are numbered from 0",
                )
            }
            _ => bad_cursor(&shipper.file, error),
        }
    }

    fn cursor_path(&self) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = self.syslog.chars().map(plain).collect();
        let beside = self.source.directory.join(format!("syslog-{name}.cursor"));
        self.cursor.clone().unwrap_or(beside)
    }
}

const AWAY: &str =
    "look whether the receiver runs, and whether both sides trust each other's certificate";

fn hint(error: &FeedError) -> &'static str {
    match error {
        FeedError::Closed { .. } => {
            "--reader names the secret half of a key that [audit] readers named when it was written; nothing is left out in silence"
        }
        FeedError::Walk(WalkError::Read(_)) => {
            "the log belongs to the gateway's user; read it as that user or as root"
        }
        FeedError::Walk(WalkError::Stuck { .. }) | FeedError::Wrong { .. } => {
            "`audit verify` says what is wrong"
        }
        FeedError::Cursor(_) | FeedError::Gone => AGAIN,
    }
}

const AGAIN: &str = "--from SEQUENCE goes on with that entry (0 sends the whole log again), --cursor names another file";

fn bad_cursor(file: &CursorFile, error: &CursorError) -> ExitCode {
    terminal::fail(
        format_args!("the cursor {} {error}", file.path().display()),
        Some(AGAIN),
    )
}

/// Why a feed is left.
enum Stop {
    /// The log cannot be read on.
    Feed(FeedError),
    /// The cursor cannot be kept.
    Store(io::Error),
    /// The receiver did not take a round.
    Lost(io::Error),
}

struct Shipper<'a> {
    file: CursorFile,
    cursor: Option<Cursor>,
    receiver: Receiver,
    place: &'a str,
    wait: Wait,
    /// Whether what was sent counts as read when the receiver leaves without a goodbye.
    no_goodbye: bool,
}

/// A round has no more messages than these, bytes: as many are sent again when it is lost.
const ROUND: usize = 1024 * 1024;

/// A round with messages lasts no longer.
const LONGEST: Duration = Duration::from_secs(5);

impl Shipper<'_> {
    /// Goes back to the last place that the log still has of what was sent, and says so.
    fn look_back(&mut self, directory: &Path) -> Result<(), CursorError> {
        let Some(cursor) = &mut self.cursor else {
            return Ok(());
        };
        let sent = cursor.send_from;
        if let Some(again) = cursor.go_back(directory)? {
            complain(
                format_args!(
                    "the log does not have any more what was sent up to entry {sent}; it is sent again from entry {again} on"
                ),
                Some("`audit verify` says what it lost; the receiver has what was sent"),
            );
        }
        Ok(())
    }

    /// Waits until the receiver takes a connection again. Only then is the log read again.
    fn await_receiver(&mut self, error: &str) {
        self.wait.after(error);
        loop {
            match self.receiver.connect() {
                // Without a message there is nothing to lose.
                Ok(round) => return drop(round.close()),
                Err(error) => self.wait.after(&format!("{}: {error}", self.place)),
            }
        }
    }

    /// Sends what the feed has, round after round.
    fn follow(&mut self, feed: &mut Feed, once: bool) -> Result<(), Stop> {
        let mut messages = Vec::new();
        let mut round: Option<(Round, Instant, usize)> = None;
        loop {
            let at_end = !feed.step(now(), &mut messages).map_err(Stop::Feed)?;
            if at_end && once {
                feed.end(&mut messages);
            }
            if !messages.is_empty() && (at_end || messages.len() > ROUND / 16) {
                let (round, _, bytes) = match &mut round {
                    Some(round) => round,
                    None => {
                        let connected = self.receiver.connect().map_err(Stop::Lost)?;
                        round.insert((connected, Instant::now(), 0))
                    }
                };
                round.send(&messages).map_err(Stop::Lost)?;
                *bytes += messages.len();
                messages.clear();
            }
            let is_due = round
                .as_ref()
                .is_some_and(|(_, since, bytes)| *bytes > ROUND || since.elapsed() > LONGEST);
            if (is_due || at_end && once)
                && messages.is_empty()
                && let Some((round, _, _)) = round.take()
            {
                self.settle(round, feed)?;
            }
            if at_end && once {
                return Ok(());
            }
            if at_end {
                pause();
            }
        }
    }

    /// Ends a round; the cursor moves when the receiver has read all of it.
    fn settle(&mut self, round: Round, feed: &Feed) -> Result<(), Stop> {
        let goodbye = round.close().map_err(Stop::Lost)?;
        if goodbye == Goodbye::Without && !self.no_goodbye {
            let message = "it went without the goodbye of TLS, so it may not have read all; of a receiver that never says it, --no-goodbye takes what was sent for read";
            return Err(Stop::Lost(io::Error::other(message)));
        }
        if let Some(cursor) = feed.cursor() {
            self.file.store(&cursor).map_err(Stop::Store)?;
            self.cursor = Some(cursor);
        }
        self.wait.is_over(self.place);
        Ok(())
    }
}

/// Waits longer from one failure to the next, up to half a minute.
struct Wait {
    next: Duration,
    failures: u64,
}

impl Wait {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(30);

    fn new() -> Wait {
        Wait {
            next: Wait::FIRST,
            failures: 0,
        }
    }

    fn after(&mut self, error: &str) {
        self.failures += 1;
        // Once in a row is enough for whoever reads along.
        if self.failures == 1 {
            complain(error, Some("it is tried again until it succeeds"));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a command-line tool that waits for its peer"
        )]
        std::thread::sleep(self.next);
        self.next = (self.next * 2).min(Wait::LONGEST);
    }

    fn is_over(&mut self, place: &str) {
        if self.failures > 0 {
            let failures = counted(self.failures, "failure");
            terminal::tell(format_args!(
                "note: {place} takes messages again after {failures}"
            ));
        }
        *self = Wait::new();
    }
}

fn now() -> Time {
    Time::from_system(SystemTime::now())
}
