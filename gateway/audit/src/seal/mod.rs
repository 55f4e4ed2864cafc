//! Encryption at rest, and pseudonyms: the gateway can write and prove, and cannot read.
//!
//! ```text
//! reader's public key --> epoch key --> sub-key ----> sealed leaf ----> commitment, disclosure
//! reader.rs               epoch.rs      subkey.rs     sealer.rs         sealed.rs
//! (operator)              a start,      a worker,     opener.rs
//!                         a month       a minute
//! ```
//!
//! `epoch` says which key is wrapped to whom and how an epoch is destroyed; `sealed` says what a leaf
//! looks like and what stays clear. All of it is pure: keys, bytes, time and randomness come as
//! arguments. Files, and entries about keys, are the log's.
//!
//! The order of the modules is the law here too: a file imports only files above it.

mod random;

pub mod hpke;

pub mod reader;

pub mod epoch;

mod subkey;

pub mod sealed;

pub mod target;

pub mod sealer;

pub mod opener;

pub mod pseudonym;

#[cfg(test)]
mod tests;

pub use random::{NoRandomness, Random};
