//! What is handed to the caller: places of faults, pieces of the buffer, and nothing that prints a
//! secret.

use crate::support::{buffer, decode, hear};
use bytes::BytesMut;
use http1::body::{Decoder, Frame};
use http1::connection::expects_continue;
use http1::framing::Framing;
use http1::{Error, Limits, RequestReader, ResponseReader};

const REQUEST: &[u8] =
    b"POST /Patient/Doe?name=Jane HTTP/1.1\r\nAuthorization: Bearer s3cret\r\nX-A:  b \r\n\r\nbody";

#[test]
fn a_fault_in_a_head_says_where_it_stands() {
    let rows: &[(&[u8], Error)] = &[
        (b"GET / HTTP/1.1\n", Error::BareLf { at: 14 }),
        (b"GET / HTTP/1.1\r\nA: b\rc", Error::BareCr { at: 20 }),
        (b"\r\nGET / HTTP/1.1\r\nA: b\n", Error::BareLf { at: 20 }),
        (b"G(T / HTTP/1.1\r\n", Error::Method { at: 1 }),
        (b"GET  / HTTP/1.1\r\n", Error::RequestLine { at: 4 }),
        (b"GET / HTTP/1.1 \r\n", Error::RequestLine { at: 14 }),
        (b"GET / HTTP/1_1\r\n", Error::Version { at: 6 }),
        (b"GET /ab#c HTTP/1.1\r\n", Error::TargetByte { at: 7 }),
        (b"GET ab HTTP/1.1\r\n", Error::TargetForm { at: 4 }),
        (
            b"GET http://a@b/ HTTP/1.1\r\n",
            Error::TargetAuthority { at: 11 },
        ),
        (
            b"GET / HTTP/1.1\r\nA: b\r\nB\r\n\r\n",
            Error::FieldWithoutColon { at: 22 },
        ),
        (
            b"GET / HTTP/3.7\r\n",
            Error::VersionNotSupported { major: 3, minor: 7 },
        ),
    ];
    for (bytes, fault) in rows {
        let heard = hear::<RequestReader>(Limits::default(), [bytes]);
        assert_eq!(heard.fault, Some(*fault), "{}", bytes.escape_ascii());
    }
    let rows: &[(&[u8], Error)] = &[
        (b"HTTP/1.1 200 a\0\r\n", Error::ReasonPhrase { at: 14 }),
        (b"HTTP/1.1 2x0\r\n", Error::StatusLine { at: 8 }),
        (b"HTTP/1.1 200x\r\n", Error::StatusLine { at: 12 }),
        (b"HTTP/1.1 600\r\n", Error::StatusCode { status: 600 }),
    ];
    for (bytes, fault) in rows {
        let heard = hear::<ResponseReader>(Limits::default(), [bytes]);
        assert_eq!(heard.fault, Some(*fault), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_fault_in_a_body_says_where_it_stands() {
    let rows: &[(&[u8], Error)] = &[
        (b"5\r\nhello\r\n+\r\n", Error::ChunkSize { at: 10 }),
        (b"5\r\nhello\r\n5;\r\n", Error::ChunkExtension { at: 11 }),
        (b"00000000000000000", Error::ChunkSizeTooLong { at: 16 }),
        (b"5\rh", Error::BareCr { at: 1 }),
        (b"5\r\nhello_\n", Error::ChunkEnd { at: 8 }),
        (b"5\r\nhello\r_", Error::ChunkEnd { at: 9 }),
        (b"5\r\nhello\r\n0\r\nA: b\n", Error::BareLf { at: 17 }),
        (
            b"5\r\nhello\r\n0\r\nA: b\r\nB\r\n\r\n",
            Error::FieldWithoutColon { at: 19 },
        ),
        (
            b"5\r\nhello\r\n0\r\nHost: b\r\n\r\n",
            Error::TrailerForbidden { at: 13 },
        ),
        (b"5\r\nhell", Error::BodyIncomplete { at: 7 }),
    ];
    for (bytes, fault) in rows {
        let body = decode(Framing::Chunked, Limits::default(), [bytes]);
        assert_eq!(body.fault, Some(*fault), "{}", bytes.escape_ascii());
    }
    let body = decode(Framing::Length(5), Limits::default(), [b"hell"]);
    assert_eq!(body.fault, Some(Error::BodyIncomplete { at: 4 }));
}

#[test]
fn target_and_values_are_slices_of_the_buffer_and_what_follows_stays_in_it() {
    let mut buffer = buffer(REQUEST);
    let whole = buffer.as_ptr_range();
    let head = RequestReader::new(Limits::default())
        .read(&mut buffer)
        .unwrap()
        .unwrap();
    assert!(whole.contains(&head.target.as_bytes().as_ptr()));
    assert!(whole.contains(&head.headers["x-a"].as_bytes().as_ptr()));
    assert_eq!(head.headers["x-a"], "b");
    assert_eq!(buffer, "body");
}

#[test]
fn one_empty_line_is_ignored_before_each_request() {
    let request = "GET / HTTP/1.1\r\n\r\n";
    let heard = hear::<RequestReader>(Limits::default(), [format!("{request}\r\n{request}")]);
    assert_eq!((heard.heads.len(), heard.fault), (2, None));
    let heard = hear::<RequestReader>(Limits::default(), [format!("{request}\r\n\r\n{request}")]);
    let fault = Some(Error::EmptyLine);
    assert_eq!((heard.heads.len(), heard.fault), (1, fault));
}

#[test]
fn data_comes_in_one_piece_and_is_no_copy() {
    let rows = [
        (Framing::Length(4), "body"),
        (Framing::UntilClose, "body"),
        (Framing::Chunked, "4\r\nbody\r\n0\r\n\r\n"),
    ];
    for (framing, bytes) in rows {
        let mut buffer = buffer(bytes.as_bytes());
        let whole = buffer.as_ptr_range();
        match Decoder::new(framing, Limits::default()).decode(&mut buffer) {
            Ok(Some(Frame::Data(data))) => {
                assert_eq!(data, "body", "{framing:?}");
                assert!(whole.contains(&data.as_ptr()), "{framing:?}");
            }
            other => panic!("{framing:?}: {other:?}"),
        }
    }
}

#[test]
fn the_end_of_a_connection_loses_no_data_that_was_read() {
    let mut buffer = buffer(b"body");
    let mut decoder = Decoder::new(Framing::UntilClose, Limits::default());
    assert_eq!(decoder.eof(), Ok(()));
    assert!(!decoder.is_finished());
    assert_eq!(
        decoder.decode(&mut buffer),
        Ok(Some(Frame::Data("body".into())))
    );
    assert_eq!(decoder.decode(&mut buffer), Ok(Some(Frame::End)));
    assert!(decoder.is_finished());
}

#[test]
fn a_body_that_was_cut_short_cannot_be_mended() {
    for framing in [Framing::Length(5), Framing::Chunked] {
        let mut decoder = Decoder::new(framing, Limits::default());
        let fault = Error::BodyIncomplete { at: 0 };
        assert_eq!(decoder.eof(), Err(fault));
        let read = decoder.decode(&mut buffer(b"0\r\n\r\n"));
        assert_eq!(read, Err(fault), "{framing:?}");
        assert_eq!(decoder.eof(), Err(fault), "{framing:?}");
        assert!(!decoder.is_finished());
    }
}

#[test]
fn neither_heads_nor_frames_print_what_they_hold() {
    let mut request = buffer(REQUEST);
    let mut response = BytesMut::from("HTTP/1.1 200 OK\r\nSet-Cookie: s3cret\r\n\r\nJane Doe");
    let mut trailers = BytesMut::from("0\r\nX-Patient: Jane Doe\r\n\r\n");
    let limits = Limits::default();
    let printed = format!(
        "{:?} {:?} {:?} {:?}",
        RequestReader::new(limits).read(&mut request),
        ResponseReader::new(limits).read(&mut response),
        Decoder::new(Framing::UntilClose, limits).decode(&mut response),
        Decoder::new(Framing::Chunked, limits).decode(&mut trailers),
    );
    assert!(
        !printed.contains("Err") && !printed.contains("None"),
        "{printed}"
    );
    for secret in ["s3cret", "Jane", "Doe"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn the_end_of_a_connection_is_a_fault_only_within_a_head() {
    let mut reader = RequestReader::new(Limits::default());
    assert_eq!(reader.eof(&BytesMut::new()), Ok(()));
    let mut bytes = buffer(b"\r\n");
    assert_eq!(reader.read(&mut bytes), Ok(None));
    assert_eq!(reader.eof(&bytes), Ok(()), "an empty line is no request");
    bytes.extend_from_slice(b"GET / HT");
    assert_eq!(reader.read(&mut bytes), Ok(None));
    assert_eq!(
        reader.eof(&bytes),
        Err(Error::HeadIncomplete { received: 8 })
    );
    bytes.extend_from_slice(b"TP/1.1\r\n\r\n");
    assert!(matches!(reader.read(&mut bytes), Ok(Some(_))));
    assert_eq!(reader.eof(&bytes), Ok(()));

    let mut reader = ResponseReader::new(Limits::default());
    let mut bytes = buffer(b"\n");
    let fault = reader.read(&mut bytes).unwrap_err();
    assert_eq!(reader.eof(&BytesMut::new()), Err(fault));
}

#[test]
fn a_client_waits_only_if_it_says_so_in_http11() {
    let rows = [
        ("1.1", "", Ok(false)),
        ("1.1", "Expect: 100-continue\r\n", Ok(true)),
        (
            "1.1",
            "expect: 100-Continue\r\nExpect: 100-continue\r\n",
            Ok(true),
        ),
        (
            "1.1",
            "Expect: 100-continue, x\r\n",
            Err(Error::Expectation),
        ),
        (
            "1.1",
            "Expect: 100-continue\r\nExpect: x\r\n",
            Err(Error::Expectation),
        ),
        ("1.1", "Expect:\r\n", Err(Error::Expectation)),
        ("1.0", "Expect: 100-continue\r\n", Ok(false)),
        ("1.0", "Expect: x\r\n", Ok(false)),
    ];
    for (version, fields, expected) in rows {
        let heard = hear::<RequestReader>(
            Limits::default(),
            [format!("POST / HTTP/{version}\r\n{fields}\r\n")],
        );
        assert_eq!(
            expects_continue(&heard.heads[0]),
            expected,
            "{version} {fields}"
        );
    }
}
