//! An answer passes in windows, and no byte of a window leaves before the record of it is durable.
//!
//! Content that is read for patients gathers up to 256 KiB, or for a moment, and leaves behind a
//! record that names whom it concerns up to there. Other content is not held: a record says that it
//! goes on, and from then on 1 MiB may pass, for a minute at most and only while the log takes
//! records. The release is the record of the first window, a `passage` that of each further one.
//! Trailers are part of the last window.
//!
//! Fails closed: where a passage cannot be made durable in five seconds the answer ends in a fault,
//! never in order. What survives a crash here: the records of all that left, and at most of one window
//! more.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use audit::appender::Append;
use audit::error::AppendError;
use audit::event::{Code, Subjects};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep};

use super::vouch::Tail;
use crate::memory::{Held, Memory};
use crate::reading::{Part, Reading};
use crate::record::Record;
use crate::refusal::content_code;
use crate::upstream::{AnswerContent, AnswerFault};

/// The most of a window that is read, bytes.
const READ_WINDOW: usize = 256 * 1024;

/// The most of any other window, bytes.
pub(crate) const WINDOW: usize = 1024 * 1024;

/// After this a window is over even if little has passed.
pub(crate) const LONGEST: Duration = Duration::from_mins(1);

/// What is read gathers no longer than this, so that what comes slowly is not kept from the client.
const MOMENT: Duration = Duration::from_millis(100);

/// What is compared or vouched for is waited for so long, where it fits a window: of an answer that was
/// altered nothing leaves, and whether one is signed is not left to how its pieces come.
const WHOLE: Duration = Duration::from_mins(1);

/// A window is over when it names so many. What a slice names beyond still fits the record.
const NAMES: usize = Subjects::MOST / 2;

/// So much is read before the names are counted, bytes. Nobody is named in less than a dozen.
const SLICE: usize = 1024;

/// What passes is cut when its passage is not on record after so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How often a log that takes nothing is asked again.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

/// The content of an answer on its way out.
pub struct Passing {
    content: AnswerContent,
    reading: Reading,
    /// Whether a window waits for its record (a route that may carry ePHI).
    waits: bool,
    /// Came from the upstream and is not read yet: what is behind the end of a window.
    rest: Bytes,
    /// What of the window is in hand and not on record yet.
    gathered: VecDeque<Bytes>,
    gathered_bytes: usize,
    /// What may leave: its record is durable.
    ready: VecDeque<Bytes>,
    ready_bytes: usize,
    end: Option<End>,
    /// What the records so far cover, bytes from the beginning.
    covered: u64,
    /// Content that is not read: what more may pass under the last record.
    allowance: Allowance,
    /// Ends the gathering of a window.
    moment: Option<Pin<Box<Sleep>>>,
    recording: Option<Recording>,
    memory: Memory,
    held: Held,
    /// What follows it in trailers of the gateway's own.
    tail: Option<Box<Tail>>,
}

/// How the content ends.
enum End {
    Plain,
    Trailers { trailers: HeaderMap, covered: bool },
}

/// What may pass under a record that was made before.
#[derive(Clone, Copy)]
struct Allowance {
    bytes: usize,
    until: Instant,
}

/// A passage on its way to the disk.
struct Recording {
    bytes: u64,
    subjects: Option<Subjects>,
    append: Option<Append>,
    /// Set when the log takes nothing.
    retry: Option<Pin<Box<Sleep>>>,
    since: Instant,
}

/// Why an answer did not come to its end. What left must not count as whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The upstream broke it off.
    Answer(AnswerFault),
    /// What would have left next could not be put on record.
    Unrecorded,
}

impl Broken {
    /// The code of an answer that broke off after it was released.
    pub fn code(&self) -> Code {
        match self {
            Broken::Answer(AnswerFault::Broken) => Code::UpstreamBroken,
            Broken::Answer(AnswerFault::Stalled) => Code::UpstreamStalled,
            Broken::Answer(AnswerFault::Altered) => Code::AnswerDigestMismatch,
            Broken::Answer(AnswerFault::Content(fault)) => content_code(fault),
            Broken::Unrecorded => Code::AuditUnavailable,
        }
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::Answer(fault) => fault.fmt(f),
            Broken::Unrecorded => f.write_str("it could not be put on record"),
        }
    }
}

