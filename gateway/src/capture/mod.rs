//! Messages as people have them: text that was written or captured, and command lines of curl.
//!
//! | question | answered by |
//! |---|---|
//! | what does this text say, on which line is it wrong? | [`text`] |
//! | what would curl send? | [`curl`] |
//! | what does a shell read back? | [`shell`] |
//! | what is signed, unless somebody says so? | [`fields`] |
//! | is what was captured what was signed, and in what does it differ? | [`report`] |
//!
//! Standard: RFC 9112 for text, read by the codec of the house. What this folder does not do: it opens no
//! file and asks no clock; bytes, keys and times come in as arguments. What it says of a message is for
//! whoever has the message anyway, never for a log.

pub mod shell;

pub mod text;

pub mod curl;

pub mod fields;

pub mod report;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http1::{Target, TargetForm};

/// A request, whole.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// `https` or `http`.
    pub scheme: Box<str>,
    /// Host and port as in `Host`.
    pub authority: Box<str>,
    /// The request target.
    pub target: Target,
    /// Whether the target stands on a request line: over HTTP/2 there is none.
    pub has_line: bool,
    /// The header fields.
    pub headers: HeaderMap,
    /// The trailer fields, where there is a place for them.
    pub trailers: Option<HeaderMap>,
    /// The content, without its framing.
    pub content: Bytes,
}

/// A response, whole.
#[derive(Clone)]
pub struct Response {
    /// The status code.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The trailer fields, where there is a place for them.
    pub trailers: Option<HeaderMap>,
    /// The content, without its framing.
    pub content: Bytes,
}

/// Either.
#[derive(Clone)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Request {
    /// The request as a signature sees it.
    pub fn view(&self) -> integrity::Request<'_> {
        let (path, query) = self.path_and_query();
        integrity::Request {
            method: &self.method,
            scheme: &self.scheme,
            authority: &self.authority,
            path,
            query,
            target: self.has_line.then(|| self.target.as_str()),
            headers: &self.headers,
            trailers: self.trailers.as_ref(),
        }
    }

    /// The query as it was sent.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query().1
    }

    fn path_and_query(&self) -> (&str, Option<&str>) {
        match self.target.form() {
            TargetForm::Origin { path, query } => (path, query),
            TargetForm::Absolute {
                path: "", query, ..
            } => ("/", query),
            TargetForm::Absolute { path, query, .. } => (path, query),
            TargetForm::Authority(_) | TargetForm::Asterisk => ("", None),
        }
    }
}

impl Message {
    /// The message as a signature sees it, with the request that it answers if it is a response.
    pub fn view<'a>(&'a self, request: Option<&'a Request>) -> integrity::Message<'a> {
        match self {
            Message::Request(request) => integrity::Message::Request(request.view()),
            Message::Response(response) => integrity::Message::Response(integrity::Response {
                status: response.status,
                headers: &response.headers,
                trailers: response.trailers.as_ref(),
                request: request.map(Request::view),
            }),
        }
    }

    /// `request` or `response`.
    pub fn kind(&self) -> &'static str {
        match self {
            Message::Request(_) => "request",
            Message::Response(_) => "response",
        }
    }

    /// The content, without its framing.
    pub fn content(&self) -> &Bytes {
        match self {
            Message::Request(request) => &request.content,
            Message::Response(response) => &response.content,
        }
    }
}

/// The method alone: paths, queries and fields are not for logs.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({})", self.method)
    }
}

/// The status alone.
impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Response({})", self.status)
    }
}

/// The kind, with what its own form says.
impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Message::Request(request) => request.fmt(f),
            Message::Response(response) => response.fmt(f),
        }
    }
}
