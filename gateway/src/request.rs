//! A request as it was received, from HTTP/1.1 or HTTP/2 alike: who sent it, its head, and a handle
//! on its content, of which nothing has been read.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use audit::event::{Id, Time};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use http_body::{Body, Frame, SizeHint};
use http1::Target;

use crate::memory::Memory;
use crate::peer::Peer;

/// A request, before anything was asked of it.
#[derive(Debug)]
pub struct Received {
    /// Its head.
    pub head: Head,
    /// Who sent it.
    pub peer: Rc<Peer>,
    /// Its content.
    pub content: Content,
    /// What the answers of its connection may hold.
    pub memory: Memory,
    /// Its id, ours and never the client's.
    pub id: RequestId,
    /// When its head was complete.
    pub at: Time,
}

/// The head of a request.
#[derive(Debug)]
pub struct Head {
    /// Method.
    pub method: Method,
    /// Target: the bytes that are matched are the bytes that are forwarded.
    pub target: Target,
    /// Header fields as received. In HTTP/2 the authority stands here as Host.
    pub headers: HeaderMap,
    /// The protocol that it came in.
    pub version: Version,
}

/// The protocol that a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

/// The id under which a request's records stand, and which its answer carries.
#[derive(Debug, Clone)]
pub struct RequestId {
    id: Id,
    value: HeaderValue,
}

impl RequestId {
    /// This id.
    pub fn new(id: Id) -> RequestId {
        let value = HeaderValue::from_bytes(&id.hex()).expect("hex digits are a field value");
        RequestId { id, value }
    }

    /// The id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The value of `x-request-id`.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }
}

/// The content of a request: nothing has been read of it.
pub enum Content {
    /// There is none, and none was declared.
    None,
    /// It comes as it is asked for.
    Stream {
        /// Its declared length, bytes.
        length: Option<u64>,
        /// Where it comes from.
        body: Pin<Box<dyn Body<Data = Bytes, Error = ContentFault>>>,
    },
}

impl Content {
    /// Its declared length; zero when there is none.
    pub fn length(&self) -> Option<u64> {
        match self {
            Content::None => Some(0),
            Content::Stream { length, .. } => *length,
        }
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Content::None => f.write_str("None"),
            Content::Stream { length, .. } => write!(f, "Stream({length:?})"),
        }
    }
}

/// `None` is an empty body.
impl Body for Content {
    type Data = Bytes;
    type Error = ContentFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentFault>>> {
        match self.get_mut() {
            Content::None => Poll::Ready(None),
            Content::Stream { body, .. } => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Content::None => true,
            Content::Stream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::None => SizeHint::with_exact(0),
            Content::Stream { body, .. } => body.size_hint(),
        }
    }
}

/// Why the content of a request did not come to its end. What came before must not count as whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentFault {
    /// It breaks its framing (HTTP/1.1).
    Framing(http1::Error),
    /// The client broke off the stream or the protocol (HTTP/2).
    Stream,
    /// The client went away.
    Gone,
    /// It is larger than the route allows.
    TooLarge {
        /// The limit, bytes.
        limit: u64,
    },
    /// Nothing came for too long.
    Stalled,
    /// It comes slower than the route allows.
    TooSlow,
    /// It is not what its digest says.
    Altered,
}

impl std::fmt::Display for ContentFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ContentFault::Framing(error) => error.fmt(f),
            ContentFault::Stream => f.write_str("the stream was broken off"),
            ContentFault::Gone => f.write_str("the client went away"),
            ContentFault::TooLarge { limit } => write!(f, "more than {limit} bytes"),
            ContentFault::Stalled => f.write_str("nothing came for too long"),
            ContentFault::TooSlow => f.write_str("slower than allowed"),
            ContentFault::Altered => f.write_str("not what its digest says"),
        }
    }
}

impl std::error::Error for ContentFault {}
