//! A request has one reading, or it is refused: framing and grammar, host and site, path, method,
//! policy. What is refused does not reach the upstream, and is on record with its code.

use integration::answer::Answer;
use integration::gateway::Gateway;
use integration::line::End;
use integration::origin::{Origin, ok};
use integration::streams::Streams;
use integration::wait::OrFail;
use integration::world::{CLIENT, World};

/// Sends bytes as the device and brings the first answer.
#[track_caller]
fn asked(world: &World, bytes: &str) -> Answer {
    world
        .caller()
        .ask(bytes)
        .or_fail(&format!("get an answer to {bytes:?}"))
}

/// The answer is this refusal, nothing follows it on its connection, and the upstream saw nothing.
#[track_caller]
fn refused_for_good(world: &World, gateway: &Gateway, bytes: &str, status: u16, code: &str) {
    let mut line = world.line();
    // A second request that hides behind the first must not be served.
    let hidden = format!("{bytes}GET /hidden HTTP/1.1\r\nHost: api.test\r\n\r\n");
    line.send(&hidden).or_fail("send");
    let answer = line
        .answer()
        .or_fail(&format!("get an answer to {bytes:?}"));
    gateway.refused(&answer, status, code);
    assert_eq!(answer.header("connection"), Some("close"), "{bytes:?}");
    assert_eq!(
        line.rest(),
        (Vec::new(), End::Closed),
        "{bytes:?}: nothing else is answered"
    );
}

#[track_caller]
fn saw_nothing(origin: &Origin) {
    let seen: Vec<_> = origin.seen().into_iter().map(|seen| seen.head).collect();
    assert_eq!(seen, Vec::<String>::new(), "nothing reached the upstream");
}

#[test]
fn framing_that_reads_in_two_ways_is_refused_and_ends_the_connection() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    #[rustfmt::skip]
    let table = [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "framing_ambiguous"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400, "framing_ambiguous"),
        ("Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",              400, "framing_ambiguous"),
        ("Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",              400, "framing_ambiguous"),
        ("Content-Length: 4, 4\r\n\r\nabcd",                                400, "framing_ambiguous"),
        ("Content-Length: +4\r\n\r\nabcd",                                  400, "framing_ambiguous"),
        ("Content-Length: -1\r\n\r\n",                                      400, "framing_ambiguous"),
        ("Content-Length: 0x4\r\n\r\nabcd",                                 400, "framing_ambiguous"),
        ("Content-Length: 4 4\r\n\r\nabcd",                                 400, "framing_ambiguous"),
        ("Content-Length:\r\n\r\n",                                         400, "framing_ambiguous"),
        ("Content-Length: 99999999999999999999\r\n\r\n",                    400, "framing_ambiguous"),
        ("Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",            400, "framing_ambiguous"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "framing_ambiguous"),
        ("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",           400, "framing_ambiguous"),
        ("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",                    400, "framing_ambiguous"),
        ("Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",                 400, "head_malformed"),
        ("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",                    400, "head_malformed"),
        ("Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",                 400, "head_malformed"),
        ("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",               501, "coding_unsupported"),
    ];
    for (rest, status, code) in table {
        let request = format!("POST /x HTTP/1.1\r\nHost: api.test\r\n{rest}");
        refused_for_good(&world, &gateway, &request, status, code);
    }
    refused_for_good(
        &world,
        &gateway,
        "POST /x HTTP/1.0\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "framing_ambiguous",
    );
    saw_nothing(&origin);
    world.is_served();
    gateway.verify();
}

