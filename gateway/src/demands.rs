//! What a route asks of messages beyond their limits: digests and signatures.

use std::sync::Arc;
use std::time::Duration;

use config::{ClientName, Demand};
use integrity::{Algorithms, Component, Policy, VerifyingKey};

use crate::replays::Replays;

/// What a route asks of the messages on it.
#[derive(Debug)]
pub struct Demands {
    /// A digest of the content (RFC 9530).
    pub digest: Demand,
    /// A signature (RFC 9421); nothing where none is looked at.
    pub signature: Option<SignatureDemand>,
    /// Whether the gateway states the digest of content where nobody did: its upstream gets signed requests.
    pub states_digest: bool,
    /// Content up to this size is checked before any of it is forwarded, bytes.
    pub buffer: usize,
}

/// Nothing is asked, and nothing looked at.
impl Default for Demands {
    fn default() -> Demands {
        Demands {
            digest: Demand::Off,
            signature: None,
            states_digest: false,
            buffer: 0,
        }
    }
}

/// What a signature must be.
#[derive(Debug)]
pub struct SignatureDemand {
    /// Whether there must be one.
    pub is_required: bool,
    /// Whether content that is larger than the buffer passes while it is checked.
    pub stream: bool,
    /// Keys that count besides that of the client's certificate.
    pub keys: Vec<RegisteredKey>,
    /// What was accepted before.
    pub replays: Arc<Replays>,
    /// By what a request has: see [`Asks`].
    policies: Vec<Policy>,
}

/// A key that is known by its name.
#[derive(Debug)]
pub struct RegisteredKey {
    /// Its keyid.
    pub name: Box<str>,
    /// The key.
    pub key: Arc<VerifyingKey>,
    /// The only client whose requests it may sign.
    pub client: Option<ClientName>,
}

/// What a request has that must then be covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asks {
    /// A query.
    pub query: bool,
    /// Content.
    pub content: bool,
    /// Content with a type.
    pub content_type: bool,
    /// Content with a coding, without which it would be read as something else (RFC 9110 8.4).
    pub content_encoding: bool,
}

impl Asks {
    const ALL: usize = 16;

    fn at(number: usize) -> Asks {
        Asks {
            query: number & 1 != 0,
            content: number & 2 != 0,
            content_type: number & 4 != 0,
            content_encoding: number & 8 != 0,
        }
    }

    fn number(self) -> usize {
        usize::from(self.query)
            | usize::from(self.content) << 1
            | usize::from(self.content_type) << 2
            | usize::from(self.content_encoding) << 3
    }
}

impl SignatureDemand {
    /// The demand that these components are covered, by a signature that is not older than `age` by a clock
    /// that is off by no more than `skew`.
    ///
    /// # Errors
    /// [`integrity::Error`] when one of them is no component.
    pub fn new(
        covers: &[&str],
        (age, skew): (Duration, Duration),
        is_required: bool,
        stream: bool,
        keys: Vec<RegisteredKey>,
        replays: Arc<Replays>,
    ) -> Result<SignatureDemand, integrity::Error> {
        let policies = (0..Asks::ALL).map(|number| policy(covers, age, skew, Asks::at(number)));
        Ok(SignatureDemand {
            is_required,
            stream,
            keys,
            replays,
            policies: policies.collect::<Result<_, _>>()?,
        })
    }

    /// What the signature of a request with this must be.
    pub fn policy(&self, asks: Asks) -> &Policy {
        &self.policies[asks.number()]
    }

    /// The same as a member of `Accept-Signature` (RFC 9421 5.1).
    pub fn accept(&self, asks: Asks) -> String {
        let policy = self.policy(asks);
        let covered: Vec<_> = policy.required.iter().map(Component::as_str).collect();
        format!("sig=({});created;nonce;keyid", covered.join(" "))
    }
}

fn policy(
    covers: &[&str],
    age: Duration,
    skew: Duration,
    asks: Asks,
) -> Result<Policy, integrity::Error> {
    // A query cannot be covered where there is none.
    let named = covers
        .iter()
        .filter(|name| asks.query || **name != "@query")
        .copied();
    let content = asks.content.then_some("content-digest");
    let content_type = asks.content_type.then_some("content-type");
    let content_encoding = asks.content_encoding.then_some("content-encoding");
    let mut required: Vec<Component> = Vec::new();
    let fields = content
        .into_iter()
        .chain(content_type)
        .chain(content_encoding);
    for name in named.chain(fields) {
        let component = component(name)?;
        if !required.contains(&component) {
            required.push(component);
        }
    }
    let mut policy = Policy::strict(required);
    policy.max_age = Some(age);
    policy.skew = skew;
    policy.algorithms = Algorithms::PUBLIC_KEY;
    Ok(policy)
}

/// A component as the configuration and the command line spell it: without quotes, its parameters
/// behind it.
///
/// # Errors
/// [`integrity::Error`] when it is none.
pub fn component(name: &str) -> Result<Component, integrity::Error> {
    match name.split_once(';') {
        None => Component::named(name),
        Some((name, parameters)) => Component::parse(&format!("\"{name}\";{parameters}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn demand(covers: &[&str]) -> Result<SignatureDemand, integrity::Error> {
        let replays = Arc::new(Replays::new(PathBuf::new(), 1000));
        let times = (Duration::from_mins(5), Duration::from_secs(30));
        SignatureDemand::new(covers, times, true, false, Vec::new(), replays)
    }

    #[test]
    fn what_a_request_has_must_be_covered_and_what_it_has_not_cannot() {
        let demand = demand(&["@method", "@query", "content-type"]).unwrap();
        let accept = |query, content, content_type| {
            demand.accept(Asks {
                query,
                content,
                content_type,
                content_encoding: false,
            })
        };
        assert_eq!(
            accept(true, true, true),
            "sig=(\"@method\" \"@query\" \"content-type\" \"content-digest\");created;nonce;keyid"
        );
        assert_eq!(
            accept(false, false, false),
            "sig=(\"@method\" \"content-type\");created;nonce;keyid"
        );
    }

    #[test]
    fn what_is_no_component_is_told_when_the_configuration_is_loaded() {
        for bad in ["", "@signature-params", "@nothing", "Date", "x;sf;bs"] {
            assert!(demand(&[bad]).is_err(), "{bad}");
        }
    }
}
