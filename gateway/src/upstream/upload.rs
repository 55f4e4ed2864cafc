//! What of a request is to be written to an HTTP/1.1 connection next: its head, and its content as the
//! framing has it. Bytes alone; nothing here is polled.

use std::num::NonZeroUsize;

use ::http1::encode;
use ::http1::framing::Framing;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

use crate::headers;

/// Pieces up to this size are copied together with what stands before them.
pub(super) const SMALL: usize = 16 * 1024;

/// What is to be written next.
pub(super) struct Upload {
    /// Bytes of ours: the head, chunk framing, small pieces.
    pub(super) head: BytesMut,
    /// A piece of content that follows `head` and is not copied.
    pub(super) piece: Bytes,
    pub(super) framing: Framing,
    /// Bytes that the connection took.
    pub(super) sent: u64,
    /// Whether any content was taken from the client.
    pub(super) taken: bool,
    /// Whether it is the client who keeps us waiting: that is not held against the upstream.
    pub(super) waits_for_client: bool,
    pub(super) state: UploadState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UploadState {
    /// More content may come.
    Reading,
    /// All content is in `head` and `piece`.
    Last,
    /// All of it is written.
    Done,
    /// The upstream takes no more; it may have answered all the same.
    Deaf,
}

impl Upload {
    /// Whether neither the upstream has seen the request nor we have taken content off it.
    pub(super) fn is_untouched(&self) -> bool {
        self.sent == 0 && !self.taken
    }

    pub(super) fn add(&mut self, frame: Frame<Bytes>) {
        self.taken = true;
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => {
                if let (Framing::Chunked, Some(length)) =
                    (self.framing, NonZeroUsize::new(data.len()))
                {
                    encode::chunk_head(&mut self.head, length);
                }
                if data.len() <= SMALL {
                    self.head.extend_from_slice(&data);
                    self.end_chunk();
                } else {
                    self.piece = data;
                }
            }
            Err(frame) => {
                let mut trailers = frame.into_trailers().unwrap_or_default();
                headers::filter_trailers(&mut trailers);
                self.end(&trailers);
            }
        }
    }

    pub(super) fn end_chunk(&mut self) {
        if self.framing == Framing::Chunked {
            self.head.extend_from_slice(encode::CHUNK_END);
        }
    }

    pub(super) fn end(&mut self, trailers: &HeaderMap) {
        if self.framing == Framing::Chunked && encode::last_chunk(&mut self.head, trailers).is_err()
        {
            // Trailers that cannot be written are left out: they are not content.
            let _ = encode::last_chunk(&mut self.head, &HeaderMap::new());
        }
        self.state = UploadState::Last;
    }
}
