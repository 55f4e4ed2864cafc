//! What the gateway adds to an answer that it has in hand: a digest of what was sent, and a signature for
//! the very request that is answered, which others verify.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use integration::answer::Answer;
use integration::gateway::Gateway;
use integration::program::Program;
use integration::wait;
use integration::world::World;
use integrity::Error;
use serde_json::{Value, json};

use super::{
    Asked, Framing, KINDS, P256, SIGNED, UNCOMPARED, Way, answer, covered, keys, make_key,
    published, sha256, sha512,
};

const DIGEST: &str = "[[routes]]\nname = \"all\"\nanswers = \"digest\"";

const CONTENT: &str = "{\"resourceType\":\"Patient\"}";

const JSON: &str = "content-type: application/fhir+json\r\n";

/// A world with a key to sign answers with.
fn world_with(options: &[&str]) -> World {
    let world = World::new();
    make_key(&world, "signing.pem", options);
    world
}

/// A signature of a client's own, whatever it is worth.
fn signed(asked: Asked) -> Asked {
    let input = "sig1=(\"@method\");created=1;keyid=\"pump\"";
    let asked = asked.with("signature-input", input);
    asked.with("signature", "sig1=:YWJjZA==:")
}

#[test]
fn a_digest_says_what_was_sent_in_the_algorithm_that_is_preferred() {
    let world = World::new();
    let _origin = world.answering(|seen| match seen.target.as_str() {
        "/own" => {
            let own = format!("content-digest: {}\r\n", sha512(CONTENT.as_bytes()));
            answer(Framing::Length, &own, CONTENT.as_bytes())
        }
        "/md5" => {
            let own = "content-digest: md5=:YQ==:\r\n";
            answer(Framing::Length, own, CONTENT.as_bytes())
        }
        "/chunked" => answer(Framing::Chunked, JSON, CONTENT.as_bytes()),
        "/empty" => answer(Framing::Length, JSON, b""),
        _ => answer(Framing::Length, JSON, CONTENT.as_bytes()),
    });
    let gateway = world.gateway(DIGEST);
    let (narrow, wide) = (sha256(CONTENT.as_bytes()), sha512(CONTENT.as_bytes()));
    let want = |value: &str| Asked::get("/x").with("want-content-digest", value);
    let table = [
        (Asked::get("/x"), narrow.clone()),
        (Asked::get("/chunked"), narrow.clone()),
        (Asked::get("/empty"), sha256(b"")),
        (want("sha-512=9, sha-256=1"), wide.clone()),
        (want("sha-512=1, sha-256=9"), narrow.clone()),
        (want("sha-512=3, md5=10"), wide.clone()),
        // What is not wanted, or not understood, is no reason to say nothing.
        (want("sha-512=0"), narrow.clone()),
        (want("md5=10"), narrow.clone()),
        (want("sha-512"), narrow.clone()),
        // The word of the upstream stays, which was compared.
        (Asked::get("/own"), wide),
    ];
    for way in [Way::Http10, Way::Http11, Way::Http2] {
        for (asked, digest) in &table {
            let answer = asked.over(&world, way).unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(
                answer.header("content-digest"),
                Some(digest.as_str()),
                "{asked:?}"
            );
            assert_eq!(answer.header("signature"), None);
        }
        // One that nobody can rely on stays beside one that somebody can.
        let answer = Asked::get("/md5").over(&world, way).unwrap();
        let digests = answer.all("content-digest").join(", ");
        assert_eq!(digests, format!("md5=:YQ==:, {narrow}"));
        // Of content that is not at hand nothing is said.
        let answer = Asked::get("/x").method("HEAD").over(&world, way).unwrap();
        assert_eq!(answer.header("content-digest"), None);
    }
    gateway.verify();
}

/// What an answer to this request covers when the gateway signs it.
fn expected(asked: &Asked) -> Vec<&'static str> {
    let mut expected = vec!["\"@status\""];
    if asked.method != "HEAD" {
        expected.push("\"content-digest\"");
    }
    expected.extend([
        "\"content-type\"",
        "\"@method\";req",
        "\"@authority\";req",
        "\"@path\";req",
    ]);
    if asked.target.contains('?') {
        expected.push("\"@query\";req");
    }
    if asked.fields.iter().any(|(name, _)| *name == "signature") {
        expected.push("\"signature\";req");
    }
    expected
}

