//! `gateway sign` and `gateway verify`: what a person or a script signs is accepted, and what became of a
//! message is told.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use integration::gateway::{Gateway, LISTEN};
use integration::line::End;
use integration::place::Place;
use integration::program::{self, Program, Ran};
use integration::wait::OrFail;
use integration::world::World;

/// Every request is signed, and so is every answer.
const SIGNED: &str = r#"
[signatures]
replay = "replay"
key = "file:own.pem"
[[routes]]
name = "all"
digest = "required"
signature = "required"
signature_covers = ["@method", "@authority", "@path", "@query"]
answers = "signed"
"#;

/// A request as a person writes it: lines end in LF.
const REQUEST: &str = "POST /fhir/Observation?q=1&r=2 HTTP/1.1\n\
                       Host: api.test\n\
                       Content-Type: application/fhir+json\n\
                       Connection: close\n\
                       \n\
                       {\"resourceType\":\"Observation\",\"status\":\"final\"}\n";

/// A private key by openssl, and its public half.
fn keys(place: &Place, name: &str, options: &[&str]) -> (PathBuf, PathBuf) {
    let (key, public) = (
        place.path(format!("{name}.pem")),
        place.path(format!("{name}.pub.pem")),
    );
    Program::of_the_machine("openssl")
        .arg("genpkey")
        .args(options)
        .arg("-out")
        .arg(&key)
        .run()
        .expect_code(0);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).or_fail("hide a key");
    Program::of_the_machine("openssl")
        .args(["pkey", "-pubout", "-in"])
        .arg(&key)
        .arg("-out")
        .arg(&public)
        .run()
        .expect_code(0);
    (key, public)
}

const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// A gateway that asks for signatures, in front of an upstream that says `ok`.
fn serving(world: &World) -> Gateway {
    keys(&world.place, "own", P256);
    world.gateway(SIGNED)
}

fn sign(world: &World) -> Program {
    Program::ours("gateway")
        .args(["sign", "--key"])
        .arg(&world.device.key)
        .arg("--cert")
        .arg(&world.device.certificate)
}

fn verify(options: &[&str], files: &[&Path]) -> Ran {
    let program = Program::ours("gateway").arg("verify").args(options);
    program.args(files).run()
}

/// Sends these bytes on a connection of the device, and brings what came.
fn send(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut line = world.line();
    line.send(bytes).or_fail("send a request");
    let (answer, end) = line.rest();
    assert!(matches!(end, End::Closed), "{end:?}");
    answer
}

#[test]
fn a_file_that_was_signed_is_accepted_once_and_its_answer_is_verified() {
    let world = World::new();
    let origin = world.plain_origin();
    let _gateway = serving(&world);
    let request = world.place.write("request.http", REQUEST);
    let ran = sign(&world).arg(&request).run().expect_code(0);
    let signed = world.place.write("signed.http", &ran.bytes);
    let answer = send(&world, &ran.bytes);
    assert!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let seen = origin.await_request();
    let content = REQUEST.split_once("\n\n").or_fail("find the content").1;
    assert_eq!(seen.body, content.as_bytes());

    // What came back is the gateway's, for this request and no other.
    let directory = world
        .caller()
        .ask("GET /.well-known/http-message-signatures-directory")
        .or_fail("ask for the gateway's keys");
    let set = world.place.write("keys.json", &directory.body);
    let answer = world.place.write("answer.http", &answer);
    let asked = |request: &Path| {
        Program::ours("gateway")
            .args(["verify", "--jwks"])
            .arg(&set)
            .arg("--request")
            .arg(request)
            .arg(&answer)
            .run()
    };
    let verified = asked(&signed).expect_code(0);
    assert!(
        verified.stdout.starts_with("good: a response, 1 signature"),
        "{verified:?}"
    );
    let other = ran
        .stdout
        .replacen("/fhir/Observation?", "/fhir/Observatiom?", 1);
    let other = world.place.write("other.http", other);
    let refused = asked(&other).expect_code(1);
    assert!(refused.stdout.starts_with("not good: "), "{refused:?}");

    // It was here before.
    let again = String::from_utf8_lossy(&send(&world, &ran.bytes)).into_owned();
    assert!(again.starts_with("HTTP/1.1 401 "), "{again}");
}

