//! RFC 9530 digests and RFC 9421 signatures over http types.

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
