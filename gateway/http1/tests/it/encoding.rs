//! What is written, row by row, and what is refused to be written.

use crate::support::hear;
use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use http::header::{TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, StatusCode};
use http1::connection::Persistence;
use http1::encode::{self, Answered, EncodeError, Hop};
use http1::framing::Framing;
use http1::{Limits, ResponseReader, Version};
use std::num::NonZeroUsize;

const BY_HTTP11: Answered = Answered {
    version: Version::Http11,
    is_head: false,
};

fn written_request(headers: &HeaderMap, body: Framing, hop: Hop<'_>) -> String {
    let mut out = BytesMut::new();
    encode::request(&mut out, &Method::POST, b"/a?b", headers, body, hop).unwrap();
    String::from_utf8(out.to_vec()).unwrap()
}

fn response_of(
    code: u16,
    body: Framing,
    answered: Answered,
    keep: Persistence,
) -> Result<String, EncodeError> {
    let mut out = BytesMut::new();
    let status = StatusCode::from_u16(code).unwrap();
    encode::response(
        &mut out,
        status,
        &HeaderMap::new(),
        body,
        answered,
        keep.into(),
    )?;
    Ok(String::from_utf8(out.to_vec()).unwrap())
}

fn map(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(name, HeaderValue::from_static(value));
    }
    map
}

#[test]
fn fields_of_this_hop_that_the_caller_holds_are_left_out() {
    let headers = map(&[
        (CONTENT_LENGTH, "5"),
        (HOST, "a"),
        (TRANSFER_ENCODING, "gzip, chunked"),
        (CONNECTION, "upgrade, http2-settings, keep-alive"),
        (UPGRADE, "h2c"),
        (TE, "gzip"),
        (HeaderName::from_static("keep-alive"), "timeout=5"),
        (HeaderName::from_static("proxy-connection"), "keep-alive"),
    ]);
    let rows = [
        (Framing::None, Persistence::KeepAlive, ""),
        (
            Framing::Length(7),
            Persistence::Close,
            "content-length: 7\r\nconnection: close\r\n",
        ),
        (
            Framing::Chunked,
            Persistence::KeepAlive,
            "transfer-encoding: chunked\r\n",
        ),
    ];
    for (body, persistence, ours) in rows {
        assert_eq!(
            written_request(&headers, body, persistence.into()),
            format!("POST /a?b HTTP/1.1\r\nhost: a\r\n{ours}\r\n")
        );
    }
}

#[test]
fn an_upgrade_and_te_are_written_when_asked_for_and_named_in_connection() {
    let websocket = HeaderValue::from_static("websocket");
    let hop = Hop {
        persistence: Persistence::Close,
        upgrade: Some(&websocket),
        reads_trailers: true,
    };
    let head = written_request(&HeaderMap::new(), Framing::None, hop);
    let expected = "te: trailers\r\nupgrade: websocket\r\nconnection: close, te, upgrade\r\n\r\n";
    assert!(head.ends_with(expected), "{head}");

    let mut out = BytesMut::new();
    let status = StatusCode::SWITCHING_PROTOCOLS;
    encode::response(
        &mut out,
        status,
        &HeaderMap::new(),
        Framing::None,
        BY_HTTP11,
        hop,
    )
    .unwrap();
    let expected =
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    assert_eq!(out, expected);
}

