//! Content compared with its digests: gathered and compared as a whole, or while it passes, with its last
//! part withheld.
//!
//! Memory is bounded either way: what is gathered by the route's buffer and by what the connection may
//! hold, what passes by one piece of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use integrity::{DigestAlgorithm, DigestError, Hasher};

use crate::memory::{Held, Memory};
use crate::request::ContentFault;
use crate::withheld::{Expected, Withheld};

/// Content as it comes.
type Stream = Pin<Box<dyn Body<Data = Bytes, Error = ContentFault>>>;

/// What was read of content.
pub(super) enum Gathered {
    /// All of it.
    Whole(Whole),
    /// More follows than there is a buffer for.
    Beginning(Beginning),
    /// More follows than the connection has room for.
    NoRoom(Beginning),
}

/// Pieces are joined up to this size, bytes: a piece costs the same however small it is.
const JOINED: usize = 16 * 1024;

/// Content in hand: pieces in their order, and how many bytes they are.
#[derive(Debug, Default)]
struct Pieces {
    queue: VecDeque<Bytes>,
    joined: BytesMut,
    bytes: usize,
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if piece.len() >= JOINED {
            self.seal();
            self.queue.push_back(piece);
        } else {
            self.joined.extend_from_slice(&piece);
            if self.joined.len() >= JOINED {
                self.seal();
            }
        }
    }

    fn seal(&mut self) {
        if !self.joined.is_empty() {
            let joined = std::mem::take(&mut self.joined);
            self.queue.push_back(joined.freeze());
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        if self.queue.is_empty() {
            self.seal();
        }
        let piece = self.queue.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }

    fn hash(&self, hasher: &mut Hasher) {
        self.queue.iter().for_each(|piece| hasher.update(piece));
        hasher.update(&self.joined);
    }
}

/// Content that is in hand.
#[derive(Debug)]
pub(super) struct Whole {
    pieces: Pieces,
    trailers: Option<HeaderMap>,
    held: Held,
}

/// The beginning of content, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    pieces: Pieces,
    held: Option<Held>,
}

