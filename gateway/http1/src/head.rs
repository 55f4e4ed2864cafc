//! Heads of requests and responses: found, checked and split off a buffer.
//!
//! Standard: RFC 9112 2 to 5. A head is read in two steps. While it arrives, each line is looked at
//! once: its end, the limits, and the start line as soon as it is whole, so that garbage is refused
//! without waiting for more. When the empty line is there, the head is split off and frozen, and
//! the fields are read as slices of it. However the bytes were split on their way, the outcome is
//! the same. What this file does not do: it says nothing about the body, as
//! [`framing`](crate::framing) does, and gives no field a meaning; a missing or doubled Host is for
//! the gateway to refuse, which must do so for HTTP/2 as well.

use crate::lines::Lines;
use crate::start_line::{RequestLine, StartLine, StatusLine};
use crate::{Error, Limits, Target, Version, fields};
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use std::fmt;

/// The head of a request.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// The method, a token of at most 32 bytes.
    pub method: Method,
    /// The target, exactly as received.
    pub target: Target,
    /// The version of the client.
    pub version: Version,
    /// The fields, with names in lower case and values without the white space around them.
    pub headers: HeaderMap,
}

/// The head of a response. The reason phrase is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status, 100 to 599.
    pub status: StatusCode,
    /// The version of the server.
    pub version: Version,
    /// The fields, with names in lower case and values without the white space around them.
    pub headers: HeaderMap,
}

/// Reads the heads of the requests of one connection, one after the other.
#[derive(Debug)]
pub struct RequestReader(Reader<RequestLine>);

/// Reads the heads of the responses of one connection, one after the other.
#[derive(Debug)]
pub struct ResponseReader(Reader<StatusLine>);

impl RequestReader {
    /// A reader for a new connection.
    pub fn new(limits: Limits) -> Self {
        Self(Reader::new(limits))
    }

    /// The next head, or `None` when the buffer must be filled further. Only what belongs to the
    /// head is taken from the buffer; what follows stays. Between calls bytes may be appended to
    /// the buffer and nothing else done with it, until a head was returned.
    ///
    /// A fault is final: the same is returned at each later call.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<RequestHead>, Error> {
        let head = self.0.read(buffer)?;
        Ok(head.map(|(line, head, headers)| RequestHead {
            target: Target::from_parts(head.slice(line.target), line.form),
            method: line.method,
            version: line.version,
            headers,
        }))
    }

    /// What it means that the client closed with this left in the buffer: nothing if it was between
    /// two requests, a fault if it was within a head.
    pub fn eof(&self, buffer: &BytesMut) -> Result<(), Error> {
        self.0.eof(buffer)
    }
}

impl ResponseReader {
    /// A reader for a new connection.
    pub fn new(limits: Limits) -> Self {
        Self(Reader::new(limits))
    }

    /// The next head, on the terms of [`RequestReader::read`]. An interim response (1xx) is a head
    /// like any other and the final one follows it; how many may come is for the caller to limit.
    ///
    /// Bytes that are there when no response is owed mean that server and client are out of step:
    /// close the connection, and never take them for the answer to the next request.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<ResponseHead>, Error> {
        let head = self.0.read(buffer)?;
        Ok(head.map(|(line, _, headers)| ResponseHead {
            status: line.status,
            version: line.version,
            headers,
        }))
    }

    /// What it means that the server closed with this left in the buffer: a fault if it was within
    /// a head. Whether a response was owed is for the caller to know.
    pub fn eof(&self, buffer: &BytesMut) -> Result<(), Error> {
        self.0.eof(buffer)
    }
}

/// What both readers do. `S` is the kind of start line.
#[derive(Debug)]
struct Reader<S> {
    limits: Limits,
    progress: Progress<S>,
    fault: Option<Error>,
}

/// How far the head that is arriving was read.
#[derive(Debug)]
struct Progress<S> {
    lines: Lines,
    empty_lines: u8,
    start_line: Option<S>,
    /// Where the field lines begin.
    fields_start: usize,
    fields: usize,
}

impl<S: StartLine> Reader<S> {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            progress: Progress::new(),
            fault: None,
        }
    }

    fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<(S, Bytes, HeaderMap)>, Error> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let outcome = self.next_head(buffer);
        self.fault = outcome.as_ref().err().copied();
        outcome
    }

    fn next_head(&mut self, buffer: &mut BytesMut) -> Result<Option<(S, Bytes, HeaderMap)>, Error> {
        let Some(start_line) = self.progress.advance(buffer, &self.limits)? else {
            return Ok(None);
        };
        let done = std::mem::replace(&mut self.progress, Progress::new());
        let head = buffer.split_to(done.lines.position()).freeze();
        let headers = fields::parse(&head, done.fields_start, done.fields, 0, S::SPARE_FIELDS)?;
        Ok(Some((start_line, head, headers)))
    }

    fn eof(&self, buffer: &BytesMut) -> Result<(), Error> {
        match self.fault {
            Some(fault) => Err(fault),
            None if buffer.is_empty() => Ok(()),
            None => Err(Error::HeadIncomplete {
                received: buffer.len(),
            }),
        }
    }
}

impl<S: StartLine> Progress<S> {
    fn new() -> Self {
        Self {
            lines: Lines::default(),
            empty_lines: 0,
            start_line: None,
            fields_start: 0,
            fields: 0,
        }
    }

    /// Reads the lines that are there. The start line when the empty line at the end of the head is
    /// among them, `None` when more bytes are needed.
    fn advance(&mut self, buffer: &mut BytesMut, limits: &Limits) -> Result<Option<S>, Error> {
        loop {
            let limit = match self.start_line {
                None => limits.head_bytes.min(S::longest(limits)),
                Some(_) => limits.head_bytes,
            };
            let seen = &buffer[..buffer.len().min(limit)];
            let Some(line) = self.lines.next(seen)? else {
                return if buffer.len() < limit {
                    Ok(None)
                } else if limit < limits.head_bytes {
                    Err(S::overlong(seen, limits))
                } else {
                    Err(Error::HeadTooLarge { limit })
                };
            };
            match &self.start_line {
                None if !line.is_empty() => {
                    self.start_line = Some(S::parse(&seen[line], limits)?);
                    self.fields_start = self.lines.position();
                }
                None => {
                    if self.empty_lines == S::EMPTY_LINES {
                        return Err(Error::EmptyLine);
                    }
                    self.empty_lines += 1;
                    buffer.advance(self.lines.position());
                    self.lines = Lines::default();
                }
                Some(_) if line.is_empty() => return Ok(self.start_line.take()),
                Some(_) if self.fields == limits.fields => {
                    return Err(Error::TooManyFields {
                        limit: limits.fields,
                    });
                }
                Some(_) => self.fields += 1,
            }
        }
    }
}

/// Shows the shape only: targets and fields hold credentials and may name patients.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method)
            .field("target", &self.target)
            .field("version", &self.version)
            .field("fields", &self.headers.len())
            .finish()
    }
}

/// Shows the shape only: fields may hold credentials.
impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .field("version", &self.version)
            .field("fields", &self.headers.len())
            .finish()
    }
}
