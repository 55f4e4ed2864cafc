//! An upstream that costs next to nothing, so that measuring a proxy does not measure what stands
//! behind it: one thread, HTTP/1.1 that is kept alive, answers that are made once.
//!
//! `GET /bytes/N` answers N bytes, any other GET 1 KiB of FHIR JSON, every other method swallows
//! its body and answers how many bytes it had. What this file does not do: no TLS, no HTTP/2, no
//! pipelining gains, and no deadline for a connection, because it listens on loopback alone, takes
//! a limited number of connections and lives for a limited time.

use crate::loopback::Loopback;
use crate::plan::MAX_BYTES;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http1::body::{Decoder, Frame};
use http1::connection::{Persistence, expects_continue, persistence};
use http1::encode::{self, Answered, CONTINUE};
use http1::framing::{self, Framing};
use http1::{Limits, RequestHead, RequestReader};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

/// Connections at once.
const MAX_CONNECTIONS: usize = 16_384;

/// Length of the fixed answer.
const FIXED: usize = 1024;

/// How much of a long answer is written at once.
static FILL: [u8; 256 * 1024] = [b'.'; 256 * 1024];

/// How much is read at once.
const READ: usize = 64 * 1024;

/// Serves until `lifetime` is over. `listening` is told the address, once, when connections are
/// taken.
pub(crate) fn serve(
    listen: Loopback,
    lifetime: Duration,
    listening: impl FnOnce(std::net::SocketAddr) -> io::Result<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(listen.address()).await?;
        listening(listener.local_addr()?)?;
        // The end of its life is how it is meant to end.
        let _ = timeout(lifetime, accept(listener)).await;
        Ok(())
    })
}

async fn accept(listener: TcpListener) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let answers = Rc::new(Answers::new());
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, mostly: some connection has to end first.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let answers = Rc::clone(&answers);
        spawn_local(async move {
            let _permit = permit;
            if stream.set_nodelay(true).is_ok() {
                // A client that leaves or talks nonsense loses its connection and nothing else.
                let _ = converse(stream, &answers).await;
            }
        });
    }
}

/// What is made once.
#[derive(Debug)]
struct Answers {
    /// The whole answer to a GET of HTTP/1.1 on a connection that is kept.
    fixed: Bytes,
    /// Its body alone.
    body: Bytes,
    fields: HeaderMap,
}

/// Why a conversation ended before its time.
#[derive(Debug)]
enum End {
    Broken(io::Error),
    Http(http1::Error),
    Encode(encode::EncodeError),
}

impl Answers {
    fn new() -> Self {
        let mut body = br#"{"resourceType":"Basic","text":{"status":"empty"},"id":""#.to_vec();
        body.resize(FIXED - 2, b'x');
        body.extend_from_slice(b"\"}");
        let fields = HeaderMap::from_iter([(
            CONTENT_TYPE,
            HeaderValue::from_static("application/fhir+json"),
        )]);
        let mut answers = Self {
            fixed: Bytes::new(),
            body: body.into(),
            fields,
        };
        let answered = Answered {
            version: http1::Version::Http11,
            is_head: false,
        };
        let mut fixed = BytesMut::new();
        let length = Framing::Length(FIXED as u64);
        let hop = Persistence::KeepAlive.into();
        encode::response(
            &mut fixed,
            StatusCode::OK,
            &answers.fields,
            length,
            answered,
            hop,
        )
        .expect("a 200 with a length and a constant field is a message");
        fixed.extend_from_slice(&answers.body);
        answers.fixed = fixed.freeze();
        answers
    }
}

/// Requests and answers on one connection.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answers: &Answers,
) -> Result<(), End> {
    let mut input = BytesMut::new();
    let mut reader = RequestReader::new(Limits::default());
    loop {
        let head = loop {
            if let Some(head) = reader.read(&mut input).map_err(End::Http)? {
                break head;
            }
            if !fill(&mut stream, &mut input).await? {
                return Ok(());
            }
        };
        let swallowed = swallow(&mut stream, &mut input, &head).await?;
        let persistence = persistence(head.version, &head.headers);
        answer(&mut stream, answers, &head, swallowed, persistence).await?;
        if persistence == Persistence::Close {
            return stream.shutdown().await.map_err(End::Broken);
        }
    }
}

/// Reads the body of a request and says how long it was.
async fn swallow(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    input: &mut BytesMut,
    head: &RequestHead,
) -> Result<u64, End> {
    let framing = framing::request(head).map_err(End::Http)?;
    let mut decoder = Decoder::new(framing, Limits::default());
    if !decoder.is_finished() && expects_continue(head).map_err(End::Http)? {
        stream.write_all(CONTINUE).await.map_err(End::Broken)?;
    }
    let mut length = 0;
    loop {
        match decoder.decode(input).map_err(End::Http)? {
            Some(Frame::Data(data)) => length += data.len() as u64,
            Some(Frame::Trailers(_)) => {}
            Some(Frame::End) => return Ok(length),
            None => {
                if !fill(stream, input).await? {
                    decoder.eof().map_err(End::Http)?;
                }
            }
        }
    }
}

