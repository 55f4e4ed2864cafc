//! Who is on record: every patient whom a FHIR request concerns, by pseudonym, or the reason why that is
//! not known; and nothing in any byte that is written says who they are.

use std::path::Path;

use integration::answer::Answer;
use integration::gateway::Gateway;
use integration::origin::{Origin, Seen};
use integration::program::Program;
use integration::records::{Record, Records};
use integration::streams::{Content, Streams};
use integration::wait::OrFail;
use integration::world::World;
use serde_json::{Value, json};

/// A FHIR API whose patients are known under another name than that of the gateway.
const FHIR: &str = "
[upstreams.origin]
fhir_base = \"https://fhir.test/fhir\"
[[routes]]
name = \"all\"
fhir = true
";

const MRN: &str = "urn:oid:1.2.3.4";

fn gateway(world: &World) -> Gateway {
    world.gateway(FHIR)
}

/// 200 with this content, of this type.
fn content(content_type: &str, content: &str) -> Vec<u8> {
    let length = content.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{content}"
    )
    .into_bytes()
}

fn fhir(resource: &Value) -> Vec<u8> {
    content("application/fhir+json", &resource.to_string())
}

/// A Patient with two identifiers of its own.
fn patient(id: &str) -> Value {
    json!({"resourceType": "Patient", "id": id, "identifier": [
        {"system": MRN, "value": format!("mrn-{id}")},
        {"system": "urn:insurer", "value": format!("insured-{id}")},
    ]})
}

fn observation(subject: &str) -> Value {
    json!({"resourceType": "Observation", "status": "final", "subject": {"reference": subject}})
}

fn bundle(resources: &[Value]) -> Value {
    let entry: Vec<_> = resources
        .iter()
        .map(|resource| json!({"resource": resource}))
        .collect();
    json!({"resourceType": "Bundle", "type": "searchset", "entry": entry})
}

/// Answers each target with what is said of it.
fn api(world: &World) -> Origin {
    world.answering(|seen: &Seen| match seen.target.as_str() {
        "/fhir/Patient/17" => fhir(&patient("17")),
        "/fhir/Patient/18" => fhir(&patient("18")),
        "/fhir/Observation/1" => fhir(&observation("Patient/17")),
        "/fhir/Observation/own" => fhir(&observation("https://fhir.test/fhir/Patient/17")),
        "/fhir/Observation/here" => fhir(&observation("https://api.test/fhir/Patient/17")),
        "/fhir/Observation/far" => fhir(&observation("https://far.test/fhir/Patient/17")),
        "/fhir/Observation/group" => fhir(&observation("Group/1")),
        "/fhir/Medication/1" => fhir(&json!({"resourceType": "Medication", "id": "1"})),
        target if target.contains("ndjson") => {
            let lines = [patient("17"), observation("Patient/18"), patient("19")];
            let lines = lines.map(|line| format!("{line}\n")).concat();
            content("application/fhir+ndjson", &lines)
        }
        target if target.starts_with("/fhir/Patient?identifier") => fhir(&bundle(&[patient("17")])),
        _ if seen.method == "GET" || seen.target.ends_with("_search") => fhir(&bundle(&[
            observation("Patient/17"),
            observation("Patient/18"),
        ])),
        _ => b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n".to_vec(),
    })
}

#[track_caller]
fn ask(world: &World, request: &str) -> Answer {
    let answer = world.caller().ask(request).or_fail("get an answer");
    assert!(answer.status < 300, "{request}: {answer:?}");
    answer
}

/// A request with content, over HTTP/1.1.
fn with_content(method: &str, target: &str, content_type: &str, content: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: api.test\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{content}",
        content.len()
    )
}

/// The release of an answer.
#[track_caller]
fn release(gateway: &Gateway, answer: &Answer) -> Record {
    record(gateway, answer.id(), "release")
}

#[track_caller]
fn record(gateway: &Gateway, id: &str, kind: &str) -> Record {
    gateway.await_record(kind, |record| {
        record.text("request_id") == id && record.kind() == kind
    })
}