/// Reads content up to so many bytes, as far as the connection has room for it.
///
/// # Errors
/// [`ContentFault`]: it did not come to its end.
pub(super) async fn gather(
    body: &mut Stream,
    most: usize,
    memory: &Memory,
) -> Result<Gathered, ContentFault> {
    let mut held = memory.hold(0);
    let mut pieces = Pieces::default();
    let mut trailers = None;
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await
    {
        match frame?.into_data() {
            Ok(data) => {
                // Asked for each piece: what the others of the connection began to gather counts too.
                let has_room = data.is_empty() || memory.has_room();
                pieces.push(data);
                held.set(pieces.bytes);
                let is_over = pieces.bytes > most;
                if is_over || !has_room {
                    let held = Some(held);
                    let beginning = Beginning { pieces, held };
                    return Ok(if is_over {
                        Gathered::Beginning(beginning)
                    } else {
                        Gathered::NoRoom(beginning)
                    });
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(Gathered::Whole(Whole {
        pieces,
        trailers,
        held,
    }))
}

impl Whole {
    /// # Errors
    /// [`DigestError`]: it is not what was expected.
    #[expect(clippy::needless_pass_by_value, reason = "it is compared once")]
    pub(super) fn check(&self, expected: Expected) -> Result<(), DigestError> {
        let mut hasher = expected.hasher();
        self.pieces.hash(&mut hasher);
        expected.check(hasher)
    }

    /// The value of a `Content-Digest` that says what it is.
    pub(super) fn digest(&self) -> HeaderValue {
        let mut hasher = Hasher::new(&[DigestAlgorithm::Sha256]);
        self.pieces.hash(&mut hasher);
        hasher.finish().header_value()
    }

    pub(super) fn into_body(self) -> Stream {
        Box::pin(self)
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = ContentFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentFault>>> {
        if let Some(piece) = self.pieces.pop() {
            let left = self.pieces.bytes;
            self.held.set(left);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        Poll::Ready(
            self.trailers
                .take()
                .map(|trailers| Ok(Frame::trailers(trailers))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.bytes == 0 && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.pieces.bytes as u64)
    }
}

/// Content of which the beginning was read.
pub(super) fn follow(beginning: Beginning, body: Stream) -> Stream {
    Box::pin(Followed { beginning, body })
}

struct Followed {
    beginning: Beginning,
    body: Stream,
}

impl Body for Followed {
    type Data = Bytes;
    type Error = ContentFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentFault>>> {
        if let Some(piece) = self.beginning.pieces.pop() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        self.beginning.held = None;
        self.body.as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.beginning.pieces.bytes == 0 && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Lets content pass while it is compared: see [`Withheld`].
pub(super) fn withhold(beginning: Beginning, body: Stream, expected: Expected) -> Stream {
    Box::pin(Withheld::new(
        follow(beginning, body),
        expected,
        ContentFault::Altered,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};
    use integrity::DigestAlgorithm;
    use proptest::prelude::*;

    fn body(pieces: Vec<Vec<u8>>) -> Stream {
        let frames = pieces
            .into_iter()
            .map(|piece| Ok(Frame::data(Bytes::from(piece))));
        Box::pin(StreamBody::new(futures_util::stream::iter(frames)))
    }

    fn expecting(content: &[u8]) -> Expected {
        let digests = Hasher::digest(&[DigestAlgorithm::Sha256], content);
        Expected::of(Some(digests), None).unwrap()
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    proptest! {
        #[test]
        fn content_that_is_what_was_sent_passes_whole(pieces: Vec<Vec<u8>>, most in 0..40usize) {
            let content = pieces.concat();
            let passed = run(async {
                let memory = Memory::default();
                let mut stream = body(pieces);
                let passing = match gather(&mut stream, most, &memory).await.unwrap() {
                    Gathered::Whole(whole) => {
                        whole.check(expecting(&content)).unwrap();
                        whole.into_body()
                    }
                    Gathered::Beginning(beginning) => withhold(beginning, stream, expecting(&content)),
                    Gathered::NoRoom(_) => unreachable!("nothing else is held"),
                };
                passing.collect().await.unwrap().to_bytes()
            });
            prop_assert_eq!(passed, content);
        }

        #[test]
        fn of_content_that_was_altered_the_last_part_never_passes(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 1..8),
            at: prop::sample::Index,
            bit in 0..8u8,
        ) {
            let sent = pieces.concat();
            let mut altered = pieces;
            let place = at.index(sent.len());
            let (mut piece, mut offset) = (0, place);
            while offset >= altered[piece].len() {
                offset -= altered[piece].len();
                piece += 1;
            }
            altered[piece][offset] ^= 1 << bit;
            let last = altered.last().unwrap().len();
            let (passed, ended) = run(async {
                let mut passing = withhold(Beginning::default(), body(altered), expecting(&sent));
                let mut passed = 0;
                loop {
                    match passing.frame().await {
                        Some(Ok(frame)) => passed += frame.into_data().unwrap().len(),
                        other => break (passed, other.map(Result::err)),
                    }
                }
            });
            prop_assert_eq!(ended, Some(Some(ContentFault::Altered)));
            prop_assert_eq!(passed, sent.len() - last);
        }
    }

    #[test]
    fn what_is_gathered_is_counted_and_a_connection_that_is_full_gathers_nothing() {
        run(async {
            let memory = Memory::default();
            let full = memory.hold(Memory::MOST);
            let mut stream = body(vec![vec![7; 10]]);
            let gathered = gather(&mut stream, 100, &memory).await.unwrap();
            assert!(matches!(gathered, Gathered::NoRoom(_)));
            drop(gathered);
            drop(full);
            let mut large = body(vec![vec![7; Memory::MOST]]);
            let gathered = gather(&mut large, Memory::MOST, &memory).await.unwrap();
            let Gathered::Whole(whole) = gathered else {
                unreachable!("it fits")
            };
            assert!(!memory.has_room());
            assert_eq!(
                whole.into_body().collect().await.unwrap().to_bytes().len(),
                Memory::MOST
            );
            assert!(memory.has_room());
        });
    }
}
