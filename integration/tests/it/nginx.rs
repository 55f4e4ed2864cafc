//! In front of a real nginx: over TLS with a pinned root and a certificate of the gateway's own, over
//! HTTP/2, over a Unix socket; and never in front of one that does not prove who it is.

use integration::authority::Authority;
use integration::configuration::Configuration;
use integration::gateway::Gateway;
use integration::lab::{Lab, Leaf};
use integration::nginx::Nginx;
use integration::origin;
use integration::program::Program;
use integration::streams::Streams;
use integration::world::World;

/// A world with certificates for the inner network: nginx's own, and the gateway's towards it.
fn inner_world() -> World {
    let world = World::new();
    let inner = Authority::init(&world.place, "inner");
    inner.server(&world.place.path("nginx-server"), &["fhir.internal"]);
    let lab = Lab::new(&world.place, "lab");
    lab.issue(
        "gateway",
        &Leaf {
            names: "DNS:gateway.internal",
            usage: "clientAuth,serverAuth",
            ..Leaf::GOOD
        },
    );
    world
}

/// An nginx over TLS, on the upstream's port, that asks for a certificate which leads to `trusted`.
fn over_tls(world: &World, protocol: &str, trusted: &str) -> Nginx {
    let root = world.place.directory().display();
    let address = world.place.at(origin::PORT);
    Nginx::start(
        &world.place,
        &format!(
            "server {{
    listen {address} ssl {protocol};
    ssl_certificate {root}/nginx-server/chain.pem;
    ssl_certificate_key {root}/nginx-server/key.pem;
    ssl_client_certificate {root}/{trusted};
    ssl_verify_client on;
    ssl_verify_depth 3;
    location /who {{ return 200 \"$server_protocol $ssl_client_s_dn $http_x_forwarded_host\"; }}
    location / {{ }}
}}"
        ),
    )
}

/// The configuration for it: the gateway proves itself with the lab's certificate.
fn configuration(world: &World, more: &str) -> Configuration {
    let address = world.place.at(origin::PORT);
    let own = r#"
[certificates.own]
chain = "lab/gateway.pem"
key = "file:lab/gateway.key"
"#;
    world
        .configuration()
        .without("upstreams.origin.rationale")
        .with(own)
        .with(&format!(
            r#"
[upstreams.origin]
servers = ["https://{address}"]
trust = "inner/trust.pem"
server_name = "fhir.internal"
client_certificate = "own"
"#
        ))
        .with(more)
}

#[test]
fn over_tls_both_prove_who_they_are() {
    let world = inner_world();
    let _nginx = over_tls(&world, "", "lab/root.pem");
    let gateway = Gateway::start(
        &world.place,
        &configuration(&world, "[upstreams.origin]\nprotocol = \"http/1.1\""),
    );
    for protocol in ["--http1.1", "--http2"] {
        let fetched = world.curl().arg(protocol).get("/who");
        assert_eq!(fetched.answer.status, 200, "{fetched:?}");
        assert_eq!(fetched.answer.text(), "HTTP/1.1 CN=gateway api.test:20443");
        gateway.await_story(fetched.answer.id(), &["release"]);
    }
    let file = world.caller().ask("GET /hello.txt").unwrap();
    assert_eq!(
        (file.status, file.text().as_str()),
        (200, "hello from nginx\n")
    );
    let missing = world.caller().ask("GET /missing").unwrap();
    assert_eq!(
        missing.status, 404,
        "an error of the upstream is an answer like any other"
    );
    assert!(missing.text().contains("nginx"), "{missing:?}");
    gateway.await_story(missing.id(), &["release"]);
    gateway.verify();
}

#[test]
fn http_2_is_spoken_where_alpn_chooses_it() {
    let world = inner_world();
    let _nginx = over_tls(&world, "http2", "lab/root.pem");
    let gateway = Gateway::start(&world.place, &configuration(&world, ""));
    let mut streams = Streams::open(&world.caller()).unwrap();
    for _ in 0..3 {
        let answer = streams.ask("GET", "/who").unwrap();
        assert_eq!(answer.text(), "HTTP/2.0 CN=gateway api.test");
        gateway.await_story(answer.id(), &["release"]);
    }
    let answer = world.caller().ask("GET /who").unwrap();
    assert_eq!(
        answer.text(),
        "HTTP/2.0 CN=gateway api.test",
        "for a client of HTTP/1.1 as well"
    );
    let upload = world.curl().args(["--data", "x=1"]).get("/hello.txt");
    assert_eq!(
        upload.answer.status, 405,
        "nginx takes no POST for a file: {upload:?}"
    );
    gateway.await_story(upload.answer.id(), &["intent", "release"]);
    gateway.verify();
}

#[test]
fn a_certificate_for_clients_proves_the_gateway() {
    let world = inner_world();
    Program::ours("pki")
        .args([
            "issue",
            "--profile",
            "client",
            "--id",
            "urn:example:service:gateway",
            "--new-key",
        ])
        .arg("--dir")
        .arg(world.place.path("inner"))
        .arg("--out")
        .arg(world.place.path("own"))
        .run()
        .expect_code(0);
    let _nginx = over_tls(&world, "", "inner/trust.pem");
    let own = "[certificates.own]\nchain = \"own/chain.pem\"\nkey = \"file:own/key.pem\"";
    let gateway = Gateway::start(&world.place, &configuration(&world, own));
    let answer = world.caller().ask("GET /who").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    gateway.await_story(answer.id(), &["release"]);
}