#[test]
fn heads_that_break_the_grammar_are_refused_and_end_the_connection() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let long = "x".repeat(9000);
    let huge = format!(
        "GET /x HTTP/1.1\r\nHost: api.test\r\n{}\r\n",
        format!("X-Long: {long}\r\n").repeat(5)
    );
    let many = format!(
        "GET /x HTTP/1.1\r\nHost: api.test\r\n{}\r\n",
        "X-Many: 1\r\n".repeat(101)
    );
    let target = format!(
        "GET /{} HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "x".repeat(20_000)
    );
    #[rustfmt::skip]
    let table = [
        ("GET /x HTTP/1.1\nHost: api.test\n\n",                       400, "head_malformed"),
        ("GET /x HTTP/1.1\r\nHost: api.test\nX: 1\r\n\r\n",           400, "head_malformed"),
        ("GET /x HTTP/1.1\rHost: api.test\r\n\r\n",                   400, "head_malformed"),
        ("GET  /x HTTP/1.1\r\nHost: api.test\r\n\r\n",                400, "head_malformed"),
        ("GET /x\r\nHost: api.test\r\n\r\n",                          400, "head_malformed"),
        ("G@T /x HTTP/1.1\r\nHost: api.test\r\n\r\n",                 400, "head_malformed"),
        ("GET /\x01 HTTP/1.1\r\nHost: api.test\r\n\r\n",              400, "head_malformed"),
        ("GET /x#fragment HTTP/1.1\r\nHost: api.test\r\n\r\n",        400, "head_malformed"),
        ("GET /x HTTP/1.1\r\nHost: api.test\r\nX-Null: a\0b\r\n\r\n", 400, "head_malformed"),
        ("GET /x HTTP/1.1\r\nHost: api.test\r\nX Space: 1\r\n\r\n",   400, "head_malformed"),
        ("GET /x HTTP/1.1\r\nHost: api.test\r\n: 1\r\n\r\n",          400, "head_malformed"),
        ("GET /x HTTP/1.1\r\nHost: api.test\r\nno colon\r\n\r\n",     400, "head_malformed"),
        ("GET /x HTTP/1.1\r\n Host: api.test\r\n\r\n",                400, "head_malformed"),
        ("GET /x HTTP/1.1\r\nHost: api.test\r\nX: a\r\n b\r\n\r\n",   400, "head_malformed"),
        ("GET /x HTTP/2.0\r\nHost: api.test\r\n\r\n",                 505, "version_unsupported"),
        ("GET /x HTTP/1.2\r\nHost: api.test\r\n\r\n",                 505, "version_unsupported"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",                          505, "version_unsupported"),
        ("GET /x HTTPS/1.1\r\nHost: api.test\r\n\r\n",                400, "head_malformed"),
        ("GET x HTTP/1.1\r\nHost: api.test\r\n\r\n",                  400, "target_form"),
        ("GET https:///x HTTP/1.1\r\nHost: api.test\r\n\r\n",         400, "target_form"),
        ("GET https://u@api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n", 400, "target_form"),
        (huge.as_str(),                                               431, "head_too_large"),
        (many.as_str(),                                               431, "head_too_large"),
        (target.as_str(),                                             414, "target_too_long"),
    ];
    for (request, status, code) in table {
        refused_for_good(&world, &gateway, request, status, code);
    }
    saw_nothing(&origin);
    world.is_served();
}

#[test]
fn a_method_that_no_one_knows_by_its_length_is_refused() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let request = format!("{} / HTTP/1.1\r\nHost: api.test\r\n\r\n", "M".repeat(100));
    refused_for_good(&world, &gateway, &request, 501, "method_unsupported");
    saw_nothing(&origin);
}

#[test]
fn a_request_names_exactly_one_host_that_is_one() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    #[rustfmt::skip]
    let table = [
        ("GET /x HTTP/1.1\r\n\r\n",                                            "host_missing"),
        ("GET /x HTTP/1.1\r\nHost: api.test\r\nHost: api.test\r\n\r\n",        "host_ambiguous"),
        ("GET /x HTTP/1.1\r\nHost: api.test\r\nHost: other.test\r\n\r\n",      "host_ambiguous"),
        ("GET https://other.test/x HTTP/1.1\r\nHost: api.test\r\n\r\n",        "host_ambiguous"),
        ("GET /x HTTP/1.1\r\nHost:\r\n\r\n",                                   "host_malformed"),
        ("GET /x HTTP/1.1\r\nHost: a b\r\n\r\n",                               "host_malformed"),
        ("GET /x HTTP/1.1\r\nHost: user@api.test\r\n\r\n",                     "host_malformed"),
        ("GET /x HTTP/1.1\r\nHost: api.test/x\r\n\r\n",                        "host_malformed"),
        ("GET /x HTTP/1.1\r\nHost: api.test:99999\r\n\r\n",                    "host_malformed"),
        ("GET /x HTTP/1.1\r\nHost: api.test, other.test\r\n\r\n",              "host_malformed"),
        ("GET /x HTTP/1.0\r\n\r\n",                                            "host_missing"),
    ];
    for (request, code) in table {
        refused_for_good(&world, &gateway, request, 400, code);
    }
    saw_nothing(&origin);
    world.is_served();
}

