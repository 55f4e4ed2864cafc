//! The chunked transfer coding, decoded byte by byte where it is syntax and in one piece where it
//! is data, so that no split of the bytes can change its reading.
//!
//! Standard: RFC 9112 7.1. Sizes are 1 to 16 hexadecimal digits and nothing else, line ends are
//! CRLF, extensions are refused (7.1.1 lets a recipient limit them; the limit here is none), and
//! so are trailers that belong in a head (RFC 9110 6.5.1). What this file does not do: it does not
//! limit the length of the body.

use crate::lines::Lines;
use crate::{Error, Limits, fields, may_be_trailer};
use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

/// Where in a chunked body the next byte stands.
#[derive(Debug)]
pub(crate) struct Chunked {
    place: Place,
    /// Bytes of the body, as transferred, that were taken from the buffer.
    at: u64,
    limits: Limits,
}

/// What the next bytes brought.
pub(crate) enum Step {
    /// More bytes are needed.
    More,
    /// Bytes of the body, never none.
    Data(Bytes),
    /// The body ended, with these trailers.
    End(HeaderMap),
}

#[derive(Debug)]
enum Place {
    /// Around data.
    Syntax(Syntax),
    /// In data, of which so many bytes are to come; never zero.
    Data { left: u64 },
    /// In the lines behind the last chunk, of which so many were read.
    Trailers { lines: Lines, count: usize },
}

#[derive(Clone, Copy, Debug)]
enum Syntax {
    /// In the digits of a size, of which so many were read.
    Size { digits: u8, size: u64 },
    /// Behind the CR of the size.
    SizeLf { size: u64 },
    /// Behind the data of a chunk.
    DataCr,
    /// Behind the CR that follows data.
    DataLf,
}

/// More digits than this do not fit in 64 bits.
const MAX_DIGITS: u8 = 16;

impl Chunked {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            place: Place::Syntax(Syntax::CHUNK),
            at: 0,
            limits,
        }
    }

    /// Takes what can be taken from the buffer. Not to be called again after `End` or a fault.
    pub(crate) fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, Error> {
        loop {
            match &mut self.place {
                Place::Trailers { lines, count } => {
                    return trailers(buffer, lines, count, self.at, &self.limits);
                }
                Place::Syntax(_) | Place::Data { .. } if buffer.is_empty() => {
                    return Ok(Step::More);
                }
                Place::Data { left } => {
                    let data = take(buffer, left);
                    self.at += data.len() as u64;
                    if *left == 0 {
                        self.place = Place::Syntax(Syntax::DataCr);
                    }
                    return Ok(Step::Data(data));
                }
                Place::Syntax(_) => self.syntax(buffer)?,
            }
        }
    }

    /// How many bytes of the body were taken so far.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// Takes the syntax around data, up to the next data, the trailers or the end of the buffer.
    fn syntax(&mut self, buffer: &mut BytesMut) -> Result<(), Error> {
        let mut taken = 0;
        while let (Place::Syntax(syntax), Some(&byte)) = (&self.place, buffer.get(taken)) {
            self.place = syntax.after(byte, self.at)?;
            self.at += 1;
            taken += 1;
        }
        buffer.advance(taken);
        Ok(())
    }
}

impl Syntax {
    const CHUNK: Self = Self::Size { digits: 0, size: 0 };

    /// The place behind `byte`, which stands `at` bytes into the body.
    fn after(self, byte: u8, at: u64) -> Result<Place, Error> {
        let next = match (self, byte) {
            (Self::Size { digits, size }, b'\r') if digits > 0 => Self::SizeLf { size },
            (Self::Size { digits, size }, _) => Self::digit(digits, size, byte, at)?,
            (Self::SizeLf { size: 0 }, b'\n') => {
                return Ok(Place::Trailers {
                    lines: Lines::from(at + 1),
                    count: 0,
                });
            }
            (Self::SizeLf { size }, b'\n') => return Ok(Place::Data { left: size }),
            (Self::SizeLf { .. }, _) => return Err(Error::BareCr { at: at - 1 }),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::CHUNK,
            (Self::DataCr | Self::DataLf, _) => return Err(Error::ChunkEnd { at }),
        };
        Ok(Place::Syntax(next))
    }

    /// A size with one more digit.
    fn digit(digits: u8, size: u64, byte: u8, at: u64) -> Result<Self, Error> {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b';' if digits > 0 => return Err(Error::ChunkExtension { at }),
            b'\n' if digits > 0 => return Err(Error::BareLf { at }),
            _ => return Err(Error::ChunkSize { at }),
        };
        if digits == MAX_DIGITS {
            return Err(Error::ChunkSizeTooLong { at });
        }
        Ok(Self::Size {
            digits: digits + 1,
            size: size << 4 | u64::from(value),
        })
    }
}

/// Splits off at most `left` bytes, without a copy, and counts them off.
pub(crate) fn take(buffer: &mut BytesMut, left: &mut u64) -> Bytes {
    let length = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
    *left -= length as u64;
    buffer.split_to(length).freeze()
}

/// Reads the trailer section, which begins `base` bytes into the body, up to its empty line.
fn trailers(
    buffer: &mut BytesMut,
    lines: &mut Lines,
    count: &mut usize,
    base: u64,
    limits: &Limits,
) -> Result<Step, Error> {
    loop {
        let limit = limits.head_bytes;
        let Some(line) = lines.next(&buffer[..buffer.len().min(limit)])? else {
            return if buffer.len() < limit {
                Ok(Step::More)
            } else {
                Err(Error::TrailersTooLarge { limit })
            };
        };
        if line.is_empty() {
            break;
        }
        if *count == limits.fields {
            return Err(Error::TooManyFields {
                limit: limits.fields,
            });
        }
        *count += 1;
    }
    let section = buffer.split_to(lines.position()).freeze();
    let fields = fields::parse(&section, 0, *count, base, 0)?;
    if fields.keys().all(may_be_trailer) {
        Ok(Step::End(fields))
    } else {
        Err(Error::TrailerForbidden { at: base })
    }
}
