//! How a client spells a request decides neither what is on record of it nor which rules it meets.

use integration::gateway::Gateway;
use integration::lab::{Lab, Leaf};
use integration::line::Caller;
use integration::streams::Streams;
use integration::wait::OrFail;
use integration::world::World;

/// Asks in each protocol for the same, and brings what stands on record of each.
#[track_caller]
fn recorded(world: &World, gateway: &Gateway, path: &str, what: &str) -> [String; 2] {
    let answer = world
        .caller()
        .ask(&format!("GET {path}"))
        .or_fail("get an answer");
    let mut streams = Streams::open(&world.caller()).or_fail("connect as the device");
    let stream = streams.ask("GET", path).or_fail("get an answer");
    [answer, stream].map(|answer| {
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        gateway.await_story(answer.id(), &["release"]);
        let records = gateway.records();
        records.of_request(answer.id())[0].text(what).to_owned()
    })
}

#[test]
fn the_resource_type_on_record_does_not_depend_on_spelling() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("[[routes]]\nname = \"all\"\nfhir = true\nencoded_slash = true");
    for path in [
        "/fhir/Patient/1",
        "/fhir/%50atient/1",
        "/fhir/%50%61%74%69%65%6e%74/1",
        "/fhir/Patien%74/1?_summary=true",
        "/%66hir/Patient",
        "/fhir%2fPatient%2f1",
    ] {
        let resources = recorded(&world, &gateway, path, "resource");
        assert_eq!(resources, ["Patient", "Patient"], "{path}");
        let target = origin.seen().pop().map(|seen| seen.target);
        assert_eq!(target.as_deref(), Some(path), "it goes on as it came");
    }
    for path in ["/fhir/patient/1", "/fhir/%70atient/1", "/fhir/Patient1"] {
        let resources = recorded(&world, &gateway, path, "resource");
        assert_eq!(resources, ["", ""], "{path} names no type");
    }
    gateway.verify();
}

#[test]
fn a_method_that_a_client_made_up_is_not_on_record() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("");
    let answers = [
        world.caller().ask("X.MRN-000123 /x").unwrap(),
        Streams::open(&world.caller())
            .unwrap()
            .ask("X.MRN-000123", "/x")
            .unwrap(),
    ];
    for answer in answers {
        gateway.refused(&answer, 405, "method_not_allowed");
        let records = gateway.records();
        let refusal = records.of_request(answer.id())[0].clone();
        assert_eq!(refusal.text("method"), "(other)", "{refusal}");
        assert!(!records.to_string().contains("MRN"), "{records}");
    }
    assert_eq!(origin.seen().len(), 0);
    // A registered one is named, also where no route takes it.
    let answer = world.caller().ask("TRACE /x").unwrap();
    let records = gateway.records();
    assert_eq!(records.of_request(answer.id())[0].text("method"), "TRACE");
}

#[test]
fn a_method_that_a_route_names_is_on_record() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway("[[routes]]\nname = \"all\"\nmethods = [\"GET\", \"REPORT\"]");
    let answer = world.caller().ask("REPORT /x").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    gateway.await_story(answer.id(), &["intent", "release"]);
    let records = gateway.records();
    for record in records.of_request(answer.id()) {
        assert_eq!(record.text("method"), "REPORT", "{record}");
    }
    assert_eq!(origin.seen()[0].method, "REPORT");
}

/// Everything for everybody with a role, except what lies under `/fhir/admin`.
const NARROWER: &str = r#"
[[routes]]
name = "all"
encoded_slash = true
[[routes]]
name = "admin"
listeners = ["devices"]
hosts = ["api.test"]
path = "/fhir/admin"
methods = ["GET"]
upstream = "origin"
"#;

#[test]
fn an_encoded_slash_leads_around_no_narrower_route() {
    let world = World::new();
    let origin = world.plain_origin();
    let gateway = world.gateway(NARROWER);
    let mut streams = Streams::open(&world.caller()).unwrap();
    for path in [
        "/fhir%2fadmin",
        "/fhir%2Fadmin",
        "/fhir%2fadmin/users",
        "/fhir%2fadmin%2fusers",
        "/fhir%2F%61dmin",
        "/%66hir%2fadmin",
    ] {
        let answer = world.caller().ask(&format!("GET {path}")).unwrap();
        gateway.refused(&answer, 400, "path_refused");
        let answer = streams.ask("GET", path).unwrap();
        gateway.refused(&answer, 400, "path_refused");
    }
    for path in ["/fhir/admin", "/fhir/%61dmin/users"] {
        let answer = world.caller().ask(&format!("GET {path}")).unwrap();
        gateway.refused(&answer, 403, "not_permitted");
    }
    assert_eq!(origin.seen().len(), 0);
    // Where it leads nowhere else it may stand.
    for path in ["/files/a%2Fb", "/fhir%2fPatient", "/fhir%2fadministrator"] {
        let answer = world.caller().ask(&format!("GET {path}")).unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    gateway.verify();
}

/// Two certificates, of which the wider one is good for the host of the other as well. The first that
/// is good for a host is its own.
const TWO: &str = r#"
[certificates.clinic]
chain = "lab/clinic.pem"
key = "file:lab/clinic.key"
[certificates.portal]
chain = "lab/portal.pem"
key = "file:lab/portal.key"
[listeners.devices]
certificates = ["portal", "clinic"]
[[routes]]
name = "all"
hosts = ["api.clinic.test", "lab.clinic.test", "portal.clinic.test"]
"#;

#[test]
fn a_host_with_a_certificate_of_its_own_is_not_served_under_another() {
    let world = World::new();
    let lab = Lab::new(&world.place, "lab");
    for (name, names) in [
        ("clinic", "DNS:*.clinic.test"),
        ("portal", "DNS:portal.clinic.test"),
    ] {
        let usage = "serverAuth";
        lab.issue(
            name,
            &Leaf {
                names,
                usage,
                ..Leaf::GOOD
            },
        );
    }
    let origin = world.plain_origin();
    let gateway = world.gateway(TWO);
    let ask = |name: &'static str, host: &str| {
        let caller = Caller::new(gateway.listen(), &lab.trust()).with(&world.device);
        let request = format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        caller.asking_for(Some(name)).ask(&request).unwrap()
    };
    // The wider certificate was shown: good for all three, and yet one has its own.
    let answer = ask("api.clinic.test", "portal.clinic.test");
    gateway.refused(&answer, 421, "misdirected_request");
    let answer = ask("portal.clinic.test", "api.clinic.test");
    gateway.refused(&answer, 421, "misdirected_request");
    assert_eq!(origin.seen().len(), 0);
    for (name, host) in [
        ("api.clinic.test", "api.clinic.test"),
        ("api.clinic.test", "lab.clinic.test"),
        ("portal.clinic.test", "portal.clinic.test"),
    ] {
        let answer = ask(name, host);
        assert_eq!(answer.status, 200, "{host} under {name}: {answer:?}");
    }
    gateway.verify();
}
