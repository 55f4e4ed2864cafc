//! Which requests go where, and who may make them.
//!
//! The order of routes means nothing, so two of them must never answer the same request: equal in
//! listener, host, path and method, they are a mistake. Which of two different prefixes wins is
//! the gateway's part.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::signatures::RuleKeys;
use super::{Context, must_exist, rationale};
use crate::choices::RatePer;
use crate::collect::{List, Optional, Rows};
use crate::error::Report;
use crate::file;
use crate::host::HostName;
use crate::integrity::{Answers, Demand, SignatureRule};
use crate::method::Method;
use crate::model::{Allow, Rate, Route, Upgrade, WebSocket};
use crate::name::{AllowWord, ListenerName, RoleName, RouteName};
use crate::path::PathPrefix;
use crate::place::{Place, Placed, quoted};
use crate::server::Origin;
use crate::word::StandIn;

pub(super) fn routes(rows: Optional<Rows<file::Route>>, context: &mut Context<'_>) -> Vec<Route> {
    let rows = match rows {
        Optional::Given(rows) => rows.value.0,
        Optional::Absent | Optional::Wrong => Vec::new(),
    };
    refuse_equal_names(&rows, context.report);
    let routes: Vec<Route> = rows.into_iter().map(|row| route(row, context)).collect();
    refuse_equal_routes(&routes, context.listeners.as_ref(), context.report);
    routes
}

fn route(table: file::Route, context: &mut Context<'_>) -> Route {
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
    let class = table.class.into_given();
    if let Some(name) = &class {
        must_exist("class", name, context.classes.as_ref(), context.report);
    }
    let mut methods = table
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
        methods.truncate(MOST_METHODS);
    }
    let websocket = websocket(
        &table.upgrade,
        (
            table.origins,
            table.upgrade_idle.value,
            table.upgrade_age.value,
        ),
        &methods,
        context.report,
    );
    let signature = RuleKeys {
        table: &table.place,
        digest: &table.digest,
        demand: table.signature,
        covers: table.signature_covers,
        age: table.signature_age,
        skew: table.signature_skew,
        keys: table.signature_keys,
        stream: &table.stream,
    };
    let signature = signature.resolve(context);
    if websocket.is_some() {
        refuse_unproved_websocket(
            &table.upgrade,
            &signature,
            &table.digest,
            &table.answers,
            context,
        );
    }
    Route {
        allow: allow(table.allow, context),
        name: or_stand_in(table.name, &table.place),
        listeners,
        hosts: table.hosts.map(|hosts| hosts.value.0).unwrap_or_default(),
        path: or_stand_in(table.path, &table.place),
        methods,
        upstream: or_stand_in(table.upstream, &table.place),
        fhir: table.fhir.value,
        ephi: table.ephi,
        class,
        intent: table.intent.value,
        body_limit: table.body_limit.value,
        body_idle: table.body_idle.value,
        body_rate: table.body_rate.value,
        rate: rate(table.rate),
        websocket,
        encoded_slash: table.encoded_slash.value,
        digest: table.digest,
        signature,
        buffer: table.buffer.value,
        stream: table.stream.value,
        answers: table.answers,
        rationale: rationale(table.rationale, &table.place),
        place: table.place,
    }
}

/// What is missing is noted; the rest of the route is judged all the same.
fn or_stand_in<T: StandIn>(given: Option<Placed<T>>, place: &Place) -> Placed<T> {
    given.unwrap_or_else(|| Placed {
        value: T::stand_in(),
        place: place.clone(),
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

/// What passes in a WebSocket has no digest and no signature: a route that asks for them opens none.
fn refuse_unproved_websocket(
    upgrade: &Placed<List<Upgrade>>,
    signature: &SignatureRule,
    digest: &Placed<Demand>,
    answers: &Placed<Answers>,
    context: &mut Context<'_>,
) {
    let asks = signature.demand.value == Demand::Required
        || digest.value == Demand::Required
        || answers.value != Answers::Plain;
    if asks {
        let message = "what passes in a WebSocket has neither digest nor signature, and the route asks for them";
        let hint = "give the WebSocket a route of its own";
        context.report.error(&upgrade.place, message, hint);
    }
}

/// What a route says of WebSockets, if it carries them.
fn websocket(
    upgrade: &Placed<List<Upgrade>>,
    (origins, idle, age): (Placed<List<Origin>>, Duration, Duration),
    methods: &[Placed<Method>],
    report: &mut Report,
) -> Option<WebSocket> {
    if upgrade.value.0.is_empty() {
        if !origins.value.0.is_empty() {
            let message = "origins mean nothing on a route without WebSockets";
            report.error(
                &origins.place,
                message,
                "add upgrade = [\"websocket\"], or leave them out",
            );
        }
        return None;
    }
    if !methods.iter().any(|method| method.value.as_str() == "GET") {
        let message = "a WebSocket is opened with GET, which the route does not take";
        report.error(&upgrade.place, message, "add \"GET\" to methods");
    }
    let origins = origins.value.0.into_iter();
    Some(WebSocket {
        origins: origins.map(|origin| origin.value).collect(),
        idle,
        age,
    })
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
            (RatePer::Client, Some(requests), Some(every)) => Rate::PerClient {
                requests: requests.value,
                every: every.value,
            },
            (RatePer::Client, ..) => Rate::Unlimited,
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

/// Notes each route that would answer a request which an earlier one answers, once.
///
/// Listeners that are not given are left out: what is said about them is said, and the work stays
/// bounded by what is really there.
fn refuse_equal_routes(
    routes: &[Route],
    given: Option<&BTreeSet<ListenerName>>,
    report: &mut Report,
) {
    let is_given = |name: &&ListenerName| given.is_some_and(|given| given.contains(*name));
    let listeners: Vec<BTreeSet<&ListenerName>> = routes
        .iter()
        .map(|route| {
            route
                .listeners
                .iter()
                .map(|name| &name.value)
                .filter(is_given)
                .collect()
        })
        .collect();
    let stand_in = PathPrefix::stand_in();
    let known = |(_, route): &(usize, &Route)| route.path.value != stand_in;
    let mut takers: BTreeMap<(&PathPrefix, &HostName, &Method), Vec<usize>> = BTreeMap::new();
    let mut keys = 0;
    for (at, route) in routes.iter().enumerate().filter(known) {
        keys += route.hosts.len() * route.methods.len();
        if keys > MOST_KEYS {
            let message =
                format!("up to here, routes have more than {MOST_KEYS} pairs of host and method");
            return report.error(
                &route.place,
                message,
                "name fewer hosts, or divide the file",
            );
        }
        let mut told = false;
        for (host, method) in pairs(&route.hosts, &route.methods) {
            let key = (&route.path.value, host, method);
            let earlier = takers.entry(key).or_default();
            let shared = |&other: &usize| {
                let listener = listeners[other].intersection(&listeners[at]).next()?;
                Some((&routes[other], *listener))
            };
            if !told && let Some((other, listener)) = earlier.iter().find_map(shared) {
                say_equal(other, route, key, listener, report);
                told = true;
            }
            earlier.push(at);
        }
    }
}

/// A bound on what a file of a mebibyte can make of itself here and in the gateway's route table.
const MOST_KEYS: usize = 500_000;

fn pairs<'r, A, B>(
    ones: &'r [Placed<A>],
    others: &'r [Placed<B>],
) -> impl Iterator<Item = (&'r A, &'r B)> {
    ones.iter()
        .flat_map(|one| others.iter().map(|other| (&one.value, &other.value)))
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
