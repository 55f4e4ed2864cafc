//! Who is there is proved by a certificate, under one trust set, with exactly one name, in date and
//! not revoked, or there is nobody; and what was proved is asked again as long as the connection lives.

use std::path::Path;
use std::sync::Arc;

use integration::authority::Credentials;
use integration::configuration::OPEN;
use integration::gateway::Gateway;
use integration::lab::{Lab, Leaf};
use integration::line::{Caller, End, alert_of};
use integration::openssl::SClient;
use integration::program::Program;
use integration::records::Record;
use integration::streams::Streams;
use integration::world::{CLIENT, DEVICE, World};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What the lab vouches for counts as well as what `pki` issued.
const LAB: &str = r#"
[trust.devices]
roots = ["pki/trust.pem", "lab/root.pem"]
revocation = { crls = ["pki/crl/", "lab/lab.crl"] }
"#;

fn world_with_lab() -> (World, Lab) {
    let world = World::new();
    let lab = Lab::new(&world.place, "lab");
    (world, lab)
}

/// In each version of TLS the certificate ends the handshake with this alert, nothing reaches the
/// upstream, and code, alert and certificate are on record.
#[track_caller]
fn is_turned_away(world: &World, gateway: &Gateway, bad: &Credentials, alert: u8, code: &str) {
    for version in ["-tls1_2", "-tls1_3"] {
        let before = refused(gateway, code).len();
        let called = SClient::to(gateway.listen(), &world.server.trust)
            .with(bad)
            .args(&[version])
            .ask("/canary");
        assert_eq!(called.alert(), Some(alert), "{version} {code}: {called:?}");
        let record = integration::wait::until("the record of a refused certificate", || {
            refused(gateway, code).split_off(before).pop()
        });
        assert_eq!(record.number("alert"), Some(alert.into()), "{record}");
        assert_eq!(
            record.field("certificate")["serial"],
            serial(&bad.certificate),
            "{record}"
        );
    }
}

fn refused(gateway: &Gateway, code: &str) -> Vec<Record> {
    let records = gateway.records();
    let refused = records.of_kind("handshake_refused").into_iter();
    refused
        .filter(|record| record.code() == code)
        .cloned()
        .collect()
}

fn serial(certificate: &Path) -> String {
    let ran = Program::of_the_machine("openssl")
        .args(["x509", "-noout", "-serial", "-in"])
        .arg(certificate)
        .run()
        .expect_code(0);
    let serial = ran.stdout.trim().trim_start_matches("serial=");
    serial.to_ascii_lowercase()
}

#[test]
fn a_client_without_a_certificate_gets_nowhere() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    for version in ["-tls1_2", "-tls1_3"] {
        let called = SClient::to(gateway.listen(), &world.server.trust)
            .args(&[version])
            .ask("/canary");
        assert_eq!(called.alert(), Some(116), "{version}: {called:?}");
    }
    gateway.await_record("both", |_| {
        refused(&gateway, "certificate_missing").len() == 2
    });
    assert_eq!(origin.seen().len(), 0);
    world.is_served();
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (world, lab) = world_with_lab();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let stranger = lab.issue("stranger", &Leaf::GOOD);
    is_turned_away(
        &world,
        &gateway,
        &stranger,
        48,
        "certificate_unknown_issuer",
    );
    assert_eq!(origin.seen().len(), 0);
    world.is_served();
}

#[test]
fn certificates_that_are_no_good_are_refused_each_by_its_name() {
    let (world, lab) = world_with_lab();
    let origin = world.plain_origin();
    let gateway = world.gateway(LAB);
    // What makes the others fail is what they differ in.
    let good = world.nobody().with(&lab.issue("good", &Leaf::GOOD));
    assert_eq!(good.ask("GET /x").unwrap().status, 200);
    let leaf = Leaf::GOOD;
    #[rustfmt::skip]
    let table = [
        ("expired",   Leaf { to: "20210101000000Z", ..leaf },                                45, "certificate_expired"),
        ("not-yet",   Leaf { from: "20390101000000Z", ..leaf },                              45, "certificate_not_yet_valid"),
        ("server",    Leaf { usage: "serverAuth", ..leaf },                                  43, "certificate_purpose"),
        ("code",      Leaf { usage: "codeSigning", ..leaf },                                 43, "certificate_purpose"),
        ("nameless",  Leaf { names: "", ..leaf },                                            49, "identity_missing"),
        ("other",     Leaf { names: "DNS:pump-1.test", ..leaf },                             49, "identity_missing"),
        ("two",       Leaf { names: "URI:urn:example:pump-1,URI:urn:example:pump-2", ..leaf }, 49, "identity_ambiguous"),
        ("same",      Leaf { names: "URI:urn:example:pump-1,URI:urn:example:pump-1", ..leaf }, 49, "identity_ambiguous"),
        ("malformed", Leaf { names: "URI:not a uri", ..leaf },                               49, "identity_malformed"),
    ];
    let served = origin.seen().len();
    for (name, leaf, alert, code) in table {
        is_turned_away(&world, &gateway, &lab.issue(name, &leaf), alert, code);
    }
    assert_eq!(
        origin.seen().len(),
        served,
        "none of them reached the upstream"
    );
    world.is_served();
    gateway.verify();
}