#[test]
fn each_response_declares_what_its_status_and_request_allow() {
    use Framing::{Chunked, Length, None, UntilClose};
    use Persistence::{Close, KeepAlive};
    let to = |version, is_head| Answered { version, is_head };
    let head = to(Version::Http11, true);
    let old = to(Version::Http10, false);
    let rows: &[(u16, Framing, Answered, Persistence, &str)] = &[
        (
            200,
            Length(5),
            BY_HTTP11,
            KeepAlive,
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
        ),
        (
            200,
            None,
            BY_HTTP11,
            KeepAlive,
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            200,
            Chunked,
            BY_HTTP11,
            KeepAlive,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (
            200,
            UntilClose,
            BY_HTTP11,
            Close,
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        ),
        (
            299,
            Length(u64::MAX),
            BY_HTTP11,
            Close,
            "HTTP/1.1 299 \r\ncontent-length: 18446744073709551615\r\nconnection: close\r\n\r\n",
        ),
        (
            200,
            Length(5),
            head,
            KeepAlive,
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
        ),
        (
            200,
            Chunked,
            head,
            KeepAlive,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (200, None, head, KeepAlive, "HTTP/1.1 200 OK\r\n\r\n"),
        (200, UntilClose, head, KeepAlive, "HTTP/1.1 200 OK\r\n\r\n"),
        (
            304,
            Length(5),
            BY_HTTP11,
            KeepAlive,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
        ),
        (
            304,
            None,
            BY_HTTP11,
            KeepAlive,
            "HTTP/1.1 304 Not Modified\r\n\r\n",
        ),
        (
            304,
            UntilClose,
            BY_HTTP11,
            KeepAlive,
            "HTTP/1.1 304 Not Modified\r\n\r\n",
        ),
        (
            204,
            None,
            BY_HTTP11,
            KeepAlive,
            "HTTP/1.1 204 No Content\r\n\r\n",
        ),
        (
            101,
            None,
            BY_HTTP11,
            Close,
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ),
        (
            200,
            Length(5),
            old,
            KeepAlive,
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n",
        ),
        (
            200,
            UntilClose,
            old,
            KeepAlive,
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        ),
    ];
    for (code, body, answered, keep, expected) in rows {
        let written = response_of(*code, *body, *answered, *keep);
        assert_eq!(
            written.as_deref(),
            Ok(*expected),
            "{code} {body:?} {answered:?} {keep:?}"
        );
    }
}

#[test]
fn a_response_that_contradicts_itself_is_not_written() {
    use Framing::{Chunked, Length, None, UntilClose};
    use Persistence::{Close, KeepAlive};
    let old = Answered {
        version: Version::Http10,
        is_head: false,
    };
    let status = |code| StatusCode::from_u16(code).unwrap();
    let rows: &[(u16, Framing, Answered, Persistence, EncodeError)] = &[
        (
            600,
            Length(0),
            BY_HTTP11,
            Close,
            EncodeError::Status(status(600)),
        ),
        (
            204,
            Length(0),
            BY_HTTP11,
            Close,
            EncodeError::BodyOnBodilessStatus(status(204)),
        ),
        (
            204,
            Chunked,
            BY_HTTP11,
            Close,
            EncodeError::BodyOnBodilessStatus(status(204)),
        ),
        (
            204,
            UntilClose,
            BY_HTTP11,
            Close,
            EncodeError::BodyOnBodilessStatus(status(204)),
        ),
        (
            101,
            Length(5),
            BY_HTTP11,
            Close,
            EncodeError::BodyOnBodilessStatus(status(101)),
        ),
        (
            200,
            UntilClose,
            BY_HTTP11,
            KeepAlive,
            EncodeError::KeepAliveUntilClose,
        ),
        (200, Chunked, old, Close, EncodeError::ChunkedToHttp10),
        (100, None, old, Close, EncodeError::InterimToHttp10),
    ];
    for (code, body, answered, keep, expected) in rows {
        assert_eq!(
            response_of(*code, *body, *answered, *keep),
            Err(*expected),
            "{code} {body:?}"
        );
    }
}

#[test]
fn what_a_reader_would_refuse_is_not_written() {
    let mut out = BytesMut::from("before");
    let quoted = HeaderName::from_lowercase(b"x\"y")
        .expect("http lets HTTP/2 names pass with a quotation mark");
    let mut headers = HeaderMap::new();
    headers.insert(quoted, HeaderValue::from_static("a"));
    let none = HeaderMap::new();
    let long: Method = "M".repeat(33).parse().unwrap();
    let keep = Hop::from(Persistence::KeepAlive);

    let refused = [
        encode::request(&mut out, &Method::GET, b"/", &headers, Framing::None, keep),
        encode::response(
            &mut out,
            StatusCode::OK,
            &headers,
            Framing::None,
            BY_HTTP11,
            keep,
        ),
        encode::last_chunk(&mut out, &headers),
        encode::request(&mut out, &long, b"/", &none, Framing::None, keep),
        encode::request(
            &mut out,
            &Method::GET,
            b"/",
            &none,
            Framing::UntilClose,
            keep,
        ),
        encode::last_chunk(&mut out, &map(&[(CONTENT_LENGTH, "5")])),
    ];
    let expected = [
        EncodeError::FieldName,
        EncodeError::FieldName,
        EncodeError::FieldName,
        EncodeError::MethodTooLong,
        EncodeError::RequestUntilClose,
        EncodeError::Trailer,
    ];
    assert_eq!(refused, expected.map(Err));
    for target in [
        &b""[..],
        b"/ HTTP/1.1\r\nX: y",
        b"/\xc3\xa9",
        b"/a#b",
        b"*",
        b"a",
    ] {
        let written = encode::request(&mut out, &Method::GET, target, &none, Framing::None, keep);
        assert!(
            matches!(written, Err(EncodeError::Target(_))),
            "{}",
            target.escape_ascii()
        );
    }
    assert_eq!(out, "before");
}

#[test]
fn chunk_sizes_are_the_shortest_hexadecimal_digits() {
    let most = format!("{:x}", usize::MAX);
    let rows = [
        (1, "1"),
        (15, "f"),
        (16, "10"),
        (4096, "1000"),
        (usize::MAX, &most),
    ];
    for (length, digits) in rows {
        let mut out = BytesMut::new();
        encode::chunk_head(&mut out, NonZeroUsize::new(length).unwrap());
        assert_eq!(out, format!("{digits}\r\n"));
    }
    let mut out = BytesMut::new();
    encode::last_chunk(&mut out, &HeaderMap::new()).unwrap();
    encode::last_chunk(&mut out, &map(&[(HeaderName::from_static("x-a"), "b")])).unwrap();
    assert_eq!(out, "0\r\n\r\n0\r\nx-a: b\r\n\r\n");
}

#[test]
fn the_interim_response_is_one_that_is_read() {
    let heard = hear::<ResponseReader>(Limits::default(), [encode::CONTINUE]);
    assert_eq!(heard.heads[0].status, StatusCode::CONTINUE);
    assert_eq!(heard.left, Some(Vec::new()));
}