impl std::error::Error for Broken {}

impl Passing {
    /// Content of which nothing was taken yet.
    pub(super) fn new(
        content: AnswerContent,
        reading: Reading,
        memory: &Memory,
        waits: bool,
    ) -> Passing {
        Passing {
            content,
            reading,
            waits,
            rest: Bytes::new(),
            gathered: VecDeque::new(),
            gathered_bytes: 0,
            ready: VecDeque::new(),
            ready_bytes: 0,
            end: None,
            covered: 0,
            allowance: Allowance {
                bytes: 0,
                until: Instant::now(),
            },
            moment: None,
            recording: None,
            memory: memory.clone(),
            held: memory.hold(0),
            tail: None,
        }
    }

    /// Gathers the first window: what is read for a moment, other content only as far as it is there
    /// already. What is compared or vouched for is waited for, where it is not known to be longer.
    pub(super) async fn begin(
        &mut self,
        declared: Option<u64>,
        is_vouched: bool,
    ) -> Result<(), AnswerFault> {
        let is_read = matches!(self.reading, Reading::Scanned(_));
        let window = if is_read { READ_WINDOW } else { Memory::GATHER };
        let fits = declared.is_some_and(|declared| declared <= window as u64);
        let patience = match &self.content {
            AnswerContent::Compared(_) => WHOLE,
            _ if is_vouched && fits => WHOLE,
            _ if is_vouched || is_read => MOMENT,
            _ => Duration::ZERO,
        };
        std::future::poll_fn(|context| match self.reading {
            Reading::Scanned(_) => self.poll_window(context, Some(patience)),
            Reading::Unasked | Reading::Unread(_) => self.poll_first(context, patience),
        })
        .await
    }

    /// Whom the first window concerns.
    pub(super) fn first_part(&mut self) -> Part {
        let is_empty = self.gathered_bytes == 0;
        self.reading.part(is_empty, self.is_over())
    }

    /// All of the content, if it is in hand.
    pub(super) fn whole(&mut self) -> Option<(Bytes, Option<HeaderMap>)> {
        if !self.is_over() {
            return None;
        }
        let trailers = match self.end.take() {
            Some(End::Trailers { trailers, .. }) => Some(trailers),
            Some(End::Plain) | None => None,
        };
        Some((join(std::mem::take(&mut self.gathered)), trailers))
    }

    /// What is counted for it.
    pub(super) fn into_held(self) -> Held {
        self.held
    }

    /// The record of what was gathered is durable: it may leave.
    pub(super) fn open(&mut self) {
        let now = Instant::now();
        let bytes = match self.reading {
            Reading::Scanned(_) => 0,
            Reading::Unasked | Reading::Unread(_) => WINDOW.saturating_sub(self.gathered_bytes),
        };
        self.allowance = Allowance {
            bytes,
            until: now + LONGEST,
        };
        if let Some(End::Trailers { covered, .. }) = &mut self.end {
            *covered = true;
        }
        self.covered += self.gathered_bytes as u64;
        self.ready_bytes += std::mem::take(&mut self.gathered_bytes);
        self.ready.append(&mut self.gathered);
        self.moment = None;
    }

    /// What follows it in trailers.
    pub(super) fn tail(&mut self, tail: Option<Tail>) {
        self.tail = tail.map(Box::new);
    }

    /// Whether trailers follow that are the gateway's own.
    pub fn has_tail(&self) -> bool {
        self.tail.is_some()
    }

    /// A client to whom nothing can follow gets nothing.
    pub fn cut_tail(&mut self) {
        self.tail = None;
    }

