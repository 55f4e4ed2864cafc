//! Signatures and digests: which keys there are, what a route asks of requests, and whether what
//! is asked for can be done (RFC 9421, RFC 9530).
//!
//! No key is read here, so whether one is of a kind that can sign is found out by whoever opens it.

use std::time::Duration;

use super::{Context, Draft, each, must_exist};
use crate::collect::{List, NonEmpty, Optional};
use crate::component::Component;
use crate::error::Report;
use crate::file;
use crate::integrity::{
    Answers, Demand, KeyClient, RegisteredKey, Replay, SignatureRule, Signatures, SigningKey,
};
use crate::model::{Clients, Route};
use crate::name::KeyName;
use crate::place::{Place, Placed, quoted};
use crate::word::StandIn;

pub(super) fn signatures(table: file::Signatures, context: &mut Context<'_>) -> Signatures {
    let place = table.place;
    Signatures {
        replay: match table.replay {
            Optional::Absent => Replay::Unstated,
            Optional::Given(path) => Replay::Kept(context.file(path)),
            Optional::Wrong => Replay::Kept(context.required_file(None, &place)),
        },
        window: table.window.value,
        key: match table.key {
            Optional::Absent => SigningKey::Unstated,
            Optional::Given(key) => SigningKey::Stated(context.required_secret(Some(key), &place)),
            Optional::Wrong => SigningKey::Stated(context.required_secret(None, &place)),
        },
        keys: each(table.keys, |key| registered(key, context)),
        place,
    }
}

/// `None`: it is not known whose it is, and that is noted.
fn registered(table: file::SignatureKey, context: &mut Context<'_>) -> Option<RegisteredKey> {
    Some(RegisteredKey {
        public: context.required_file(table.public, &table.place),
        client: match table.client {
            Optional::Given(client) => KeyClient::Only(client),
            Optional::Absent => KeyClient::Any,
            // Fails closed: a restriction that cannot be read is none that may be dropped.
            Optional::Wrong => return None,
        },
        place: table.place,
    })
}

/// The keys of a route that are about signatures.
pub(super) struct RuleKeys<'t> {
    pub(super) table: &'t Place,
    pub(super) digest: &'t Placed<Demand>,
    pub(super) demand: Optional<Demand>,
    pub(super) covers: Optional<NonEmpty<Component>>,
    pub(super) age: Optional<Duration>,
    pub(super) skew: Optional<Duration>,
    pub(super) keys: Optional<List<KeyName>>,
    pub(super) stream: &'t Placed<bool>,
}

impl RuleKeys<'_> {
    pub(super) fn resolve(self, context: &mut Context<'_>) -> SignatureRule {
        self.refuse_useless(context.report);
        let at = |key: &str| self.table.child(key);
        let demand = self.demand.into_given().unwrap_or_else(|| Placed {
            value: Demand::Off,
            place: at("signature"),
        });
        let covers = match self.covers {
            Optional::Given(list) => list.value.0,
            Optional::Absent | Optional::Wrong => {
                let place = at("signature_covers");
                let default = DEFAULT_COVERS.map(|name| Placed {
                    value: Component::bare(name),
                    place: place.clone(),
                });
                default.to_vec()
            }
        };
        let keys = match self.keys {
            Optional::Absent => Vec::new(),
            Optional::Given(list) => {
                for name in &list.value.0 {
                    let given = context.signature_keys.as_ref();
                    must_exist("registered key", name, given, context.report);
                }
                list.value.0
            }
            // Somebody was meant.
            Optional::Wrong => vec![Placed {
                value: KeyName::stand_in(),
                place: at("signature_keys"),
            }],
        };
        SignatureRule {
            demand,
            covers,
            keys,
            age: self.age.into_given().map_or(DEFAULT_AGE, |age| age.value),
            skew: self
                .skew
                .into_given()
                .map_or(DEFAULT_SKEW, |skew| skew.value),
        }
    }

    /// Where signatures are off none of these would do anything, and an operator would think that
    /// it did.
    fn refuse_useless(&self, report: &mut Report) {
        let demand = match &self.demand {
            Optional::Wrong => return,
            Optional::Absent => Demand::Off,
            Optional::Given(demand) => demand.value,
        };
        if demand == Demand::Off {
            let given = [
                self.covers.given().map(|given| &given.place),
                self.age.given().map(|given| &given.place),
                self.skew.given().map(|given| &given.place),
                self.keys.given().map(|given| &given.place),
            ];
            for place in given.into_iter().flatten() {
                let hint =
                    "write signature = \"required\" or \"when-present\" beside it, or leave it out";
                report.error(place, "signatures are off: this has no effect", hint);
            }
        }
        if self.stream.value && demand != Demand::Required {
            let message = "without a signature that is required, larger content is streamed anyway";
            let hint = "write signature = \"required\" beside it, or leave it out";
            report.error(&self.stream.place, message, hint);
        }
        if self.digest.value == Demand::Off && demand != Demand::Off {
            let message = "a signature covers content by its digest, which nobody would compare";
            let hint = "leave digest = \"off\" out, or write signature = \"off\"";
            report.error(&self.digest.place, message, hint);
        }
    }
}