async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    answers: &Answers,
    head: &RequestHead,
    swallowed: u64,
    persistence: Persistence,
) -> Result<(), End> {
    let (status, text, filling) = match content(head, swallowed) {
        Content::Fixed if head.method == Method::GET && persistence == Persistence::KeepAlive => {
            return stream.write_all(&answers.fixed).await.map_err(End::Broken);
        }
        Content::Fixed => (StatusCode::OK, answers.body.clone(), 0),
        Content::Filling(length) => (StatusCode::OK, Bytes::new(), length),
        Content::Count(count) => (StatusCode::OK, format!("{count}\n").into(), 0),
        Content::TooLong => (StatusCode::NOT_FOUND, Bytes::new(), 0),
    };
    let mut out = BytesMut::new();
    let answered = Answered::of(head);
    let length = Framing::Length(text.len() as u64 + filling);
    let hop = persistence.into();
    encode::response(&mut out, status, &answers.fields, length, answered, hop)
        .map_err(End::Encode)?;
    let mut left = filling;
    if answered.is_head {
        left = 0;
    } else {
        out.extend_from_slice(&text);
    }
    stream.write_all(&out).await.map_err(End::Broken)?;
    while left > 0 {
        let piece = usize::try_from(left).map_or(FILL.len(), |left| left.min(FILL.len()));
        let written = stream.write_all(&FILL[..piece]).await;
        written.map_err(End::Broken)?;
        left -= piece as u64;
    }
    Ok(())
}

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// The answer that was made once.
    Fixed,
    /// This many bytes of no meaning.
    Filling(u64),
    /// How many bytes the body of the request had.
    Count(u64),
    /// More bytes than anybody gets, or no number.
    TooLong,
}

fn content(head: &RequestHead, swallowed: u64) -> Content {
    if head.method != Method::GET && head.method != Method::HEAD {
        return Content::Count(swallowed);
    }
    match head.target.as_str().strip_prefix("/bytes/") {
        None => Content::Fixed,
        Some(length) => match length.parse() {
            Ok(length) if length <= MAX_BYTES => Content::Filling(length),
            Ok(_) | Err(_) => Content::TooLong,
        },
    }
}

/// Reads more; `false` at the end of the stream.
async fn fill(stream: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> Result<bool, End> {
    input.reserve(READ);
    let read = stream.read_buf(input).await;
    read.map(|bytes| bytes > 0).map_err(End::Broken)
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => error.fmt(f),
            Self::Http(error) => error.fmt(f),
            Self::Encode(error) => write!(f, "{error:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    /// What the backend says to these bytes before it closes.
    async fn said_to(bytes: &str) -> String {
        let (mut client, server) = duplex(1 << 20);
        client.write_all(bytes.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let answers = Answers::new();
        let _ = converse(server, &answers).await;
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        said
    }

    #[tokio::test]
    async fn a_get_is_answered_with_one_kibibyte_of_json() {
        let said = said_to("GET /fhir/Patient/1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("content-length: 1024"), "{head}");
        assert_eq!(body.len(), 1024);
        assert!(
            serde_json::from_str::<serde_json::Value>(body).unwrap()["resourceType"] == "Basic"
        );
    }

    #[tokio::test]
    async fn requests_follow_one_another_until_one_says_close() {
        let get = "GET / HTTP/1.1\r\nhost: a\r\n";
        let said = said_to(&format!(
            "{get}\r\n{get}\r\n{get}connection: close\r\n\r\n{get}\r\n"
        ))
        .await;
        assert_eq!(said.matches("HTTP/1.1 200").count(), 3);
        assert_eq!(said.matches("connection: close").count(), 1);
    }

    #[tokio::test]
    async fn as_many_bytes_come_as_are_asked_for() {
        for length in [0, 1, 300_000] {
            let said = said_to(&format!("GET /bytes/{length} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            assert_eq!(said.split_once("\r\n\r\n").unwrap().1.len(), length);
        }
        for length in ["1073741825", "-1", "x", ""] {
            let said = said_to(&format!("GET /bytes/{length} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            assert!(said.starts_with("HTTP/1.1 404"), "{length}: {said}");
        }
    }

    #[tokio::test]
    async fn a_head_has_the_length_and_no_body() {
        let said = said_to("HEAD /bytes/70 HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(said.contains("content-length: 70\r\n"), "{said}");
        assert!(said.ends_with("\r\n\r\n"), "{said}");
    }

    #[tokio::test]
    async fn a_body_is_swallowed_and_counted_however_it_is_framed() {
        let rows = [
            ("content-length: 5\r\n\r\nhello", "5\n"),
            (
                "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
                "4\n",
            ),
            ("content-length: 0\r\n\r\n", "0\n"),
        ];
        for (rest, body) in rows {
            let said = said_to(&format!("POST /upload HTTP/1.1\r\nhost: a\r\n{rest}")).await;
            assert_eq!(said.split_once("\r\n\r\n").unwrap().1, body);
        }
    }

    #[tokio::test]
    async fn a_client_that_waits_before_its_body_is_told_to_go_on() {
        let said = said_to(
            "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n.",
        )
        .await;
        assert!(
            said.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"),
            "{said}"
        );
    }

    #[tokio::test]
    async fn nonsense_ends_the_connection_without_an_answer() {
        assert_eq!(said_to("GET / HTTP/1.1\nhost: a\n\n").await, "");
        assert_eq!(
            said_to("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nshort").await,
            ""
        );
    }
}
