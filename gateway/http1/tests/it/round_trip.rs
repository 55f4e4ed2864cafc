//! What is written is what is read back.

use crate::support::{decode, hear};
use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue};
use http::header::{TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, StatusCode};
use http1::connection::{Persistence, persistence};
use http1::encode::{self, Answered};
use http1::framing::{self, Framing};
use http1::{Limits, RequestReader, ResponseReader, Version, may_be_trailer};
use proptest::prelude::*;
use proptest::sample::select;
use std::num::NonZeroUsize;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_request_is_read_as_it_was_written(
        method in methods(),
        target in "/[!-\"$-~]{0,30}",
        headers in fields(),
        body in select(vec![Framing::None, Framing::Length(0), BIGGEST, Framing::Chunked]),
        keep in persistences(),
    ) {
        let mut out = BytesMut::new();
        encode::request(&mut out, &method, target.as_bytes(), &headers, body, keep.into()).unwrap();
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
        body in select(vec![Framing::None, BIGGEST, Framing::Chunked, Framing::UntilClose]),
        is_head in any::<bool>(),
        version in select(vec![Version::Http10, Version::Http11]),
        keep in persistences(),
    ) {
        let status = StatusCode::from_u16(code).unwrap();
        let answered = Answered { version, is_head };
        let mut out = BytesMut::new();
        if encode::response(&mut out, status, &headers, body, answered, keep.into()).is_err() {
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
        let (none, keep) = (HeaderMap::new(), Persistence::KeepAlive.into());
        let bytes = target.as_bytes();
        let written = encode::request(&mut out, &method, bytes, &none, Framing::None, keep);
        let line = format!("{method} {target} HTTP/1.1\r\n\r\n");
        let read = hear::<RequestReader>(Limits::default(), [&line]);
        let whole = read.fault.is_none() && read.heads.len() == 1 && read.left == Some(Vec::new());
        prop_assert_eq!(written.is_ok(), whole && read.heads[0].target.as_str() == target);
        prop_assert_eq!(out.is_empty(), written.is_err());
    }
}

const BIGGEST: Framing = Framing::Length(u64::MAX);

fn persistences() -> impl Strategy<Value = Persistence> {
    select(vec![Persistence::KeepAlive, Persistence::Close])
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
    for ours in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, TE, UPGRADE] {
        rest.remove(ours);
    }
    rest
}

fn trailers_of(fields: &HeaderMap) -> HeaderMap {
    let kept = fields.iter().filter(|(name, _)| may_be_trailer(name));
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