const DEFAULT_COVERS: [&str; 4] = ["@method", "@authority", "@path", "@query"];
const DEFAULT_AGE: Duration = Duration::from_mins(5);
const DEFAULT_SKEW: Duration = Duration::from_secs(30);

/// Notes what is asked for and cannot be done with what is given.
pub(super) fn refuse_impossible(draft: &Draft, report: &mut Report) {
    let Some(signatures) = &draft.signatures else {
        return;
    };
    let signed = |route: &&Route| route.signature.demand.value != Demand::Off;
    if signatures.replay == Replay::Unstated
        && let Some(route) = draft.routes.iter().find(signed)
    {
        let message =
            "what was accepted once must be known after a restart, and nothing says where";
        let hint = "write replay = \"replay\" under [signatures], a folder of the gateway's own";
        report.error(&route.signature.demand.place, message, hint);
    }
    if signatures.key == SigningKey::Unstated
        && let Some(place) = first_that_signs(draft)
    {
        let hint =
            "write key = \"file:signing.pem\" under [signatures], the gateway's own private key";
        report.error(place, "there is no key to sign with", hint);
    }
    for route in draft.routes.iter().filter(signed) {
        somebody_can_sign(route, draft, signatures, report);
    }
}

fn first_that_signs(draft: &Draft) -> Option<&Place> {
    let routes = draft.routes.iter().map(|route| {
        let signs = route.answers.value == Answers::Signed;
        signs.then_some(&route.answers.place)
    });
    let upstreams = draft.upstreams.values();
    let upstreams =
        upstreams.map(|upstream| upstream.signed.value.then_some(&upstream.signed.place));
    upstreams.chain(routes).flatten().min()
}

/// Where no client has a certificate, only registered keys are left, and of those only the ones
/// that need no name.
fn somebody_can_sign(route: &Route, draft: &Draft, signatures: &Signatures, report: &mut Report) {
    let rule = &route.signature;
    // One that is not known is a mistake of its own.
    let counts = |name: &Placed<KeyName>| {
        let key = signatures.keys.get(&name.value);
        key.is_none_or(|key| key.client == KeyClient::Any)
    };
    if rule.keys.iter().any(counts) {
        return;
    }
    for name in &route.listeners {
        let listener = draft.listeners.get(&name.value);
        if listener.is_none_or(|listener| listener.clients.value != Clients::None) {
            continue;
        }
        let listener = quoted(name.value.as_str());
        let (message, hint) = if rule.keys.is_empty() {
            (
                format!(
                    "nobody on the listener {listener} could sign: clients have no certificates there"
                ),
                "write signature_keys = [\"NAME\"], the keys that are registered under [signatures.keys]",
            )
        } else {
            (
                format!(
                    "nobody on the listener {listener} could sign: each key belongs to a client, and \
                     none proves its name there"
                ),
                "name a registered key without client, or a listener that asks for certificates",
            )
        };
        report.error(&name.place, message, hint);
    }
}
