//! Somebody else's implementation signs, and the gateway accepts it: `http-message-signatures` of PyPI,
//! which `integration/test --prepare` installs.

use std::ffi::OsString;
use std::path::Path;

use integration::authority::Credentials;
use integration::gateway::Gateway;
use integration::lab::{Lab, Leaf};
use integration::program::Program;
use integration::signer::{Request, keyid_of, now};
use integration::wait;
use integration::world::World;
use serde_json::{Value, json};

use super::{SIGNED, observation};

/// Keys that a client's certificate may have, as `openssl genpkey` makes them, and how they sign.
#[rustfmt::skip]
const KINDS: &[(&str, &[&str], &str, &str)] = &[
    ("p256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "ECDSA_P256_SHA256", "ecdsa-p256-sha256"),
    ("p384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], "ECDSA_P384_SHA384", "ecdsa-p384-sha384"),
    ("ed25519", &["-algorithm", "ED25519"],                                "ED25519",           "ed25519"),
    ("rsa", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],    "RSA_PSS_SHA512",    "rsa-pss-sha512"),
];

/// The Python that has the library; without one the test says so, and cannot run.
fn python(test: &str) -> Option<OsString> {
    let python = std::env::var_os("PHIGATE_SIGNATURES_PYTHON");
    if python.is_none() {
        let reason = "http-message-signatures of PyPI is not installed: integration/test --prepare";
        wait::cannot_run(test, reason);
    }
    python
}

/// How the other implementation is to sign.
#[derive(Debug, Clone)]
struct By<'a> {
    key: &'a Path,
    keyid: String,
    algorithm: &'a str,
    names_algorithm: bool,
}

impl<'a> By<'a> {
    fn certificate(credentials: &'a Credentials, algorithm: &'a str) -> By<'a> {
        By {
            key: &credentials.key,
            keyid: keyid_of(credentials),
            algorithm,
            names_algorithm: false,
        }
    }
}

/// The request, signed by the other implementation. It states the digest of the content too.
#[track_caller]
fn signed_by(python: &OsString, request: &Request, by: &By<'_>) -> Request {
    let mut covered = vec!["@method", "@authority", "@path"];
    if request.target.contains('?') {
        covered.push("@query");
    }
    let mut request = request.clone().without("content-digest");
    if !request.body.is_empty() {
        covered.push("content-type");
    }
    let headers: serde_json::Map<String, Value> = request
        .fields
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let nonce = nonce();
    let asked = json!([{
        "method": request.method,
        "url": format!("https://api.test{}", request.target),
        "headers": headers,
        "body": String::from_utf8_lossy(&request.body),
        "key": by.key,
        "keyid": by.keyid,
        "algorithm": by.algorithm,
        "names_algorithm": by.names_algorithm,
        "created": now(),
        "nonce": nonce,
        "covered": covered,
    }]);
    let ran = Program::of_the_machine("env")
        .arg(python)
        .args(["-c", include_str!("sign.py")])
        .input(asked.to_string())
        .run()
        .expect_code(0);
    let answered: Value = serde_json::from_str(&ran.stdout).unwrap();
    for (name, value) in answered[0].as_object().unwrap() {
        request = request.with(&name.to_ascii_lowercase(), value.as_str().unwrap());
    }
    request
}

/// A nonce that no other request has.
fn nonce() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// A world whose devices have certificates of the lab, with keys of every kind.
fn of_all_kinds(more: &str) -> (World, Gateway, Vec<Credentials>) {
    let world = World::new();
    let lab = Lab::new(&world.place, "lab");
    let devices = KINDS
        .iter()
        .map(|(name, options, ..)| lab.issue_for(options, name, &Leaf::GOOD))
        .collect();
    let configuration = world.configuration().with(SIGNED).with(
        "[trust.devices]\nroots = [\"lab/root.pem\"]\nrevocation = { crls = [\"lab/lab.crl\"] }",
    );
    let gateway = Gateway::start(&world.place, &configuration.with(more));
    (world, gateway, devices)
}

#[test]
fn an_independent_implementation_signs_with_the_key_of_its_certificate_and_is_accepted() {
    let Some(python) = python("signed::peers::an_independent_implementation") else {
        return;
    };
    let (world, gateway, devices) = of_all_kinds("");
    let origin = world.plain_origin();
    for ((kind, _, algorithm, name), device) in KINDS.iter().zip(&devices) {
        let caller = world.nobody().with(device);
        for names_algorithm in [false, true] {
            let by = By {
                names_algorithm,
                ..By::certificate(device, algorithm)
            };
            for request in [observation(), Request::get("/fhir/Patient/17")] {
                let signed = signed_by(&python, &request, &by);
                let answer = signed.ask(&caller);
                assert_eq!(answer.status, 200, "{kind}: {signed:?}\n{answer:?}");
                let release = gateway.await_record("its release", |record| {
                    record.text("request_id") == answer.id() && record.kind() == "release"
                });
                let mut integrity = json!({"key": "certificate", "algorithm": name});
                if !request.body.is_empty() {
                    integrity["content"] = json!("verified");
                }
                assert_eq!(release.field("integrity"), &integrity, "{release}");
                // The same, for another path.
                let altered = Request {
                    target: request.target.replacen("/fhir", "/fhis", 1),
                    ..signed_by(&python, &request, &by)
                };
                let answer = altered.ask(&caller);
                gateway.refused(&answer, 401, "signature_invalid");
            }
        }
    }
    assert_eq!(origin.seen().len(), 4 * KINDS.len());
    gateway.verify();
}

