//! The gateway's public key is published by the gateway alone, on record, and as it is now.

use integration::configuration::OPEN;
use integration::disk::Disk;
use integration::gateway::Gateway;
use integration::streams::Streams;
use integration::wait;
use integration::world::World;
use integrity::JwkSet;

use super::{Asked, DIRECTORY, KINDS, P256, SIGNED, Way, keys, make_key, published};

const TYPE: &str = "application/http-message-signatures-directory+json";

#[test]
fn the_key_is_published_and_that_is_on_record() {
    let world = World::new();
    make_key(&world, "signing.pem", P256);
    let origin = world.plain_origin();
    let gateway = world.gateway(SIGNED);
    let whole = published(&world);
    for way in [Way::Http10, Way::Http11, Way::Http2] {
        for method in ["GET", "HEAD"] {
            let asked = Asked::get(DIRECTORY).method(method);
            let answer = asked.over(&world, way).unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), Some(TYPE));
            let length = whole.body.len().to_string();
            assert_eq!(answer.header("content-length"), Some(length.as_str()));
            let body: &[u8] = if method == "GET" { &whole.body } else { b"" };
            assert_eq!(answer.body, body);
            gateway.await_story(answer.id(), &["release"]);
            let records = gateway.records();
            let release = records.of_request(answer.id())[0].clone();
            assert_eq!(release.number("status"), Some(200), "{release}");
            assert_eq!(release.text("upstream"), "gateway", "{release}");
        }
    }
    // Nothing of a private key.
    let set = whole.json();
    let members: Vec<_> = set["keys"][0].as_object().unwrap().keys().collect();
    assert!(
        !members
            .iter()
            .any(|member| ["d", "p", "q"].contains(&member.as_str()))
    );
    assert_eq!(JwkSet::parse(&whole.body).unwrap().iter().count(), 1);
    // Nobody else answers for it; what is no reading of it is the upstream's.
    assert!(origin.seen().is_empty());
    let posted = Asked::get(DIRECTORY).method("POST").body("x");
    assert_eq!(posted.over(&world, Way::Http11).unwrap().text(), "ok");
    assert_eq!(origin.seen().len(), 1);
    gateway.verify();
}

#[test]
fn whoever_may_connect_may_have_the_key() {
    let world = World::new();
    make_key(&world, "signing.pem", P256);
    let _origin = world.plain_origin();
    let _gateway = world.gateway(&format!("{SIGNED}{OPEN}"));
    let answer = world.nobody().ask(&format!("GET {DIRECTORY}")).unwrap();
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some(TYPE))
    );
}

#[test]
fn without_a_key_there_is_no_directory() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let answer = Asked::get(DIRECTORY).over(&world, Way::Http11).unwrap();
    assert_eq!(answer.text(), "ok", "it is a path like any other");
    assert_eq!(origin.seen().len(), 1);
    let narrow = world.configuration();
    let narrow = narrow.with("[[routes]]\nname = \"all\"\npath = \"/fhir\"");
    assert!(gateway.reload_with(&narrow));
    let answer = Asked::get(DIRECTORY).over(&world, Way::Http11).unwrap();
    gateway.refused(&answer, 404, "no_route");
}

#[test]
fn the_key_does_not_leave_before_that_is_on_record() {
    let world = World::new();
    make_key(&world, "signing.pem", P256);
    let Some(disk) = Disk::mount(&world.place, "disk", "12m") else {
        let reason = "mounting a small file system takes root";
        return wait::cannot_run("vouched::directory::the_key_does_not_leave", reason);
    };
    let configuration = world.configuration().with(SIGNED);
    let configuration = configuration.with("[audit]\ndirectory = \"disk/audit\"");
    let _gateway = Gateway::start(&world.place, &configuration);
    disk.fill();
    let mut line = world.line();
    let refused = (0..3000).find_map(|_| {
        line.send(format!(
            "GET {DIRECTORY} HTTP/1.1\r\nhost: api.test\r\n\r\n"
        ))
        .unwrap();
        let answer = line.answer().unwrap();
        (answer.status != 200).then_some(answer)
    });
    let refused = refused.expect("the disk is full");
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (503, "audit_unavailable")
    );
    assert!(!refused.text().contains("keys"), "{refused:?}");
    disk.empty();
    wait::until("service again", || {
        let answer = Asked::get(DIRECTORY).over(&world, Way::Http11).ok()?;
        (answer.status == 200).then_some(())
    });
}

#[test]
fn another_key_is_published_once_it_signs() {
    let world = World::new();
    make_key(&world, "signing.pem", P256);
    let _origin = world.plain_origin();
    let gateway = world.gateway(SIGNED);
    let mut streams = Streams::open(&world.caller()).unwrap();
    let (asked, mut before) = (Asked::get("/x"), keys(&world));
    for (name, options) in KINDS.iter().skip(1) {
        let file = format!("{name}.pem");
        make_key(&world, &file, options);
        let other = format!("[signatures]\nkey = \"file:{file}\"");
        let configuration = world.configuration().with(SIGNED).with(&other);
        assert!(gateway.reload_with(&configuration));
        let after = keys(&world);
        // On a connection that is older than the key, too.
        let answer = streams.ask("GET", "/x").unwrap();
        let verified = asked.proves(&answer, &after).unwrap();
        assert_eq!(verified.algorithm().name(), *name);
        asked.proves(&answer, &before).unwrap_err();
        let now = streams.ask("GET", DIRECTORY).unwrap();
        assert_eq!(now.body, published(&world).body);
        before = after;
    }
    // A key that cannot be used changes nothing.
    world.place.write("bad.pem", "no key");
    let bad = "[signatures]\nkey = \"file:bad.pem\"";
    let bad = world.configuration().with(SIGNED).with(bad);
    assert!(!gateway.reload_with(&bad));
    let answer = streams.ask("GET", "/x").unwrap();
    asked.proves(&answer, &before).unwrap();
}
