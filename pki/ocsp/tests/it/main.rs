//! Requests and responses, against `openssl ocsp` both ways, by judgement, and by laws.

// What goes wrong in a test is the test's result.
#![allow(clippy::unwrap_used)]

mod support;

mod judgement;
mod laws;
mod openssl;
