//! What talks to the network: the feature `net`. Nothing of the log's core imports it, and nothing here
//! writes entries.
//!
//! ```text
//! http      one exchange with a server: bounded, with a deadline       (hyper, tokio)
//! serve     a witness, asked over HTTP                                 (C2SP tlog-witness)
//! submit    one witness, asked for a cosignature of what lies in a log
//! witnesses a thread that asks all of them, again and again
//! cursor    how far the log was shipped     feed   its messages, in order
//! syslog    a receiver over TLS                                        (RFC 5425)
//! ```
//!
//! Nothing here is waited for by a request. TLS for witnesses comes as the library's configuration from
//! whoever calls: which versions and suites are spoken is not decided here.

pub mod http;

pub mod serve;

pub mod submit;

pub mod witnesses;

pub mod cursor;

pub mod feed;

pub mod syslog;
