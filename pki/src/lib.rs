//! The device certificate authority: creates authorities, issues certificates, revokes them, and
//! publishes what verifiers need to know.
//!
//! ```text
//!  pki init                     pki issue                       pki revoke, pki crl
//!     │                            │                                │
//!     │           order ──► 1 Validated   profile, request          │
//!     │                     2 Reserved    store: serial drawn       │
//!     │                     3 Pending     authority: draft, lint    │
//!     ▼                     4 OnRecord    log: durable              ▼
//!  Authority<Root>          5 Signed      Authority<Issuing>     log, then store: revoked
//!   └─ Authority<Issuing>   6 Issued      store, log             lint, log, sign, replace the file
//!                           7 HandedOver  outbox
//! ```
//!
//! The order of the modules is the law: a file imports only files above it. Words know nothing but
//! themselves; the core (`profile`, `request`, `lint`) takes bytes, keys and time as arguments and
//! does no I/O; what touches files, the inventory or random numbers follows; [`ca::Ca`] puts it
//! together. The program `pki` (`main.rs`, `cli`) is the only part that prints and reads the clock.
//!
//! The root's key may be on another machine, and the two speak by files: [`ceremony`].
//!
//! [`serve`] answers over a network: verifiers from what the authority signed ahead ([`status`], the crate
//! `ocsp`, CRLs), and devices that enrol (EST, `ca/enrolment.rs`).
//!
//! The other side, `pki renew` and `pki enrol`, is [`renewal`]: it runs where a certificate is used,
//! and asks an authority beside it or over the network (EST).

// words

pub mod serial;

pub mod hardware;

pub mod name;

pub mod public_key;

pub mod profile;

pub mod reason;

pub mod constraints;

pub mod publication;

// core

pub mod request;

pub mod lint;

// files, keys, inventory

pub mod pem;

pub mod inspect;

pub mod files;

pub mod staging;

pub mod secret;

pub mod key;

pub mod token;

pub mod store;

pub mod log;

// stages

pub mod authority;

pub mod status;

pub mod ceremony;

pub mod backup;

pub mod error;

pub mod code;

pub mod issue;

pub mod outbox;

pub mod bulk;

pub mod revocation;

// the whole

pub mod settings;

pub mod ca;

pub mod serve;

// the holder's side

pub mod renewal;

pub use authority::AuthorityName;
pub use ca::{
    Bulk, Ca, Certified, Imported, IssuedCertificate, MAX_TOKEN_LIFE, NewKeys, PassphraseSources,
    Plan, Renewal, Responder, Revoked,
};
pub use constraints::NameConstraints;
pub use error::Error;
pub use inspect::Inspected;
pub use issue::{KeySource, Order};
pub use log::AuditLog;
pub use name::Name;
pub use outbox::HandedOver;
pub use profile::{EndEntity, Names, Validity};
pub use publication::Publication;
pub use reason::Reason;
pub use revocation::PublishedCrl;
pub use secret::SecretSource;
pub use serial::Serial;
pub use settings::{InventorySettings, KeySettings};
pub use store::{Filter, Find, Record};
