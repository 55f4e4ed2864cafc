//! The promises of the crate, from outside: vectors, laws and an oracle.

mod scanning;

mod support;

mod targets;
