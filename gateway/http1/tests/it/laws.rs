//! Laws that hold for any bytes: no split changes a reading, nothing panics, no limit is crossed.

use crate::support::{Heads, Row, bytewise, decode, hear};
use crate::vectors::{bodies, body_bytes, framing_of, requests, responses};
use bytes::BytesMut;
use http::{HeaderValue, Method};
use http1::framing::{self, Framing};
use http1::{Limits, RequestReader, ResponseReader};
use proptest::prelude::*;
use proptest::sample::{Index, select};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_split_changes_how_requests_are_read(
        input in nearly(request_seeds()),
        limits in limits(),
        cuts in cuts(),
    ) {
        same_however_split::<RequestReader>(&input, limits, &cuts)?;
    }

    #[test]
    fn no_split_changes_how_responses_are_read(
        input in nearly(response_seeds()),
        limits in limits(),
        cuts in cuts(),
    ) {
        same_however_split::<ResponseReader>(&input, limits, &cuts)?;
    }

    #[test]
    fn no_split_changes_how_a_body_is_read(
        (framing, input) in nearly_a_body(),
        limits in limits(),
        cuts in cuts(),
    ) {
        let whole = decode(framing, limits, [&input]);
        prop_assert_eq!(&decode(framing, limits, pieces(&input, &cuts)), &whole);
        prop_assert_eq!(&decode(framing, limits, bytewise(&input)), &whole);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_and_alike_however_split(
        input in prop::collection::vec(any::<u8>(), 0..200),
        limits in limits(),
        cuts in cuts(),
    ) {
        same_however_split::<RequestReader>(&input, limits, &cuts)?;
        same_however_split::<ResponseReader>(&input, limits, &cuts)?;
        for framing in [Framing::Length(100), Framing::Chunked, Framing::UntilClose] {
            let whole = decode(framing, limits, [&input]);
            prop_assert_eq!(&decode(framing, limits, pieces(&input, &cuts)), &whole);
        }
    }

    #[test]
    fn a_head_that_is_read_is_within_its_limits(
        input in nearly(request_seeds()),
        limits in limits(),
    ) {
        let mut reader = RequestReader::new(limits);
        let mut buffer = BytesMut::from(&input[..]);
        while let Ok(Some(head)) = reader.read(&mut buffer) {
            prop_assert!(head.target.as_bytes().len() <= limits.target_bytes);
            prop_assert!(head.headers.len() <= limits.fields);
            let values: usize = head.headers.values().map(HeaderValue::len).sum();
            prop_assert!(values <= limits.head_bytes);
        }
    }

    #[test]
    fn a_reader_asks_for_no_more_than_its_limit(
        input in nearly(request_seeds()),
        limits in limits(),
    ) {
        for end in 0..=input.len() {
            let mut buffer = BytesMut::from(&input[..end]);
            let mut reader = RequestReader::new(limits);
            while let Ok(Some(_)) = reader.read(&mut buffer) {}
            if let Ok(None) = reader.read(&mut buffer) {
                prop_assert!(buffer.len() < limits.head_bytes);
            }
        }
    }

    #[test]
    fn a_length_is_read_as_digits_alone(value in "[0-9]{1,24}|[ +-]?[0-9]{1,3}[ ,;x]?[0-9]{0,2}") {
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {value}\r\n\r\n");
        let heard = hear::<RequestReader>(Limits::default(), [head]);
        let read = framing::request(&heard.heads[0]).ok();
        let trimmed = value.trim_matches(' ');
        let digits = trimmed.bytes().all(|byte| byte.is_ascii_digit());
        let expected = trimmed.parse().ok().filter(|_| digits);
        prop_assert_eq!(read, expected.map(Framing::Length));
    }

    #[test]
    fn a_body_of_any_chunks_is_their_data(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        cuts in cuts(),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend(format!("{:X}\r\n", chunk.len()).bytes());
            wire.extend(chunk);
            wire.extend(b"\r\n");
        }
        wire.extend(b"0\r\n\r\nrest");
        let body = decode(Framing::Chunked, Limits::default(), pieces(&wire, &cuts));
        prop_assert_eq!(body.fault, None);
        prop_assert_eq!(body.data, chunks.concat());
        prop_assert_eq!(body.left, Some(b"rest".to_vec()));
    }
}

