//! Messages as text: a head as on the wire, an empty line, the content to the last byte.
//!
//! Standard: RFC 9112, read by the codec of the house, with what people's tools do to a head and no
//! more: lines may end in LF alone, the empty line may be missing where nothing follows, and the version
//! may be the one that curl prints for HTTP/2. Interim responses before the final one are passed over.
//! The content is not touched. What this file does not do: it repairs nothing; what does not agree with
//! its own head is told ([`Odd`]), and judged by whoever reads it.

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http1::body::{Decoder, Frame};
use http1::framing::{self, Framing};
use http1::{
    Authority, Limits, RequestHead, RequestReader, ResponseHead, ResponseReader, TargetForm,
};

use super::{Message, Request, Response};

/// How much of a head is read: more than the gateway takes, because others take more.
const LIMITS: Limits = Limits {
    head_bytes: 256 * 1024,
    target_bytes: 64 * 1024,
    fields: 500,
};

/// A message that was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// What it says.
    pub message: Message,
    /// In what its content is not what its head says.
    pub odd: Option<Odd>,
}

/// In what the content of a text is not what its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// `Content-Length` is another.
    Length {
        /// What it says, bytes.
        said: u64,
        /// What is there, bytes.
        found: u64,
    },
    /// It is not in chunks, though `Transfer-Encoding` says so; curl undoes them. It is taken as it stands.
    NotChunked,
}

/// Why a text is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextError {
    /// There is nothing.
    Empty,
    /// A line of the head is none, or makes the head contradict itself. Lines count from 1.
    Head {
        /// Which.
        line: usize,
        /// Why.
        error: http1::Error,
    },
    /// A request is needed, and this is a response.
    NoRequest,
    /// A request has no `Host`, or more than one, or one that is no host.
    Host {
        /// How many there are.
        found: usize,
    },
    /// The target names another host than `Host`.
    TwoHosts,
    /// The target is neither a path nor a URL of `https` or `http`.
    Target,
    /// Nothing but interim responses is there.
    OnlyInterim,
}

/// Reads a request or a response, whose request had this method if it is known.
///
/// # Errors
/// [`TextError`].
pub fn read(text: &[u8], asked: Option<&Method>) -> Result<Read, TextError> {
    if is_response(text) {
        response(text, asked)
    } else {
        request(text)
    }
}

/// Reads a request.
///
/// # Errors
/// [`TextError`].
pub fn read_request(text: &[u8]) -> Result<(Request, Option<Odd>), TextError> {
    if is_response(text) {
        return Err(TextError::NoRequest);
    }
    match request(text)? {
        Read {
            message: Message::Request(request),
            odd,
        } => Ok((request, odd)),
        Read { .. } => Err(TextError::NoRequest),
    }
}

