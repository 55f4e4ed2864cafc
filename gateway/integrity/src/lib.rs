//! RFC 9530 digests and RFC 9421 signatures over http types.

mod error;

mod structured;

pub use error::{DigestError, Error, Fault, KeyError};
