//! Verifying a signature, in two steps: what can be refused without a key, then the key.
//!
//! Standard: RFC 9421 3.2. It fails closed in every step: a signature that covers nothing, that
//! lacks a component or parameter that the policy asks for, whose time is not now, whose algorithm
//! is not accepted, or that covers what is not in the message, is refused before any key is used;
//! and [`Verified`] comes out of nothing but a signature that verified. What it does not do: it
//! does not look for the key, does not compare `Content-Digest` with the content
//! ([`digest`](crate::digest)), and does not remember what it has seen ([`replay`](crate::replay)).

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};

use crate::base::Base;
use crate::component::Component;
use crate::error::Error;
use crate::keys::{Algorithm, Algorithms, VerifyingKey};
use crate::message::Message;
use crate::params::{Input, Params};
use crate::signatures::{self, Selection};

/// What a signature must be to be accepted (RFC 9421 3.2.1).
#[derive(Clone, Debug)]
pub struct Policy {
    /// Components that must be covered, each as it stands here: `"date";sf` is not `"date"`.
    pub required: Vec<Component>,
    /// How long after `created` it is accepted. `Some` makes `created` a must.
    pub max_age: Option<Duration>,
    /// How far the clock of the signer may be off, in either direction.
    pub skew: Duration,
    /// Whether `expires` must be there; if it is there, it holds.
    pub require_expires: bool,
    /// Whether a `nonce` must be there.
    pub require_nonce: bool,
    /// Whether a `keyid` must be there.
    pub require_keyid: bool,
    /// Tags of which it must have one; `None` takes any, and none.
    pub tags: Option<Vec<Box<str>>>,
    /// Algorithms that are accepted.
    pub algorithms: Algorithms,
}

impl Policy {
    /// The strict one: these components, `created` at most 300 seconds ago by a clock that is at
    /// most 30 seconds off, `nonce` and `keyid`, public keys.
    pub fn strict(required: Vec<Component>) -> Policy {
        Policy {
            required,
            max_age: Some(Duration::from_mins(5)),
            skew: Duration::from_secs(30),
            require_expires: false,
            require_nonce: true,
            require_keyid: true,
            tags: None,
            algorithms: Algorithms::PUBLIC_KEY,
        }
    }

    /// The longest time between `now` and the last second at which a signature that is accepted
    /// now could be accepted again: how far a window against replays must reach. `None` where
    /// nothing bounds it.
    pub fn horizon(&self) -> Option<Duration> {
        let both = self.skew.saturating_mul(2);
        self.max_age.map(|age| age.saturating_add(both))
    }
}

/// Verifies the signature that is meant, with the key that `lookup` has for its `keyid`. Times are
/// in seconds since 1970.
pub fn verify<'k>(
    message: &Message<'_>,
    selection: Selection<'_>,
    policy: &Policy,
    now: u64,
    lookup: impl FnOnce(Option<&str>) -> Option<&'k VerifyingKey>,
) -> Result<Verified, Error> {
    let candidate = Candidate::examine(message, selection, policy, now)?;
    let key = lookup(candidate.keyid()).ok_or(Error::KeyUnknown)?;
    candidate.verify(key)
}

/// A signature that only its key can still refuse.
#[derive(Debug)]
pub struct Candidate {
    label: Box<str>,
    input: Input,
    signature: Vec<u8>,
    base: Base,
    algorithms: Algorithms,
    accepted_until: Option<u64>,
}

impl Candidate {
    /// The first step: everything that needs no key.
    pub fn examine(
        message: &Message<'_>,
        selection: Selection<'_>,
        policy: &Policy,
        now: u64,
    ) -> Result<Candidate, Error> {
        let found = signatures::find(message, selection)?;
        let accepted_until = judge(&found.input, policy, now)?;
        Ok(Candidate {
            base: Base::build(message, &found.input)?,
            label: found.label,
            input: found.input,
            signature: found.signature,
            algorithms: policy.algorithms,
            accepted_until,
        })
    }

    /// The second step: the signature itself. The algorithm is the key's.
    pub fn verify(self, key: &VerifyingKey) -> Result<Verified, Error> {
        let algorithm = key.algorithm();
        if !self.algorithms.contains(algorithm) {
            return Err(Error::AlgorithmNotAccepted {
                algorithm: algorithm.name(),
            });
        }
        let named = self.input.params().alg.as_deref();
        if named.is_some_and(|named| named != algorithm.name()) {
            return Err(Error::AlgorithmMismatch {
                key: algorithm.name(),
            });
        }
        key.verify(self.base.as_bytes(), &self.signature)?;
        Ok(Verified {
            replay_key: replay_key(self.input.params(), &self.base),
            label: self.label,
            input: self.input,
            algorithm,
            accepted_until: self.accepted_until,
        })
    }

