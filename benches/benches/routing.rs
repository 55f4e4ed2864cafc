//! What do the rules cost a request? The route of a request is looked up among 1 to 10,000, about twice as
//! many as a configuration of 1 MiB holds, and a client is held against a role that names 1 to 1,000 clients,
//! as many as a role may, the one that covers it the last.

use std::fmt::Write as _;
use std::hint::black_box;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::{ClientName, Config, HostName, ListenerName, TrustName};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gateway::authorize;
use gateway::demands::Demands;
use gateway::endpoint::{Address, Endpoint, Security};
use gateway::request::{Head, Version};
use gateway::route::{RouteEntry, RouteTable};
use http::{HeaderMap, Method};
use http1::Target;

/// A configuration with these routes, and so many clients in a role.
fn configuration(routes: Range<usize>, clients: usize) -> Config {
    let mut text = r#"
[audit]
directory = "audit"
rationale = "a bench of routes"
[trust.devices]
roots = ["root.pem"]
revocation = { crls = ["crl"] }
[certificates.api]
chain = "chain.pem"
key = "file:key.pem"
[listeners.devices]
listen = ["127.0.0.1:8443"]
certificates = ["api"]
clients = { certificates = "required", trust = "devices" }
[upstreams.fhir]
servers = ["unix:/run/fhir.sock"]
"#
    .to_owned();
    let names = (0..clients).map(|number| format!("\"urn:example:pump-{number}\""));
    let names: Vec<_> = names.collect();
    writeln!(
        text,
        "[roles]\npump = {{ clients = [{}] }}",
        names.join(", ")
    )
    .expect("a string");
    for number in routes {
        write!(
            text,
            "[[routes]]\nname = \"r{number}\"\nhosts = [\"api.example\"]\npath = \"/fhir/unit-{number}\"\n\
             methods = [\"GET\"]\nlisteners = [\"devices\"]\nallow = [\"pump\"]\nupstream = \"fhir\"\n"
        )
        .expect("a string");
    }
    config::parse(Path::new("bench.toml"), &text).expect("a good configuration")
}

/// The routes of as many configurations as it takes: one of 1 MiB holds little more than 5,000.
fn table(routes: usize) -> RouteTable {
    let parts = (0..routes).step_by(5000);
    let routes = parts.flat_map(|first| {
        let part = first..routes.min(first + 5000);
        configuration(part, 1).routes
    });
    RouteTable::build(routes.map(|route| {
        let endpoint = Endpoint {
            name: route.upstream.value.clone(),
            address: Address::Unix("/run/fhir.sock".into()),
            security: Security::None,
            made_of: Vec::new(),
            protocol: config::Protocol::Http11,
            connect: Duration::from_secs(1),
            head: Duration::from_secs(1),
            idle: Duration::from_secs(1),
            connections: 1,
            signer: None,
            answer_key: None,
        };
        Arc::new(RouteEntry {
            demands: Demands::default(),
            route,
            endpoint: Arc::new(endpoint),
            rates: None,
            patients: Box::default(),
        })
    }))
}

fn rules(criterion: &mut Criterion) {
    let listener = ListenerName::parse("devices").expect("a name");
    let host = HostName::parse("api.example").expect("a name");
    let mut group = criterion.benchmark_group("rules");
    for routes in [1, 100, 5000, 10_000] {
        let table = table(routes);
        let target = format!("/fhir/unit-{}/Patient/1?_summary=true", routes - 1);
        let head = Head {
            target: Target::parse(&Method::GET, Bytes::from(target)).expect("a target"),
            method: Method::GET,
            headers: HeaderMap::new(),
            version: Version::Http11,
        };
        group.bench_function(BenchmarkId::new("a route among", routes), |bench| {
            bench.iter(|| {
                table
                    .lookup(&listener, &host, black_box(&head))
                    .expect("a route")
            });
        });
    }
    let trust = TrustName::parse("devices").expect("a name");
    for clients in [1, 100, 1000] {
        let config = configuration(0..1, clients);
        let allow = &config.routes[0].allow.value;
        let name = format!("urn:example:pump-{}", clients - 1);
        let client = ClientName::parse(&name).expect("a name");
        group.bench_function(BenchmarkId::new("a client among", clients), |bench| {
            bench.iter(|| {
                let known = Some((&trust, black_box(&client)));
                authorize::rule(known, allow, &config.roles).expect("a rule")
            });
        });
    }
    group.finish();
}

// All benches together are to end within ten minutes.
criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = rules
}
criterion_main!(benches);