#[test]
fn a_certificate_of_a_server_is_no_client() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    // The gateway's own, issued by the very authority that devices are trusted for.
    is_turned_away(&world, &gateway, &world.server, 43, "certificate_purpose");
    assert_eq!(origin.seen().len(), 0);
}

#[test]
fn a_certificate_that_a_leaf_has_signed_is_refused() {
    let (world, lab) = world_with_lab();
    let _origin = world.plain_origin();
    let gateway = world.gateway(LAB);
    let good = lab.issue("good", &Leaf::GOOD);
    let place = world.place.directory();
    let openssl = |arguments: &[&str]| {
        Program::of_the_machine("openssl")
            .args(arguments)
            .directory(place)
            .run()
            .expect_code(0);
    };
    world.place.write(
        "forged.ext",
        "extendedKeyUsage=clientAuth\nsubjectAltName=URI:urn:example:pump-9\n",
    );
    openssl(&[
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
        "forged.key",
    ]);
    openssl(&[
        "req",
        "-new",
        "-key",
        "forged.key",
        "-subj",
        "/CN=forged",
        "-out",
        "forged.csr",
    ]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        "forged.csr",
        "-days",
        "30",
        "-set_serial",
        "0x77",
        "-extfile",
        "forged.ext",
        "-CA",
        "lab/good.pem",
        "-CAkey",
        "lab/good.key",
        "-out",
        "forged.pem",
    ]);
    let chain = [
        world.place.read("forged.pem"),
        world.place.read("lab/good.pem"),
    ]
    .concat();
    let forged = Credentials {
        chain: world.place.write("forged.chain.pem", chain),
        certificate: world.place.path("forged.pem"),
        key: world.place.path("forged.key"),
        trust: good.trust.clone(),
    };
    is_turned_away(&world, &gateway, &forged, 42, "certificate_invalid");
    world.is_served();
}

