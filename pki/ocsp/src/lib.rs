//! The status of certificates, asked and answered (OCSP: RFC 6960, in the profile for many clients of
//! RFC 5019, nonces by RFC 9654). Sans-I/O: bytes, keys and times come in as arguments, values and
//! judgements go out. No sockets, files, clock or random numbers.
//!
//! ```text
//!  responder   Request::parse ──► CertId ──► Answer ──► tbs ──► (a key elsewhere signs) ──► assemble
//!  client      CertId::of ──► Request::encode, path ──► (a network elsewhere) ──► verify() ──► Verified
//! ```
//!
//! | question | answered by |
//! |---|---|
//! | which certificate is meant? | [`CertId`], [`Issuer`] |
//! | what was asked, and how is it asked over GET? | [`Request`] |
//! | what is signed, and what is sent? | [`Answer`], [`assemble`], [`ErrorStatus`] |
//! | what does a response say, believed or not? | [`Response`] |
//! | is it to be believed? | [`verify()`] |
//!
//! Everything fails closed: what is not DER, longer than its limit, of another version or not
//! understood is refused, and nothing is repaired.
//!
//! The DER is read and written here, in `der.rs`, and not by a library. `x509-ocsp` would bring a
//! second family of ASN.1 crates beside the one that reads certificates in this workspace, its
//! builder signs at once where ours must be linted in between, and its parser takes the whole of the
//! standard, of which most must then be refused again. Certificates are still read by
//! `x509-parser`, and every judgement of a certificate or signature is `webpki`'s.
//!
//! What is left out: the nonce of a request is read and ignored, because responses are signed
//! ahead; signatures on requests are not looked at (RFC 5019 section 2.1.2); archive cutoff,
//! service locators and delta information do not exist here.

// words

mod error;

mod der;

pub use error::Malformed;

// what is asked

mod cert_id;

mod request;

pub use cert_id::{CertId, HashAlgorithm, Issuer, KeyHash};
pub use request::{MAX_CERTIFICATES, MAX_PATH_OCTETS, MAX_REQUEST_OCTETS, Request};

// what is answered

mod response;

pub use response::{
    Answer, Basic, ErrorStatus, MAX_RESPONSE_OCTETS, ReasonCode, Responder, Response, Single,
    Status, assemble,
};

// what is believed

mod fault;

mod verify;

pub use fault::Fault;
pub use verify::{CLOCK_SKEW, SHORT_LIVED, Verified, verify};