#[test]
fn an_algorithm_that_a_key_does_not_stand_for_is_refused_whoever_names_it() {
    let Some(python) = python("signed::peers::an_algorithm") else {
        return;
    };
    let (world, gateway, devices) = of_all_kinds("");
    let origin = world.plain_origin();
    let rsa = &devices[3];
    // What everybody knows as a shared secret: the certificate, and the public key in it.
    let public = world.place.path("rsa.pub.pem");
    Program::of_the_machine("openssl")
        .args(["pkey", "-pubout", "-in"])
        .arg(&rsa.key)
        .arg("-out")
        .arg(&public)
        .run()
        .expect_code(0);
    #[rustfmt::skip]
    let table = [
        // algorithm         key                named  code
        ("RSA_V1_5_SHA256", rsa.key.as_path(),  false, "signature_invalid"),
        ("RSA_V1_5_SHA256", rsa.key.as_path(),  true,  "signature_insufficient"),
        ("HMAC_SHA256",     public.as_path(),   false, "signature_invalid"),
        ("HMAC_SHA256",     public.as_path(),   true,  "signature_insufficient"),
        ("HMAC_SHA256",     &rsa.certificate,   false, "signature_invalid"),
    ];
    for (algorithm, key, names_algorithm, code) in table {
        let by = By {
            key,
            names_algorithm,
            ..By::certificate(rsa, algorithm)
        };
        let answer = signed_by(&python, &observation(), &by).ask(&world.nobody().with(rsa));
        gateway.refused(&answer, 401, code);
    }
    assert_eq!(origin.seen().len(), 0);
}

#[test]
fn a_registered_key_signs_for_the_clients_that_it_is_bound_to() {
    let Some(python) = python("signed::peers::a_registered_key") else {
        return;
    };
    let world = World::new();
    for (kind, options, ..) in KINDS {
        for name in ["free", "bound"] {
            let file = |end: &str| world.place.path(format!("{name}-{kind}.{end}"));
            let openssl = || Program::of_the_machine("openssl");
            let made = openssl().arg("genpkey").args(*options).arg("-out");
            made.arg(file("key")).run().expect_code(0);
            let public = openssl().args(["pkey", "-pubout", "-in"]).arg(file("key"));
            public.arg("-out").arg(file("pub")).run().expect_code(0);
        }
    }
    let (mut keys, mut names) = (Vec::new(), Vec::new());
    for (kind, ..) in KINDS {
        keys.push(format!(
            "[signatures.keys.free-{kind}]\npublic = \"free-{kind}.pub\"\n\
             [signatures.keys.bound-{kind}]\npublic = \"bound-{kind}.pub\"\nclient = \"urn:example:pump-2\"\n"
        ));
        names.extend([format!("free-{kind}"), format!("bound-{kind}")]);
    }
    let other = world
        .authority
        .device(&world.place.path("other"), "urn:example:pump-2");
    let origin = world.plain_origin();
    let gateway = Gateway::start(
        &world.place,
        &world.configuration().with(SIGNED).with(&format!(
            "{}[[routes]]\nname = \"all\"\nsignature_keys = {names:?}\n",
            keys.concat()
        )),
    );
    let callers = [world.caller(), world.nobody().with(&other)];
    for (kind, _, algorithm, name) in KINDS {
        for (owner, caller) in callers.iter().enumerate() {
            for binding in ["free", "bound"] {
                let keyid = format!("{binding}-{kind}");
                let key = world.place.path(format!("{keyid}.key"));
                let by = By {
                    key: &key,
                    keyid: keyid.clone(),
                    algorithm,
                    names_algorithm: true,
                };
                let answer = signed_by(&python, &observation(), &by).ask(caller);
                if binding == "bound" && owner == 0 {
                    gateway.refused(&answer, 401, "signature_key_unknown");
                    continue;
                }
                assert_eq!(answer.status, 200, "{keyid}: {answer:?}");
                let release = gateway.await_record("its release", |record| {
                    record.text("request_id") == answer.id() && record.kind() == "release"
                });
                let integrity = json!({"content": "verified", "key": keyid, "algorithm": name});
                assert_eq!(release.field("integrity"), &integrity, "{release}");
            }
        }
    }
    assert_eq!(origin.seen().len(), 3 * KINDS.len());
    // A name under which another key is registered proves nothing.
    let key = world.place.path("free-p256.key");
    let by = By {
        key: &key,
        keyid: "free-p384".to_owned(),
        algorithm: "ECDSA_P256_SHA256",
        names_algorithm: false,
    };
    let answer = signed_by(&python, &observation(), &by).ask(&callers[0]);
    gateway.refused(&answer, 401, "signature_invalid");
}
