//! What is there and reached by nobody: most often a slip that no rule forbids.
//!
//! Nothing here stops a configuration from being used. Whoever is not reached is refused anyway.

use std::collections::{BTreeMap, BTreeSet};

use super::Draft;
use crate::error::Report;
use crate::integrity::{Answers, Demand, Replay, SigningKey};
use crate::model::{Allow, NameKind, Role, Route, Server, UpstreamIdentity};
use crate::name::{CertificateName, KeyName, ListenerName, RoleName, TrustName, UpstreamName};
use crate::place::{Place, quoted};

/// Notes everything that nobody reaches.
pub(crate) fn warn(draft: &Draft, report: &mut Report) {
    unused(draft, report);
    let doors: Vec<Door<'_>> = draft
        .routes
        .iter()
        .map(|route| Door::of(route, draft))
        .collect();
    roles_reach(draft, &doors, report);
    for role in draft.roles.values() {
        names_can_exist(role, draft, report);
    }
    for door in &doors {
        route_is_reached(door, draft, report);
    }
}

/// A route, and under which trust sets clients can come to it.
struct Door<'d> {
    route: &'d Route,
    trust: BTreeSet<&'d TrustName>,
}

impl<'d> Door<'d> {
    fn of(route: &'d Route, draft: &'d Draft) -> Self {
        let listeners = route
            .listeners
            .iter()
            .filter_map(|name| draft.listeners.get(&name.value));
        Self {
            route,
            trust: listeners.filter_map(|listener| listener.trust()).collect(),
        }
    }
}

/// Notes what nothing names.
fn unused(draft: &Draft, report: &mut Report) {
    let used = Used::of(draft);
    let mut say = |is_used: bool, place: &Place, message: &str, hint: &str| {
        if !is_used {
            report.warning(place, message, hint);
        }
    };
    let in_route = "name it in a route, or leave it out";
    for (name, listener) in &draft.listeners {
        let message = "no route is on this listener: it answers every request with 404";
        let is_used = used.listeners.contains(name);
        say(is_used, &listener.place, message, in_route);
    }
    for (name, upstream) in &draft.upstreams {
        let message = "no route leads to this upstream";
        let is_used = used.upstreams.contains(name);
        say(is_used, &upstream.place, message, in_route);
    }
    for (name, set) in &draft.trust {
        let message = "no listener relies on this trust set";
        let hint = "name it in the clients of a listener, or leave it out";
        say(used.trust.contains(name), &set.place, message, hint);
    }
    for (name, certificate) in &draft.certificates {
        let message = "neither a listener nor an upstream uses this certificate";
        let hint = "name it there, or leave it out";
        let is_used = used.certificates.contains(name);
        say(is_used, &certificate.place, message, hint);
    }
    let Some(signatures) = &draft.signatures else {
        return;
    };
    for (name, key) in &signatures.keys {
        let message = "no route takes signatures of this key";
        let hint = "name it in the signature_keys of a route, or leave it out";
        say(used.keys.contains(name), &key.place, message, hint);
    }
    if let Replay::Kept(folder) = &signatures.replay {
        let message = "no route takes signatures, so nothing is kept here";
        let hint = "write signature = \"required\" in a route, or leave it out";
        say(used.takes_signatures, &folder.place, message, hint);
    }
    if let SigningKey::Stated(key) = &signatures.key {
        let message = "nothing is signed with this key";
        let hint =
            "write answers = \"signed\" in a route, signed = true in an upstream, or leave it out";
        say(used.signs, key.place(), message, hint);
    }
}

/// What something names.
struct Used<'d> {
    listeners: BTreeSet<&'d ListenerName>,
    upstreams: BTreeSet<&'d UpstreamName>,
    trust: BTreeSet<&'d TrustName>,
    certificates: BTreeSet<&'d CertificateName>,
    keys: BTreeSet<&'d KeyName>,
    takes_signatures: bool,
    signs: bool,
}

