//! The signature of a request: judged by its head, verified with the key that belongs to the client, and
//! accepted once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use integrity::{
    Candidate, Component, Error, Message, Name, SIGNATURE, SIGNATURE_INPUT, Selection, VerifyingKey,
};

use super::{MessageRefusal, has_content};
use crate::checks;
use crate::demands::{Asks, SignatureDemand};
use crate::digest::sha256_of;
use crate::peer::Client;
use crate::replays::Times;
use crate::request::{Head, Received};

/// Who signed a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The name of a registered key; nothing for the key of the client's certificate.
    pub key: Option<Box<str>>,
    /// The algorithm, as RFC 9421 6.2 names it.
    pub algorithm: &'static str,
}

/// Whether there is a signature where there must be one: the first question, which costs nothing.
///
/// # Errors
/// [`MessageRefusal::Signature`].
pub(super) fn look(received: &Received, demand: &SignatureDemand) -> Result<(), MessageRefusal> {
    if demand.is_required && !is_signed(&received.head) {
        return Err(refused(received, demand, Error::SignatureMissing));
    }
    Ok(())
}

/// Verifies the signature of a request, if it has one.
///
/// # Errors
/// [`MessageRefusal`].
pub(super) fn verify(
    received: &Received,
    demand: &SignatureDemand,
) -> Result<Option<Signer>, MessageRefusal> {
    let head = &received.head;
    if !is_signed(head) {
        return Ok(None);
    }
    let asks = asks(received);
    let refused = |error| refused(received, demand, error);
    let now = received.at.0 / 1_000_000_000;
    let view = checks::signed_view(head).ok_or_else(|| refused(Error::SignatureMissing))?;
    let policy = demand.policy(asks);
    let candidate = Candidate::examine(&Message::Request(view), Selection::only(), policy, now)
        .map_err(refused)?;
    let (key, name) =
        key(received, demand, candidate.keyid()).ok_or_else(|| refused(Error::KeyUnknown))?;
    let verified = candidate.verify(key).map_err(refused)?;
    // What is covered must arrive: `Connection` would end it at this hop (RFC 9110 7.6.1).
    for named in http1::connection::nominated(&head.headers) {
        let ends = |component: &&Component| match component.name() {
            Name::Field { name, .. } => named.eq_ignore_ascii_case(name.as_str()),
            _ => false,
        };
        if let Some(component) = verified.covered().iter().find(ends) {
            let component = component.public_name();
            return Err(refused(Error::ValueAmbiguous { component }));
        }
    }
    // Only what verified takes a place: nobody can fill the window, or use up a nonce, for another.
    let times = Times {
        created: verified.params().created.unwrap_or(0),
        expires: verified.params().expires,
    };
    let whose = match (name, &received.peer.client) {
        (Some(name), _) => sha256_of([&b"registered"[..], name.as_bytes()]),
        (None, Client::Known(identity)) => {
            // The key, whoever vouches for it: under two trust sets it is one.
            sha256_of([&b"client"[..], &identity.leaf().fingerprint])
        }
        (None, Client::Anonymous) => return Err(refused(Error::KeyUnknown)),
    };
    demand
        .replays
        .accept(now, times, &whose, verified.replay_key())
        .map_err(MessageRefusal::Replay)?;
    Ok(Some(Signer {
        key: name.map(Into::into),
        algorithm: verified.algorithm().name(),
    }))
}

fn is_signed(head: &Head) -> bool {
    let mut fields = [SIGNATURE, SIGNATURE_INPUT].into_iter();
    fields.any(|field| head.headers.contains_key(field))
}

fn asks(received: &Received) -> Asks {
    let content = has_content(received);
    Asks {
        query: checks::query_of(&received.head).is_some(),
        content,
        content_type: content && received.head.headers.contains_key(CONTENT_TYPE),
        content_encoding: content && received.head.headers.contains_key(CONTENT_ENCODING),
    }
}

fn refused(received: &Received, demand: &SignatureDemand, error: Error) -> MessageRefusal {
    MessageRefusal::Signature {
        error,
        asks: demand.accept(asks(received)).into(),
    }
}

/// The key that this client may sign with, and its name if it is a registered one.
fn key<'a>(
    received: &'a Received,
    demand: &'a SignatureDemand,
    keyid: Option<&str>,
) -> Option<(&'a VerifyingKey, Option<&'a str>)> {
    let keyid = keyid?;
    let identity = match &received.peer.client {
        Client::Known(identity) => Some(identity),
        Client::Anonymous => None,
    };
    if let Some(identity) = identity
        && keyid == URL_SAFE_NO_PAD.encode(identity.leaf().fingerprint)
    {
        return Some((identity.key()?, None));
    }
    let registered = demand.keys.iter().find(|key| &*key.name == keyid)?;
    let may_sign = registered
        .client
        .as_ref()
        .is_none_or(|client| identity.is_some_and(|identity| identity.name() == client));
    may_sign.then_some((&registered.key, Some(&*registered.name)))
}
