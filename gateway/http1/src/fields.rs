//! Field lines of a head or of trailers, from a section whose lines are known to end in CRLF.
//!
//! Standard: RFC 9112 5, RFC 9110 5.1 and 5.5. No obsolete line folding, no white space before the
//! colon, names are tokens, values hold no control character but HTAB. Values that hold bytes above
//! 0x7f (obs-text) are opaque and pass. What this file does not do: it gives no field a meaning.

use crate::Error;
use crate::token::trim_ows;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// Reads the field lines of `section` that begin at `first` and end with an empty line, which is
/// its last. `lines` is their number, `base` what faults are counted from. Values are slices of
/// `section`: nothing is copied. `spare` is room for fields that whoever passes the message on will
/// add: a map that grows is copied.
pub(crate) fn parse(
    section: &Bytes,
    first: usize,
    lines: usize,
    base: u64,
    spare: usize,
) -> Result<HeaderMap, Error> {
    let too_many = |_| Error::TooManyFields { limit: lines };
    let mut fields = HeaderMap::try_with_capacity(lines + spare).map_err(too_many)?;
    let mut start = first;
    for _ in 0..lines {
        let end = memchr::memchr(b'\r', &section[start..])
            .map(|length| start + length)
            .expect("the section was read as this many lines");
        let (name, value) = field(section, &section[start..end], base + start as u64)?;
        fields.try_append(name, value).map_err(too_many)?;
        start = end + 2;
    }
    Ok(fields)
}

/// `field-name ":" OWS field-value OWS` (RFC 9112 5). `at` is where the line begins, for faults.
fn field(section: &Bytes, line: &[u8], at: u64) -> Result<(HeaderName, HeaderValue), Error> {
    if let [b' ' | b'\t', ..] = line {
        return Err(Error::ObsoleteFold { at });
    }
    let Some(colon) = memchr::memchr(b':', line) else {
        return Err(Error::FieldWithoutColon { at });
    };
    let name = match &line[..colon] {
        [] => return Err(Error::FieldNameEmpty { at }),
        [.., b' ' | b'\t'] => return Err(Error::SpaceBeforeColon { at }),
        name => HeaderName::from_bytes(name).map_err(|_| Error::FieldName { at })?,
    };
    let value = section.slice_ref(trim_ows(&line[colon + 1..]));
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| Error::FieldValue { at })?;
    Ok((name, value))
}

/// Whether a field with this name may stand in trailers. Decoder and encoder refuse those that may
/// not: what frames, routes, authenticates, modifies or describes a message must be known before
/// its body (RFC 9110 6.5.1).
pub fn may_be_trailer(name: &HeaderName) -> bool {
    !HEAD_ONLY.iter().any(|(head_only, _)| name == head_only)
}

/// Fields that must stand in a head, and what each is (the groups of RFC 9110 6.5.1).
const HEAD_ONLY: &[(&str, &str)] = &[
    ("connection", "framing: RFC 9110 7.6.1"),
    ("content-length", "framing: RFC 9110 8.6"),
    ("keep-alive", "framing: RFC 9110 7.6.1"),
    ("proxy-connection", "framing: RFC 9110 7.6.1"),
    ("te", "framing: RFC 9110 10.1.4"),
    ("trailer", "framing: RFC 9110 6.6.2"),
    ("transfer-encoding", "framing: RFC 9112 6.1"),
    ("upgrade", "framing: RFC 9110 7.8"),
    ("host", "routing: RFC 9110 7.2"),
    ("max-forwards", "routing: RFC 9110 7.6.2"),
    ("authorization", "authentication: RFC 9110 11.6.2"),
    ("cookie", "authentication: RFC 6265 4.2"),
    ("proxy-authenticate", "authentication: RFC 9110 11.7.1"),
    ("proxy-authorization", "authentication: RFC 9110 11.7.2"),
    ("set-cookie", "authentication: RFC 6265 4.1"),
    ("www-authenticate", "authentication: RFC 9110 11.6.1"),
    ("cache-control", "request modifier: RFC 9111 5.2"),
    ("expect", "request modifier: RFC 9110 10.1.1"),
    ("if-match", "request modifier: RFC 9110 13.1.1"),
    ("if-modified-since", "request modifier: RFC 9110 13.1.3"),
    ("if-none-match", "request modifier: RFC 9110 13.1.2"),
    ("if-range", "request modifier: RFC 9110 13.1.5"),
    ("if-unmodified-since", "request modifier: RFC 9110 13.1.4"),
    ("pragma", "request modifier: RFC 9111 5.4"),
    ("range", "request modifier: RFC 9110 14.2"),
    ("age", "response control: RFC 9111 5.1"),
    ("expires", "response control: RFC 9111 5.3"),
    ("location", "response control: RFC 9110 10.2.2"),
    ("retry-after", "response control: RFC 9110 10.2.3"),
    ("vary", "response control: RFC 9110 12.5.5"),
    ("content-encoding", "content format: RFC 9110 8.4"),
    ("content-range", "content format: RFC 9110 14.4"),
    ("content-type", "content format: RFC 9110 8.3"),
];
