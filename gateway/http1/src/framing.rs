//! Which rule delimits the body of a message, or why no rule does.
//!
//! Standard: RFC 9112 6, with everything refused that two readers could read in two ways. What this
//! file does not do: it reads no body ([`body`](crate::body) does) and sets no limit on one.

use crate::token::trim_ows;
use crate::{Error, RequestHead, ResponseHead, Version};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};

/// How the end of a body is known (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body, and none is declared.
    None,
    /// The body is this many bytes. Zero is a declared, empty body.
    Length(u64),
    /// The body ends with its last chunk and the trailers.
    Chunked,
    /// The body of a response ends with the connection.
    UntilClose,
}

/// How the body of a request is delimited. Fails closed: what is not clearly one of `None`,
/// `Length` and `Chunked` is a fault, and the connection cannot be read further.
pub fn request(head: &RequestHead) -> Result<Framing, Error> {
    let declared = declared(head.version, &head.headers)?;
    Ok(declared.unwrap_or(Framing::None))
}

/// How the body of the response to a request with this method is delimited; as strict as for
/// requests. A status that cannot have a body may not declare one: only `Content-Length: 0`, which
/// servers do send with 204, is let pass, because it cannot be read in two ways.
///
/// After `101` and after a 2xx to CONNECT the framing is `None`, and what follows is no HTTP.
pub fn response(request_method: &Method, head: &ResponseHead) -> Result<Framing, Error> {
    let declared = declared(head.version, &head.headers)?;
    let tunnel = *request_method == Method::CONNECT && head.status.is_success();
    if has_no_body(head.status) || tunnel {
        return match declared {
            None | Some(Framing::Length(0)) => Ok(Framing::None),
            Some(_) => Err(Error::FramingOnBodilessStatus {
                status: head.status.as_u16(),
            }),
        };
    }
    if *request_method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED {
        return Ok(Framing::None);
    }
    Ok(declared.unwrap_or(Framing::UntilClose))
}

/// The length that a head declares, be there a body or not: the answer to HEAD and 304 tell the
/// length of what a GET would bring (RFC 9110 8.6).
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Error> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = lines.next() else {
        return Ok(None);
    };
    match lines.count() {
        0 => parse_length(value.as_bytes()).map(Some),
        more => Err(Error::ContentLengthRepeated { lines: 1 + more }),
    }
}

/// Interim responses and 204 (RFC 9112 6.3, rule 1).
pub(crate) fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

/// What the fields say, before the method and the status are looked at.
fn declared(version: Version, headers: &HeaderMap) -> Result<Option<Framing>, Error> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(content_length(headers)?.map(Framing::Length));
    };
    if headers.contains_key(CONTENT_LENGTH) {
        return Err(Error::ContentLengthWithTransferEncoding);
    }
    if version == Version::Http10 {
        return Err(Error::TransferEncodingInHttp10);
    }
    match codings.count() {
        0 => only_chunked(coding.as_bytes()).map(|()| Some(Framing::Chunked)),
        more => Err(Error::TransferEncodingRepeated { lines: 1 + more }),
    }
}

/// `1*DIGIT` (RFC 9110 8.6): no sign, no white space within, no list, also not of equal numbers.
fn parse_length(value: &[u8]) -> Result<u64, Error> {
    if value.contains(&b',') {
        return Err(Error::ContentLengthList);
    }
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Error::ContentLength);
    }
    value
        .iter()
        .try_fold(0_u64, |length, digit| {
            length.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })
        .ok_or(Error::ContentLengthOverflow)
}

/// Nothing but one `chunked` is decoded (RFC 9112 6.1, 7). The rest is told apart for the one who
/// has to mend it, and for the status: chunked that is not last is 400, an unknown coding 501.
fn only_chunked(value: &[u8]) -> Result<(), Error> {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if is_chunked(value) {
        return Ok(());
    }
    let mut codings = value.split(|&byte| byte == b',').map(trim_ows);
    if !codings.next_back().is_some_and(is_chunked) {
        return Err(Error::ChunkedNotLast);
    }
    if codings.any(|coding| coding.is_empty() || is_chunked(coding)) {
        return Err(Error::TransferEncoding);
    }
    Err(Error::TransferCodingUnsupported)
}
