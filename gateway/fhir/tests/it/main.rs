//! The promises of the crate, from outside: vectors, laws and an oracle.

mod laws;

mod oracle;

mod random;

mod scanning;

mod support;

mod targets;
