//! Content held to the limits of its route: length, pauses, rate.
//!
//! Nothing is buffered: content is passed on as it comes, and a limit that is exceeded is an error of the
//! body, never its end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::headers;
use crate::request::ContentFault;

/// What content is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentLimits {
    /// The most, bytes.
    pub limit: u64,
    /// The longest pause.
    pub idle: Duration,
    /// The least in each second on the average, bytes, once [`ContentLimits::GRACE`] has passed.
    pub rate: u64,
}

impl ContentLimits {
    /// A message that ends within this time may be as slow as it likes.
    pub const GRACE: Duration = Duration::from_secs(10);
}

/// Content that ends in a fault when it exceeds its limits.
pub(super) struct Limited<B> {
    body: B,
    limits: ContentLimits,
    seen: u64,
    /// Set at the first wait: content that is in hand costs no timer.
    pause: Option<Pin<Box<Sleep>>>,
    /// Time spent waiting for the client, which is what its rate is measured by: the time that the
    /// upstream takes is not held against the client.
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl<B> Limited<B> {
    pub(super) fn new(body: B, limits: ContentLimits) -> Limited<B> {
        Limited {
            body,
            limits,
            seen: 0,
            pause: None,
            waited: Duration::ZERO,
            waiting_since: None,
        }
    }

    fn judge(&mut self, bytes: usize) -> Result<(), ContentFault> {
        self.seen += bytes as u64;
        if self.seen > self.limits.limit {
            return Err(ContentFault::TooLarge {
                limit: self.limits.limit,
            });
        }
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
        if self.waited > ContentLimits::GRACE
            && self.seen < self.limits.rate.saturating_mul(self.waited.as_secs())
        {
            return Err(ContentFault::TooSlow);
        }
        self.pause = None;
        Ok(())
    }
}

impl<B: Body<Data = Bytes, Error = ContentFault> + Unpin> Body for Limited<B> {
    type Data = Bytes;
    type Error = ContentFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentFault>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    headers::filter_trailers(trailers);
                }
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                Poll::Ready(Some(this.judge(bytes).map(|()| frame)))
            }
            Poll::Ready(other) => Poll::Ready(other),
            Poll::Pending => {
                let now = Instant::now();
                this.waiting_since.get_or_insert(now);
                let pause = this
                    .pause
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(this.limits.idle)));
                pause
                    .as_mut()
                    .poll(context)
                    .map(|()| Some(Err(ContentFault::Stalled)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::collections::VecDeque;

    /// Content that comes in pieces, each after a pause.
    struct Pieces(VecDeque<(Duration, usize)>, Option<Pin<Box<Sleep>>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = ContentFault;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, ContentFault>>> {
            let Some(&(pause, bytes)) = self.0.front() else {
                return Poll::Ready(None);
            };
            let sleep = self
                .1
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.1 = None;
            self.0.pop_front();
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; bytes])))))
        }
    }

    async fn collect(pieces: &[(u64, usize)]) -> Result<usize, ContentFault> {
        let pieces = pieces
            .iter()
            .map(|&(millis, bytes)| (Duration::from_millis(millis), bytes))
            .collect();
        let limits = ContentLimits {
            limit: 100_000,
            idle: Duration::from_secs(15),
            rate: 1024,
        };
        let limited = Limited::new(Pieces(pieces, None), limits);
        limited.collect().await.map(|whole| whole.to_bytes().len())
    }

    #[tokio::test(start_paused = true)]
    async fn content_within_its_limits_passes() {
        assert_eq!(collect(&[]).await, Ok(0));
        assert_eq!(collect(&[(0, 50_000), (14_000, 50_000)]).await, Ok(100_000));
    }

    #[tokio::test(start_paused = true)]
    async fn one_byte_too_many_is_a_fault_and_not_an_end() {
        assert_eq!(
            collect(&[(0, 50_000), (0, 50_001)]).await,
            Err(ContentFault::TooLarge { limit: 100_000 })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_is_too_long_is_a_fault() {
        assert_eq!(
            collect(&[(0, 50_000), (15_001, 1)]).await,
            Err(ContentFault::Stalled)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_a_fault_once_the_grace_is_over() {
        let trickle: Vec<_> = (0..30).map(|_| (1_000, 100)).collect();
        assert_eq!(collect(&trickle).await, Err(ContentFault::TooSlow));
        assert_eq!(collect(&trickle[..9]).await, Ok(900));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_the_upstream_takes_is_not_held_against_the_client() {
        let pieces = [(Duration::ZERO, 100), (Duration::ZERO, 100)]
            .into_iter()
            .collect();
        let limits = ContentLimits {
            limit: 1000,
            idle: Duration::from_secs(15),
            rate: 1024,
        };
        let mut limited = Limited::new(Pieces(pieces, None), limits);
        limited.frame().await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(limited.frame().await.unwrap().is_ok());
        assert!(limited.frame().await.is_none());
    }
}