#[test]
fn the_line_of_curl_that_is_printed_runs_in_a_shell_and_is_accepted() {
    let world = World::new();
    let origin = world.plain_origin();
    let _gateway = serving(&world);
    let listen = world.place.at(LISTEN);
    let content = world
        .place
        .write("it's $content.json", "{\"a\": 'b c'}\r\n");
    let curl = |prefix: &str| {
        format!(
            "{prefix} curl --disable -sS --noproxy '*' --connect-to ::{}:{} --cacert \"$2\" -E \"$3\" \
             --key \"$4\" -o /dev/null -w '%{{http_code}}' -H \"X-Note: it's\" --data-binary @\"$5\" \
             -H 'Content-Type: application/json' 'https://api.test:{}/a?q=1&r=%20'",
            listen.ip(),
            listen.port(),
            listen.port()
        )
    };
    let shell = |script: &str| {
        Program::of_the_machine("bash")
            .args(["-c", script, "bash"])
            .arg(program::binary("gateway"))
            .arg(&world.server.trust)
            .arg(&world.device.certificate)
            .arg(&world.device.key)
            .arg(&content)
            .run()
            .expect_code(0)
            .stdout
    };
    assert_eq!(shell(&curl("")), "401", "nobody signed it");
    let signed = curl("\"$1\" sign --");
    assert_eq!(shell(&format!("line=$({signed}) && eval \"$line\"")), "200");
    let seen = origin.await_request();
    assert_eq!(seen.body, b"{\"a\": 'b c'}\r\n");
    assert_eq!(seen.target, "/a?q=1&r=%20");
    assert_eq!(seen.header("x-note"), Some("it's"));
    let altered = format!("line=$({signed}) && echo >> \"$5\" && eval \"$line\"");
    assert_eq!(shell(&altered), "400", "the content is another by now");
}

#[test]
fn one_changed_byte_is_named_by_its_component() {
    let world = World::new();
    let request = world.place.write("request.http", REQUEST);
    let ran = sign(&world).arg(&request).run().expect_code(0);
    let sent = world.place.write("sent.http", &ran.bytes);
    let certificate = world.device.certificate.display().to_string();
    let against = sent.display().to_string();
    let options = ["--cert", &certificate, "--against", &against];
    let good = verify(&options, &[&sent]).expect_code(0);
    assert!(good.stdout.starts_with("good: "), "{good:?}");
    assert!(!good.stdout.contains("differs"), "{good:?}");
    for (from, to, named) in [
        ("POST", "PUST", "differs - \"@method\": POST"),
        ("api.test", "apj.test", "differs + \"@authority\": apj.test"),
        (
            "/fhir/O",
            "/fhir/P",
            "differs + \"@path\": /fhir/Pbservation",
        ),
        ("r=2", "r=3", "differs + \"@query\": ?q=1&r=3"),
        (
            "fhir+json",
            "fhir+jsom",
            "differs + \"content-type\": application/fhir+jsom",
        ),
        ("final", "finam", "content differs: "),
    ] {
        let got = world
            .place
            .write("got.http", ran.stdout.replacen(from, to, 1));
        let told = verify(&options, &[&got]).expect_code(1);
        assert!(told.stdout.starts_with("not good: "), "{told:?}");
        assert!(told.stdout.contains(named), "{named} in {told:?}");
        let mut json = vec!["--json"];
        json.extend(options);
        let told = verify(&json, &[&got]).expect_code(1);
        let told: serde_json::Value = serde_json::from_str(&told.stdout).or_fail("read JSON");
        assert_eq!(told["verdict"], "not good");
    }
}

#[test]
fn every_kind_of_key_signs_and_only_its_other_half_verifies() {
    let place = Place::new();
    let request = place.write("request.http", REQUEST);
    let (_, stranger) = keys(&place, "stranger", P256);
    for (algorithm, options) in [
        ("ecdsa-p256-sha256", P256),
        (
            "ecdsa-p384-sha384",
            &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        ),
        ("ed25519", &["-algorithm", "ED25519"]),
        ("rsa-pss-sha512", &["-algorithm", "RSA"]),
    ] {
        let (key, public) = keys(&place, algorithm, options);
        let ran = Program::ours("gateway")
            .args(["sign", "--keyid", "robot", "--created", "100", "--key"])
            .arg(&key)
            .args([
                "--digest",
                "sha-512",
                "--expires-in",
                "60",
                "--tag",
                "t",
                "--label",
                "mine",
            ])
            .arg(&request)
            .run()
            .expect_code(0);
        let signed = place.write("signed.http", &ran.bytes);
        let told = |key: &Path, now: &str| {
            let key = key.display().to_string();
            verify(&["--key", &key, "--now", now], &[&signed])
        };
        let good = told(&public, "160").expect_code(0).stdout;
        assert!(
            good.contains(&format!("\n  key: {algorithm} from ")),
            "{good}"
        );
        for said in [
            "signature mine: good",
            "keyid: robot",
            "tag: t",
            "created: 100 ",
            "expires: 160 ",
        ] {
            assert!(good.contains(said), "{said} in {good}");
        }
        assert!(good.contains("content-digest: good, sha-512"), "{good}");
        told(&stranger, "160").expect_code(1);
        let late = told(&public, "191").expect_code(1);
        assert!(
            late.stdout.contains("the signature has expired"),
            "{late:?}"
        );
    }
}