    /// Its label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The name of its key, as the signer gave it.
    pub fn keyid(&self) -> Option<&str> {
        self.input.params().keyid.as_deref()
    }

    /// What it covers and says of itself; not yet proven.
    pub fn input(&self) -> &Input {
        &self.input
    }
}

/// A signature that verified: what it covers is what its key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    label: Box<str>,
    input: Input,
    algorithm: Algorithm,
    accepted_until: Option<u64>,
    replay_key: [u8; 32],
}

impl Verified {
    /// Its label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What it covers.
    pub fn covered(&self) -> &[Component] {
        self.input.components()
    }

    /// Whether this component is covered.
    pub fn covers(&self, component: &Component) -> bool {
        self.input.covers(component)
    }

    /// Its parameters, which are signed too.
    pub fn params(&self) -> &Params {
        self.input.params()
    }

    /// The algorithm, which is the key's.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The last second at which the policy would accept it again, since 1970; `None` where nothing
    /// bounds it, and then no window can keep it from being replayed.
    pub fn accepted_until(&self) -> Option<u64> {
        self.accepted_until
    }

    /// What a window against replays knows it by: its nonce, or without one what it signed. Never
    /// its bytes, because whoever sees an ECDSA signature can make a second valid one of it.
    pub fn replay_key(&self) -> &[u8; 32] {
        &self.replay_key
    }
}

/// What the policy says of a signature by what it says of itself; the last second at which it
/// would say so.
fn judge(input: &Input, policy: &Policy, now: u64) -> Result<Option<u64>, Error> {
    if input.components().is_empty() {
        return Err(Error::NothingCovered);
    }
    for component in &policy.required {
        if !input.covers(component) {
            return Err(Error::NotCovered {
                component: component.public_name(),
            });
        }
    }
    let params = input.params();
    let given = |text: &Option<Box<str>>| text.as_ref().is_some_and(|text| !text.is_empty());
    for (required, given, parameter) in [
        (
            policy.max_age.is_some(),
            params.created.is_some(),
            "created",
        ),
        (policy.require_expires, params.expires.is_some(), "expires"),
        (policy.require_nonce, given(&params.nonce), "nonce"),
        (policy.require_keyid, given(&params.keyid), "keyid"),
    ] {
        if required && !given {
            return Err(Error::ParameterMissing { parameter });
        }
    }
    if let Some(tags) = &policy.tags
        && !tags.iter().any(|tag| Some(tag) == params.tag.as_ref())
    {
        return Err(Error::TagNotAccepted);
    }
    if let Some(named) = &params.alg {
        let algorithm = Algorithm::by_name(named).ok_or(Error::AlgorithmUnknown)?;
        if !policy.algorithms.contains(algorithm) {
            return Err(Error::AlgorithmNotAccepted {
                algorithm: algorithm.name(),
            });
        }
    }
    judge_time(params, policy, now)
}

fn judge_time(params: &Params, policy: &Policy, now: u64) -> Result<Option<u64>, Error> {
    let skew = policy.skew.as_secs();
    let mut until: Option<u64> = None;
    if let Some(created) = params.created {
        if created > now.saturating_add(skew) {
            return Err(Error::NotYetValid { created, now });
        }
        if let Some(age) = policy.max_age {
            let last = created.saturating_add(age.as_secs()).saturating_add(skew);
            if now > last {
                let limit = age.as_secs();
                return Err(Error::TooOld {
                    created,
                    now,
                    limit,
                });
            }
            until = Some(last);
        }
    }
    if let Some(expires) = params.expires {
        let last = expires.saturating_add(skew);
        if now > last {
            return Err(Error::Expired { expires, now });
        }
        until = Some(until.map_or(last, |until| until.min(last)));
    }
    Ok(until)
}

fn replay_key(params: &Params, base: &Base) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    match params.nonce.as_deref() {
        Some(nonce) if !nonce.is_empty() => {
            context.update(b"nonce\0");
            context.update(nonce.as_bytes());
        }
        _ => {
            context.update(b"base\0");
            context.update(base.as_bytes());
        }
    }
    let digest = context.finish();
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
