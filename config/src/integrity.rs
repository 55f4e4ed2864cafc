//! What is asked of messages, so that what was sent is what arrived, and arrived once.
//!
//! The part of the model that belongs to HTTP Message Signatures (RFC 9421) and to digests of
//! content (RFC 9530). It says what the gateway demands and what it adds. No key is read and
//! nothing is verified here.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::component::Component;
use crate::name::KeyName;
use crate::pattern::ClientName;
use crate::place::{Place, Placed};
use crate::secret::{FilePath, Secret};

/// What all signatures have in common: the window of what was accepted, and keys.
#[derive(Clone, Debug)]
pub struct Signatures {
    /// The table.
    pub place: Place,
    /// Where the window is kept. There whenever a route takes signatures.
    pub replay: Replay,
    /// How many accepted signatures are remembered at once. When all are taken, further signed
    /// requests are refused.
    pub window: NonZeroU32,
    /// The gateway's own key. There whenever the gateway signs something.
    pub key: SigningKey,
    /// Registered keys; the name is the `keyid` (RFC 9421 section 2.3).
    pub keys: BTreeMap<KeyName, RegisteredKey>,
}

/// Where the window of accepted signatures is kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// In this folder.
    Kept(FilePath),
    /// Nobody said, and no route takes signatures.
    Unstated,
}

/// The gateway's own private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SigningKey {
    /// Here it is: PKCS#8 (RFC 5958) in PEM.
    Stated(Secret),
    /// Nobody said, and the gateway signs nothing.
    Unstated,
}

/// A public key that counts beside those of certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredKey {
    /// The table.
    pub place: Place,
    /// The file with the key: SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) in PEM.
    pub public: FilePath,
    /// Whose requests it may sign.
    pub client: KeyClient,
}

/// Whose requests a registered key may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyClient {
    /// Those of the client that proves this name, and of nobody else.
    Only(Placed<ClientName>),
    /// Those of any client, with or without a name.
    Any,
}

/// Whether something has to stand in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Without it the request is refused, and so it is when it is wrong.
    Required,
    /// When it is wrong the request is refused. It may be absent.
    WhenPresent,
    /// Nobody looks at it.
    Off,
}

/// What a route demands of signatures (RFC 9421).
#[derive(Clone, Debug)]
pub struct SignatureRule {
    /// Whether there has to be one. The rest is about those that count.
    pub demand: Placed<Demand>,
    /// What has to be covered. Never empty. Besides, without being named here: `content-digest` and
    /// `content-type` of a request with content. `@query` is asked for only of a request with a
    /// query.
    pub covers: Vec<Placed<Component>>,
    /// The oldest `created` that counts.
    pub age: Duration,
    /// How far ahead of the gateway's clock `created` may be.
    pub skew: Duration,
    /// Registered keys that count beside the key of the client's certificate.
    pub keys: Vec<Placed<KeyName>>,
}

/// What the gateway adds to answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Nothing.
    Plain,
    /// The digest of their content.
    Digest,
    /// The digest, and a signature with the gateway's own key.
    Signed,
}

/// With which key an upstream signs its answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerKey {
    /// With the private one of this file: SubjectPublicKeyInfo in PEM. Signed answers are verified.
    Stated(FilePath),
    /// Nobody said.
    Unstated,
}
