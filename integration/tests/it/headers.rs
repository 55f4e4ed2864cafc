//! Nobody but the gateway says to the upstream who the client is: not through an alias, a trailer or
//! `Connection`, over either protocol. What it says is what was proved.

use std::collections::BTreeSet;

use integration::curl::Curl;
use integration::demo::Demo;
use integration::place::Place;
use integration::sources;
use integration::streams::{Content, Streams};
use integration::world::World;
use regex::Regex;

/// What is sent in place of the truth.
const FORGED: &str = "forged-7c1e";

/// Every spelling of every row of the tables in `gateway/src/headers.rs`: as it stands, with
/// underscores, half of each, in capitals, and with something behind where a prefix counts.
fn spellings() -> BTreeSet<String> {
    let source = sources::read("gateway/src/headers.rs");
    let row = Regex::new(r#"Alias::(Exact|Prefix)\("([a-z-]+)"\)"#).unwrap();
    let mut spellings = BTreeSet::new();
    for found in row.captures_iter(&source) {
        let (kind, name) = (&found[1], found[2].trim_end_matches('-').to_owned());
        let ends = if kind == "Prefix" {
            ["", "-user", "_s_dn"].as_slice()
        } else {
            [""].as_slice()
        };
        // A prefix that ends in a hyphen is no name of its own.
        let bare = !found[2].ends_with('-');
        for end in ends.iter().filter(|end| bare || !end.is_empty()) {
            let whole = format!("{name}{end}");
            spellings.insert(whole.replace('-', "_"));
            spellings.insert(whole.replacen('-', "_", 1));
            spellings.insert(whole.to_ascii_uppercase());
            spellings.insert(whole);
        }
    }
    // In their own spelling these frame the message, or are verified.
    let own = [
        "content-length",
        "transfer-encoding",
        "content-digest",
        "repr-digest",
        "signature-input",
    ];
    spellings.retain(|name| !own.contains(&name.to_ascii_lowercase().as_str()));
    spellings
}

#[test]
fn the_table_of_aliases_can_be_read() {
    let spellings = spellings();
    assert!(spellings.len() > 80, "{spellings:?}");
    for known in [
        "client_cert",
        "SSL-CLIENT_s_dn",
        "x-http-method-override",
        "REMOTE-USER",
    ] {
        let known = known.to_ascii_lowercase();
        assert!(
            spellings
                .iter()
                .any(|name| name.to_ascii_lowercase() == known),
            "{known}"
        );
    }
}

#[test]
fn no_alias_reaches_the_sample_api() {
    let place = Place::new();
    let demo = Demo::start(&place);
    let spellings: Vec<String> = spellings().into_iter().collect();
    for protocol in ["--http1.1", "--http2"] {
        // Not more at once than a head may hold.
        for names in spellings.chunks(60) {
            let call = Curl::to(demo.listen(), &demo.server.trust)
                .with(&demo.device)
                .host("localhost")
                .args([protocol, "--data", "x"])
                .header(&format!("x-innocent: {FORGED}-passes"));
            let call = names
                .iter()
                .fold(call, |call, name| call.header(&format!("{name}: {FORGED}")));
            let fetched = call.get("/echo");
            assert_eq!(fetched.answer.status, 200, "{fetched:?}");
            let seen = fetched.answer.json()["headers"].clone();
            assert_eq!(seen["x-innocent"][0], format!("{FORGED}-passes"), "{seen}");
            let passed: Vec<_> = seen
                .as_object()
                .unwrap()
                .iter()
                .filter(|(_, values)| {
                    values
                        .as_array()
                        .unwrap()
                        .iter()
                        .any(|value| value == FORGED)
                })
                .collect();
            assert_eq!(passed, Vec::new(), "{protocol}");
            assert!(
                seen["client-cert"][0]
                    .as_str()
                    .is_some_and(|cert| cert.starts_with(":MII")),
                "{seen}"
            );
            assert_eq!(
                seen["client-cert"].as_array().map(Vec::len),
                Some(1),
                "{seen}"
            );
            assert_eq!(seen["x-request-id"][0], fetched.answer.id(), "{seen}");
        }
    }
}

#[test]
fn what_the_upstream_is_told_is_what_was_proved() {
    let world = World::new();
    let origin = world.plain_origin();
    let _gateway = world.gateway("");
    let mut line = world.line();
    let port = line.socket().local_addr().unwrap().port();
    line.send("GET /x HTTP/1.1\r\nHost: API.test:20443\r\nX-Request-Id: mine\r\n\r\n")
        .unwrap();
    let answer = line.answer().unwrap();
    let seen = origin.await_request();
    let base64 = |index: usize| {
        let chain = std::fs::read_to_string(&world.device.chain).unwrap();
        let pem = chain
            .split("-----BEGIN CERTIFICATE-----")
            .nth(index + 1)
            .unwrap();
        let lines = pem.split("-----END").next().unwrap();
        format!(":{}:", lines.split_whitespace().collect::<String>())
    };
    assert_eq!(
        seen.header("client-cert"),
        Some(base64(0).as_str()),
        "RFC 9440 2.2"
    );
    assert_eq!(
        seen.header("client-cert-chain"),
        Some(base64(1).as_str()),
        "RFC 9440 2.3"
    );
    let forwarded = format!("for=\"127.0.0.1:{port}\";host=\"API.test:20443\";proto=https");
    assert_eq!(
        seen.header("forwarded"),
        Some(forwarded.as_str()),
        "RFC 7239"
    );
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(
        seen.header("x-forwarded-host"),
        Some("API.test:20443"),
        "RFC 7239 5.3"
    );
    assert_eq!(seen.header("x-request-id"), Some(answer.id()));
    assert_ne!(answer.id(), "mine");
    assert_eq!(seen.header("host"), Some("API.test:20443"), "as received");
}

#[test]
fn what_connection_names_ends_here_and_never_takes_the_proof_away() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let answer = world
        .caller()
        .ask(&format!(
            "GET /x HTTP/1.1\r\nHost: api.test\r\n\
             Connection: keep-alive, X-Secret, Client-Cert, Forwarded, X-Forwarded-For, X-Request-Id\r\n\
             X-Secret: {FORGED}\r\nX-Open: {FORGED}\r\nKeep-Alive: {FORGED}\r\nTE: trailers\r\n\
             Proxy-Connection: {FORGED}\r\nProxy-Authorization: {FORGED}\r\nHTTP2-Settings: {FORGED}\r\n\r\n"
        ))
        .unwrap();
    assert_eq!(answer.status, 200);
    let seen = origin.await_request();
    for gone in [
        "x-secret",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "http2-settings",
        "te",
    ] {
        assert_eq!(seen.all(gone), Vec::<&str>::new(), "{gone}");
    }
    assert_eq!(seen.header("x-open"), Some(FORGED));
    for proof in [
        "client-cert",
        "forwarded",
        "x-forwarded-for",
        "x-request-id",
    ] {
        assert!(seen.header(proof).is_some(), "{proof} in {}", seen.head);
    }
    gateway.await_story(answer.id(), &["release"]);
}

