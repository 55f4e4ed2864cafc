//! Where fresh bytes come from: an argument, so that nothing in this folder draws its own and every
//! test can be repeated.

use std::fmt;

/// A source of bytes that nobody can foretell.
///
/// A closure over the system's generator is one. Every caller fails closed: without fresh bytes
/// there is no key, and without a key nothing is sealed.
pub trait Random {
    /// Fills `out`.
    ///
    /// # Errors
    /// [`NoRandomness`] when there is none; what `out` then holds must not be used.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoRandomness>;
}

impl<F: FnMut(&mut [u8]) -> Result<(), NoRandomness>> Random for F {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoRandomness> {
        self(out)
    }
}

/// The source of fresh bytes gave none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no randomness")
    }
}

impl std::error::Error for NoRandomness {}
