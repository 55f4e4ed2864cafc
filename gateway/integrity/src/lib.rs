//! RFC 9530 digests and RFC 9421 signatures over http types.

mod error;

mod structured;

mod fields;

mod query;

mod component;

mod params;

mod message;

mod base;

pub use base::Base;
pub use component::{Component, Form, Name};
pub use error::{DigestError, Error, Fault, KeyError};
pub use message::{Message, Request, Response};
pub use params::{Input, Params};
