//! What a head says about its connection: whether it may live on, which fields end here, and
//! whether the client waits before it sends its body.
//!
//! Standard: RFC 9112 9.3, RFC 9110 7.6.1 and 10.1.1. What this file does not do: it removes no
//! field and writes none ([`encode`](crate::encode) alone writes Connection).

use crate::token::{is_token, trim_ows};
use crate::{Error, RequestHead, Version};
use http::HeaderMap;
use http::header::{CONNECTION, EXPECT};

/// Whether another message may follow on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It may, once this message has ended cleanly.
    KeepAlive,
    /// This is the last one.
    Close,
}

/// What the sender of this head wants (RFC 9112 9.3). HTTP/1.0 always closes, `keep-alive` or not.
/// A Connection field that cannot be read closes too: to end a connection is always safe.
pub fn persistence(version: Version, headers: &HeaderMap) -> Persistence {
    let stays = |option: &[u8]| is_token(option) && !option.eq_ignore_ascii_case(b"close");
    match version {
        Version::Http11 if options(headers).all(stays) => Persistence::KeepAlive,
        Version::Http10 | Version::Http11 => Persistence::Close,
    }
}

/// The names of the fields that end at this hop because Connection names them (RFC 9110 7.6.1), as
/// received: compare them without case. The options `close` and `keep-alive` are among them, and
/// whatever else the peer chose to name, Host and Content-Length too: know the framing of the
/// message before a field is removed. What is not a token names no field and is left out.
pub fn nominated(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    options(headers)
        .filter(|option| is_token(option))
        .filter_map(|token| str::from_utf8(token).ok())
}

/// Whether the client waits for `100 (Continue)` before it sends the body, if it has one. Not in
/// HTTP/1.0, where the expectation is ignored as RFC 9110 10.1.1 asks. Any other expectation is a
/// fault (417).
pub fn expects_continue(head: &RequestHead) -> Result<bool, Error> {
    if head.version == Version::Http10 {
        return Ok(false);
    }
    expectation(&head.headers)
}

/// Whether these fields ask for `100 (Continue)`, in any version that has expectations.
pub fn expectation(headers: &HeaderMap) -> Result<bool, Error> {
    let mut waits = false;
    for value in headers.get_all(EXPECT) {
        if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            return Err(Error::Expectation);
        }
        waits = true;
    }
    Ok(waits)
}

/// The members of all Connection fields, without the empty ones (RFC 9110 5.6.1.2).
fn options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(CONNECTION)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(trim_ows)
        .filter(|option| !option.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn connection(lines: &[&'static str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| (CONNECTION, HeaderValue::from_static(line)))
            .collect()
    }

    #[test]
    fn a_connection_lives_on_unless_a_member_says_close() {
        let rows: &[(&[&'static str], Persistence)] = &[
            (&[], Persistence::KeepAlive),
            (&["keep-alive"], Persistence::KeepAlive),
            (&["close"], Persistence::Close),
            (&["Keep-Alive, CLOSE"], Persistence::Close),
            (&["x-trace", " ,close\t,"], Persistence::Close),
            (&["closed"], Persistence::KeepAlive),
            (&["close;now"], Persistence::Close),
            (&["a b"], Persistence::Close),
            (&["\"close\""], Persistence::Close),
        ];
        for (lines, expected) in rows {
            assert_eq!(
                persistence(Version::Http11, &connection(lines)),
                *expected,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn http10_closes_whatever_it_asks_for() {
        for lines in [&["keep-alive"][..], &[]] {
            assert_eq!(
                persistence(Version::Http10, &connection(lines)),
                Persistence::Close
            );
        }
    }

    #[test]
    fn the_names_of_all_connection_lines_are_nominated() {
        let headers = connection(&["close, X-Secret ,,\tte", "upgrade", "not a name, ok"]);
        let names: Vec<_> = nominated(&headers).collect();
        assert_eq!(names, ["close", "X-Secret", "te", "upgrade", "ok"]);
    }
}