#[test]
fn a_target_in_absolute_form_that_agrees_is_served() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let answer = asked(
        &world,
        "GET https://api.test/x?y=1 HTTP/1.1\r\nHost: api.test\r\n\r\n",
    );
    assert_eq!(answer.status, 200);
    assert_eq!(origin.await_request().target, "/x?y=1");
    gateway.await_story(answer.id(), &["release"]);
    // A scheme that was not spoken is another resource.
    let answer = asked(
        &world,
        "GET http://api.test/x HTTP/1.1\r\nHost: api.test\r\n\r\n",
    );
    gateway.refused(&answer, 400, "target_form");
}

#[test]
fn the_host_belongs_to_the_connection_or_the_request_is_misdirected() {
    let world = World::new();
    let origin = world.plain_origin();
    world
        .authority
        .server(&world.place.path("second"), &["second.test"]);
    let gateway = world.gateway(
        r#"
[certificates.second]
chain = "second/chain.pem"
key = "file:second/key.pem"
[listeners.devices]
certificates = ["api", "second"]
[[routes]]
name = "all"
hosts = ["api.test", "other.test", "second.test", "127.0.0.1"]
"#,
    );
    #[rustfmt::skip]
    let table: [(Option<&'static str>, &str, bool); 9] = [
        (Some("api.test"),    "api.test",     true),
        (Some("api.test"),    "API.TEST",     true),
        (Some("api.test"),    "api.test:1",   true),   // the port is no part of the site
        (Some("api.test"),    "other.test",   true),   // the same certificate is good for both
        (Some("api.test"),    "second.test",  false),  // another certificate
        (Some("second.test"), "api.test",     false),
        (Some("api.test"),    "unknown.test", false),  // no host of this listener
        (None,                "127.0.0.1",    true),   // the default certificate is good for it
        (None,                "second.test",  false),
    ];
    for (name, host, served) in table {
        let caller = world.caller().asking_for(name);
        let answer = caller
            .ask(&format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .unwrap();
        if served {
            assert_eq!(answer.status, 200, "{name:?} {host}: {answer:?}");
        } else {
            gateway.refused(&answer, 421, "misdirected_request");
        }
    }
    assert_eq!(origin.seen().len(), 5);
}

#[test]
fn paths_that_read_in_two_ways_are_refused_and_never_rewritten() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let bad = [
        "/..",
        "/fhir/../admin",
        "/fhir/./x",
        "/fhir/%2e%2e/admin",
        "/fhir/.%2E/x",
        "/fhir/..%2fadmin",
        "//fhir",
        "/fhir//Patient",
        "/fhir/%5c..%5cx",
        "/fhir\\admin",
        "/fhir/%00",
        "/fhir/%0d%0aX:1",
        "/fhir/%7f",
        "/fhir/%252e%252e/x",
        "/fhir/%",
        "/fhir/%zz",
        "/fhir/%ff",
        "/fhir/%c0%ae",
        "/fhir;x=1/Patient",
        "/fhir/..;/x",
        "/a%2Fb",
        "/a%2fb",
    ];
    // One connection for all: where the message ends is known, so the next one may follow.
    let mut line = world.line();
    for path in bad {
        line.send(format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n\r\n"))
            .unwrap();
        let answer = line.answer().or_fail(path);
        gateway.refused(&answer, 400, "path_refused");
    }
    saw_nothing(&origin);
    let good = [
        "/",
        "/fhir/Patient/1",
        "/fhir/Patient/$everything",
        "/a.b/c..d/...",
        "/M%C3%BCller",
        "/a%20b",
        "/x@y:z!,'()*+=&~",
        "/fhir/Patient?name=a/../b;c",
        "/fhir/ValueSet/loinc|2.72",
        "/end/",
    ];
    for path in good {
        line.send(format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n\r\n"))
            .unwrap();
        assert_eq!(line.answer().or_fail(path).status, 200, "{path}");
        assert_eq!(origin.seen().pop().unwrap().target, path, "byte for byte");
    }
    // The same over HTTP/2, as far as its client lets them out.
    let mut streams = Streams::open(&world.caller()).unwrap();
    let served = origin.seen().len();
    for path in bad.iter().filter(|path| !path.contains('\\')) {
        let answer = streams.ask("GET", path).or_fail(path);
        gateway.refused(&answer, 400, "path_refused");
    }
    assert_eq!(origin.seen().len(), served);
}

#[test]
fn an_encoded_slash_passes_where_its_route_says_so_and_divides_nothing() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway(
        r#"
[[routes]]
name = "documents"
listeners = ["devices"]
hosts = ["api.test"]
path = "/documents"
methods = ["GET"]
allow = ["pump"]
upstream = "origin"
encoded_slash = true
[[routes]]
name = "secret"
listeners = ["devices"]
hosts = ["api.test"]
path = "/documents/secret"
methods = ["GET"]
upstream = "origin"
"#,
    );
    assert_eq!(
        asked(
            &world,
            "GET /documents/a%2Fb HTTP/1.1\r\nHost: api.test\r\n\r\n"
        )
        .status,
        200
    );
    assert_eq!(origin.await_request().target, "/documents/a%2Fb");
    // Whoever decodes before splitting would see /documents/../secret here.
    let answer = asked(
        &world,
        "GET /documents/..%2Fsecret HTTP/1.1\r\nHost: api.test\r\n\r\n",
    );
    gateway.refused(&answer, 400, "path_refused");
    // A route is not evaded by spelling its segments otherwise.
    let answer = asked(
        &world,
        "GET /documents/s%65cret HTTP/1.1\r\nHost: api.test\r\n\r\n",
    );
    gateway.refused(&answer, 403, "not_permitted");
    // Nor by a slash that the upstream, but not the gateway, takes for a divider.
    let answer = asked(
        &world,
        "GET /documents%2Fsecret HTTP/1.1\r\nHost: api.test\r\n\r\n",
    );
    gateway.refused(&answer, 400, "path_refused");
}

#[test]
fn the_longest_prefix_of_whole_segments_decides() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway(
        r#"
[[routes]]
name = "all"
path = "/fhir"
fhir = true
[[routes]]
name = "patients"
listeners = ["devices"]
hosts = ["api.test"]
path = "/fhir/Patient"
methods = ["GET"]
allow = ["pump"]
upstream = "origin"
fhir = true
"#,
    );
    #[rustfmt::skip]
    let table = [
        ("/fhir/Observation/1", "all",      "Observation"),
        ("/fhir/Patient/1",     "patients", "Patient"),
        ("/fhir/Patient",       "patients", "Patient"),
        ("/fhir/PatientX",      "all",      ""),
        ("/fhir",               "all",      ""),
    ];
    for (path, route, resource) in table {
        let answer = asked(
            &world,
            &format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n\r\n"),
        );
        assert_eq!(answer.status, 200, "{path}");
        gateway.await_story(answer.id(), &["release"]);
        let records = gateway.records();
        let release = records.of_request(answer.id())[0];
        assert_eq!(release.text("route"), route, "{path}: {release}");
        assert_eq!(release.text("resource"), resource, "{path}: {release}");
        assert_eq!(
            (release.text("client"), release.text("rule")),
            (CLIENT, "pump"),
            "{release}"
        );
        assert_eq!(release.text("method"), "GET");
    }
    let served = origin.seen().len();
    for path in ["/", "/fhirx", "/Fhir", "/x/fhir"] {
        let answer = asked(
            &world,
            &format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n\r\n"),
        );
        gateway.refused(&answer, 404, "no_route");
    }
    assert_eq!(origin.seen().len(), served);
}

#[test]
fn a_method_that_the_route_does_not_serve_is_told_which_it_does() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("[[routes]]\nname = \"all\"\nmethods = [\"GET\", \"HEAD\"]");
    for method in ["POST", "DELETE", "PROPFIND", "get"] {
        let answer = asked(
            &world,
            &format!("{method} / HTTP/1.1\r\nHost: api.test\r\n\r\n"),
        );
        gateway.refused(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    }
    saw_nothing(&origin);
    world.is_served();
}

#[test]
fn methods_and_targets_for_proxies_are_refused() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    for request in ["CONNECT api.test:443", "TRACE /x"] {
        let answer = asked(
            &world,
            &format!("{request} HTTP/1.1\r\nHost: api.test\r\n\r\n"),
        );
        gateway.refused(&answer, 501, "method_unsupported");
    }
    let answer = asked(&world, "OPTIONS * HTTP/1.1\r\nHost: api.test\r\n\r\n");
    gateway.refused(&answer, 400, "target_form");
    saw_nothing(&origin);
}