impl<'d> Used<'d> {
    fn of(draft: &'d Draft) -> Self {
        let routes = || draft.routes.iter();
        let listeners = || draft.listeners.values();
        let shown = listeners().flat_map(|listener| &listener.certificates);
        let proved = draft.upstreams.values();
        let proved = proved.filter_map(|upstream| match &upstream.server.value {
            Server::Https {
                identity: UpstreamIdentity::Certificate(name),
                ..
            } => Some(name),
            Server::Https { .. } | Server::Http { .. } | Server::Unix { .. } => None,
        });
        Self {
            listeners: routes()
                .flat_map(|route| &route.listeners)
                .map(|name| &name.value)
                .collect(),
            upstreams: routes().map(|route| &route.upstream.value).collect(),
            trust: listeners()
                .filter_map(|listener| listener.trust())
                .collect(),
            certificates: shown.chain(proved).map(|name| &name.value).collect(),
            keys: routes()
                .flat_map(|route| &route.signature.keys)
                .map(|name| &name.value)
                .collect(),
            takes_signatures: routes().any(|route| route.signature.demand.value != Demand::Off),
            signs: routes().any(|route| route.answers.value == Answers::Signed)
                || draft
                    .upstreams
                    .values()
                    .any(|upstream| upstream.signed.value),
        }
    }
}

fn roles_reach(draft: &Draft, doors: &[Door<'_>], report: &mut Report) {
    let mut reached: BTreeMap<&RoleName, BTreeSet<&TrustName>> = BTreeMap::new();
    for door in doors {
        if let Allow::Roles(roles) = &door.route.allow.value {
            for role in roles {
                reached.entry(&role.value).or_default().extend(&door.trust);
            }
        }
    }
    for (name, role) in &draft.roles {
        let trust = &role.trust.value;
        match reached.get(name) {
            _ if role.clients.is_empty() => {
                report.warning(
                    &role.place,
                    "the role has no clients",
                    "name them in clients",
                );
            }
            None => {
                let hint = "name it in the allow of a route, or leave it out";
                report.warning(&role.place, "the role reaches no route", hint);
            }
            Some(reached) if !reached.contains(trust) => {
                let message = format!(
                    "the role reaches no route: none is on a listener that relies on trust set {}",
                    quoted(trust.as_str())
                );
                let hint = "compare the clients of the listeners with the role's trust";
                report.warning(&role.place, message, hint);
            }
            Some(_) => {}
        }
    }
}

fn route_is_reached(door: &Door<'_>, draft: &Draft, report: &mut Report) {
    let route = door.route;
    let roles = match &route.allow.value {
        Allow::Anyone => return,
        Allow::Nobody => {
            let hint = "name roles in allow, such as allow = [\"pump\"]";
            return report.warning(&route.place, "nobody may use this route", hint);
        }
        Allow::Roles(roles) => roles,
    };
    let roles = roles.iter().filter_map(|name| draft.roles.get(&name.value));
    let with_clients = roles.filter(|role| !role.clients.is_empty());
    let trust: BTreeSet<&TrustName> = with_clients.map(|role| &role.trust.value).collect();
    let hint = "compare the clients of the listener with the trust of the roles";
    if door.trust.is_disjoint(&trust) {
        let message = "no client can have a role that this route allows";
        return report.warning(&route.place, message, hint);
    }
    for name in &route.listeners {
        let Some(listener) = draft.listeners.get(&name.value) else {
            continue;
        };
        if listener.trust().is_none_or(|set| !trust.contains(set)) {
            let message = format!(
                "no client of the listener {} can have a role that this route allows",
                quoted(name.value.as_str())
            );
            report.warning(&name.place, message, hint);
        }
    }
}

/// Warns of patterns that no name of the trust set's kind can match.
fn names_can_exist(role: &Role, draft: &Draft, report: &mut Report) {
    let Some(trust) = draft.trust.get(&role.trust.value) else {
        return;
    };
    for client in role.clients.iter() {
        let text = client.value.as_str();
        let (possible, example) = match trust.identity {
            // RFC 3986 section 3: a URI begins with its scheme and ":".
            NameKind::SanUri => (text.contains(':'), "a URI, such as \"urn:example:pump-1\""),
            NameKind::SanDns => {
                let possible = !text.contains([':', '/', '@']) && text.to_ascii_lowercase() == text;
                (
                    possible,
                    "a DNS name in lower case, such as \"pump-1.clinic.example\"",
                )
            }
            NameKind::SanEmail => {
                let star_alone = text == "*";
                (
                    star_alone || text.contains('@'),
                    "a mail address, such as \"pump-1@clinic.example\"",
                )
            }
        };
        if !possible {
            let message = format!("{} matches no client of this trust set", quoted(text));
            report.warning(
                &client.place,
                message,
                &format!("names under it are {example}"),
            );
        }
    }
}