fn list(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items
        .map(|item| item.as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Whom a record names.
fn patients(record: &Record) -> Vec<String> {
    list(record.field("patients"))
}

/// The groups of names that are one patient.
fn links(record: &Record) -> Vec<Vec<String>> {
    let groups = record.field("links").as_array().into_iter().flatten();
    groups.map(list).collect()
}

/// `known`, or the reason why not.
fn subjects(record: &Record) -> &str {
    match record.text("subjects") {
        "unknown" => record.text("reason"),
        known => known,
    }
}

/// Whom the release of this request names, who must be all.
#[track_caller]
fn known(world: &World, gateway: &Gateway, request: &str) -> Vec<String> {
    let record = release(gateway, &ask(world, request));
    assert_eq!(subjects(&record), "known", "{request}: {record}");
    patients(&record)
}

#[test]
fn a_read_names_its_patient_and_links_the_identifiers() {
    let world = World::new();
    let _origin = api(&world);
    let gateway = gateway(&world);
    let answer = ask(&world, "GET /fhir/Patient/17");
    let record = release(&gateway, &answer);
    assert_eq!(record.text("interaction"), "read", "{record}");
    assert_eq!(record.text("resource"), "Patient");
    assert_eq!(subjects(&record), "known");
    let all = patients(&record);
    assert_eq!(all.len(), 3, "an id and two identifiers: {record}");
    assert_eq!(links(&record).concat(), all, "are one patient");
    assert_eq!(gateway.records().story_of(answer.id()), ["release"]);
    // What is about the patient names the id alone.
    assert_eq!(known(&world, &gateway, "GET /fhir/Observation/1"), all[..1]);
    assert_eq!(
        known(&world, &gateway, "GET /fhir/Medication/1"),
        [""; 0],
        "known to concern nobody"
    );
    // For people too.
    let shown = Program::ours("audit")
        .args(["show", "--unrecorded"])
        .arg(gateway.audit())
        .run()
        .expect_code(0);
    assert!(
        shown
            .stdout
            .contains(&format!("read Patient, patients {}", all[0])),
        "{shown:?}"
    );
    gateway.verify();
}

#[test]
fn a_search_by_record_number_and_a_read_by_id_meet_in_a_link() {
    let world = World::new();
    let _origin = api(&world);
    let gateway = gateway(&world);
    let search = format!("GET /fhir/Patient?identifier={MRN}%7Cmrn-17");
    let search = release(&gateway, &ask(&world, &search));
    assert_eq!(search.text("interaction"), "search-type", "{search}");
    let sought = patients(&search)[0].clone();
    let read = known(&world, &gateway, "GET /fhir/Observation?subject=Patient/17");
    assert_ne!(read[0], sought, "an id and a record number are two names");
    let one = &links(&search)[0];
    assert!(one.contains(&sought) && one.contains(&read[0]), "{search}");
    // The same number of another system is somebody else.
    let other = "GET /fhir/Patient?identifier=urn:other%7Cmrn-17";
    let other = known(&world, &gateway, other);
    assert!(!other[..1].contains(&sought));
}

#[test]
fn a_pseudonym_is_the_one_that_the_operators_key_gives() {
    let world = World::new();
    let _origin = api(&world);
    let gateway = gateway(&world);
    let named = known(&world, &gateway, "GET /fhir/Patient/17");
    // HMAC-SHA-256 by another hand: label, length of the system, system, value.
    let keys = std::fs::read_to_string(world.place.path("audit.keys")).unwrap();
    let key = keys
        .lines()
        .find_map(|line| line.strip_prefix("PATIENTS+KEY+"))
        .or_fail("find the tenant key");
    for (system, value, pseudonym) in [
        ("https://fhir.test/fhir", "17", &named[0]),
        (MRN, "mrn-17", &named[1]),
    ] {
        let length = u64::try_from(system.len()).unwrap().to_be_bytes();
        let message = [
            b"phigate patient pseudonym 1".as_slice(),
            &length,
            system.as_bytes(),
            value.as_bytes(),
        ];
        let file = world.place.path("message");
        std::fs::write(&file, message.concat()).unwrap();
        let script = "openssl dgst -sha256 -mac HMAC -macopt \
                      hexkey:$(printf %s \"$1\" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \\n') \"$2\"";
        let ran = Program::of_the_machine("sh")
            .args(["-c", script, "sh", key])
            .arg(&file)
            .run()
            .expect_code(0);
        assert!(
            ran.stdout.contains(pseudonym.as_str()),
            "{ran:?} {pseudonym}"
        );
    }
}

#[test]
fn several_patients_are_named_each_in_the_order_of_their_appearance() {
    let world = World::new();
    let _origin = api(&world);
    let gateway = gateway(&world);
    let of = |id: &str| known(&world, &gateway, &format!("GET /fhir/Patient/{id}"));
    let (first, second) = (of("17"), of("18"));
    let both = [first[0].clone(), second[0].clone()];
    assert_eq!(known(&world, &gateway, "GET /fhir/Observation"), both);
    let turned = "GET /fhir/Observation?subject=Patient/18,Patient/17";
    let turned = known(&world, &gateway, turned);
    assert_eq!(turned, [both[1].clone(), both[0].clone()]);
    let lines = release(&gateway, &ask(&world, "GET /fhir/ndjson/Patient"));
    assert_eq!(patients(&lines).len(), 7, "{lines}");
    assert_eq!(links(&lines).len(), 2, "of two Patient resources: {lines}");
    assert_eq!(patients(&lines)[..3], first);
    assert_eq!(patients(&lines)[3], second[0]);
    // Over HTTP/2 alike.
    let mut streams = Streams::open(&world.caller()).unwrap();
    let answer = streams.ask("GET", "/fhir/Observation").unwrap();
    assert_eq!(patients(&release(&gateway, &answer)), both);
}

#[test]
fn whom_the_content_of_a_request_names_is_on_record() {
    let world = World::new();
    let _origin = api(&world);
    let gateway = gateway(&world);
    let patient_17 = known(&world, &gateway, "GET /fhir/Patient/17");
    let json = "application/fhir+json; charset=utf-8";
    let create = observation("Patient/17").to_string();
    let create = ask(
        &world,
        &with_content("POST", "/fhir/Observation", json, &create),
    );
    let intent = record(&gateway, create.id(), "intent");
    assert_eq!(intent.text("interaction"), "create");
    assert_eq!(
        (patients(&intent).len(), subjects(&intent)),
        (0, "open"),
        "before anything of it was read: {intent}"
    );
    let created = release(&gateway, &create);
    assert_eq!(subjects(&created), "known", "{created}");
    assert_eq!(patients(&created), patient_17[..1]);
    // What a client says of who is one counts when the upstream took it.
    let update = patient("17").to_string();
    let update = ask(
        &world,
        &with_content("PUT", "/fhir/Patient/17", json, &update),
    );
    let intent = record(&gateway, update.id(), "intent");
    assert_eq!(patients(&intent), patient_17[..1], "of the target");
    assert_eq!(links(&release(&gateway, &update)).concat(), patient_17);
    // A transaction, in chunks, over HTTP/2.
    let entries = bundle(&[observation("Patient/17"), observation("Patient/18")]);
    let mut streams = Streams::open(&world.caller()).unwrap();
    let builder = http::Request::builder()
        .method("POST")
        .header("content-type", json);
    let batch = streams
        .send(builder, "/fhir/", Content::of(entries.to_string()))
        .unwrap();
    let batch = release(&gateway, &batch);
    assert_eq!(batch.text("interaction"), "batch", "{batch}");
    assert_eq!(
        (patients(&batch).len(), subjects(&batch)),
        (2, "known"),
        "{batch}"
    );
    // The criteria of a search.
    let form = "application/x-www-form-urlencoded";
    let criteria = format!("identifier={MRN}%7Cmrn-17");
    let search = with_content("POST", "/fhir/Patient/_search", form, &criteria);
    let search = release(&gateway, &ask(&world, &search));
    assert_eq!(search.text("interaction"), "search-type");
    assert_eq!(patients(&search)[0], patient_17[1], "{search}");
    assert_eq!(subjects(&search), "known", "{search}");
    // What is removed is named by its place.
    let removed = known(&world, &gateway, "DELETE /fhir/Patient/17");
    assert_eq!(removed[0], patient_17[0]);
    gateway.verify();
}

#[test]
fn links_of_a_client_count_once_the_upstream_took_them() {
    let world = World::new();
    let _origin = world.answering(|seen| {
        let status = if seen.target.ends_with("18") {
            "422 No"
        } else {
            "200 OK"
        };
        format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").into_bytes()
    });
    let gateway = gateway(&world);
    for (id, groups) in [("17", 1), ("18", 0)] {
        let target = format!("/fhir/Patient/{id}");
        let update = with_content(
            "PUT",
            &target,
            "application/fhir+json",
            &patient(id).to_string(),
        );
        let answer = world.caller().ask(&update).or_fail("get an answer");
        let record = release(&gateway, &answer);
        assert_eq!(patients(&record).len(), 3, "{record}");
        assert_eq!(links(&record).len(), groups, "{record}");
    }
}

#[test]
fn a_patient_has_one_name_whatever_the_server_is_called() {
    let world = World::new();
    let _origin = api(&world);
    let gateway = gateway(&world);
    let of = |path: &str| known(&world, &gateway, &format!("GET /fhir/Observation/{path}"));
    let plain = of("1");
    assert_eq!(of("own"), plain, "under its own base");
    assert_eq!(of("here"), plain, "under the gateway's host");
    assert_ne!(of("far"), plain, "on another server is somebody else");
}

#[test]
fn what_cannot_be_read_says_so_and_why() {
    let world = World::new();
    let forms = |target: &str| -> Option<Vec<u8>> {
        let name = target.strip_prefix("/fhir/Observation?case=")?;
        let name = name.split('&').next()?;
        let json = observation("Patient/17").to_string();
        let length = json.len();
        let with = |head: &str| {
            let text = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{json}");
            text.into_bytes()
        };
        let typed = "content-type: application/fhir+json";
        Some(match name {
            "xml" => content("application/fhir+xml", "<Observation/>"),
            "encoded" => with(&format!("200 OK\r\n{typed}\r\ncontent-encoding: gzip")),
            "media_type" => content("text/html", "<p>Patient 17</p>"),
            "untyped" => with("200 OK"),
            "partial" => with(&format!("206 Partial Content\r\n{typed}")),
            "syntax" => content("application/fhir+json", "{\"resourceType\": oops}"),
            "truncated" => content("application/fhir+json", &json[..length - 1]),
            "not_fhir" => content("application/json", "{\"a\": 1}"),
            "group" => fhir(&observation("Group/1")),
            "error" => with(&format!("404 Not Found\r\n{typed}")),
            _ => return None,
        })
    };
    let _origin = world.answering(move |seen| {
        let nobody = json!({"resourceType": "OperationOutcome"});
        forms(&seen.target).unwrap_or_else(|| fhir(&nobody))
    });
    let gateway = gateway(&world);
    let told = |request: &str| {
        let answer = if request.starts_with("HEAD") {
            let mut line = world.line();
            line.send(format!("{request} HTTP/1.1\r\nHost: api.test\r\n\r\n"))
                .unwrap();
            line.answer_to_head()
        } else {
            world.caller().ask(request)
        };
        let answer = answer.or_fail("get an answer");
        let record = release(&gateway, &answer);
        (subjects(&record).to_owned(), patients(&record).len())
    };
    for (name, reason, named) in [
        ("xml", "xml", 0),
        ("encoded", "encoded", 0),
        ("media_type", "media_type", 0),
        ("untyped", "media_type", 0),
        ("partial", "partial", 0),
        ("syntax", "syntax", 0),
        ("truncated", "truncated", 1),
        ("not_fhir", "not_fhir", 0),
        ("error", "known", 1),
        ("group", "group", 0),
    ] {
        let request = format!("GET /fhir/Observation?case={name}");
        assert_eq!(told(&request), (reason.to_owned(), named), "{name}");
    }
    // What a target says is known whatever the answer is.
    let (reason, named) = told("GET /fhir/Observation?case=xml&patient=17");
    assert_eq!((reason.as_str(), named), ("xml", 1));
    for (request, reason) in [
        ("HEAD /fhir/Observation/1", "not_named"),
        ("GET /fhir/$export", "bulk"),
        ("GET /fhir/Nonsense/1", "target"),
        ("GET /fhir/Observation?patient=%ff", "query"),
    ] {
        assert_eq!(told(request).0, reason, "{request}");
    }
    for (content_type, reason) in [
        ("application/fhir+xml", "xml"),
        ("application/json-patch+json", "media_type"),
        ("application/fhir+json", "syntax"),
    ] {
        let request = with_content("PATCH", "/fhir/Patient/17", content_type, "<no>");
        assert_eq!(told(&request), (reason.to_owned(), 1), "{content_type}");
    }
}

#[test]
fn more_patients_than_a_record_holds_is_said() {
    let world = World::new();
    let _origin = api(&world);
    let gateway = gateway(&world);
    let subjects_of = |count: usize| {
        let resources: Vec<_> = (0..count)
            .map(|number| observation(&format!("Patient/{number}")))
            .collect();
        let all = bundle(&resources).to_string();
        let batch = with_content("POST", "/fhir/", "application/fhir+json", &all);
        let record = release(&gateway, &ask(&world, &batch));
        (patients(&record).len(), subjects(&record).to_owned())
    };
    assert_eq!(subjects_of(512), (512, "known".to_owned()));
    assert_eq!(subjects_of(513), (512, "more".to_owned()));
    gateway.verify();
}

#[test]
fn without_a_key_nobody_is_named_and_each_record_says_so() {
    let world = World::new();
    let _origin = api(&world);
    let configuration = world.configuration().with(FHIR).without("audit.keys");
    let gateway = Gateway::start(&world.place, &configuration);
    let record = release(&gateway, &ask(&world, "GET /fhir/Patient/17"));
    assert_eq!((patients(&record).len(), subjects(&record)), (0, "no_key"));
    assert_eq!(record.text("interaction"), "read");
    let create = observation("Patient/17").to_string();
    let create = with_content(
        "POST",
        "/fhir/Observation",
        "application/fhir+json",
        &create,
    );
    let create = ask(&world, &create);
    for kind in ["intent", "release"] {
        let record = self::record(&gateway, create.id(), kind);
        assert_eq!(subjects(&record), "no_key", "{record}");
    }
}

#[test]
fn on_other_routes_nobody_is_looked_for() {
    let world = World::new();
    let origin = api(&world);
    let gateway = world.gateway("");
    let record = release(&gateway, &ask(&world, "GET /fhir/Patient/17"));
    for field in ["patients", "subjects", "interaction", "resource"] {
        assert!(record.field(field).is_null(), "{field} in {record}");
    }
    let seen = origin.await_request();
    assert_eq!(
        (seen.header("accept"), seen.header("accept-encoding")),
        (None, None)
    );
}

#[test]
fn an_upstream_is_asked_for_what_can_be_read() {
    let world = World::new();
    let origin = api(&world);
    let _gateway = gateway(&world);
    let asked = |path: &str, fields: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n{fields}\r\n");
        ask(&world, &request);
        let seen = origin.seen().pop().or_fail("see the request");
        assert_eq!(seen.header("accept-encoding"), Some("identity"), "{seen:?}");
        seen.header("accept").map(str::to_owned)
    };
    let json = Some("application/fhir+json, */*;q=0.8".to_owned());
    let of = |path, fields: &str| asked(path, fields);
    assert_eq!(
        of("/fhir/Patient/17", "Accept-Encoding: gzip, br\r\n"),
        json
    );
    assert_eq!(of("/fhir/Patient/17", "Accept: */*\r\n"), json);
    let named = "application/fhir+xml";
    let fields = format!("Accept: {named}\r\n");
    assert_eq!(of("/fhir/Patient/17", &fields).as_deref(), Some(named));
    assert_eq!(
        of("/fhir/Binary/1", "Accept: */*\r\n").as_deref(),
        Some("*/*")
    );
}

#[test]
fn a_refusal_names_whom_the_request_was_about() {
    let world = World::new();
    let _origin = world.origin(|conversation| {
        conversation.request()?;
        // Goes away in the middle of a request.
        conversation.body()?;
        Ok(())
    });
    let gateway = world.gateway(&format!("{FHIR}body_limit = \"1000B\"\n"));
    let stranger = world
        .authority
        .device(&world.place.path("stranger"), "urn:example:stranger");
    let refused = |answer: &Answer| record(&gateway, answer.id(), "refusal");
    let target = "GET /fhir/Observation?patient=17";
    let denied = world.nobody().with(&stranger).ask(target).unwrap();
    let denied = refused(&denied);
    assert_eq!(denied.code(), "not_permitted");
    let patient = patients(&denied);
    assert_eq!(
        (patient.len(), denied.text("interaction")),
        (1, "search-type")
    );
    let broken = refused(&world.caller().ask(target).unwrap());
    assert_eq!(
        (broken.code(), patients(&broken)),
        ("upstream_broken", patient.clone())
    );
    let large = format!("{}{}", observation("Patient/17"), " ".repeat(1000));
    let mut line = world.line();
    let head = "POST /fhir/Observation HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n\r\n";
    line.send(head).unwrap();
    let (first, second) = large.split_at(600);
    for piece in [first, second] {
        line.send(format!("{:x}\r\n{piece}\r\n", piece.len()))
            .unwrap();
    }
    let large = refused(&line.answer().unwrap());
    assert_eq!(
        (large.code(), patients(&large)),
        ("body_too_large", patient)
    );
    assert_eq!(subjects(&large), "unread", "{large}");
}

#[test]
fn a_client_that_leaves_does_not_take_the_patient_off_the_record() {
    let world = World::new();
    let origin = world.origin(|conversation| {
        conversation.request()?;
        conversation.hold();
        Ok(())
    });
    let gateway = gateway(&world);
    let mut line = world.line();
    line.send("GET /fhir/Patient/17 HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .unwrap();
    let seen = origin.await_request();
    drop(line);
    let id = seen.header("x-request-id").unwrap_or_default();
    // A client of HTTP/1.1 that is gone shows when the answer is written to it.
    origin.go();
    let record = gateway.await_record("its end", |record| record.text("request_id") == id);
    assert_eq!(patients(&record).len(), 1, "{record}");
}

/// What no byte may say.
const CANARIES: &[&str] = &["canary-id", "canary-mrn", "Canaryname", "canary-system"];

#[test]
fn nothing_that_is_written_says_who_a_patient_is() {
    let world = World::new();
    let canary = json!({"resourceType": "Patient", "id": "canary-id",
        "name": [{"family": "Canaryname"}],
        "identifier": [{"system": "urn:canary-system", "value": "canary-mrn"}]});
    let shown = canary.to_string();
    let _origin = world.answering(move |seen| match seen.target.as_str() {
        target if target.contains("xml") => content("application/xml", "<canary-id/>"),
        target if target.contains("broken") => content("application/json", "{\"canary-id\""),
        target if target.contains("large") => {
            let line = format!("{shown}\n").repeat(4000);
            content("application/fhir+ndjson", &line)
        }
        _ => fhir(&serde_json::from_str(&shown).unwrap()),
    });
    let gateway = world.gateway(&format!("access_log = \"stdout\"\n{FHIR}"));
    let text = canary.to_string();
    let json = "application/fhir+json";
    for request in [
        "GET /fhir/Patient/canary-id",
        "GET /fhir/Patient/canary-id?x=xml",
        "GET /fhir/Patient/canary-id?x=broken",
        "GET /fhir/Patient/canary-id?x=large",
        "GET /fhir/Patient?identifier=urn:canary-system%7Ccanary-mrn&name=Canaryname",
        "GET /fhir/Patient?_filter=canary-id",
        "GET /fhir/canary-id/canary-mrn/Canaryname",
        "GET /fhir/..%2Fcanary-id",
        "FAKE /fhir/Patient/canary-id",
        &with_content("PUT", "/fhir/Patient/canary-id", json, &text),
        &with_content(
            "PUT",
            "/fhir/Patient/canary-id",
            json,
            &text[..text.len() - 2],
        ),
        &with_content(
            "POST",
            "/fhir/Patient/_search",
            "application/x-www-form-urlencoded",
            "identifier=canary-mrn",
        ),
        "GET /fhir/Patient/canary-id HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
    ] {
        let _ = world.caller().ask(request);
    }
    let mut streams = Streams::open(&world.caller()).unwrap();
    streams.ask("GET", "/fhir/Patient/canary-id").unwrap();
    for path in ["/metrics", "/status", "/readyz"] {
        let page = gateway.visit(path).or_fail("visit").text();
        no_canary(path, page.as_bytes());
    }
    let stopped = gateway.stop();
    assert!(
        stopped
            .records()
            .iter()
            .any(|record| patients(record).len() == 2),
        "patients were named"
    );
    assert!(stopped.stdout.contains("search-type"), "lines were written");
    no_canary("stdout", stopped.stdout.as_bytes());
    no_canary("stderr", stopped.stderr.as_bytes());
    no_canary(
        "audit show",
        Records::of(&stopped.audit).to_string().as_bytes(),
    );
    assert!(look_through(&stopped.audit) > 0, "a log was written");
}

/// Looks at every file below a directory, and says how many there are.
#[track_caller]
fn look_through(directory: &Path) -> usize {
    let mut files = 0;
    for item in std::fs::read_dir(directory).or_fail("list a directory") {
        let path = item.or_fail("list a directory").path();
        if path.is_dir() {
            files += look_through(&path);
        } else {
            let bytes = std::fs::read(&path).or_fail("read a file");
            no_canary(&path.to_string_lossy(), &bytes);
            files += 1;
        }
    }
    files
}

#[track_caller]
fn no_canary(place: &str, bytes: &[u8]) {
    for canary in CANARIES {
        let found = bytes
            .windows(canary.len())
            .position(|at| at == canary.as_bytes());
        assert_eq!(found, None, "{canary} in {place}");
    }
}
