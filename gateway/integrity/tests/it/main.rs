//! The promises of digests and signatures, from outside: the vectors of the standards, refusals one
//! by one, and laws that hold for any message.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in the helpers of tests"
)]

mod laws;
mod signing;
mod support;
mod vectors;
mod verifying;