/// The text of a request with more fields at the end of its head, whose lines then all end in CRLF. Every
/// other byte stays.
pub fn with_fields(text: &[u8], fields: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
    let (lines, content) = split(text);
    let mut out = Vec::with_capacity(text.len() + 1024);
    for line in lines {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    for (name, value) in fields {
        out.extend_from_slice(spelled(name).as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(content);
    out
}

/// The name of a field as people write it: `Content-Digest`.
pub fn spelled(name: &HeaderName) -> String {
    let parts = name.as_str().split('-').map(|part| {
        let (first, rest) = part.split_at_checked(1).unwrap_or((part, ""));
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    parts.collect::<Vec<_>>().join("-")
}

fn is_response(text: &[u8]) -> bool {
    text.starts_with(b"HTTP/")
}

fn request(text: &[u8]) -> Result<Read, TextError> {
    let (lines, content) = split(text);
    let (first, fields) = lines.split_first().ok_or(TextError::Empty)?;
    let (first, has_line) = with_known_version(first, false);
    let (head, framing) = parse(&first, fields, 0, |buffer| {
        let head = RequestReader::new(LIMITS).read(buffer)?;
        let head: RequestHead = head.ok_or(http1::Error::HeadIncomplete { received: 0 })?;
        let framing = framing::request(&head)?;
        Ok((head, framing))
    })?;
    let RequestHead {
        method,
        target,
        headers,
        ..
    } = head;
    let authority = host(&headers)?;
    let scheme = match target.form() {
        TargetForm::Origin { .. } | TargetForm::Asterisk => "https",
        TargetForm::Absolute {
            authority: named,
            scheme,
            ..
        } => {
            let known = Authority::parse(authority.as_bytes());
            let agrees = known.is_some_and(|known| {
                known.host.eq_ignore_ascii_case(named.host) && known.port == named.port
            });
            if !agrees {
                return Err(TextError::TwoHosts);
            }
            if scheme.eq_ignore_ascii_case("https") {
                "https"
            } else if scheme.eq_ignore_ascii_case("http") {
                "http"
            } else {
                return Err(TextError::Target);
            }
        }
        TargetForm::Authority(_) => return Err(TextError::Target),
    };
    // What follows a head without framing is content whose length nobody wrote down.
    let framing = match framing {
        Framing::None => Framing::UntilClose,
        framing => framing,
    };
    let (content, trailers, odd) = unframe(framing, content);
    Ok(Read {
        message: Message::Request(Request {
            method,
            scheme: scheme.into(),
            authority,
            target,
            has_line,
            headers,
            trailers,
            content,
        }),
        odd,
    })
}

fn response(text: &[u8], asked: Option<&Method>) -> Result<Read, TextError> {
    let asked = asked.unwrap_or(&Method::GET);
    let mut rest = text;
    let mut above = 0;
    while !rest.is_empty() {
        let (lines, content) = split(rest);
        let (first, fields) = lines.split_first().ok_or(TextError::Empty)?;
        let (first, _) = with_known_version(first, true);
        let (head, framing) = parse(&first, fields, above, |buffer| {
            let head = ResponseReader::new(LIMITS).read(buffer)?;
            let head: ResponseHead = head.ok_or(http1::Error::HeadIncomplete { received: 0 })?;
            let framing = framing::response(asked, &head)?;
            Ok((head, framing))
        })?;
        if head.status.is_informational() && head.status != http::StatusCode::SWITCHING_PROTOCOLS {
            above += lines.len() + 1;
            rest = content;
            continue;
        }
        let framing = match framing {
            Framing::None => Framing::Length(0),
            framing => framing,
        };
        let (content, trailers, odd) = unframe(framing, content);
        return Ok(Read {
            message: Message::Response(Response {
                status: head.status,
                headers: head.headers,
                trailers,
                content,
            }),
            odd,
        });
    }
    Err(if text.is_empty() {
        TextError::Empty
    } else {
        TextError::OnlyInterim
    })
}

/// The lines of the head without their ends, and what follows the empty line.
fn split(text: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (line, behind) = match end {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        rest = behind;
        if line.is_empty() && !lines.is_empty() {
            break;
        }
        lines.push(line);
    }
    (lines, rest)
}

/// The start line with a version that the codec reads, and whether it was one of HTTP/1.
fn with_known_version(line: &[u8], is_response: bool) -> (Vec<u8>, bool) {
    const LATER: [&[u8]; 4] = [b"HTTP/2", b"HTTP/2.0", b"HTTP/3", b"HTTP/3.0"];
    let space = |byte: &u8| *byte == b' ';
    let (before, version, behind) = if is_response {
        let end = line.iter().position(space).unwrap_or(line.len());
        (&line[..0], &line[..end], &line[end..])
    } else {
        let start = line.iter().rposition(space).map_or(0, |at| at + 1);
        (&line[..start], &line[start..], &line[..0])
    };
    if LATER.contains(&version) {
        ([before, b"HTTP/1.1", behind].concat(), false)
    } else {
        (line.to_vec(), true)
    }
}

/// Reads a head of these lines; on an error finds the line that brought it about: the last of the
/// shortest head that has it. `above` lines stand before them.
fn parse<H>(
    first: &[u8],
    fields: &[&[u8]],
    above: usize,
    read: impl Fn(&mut BytesMut) -> Result<H, http1::Error>,
) -> Result<H, TextError> {
    let head = |fields: &[&[u8]]| {
        let mut buffer = BytesMut::new();
        for line in std::iter::once(&first).chain(fields) {
            buffer.extend_from_slice(line);
            buffer.extend_from_slice(b"\r\n");
        }
        buffer.extend_from_slice(b"\r\n");
        read(&mut buffer)
    };
    // One empty line before the start line is let pass on the wire; here it is a mistake.
    if first.is_empty() {
        return Err(TextError::Head {
            line: above + 1,
            error: http1::Error::EmptyLine,
        });
    }
    let error = match head(fields) {
        Ok(head) => return Ok(head),
        Err(error) => error,
    };
    // Each prefix is read anew, so only as many as a head may have lines.
    let longest = fields.len().min(LIMITS.fields + 1);
    let prefix = (0..=longest).find_map(|length| Some((length, head(&fields[..length]).err()?)));
    let (length, error) = prefix.unwrap_or((longest, error));
    Err(TextError::Head {
        line: above + 1 + length,
        error,
    })
}

/// The one `Host`.
fn host(headers: &HeaderMap) -> Result<Box<str>, TextError> {
    let hosts: Vec<_> = headers.get_all(HOST).iter().collect();
    let known = match hosts.as_slice() {
        [host] => Authority::parse(host.as_bytes()).and(host.to_str().ok()),
        _ => None,
    };
    known
        .map(Into::into)
        .ok_or(TextError::Host { found: hosts.len() })
}

/// The content that this framing delimits, and its trailers.
fn unframe(framing: Framing, text: &[u8]) -> (Bytes, Option<HeaderMap>, Option<Odd>) {
    let whole = || Bytes::copy_from_slice(text);
    match framing {
        Framing::None | Framing::UntilClose => (whole(), None, None),
        Framing::Length(said) => {
            let found = text.len() as u64;
            let odd = (said != found).then_some(Odd::Length { said, found });
            (whole(), None, odd)
        }
        Framing::Chunked => match unchunk(text) {
            Some((content, trailers)) => (content, Some(trailers), None),
            None => (whole(), None, Some(Odd::NotChunked)),
        },
    }
}

/// The content of chunks that end with the text.
fn unchunk(text: &[u8]) -> Option<(Bytes, HeaderMap)> {
    let mut buffer = BytesMut::from(text);
    let mut decoder = Decoder::new(Framing::Chunked, LIMITS);
    let mut content = BytesMut::new();
    let mut fields = HeaderMap::new();
    loop {
        match decoder.decode(&mut buffer).ok()?? {
            Frame::Data(data) => content.extend_from_slice(&data),
            Frame::Trailers(trailers) => fields = trailers,
            Frame::End => break,
        }
    }
    buffer.is_empty().then(|| (content.freeze(), fields))
}

impl TextError {
    /// What helps.
    pub const fn hint(&self) -> &'static str {
        match self {
            TextError::Empty => "a request line, fields, an empty line, and the content",
            TextError::Head { .. } => {
                "a head is as on the wire: a start line, then one field on each line"
            }
            TextError::NoRequest => "name the file that holds the request",
            TextError::Host { .. } => "write one line `Host: name` or `Host: name:port`",
            TextError::TwoHosts => "write the same host and port in both",
            TextError::Target => "write a path, such as GET /fhir/Patient/1 HTTP/1.1",
            TextError::OnlyInterim => "add the final response",
        }
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextError::Empty => f.write_str("there is no message"),
            TextError::Head { line, error } => write!(f, "line {line}: {error}"),
            TextError::NoRequest => f.write_str("line 1: this is a response, not a request"),
            TextError::Host { found: 0 } => f.write_str("there is no Host (RFC 9112 3.2)"),
            TextError::Host { found: 1 } => f.write_str("Host is no host (RFC 9112 3.2)"),
            TextError::Host { found } => {
                write!(f, "there are {found} lines of Host (RFC 9112 3.2)")
            }
            TextError::TwoHosts => {
                f.write_str("line 1: the target names another host than Host (RFC 9112 3.2.2)")
            }
            TextError::Target => f.write_str(
                "line 1: the target is neither a path nor a URL of https or http (RFC 9112 3.2)",
            ),
            TextError::OnlyInterim => f.write_str("there are only interim responses (1xx)"),
        }
    }
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Odd::Length { said, found } => write!(
                f,
                "Content-Length says {said} bytes, the content has {found} (RFC 9112 6.3)"
            ),
            Odd::NotChunked => f.write_str(
                "the content is not in chunks, though Transfer-Encoding says so (RFC 9112 7.1)",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> (Request, Option<Odd>) {
        read_request(text.as_bytes()).unwrap()
    }

    fn refused(text: &str) -> String {
        read(text.as_bytes(), None).unwrap_err().to_string()
    }

    fn answer(text: &str, asked: Option<&Method>) -> (Response, Option<Odd>) {
        match read(text.as_bytes(), asked).unwrap() {
            Read {
                message: Message::Response(response),
                odd,
            } => (response, odd),
            Read { .. } => panic!("{text} is a response"),
        }
    }

    #[test]
    fn lines_may_end_in_lf_and_the_content_is_left_alone() {
        let (crlf, _) = one("POST /a?b HTTP/1.1\r\nHost: h.example:8443\r\nX: 1\r\n\r\nc\nd\r\n");
        let (lf, _) = one("POST /a?b HTTP/1.1\nHost: h.example:8443\nX: 1\n\nc\nd\r\n");
        for request in [crlf, lf] {
            let view = request.view();
            assert_eq!((view.path, view.query), ("/a", Some("b")));
            assert_eq!((view.scheme, view.authority), ("https", "h.example:8443"));
            assert_eq!(view.target, Some("/a?b"));
            assert_eq!(request.headers["x"], "1");
            assert_eq!(request.content, "c\nd\r\n");
        }
    }

    #[test]
    fn a_head_alone_needs_no_empty_line() {
        for text in [
            "GET / HTTP/1.1\nHost: h",
            "GET / HTTP/1.1\nHost: h\n",
            "GET / HTTP/1.1\nHost: h\n\n",
        ] {
            assert_eq!(one(text).0.content, "");
        }
    }

    #[test]
    fn what_curl_prints_of_http_2_is_read_and_has_no_request_target() {
        let (request, _) = one("GET /a HTTP/2\r\nHost: h\r\n\r\n");
        assert_eq!(request.view().target, None);
        let (response, odd) = answer("HTTP/2 200 \r\nx: 1\r\n\r\nabc", None);
        assert_eq!((response.status.as_u16(), odd), (200, None));
        assert_eq!(response.content, "abc");
    }

    #[test]
    fn an_absolute_target_says_the_scheme_and_agrees_with_host() {
        let (request, _) = one("GET http://h:80?q HTTP/1.1\nHost: H:80\n");
        let view = request.view();
        assert_eq!(
            (view.scheme, view.path, view.query),
            ("http", "/", Some("q"))
        );
        for (text, error) in [
            ("GET http://h/ HTTP/1.1\nHost: i\n", TextError::TwoHosts),
            ("GET ftp://h/ HTTP/1.1\nHost: h\n", TextError::Target),
            ("CONNECT h:1 HTTP/1.1\nHost: h:1\n", TextError::Target),
        ] {
            assert_eq!(read_request(text.as_bytes()).unwrap_err(), error);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line) in [
            ("GET / HTTP/1.1\nHost: h\nX : 1\nY: 2\n\n", 3),
            ("GET  / HTTP/1.1\nHost: h\n\n", 1),
            ("\nGET / HTTP/1.1\nHost: h\n\n", 1),
            ("GET / HTTP/1.1\nHost: h\n folded\n\n", 3),
            ("GET / HTTP/1.1\nHost: h\nX: a\rb\n\n", 3),
            (
                "POST / HTTP/1.1\nHost: h\nContent-Length: 1\nX: 1\nContent-Length: 1\n\na",
                5,
            ),
            (
                "HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\nX: 1\nno colon\n\n",
                5,
            ),
        ] {
            let told = refused(text);
            assert!(told.starts_with(&format!("line {line}: ")), "{text} {told}");
        }
        // Of two the first is told.
        let both = refused("GET / HTTP/1.1\nHost: h\nX : 1\nY: a\rb\n\n");
        assert!(both.starts_with("line 3: white space stands"), "{both}");
        assert_eq!(refused(""), "there is no message");
        assert!(refused("GET / HTTP/1.1\n\n").contains("no Host"));
        assert!(refused("GET / HTTP/1.1\nHost: a\nHost: a\n").contains("2 lines of Host"));
        assert!(refused("GET / HTTP/1.1\nHost: a b\n").contains("Host is no host"));
        assert!(refused("HTTP/1.1 100 Continue\n\n").contains("only interim"));
        assert_eq!(
            read_request(b"HTTP/1.1 200 OK\n\n").unwrap_err(),
            TextError::NoRequest
        );
    }

    #[test]
    fn content_that_is_not_what_the_head_says_is_told() {
        let (_, odd) = one("POST / HTTP/1.1\nHost: h\nContent-Length: 1\n\nab");
        assert_eq!(odd, Some(Odd::Length { said: 1, found: 2 }));
        let chunked = "POST / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n";
        let (request, odd) = one(&format!("{chunked}3\r\nabc\r\n0\r\nX: 1\r\n\r\n"));
        assert_eq!((&request.content[..], odd), (&b"abc"[..], None));
        assert_eq!(request.trailers.unwrap()["x"], "1");
        for content in ["abc", "3\r\nabc\r\n", "3\r\nabc\r\n0\r\n\r\nmore"] {
            let (request, odd) = one(&format!("{chunked}{content}"));
            assert_eq!(
                (&request.content[..], odd),
                (content.as_bytes(), Some(Odd::NotChunked))
            );
        }
    }

    #[test]
    fn the_answer_to_head_has_no_content_whatever_its_length_says() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(answer(text, Some(&Method::HEAD)).1, None);
        let odd = Odd::Length { said: 9, found: 0 };
        assert_eq!(answer(text, None).1, Some(odd));
    }

    #[test]
    fn fields_are_added_behind_those_that_are_there() {
        let field = |name: &'static str, value| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        let text = b"POST /a HTTP/1.1\nhost: h\nX:  1\n\nbody\n";
        let added = with_fields(
            text,
            &[field("content-digest", "d"), field("signature", "s")],
        );
        assert_eq!(
            String::from_utf8(added).unwrap(),
            "POST /a HTTP/1.1\r\nhost: h\r\nX:  1\r\nContent-Digest: d\r\nSignature: s\r\n\r\nbody\n"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(
            text in proptest::collection::vec(any::<u8>(), 0..200),
            start in prop_oneof![
                Just("GET / HTTP/1.1\nHost: h\n"),
                Just("HTTP/1.1 200 OK\n"),
                Just(""),
            ],
        ) {
            let _ = read(&[start.as_bytes(), &text].concat(), None);
        }
    }
}