#[test]
fn connection_may_not_name_what_is_meant_for_the_end() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    for field in [
        "Host",
        "content-length",
        "Content-Type",
        "authorization",
        "cookie",
    ] {
        let request = format!("GET /x HTTP/1.1\r\nHost: api.test\r\nConnection: {field}\r\n\r\n");
        let answer = world.caller().ask(&request).unwrap();
        gateway.refused(&answer, 400, "field_refused");
    }
    assert_eq!(origin.seen().len(), 0);
    world.is_served();
}

#[test]
fn a_trailer_names_no_client_and_frames_nothing() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let answer = world
        .caller()
        .ask(&format!(
            "POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\
             Trailer: X-Checksum, Client-Cert\r\n\r\n2\r\nok\r\n0\r\n\
             X-Checksum: 7\r\nclient_cert: {FORGED}\r\nX-Forwarded-For: {FORGED}\r\nRemote-User: {FORGED}\r\n\r\n"
        ))
        .unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = origin.await_request();
    assert_eq!(seen.trailers, [("x-checksum".to_owned(), "7".to_owned())]);
    assert!(seen.whole && seen.body == b"ok");
    gateway.await_story(answer.id(), &["intent", "release"]);

    // Over HTTP/2 as well.
    let mut trailers = http::HeaderMap::new();
    for (name, value) in [
        ("x-checksum", "8"),
        ("client-cert", FORGED),
        ("x_forwarded_user", FORGED),
    ] {
        trailers.insert(
            http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
            value.parse().unwrap(),
        );
    }
    let mut streams = Streams::open(&world.caller()).unwrap();
    let builder = http::Request::builder().method("POST");
    let content = Content::of("ok").with_trailers(trailers);
    assert_eq!(streams.send(builder, "/y", content).unwrap().status, 200);
    let seen = origin.seen().pop().unwrap();
    assert_eq!(seen.trailers, [("x-checksum".to_owned(), "8".to_owned())]);
}

