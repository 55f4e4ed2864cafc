//! The channel is what RFC 9325 asks for, and nothing weaker: versions, suites, groups, protocols, and
//! no session that outlives a revocation.

use integration::curl::Curl;
use integration::hello::{self, Hello};
use integration::line::{End, Line};
use integration::openssl::{Called, SClient};
use integration::world::{CLIENT, World};

fn s_client(world: &World, arguments: &[&str]) -> SClient {
    SClient::to(world.nobody().to(), &world.server.trust)
        .with(&world.device)
        .args(arguments)
}

#[test]
fn a_device_reads_over_each_version_and_protocol() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    #[rustfmt::skip]
    let table = [
        (["--tls-max", "1.2", "--http1.1"], "0x0303", "http/1.1", "HTTP/1.1"),
        (["--tls-max", "1.2", "--http2"],   "0x0303", "h2",       "HTTP/2"),
        (["--tls-max", "1.3", "--http1.1"], "0x0304", "http/1.1", "HTTP/1.1"),
        (["--tls-max", "1.3", "--http2"],   "0x0304", "h2",       "HTTP/2"),
    ];
    for (arguments, version, alpn, spoken) in table {
        let fetched = world.curl().args(arguments).get("/x");
        assert_eq!(fetched.answer.status, 200, "{arguments:?} {fetched:?}");
        assert_eq!(fetched.answer.version, spoken);
        gateway.await_story(fetched.answer.id(), &["release"]);
        let records = gateway.records();
        let connection = records.of_request(fetched.answer.id())[0].text("connection_id");
        let handshake = records
            .of_kind("handshake")
            .into_iter()
            .find(|record| record.text("connection_id") == connection)
            .expect("the facts of the connection are on record");
        assert_eq!(handshake.text("version"), version, "{handshake}");
        assert_eq!(handshake.text("alpn"), alpn, "{handshake}");
        assert_eq!(handshake.text("client"), CLIENT, "{handshake}");
        assert_eq!(handshake.text("sni"), "api.test", "{handshake}");
    }
    gateway.verify();
}

#[test]
fn a_client_without_alpn_speaks_http_1() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let fetched = world.curl().args(["--no-alpn"]).get("/x");
    assert_eq!(
        (fetched.answer.status, fetched.answer.version.as_str()),
        (200, "HTTP/1.1")
    );
    gateway.await_story(fetched.answer.id(), &["release"]);
}

#[test]
fn modern_refuses_tls_1_2() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("[listeners.devices]\ntls = \"modern\"");
    assert_eq!(s_client(&world, &["-tls1_2"]).connect().alert(), Some(70));
    let record = gateway.await_short("handshake_refused protocol_version");
    assert_eq!(record.number("alert"), Some(70));
    assert_eq!(
        record.field("offered")["versions"],
        serde_json::json!(["0x0303"])
    );
    assert!(s_client(&world, &["-tls1_3"]).ask("/x").status(200));
}

#[test]
fn the_post_quantum_hybrid_is_preferred() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    // The client of the harness offers the hybrid beside the others, so this runs everywhere.
    world.is_served();
    let record = gateway.await_record("a handshake", |record| record.kind() == "handshake");
    assert_eq!(record.text("group"), "0x11ec", "X25519MLKEM768: {record}");
}

#[test]
fn what_is_weaker_than_rfc_9325_finds_nothing_in_common() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    #[rustfmt::skip]
    let table: [(&[&str], u8, &str); 7] = [
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"],           40, "no_shared_suite"),
        (&["-tls1_2", "-cipher", "AES128-GCM-SHA256"],                   40, "no_shared_suite"),
        (&["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"],           40, "no_shared_suite"),
        (&["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"],              40, "no_shared_suite"),
        (&["-groups", "P-521"],                                          40, "no_shared_group"),
        (&["-sigalgs", "RSA-PSS+SHA256", "-tls1_3"],                     40, "no_shared_signature"),
        (&["-alpn", "spdy/3"],                                          120, "no_shared_protocol"),
    ];
    for (arguments, alert, code) in table {
        let called = s_client(&world, arguments).connect();
        assert_eq!(called.alert(), Some(alert), "{arguments:?} {called:?}");
        let record = gateway.await_record(code, |record| {
            record.in_short() == format!("handshake_refused {code}")
        });
        assert_eq!(record.number("alert"), Some(alert.into()), "{record}");
        assert!(!record.field("offered").is_null(), "{record}");
    }
    world.is_served();
}

