//! Each row of `tests/vectors` holds, whole and byte by byte.

use crate::support::{Body, Heads, Row, buffer, bytewise, decode, hear, rows};
use bytes::Bytes;
use http::{HeaderMap, Method};
use http1::connection::{Persistence, persistence};
use http1::framing::{self, Framing};
use http1::{Authority, Error, Limits, RequestReader, ResponseReader, Target, TargetForm};
use std::collections::HashSet;

const REQUESTS: &str = include_str!("../vectors/requests.txt");
const RESPONSES: &str = include_str!("../vectors/responses.txt");
const TARGETS: &str = include_str!("../vectors/targets.txt");
const BODIES: &str = include_str!("../vectors/bodies.txt");

pub(crate) fn requests() -> Vec<Row> {
    rows("requests.txt", REQUESTS, 3)
}

pub(crate) fn responses() -> Vec<Row> {
    rows("responses.txt", RESPONSES, 4)
}

pub(crate) fn bodies() -> Vec<Row> {
    rows("bodies.txt", BODIES, 4)
}

#[test]
fn each_request_has_the_outcome_of_its_row() {
    for row in requests() {
        let outcome = outcome::<RequestReader>(&row.bytes(), |head| {
            let framing = framing::request(head)?;
            Ok((framing, persistence(head.version, &head.headers)))
        });
        assert_eq!(outcome, row.columns[1], "{}", row.place);
    }
}

#[test]
fn each_response_has_the_outcome_of_its_row() {
    for row in responses() {
        let method: Method = row.columns[1].parse().unwrap();
        let outcome = outcome::<ResponseReader>(&row.bytes(), |head| {
            let framing = framing::response(&method, head)?;
            Ok((framing, persistence(head.version, &head.headers)))
        });
        assert_eq!(outcome, row.columns[2], "{}", row.place);
    }
}

#[test]
fn each_row_has_the_same_outcome_byte_by_byte() {
    fn same<R: Heads>(rows: Vec<Row>) {
        for row in rows {
            let bytes = row.bytes();
            let whole = hear::<R>(Limits::default(), [&bytes]);
            assert_eq!(
                hear::<R>(Limits::default(), bytewise(&bytes)),
                whole,
                "{}",
                row.place
            );
        }
    }
    same::<RequestReader>(requests());
    same::<ResponseReader>(responses());
    for row in bodies() {
        let (framing, bytes) = (framing_of(row.columns[1]), body_bytes(&row));
        let whole = decode(framing, Limits::default(), [&bytes]);
        assert_eq!(
            decode(framing, Limits::default(), bytewise(&bytes)),
            whole,
            "{}",
            row.place
        );
    }
}

#[test]
fn each_beginning_of_a_good_head_needs_more_and_is_left_alone() {
    fn needs_more<R: Heads>(rows: Vec<Row>) {
        for row in rows {
            let bytes = row.bytes();
            let mut whole = buffer(&bytes);
            if !matches!(R::new(Limits::default()).read(&mut whole), Ok(Some(_))) {
                continue;
            }
            let head = &bytes[..bytes.len() - whole.len()];
            // long heads are good for what they repeat: their ends are enough
            for end in (0..head.len()).filter(|end| *end < 600 || *end + 600 > head.len()) {
                let mut beginning = buffer(&head[..end]);
                let read = R::new(Limits::default()).read(&mut beginning);
                assert_eq!(read, Ok(None), "{} bytes of {}", end, row.place);
            }
        }
    }
    needs_more::<RequestReader>(requests());
    needs_more::<ResponseReader>(responses());
}

#[test]
fn each_target_has_the_form_of_its_row() {
    for row in rows("targets.txt", TARGETS, 4) {
        let method: Method = row.columns[1].parse().unwrap();
        let bytes = row.bytes();
        let outcome = match Target::parse(&method, Bytes::copy_from_slice(&bytes)) {
            Ok(target) => {
                assert_eq!(target.as_bytes(), bytes, "{}", row.place);
                describe(&target.form())
            }
            Err(fault) => fault.code().to_owned(),
        };
        let expected = String::from_utf8(crate::support::unescape(row.columns[2])).unwrap();
        assert_eq!(outcome, expected, "{}", row.place);
    }
}

