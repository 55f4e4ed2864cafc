//! What black-box tests need to start the shipped binaries and to drive them from outside.
//!
//! ```text
//! place        a directory and a loopback address that no other test has
//! program      a process that ends with its test; a command with a deadline
//! disk         a file system that can be full
//! authority    certificates by `pki`                lab        odd certificates by openssl
//! configuration  the operator's file, merged of TOML
//! records      the log as `audit show` prints it     answer     an answer, read with suspicion
//! origin       an upstream that misbehaves as told   nginx      a real one
//! rsyslog      a real receiver of syslog
//! gateway      `gateway run`, its records, its end   demo       `gateway demo`, for its sample API
//! line, hello, streams, frames, curl, openssl        clients: raw TLS, HTTP/2, command lines
//! signer       a device that signs                   sink       an upstream over HTTP/2 that says what it got
//! world        all of it, ready for one request
//! sources      the project's own files, for the house rules
//! ```
//!
//! Nothing here links the gateway: a test sees what an operator, a device and an upstream see.
//! Whatever goes wrong in the harness fails the test that needed it, with a sentence about what was
//! attempted; there is no other way to handle an error here. Nothing waits without a deadline.

pub mod wait;

pub mod place;

pub mod program;

pub mod disk;

pub mod authority;

pub mod lab;

pub mod configuration;

pub mod records;

pub mod answer;

pub mod origin;

pub mod gateway;

pub mod demo;

pub mod line;

pub mod hello;

pub mod streams;

pub mod frames;

pub mod signer;

pub mod sink;

pub mod curl;

pub mod openssl;

pub mod nginx;

pub mod rsyslog;

pub mod world;

pub mod sources;
