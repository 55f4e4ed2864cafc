//! What TLS is: the one place that names versions, suites, groups and verifiers.
//!
//! rustls enforces all of it; `hello` has looked at the offer before and may only refuse more.
//! Standards: RFC 9325, NIST SP 800-52r2 3; RFC 8446, RFC 5246, RFC 7627. Never here: 0-RTT,
//! renegotiation, compression, session resumption (a ticket would outlive a revocation; it comes
//! with `tickets`, which can end it).
//!
//! | question | answered by |
//! |---|---|
//! | what is offered at all? | `profile` |
//! | is this certificate of ours fit for its use? | `own` |
//! | what does its authority say of it, to be shown with it? | `staple` |
//! | is this chain a client, and is it still one? | `chain` |
//! | was it verified before? | `verified` |
//! | what does a responder say of it? | `status` |
//! | how does a listener speak TLS? | `server` |
//! | how do we speak it to an upstream? | `client` |

mod profile;

mod staple;

mod own;

mod verified;

mod status;

mod chain;

mod server;

mod client;

#[cfg(test)]
pub(crate) mod testing;

pub use chain::{ChainRefusal, ClientTrust, Revocation};
pub use client::{client_side, upstream_name};
pub use own::{OwnCertificate, OwnFault};
pub use profile::{ALPN, provider, signature_algorithms};
pub use server::{Clients, Evidence, ServerSide};
pub use staple::{Staple, StapleFault, StapleSource, StapleStanding, Staples};
pub use status::{LeafStanding, StatusFault, Statuses};
