//! The language of the vector files, and ways to feed bytes to the codec.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http1::body::{Decoder, Frame};
use http1::framing::Framing;
use http1::{Error, Limits, RequestHead, RequestReader, ResponseHead, ResponseReader};

/// A row of a vector file: its columns, of which the last may hold spaces, and where it stands.
pub(crate) struct Row {
    pub(crate) place: String,
    pub(crate) columns: Vec<&'static str>,
}

impl Row {
    /// The last column, unescaped.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        unescape(self.columns.last().unwrap())
    }
}

pub(crate) fn rows(name: &str, file: &'static str, columns: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for (index, line) in file.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut rest = line;
        let mut parts = Vec::new();
        for _ in 1..columns {
            let (part, behind) = rest.split_once(' ').unwrap_or((rest, ""));
            parts.push(part);
            rest = behind.trim_start_matches(' ');
        }
        parts.push(rest);
        rows.push(Row {
            place: format!("{name}:{}: {line}", index + 1),
            columns: parts,
        });
    }
    rows
}

/// Undoes the escapes that the head of `requests.txt` describes.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '\\' => {
                let kind = rest.chars().next().expect("an escape names a byte");
                rest = &rest[1..];
                bytes.push(match kind {
                    'r' => b'\r',
                    'n' => b'\n',
                    't' => b'\t',
                    '0' => b'\0',
                    '\\' => b'\\',
                    'x' => {
                        let digits = &rest[..2];
                        rest = &rest[2..];
                        u8::from_str_radix(digits, 16).expect("two digits follow \\x")
                    }
                    other => panic!("no escape: \\{other}"),
                });
            }
            '{' => {
                let (repeated, behind) = rest.split_once('}').expect("a repetition is closed");
                let (what, times) = repeated
                    .rsplit_once('*')
                    .expect("a repetition has a number");
                bytes.extend(unescape(what).repeat(times.parse().unwrap()));
                rest = behind;
            }
            _ => bytes.extend(first.to_string().bytes()),
        }
    }
    bytes
}

/// A reader of either side.
pub(crate) trait Heads {
    type Head: Clone + PartialEq + std::fmt::Debug;
    fn new(limits: Limits) -> Self;
    fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<Self::Head>, Error>;
}

impl Heads for RequestReader {
    type Head = RequestHead;
    fn new(limits: Limits) -> Self {
        Self::new(limits)
    }
    fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<RequestHead>, Error> {
        self.read(buffer)
    }
}

impl Heads for ResponseReader {
    type Head = ResponseHead;
    fn new(limits: Limits) -> Self {
        Self::new(limits)
    }
    fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<ResponseHead>, Error> {
        self.read(buffer)
    }
}

/// What a reader made of bytes: the heads, how it ended, and what it left.
#[derive(Debug, PartialEq)]
pub(crate) struct Heard<H> {
    pub(crate) heads: Vec<H>,
    pub(crate) fault: Option<Error>,
    pub(crate) left: Option<Vec<u8>>,
}

/// Reads head after head, as if no message had a body, from bytes that arrive in these pieces.
pub(crate) fn hear<R: Heads>(
    limits: Limits,
    pieces: impl IntoIterator<Item = impl AsRef<[u8]>>,
) -> Heard<R::Head> {
    let mut reader = R::new(limits);
    let mut buffer = BytesMut::new();
    let mut heads = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece.as_ref());
        loop {
            match reader.read(&mut buffer) {
                Ok(Some(head)) => heads.push(head),
                Ok(None) => break,
                Err(fault) => {
                    assert_eq!(reader.read(&mut buffer), Err(fault), "a fault is final");
                    return Heard {
                        heads,
                        fault: Some(fault),
                        left: None,
                    };
                }
            }
        }
    }
    Heard {
        heads,
        fault: None,
        left: Some(buffer.to_vec()),
    }
}

/// What a decoder made of bytes before and at the end of the connection.
#[derive(Debug, PartialEq)]
pub(crate) struct Body {
    pub(crate) data: Vec<u8>,
    pub(crate) trailers: HeaderMap,
    pub(crate) fault: Option<Error>,
    pub(crate) left: Option<Vec<u8>>,
}

pub(crate) fn decode(
    framing: Framing,
    limits: Limits,
    pieces: impl IntoIterator<Item = impl AsRef<[u8]>>,
) -> Body {
    let mut decoder = Decoder::new(framing, limits);
    let mut buffer = BytesMut::new();
    let mut body = Body {
        data: Vec::new(),
        trailers: HeaderMap::new(),
        fault: None,
        left: None,
    };
    for piece in pieces {
        buffer.extend_from_slice(piece.as_ref());
        if let Err(fault) = take(&mut decoder, &mut buffer, &mut body) {
            let again = decoder.decode(&mut buffer);
            assert_eq!(again, Err(fault), "a fault is final");
            body.fault = Some(fault);
            return body;
        }
    }
    body.fault = decoder
        .eof()
        .and_then(|()| take(&mut decoder, &mut buffer, &mut body))
        .err();
    if body.fault.is_none() {
        assert!(decoder.is_finished());
        assert_eq!(decoder.remaining_hint(), Some(0));
        body.left = Some(buffer.to_vec());
    }
    body
}

fn take(decoder: &mut Decoder, buffer: &mut BytesMut, body: &mut Body) -> Result<(), Error> {
    loop {
        let before = decoder.remaining_hint();
        match decoder.decode(buffer)? {
            Some(Frame::Data(data)) => {
                assert!(!data.is_empty(), "a data frame is never empty");
                if let Some(before) = before {
                    assert_eq!(decoder.remaining_hint(), Some(before - data.len() as u64));
                }
                body.data.extend_from_slice(&data);
            }
            Some(Frame::Trailers(trailers)) => body.trailers = trailers,
            Some(Frame::End) => {
                assert_eq!(
                    decoder.decode(buffer),
                    Ok(Some(Frame::End)),
                    "the end stays the end"
                );
                return Ok(());
            }
            None => return Ok(()),
        }
    }
}

/// One byte after the other.
pub(crate) fn bytewise(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(1)
}

/// A buffer that holds these bytes.
pub(crate) fn buffer(bytes: &[u8]) -> BytesMut {
    BytesMut::from(Bytes::copy_from_slice(bytes))
}
