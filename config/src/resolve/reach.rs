//! What is there and reached by nobody: most often a slip that no rule forbids.
//!
//! Nothing here stops a configuration from being used. Whoever is not reached is refused anyway.

use std::collections::BTreeSet;

use super::Draft;
use crate::error::Report;
use crate::model::{Allow, NameKind, Role, Route, Server, UpstreamIdentity};
use crate::name::{CertificateName, ListenerName, RoleName, TrustName, UpstreamName};
use crate::place::{Place, quoted};

/// Notes everything that nobody reaches.
pub(crate) fn warn(draft: &Draft, report: &mut Report) {
    unused(draft, report);
    for (name, role) in &draft.roles {
        role_reaches(name, role, draft, report);
        names_can_exist(role, draft, report);
    }
    for route in &draft.routes {
        route_is_reached(route, draft, report);
    }
}

fn unused(draft: &Draft, report: &mut Report) {
    let listeners: BTreeSet<&ListenerName> = draft
        .routes
        .iter()
        .flat_map(|route| &route.listeners)
        .map(|name| &name.value)
        .collect();
    let upstreams: BTreeSet<&UpstreamName> = draft
        .routes
        .iter()
        .map(|route| &route.upstream.value)
        .collect();
    let trust: BTreeSet<&TrustName> = draft
        .listeners
        .values()
        .filter_map(|listener| listener.trust())
        .collect();
    let presented = draft
        .listeners
        .values()
        .flat_map(|listener| &listener.certificates);
    let certificates: BTreeSet<&CertificateName> = presented
        .chain(
            draft
                .upstreams
                .values()
                .filter_map(|upstream| match &upstream.server.value {
                    Server::Https {
                        identity: UpstreamIdentity::Certificate(name),
                        ..
                    } => Some(name),
                    Server::Https { .. } | Server::Http { .. } | Server::Unix { .. } => None,
                }),
        )
        .map(|name| &name.value)
        .collect();

    let mut say = |used: bool, place: &Place, message: &str, hint: &str| {
        if !used {
            report.warning(place, message, hint);
        }
    };
    for (name, listener) in &draft.listeners {
        let message = "no route is on this listener: it answers every request with 404";
        say(
            listeners.contains(name),
            &listener.place,
            message,
            "name it in a route, or leave it out",
        );
    }
    for (name, upstream) in &draft.upstreams {
        let message = "no route leads to this upstream";
        say(
            upstreams.contains(name),
            &upstream.place,
            message,
            "name it in a route, or leave it out",
        );
    }
    for (name, set) in &draft.trust {
        let message = "no listener relies on this trust set";
        let hint = "name it in the clients of a listener, or leave it out";
        say(trust.contains(name), &set.place, message, hint);
    }
    for (name, certificate) in &draft.certificates {
        let message = "neither a listener nor an upstream uses this certificate";
        let hint = "name it there, or leave it out";
        say(
            certificates.contains(name),
            &certificate.place,
            message,
            hint,
        );
    }
}

fn role_reaches(name: &RoleName, role: &Role, draft: &Draft, report: &mut Report) {
    let allowed = |route: &&Route| match &route.allow.value {
        Allow::Roles(roles) => roles.iter().any(|role| role.value == *name),
        Allow::Nobody | Allow::Anyone => false,
    };
    let routes: Vec<&Route> = draft.routes.iter().filter(allowed).collect();
    if role.clients.is_empty() {
        report.warning(
            &role.place,
            "the role has no clients",
            "name them in clients",
        );
    } else if routes.is_empty() {
        let hint = "name it in the allow of a route, or leave it out";
        report.warning(&role.place, "the role reaches no route", hint);
    } else if !routes.iter().any(|route| admits(route, role, draft)) {
        let trust = quoted(role.trust.value.as_str());
        let message = format!(
            "the role reaches no route: none is on a listener that relies on trust set {trust}"
        );
        report.warning(
            &role.place,
            message,
            "compare the clients of the listeners with the role's trust",
        );
    }
}

fn route_is_reached(route: &Route, draft: &Draft, report: &mut Report) {
    let roles = match &route.allow.value {
        Allow::Anyone => return,
        Allow::Nobody => {
            let hint = "name roles in allow, such as allow = [\"pump\"]";
            return report.warning(&route.place, "nobody may use this route", hint);
        }
        Allow::Roles(roles) => roles,
    };
    let roles: Vec<&Role> = roles
        .iter()
        .filter_map(|name| draft.roles.get(&name.value))
        .collect();
    let hint = "compare the clients of the listener with the trust of the roles";
    if !roles
        .iter()
        .any(|role| !role.clients.is_empty() && admits(route, role, draft))
    {
        let message = "no client can have a role that this route allows";
        return report.warning(&route.place, message, hint);
    }
    for name in &route.listeners {
        let Some(listener) = draft.listeners.get(&name.value) else {
            continue;
        };
        if !roles
            .iter()
            .any(|role| listener.trust() == Some(&role.trust.value))
        {
            let listener = quoted(name.value.as_str());
            let message = format!(
                "no client of the listener {listener} can have a role that this route allows"
            );
            report.warning(&name.place, message, hint);
        }
    }
}

/// Whether a client with this role can come by one of the route's listeners.
fn admits(route: &Route, role: &Role, draft: &Draft) -> bool {
    let listeners = route
        .listeners
        .iter()
        .filter_map(|name| draft.listeners.get(&name.value));
    listeners
        .into_iter()
        .any(|listener| listener.trust() == Some(&role.trust.value))
}

/// Warns of patterns that no name of the trust set's kind can match.
fn names_can_exist(role: &Role, draft: &Draft, report: &mut Report) {
    let Some(trust) = draft.trust.get(&role.trust.value) else {
        return;
    };
    for client in &role.clients {
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