fn requests() -> Vec<Asked> {
    vec![
        Asked::get("/fhir/Patient/17"),
        Asked::get("/fhir/Patient?name=a%20b&_count=2"),
        Asked::get("/fhir/Patient?"),
        Asked::get("/fhir/Patient/17").method("HEAD"),
        Asked::get("/fhir/Observation").method("POST").body(CONTENT),
        signed(Asked::get("/fhir/Patient/17")),
        signed(
            Asked::get("/fhir/Observation?a")
                .method("POST")
                .body(CONTENT),
        ),
    ]
}

#[test]
fn an_answer_is_signed_for_the_request_with_each_kind_of_key() {
    for (algorithm, options) in KINDS {
        let world = world_with(options);
        let _origin = world.answering(|_| answer(Framing::Length, JSON, CONTENT.as_bytes()));
        let gateway = world.gateway(SIGNED);
        let keys = keys(&world);
        for asked in requests() {
            for way in [Way::Http10, Way::Http11, Way::Http2] {
                let answer = asked.over(&world, way).unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
                let verified = asked.proves(&answer, &keys);
                let verified =
                    verified.unwrap_or_else(|error| panic!("{error}: {asked:?} {answer:?}"));
                assert_eq!(verified.algorithm().name(), *algorithm);
                assert_eq!(verified.label(), "phigate");
                assert_eq!(covered(&verified), expected(&asked));
                if asked.method != "HEAD" {
                    let digest = sha256(CONTENT.as_bytes());
                    assert_eq!(answer.header("content-digest"), Some(digest.as_str()));
                }
            }
        }
        gateway.verify();
    }
}

#[test]
fn an_answer_proves_nothing_for_another_request_and_nothing_that_was_altered() {
    let world = world_with(P256);
    let _origin = world.answering(|_| answer(Framing::Length, JSON, CONTENT.as_bytes()));
    let _gateway = world.gateway(SIGNED);
    let keys = keys(&world);
    let asked = signed(Asked::get("/fhir/Patient/17?a=b"));
    let answer = asked.over(&world, Way::Http11).unwrap();
    asked.proves(&answer, &keys).unwrap();
    let mut other = asked.clone();
    other.fields[1].1 = "sig1=:YWJjZQ==:".to_owned();
    let target = |target: &str| Asked {
        target: target.to_owned(),
        ..asked.clone()
    };
    for other in [
        asked.clone().method("HEAD"),
        target("/fhir/Patient/18?a=b"),
        target("/fhir/Patient/17?a=c"),
        target("/fhir/Patient/17"),
        Asked::get("/fhir/Patient/17?a=b"),
        other,
    ] {
        let error = other.proves(&answer, &keys).unwrap_err();
        let is_refused = matches!(error, Error::Invalid { .. } | Error::ComponentAbsent { .. });
        assert!(is_refused, "{error}: {other:?}");
    }
    let altered = |change: &dyn Fn(&mut Answer)| {
        let mut altered = answer.clone();
        change(&mut altered);
        asked.proves(&altered, &keys).unwrap_err()
    };
    altered(&|answer| answer.status = 203);
    for name in [
        "content-digest",
        "content-type",
        "signature",
        "signature-input",
    ] {
        altered(&|answer| {
            let field = answer.headers.iter_mut().find(|(known, _)| known == name);
            let value = &mut field.unwrap().1;
            // In the midst: an end might be one that only pads.
            let at = value.len() / 2;
            let turned = char::from(value.as_bytes()[at] ^ 1);
            value.replace_range(at..=at, &turned.to_string());
        });
    }
}

#[test]
fn an_answer_that_comes_in_parts_is_signed_as_one_that_comes_at_once() {
    let world = world_with(P256);
    let _origin = world.origin(|conversation| {
        while conversation.request()? {
            let whole = answer(Framing::Length, JSON, CONTENT.as_bytes());
            for part in [
                &whole[..20],
                &whole[20..whole.len() - 9],
                &whole[whole.len() - 9..],
            ] {
                conversation.write(part)?;
                wait::pause(std::time::Duration::from_millis(30));
            }
        }
        Ok(())
    });
    let _gateway = world.gateway(SIGNED);
    let keys = keys(&world);
    let asked = Asked::get("/x");
    for way in [Way::Http10, Way::Http11, Way::Http2] {
        let answer = asked.over(&world, way).unwrap();
        asked.proves(&answer, &keys).unwrap();
    }
}