/// Presents a chain whatever is in it.
#[derive(Debug)]
struct Presents(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Presents {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn a_certificate_whose_bytes_were_changed_is_refused() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let chain: Vec<_> = CertificateDer::pem_file_iter(&world.device.chain)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut resigned = chain[0].to_vec();
    *resigned.last_mut().unwrap() ^= 1;
    let cut = chain[0][..chain[0].len() / 2].to_vec();
    let table = [
        (resigned, 51, "certificate_signature"),
        (cut, 42, "certificate_malformed"),
        (
            b"\x30\x03\x02\x01\x01".to_vec(),
            42,
            "certificate_malformed",
        ),
    ];
    for (leaf, alert, code) in table {
        let key = PrivateKeyDer::from_pem_file(&world.device.key).unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let mut changed = chain.clone();
        changed[0] = CertificateDer::from(leaf);
        let presents = Presents(Arc::new(rustls::sign::CertifiedKey::new(changed, key)));
        let caller = world.nobody().presenting(Arc::new(presents));
        assert_eq!(caller.alert(), Some(alert), "{code}");
        gateway.await_short(&format!("handshake_refused {code}"));
    }
    world.is_served();
}

#[test]
fn a_revoked_certificate_is_refused() {
    let world = World::new();
    let origin = world.plain_origin();
    let lost = world
        .authority
        .device(&world.place.path("lost"), "urn:example:pump-2");
    world.authority.revoke("urn:example:pump-2");
    let gateway = world.gateway("");
    is_turned_away(&world, &gateway, &lost, 44, "certificate_revoked");
    assert_eq!(origin.seen().len(), 0);
    world.is_served();
}

#[test]
fn a_certificate_that_no_revocation_list_covers_is_refused() {
    let (world, lab) = world_with_lab();
    let _origin = world.plain_origin();
    let device = lab.issue("device", &Leaf::GOOD);
    let gateway = world.gateway("[trust.devices]\nroots = [\"pki/trust.pem\", \"lab/root.pem\"]");
    is_turned_away(&world, &gateway, &device, 48, "revocation_unknown");
    world.is_served();
}

#[test]
fn a_revocation_list_out_of_date_covers_nobody() {
    let (world, lab) = world_with_lab();
    let _origin = world.plain_origin();
    let device = lab.issue("device", &Leaf::GOOD);
    lab.publish_until("20210101000000Z");
    let gateway = world.gateway(LAB);
    is_turned_away(&world, &gateway, &device, 48, "revocation_stale");
    world.is_served();
    // With a rationale it counts; the decision is on record.
    let accepted = world.configuration().with(LAB).with(
        "[trust.devices]\nrationale = \"the list of the lab is renewed by hand\"\nrevocation = { when_stale = \"accept\" }",
    );
    assert!(gateway.reload_with(&accepted));
    let caller = world.nobody().with(&device);
    assert_eq!(caller.ask("GET /x").unwrap().status, 200);
    let record = gateway.await_record("the decision", |record| {
        record.kind() == "decision" && record.text("rationale").contains("by hand")
    });
    assert_eq!(record.text("paragraph"), "45 CFR 164.312(d)", "{record}");
}

#[test]
fn a_device_need_not_send_what_the_gateway_knows() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let alone = Credentials {
        chain: world.device.certificate.clone(),
        ..world.device.clone()
    };
    // Where the issuer is known from beside the revocation lists or from the configuration.
    let answer = world.nobody().with(&alone).ask("GET /x").unwrap();
    assert_eq!(answer.status, 200);
    gateway.await_story(answer.id(), &["release"]);
}

#[test]
fn a_revocation_ends_a_connection_of_http_1_that_is_kept() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let mut line = world.line();
    line.send("GET /before HTTP/1.1\r\nhost: api.test\r\n\r\n")
        .unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    world.authority.revoke(DEVICE);
    assert!(gateway.reload());
    // It may be ended at once, or with the next request; either way the request is not served.
    let _ = line.send("GET /after HTTP/1.1\r\nhost: api.test\r\n\r\n");
    if let Ok(answer) = line.answer() {
        gateway.refused(&answer, 403, "certificate_revoked");
    }
    assert_ne!(line.rest().1, End::Open, "the connection has ended");
    let targets: Vec<_> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/before"]);
    gateway.await_record("the end of the connection", |record| {
        record.kind() == "close"
            && ["certificate_revoked", "closed_after_answer"].contains(&record.code())
    });
    assert_eq!(world.caller().alert(), Some(44));
}

#[test]
fn a_revocation_ends_a_connection_of_http_2_that_lives() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let mut streams = Streams::open(&world.caller()).unwrap();
    assert_eq!(streams.ask("GET", "/before").unwrap().status, 200);
    world.authority.revoke(DEVICE);
    assert!(gateway.reload());
    if let Ok(answer) = streams.ask("GET", "/after") {
        gateway.refused(&answer, 403, "certificate_revoked");
    }
    streams.end();
    let targets: Vec<_> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/before"]);
    gateway.await_record("the end of the connection", |record| {
        record.kind() == "close" && record.code() == "certificate_revoked"
    });
    let revocation = gateway.await_record("the list that did it", |record| {
        record.kind() == "revocation" && record.number("generation") == Some(2)
    });
    assert_eq!(revocation.number("serials"), Some(1), "{revocation}");
}

#[test]
fn a_revocation_of_another_device_ends_no_connection() {
    let world = World::new();
    let _origin = world.plain_origin();
    world
        .authority
        .device(&world.place.path("lost"), "urn:example:pump-2");
    let gateway = world.gateway("");
    let mut streams = Streams::open(&world.caller()).unwrap();
    assert_eq!(streams.ask("GET", "/before").unwrap().status, 200);
    world.authority.revoke("urn:example:pump-2");
    assert!(gateway.reload());
    assert_eq!(streams.ask("GET", "/after").unwrap().status, 200);
}

