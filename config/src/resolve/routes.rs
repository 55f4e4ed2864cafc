//! Which requests go where, and who may make them.
//!
//! The order of routes means nothing, so two of them must never answer the same request: equal in
//! listener, host, path and method, they are a mistake. Which of two different prefixes wins is
//! the gateway's part.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, must_exist, rationale};
use crate::collect::{List, Optional, Rows};
use crate::error::Report;
use crate::file;
use crate::host::HostName;
use crate::method::Method;
use crate::model::{Allow, Rate, Route};
use crate::name::{AllowWord, ListenerName, RoleName, RouteName};
use crate::path::PathPrefix;
use crate::place::{Place, Placed, quoted};

pub(super) fn routes(rows: Optional<Rows<file::Route>>, context: &mut Context<'_>) -> Vec<Route> {
    let rows = match rows {
        Optional::Given(rows) => rows.value.0,
        Optional::Absent | Optional::Wrong => Vec::new(),
    };
    refuse_equal_names(&rows, context.report);
    rows.into_iter()
        .filter_map(|row| route(row, context))
        .collect()
}

/// `None`: its name, path or upstream is not known, and that is noted.
fn route(table: file::Route, context: &mut Context<'_>) -> Option<Route> {
    let listeners = table
        .listeners
        .map(|names| names.value.0)
        .unwrap_or_default();
    for name in &listeners {
        must_exist("listener", name, context.listeners.as_ref(), context.report);
    }
    if let Some(name) = &table.upstream {
        must_exist("upstream", name, context.upstreams.as_ref(), context.report);
    }
    let methods = table
        .methods
        .map(|methods| methods.value.0)
        .unwrap_or_default();
    if let Some(extra) = methods.get(MOST_METHODS) {
        let message = format!(
            "{} methods; at most {MOST_METHODS} are taken",
            methods.len()
        );
        context
            .report
            .error(&extra.place, message, "divide the route");
        return None;
    }
    Some(Route {
        allow: allow(table.allow, context),
        name: table.name?,
        listeners,
        hosts: table.hosts.map(|hosts| hosts.value.0).unwrap_or_default(),
        path: table.path?,
        methods,
        upstream: table.upstream?,
        fhir: table.fhir.value,
        ephi: table.ephi,
        intent: table.intent.value,
        body_limit: table.body_limit.value,
        body_idle: table.body_idle.value,
        body_rate: table.body_rate.value,
        rate: rate(table.rate),
        encoded_slash: table.encoded_slash.value,
        rationale: rationale(table.rationale, &table.place),
        place: table.place,
    })
}

/// A bound on what is compared with each other.
const MOST_METHODS: usize = 32;

fn allow(list: Placed<List<AllowWord>>, context: &mut Context<'_>) -> Placed<Allow> {
    let mut anyone = None;
    let mut roles: Vec<Placed<RoleName>> = Vec::new();
    for Placed { value, place } in list.value.0 {
        match value {
            AllowWord::Anyone => anyone = Some(place),
            AllowWord::Role(role) => roles.push(Placed { value: role, place }),
        }
    }
    for role in &roles {
        must_exist("role", role, context.roles.as_ref(), context.report);
    }
    match (anyone, roles.first()) {
        (Some(place), None) => Placed {
            value: Allow::Anyone,
            place,
        },
        (Some(place), Some(role)) => {
            let message = format!(
                "with \"anyone\" beside it, {} means nothing",
                quoted(role.value.as_str())
            );
            context
                .report
                .error(&role.place, message, "leave one of the two out");
            Placed {
                value: Allow::Anyone,
                place,
            }
        }
        (None, None) => Placed {
            value: Allow::Nobody,
            place: list.place,
        },
        (None, Some(_)) => Placed {
            value: Allow::Roles(roles),
            place: list.place,
        },
    }
}

fn rate(table: Optional<file::Rate>) -> Rate {
    match table {
        Optional::Given(Placed {
            value:
                file::Rate {
                    per,
                    requests,
                    every,
                    ..
                },
            ..
        }) => match (per.value, requests, every) {
            (file::RatePer::Client, Some(requests), Some(every)) => Rate::PerClient {
                requests: requests.value,
                every: every.value,
            },
            (file::RatePer::Client, ..) => Rate::Unlimited,
        },
        Optional::Absent | Optional::Wrong => Rate::Unlimited,
    }
}

fn refuse_equal_names(rows: &[file::Route], report: &mut Report) {
    let mut first: BTreeMap<&RouteName, &Place> = BTreeMap::new();
    for name in rows.iter().filter_map(|row| row.name.as_ref()) {
        match first.get(&name.value) {
            Some(Place { line, column, .. }) => {
                let message = format!("the route at {line}:{column} has the same name");
                report.error(&name.place, message, "give each route a name of its own");
            }
            None => {
                first.insert(&name.value, &name.place);
            }
        }
    }
}

/// Notes each pair of routes that would answer the same request, once.
pub(super) fn refuse_equal_routes(routes: &[Route], report: &mut Report) {
    let mut found: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut takers: BTreeMap<(&PathPrefix, &HostName, &Method), Vec<usize>> = BTreeMap::new();
    for (at, route) in routes.iter().enumerate() {
        for host in &route.hosts {
            for method in &route.methods {
                let key = (&route.path.value, &host.value, &method.value);
                let earlier = takers.entry(key).or_default();
                for &other in earlier.iter() {
                    if let Some(listener) = shared_listener(&routes[other], route)
                        && found.insert((other, at))
                    {
                        say_equal(&routes[other], route, key, listener, report);
                    }
                }
                earlier.push(at);
            }
        }
    }
}

fn shared_listener<'r>(one: &Route, other: &'r Route) -> Option<&'r ListenerName> {
    let named = |name: &ListenerName| one.listeners.iter().any(|listener| listener.value == *name);
    other
        .listeners
        .iter()
        .map(|listener| &listener.value)
        .find(|name| named(name))
}

fn say_equal(
    earlier: &Route,
    later: &Route,
    (path, host, method): (&PathPrefix, &HostName, &Method),
    listener: &ListenerName,
    report: &mut Report,
) {
    let Place { line, column, .. } = &earlier.place;
    let message = format!(
        "the route {} ({line}:{column}) takes the same requests: {method} {path} of {host} on {listener}",
        quoted(earlier.name.value.as_str()),
    );
    report.error(
        &later.place,
        message,
        "let them differ in method, path, host or listener",
    );
}
