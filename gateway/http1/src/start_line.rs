//! Request line and status line, each from one whole line without its CRLF.
//!
//! Standard: RFC 9112 2.3, 3 and 4; RFC 9110 9.1 and 15. One space between the parts and nothing
//! around them, HTTP/1.0 or HTTP/1.1. What this file does not do: it keeps no reason phrase (RFC
//! 9112 4: a client should ignore it) and reads no field.

use crate::target::Form;
use crate::token::first_outside;
use crate::{Error, Limits};
use http::{Method, StatusCode};
use std::ops::Range;

/// The protocol versions that the codec speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: no transfer codings, no interim responses, one message a connection.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// A method that is longer than this is longer than any registered one (RFC 9112 3 asks for 501).
pub(crate) const METHOD_BYTES: usize = 32;

/// What both sides have in common: a head begins with a line of their kind.
pub(crate) trait StartLine: Sized {
    /// How many empty lines are ignored before the start line.
    const EMPTY_LINES: u8;

    /// Room for fields that whoever passes the message on will add.
    const SPARE_FIELDS: usize;

    /// How long a start line may be at most, with its CRLF.
    fn longest(limits: &Limits) -> usize;

    /// Which fault a line has whose first `longest` bytes are `seen` and hold no end.
    fn overlong(seen: &[u8], limits: &Limits) -> Error;

    /// Reads the line, which is the beginning of the head.
    fn parse(line: &[u8], limits: &Limits) -> Result<Self, Error>;
}

/// `method SP request-target SP HTTP-version` (RFC 9112 3).
#[derive(Debug)]
pub(crate) struct RequestLine {
    pub(crate) method: Method,
    pub(crate) target: Range<usize>,
    pub(crate) form: Form,
    pub(crate) version: Version,
}

impl StartLine for RequestLine {
    const EMPTY_LINES: u8 = 1;
    // Who the client is, and where it comes from.
    const SPARE_FIELDS: usize = 10;

    fn longest(limits: &Limits) -> usize {
        const AROUND: usize = METHOD_BYTES + " ".len() + " HTTP/1.1\r\n".len();
        limits.target_bytes.saturating_add(AROUND)
    }

    fn overlong(seen: &[u8], limits: &Limits) -> Error {
        let target = match parse_method(seen) {
            Ok((_, target)) => target,
            Err(fault) => return fault,
        };
        match memchr::memchr(b' ', &seen[target..]) {
            Some(end) if end <= limits.target_bytes => Error::Version {
                at: (target + end + 1) as u64,
            },
            Some(_) | None => Error::TargetTooLong {
                limit: limits.target_bytes,
            },
        }
    }

    fn parse(line: &[u8], limits: &Limits) -> Result<Self, Error> {
        let (method, target) = parse_method(line)?;
        let target_end = memchr::memchr(b' ', &line[target..])
            .map(|end| target + end)
            .filter(|&end| end > target)
            .ok_or(Error::RequestLine { at: target as u64 })?;
        let version = target_end + 1;
        if let Some(extra) = memchr::memchr(b' ', &line[version..]) {
            return Err(Error::RequestLine {
                at: (version + extra) as u64,
            });
        }
        let version = parse_version(&line[version..], version)?;
        if target_end - target > limits.target_bytes {
            return Err(Error::TargetTooLong {
                limit: limits.target_bytes,
            });
        }
        let form = Form::of(&method, &line[target..target_end], target as u64)?;
        Ok(Self {
            method,
            target: target..target_end,
            form,
            version,
        })
    }
}

/// `HTTP-version SP status-code SP [ reason-phrase ]` (RFC 9112 4).
#[derive(Debug)]
pub(crate) struct StatusLine {
    pub(crate) version: Version,
    pub(crate) status: StatusCode,
}

impl StartLine for StatusLine {
    const EMPTY_LINES: u8 = 0;
    // The id of the request, a date, a digest.
    const SPARE_FIELDS: usize = 3;

    fn longest(limits: &Limits) -> usize {
        limits.head_bytes
    }

    fn overlong(_seen: &[u8], limits: &Limits) -> Error {
        Error::HeadTooLarge {
            limit: limits.head_bytes,
        }
    }

    fn parse(line: &[u8], _limits: &Limits) -> Result<Self, Error> {
        const CODE: usize = "HTTP/1.1 ".len();
        const CODE_END: usize = CODE + 3;

        let version = parse_version(&line[..line.len().min(CODE - 1)], 0)?;
        let code = line
            .get(CODE..CODE_END)
            .filter(|code| line[CODE - 1] == b' ' && code.iter().all(u8::is_ascii_digit))
            .ok_or(Error::StatusLine {
                at: CODE as u64 - 1,
            })?;
        match &line[CODE_END..] {
            [] => {}
            [b' ', reason @ ..] => {
                if let Some(bad) = reason.iter().position(|&byte| is_control(byte)) {
                    return Err(Error::ReasonPhrase {
                        at: (CODE_END + 1 + bad) as u64,
                    });
                }
            }
            _ => {
                return Err(Error::StatusLine {
                    at: CODE_END as u64,
                });
            }
        }
        let number = code
            .iter()
            .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
        match StatusCode::from_u16(number) {
            Ok(status) if number < 600 => Ok(Self { version, status }),
            Ok(_) | Err(_) => Err(Error::StatusCode { status: number }),
        }
    }
}

/// The method at the beginning of `line`, and where the target begins.
fn parse_method(line: &[u8]) -> Result<(Method, usize), Error> {
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let method = &line[..end];
    if let Some(bad) = first_outside(method) {
        return Err(Error::Method { at: bad as u64 });
    }
    if end > METHOD_BYTES {
        return Err(Error::MethodTooLong {
            limit: METHOD_BYTES,
        });
    }
    if end == 0 || end == line.len() {
        return Err(Error::RequestLine { at: end as u64 });
    }
    let method = Method::from_bytes(method).map_err(|_| Error::Method { at: 0 })?;
    Ok((method, end + 1))
}

/// `"HTTP/" DIGIT "." DIGIT`, in capitals (RFC 9112 2.3).
fn parse_version(bytes: &[u8], at: usize) -> Result<Version, Error> {
    match bytes {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            major @ b'0'..=b'9',
            b'.',
            minor @ b'0'..=b'9',
        ] => Err(Error::VersionNotSupported {
            major: major - b'0',
            minor: minor - b'0',
        }),
        _ => Err(Error::Version { at: at as u64 }),
    }
}

/// What cannot stand in a reason phrase: it is HTAB, SP, VCHAR and obs-text.
fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}