#[test]
fn a_signature_of_the_upstream_stays_beside_that_of_the_gateway() {
    let world = world_with(P256);
    let _origin = world.answering(|seen| {
        let label = if seen.target == "/taken" {
            "phigate"
        } else {
            "api"
        };
        let fields = format!(
            "{JSON}signature-input: {label}=(\"@status\");created=1\r\n\
             signature: {label}=:YWJjZA==:\r\n"
        );
        answer(Framing::Length, &fields, CONTENT.as_bytes())
    });
    let gateway = world.gateway(SIGNED);
    let keys = keys(&world);
    let asked = Asked::get("/x");
    let answer = asked.over(&world, Way::Http11).unwrap();
    asked.proves(&answer, &keys).unwrap();
    let signatures = answer.header("signature").unwrap();
    assert!(
        signatures.starts_with("api=:YWJjZA==:, phigate=:"),
        "{signatures}"
    );
    // Nobody signs in the gateway's name.
    let answer = Asked::get("/taken").over(&world, Way::Http11).unwrap();
    gateway.refused(&answer, 502, "upstream_broken");
}

#[test]
fn an_upstream_is_not_vouched_for_against_its_own_word() {
    let world = world_with(P256);
    let _origin = world.answering(|_| {
        let fields = format!("content-digest: {}\r\n", sha256(b"other"));
        answer(Framing::Length, &fields, CONTENT.as_bytes())
    });
    // Also where nobody asked for digests to be compared.
    let gateway = Gateway::start(
        &world.place,
        &world.configuration().with(SIGNED).with(UNCOMPARED),
    );
    let answer = world.caller().ask("GET /x").unwrap();
    gateway.refused(&answer, 502, "answer_digest_mismatch");
}

#[test]
fn an_independent_implementation_verifies_what_the_gateway_signed() {
    let Some(python) = std::env::var_os("PHIGATE_SIGNATURES_PYTHON") else {
        let reason = "http-message-signatures of PyPI is not installed: integration/test --prepare";
        return wait::cannot_run("vouched::answers::an_independent_implementation", reason);
    };
    for (algorithm, options) in KINDS {
        let world = world_with(options);
        let _origin = world.answering(|_| answer(Framing::Length, JSON, CONTENT.as_bytes()));
        let _gateway = world.gateway(SIGNED);
        let published: Value = published(&world).json();
        // HEAD states no digest, and that library wants one.
        let requests = requests()
            .into_iter()
            .filter(|asked| asked.method != "HEAD");
        let requests: Vec<_> = requests.collect();
        let answers = requests
            .iter()
            .map(|asked| asked.over(&world, Way::Http11).unwrap());
        let answers: Vec<_> = answers.collect();
        let mut table: Vec<Value> = Vec::new();
        for (asked, answer) in requests.iter().zip(&answers) {
            table.push(pair(asked, answer, &published, algorithm));
        }
        // Of another request, in its signature alone too; with another status; with other content.
        let (asked, first) = (&requests[0], &answers[0]);
        let signed = &answers[4];
        table.push(pair(asked, signed, &published, algorithm));
        table.push(pair(
            &Asked::get("/fhir/Patient/18"),
            first,
            &published,
            algorithm,
        ));
        let status = Answer {
            status: 201,
            ..first.clone()
        };
        table.push(pair(asked, &status, &published, algorithm));
        let body = Answer {
            body: b"other".to_vec(),
            ..first.clone()
        };
        table.push(pair(asked, &body, &published, algorithm));
        let ran = Program::of_the_machine("env")
            .arg(&python)
            .args(["-c", include_str!("verify.py")])
            .input(Value::from(table).to_string())
            .run()
            .expect_code(0);
        let outcomes: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
        for (asked, outcome) in requests.iter().zip(&outcomes) {
            assert_eq!(
                outcome["covered"],
                json!(expected(asked)),
                "{algorithm} {outcome}"
            );
        }
        let others: Vec<_> = outcomes[requests.len()..].iter().collect();
        assert_eq!(others.len(), 4);
        for outcome in &others {
            assert!(outcome["error"].is_string(), "{algorithm} {others:?}");
        }
    }
}

/// A request and an answer, as the other implementation reads them.
fn pair(asked: &Asked, answer: &Answer, keys: &Value, algorithm: &str) -> Value {
    json!({
        "method": asked.method,
        "url": format!("https://api.test{}", asked.target),
        "asked": asked.fields,
        "status": answer.status,
        "headers": answer.headers,
        "body": STANDARD.encode(&answer.body),
        "key": keys["keys"][0],
        "algorithm": algorithm,
    })
}
