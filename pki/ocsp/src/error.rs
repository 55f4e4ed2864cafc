//! What can be wrong with the octets of a request or response.

use std::fmt;

/// It is not what the standard says: not DER, of another version, too long, or with a part that must
/// be understood and is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Which part.
    pub what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is malformed ({})", self.what)
    }
}

impl std::error::Error for Malformed {}