#[test]
fn an_upstream_that_does_not_prove_itself_is_502_and_gets_nothing() {
    let world = inner_world();
    let _nginx = over_tls(&world, "", "lab/root.pem");
    let other = Authority::init(&world.place, "other");
    let trust_other = "[upstreams.origin]\ntrust = \"other/trust.pem\"";
    let another_name = "[upstreams.origin]\nserver_name = \"other.internal\"";
    let gateway = Gateway::start(&world.place, &configuration(&world, trust_other));
    let untrusted = || {
        let answer = world
            .caller()
            .ask("POST /who HTTP/1.1\r\nHost: api.test\r\nContent-Length: 6\r\n\r\ncanary")
            .unwrap();
        gateway.refused(&answer, 502, "upstream_untrusted");
        let records = gateway.records();
        let record = records.of_request(answer.id())[1].clone();
        assert!(
            !record.text("detail").is_empty(),
            "why is on record: {record}"
        );
    };
    untrusted();
    // The right root, and a certificate for another name.
    assert!(gateway.reload_with(&configuration(&world, another_name)));
    untrusted();
    // The roots of the system never count.
    assert!(gateway.reload_with(&configuration(&world, "")));
    assert_eq!(world.caller().ask("GET /who").unwrap().status, 200);
    drop(other);
}

#[test]
fn an_upstream_whose_certificate_has_expired_is_502() {
    let world = inner_world();
    let lab = Lab::new(&world.place, "old");
    let expired = lab.issue(
        "nginx",
        &Leaf {
            names: "DNS:fhir.internal",
            usage: "serverAuth",
            to: "20210101000000Z",
            ..Leaf::GOOD
        },
    );
    let into = |from: &std::path::Path, name: &str| {
        std::fs::copy(from, world.place.path(format!("nginx-server/{name}"))).unwrap();
    };
    into(&expired.chain, "chain.pem");
    into(&expired.key, "key.pem");
    let _nginx = over_tls(&world, "", "lab/root.pem");
    let trust = "[upstreams.origin]\ntrust = \"old/root.pem\"";
    let gateway = Gateway::start(&world.place, &configuration(&world, trust));
    let answer = world.caller().ask("GET /who").unwrap();
    gateway.refused(&answer, 502, "upstream_untrusted");
}

#[test]
fn an_upstream_that_turns_the_gateway_away_is_502() {
    let world = inner_world();
    // A server of TLS 1.3 that ends the handshake without a certificate it trusts.
    let root = world.place.directory().display().to_string();
    let mut server = Program::of_the_machine("openssl")
        .args([
            "s_server",
            "-quiet",
            "-www",
            "-Verify",
            "1",
            "-verify_return_error",
            "-accept",
        ])
        .arg(world.place.at(origin::PORT).to_string())
        .args(["-cert", &format!("{root}/nginx-server/cert.pem")])
        .args(["-cert_chain", &format!("{root}/nginx-server/chain.pem")])
        .args(["-key", &format!("{root}/nginx-server/key.pem")])
        .args(["-CAfile", &format!("{root}/inner/trust.pem")])
        .start(&world.place, "s_server");
    integration::wait::until("openssl s_server", || {
        std::net::TcpStream::connect(world.place.at(origin::PORT)).ok()
    });
    let gateway = Gateway::start(&world.place, &configuration(&world, ""));
    for request in ["GET /x", "GET /y"] {
        let answer = world.caller().ask(request).unwrap();
        gateway.refused(&answer, 502, "upstream_untrusted");
    }
    assert!(server.ended().is_none());
}

#[test]
fn over_a_unix_socket_no_tls_is_needed() {
    let world = World::new();
    let socket = world.place.path("fhir.sock");
    let server = |protocol: &str| {
        format!(
            "server {{
    listen unix:{} {protocol};
    location /who {{ return 200 \"$server_protocol $http_host\"; }}
    location / {{ }}
}}",
            socket.display()
        )
    };
    let configuration = world
        .configuration()
        .without("upstreams.origin.rationale")
        .with("[upstreams.origin]\nservers = [\"unix:fhir.sock\"]");
    let gateway = Gateway::start(&world.place, &configuration);
    let answer = world.caller().ask("GET /who").unwrap();
    gateway.refused(&answer, 502, "upstream_unreachable");
    {
        let _nginx = Nginx::start(&world.place, &server(""));
        let answer = world.caller().ask("GET /who").unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "HTTP/1.1 api.test")
        );
        gateway.await_story(answer.id(), &["release"]);
    }
    // HTTP/2 without TLS, by prior knowledge.
    std::fs::remove_file(&socket).ok();
    std::fs::remove_file(world.place.path("nginx/nginx.pid")).ok();
    let _nginx = Nginx::start(&world.place, &server("http2"));
    assert!(gateway.reload_with(&configuration.with("[upstreams.origin]\nprotocol = \"h2\"")));
    let answer = world.caller().ask("GET /who").unwrap();
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "HTTP/2.0 api.test")
    );
    gateway.verify();
}

#[test]
fn an_upstream_that_restarts_is_found_again() {
    let world = inner_world();
    let gateway = Gateway::start(&world.place, &configuration(&world, ""));
    for round in 0..3 {
        let nginx = over_tls(&world, "http2", "lab/root.pem");
        for _ in 0..5 {
            let answer = world.caller().ask("GET /who").unwrap();
            assert_eq!(answer.status, 200, "round {round}: {answer:?}");
        }
        drop(nginx);
        std::fs::remove_file(world.place.path("nginx/nginx.pid")).ok();
        let answer = world.caller().ask("GET /who").unwrap();
        gateway.refused(&answer, 502, "upstream_unreachable");
    }
    gateway.verify();
}