#[test]
fn bad_input_is_told_with_its_place_and_what_to_do() {
    let world = World::new();
    let device = |name: &str| world.place.path("device").join(name).display().to_string();
    let (key, cert) = (device("key.pem"), device("cert.pem"));
    let server = world.server.certificate.display().to_string();
    let bad = world
        .place
        .write("bad.http", "GET / HTTP/1.1\nHost: h\nno colon\n\n");
    let good = world
        .place
        .write("good.http", "GET / HTTP/1.1\nHost: h\n\n");
    let odd = world.place.write(
        "odd.http",
        "PUT / HTTP/1.1\nHost: h\nContent-Length: 1\n\nab",
    );
    let (bad, good, odd) = (
        bad.display().to_string(),
        good.display().to_string(),
        odd.display().to_string(),
    );
    let table: &[(&[&str], i32, &str)] = &[
        (
            &["sign", "--key", &key, "--cert", &cert, &bad],
            1,
            "bad.http: line 3: a field line has no colon",
        ),
        (
            &["sign", "--key", &key, "--cert", &cert, &odd],
            1,
            "Content-Length says 1 bytes",
        ),
        (
            &["sign", "--key", &key, "--cert", &server, &good],
            1,
            "is the certificate of another key",
        ),
        (
            &["sign", "--key", &cert, "--keyid", "k", &good],
            1,
            "holds no PRIVATE KEY in PEM form",
        ),
        (
            &["sign", "--key", "nowhere.pem", "--keyid", "k", &good],
            1,
            "cannot read nowhere.pem",
        ),
        (
            &[
                "sign", "--key", &key, "--keyid", "k", "--covers", "date", &good,
            ],
            1,
            "component date",
        ),
        (
            &["sign", "--key", &key, &good],
            64,
            "neither a certificate nor a name",
        ),
        (&["sign", &good], 64, "no key is named"),
        (
            &[
                "sign", "--key", &key, "--keyid", "k", "--covers", "@metod", &good,
            ],
            64,
            "--covers @metod",
        ),
        (
            &[
                "sign",
                "--key",
                &key,
                "--keyid",
                "k",
                "--",
                "curl",
                "-L",
                "https://h/",
            ],
            64,
            "-L of curl",
        ),
        (
            &[
                "sign",
                "--key",
                &key,
                "--keyid",
                "k",
                "--",
                "wget",
                "https://h/",
            ],
            64,
            "no command line of curl",
        ),
        (
            &[
                "sign",
                "--key",
                &key,
                "--keyid",
                "k",
                "--",
                "curl",
                "-d",
                "@nowhere",
                "https://h/",
            ],
            1,
            "cannot read nowhere",
        ),
        (
            &[
                "sign", "--key", &key, "--keyid", "k", "--label", "No", &good,
            ],
            64,
            "the label is not a key",
        ),
        (&["verify", &good], 64, "required arguments"),
        (
            &["verify", "--cert", &cert, "--request", "-"],
            64,
            "standard input is asked for twice",
        ),
        (&["verify", "--cert", &cert, &bad], 1, "bad.http: line 3: "),
        (
            &["verify", "--key", &key, &good],
            1,
            "holds no PUBLIC KEY in PEM form",
        ),
        (&["verify", "--jwks", &cert, &good], 1, "no such JSON"),
    ];
    for (words, code, said) in table {
        let ran = Program::ours("gateway")
            .args(*words)
            .run()
            .expect_code(*code);
        assert_eq!(ran.stdout, "", "{words:?}");
        assert!(ran.stderr.starts_with("error: "), "{words:?} {ran:?}");
        assert!(ran.stderr.contains(said), "{said}: {words:?} {ran:?}");
        assert!(ran.stderr.contains("\nhint: "), "{words:?} {ran:?}");
    }
    // A message without a signature can be read, and is not good.
    let ran = verify(&["--cert", &cert], &[Path::new(&good)]).expect_code(1);
    assert!(
        ran.stdout.contains("finding: there is no signature"),
        "{ran:?}"
    );
}
