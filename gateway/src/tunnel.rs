//! Both ways of a WebSocket, once it is open. What passes is not read: records say when, how much and from whom.
//!
//! It passes in windows, each way its own: no byte of one leaves, to the upstream or to the client, before a
//! `passage` is durable that covers it; a window is 1 MiB, or what comes within a minute. Fails closed: where a
//! passage cannot be made durable in five seconds the tunnel is cut. Where a route is declared to carry no ePHI, what
//! goes to the client is recorded and not waited for. What survives a crash here: the records of
//! all that passed, and at most of one window more each way.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use audit::error::AppendError;
use audit::event::{Code, Sender};
use bytes::BytesMut;
use config::WebSocket;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::reading::Part;
use crate::record::Record;
use crate::release::{LONGEST, PATIENCE, RETRY, Tunnel, WINDOW};
use crate::timer::unless_late;

/// So much is carried at once, bytes: what a tunnel holds each way.
const PIECE: usize = 16 * 1024;

/// Whoever takes nothing for so long is given up.
const STALL: Duration = Duration::from_mins(1);

/// When one side has ended the other one has so long to end too, or is cut.
const GOODBYE: Duration = Duration::from_secs(10);

/// Carries what both sides send, until they end.
///
/// # Errors
/// [`Code`]: why it was cut.
pub async fn run<C: AsyncRead + AsyncWrite + Unpin>(
    client: &mut C,
    tunnel: Tunnel,
    record: &mut Record,
) -> Result<(), Code> {
    let Tunnel {
        upstream,
        part,
        waits,
    } = tunnel;
    let route = Arc::clone(upstream.route());
    // A route that opened it says how long.
    let Some(rule) = &route.route.websocket else {
        return Err(Code::Internal);
    };
    let shared = Shared {
        record: RefCell::new(record),
        part,
        waits,
        moved: Cell::new(Instant::now()),
    };
    let (from_client, to_client) = split(client);
    let (from_upstream, to_upstream) = split(*upstream);
    let up = Way::new(Some(Sender::Client), &shared);
    let down = Way::new(None, &shared);
    let mut up = pin!(up.carry(from_client, to_upstream));
    let mut down = pin!(down.carry(from_upstream, to_client));
    let both = async {
        tokio::select! {
            ended = &mut up => {
                ended?;
                shared.goodbye(&mut down, Code::ClosedByClient).await
            }
            ended = &mut down => {
                ended?;
                shared.goodbye(&mut up, Code::ClientStalled).await
            }
        }
    };
    tokio::select! {
        biased;
        ended = both => ended,
        code = shared.limit(rule) => Err(code),
    }
}

/// What both ways have in common.
struct Shared<'a> {
    record: RefCell<&'a mut Record>,
    /// What is known of whom it concerns: nothing.
    part: Part,
    /// Whether a window waits for its record (a route that may carry ePHI).
    waits: bool,
    /// When something passed the last time.
    moved: Cell<Instant>,
}

impl Shared<'_> {
    /// Waits for a side when the other one has ended. What it still sends is cut then, and the code says so; a side
    /// that says nothing more has ended too.
    async fn goodbye(
        &self,
        side: impl Future<Output = Result<(), Code>>,
        cut: Code,
    ) -> Result<(), Code> {
        let began = Instant::now();
        match timeout(GOODBYE, side).await {
            Ok(ended) => ended,
            Err(_) if self.moved.get() > began => Err(cut),
            Err(_) => Ok(()),
        }
    }

    /// Ends when nothing has passed for too long, or the tunnel is too old.
    async fn limit(&self, rule: &WebSocket) -> Code {
        let oldest = Instant::now() + rule.age;
        loop {
            let idle = self.moved.get() + rule.idle;
            sleep_until(idle.min(oldest)).await;
            let now = Instant::now();
            if now >= oldest {
                return Code::AgeLimit;
            }
            if now >= self.moved.get() + rule.idle {
                return Code::Idle;
            }
        }
    }
}

/// One way.
struct Way<'a> {
    shared: &'a Shared<'a>,
    /// Whose bytes they are: the client's, or without it the upstream's.
    sender: Option<Sender>,
    /// What the records so far cover, bytes from the beginning.
    covered: u64,
    /// What more may pass under the last one.
    left: u64,
    until: Instant,
}

impl<'a> Way<'a> {
    fn new(sender: Option<Sender>, shared: &'a Shared<'a>) -> Way<'a> {
        Way {
            shared,
            sender,
            covered: 0,
            left: 0,
            until: Instant::now(),
        }
    }

    async fn carry(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<(), Code> {
        let is_up = self.sender.is_some();
        let (gone_from, gone_to, stalled) = if is_up {
            (
                Code::ClientGone,
                Code::UpstreamBroken,
                Code::UpstreamStalled,
            )
        } else {
            (Code::UpstreamBroken, Code::ClientGone, Code::ClientStalled)
        };
        let mut piece = BytesMut::with_capacity(PIECE);
        loop {
            piece.clear();
            let read = (&mut from).take(PIECE as u64).read_buf(&mut piece).await;
            if read.map_err(|_| gone_from)? == 0 {
                return unless_late(STALL, to.shutdown())
                    .await
                    .map_err(|_| stalled)?
                    .map_err(|_| gone_to);
            }
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let may = self.admit().await?.min(rest.len() as u64);
                let (now, later) = rest.split_at(usize::try_from(may).unwrap_or(rest.len()));
                let mut now = now;
                while !now.is_empty() {
                    let sent = unless_late(STALL, to.write(now)).await;
                    let sent = sent.map_err(|_| stalled)?.map_err(|_| gone_to)?;
                    if sent == 0 {
                        return Err(gone_to);
                    }
                    self.passed(sent as u64);
                    now = &now[sent..];
                }
                rest = later;
            }
            let flushed = unless_late(STALL, to.flush()).await;
            flushed.map_err(|_| stalled)?.map_err(|_| gone_to)?;
        }
    }

    /// How much may pass, once a record covers it.
    async fn admit(&mut self) -> Result<u64, Code> {
        let is_over = self.left == 0 || Instant::now() >= self.until;
        if is_over || !self.shared.record.borrow().is_recordable() {
            let recorded = timeout(PATIENCE, self.put_on_record()).await;
            recorded.map_err(|_| Code::AuditUnavailable)??;
            self.left = WINDOW as u64;
            self.until = Instant::now() + LONGEST;
        }
        Ok(self.left)
    }

    async fn put_on_record(&self) -> Result<(), Code> {
        loop {
            let (subjects, appended) = {
                let mut record = self.shared.record.borrow_mut();
                let subjects = record.passing(&self.shared.part);
                let (offset, sender) = (self.covered, self.sender);
                let appended = record.passage((offset, sender), WINDOW as u64, subjects.clone());
                (subjects, appended)
            };
            let outcome = match appended {
                // What the client sends may change something (P2).
                Ok(append) if self.shared.waits || self.sender.is_some() => append.await.map(drop),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => {
                    let mut record = self.shared.record.borrow_mut();
                    record.passage_stands(subjects.as_ref());
                    return Ok(());
                }
                Err(AppendError::Unavailable | AppendError::Full) => sleep(RETRY).await,
                Err(_) => return Err(Code::AuditUnavailable),
            }
        }
    }

    fn passed(&mut self, bytes: u64) {
        self.covered += bytes;
        self.left -= bytes;
        self.shared.moved.set(Instant::now());
        if self.sender.is_none() {
            self.shared.record.borrow_mut().sent(bytes);
        }
    }
}