#[test]
fn tls_1_2_without_extended_master_secret_is_refused() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let mut line = Line::plain(gateway.listen()).unwrap();
    line.send(Hello::up_to(0x0303).without(23).bytes()).unwrap();
    assert_eq!(line.rest(), (vec![21, 3, 3, 0, 2, 2, 40], End::Closed));
    let record = gateway.await_short("handshake_refused no_extended_master_secret");
    assert_eq!(record.field("offered")["sni"], "api.test", "{record}");
    world.is_served();
}

#[test]
fn hellos_that_break_the_grammar_get_the_alert_of_their_standard() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let twice = Hello::up_to(0x0303).bytes();
    let mut two_names = Hello::up_to(0x0303);
    two_names
        .extensions
        .push((0, hello::server_name("api.test")));
    let long = Hello::up_to(0x0303).with(0xfafa, vec![0; 60_000]).bytes();
    #[rustfmt::skip]
    let table: [(&str, Vec<u8>, u8, &str); 5] = [
        ("a server name cut short",    Hello::up_to(0x0303).with(0, vec![0, 9, 0]).bytes(), 50, "hello_malformed"),
        ("an extension twice",         two_names.bytes(),                                   47, "hello_malformed"),
        ("application data first",     [&[23, 3, 3], &twice[3..]].concat(),                 10, "hello_malformed"),
        ("a record that is too long",  vec![22, 3, 1, 0x48, 0x01, 1, 0, 0x48, 0],           22, "hello_malformed"),
        ("more than is read",          long_records(&long),                                 50, "hello_too_large"),
    ];
    for (what, bytes, alert, code) in table {
        let mut line = Line::plain(gateway.listen()).unwrap();
        line.send(&bytes).unwrap();
        let (answer, end) = line.rest();
        assert_eq!(
            (answer.last(), end),
            (Some(&alert), End::Closed),
            "{what}: {answer:?}"
        );
        assert_eq!(answer.len(), 7, "{what}: one alert and nothing else");
        gateway.await_record(what, |record| {
            record.in_short() == format!("handshake_refused {code}")
                && record.number("alert") == Some(alert.into())
        });
    }
    world.is_served();
}

/// A hello that is longer than a record, in several.
fn long_records(bytes: &[u8]) -> Vec<u8> {
    bytes[5..]
        .chunks(16_384)
        .flat_map(|piece| {
            let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
            [&[22, 3, 1], &length[..], piece].concat()
        })
        .collect()
}

#[test]
fn no_session_of_tls_1_2_is_resumed() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let Called(ran) = s_client(&world, &["-tls1_2", "-reconnect"]).connect();
    assert_eq!(
        ran.stdout.matches("New, TLSv1.2").count(),
        6,
        "{}",
        ran.stdout
    );
    assert_eq!(ran.stdout.matches("Reused, ").count(), 0, "{}", ran.stdout);
    assert!(
        !ran.stdout.contains("TLS session ticket:"),
        "{}",
        ran.stdout
    );
    gateway.await_record("six full handshakes", |_| {
        gateway.records().of_kind("handshake").len() == 6
    });
}

#[test]
fn no_ticket_is_given_in_tls_1_3() {
    let world = World::new();
    let _origin = world.plain_origin();
    let _gateway = world.gateway("");
    let session = world.place.path("session.pem");
    let called = s_client(
        &world,
        &["-tls1_3", "-sess_out", &session.display().to_string()],
    )
    .ask("/x");
    assert!(called.status(200), "{called:?}");
    assert!(
        !called.0.stdout.contains("New Session Ticket"),
        "{called:?}"
    );
    assert!(!session.exists(), "there was a session to keep");
}

#[test]
fn a_client_that_distrusts_the_gateway_is_on_record() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let other = integration::authority::Authority::init(&world.place, "other");
    let fetched = Curl::to(gateway.listen(), &other.trust())
        .with(&world.device)
        .get("/x");
    assert_eq!(
        (fetched.answer.status, fetched.ran.code()),
        (0, 60),
        "{fetched:?}"
    );
    let record = gateway.await_short("handshake_refused peer_alert");
    assert_eq!(record.text("detail"), "alert 48", "{record}");
}

#[test]
fn a_certificate_is_shown_for_each_site() {
    let world = World::new();
    let _origin = world.plain_origin();
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
hosts = ["api.test", "second.test"]
"#,
    );
    for host in ["api.test", "second.test"] {
        let fetched = world.curl().host(host).get("/x");
        assert_eq!(fetched.answer.status, 200, "{fetched:?}");
    }
    let fetched = world.curl().host("third.test").get("/x");
    assert_eq!(
        fetched.ran.code(),
        60,
        "no certificate is good for third.test: {fetched:?}"
    );
    gateway.verify();
}
