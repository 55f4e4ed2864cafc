//! What of a message can be signed, borrowed from wherever it stands.
//!
//! Standard: RFC 9421 2, RFC 9110 6. The view is made by whoever read the message; nothing of it is
//! copied. What it does not do: it holds no content. `Content-Digest` stands for that.

use http::{HeaderMap, Method, StatusCode};

/// The target of a signature.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// A request.
    Request(Request<'a>),
    /// A response.
    Response(Response<'a>),
}

/// A request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The method as it was sent.
    pub method: &'a Method,
    /// `https` or `http`.
    pub scheme: &'a str,
    /// Host and port as they were sent in `Host` or `:authority`.
    pub authority: &'a str,
    /// The path as it was sent: no percent-encoding undone. Empty where the target is `*`.
    pub path: &'a str,
    /// The query as it was sent, without its question mark.
    pub query: Option<&'a str>,
    /// The request target as it stood on the request line (RFC 9112 3.2). In HTTP/2 there is no
    /// such line; `None` makes `@request-target` an error.
    pub target: Option<&'a str>,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The trailer fields, once they are known.
    pub trailers: Option<&'a HeaderMap>,
}

/// A response.
#[derive(Clone, Copy)]
pub struct Response<'a> {
    /// The status code.
    pub status: StatusCode,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The trailer fields, once they are known.
    pub trailers: Option<&'a HeaderMap>,
    /// The request that it answers; without it nothing with `;req` can be checked.
    pub request: Option<Request<'a>>,
}

impl<'a> Message<'a> {
    /// The header fields.
    pub fn headers(&self) -> &'a HeaderMap {
        match self {
            Message::Request(request) => request.headers,
            Message::Response(response) => response.headers,
        }
    }

    /// The trailer fields, once they are known.
    pub fn trailers(&self) -> Option<&'a HeaderMap> {
        match self {
            Message::Request(request) => request.trailers,
            Message::Response(response) => response.trailers,
        }
    }
}

impl<'a> Request<'a> {
    /// The view of a request of the `http` crate whose target came in origin form (RFC 9112 3.2.1),
    /// with the scheme and authority under which it came.
    pub fn of(parts: &'a http::request::Parts, scheme: &'a str, authority: &'a str) -> Request<'a> {
        Request {
            method: &parts.method,
            scheme,
            authority,
            path: parts.uri.path(),
            query: parts.uri.query(),
            target: parts
                .uri
                .path_and_query()
                .map(http::uri::PathAndQuery::as_str),
            headers: &parts.headers,
            trailers: None,
        }
    }
}

/// The method alone: paths, queries and fields are not for logs.
impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", self.method)
            .finish_non_exhaustive()
    }
}

/// The status alone.
impl std::fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
