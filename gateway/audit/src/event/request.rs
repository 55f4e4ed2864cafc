//! Events of requests: what was about to happen, what left, how it ended.

use std::net::SocketAddr;

use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::{Code, Digest, Id, Integrity, Subjects};

/// What every record of a request says of the request.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Request<'a> {
    /// Joins the records of this request; the `x-request-id` of its answer.
    #[n(0)]
    pub request_id: Id,
    /// Joins the records of its connection.
    #[n(1)]
    pub connection_id: Id,
    /// The name that the certificate proved, as `trust:name`.
    #[cbor(b(2))]
    pub client: Option<&'a str>,
    /// The person, when something that the gateway believes has named one.
    #[cbor(b(3))]
    pub user: Option<&'a str>,
    /// Method.
    #[cbor(b(4))]
    pub method: Option<&'a str>,
    /// Route, once one was chosen.
    #[cbor(b(5))]
    pub route: Option<&'a str>,
    /// The rule that permitted it, once one did.
    #[cbor(b(6))]
    pub rule: Option<&'a str>,
    /// FHIR resource type, on FHIR routes.
    #[cbor(b(7))]
    pub resource: Option<&'a str>,
    /// FHIR interaction (R4, code system `restful-interaction`), on FHIR routes.
    #[cbor(b(8))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interaction: Option<&'a str>,
    /// Whom it concerns, as far as this record is the one to say it; on FHIR routes.
    #[n(9)]
    #[serde(flatten)]
    pub subjects: Option<Subjects>,
    /// Its target as it was received, sealed once more (`seal::target`): in its first record, of a log
    /// that is sealed. It is no field of the JSON.
    #[cbor(b(10))]
    #[serde(skip)]
    pub target: Option<&'a ByteSlice>,
    /// What was proved of its message.
    #[cbor(b(11))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integrity: Option<Integrity<'a>>,
}

/// `intent`: written before a request with effects is forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Intent<'a> {
    /// The request.
    #[cbor(b(0))]
    #[serde(flatten)]
    pub request: Request<'a>,
    /// Declared length of its content, bytes.
    #[n(1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_length: Option<u64>,
}

/// `release`: written before the first byte of an answer leaves.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Release<'a> {
    /// The request.
    #[cbor(b(0))]
    #[serde(flatten)]
    pub request: Request<'a>,
    /// Status of the answer.
    #[n(1)]
    pub status: u16,
    /// Its media type, without parameters, cut at 64 bytes.
    #[cbor(b(2))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'a str>,
    /// Its length in bytes, when the whole of it is in hand or declared.
    #[n(3)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// SHA-256 of its content, when the whole of it is in hand.
    #[n(4)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The upstream that answered.
    #[cbor(b(5))]
    pub upstream: &'a str,
    /// How many times the request was given to an upstream connection.
    #[n(6)]
    pub attempts: u8,
}

/// `passage`: written before a further window of a streamed answer leaves.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Passage<'a> {
    /// The request.
    #[cbor(b(0))]
    #[serde(flatten)]
    pub request: Request<'a>,
    /// Where the window begins in the content of the answer, bytes: as much is covered by the records
    /// before. Two of one request with the same offset are one window, recorded again.
    #[n(1)]
    pub offset: u64,
    /// The bytes of the window where it was in hand, else the most that may leave in it.
    #[n(2)]
    pub bytes: u64,
    /// Whose bytes they are. Without it, those of the answer.
    #[n(3)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<Sender>,
}

/// Who sends what passes in a window, where it is not the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// The client, in a tunnel.
    #[n(0)]
    Client,
}

/// `completion`: how the answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Completion<'a> {
    /// The request.
    #[cbor(b(0))]
    #[serde(flatten)]
    pub request: Request<'a>,
    /// Status of the answer, if one left or was about to.
    #[n(1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes of content that left.
    #[n(2)]
    pub bytes: u64,
    /// How it ended.
    #[n(3)]
    pub code: Code,
}

/// `refusal`: the answer was a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Refusal<'a> {
    /// The request, as far as it was understood.
    #[cbor(b(0))]
    #[serde(flatten)]
    pub request: Request<'a>,
    /// The peer's address and port.
    #[n(1)]
    pub address: SocketAddr,
    /// Status of the answer.
    #[n(2)]
    pub status: u16,
    /// Why.
    #[n(3)]
    pub code: Code,
    /// Evidence for the code, in the gateway's own words.
    #[cbor(b(4))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
    /// How many times the request was given to an upstream connection before.
    #[n(5)]
    pub attempts: u8,
}
