//! The promises of the codec, from outside: rows written from the standards, and laws that hold
//! for any bytes.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no test in the helpers of tests"
)]

mod encoding;
mod handing_over;
mod laws;
mod oracle;
mod round_trip;
mod support;
mod vectors;
