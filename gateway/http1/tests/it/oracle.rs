//! An independent reader, httparse, on the same bytes: what we accept it reads the same way, and
//! where it is more lenient stands in a table.

use crate::laws::{nearly, request_seeds, response_seeds};
use crate::support::{buffer, hear};
use bytes::BytesMut;
use http::HeaderMap;
use http1::{Limits, RequestReader, ResponseReader, Version};
use httparse::{EMPTY_HEADER, Header, Request, Response, Status};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_request_that_is_accepted_reads_the_same_in_httparse(input in nearly(request_seeds())) {
        let mut buffer = BytesMut::from(&input[..]);
        if let Ok(Some(head)) = RequestReader::new(Limits::default()).read(&mut buffer) {
            let mut fields = [EMPTY_HEADER; 100];
            let mut theirs = Request::new(&mut fields);
            prop_assert_eq!(theirs.parse(&input), Ok(Status::Complete(input.len() - buffer.len())));
            prop_assert_eq!(theirs.method, Some(head.method.as_str()));
            prop_assert_eq!(theirs.path, Some(head.target.as_str()));
            prop_assert_eq!(theirs.version, Some(u8::from(head.version == Version::Http11)));
            prop_assert_eq!(collected(theirs.headers), head.headers);
        }
    }

    #[test]
    fn a_response_that_is_accepted_reads_the_same_in_httparse(input in nearly(response_seeds())) {
        let mut buffer = BytesMut::from(&input[..]);
        if let Ok(Some(head)) = ResponseReader::new(Limits::default()).read(&mut buffer) {
            let mut fields = [EMPTY_HEADER; 100];
            let mut theirs = Response::new(&mut fields);
            prop_assert_eq!(theirs.parse(&input), Ok(Status::Complete(input.len() - buffer.len())));
            prop_assert_eq!(theirs.code, Some(head.status.as_u16()));
            prop_assert_eq!(theirs.version, Some(u8::from(head.version == Version::Http11)));
            prop_assert_eq!(collected(theirs.headers), head.headers);
        }
    }
}

fn collected(fields: &[Header<'_>]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for field in fields {
        let name: http::HeaderName = field.name.parse().unwrap();
        map.append(name, http::HeaderValue::from_bytes(field.value).unwrap());
    }
    map
}

/// Requests that httparse accepts and RFC 9112 does not: why the codec does not rest on it.
const LENIENT: &[(&[u8], &str)] = &[
    (b"GET / HTTP/1.1\nHost: a\n\n", "bare_lf"),
    (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "bare_lf"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\n", "bare_lf"),
    (b"\n\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "bare_lf"),
    (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "empty_line"),
    (
        b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
        "target_byte",
    ),
    (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "target_byte"),
    (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", "target_form"),
    (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "target_form"),
];

#[test]
fn what_httparse_lets_pass_is_refused() {
    for (bytes, code) in LENIENT {
        let mut fields = [EMPTY_HEADER; 8];
        let theirs = Request::new(&mut fields).parse(bytes);
        assert_eq!(
            theirs,
            Ok(Status::Complete(bytes.len())),
            "{}",
            bytes.escape_ascii()
        );
        let fault = RequestReader::new(Limits::default())
            .read(&mut buffer(bytes))
            .unwrap_err();
        assert_eq!(fault.code(), *code, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_status_above_the_classes_is_refused_where_httparse_lets_it_pass() {
    let bytes = b"HTTP/1.1 600 High\r\n\r\n";
    let mut fields = [EMPTY_HEADER; 1];
    assert!(
        Response::new(&mut fields)
            .parse(bytes)
            .unwrap()
            .is_complete()
    );
    let heard = hear::<ResponseReader>(Limits::default(), [bytes]);
    assert_eq!(heard.fault.map(|fault| fault.code()), Some("status_code"));
}
