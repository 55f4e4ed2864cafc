//! A strict RFC 9112 codec, both sides, sans-I/O: bytes and limits come in as arguments, heads,
//! frames and faults go out as values. It exists to make request smuggling impossible: a message
//! has one reading here or it is refused, and what is written is framed anew by [`encode`] alone.
//!
//! ```text
//!                  read                      framing                      read
//!  client  ──► RequestReader ─► RequestHead ─► framing::request ─► body::Decoder ─► Frame ─┐
//!                                                                                          │ the gateway
//!  upstream ◄── encode::request ◄── method, target as received, fields, Framing ◄──────────┤ decides and
//!  upstream ──► ResponseReader ─► ResponseHead ─► framing::response ─► Decoder ─► Frame ───┤ forwards
//!                                                                                          │
//!  client  ◄── encode::response ◄── status, fields, Framing ◄──────────────────────────────┘
//! ```
//!
//! | question | answered by |
//! |---|---|
//! | where does the head end, and what does it say? | [`RequestReader`], [`ResponseReader`] |
//! | what was asked for? | [`Target`], [`Authority`] |
//! | how is the body delimited? | [`framing`] |
//! | what is in the body, and where does it end? | [`body::Decoder`] |
//! | may the connection live on, which fields end here, does the client wait? | [`connection`] |
//! | how is a message written? | [`encode`] |
//! | what is wrong with it? | [`Error`] |
//!
//! What this crate does not do: no sockets, clock or tasks; no policy (which host, path, method or
//! upgrade is allowed, whether there is exactly one Host, how long a body may be); no HTTP/2. It
//! follows no leniency that RFC 9112 permits but does not demand, with two exceptions that cannot
//! change a reading: one empty line before a request line, and a status line without the space
//! before an absent reason phrase.
//!
//! Where `http` types are built, their own constructors are the last check of a name and a value;
//! the tests compare every head that is accepted with what httparse reads in the same bytes.

// The order is the law: a file imports only files above it.

mod error;

mod limits;

mod token;

mod lines;

mod target;

mod start_line;

mod fields;

mod head;

pub mod connection;

pub mod framing;

mod chunked;

pub mod body;

pub mod encode;

pub use error::Error;
pub use fields::may_be_trailer;
pub use head::{RequestHead, RequestReader, ResponseHead, ResponseReader};
pub use limits::Limits;
pub use start_line::Version;
pub use target::{Authority, Target, TargetForm};