#[test]
fn a_certificate_that_expires_ends_its_connection() {
    let (world, lab) = world_with_lab();
    let origin = world.plain_origin();
    let gateway = world.gateway(LAB);
    // Long enough for a first request on a busy machine.
    let ends = Program::of_the_machine("date")
        .args(["-u", "-d", "+5 seconds", "+%Y%m%d%H%M%SZ"])
        .run();
    let brief = lab.issue(
        "brief",
        &Leaf {
            to: ends.stdout.trim(),
            ..Leaf::GOOD
        },
    );
    let mut line = world.nobody().with(&brief).connect().unwrap();
    line.send("GET /before HTTP/1.1\r\nhost: api.test\r\n\r\n")
        .unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    // The next handshake says when its time is over.
    integration::wait::until("the end of the certificate", || {
        (world.nobody().with(&brief).alert() == Some(45)).then_some(())
    });
    let before = origin.seen().len();
    line.send("GET /after HTTP/1.1\r\nhost: api.test\r\n\r\n")
        .unwrap();
    let answer = line.answer().unwrap();
    gateway.refused(&answer, 403, "certificate_expired");
    assert_eq!(line.rest().1, End::Closed);
    assert_eq!(origin.seen().len(), before);
}

#[test]
fn a_bad_certificate_never_becomes_anonymous() {
    let (world, lab) = world_with_lab();
    let origin = world.plain_origin();
    let gateway = world.gateway(LAB);
    assert!(gateway.reload_with(&world.configuration().with(LAB).with(OPEN)));
    let expired = lab.issue(
        "expired",
        &Leaf {
            to: "20210101000000Z",
            ..Leaf::GOOD
        },
    );
    assert_eq!(world.nobody().with(&expired).alert(), Some(45));
    assert_eq!(origin.seen().len(), 0);

    let anonymous = world.nobody().ask("GET /open/x").unwrap();
    assert_eq!(anonymous.status, 200);
    gateway.await_story(anonymous.id(), &["release"]);
    let records = gateway.records();
    let release = records.of_request(anonymous.id())[0];
    assert_eq!(
        (release.text("rule"), release.text("client")),
        ("anyone", ""),
        "{release}"
    );
    let refused = world.nobody().ask("GET /closed").unwrap();
    gateway.refused(&refused, 403, "client_unknown");

    let known = world.caller().ask("GET /open/x").unwrap();
    let records = gateway.records();
    let release = records.of_request(known.id())[0];
    assert_eq!(
        (release.text("rule"), release.text("client")),
        ("anyone", CLIENT),
        "{release}"
    );
}

#[test]
fn names_under_two_trust_sets_never_mix() {
    let (world, lab) = world_with_lab();
    let _origin = world.plain_origin();
    // The same name, vouched for by a partner: it has no role here.
    let partner = lab.issue("partner", &Leaf::GOOD);
    let second = world.place.at(20_444);
    let gateway = world.gateway(&format!(
        r#"
[trust.partners]
roots = ["lab/root.pem"]
revocation = {{ crls = ["lab/lab.crl"] }}
[listeners.partners]
listen = ["{second}"]
certificates = ["api"]
clients = {{ certificates = "required", trust = "partners" }}
[roles.pump]
trust = "devices"
[[routes]]
name = "all"
listeners = ["devices", "partners"]
"#
    ));
    assert_eq!(
        world.nobody().with(&partner).alert(),
        Some(48),
        "a stranger to the devices' listener"
    );
    let partners = Caller::new(second, &world.server.trust);
    assert_eq!(partners.clone().with(&world.device).alert(), Some(48));
    let answer = partners.with(&partner).ask("GET /x").unwrap();
    gateway.refused(&answer, 403, "not_permitted");
    gateway.await_record("the name under its own trust set", |record| {
        record.kind() == "refusal" && record.text("client") == format!("partners:{DEVICE}")
    });
    world.is_served();
}

#[test]
fn the_common_name_is_no_identity() {
    let (world, lab) = world_with_lab();
    let _origin = world.plain_origin();
    let gateway = world.gateway(LAB);
    let named = lab.issue(
        "urn:example:pump-1",
        &Leaf {
            names: "",
            ..Leaf::GOOD
        },
    );
    let error = world.nobody().with(&named).ask("GET /x").unwrap_err();
    assert_eq!(alert_of(&error), Some(49), "{error}");
    gateway.await_short("handshake_refused identity_missing");
}