#[test]
fn each_target_row_holds_in_a_request_line() {
    for row in rows("targets.txt", TARGETS, 4) {
        let line = [
            row.columns[1].as_bytes(),
            b" ",
            &row.bytes(),
            b" HTTP/1.1\r\n\r\n",
        ]
        .concat();
        let heard = hear::<RequestReader>(Limits::default(), [&line]);
        match heard.fault {
            Some(fault) => assert_eq!(fault.code(), row.columns[2], "{}", row.place),
            None => assert_eq!(
                heard.heads[0].target.as_bytes(),
                row.bytes(),
                "{}",
                row.place
            ),
        }
    }
}

#[test]
fn each_body_has_the_outcome_of_its_row() {
    for row in bodies() {
        let body = decode(
            framing_of(row.columns[1]),
            Limits::default(),
            [body_bytes(&row)],
        );
        let (outcome, expected) = match body.fault {
            Some(fault) => (
                fault.code().as_bytes().to_vec(),
                row.columns[2].as_bytes().to_vec(),
            ),
            None => (
                describe_body(&body),
                crate::support::unescape(row.columns[2]),
            ),
        };
        assert_eq!(
            outcome.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "{}",
            row.place
        );
    }
}

#[test]
fn each_fault_has_a_row_or_a_test_of_its_own() {
    // neither is an outcome of bytes alone
    let elsewhere = ["head_incomplete", "expectation"];
    let files = [REQUESTS, RESPONSES, TARGETS, BODIES];
    let words: HashSet<_> = files
        .iter()
        .flat_map(|file| file.split_whitespace())
        .collect();
    for fault in Error::ALL {
        let code = fault.code();
        assert!(words.contains(code) || elsewhere.contains(&code), "{code}");
    }
}

fn outcome<R: Heads>(
    bytes: &[u8],
    judge: impl Fn(&R::Head) -> Result<(Framing, Persistence), Error>,
) -> String {
    let mut whole = buffer(bytes);
    let judged = R::new(Limits::default())
        .read(&mut whole)
        .and_then(|head| head.as_ref().map(judge).transpose());
    match judged {
        Ok(None) => "more".to_owned(),
        Ok(Some((framing, persistence))) => {
            let framing = match framing {
                Framing::None => "none".to_owned(),
                Framing::Length(length) => format!("length={length}"),
                Framing::Chunked => "chunked".to_owned(),
                Framing::UntilClose => "until_close".to_owned(),
            };
            let persistence = match persistence {
                Persistence::KeepAlive => "keep-alive",
                Persistence::Close => "close",
            };
            format!("{framing},{persistence}")
        }
        Err(fault) => fault.code().to_owned(),
    }
}

pub(crate) fn framing_of(word: &str) -> Framing {
    match word.split_once('=') {
        Some(("length", length)) => Framing::Length(length.parse().unwrap()),
        None if word == "none" => Framing::None,
        None if word == "chunked" => Framing::Chunked,
        None if word == "until_close" => Framing::UntilClose,
        _ => panic!("no framing: {word}"),
    }
}

pub(crate) fn body_bytes(row: &Row) -> Vec<u8> {
    match row.columns[3] {
        "empty" => Vec::new(),
        _ => row.bytes(),
    }
}

fn describe(form: &TargetForm<'_>) -> String {
    let port = |authority: &Authority<'_>| match authority.port {
        Some(port) => port.to_string(),
        None => "-".to_owned(),
    };
    let (parts, query) = match form {
        TargetForm::Origin { path, query } => (format!("origin:{path}"), *query),
        TargetForm::Absolute {
            scheme,
            authority,
            path,
            query,
        } => {
            let (host, port) = (authority.host, port(authority));
            (format!("absolute:{scheme}:{host}:{port}:{path}"), *query)
        }
        TargetForm::Authority(authority) => (
            format!("authority:{}:{}", authority.host, port(authority)),
            None,
        ),
        TargetForm::Asterisk => ("asterisk".to_owned(), None),
    };
    match query {
        Some(query) => format!("{parts}?{query}"),
        None => parts,
    }
}

fn describe_body(body: &Body) -> Vec<u8> {
    let mut text = [b"data=", &body.data[..]].concat();
    if !body.trailers.is_empty() {
        text.extend_from_slice(b";trailers=");
        text.extend(describe_fields(&body.trailers));
    }
    let left = body.left.as_deref().unwrap_or_default();
    if !left.is_empty() {
        text.extend_from_slice(b";rest=");
        text.extend_from_slice(left);
    }
    text
}

fn describe_fields(fields: &HeaderMap) -> Vec<u8> {
    let each: Vec<_> = fields
        .iter()
        .map(|(name, value)| [name.as_str().as_bytes(), b":", value.as_bytes()].concat())
        .collect();
    each.join(&b","[..])
}
