//! The ClientHello: read strictly, judged by a table of rules, remembered as evidence.
//!
//! ```text
//!  bytes ──► HelloReader ──► ClientHello ──► judge(RULES, Policy) ──► Inspected
//!                 │                                │
//!                 └────────► HelloRefusal ◄────────┘ ──► alert() ──► alert_record()
//! ```
//!
//! Standards: RFC 8446 4.1.2, 4.2, 5.1; RFC 5246 7.4.1.2, appendix E; RFC 7507; RFC 8701; each
//! check names its own. The TLS library neither shows which versions were offered nor looks at
//! TLS_FALLBACK_SCSV, so that naming a downgrade attempt, answering it with the alert that its RFC
//! asks for and recording what was offered takes a look at the hello before the library gets the
//! same bytes.
//!
//! What this module does not do: no I/O, clock or randomness; it negotiates nothing. The TLS
//! library stays the enforcer: what passes here is judged again there, so that a defect here can
//! refuse too much or blame wrongly but never let anyone in. Only the first hello of a connection
//! is read; the second flight after a HelloRetryRequest is the library's. Which versions, suites,
//! groups and schemes are allowed is the caller's [`Policy`].
//!
//! Bounds: a message of [`MAX_HELLO_BYTES`], [`MAX_RECORDS`] records, [`MAX_FLIGHT_BYTES`] bytes in
//! all. However thinly it trickles, each byte is looked at once, but for the first few until it is
//! clear what is spoken. Lists are kept as they stand on the wire, so that what is remembered is no
//! larger than what was sent.

// The order is the law: a file imports only files above it.

mod refusal;

mod cursor;

mod server_name;

mod offer;

mod extensions;

mod grammar;

mod first;

mod reader;

mod ja4;

mod rules;

#[cfg(test)]
mod tests;

pub use extensions::{EXTENSIONS, Extension};
pub use offer::{ClientHello, ProtocolNames, is_grease};
pub use reader::{HelloReader, MAX_FLIGHT_BYTES, MAX_HELLO_BYTES, MAX_RECORDS};
pub use refusal::{HelloRefusal, alert, alert_record};
pub use rules::{Inspected, ParameterSet, Policy, RULES, Refused, Rule, judge};
pub use server_name::ServerName;