/// Bytes of a vector file with a few of them changed: what is nearly right finds more than noise.
pub(crate) fn nearly(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    edited(select(seeds))
}

fn nearly_a_body() -> impl Strategy<Value = (Framing, Vec<u8>)> {
    select(body_seeds()).prop_flat_map(|(framing, seed)| (Just(framing), edited(Just(seed))))
}

fn edited(seed: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<Index>(), 0..3_u8, piece());
    (seed, prop::collection::vec(edit, 0..4)).prop_map(|(mut bytes, edits)| {
        for (place, kind, piece) in edits {
            let start = place.index(bytes.len() + 1);
            let end = match kind {
                0 => start,
                1 => bytes.len().min(start + 1),
                _ => bytes.len().min(start + piece.len()),
            };
            let piece = if kind == 1 { Vec::new() } else { piece };
            bytes.splice(start..end, piece);
        }
        bytes
    })
}

/// What the readers look for, and now and then any byte.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&[u8]> = vec![
        b"\r\n",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"0",
        b"\0",
        b"\x7f",
        b"\x80",
        b"#",
        b"*",
        b"GET / HTTP/1.1\r\n",
        b"Content-Length: 1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"X: y\r\n",
    ];
    prop_oneof![
        3 => select(known).prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ]
}

/// The default, and small ones that short input can cross.
fn limits() -> impl Strategy<Value = Limits> {
    prop_oneof![
        Just(Limits::default()),
        (1..120_usize, 0..40_usize, 0..6_usize).prop_map(|(head_bytes, target_bytes, fields)| {
            Limits {
                head_bytes,
                target_bytes,
                fields,
            }
        }),
    ]
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 0..6)
}

fn pieces<'a>(input: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    places.extend([0, input.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &input[pair[0]..pair[1]])
        .collect()
}

fn same_however_split<R: Heads>(
    input: &[u8],
    limits: Limits,
    cuts: &[Index],
) -> Result<(), TestCaseError> {
    let whole = hear::<R>(limits, [input]);
    prop_assert_eq!(&hear::<R>(limits, pieces(input, cuts)), &whole);
    prop_assert_eq!(&hear::<R>(limits, bytewise(input)), &whole);
    Ok(())
}

/// Those that are short enough to be edited to effect.
fn short(bytes: &[u8]) -> bool {
    bytes.len() < 1_000
}

pub(crate) fn request_seeds() -> Vec<Vec<u8>> {
    requests()
        .iter()
        .map(Row::bytes)
        .filter(|bytes| short(bytes))
        .collect()
}

pub(crate) fn response_seeds() -> Vec<Vec<u8>> {
    responses()
        .iter()
        .map(Row::bytes)
        .filter(|bytes| short(bytes))
        .collect()
}

fn body_seeds() -> Vec<(Framing, Vec<u8>)> {
    bodies()
        .iter()
        .map(|row| (framing_of(row.columns[1]), body_bytes(row)))
        .filter(|(_, bytes)| short(bytes))
        .collect()
}

#[test]
fn nothing_is_framed_in_two_ways() {
    // whichever fields stand in a head, at most one of the rules for a body applies
    let lines = [
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X: y\r\n",
    ];
    for first in lines {
        for second in lines {
            let request = format!("POST / HTTP/1.1\r\n{first}{second}\r\n");
            let response = format!("HTTP/1.1 200 OK\r\n{first}{second}\r\n");
            let request = &hear::<RequestReader>(Limits::default(), [request]).heads[0];
            let response = &hear::<ResponseReader>(Limits::default(), [response]).heads[0];
            let framing_lines = [first, second]
                .iter()
                .filter(|line| **line != "X: y\r\n")
                .count();
            let unambiguous = framing_lines < 2;
            assert_eq!(
                framing::request(request).is_ok(),
                unambiguous,
                "{first}{second}"
            );
            assert_eq!(
                framing::response(&Method::GET, response).is_ok(),
                unambiguous,
                "{first}{second}"
            );
        }
    }
}