#[test]
fn nobody_is_let_through_unless_a_rule_says_so() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway(
        r#"
[roles.clerk]
clients = ["urn:example:clerk-*", "urn:example:pump-1:service"]
[[routes]]
name = "clerks"
listeners = ["devices"]
hosts = ["api.test"]
path = "/clerks"
methods = ["GET"]
allow = ["clerk"]
upstream = "origin"
[[routes]]
name = "nobody"
listeners = ["devices"]
hosts = ["api.test"]
path = "/nobody"
methods = ["GET"]
upstream = "origin"
"#,
    );
    for path in ["/clerks", "/nobody"] {
        let answer = asked(
            &world,
            &format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n\r\n"),
        );
        gateway.refused(&answer, 403, "not_permitted");
        let records = gateway.records();
        let record = records.of_request(answer.id())[0];
        assert_eq!(record.text("client"), CLIENT, "{record}");
        assert_eq!(record.text("rule"), "", "no rule permitted it: {record}");
    }
    saw_nothing(&origin);
    world.is_served();
}

#[test]
fn an_upgrade_is_refused_and_ends_the_connection() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    // A route opens WebSockets only if it says so, and no other protocol ever.
    for (protocol, status) in [("websocket", 403), ("h2c", 400), ("TLS/1.2", 400)] {
        let request = format!(
            "GET /x HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
        );
        refused_for_good(&world, &gateway, &request, status, "upgrade_refused");
    }
    saw_nothing(&origin);
}

