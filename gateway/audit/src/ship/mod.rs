//! What talks to the network: the feature `net`. Nothing of the log's core imports it.
//!
//! ```text
//! http      one exchange with a server: bounded, with a deadline       (hyper, tokio)
//! serve     a witness, asked over HTTP                                 (C2SP tlog-witness)
//! submit    one witness, asked for a cosignature of what lies in a log
//! witnesses a thread that asks all of them, again and again
//! ```
//!
//! Nothing here is waited for by a request. TLS comes as the library's configuration from whoever
//! calls: which versions and suites are spoken is not decided here.

pub mod http;

pub mod serve;

pub mod submit;

pub mod witnesses;
