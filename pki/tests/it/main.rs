//! The program `pki` as an operator meets it: driven as a process, judged by openssl and by the
//! verifier that gateways use. One module a promise.

// What goes wrong in a test is the test's result.
#![allow(clippy::unwrap_used)]

mod support;

mod backup;
mod bulk;
mod ceremony;
mod crash;
mod doctor;
mod enrol;
mod est;
mod est_server;
mod find;
mod init;
mod issue;
mod keys;
mod log;
mod pkcs11;
mod postgres;
mod profiles;
mod renew;
mod request;
mod revoke;
mod serve;
mod shared;
mod together;
mod token;
mod usage;