#[test]
fn an_expectation_other_than_100_continue_fails() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let request =
        "POST /x HTTP/1.1\r\nHost: api.test\r\nExpect: 200-ok\r\nContent-Length: 0\r\n\r\n";
    refused_for_good(&world, &gateway, request, 417, "expectation_failed");
    saw_nothing(&origin);
}

#[test]
fn a_refused_request_with_content_hides_no_second_request() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("[[routes]]\nname = \"all\"\npath = \"/fhir\"");
    // The content of the refused request is itself a request; it must be skipped as content.
    let inner = "GET /fhir/hidden HTTP/1.1\r\nHost: api.test\r\n\r\n";
    let mut line = world.line();
    line.send(format!(
        "POST /nowhere HTTP/1.1\r\nHost: api.test\r\nContent-Length: {}\r\n\r\n{inner}GET /fhir/next HTTP/1.1\r\nHost: api.test\r\n\r\n",
        inner.len()
    ))
    .unwrap();
    gateway.refused(&line.answer().unwrap(), 404, "no_route");
    // Either the connection goes on with the next request, or it ends.
    if let Ok(next) = line.answer() {
        assert_eq!(next.status, 200);
    }
    let targets: Vec<_> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert!(!targets.contains(&"/fhir/hidden".to_owned()), "{targets:?}");
}

#[test]
fn requests_that_were_sent_ahead_are_answered_in_their_order() {
    let world = World::new();
    let origin = world.answering(|seen| ok(&seen.target));
    let gateway = world.gateway("");
    let mut line = world.line();
    let ahead: String = (0..20)
        .map(|number| {
            [
                "GET /",
                &number.to_string(),
                " HTTP/1.1\r\nHost: api.test\r\n\r\n",
            ]
            .concat()
        })
        .collect();
    line.send(ahead).unwrap();
    let mut ids = Vec::new();
    for number in 0..20 {
        let answer = line.answer().unwrap();
        assert_eq!(answer.text(), format!("/{number}"));
        ids.push(answer.id().to_owned());
    }
    for id in &ids {
        gateway.await_story(id, &["release"]);
    }
    assert_eq!(
        origin.connections(),
        1,
        "the connection to the upstream was kept"
    );
    drop(line);
    let close = gateway.await_record("the end", |record| record.kind() == "close");
    assert_eq!(close.number("requests"), Some(20), "{close}");
}

#[test]
fn http_1_0_is_served_and_closed() {
    let world = World::new();
    let _origin = world.answering(|seen| match seen.target.as_str() {
        "/chunked" => {
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec()
        }
        _ => ok("hello"),
    });
    let gateway = world.gateway("");
    for path in ["/length", "/chunked"] {
        let mut line = world.line();
        line.send(format!(
            "GET {path} HTTP/1.0\r\nHost: api.test\r\nConnection: keep-alive\r\n\r\n"
        ))
        .unwrap();
        let answer = line.answer().unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "hello"),
            "{path}"
        );
        assert_eq!(
            answer.all("transfer-encoding"),
            Vec::<&str>::new(),
            "{path}"
        );
        assert_eq!(line.rest(), (Vec::new(), End::Closed), "{path}");
        gateway.await_record("its release", |record| {
            record.text("request_id") == answer.id()
        });
    }
}

