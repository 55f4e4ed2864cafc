//! What is written is what is read back, and nothing is written that could not be.

use crate::laws::limits;
use crate::support::{decode, hear};
use bytes::BytesMut;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, StatusCode};
use http1::connection::{Persistence, persistence};
use http1::encode::{self, Answered, EncodeError};
use http1::framing::{self, Framing};
use http1::{Limits, RequestReader, ResponseReader, Version, may_be_trailer};
use proptest::prelude::*;
use proptest::sample::select;
use std::num::NonZeroUsize;

const BY_HTTP11: Answered = Answered {
    version: Version::Http11,
    is_head: false,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_request_is_read_as_it_was_written(
        method in methods(),
        target in "/[!-\"$-~]{0,30}",
        headers in fields(),
        body in select(vec![Framing::None, Framing::Length(0), Framing::Length(u64::MAX), Framing::Chunked]),
        keep in select(vec![Persistence::KeepAlive, Persistence::Close]),
    ) {
        let mut out = BytesMut::new();
        encode::request(&mut out, &method, target.as_bytes(), &headers, body, keep).unwrap();
        let heard = hear::<RequestReader>(Limits::default(), [&out]);
        prop_assert_eq!(heard.fault, None);
        prop_assert_eq!(heard.left, Some(Vec::new()));
        let head = &heard.heads[0];
        prop_assert_eq!(&head.method, &method);
        prop_assert_eq!(head.target.as_str(), target);
        prop_assert_eq!(framing::request(head), Ok(body));
        prop_assert_eq!(persistence(head.version, &head.headers), keep);
        prop_assert_eq!(without_ours(&head.headers), without_ours(&headers));
    }

    #[test]
    fn a_response_is_read_as_it_was_written(
        code in 100..600_u16,
        headers in fields(),
        body in select(vec![Framing::None, Framing::Length(0), Framing::Length(7), Framing::Chunked, Framing::UntilClose]),
        is_head in any::<bool>(),
        version in select(vec![Version::Http10, Version::Http11]),
        keep in select(vec![Persistence::KeepAlive, Persistence::Close]),
    ) {
        let status = StatusCode::from_u16(code).unwrap();
        let answered = Answered { version, is_head };
        let mut out = BytesMut::new();
        if encode::response(&mut out, status, &headers, body, answered, keep).is_err() {
            prop_assert!(out.is_empty(), "a refusal leaves the buffer as it was");
            return Ok(());
        }
        let heard = hear::<ResponseReader>(Limits::default(), [&out]);
        prop_assert_eq!(heard.fault, None);
        prop_assert_eq!(heard.left, Some(Vec::new()));
        let head = &heard.heads[0];
        prop_assert_eq!(head.status, status);
        prop_assert_eq!(without_ours(&head.headers), without_ours(&headers));
        let bodiless = is_head || code < 200 || code == 204 || code == 304;
        let expected = match body {
            _ if bodiless => Framing::None,
            Framing::None => Framing::Length(0),
            other => other,
        };
        let method = if is_head { Method::HEAD } else { Method::GET };
        prop_assert_eq!(framing::response(&method, head), Ok(expected));
        if version == Version::Http10 || (keep == Persistence::Close && code >= 200) {
            prop_assert_eq!(persistence(head.version, &head.headers), Persistence::Close);
        }
    }

    #[test]
    fn chunks_and_trailers_are_read_as_they_were_written(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..5),
        fields in fields(),
    ) {
        let trailers = trailers_of(&fields);
        let mut out = BytesMut::new();
        for chunk in &chunks {
            encode::chunk_head(&mut out, NonZeroUsize::new(chunk.len()).unwrap());
            out.extend_from_slice(chunk);
            out.extend_from_slice(encode::CHUNK_END);
        }
        encode::last_chunk(&mut out, &trailers).unwrap();
        let body = decode(Framing::Chunked, Limits::default(), [&out]);
        prop_assert_eq!(body.fault, None);
        prop_assert_eq!(body.data, chunks.concat());
        prop_assert_eq!(body.trailers, trailers);
        prop_assert_eq!(body.left, Some(Vec::new()));
    }

    #[test]
    fn a_target_is_written_only_if_it_can_be_read(
        method in select(vec![Method::GET, Method::OPTIONS, Method::CONNECT]),
        target in "[ -~]{0,3}(\\*|/|://|:)?[\\x00-\\x7f]{0,6}",
    ) {
        let mut out = BytesMut::new();
        let written = encode::request(&mut out, &method, target.as_bytes(), &HeaderMap::new(), Framing::None, Persistence::KeepAlive);
        let line = format!("{method} {target} HTTP/1.1\r\n\r\n");
        let read = hear::<RequestReader>(Limits::default(), [&line]);
        let whole = read.fault.is_none() && read.heads.len() == 1 && read.left == Some(Vec::new());
        prop_assert_eq!(written.is_ok(), whole && read.heads[0].target.as_str() == target);
        prop_assert_eq!(out.is_empty(), written.is_err());
    }

    #[test]
    fn limits_of_any_size_are_taken(limits in limits()) {
        prop_assert_eq!(hear::<RequestReader>(limits, [b""]).fault.is_some(), limits.head_bytes == 0);
    }
}