#[test]
fn a_trailer_that_belongs_in_the_head_is_refused() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    for name in [
        "Content-Length",
        "Transfer-Encoding",
        "Host",
        "Authorization",
    ] {
        let answer = world
            .caller()
            .ask(&format!(
                "POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nok\r\n0\r\n{name}: 5\r\n\r\n"
            ))
            .unwrap();
        gateway.refused(&answer, 400, "body_malformed");
    }
    world.is_served();
}

#[test]
fn an_answer_passes_without_what_ends_at_its_hop_or_names_a_client() {
    let world = World::new();
    let _origin = world.answering(|_| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive, x-inner\r\nx-inner: {FORGED}\r\n\
             keep-alive: {FORGED}\r\nclient-cert: {FORGED}\r\nclient-cert-chain: {FORGED}\r\nx-request-id: {FORGED}\r\n\
             proxy-authenticate: {FORGED}\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-outer: passes\r\n\r\nok"
        )
        .into_bytes()
    });
    let gateway = world.gateway("");
    for protocol in ["--http1.1", "--http2"] {
        let fetched = world.curl().arg(protocol).get("/x");
        let answer = &fetched.answer;
        assert_eq!(answer.status, 200, "{fetched:?}");
        let passed: Vec<_> = answer
            .headers
            .iter()
            .filter(|(_, value)| value == FORGED)
            .collect();
        assert_eq!(passed, Vec::<&(String, String)>::new(), "{protocol}");
        assert_eq!(
            answer.all("set-cookie"),
            ["a=1", "b=2"],
            "neither joined nor lost"
        );
        assert_eq!(answer.header("x-outer"), Some("passes"));
        gateway.await_story(answer.id(), &["release"]);
    }
}

#[test]
fn cookies_that_http_2_has_split_are_one_again() {
    let world = World::new();
    let origin = world.plain_origin();
    let _gateway = world.gateway("");
    let mut streams = Streams::open(&world.caller()).unwrap();
    let builder = http::Request::builder()
        .method("GET")
        .header("cookie", "a=1")
        .header("cookie", "b=2");
    assert_eq!(
        streams
            .send(builder, "/x", Content::default())
            .unwrap()
            .status,
        200
    );
    assert_eq!(
        origin.await_request().all("cookie"),
        ["a=1; b=2"],
        "RFC 9113 8.2.3"
    );
}

#[test]
fn an_answer_over_http_2_names_the_host_that_was_asked_for() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let mut streams = Streams::open(&world.caller()).unwrap();
    // The same host twice, as :authority and as Host, is one; two are an attack.
    let agreeing = http::Request::builder().header("host", "API.test");
    assert_eq!(
        streams
            .send(agreeing, "/x", Content::default())
            .unwrap()
            .status,
        200
    );
    assert_eq!(origin.await_request().all("host").len(), 1);
    let differing = http::Request::builder().header("host", "other.test");
    let answer = streams.send(differing, "/y", Content::default()).unwrap();
    gateway.refused(&answer, 400, "host_ambiguous");
    assert_eq!(origin.seen().len(), 1);
}
