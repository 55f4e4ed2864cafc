//! Bodies: one decoder for every way in which a body is delimited.
//!
//! Standard: RFC 9112 6 to 8. What this file does not do: it holds no bytes back, sets no limit on
//! the length of a body (the gateway counts what passes) and writes nothing.

use crate::chunked::{Chunked, Step, take};
use crate::framing::Framing;
use crate::{Error, Limits};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use std::fmt;

/// The next part of a body.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of the body, never none: a piece of the buffer, not a copy, and so never more than the
    /// caller has read.
    Data(Bytes),
    /// The trailers, if there are any, after all data.
    Trailers(HeaderMap),
    /// The body has ended as its framing says. What is left in the buffer belongs to the next
    /// message.
    End,
}

/// Reads one body.
#[derive(Debug)]
pub struct Decoder(State);

#[derive(Debug)]
enum State {
    Length { left: u64, taken: u64 },
    Chunked(Chunked),
    UntilClose { closed: bool },
    Done,
    Failed(Error),
}

impl Decoder {
    /// A decoder for a body with this framing. Of the limits, `head_bytes` and `fields` hold for
    /// its trailers; the buffer must be able to grow to `head_bytes`.
    pub fn new(framing: Framing, limits: Limits) -> Self {
        Self(match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(left) => State::Length { left, taken: 0 },
            Framing::Chunked => State::Chunked(Chunked::new(limits)),
            Framing::UntilClose => State::UntilClose { closed: false },
        })
    }

    /// The next frame, or `None` when the buffer must be filled further. Between calls bytes may be
    /// appended to the buffer and nothing else done with it, until the body has ended.
    ///
    /// After the end this stays at [`Frame::End`] and leaves the buffer alone. A fault is final:
    /// the same is returned at each later call, and the connection must be closed.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, Error> {
        match &mut self.0 {
            State::Done => Ok(Some(Frame::End)),
            State::Failed(fault) => Err(*fault),
            State::UntilClose { closed: true } if buffer.is_empty() => {
                self.0 = State::Done;
                Ok(Some(Frame::End))
            }
            _ if buffer.is_empty() => Ok(None),
            State::UntilClose { .. } => Ok(Some(Frame::Data(buffer.split().freeze()))),
            State::Length { left, taken } => {
                let data = take(buffer, left);
                *taken += data.len() as u64;
                if *left == 0 {
                    self.0 = State::Done;
                }
                Ok(Some(Frame::Data(data)))
            }
            State::Chunked(chunked) => match chunked.step(buffer) {
                Ok(Step::More) => Ok(None),
                Ok(Step::Data(data)) => Ok(Some(Frame::Data(data))),
                Ok(Step::End(trailers)) => {
                    self.0 = State::Done;
                    Ok(Some(if trailers.is_empty() {
                        Frame::End
                    } else {
                        Frame::Trailers(trailers)
                    }))
                }
                Err(fault) => {
                    self.0 = State::Failed(fault);
                    Err(fault)
                }
            },
        }
    }

    /// Tells the decoder that the connection has ended, after `decode` has taken what was read. An
    /// end for a body that is delimited by it and for one that is finished, a fault for any other:
    /// a body that was cut short is never passed off as whole (RFC 9112 8).
    pub fn eof(&mut self) -> Result<(), Error> {
        let at = match &mut self.0 {
            State::Done => return Ok(()),
            State::UntilClose { closed } => {
                *closed = true;
                return Ok(());
            }
            State::Failed(fault) => return Err(*fault),
            State::Length { taken, .. } => *taken,
            State::Chunked(chunked) => chunked.position(),
        };
        let fault = Error::BodyIncomplete { at };
        self.0 = State::Failed(fault);
        Err(fault)
    }

    /// Whether the whole body was taken, so that `decode` has nothing but [`Frame::End`] to say.
    pub fn is_finished(&self) -> bool {
        matches!(self.0, State::Done)
    }

    /// How many bytes are still to come, where the framing tells.
    pub fn remaining_hint(&self) -> Option<u64> {
        match self.0 {
            State::Done => Some(0),
            State::Length { left, .. } => Some(left),
            State::Chunked(_) | State::UntilClose { .. } | State::Failed(_) => None,
        }
    }
}

/// Shows the shape only: a body is what the gateway exists to keep secret.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::Trailers(fields) => write!(f, "Trailers({} fields)", fields.len()),
            Self::End => f.write_str("End"),
        }
    }
}
