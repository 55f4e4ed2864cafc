//! Message integrity over `http` types, sans-I/O: what was sent is what arrived, once. Digests of
//! content (RFC 9530), signatures of messages (RFC 9421), and a window against replays. Bytes, keys
//! and times come in as arguments; proofs and refusals go out as values.
//!
//! ```text
//!  Message ──► Selection, Policy, now ──► Candidate ──► VerifyingKey ──► Verified ──► Replay::insert
//!  (a view)    what needs no key                        the signature    a proof      once, or refused
//!     │
//!     ├──────► Digests::read ──► Hasher, fed with the content ──► Digests::check
//!     │
//!     └──────► Draft ──► Prepared ──► SigningKey, or a key elsewhere ──► Signed::attach
//! ```
//!
//! | question | answered by |
//! |---|---|
//! | what of a message can be covered? | [`Component`], [`Message`] |
//! | what exactly is signed? | [`Base`], [`Input`] |
//! | is the content what its digest says? | [`digest`] |
//! | which keys and algorithms are there, and how are public keys published? | [`keys`] |
//! | is this signature good enough, and good? | [`Policy`], [`Candidate`], [`verify()`] |
//! | how is one made? | [`Draft`], [`Signed`] |
//! | why does it not verify? | [`explain`] |
//! | was this message here before? | [`replay`] |
//! | what is wrong with it? | [`Error`], [`DigestError`], [`KeyError`], [`ReplayError`] |
//! | how much of anything is too much? | [`limits`] |
//!
//! Everything fails closed: what is malformed, ambiguous, too large, too old or not understood is
//! an error with a stable code, and nothing is repaired. Four things are stricter than the
//! standards ask, because a signature must have one reading: a key that stands twice in a
//! structured field is refused; signatures and digests are canonical base64; lines of `Set-Cookie`
//! are not joined; a query parameter that is not UTF-8 is not replaced.
//!
//! What this crate does not do: no sockets, files, clock or tasks; it fetches no key and trusts
//! none; it knows no certificate (the public key inside is enough); it does not parse
//! `Accept-Signature`; and a signature says nothing of what it does not cover.

// The order is the law: a file imports only files above it.

pub mod limits;

mod error;

mod structured;

mod fields;

mod query;

mod component;

mod params;

mod message;

mod base;

pub mod digest;

pub mod keys;

mod signatures;

mod verify;

mod sign;

pub mod explain;

pub mod replay;

pub use base::Base;
pub use component::{Component, Form, Name};
pub use digest::{DigestAlgorithm, Digests, Hasher, Want};
pub use error::{DigestError, Error, Fault, KeyError, ReplayError, SnapshotError};
pub use keys::{Algorithm, Algorithms, JwkSet, SigningKey, VerifyingKey};
pub use message::{Message, Request, Response};
pub use params::{Input, Params};
pub use replay::Replay;
pub use sign::{Draft, Prepared, Signed};
pub use signatures::{SIGNATURE, SIGNATURE_INPUT, Selection};
pub use verify::{Candidate, Policy, Verified, verify};
