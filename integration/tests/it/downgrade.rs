//! Whoever offers less than they could, or what nobody should, is told so by the alert of the RFC, and
//! what they offered is on record.

use integration::gateway::Gateway;
use integration::hello::{self, Hello};
use integration::line::{End, Line};
use integration::openssl::SClient;
use integration::wait::OrFail;
use integration::world::World;

const OLD: [&str; 2] = ["-cipher", "DEFAULT@SECLEVEL=0"];

fn s_client(world: &World) -> SClient {
    SClient::to(world.nobody().to(), &world.server.trust).with(&world.device)
}

/// Sends bytes and brings what came back, and how the connection ended.
fn told(gateway: &Gateway, bytes: &[u8]) -> (Vec<u8>, End) {
    let mut line = Line::plain(gateway.listen()).or_fail("connect");
    line.send(bytes).or_fail("send");
    line.rest()
}

#[test]
fn a_version_below_the_minimum_gets_protocol_version() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let called = s_client(&world).args(&["-tls1_1"]).args(&OLD).connect();
    assert_eq!(called.alert(), Some(70), "{called:?}");
    let record = gateway.await_short("handshake_refused protocol_version");
    assert_eq!(record.number("alert"), Some(70), "{record}");
    let offered = record.field("offered");
    assert_eq!(
        offered["versions"],
        serde_json::json!(["0x0302"]),
        "{record}"
    );
    assert_eq!(offered["sni"], "api.test", "{record}");
    assert!(
        offered["suites"]
            .as_array()
            .is_some_and(|suites| !suites.is_empty()),
        "{record}"
    );
    assert!(
        offered["ja4"]
            .as_str()
            .is_some_and(|ja4| ja4.starts_with("t11")),
        "{record}"
    );
    world.is_served();
}

#[test]
fn each_version_that_is_dead_gets_protocol_version() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    for version in [0x0300_u16, 0x0301, 0x0302] {
        let hello = Hello::up_to(version).bytes();
        let (answer, end) = told(&gateway, &hello);
        assert_eq!(
            answer.first(),
            Some(&21),
            "{version:#06x}: an alert: {answer:?}"
        );
        assert_eq!(
            answer[5..],
            [2, 70],
            "{version:#06x}: fatal protocol_version"
        );
        assert_eq!(end, End::Closed);
        let versions = serde_json::json!([format!("{version:#06x}")]);
        gateway.await_record("what was offered", |record| {
            record.in_short() == "handshake_refused protocol_version"
                && record.field("offered")["versions"] == versions
        });
    }
    world.is_served();
}

#[test]
fn an_unneeded_fallback_is_refused() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let called = s_client(&world)
        .args(&["-tls1_2", "-fallback_scsv"])
        .connect();
    assert_eq!(called.alert(), Some(86), "{called:?}");
    let record = gateway.await_short("handshake_refused inappropriate_fallback");
    assert_eq!(record.number("alert"), Some(86), "{record}");
    let suites = record.field("offered")["suites"].to_string();
    assert!(suites.contains("0x5600"), "the signal itself: {record}");
    world.is_served();
}

#[test]
fn a_fallback_wins_over_the_version() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let called = s_client(&world)
        .args(&["-tls1_1", "-fallback_scsv"])
        .args(&OLD)
        .connect();
    assert_eq!(called.alert(), Some(86), "{called:?}");
    gateway.await_short("handshake_refused inappropriate_fallback");
}

#[test]
fn a_fallback_signal_beside_the_highest_version_means_nothing() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    assert!(
        s_client(&world)
            .args(&["-fallback_scsv"])
            .ask("/x")
            .status(200)
    );
    assert_eq!(gateway.records().of_kind("handshake_refused").len(), 0);
}

#[test]
fn an_ssl_2_hello_is_turned_away() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    // A client of SSL 2.0 alone reads no alert; one that offers TLS in its hello does.
    assert_eq!(
        told(&gateway, &hello::ssl2(0x0002)),
        (Vec::new(), End::Closed)
    );
    let (answer, _) = told(&gateway, &hello::ssl2(0x0303));
    assert_eq!(answer.get(5..), Some(&[2, 70][..]), "{answer:?}");
    gateway.await_record("an alert for the second", |record| {
        record.in_short() == "handshake_refused ssl2" && record.number("alert") == Some(70)
    });
    gateway.await_record("none for the first", |record| {
        record.in_short() == "handshake_refused ssl2" && record.field("alert").is_null()
    });
    world.is_served();
}

#[test]
fn plain_http_is_told_where_it_is() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let request = b"GET /canary HTTP/1.1\r\nhost: api.test\r\n\r\n";
    let (answer, end) = told(&gateway, request);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("HTTPS"), "{answer}");
    assert_eq!(end, End::Closed);
    let record = gateway.await_short("handshake_refused plain_http");
    assert!(!record.to_string().contains("canary"), "{record}");
    assert_eq!(origin.seen().len(), 0);
    world.is_served();
}

#[test]
fn garbage_gets_no_word() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    for garbage in [
        &b"\x7fELF\x02\x01\x01"[..],
        b"\x40\x01\x02\x03\x04",
        b"EHLO x\r\n",
    ] {
        assert_eq!(
            told(&gateway, garbage),
            (Vec::new(), End::Closed),
            "{garbage:?}"
        );
    }
    let record = gateway.await_short("handshake_refused not_tls");
    assert!(
        record.field("offered").is_null() && record.field("alert").is_null(),
        "{record}"
    );
    gateway.await_record("all three", |_| {
        let records = gateway.records();
        let refused = records.of_kind("handshake_refused");
        refused
            .iter()
            .filter(|record| record.code() == "not_tls")
            .count()
            == 3
    });
    world.is_served();
}
