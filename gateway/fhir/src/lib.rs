//! Whom a FHIR request and its contents concern: the patients that are named in a target, a form and
//! a body, and whether these are all. It reads what passes, in constant memory, and changes nothing.
//!
//! ```text
//!  method, path, query ──► target::read ──► Target { interaction, resource, found } ─┐
//!  form of a search ─────► Target::form ───────────────────────────────────► Found ──┤ the gateway makes
//!  body, in any pieces ──► Scanner::push .. take .. finish ────────────────► Found ──┤ pseudonyms of the
//!                                                                                    │ names and records
//!                               Target::settled ◄── whose word counts ◄──────────────┘ them
//! ```
//!
//! Standard: HL7 FHIR R4 (4.0.1); RFC 8259 and its lines (NDJSON); RFC 3986. Other versions of FHIR
//! write references and Patient resources alike; a resource type that R4 does not know is said to be
//! unknown and is read all the same.
//!
//! One rule decides: **every reference to a Patient, wherever it stands, names somebody who is
//! concerned**, and so does every Patient resource. The patient compartment only decides what is
//! missing: a subject that is not named, or somebody who may be a patient and has an identifier
//! without a type. So the order of keys does not matter, and neither do extensions and profiles.
//!
//! What this crate does not do: no sockets, clock or tasks; no XML, Turtle or encoded content, which
//! the caller declares unknown; no validation of resources beyond what naming needs; no pseudonyms.
//! What a patient is called in narrative, names and free text is not read.

// The order is the law: a file imports only files above it.

mod text;

pub mod types;

mod found;

mod reference;

mod query;

pub mod target;

mod scan;

pub use found::{Completeness, Found, Limits, Reason, Subject, SubjectSystem};
pub use scan::Scanner;
pub use target::{Interaction, Target};
pub use types::resource_type;