    /// The next of it that may leave.
    pub fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
        record: &mut Record,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let next = ready!(self.poll_passing(context, record));
        let Some(tail) = &mut self.tail else {
            return Poll::Ready(next);
        };
        Poll::Ready(match next {
            Some(Ok(mut frame)) => {
                if let Some(data) = frame.data_ref() {
                    tail.update(data);
                } else if let (Some(trailers), Some(tail)) =
                    (frame.trailers_mut(), self.tail.take())
                {
                    tail.end(trailers);
                }
                Some(Ok(frame))
            }
            None => self.tail.take().map(|tail| {
                let mut trailers = HeaderMap::new();
                tail.end(&mut trailers);
                Ok(Frame::trailers(trailers))
            }),
            Some(Err(broken)) => Some(Err(broken)),
        })
    }

    fn poll_passing(
        &mut self,
        context: &mut Context<'_>,
        record: &mut Record,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(data) = self.ready.pop_front() {
                self.ready_bytes -= data.len();
                self.count();
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if self.recording.is_some() {
                ready!(self.poll_recording(context, record))?;
                self.open();
                continue;
            }
            let passed = match self.reading {
                Reading::Scanned(_) => ready!(self.poll_window(context, None)),
                Reading::Unasked | Reading::Unread(_) => ready!(self.poll_piece(context, record)),
            };
            if let Err(fault) = passed {
                return Poll::Ready(Some(Err(Broken::Answer(fault))));
            }
            if !self.ready.is_empty() {
                continue;
            }
            if self.gathered_bytes == 0 && self.rest.is_empty() {
                match self.end.take() {
                    None => continue,
                    Some(End::Plain) => {
                        self.settle(record);
                        return Poll::Ready(None);
                    }
                    Some(End::Trailers {
                        trailers,
                        covered: true,
                    }) => {
                        self.settle(record);
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    uncovered => self.end = uncovered,
                }
            }
            self.record(record);
        }
    }

    /// Begins to put the window on record.
    fn record(&mut self, record: &mut Record) {
        let (bytes, part) = match self.reading {
            Reading::Scanned(_) => {
                let bytes = self.gathered_bytes;
                (bytes, self.reading.part(bytes == 0, self.is_over()))
            }
            // Nothing of the window is in hand, and nothing is known of it.
            Reading::Unasked | Reading::Unread(_) => (WINDOW, self.reading.part(false, false)),
        };
        self.recording = Some(Recording {
            bytes: bytes as u64,
            subjects: record.passing(&part),
            append: None,
            retry: None,
            since: Instant::now(),
        });
    }

    /// Puts the window on record. An error is that it could not be in time.
    fn poll_recording(
        &mut self,
        context: &mut Context<'_>,
        record: &mut Record,
    ) -> Poll<Result<(), Broken>> {
        let offset = self.covered;
        let Some(recording) = &mut self.recording else {
            return Poll::Ready(Ok(()));
        };
        loop {
            if let Some(retry) = &mut recording.retry {
                ready!(retry.as_mut().poll(context));
                recording.retry = None;
            }
            let error = match &mut recording.append {
                None => match record.passage(
                    (offset, None),
                    recording.bytes,
                    recording.subjects.clone(),
                ) {
                    Ok(append) if self.waits => {
                        recording.append = Some(append);
                        continue;
                    }
                    Ok(_) => break,
                    Err(error) => error,
                },
                Some(append) => match ready!(Pin::new(append).poll(context)) {
                    Ok(_receipt) => break,
                    Err(error) => error,
                },
            };
            recording.append = None;
            let may_heal = matches!(error, AppendError::Unavailable | AppendError::Full);
            if !may_heal || recording.since.elapsed() >= PATIENCE {
                return Poll::Ready(Err(Broken::Unrecorded));
            }
            recording.retry = Some(Box::pin(tokio::time::sleep(RETRY)));
        }
        let recorded = self.recording.take();
        record.passage_stands(recorded.and_then(|recorded| recorded.subjects).as_ref());
        Poll::Ready(Ok(()))
    }

    /// Gathers a window of content that is read. Ends when it is over, or nothing more comes for a
    /// moment; of the first one the first byte too is waited for only so long.
    fn poll_window(
        &mut self,
        context: &mut Context<'_>,
        first: Option<Duration>,
    ) -> Poll<Result<(), AnswerFault>> {
        loop {
            self.read();
            self.count();
            // What is left over belongs to the next window.
            if self.end.is_some() || !self.rest.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let has_room = self.gathered_bytes == 0 || self.memory.has_room();
            let is_full = self.gathered_bytes >= READ_WINDOW || !has_room;
            if is_full && !self.content.is_end_stream() {
                return Poll::Ready(Ok(()));
            }
            if self.poll_content(context)?.is_pending() {
                if self.gathered_bytes == 0 && first.is_none() {
                    return Poll::Pending;
                }
                ready!(self.poll_moment(context, first.unwrap_or(MOMENT)));
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Waits for more, from the first time on that nothing came.
    fn poll_moment(&mut self, context: &mut Context<'_>, patience: Duration) -> Poll<()> {
        let moment = self
            .moment
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(moment.as_mut().poll(context));
        self.moment = None;
        Poll::Ready(())
    }

    /// Reads of what came as much as the window takes.
    fn read(&mut self) {
        let Reading::Scanned(scanner) = &mut self.reading else {
            return;
        };
        let mut end = 0;
        while end < self.rest.len()
            && self.gathered_bytes + end < READ_WINDOW
            && scanner.found().subjects().len() < NAMES
        {
            let slice = &self.rest[end..];
            let slice = &slice[..slice.len().min(SLICE)];
            scanner.push(slice);
            end += slice.len();
        }
        if end > 0 {
            self.gathered_bytes += end;
            self.gathered.push_back(self.rest.split_to(end));
        }
    }

    /// Gathers what is there already of content that is not read, and what comes in time.
    fn poll_first(
        &mut self,
        context: &mut Context<'_>,
        patience: Duration,
    ) -> Poll<Result<(), AnswerFault>> {
        loop {
            let data = std::mem::take(&mut self.rest);
            if !data.is_empty() {
                self.gathered_bytes += data.len();
                self.gathered.push_back(data);
                self.count();
            }
            let has_room = self.gathered_bytes < Memory::GATHER && self.memory.has_room();
            let may_end = has_room || self.content.is_end_stream();
            if self.end.is_some() || !may_end {
                return Poll::Ready(Ok(()));
            }
            if self.poll_content(context)?.is_pending() {
                if !patience.is_zero() {
                    ready!(self.poll_moment(context, patience));
                }
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Lets a piece of content that is not read pass, if it may under the last record.
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
        record: &Record,
    ) -> Poll<Result<(), AnswerFault>> {
        if self.rest.is_empty() && self.end.is_none() {
            ready!(self.poll_content(context)?);
        }
        if self.allowance.bytes == 0
            || Instant::now() >= self.allowance.until
            || !record.is_recordable()
        {
            return Poll::Ready(Ok(()));
        }
        if let Some(End::Trailers { covered, .. }) = &mut self.end {
            *covered = true;
        }
        let data = self
            .rest
            .split_to(self.rest.len().min(self.allowance.bytes));
        if !data.is_empty() {
            self.allowance.bytes -= data.len();
            self.covered += data.len() as u64;
            self.ready_bytes += data.len();
            self.ready.push_back(data);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next of the content: into `rest`, which is empty, or as its end.
    fn poll_content(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, AnswerFault> {
        match Pin::new(&mut self.content).poll_frame(context) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(None) => self.end = Some(End::Plain),
            Poll::Ready(Some(Err(fault))) => return Err(fault),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(frame) => {
                    self.end = Some(End::Trailers {
                        trailers: frame.into_trailers().unwrap_or_default(),
                        covered: false,
                    });
                }
            },
        }
        Ok(Poll::Ready(()))
    }

    /// Whether all of the content was taken, and read.
    fn is_over(&self) -> bool {
        self.end.is_some() && self.rest.is_empty()
    }

    /// What is known at the end, where no record says it: the last window had left before.
    fn settle(&mut self, record: &mut Record) {
        if let Reading::Scanned(_) = self.reading {
            record.read_to_its_end(self.reading.part(false, true));
        }
    }

    fn count(&mut self) {
        self.held
            .set(self.gathered_bytes + self.ready_bytes + self.rest.len());
    }
}

/// Counts; no content.
impl std::fmt::Debug for Passing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passing")
            .field("covered", &self.covered)
            .field("gathered", &self.gathered_bytes)
            .field("reading", &self.reading)
            .finish_non_exhaustive()
    }
}

fn join(mut pieces: VecDeque<Bytes>) -> Bytes {
    if pieces.len() == 1 {
        return pieces.pop_front().unwrap_or_default();
    }
    let mut joined = bytes::BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in &pieces {
        joined.extend_from_slice(piece);
    }
    joined.freeze()
}