#[test]
fn an_answer_to_head_has_the_fields_of_get_and_no_content() {
    let world = World::new();
    let origin = world.answering(|seen| {
        let content = if seen.method == "HEAD" { "" } else { "hello" };
        format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-kind: greeting\r\n\r\n{content}")
            .into_bytes()
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    // A second request shows that no content was written where none belongs.
    line.send("HEAD /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    let head = line.answer_to_head().unwrap();
    assert_eq!(
        (
            head.status,
            head.header("content-length"),
            head.header("x-kind")
        ),
        (200, Some("5"), Some("greeting"))
    );
    gateway.await_story(head.id(), &["release"]);
    line.send("GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    assert_eq!(line.answer().unwrap().text(), "hello");
    assert_eq!(
        origin.connections(),
        1,
        "and the upstream's connection is in step too"
    );

    let fetched = world.curl().args(["--http2", "--head"]).get("/x");
    assert_eq!(fetched.answer.status, 200, "{fetched:?}");
    assert_eq!(fetched.answer.header("content-length"), Some("5"));
}

#[test]
fn answers_without_content_keep_the_connection_in_step() {
    let world = World::new();
    let _origin = world.answering(|seen| match seen.target.as_str() {
        "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "/304" => b"HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\ncontent-length: 5\r\n\r\n".to_vec(),
        "/empty" => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
        _ => ok("hello"),
    });
    let gateway = world.gateway("");
    let mut line = world.line();
    for (path, status, content) in [
        ("/204", 204, ""),
        ("/304", 304, ""),
        ("/empty", 200, ""),
        ("/x", 200, "hello"),
    ] {
        line.send(format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n\r\n"))
            .unwrap();
        let answer = line.answer().unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (status, content),
            "{path}"
        );
        if status == 204 {
            assert_eq!(
                answer.all("content-length"),
                Vec::<&str>::new(),
                "RFC 9110 8.6"
            );
        }
        gateway.await_story(answer.id(), &["release"]);
        let curl = world.curl().arg("--http2").get(path);
        assert_eq!(
            (curl.answer.status, curl.answer.text().as_str()),
            (status, content),
            "{path}"
        );
    }
}

#[test]
fn http_2_refuses_what_http_1_refuses() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway =
        world.gateway("[[routes]]\nname = \"all\"\npath = \"/fhir\"\nmethods = [\"GET\"]");
    let mut streams = Streams::open(&world.caller()).unwrap();
    for (method, path, status, code) in [
        ("GET", "/nowhere", 404, "no_route"),
        ("POST", "/fhir", 405, "method_not_allowed"),
        ("TRACE", "/fhir", 501, "method_unsupported"),
    ] {
        let answer = streams.ask(method, path).unwrap();
        gateway.refused(&answer, status, code);
    }
    saw_nothing(&origin);
    assert_eq!(streams.ask("GET", "/fhir").unwrap().status, 200);
}

#[test]
fn what_the_record_holds_names_no_patient() {
    let world = World::new();
    let _origin = world.answering(|_| ok("canary-in-the-answer"));
    let gateway = world.gateway("[[routes]]\nname = \"all\"\nfhir = true");
    let request = "POST /fhir/Patient/canary-in-the-path?name=canary-in-the-query HTTP/1.1\r\nHost: api.test\r\n\
                   X-Canary: canary-in-a-header\r\nContent-Length: 17\r\n\r\ncanary-in-content";
    let answer = asked(&world, request);
    assert_eq!(answer.status, 200);
    let refused = asked(
        &world,
        "GET /fhir/..%2Fcanary-refused HTTP/1.1\r\nHost: api.test\r\n\r\n",
    );
    assert_eq!(refused.status, 400);
    gateway.await_story(answer.id(), &["intent", "release"]);
    let stopped = gateway.stop();
    for segment in std::fs::read_dir(stopped.audit.join("wal")).unwrap() {
        let bytes = std::fs::read(segment.unwrap().path()).unwrap();
        assert!(
            !bytes.windows(6).any(|six| six == b"canary"),
            "the log holds what it must not"
        );
    }
    assert!(
        !stopped.stderr.contains("canary") && !stopped.stdout.contains("canary"),
        "{stopped:?}"
    );
}
