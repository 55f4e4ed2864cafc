//! Content that passes while it is compared with its digests (RFC 9530), its last part withheld until all of
//! it was found to be what was stated. In constant memory: one piece of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use integrity::{DigestError, Digests, Hasher};

/// What the content must be. Never nothing.
#[derive(Debug)]
pub struct Expected {
    stated: Vec<Digests>,
}

impl Expected {
    /// What these fields say; nothing where neither is there.
    pub fn of(content: Option<Digests>, representation: Option<Digests>) -> Option<Expected> {
        let stated: Vec<Digests> = content.into_iter().chain(representation).collect();
        (!stated.is_empty()).then_some(Expected { stated })
    }

    /// What computes what is to be compared.
    pub fn hasher(&self) -> Hasher {
        let algorithms: Vec<_> = self.stated.iter().flat_map(Digests::algorithms).collect();
        Hasher::new(&algorithms)
    }

    /// # Errors
    /// [`DigestError`]: it is not what was expected.
    pub fn check(&self, computed: Hasher) -> Result<(), DigestError> {
        let computed = computed.finish();
        self.stated
            .iter()
            .try_for_each(|stated| stated.check(&computed))
    }

    /// Of a message without content.
    ///
    /// # Errors
    /// [`DigestError`]: it states that it has some.
    pub fn check_nothing(&self) -> Result<(), DigestError> {
        self.check(self.hasher())
    }
}

/// Lets content pass while it is compared. Its last part passes only once all of it was found to be what
/// was expected; if it is not, the content ends in a fault.
#[derive(Debug)]
pub struct Withheld<B, E> {
    expected: Expected,
    /// Nothing once the end was seen.
    hasher: Option<Hasher>,
    body: B,
    /// What came last, and has not left.
    last: Option<Bytes>,
    /// What follows it.
    trailers: Option<HeaderMap>,
    /// How content ends that is not what was expected.
    altered: E,
}

impl<B, E> Withheld<B, E> {
    /// Content of which nothing was read.
    pub fn new(body: B, expected: Expected, altered: E) -> Withheld<B, E> {
        Withheld {
            hasher: Some(expected.hasher()),
            expected,
            body,
            last: None,
            trailers: None,
            altered,
        }
    }
}

impl<B, E> Body for Withheld<B, E>
where
    B: Body<Data = Bytes, Error = E> + Unpin,
    E: Copy + Unpin,
{
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let this = self.get_mut();
        loop {
            if this.hasher.is_none() {
                // All of it was compared: what is left may leave.
                let last = this.last.take().map(Frame::data);
                let frame = last.or_else(|| this.trailers.take().map(Frame::trailers));
                return Poll::Ready(frame.map(Ok));
            }
            let next = ready!(Pin::new(&mut this.body).poll_frame(context)).transpose();
            let data = match next {
                Err(fault) => return Poll::Ready(Some(Err(fault))),
                Ok(None) => None,
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) => Some(data),
                    Err(frame) => {
                        this.trailers = frame.into_trailers().ok();
                        None
                    }
                },
            };
            match data {
                Some(data) if data.is_empty() => {}
                Some(data) => {
                    if let Some(hasher) = &mut this.hasher {
                        hasher.update(&data);
                    }
                    if let Some(before) = this.last.replace(data) {
                        return Poll::Ready(Some(Ok(Frame::data(before))));
                    }
                }
                None => {
                    let computed = this.hasher.take();
                    let checked = computed.map(|computed| this.expected.check(computed));
                    if let Some(Err(_)) = checked {
                        (this.last, this.trailers) = (None, None);
                        return Poll::Ready(Some(Err(this.altered)));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.hasher.is_none() && self.last.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
