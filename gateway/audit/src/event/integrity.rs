//! What was proved of a request's message: that its content is what was sent, and by whose key.

use minicbor::{Decode, Encode};
use serde::{Serialize, Serializer};

/// What was proved of a request's message. Absent where nothing was asked for and nothing stated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Integrity<'a> {
    /// Whether its content is what its digest says (RFC 9530).
    #[n(0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Whose key signed it (RFC 9421): `certificate` for that of the client's certificate, else the name
    /// of a registered one.
    #[cbor(b(1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The algorithm of the signature, as RFC 9421 6.2 names it.
    #[cbor(b(2))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<&'a str>,
}

/// Whether content is what its digest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Content {
    /// It is.
    #[n(0)]
    Verified,
    /// It is checked while it passes, and its last part withheld until it was: how that ended, a later
    /// record says.
    #[n(1)]
    Awaited,
}

impl Content {
    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Content::Verified => "verified",
            Content::Awaited => "awaited",
        }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