fn methods() -> impl Strategy<Value = Method> {
    let known = vec![
        Method::GET,
        Method::POST,
        Method::HEAD,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let any = "[A-Z][!#$%&'*+.^_`|~0-9A-Za-z-]{0,31}".prop_map(|token| token.parse().unwrap());
    prop_oneof![select(known), any].prop_filter("CONNECT has a form of its own", |method| {
        method != Method::CONNECT
    })
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    let names = vec![
        "host",
        "accept",
        "x-a",
        "x-b",
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "!#$%&'*+-.^_`|~09az",
    ];
    let value = prop_oneof![
        select(vec![
            &b""[..],
            b"a",
            b"chunked",
            b"5",
            b"close",
            b"a \t b",
            b"\xff\x80\t\x80"
        ])
        .prop_map(<[u8]>::to_vec),
        "[!-~]([ -~\t]{0,20}[!-~])?".prop_map(String::into_bytes),
    ];
    prop::collection::vec((select(names), value), 0..8).prop_map(|fields| {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(&value).unwrap(),
            );
        }
        map
    })
}

fn without_ours(headers: &HeaderMap) -> HeaderMap {
    let mut rest = headers.clone();
    for ours in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION] {
        rest.remove(ours);
    }
    rest
}

fn trailers_of(fields: &HeaderMap) -> HeaderMap {
    let kept = fields.iter().filter(|(name, _)| may_be_trailer(name));
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn written_request(headers: &HeaderMap, body: Framing, persistence: Persistence) -> String {
    let mut out = BytesMut::new();
    encode::request(&mut out, &Method::POST, b"/a?b", headers, body, persistence).unwrap();
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
    encode::response(&mut out, status, &HeaderMap::new(), body, answered, keep)?;
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
fn framing_fields_of_the_caller_are_left_out() {
    let headers = map(&[
        (CONTENT_LENGTH, "5"),
        (HOST, "a"),
        (TRANSFER_ENCODING, "gzip, chunked"),
        (CONNECTION, "x-secret, keep-alive"),
    ]);
    assert_eq!(
        written_request(&headers, Framing::Length(7), Persistence::Close),
        "POST /a?b HTTP/1.1\r\nhost: a\r\ncontent-length: 7\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(
        written_request(&headers, Framing::Chunked, Persistence::KeepAlive),
        "POST /a?b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    assert_eq!(
        written_request(&headers, Framing::None, Persistence::KeepAlive),
        "POST /a?b HTTP/1.1\r\nhost: a\r\n\r\n"
    );
}

#[test]
fn te_and_upgrade_are_named_in_connection() {
    let headers = map(&[(TE, "trailers"), (UPGRADE, "websocket")]);
    let head = written_request(&headers, Framing::None, Persistence::Close);
    assert!(
        head.ends_with("connection: close, te, upgrade\r\n\r\n"),
        "{head}"
    );
    let head = written_request(
        &map(&[(UPGRADE, "websocket")]),
        Framing::None,
        Persistence::KeepAlive,
    );
    assert!(head.ends_with("connection: upgrade\r\n\r\n"), "{head}");
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
    let keep = Persistence::KeepAlive;

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
fn the_interim_response_is_one_that_is_read() {
    let heard = hear::<ResponseReader>(Limits::default(), [encode::CONTINUE]);
    assert_eq!(heard.heads[0].status, StatusCode::CONTINUE);
    assert_eq!(heard.left, Some(Vec::new()));
}
