//! What a person types and sees: exit codes, mistakes with their places, dry runs that tell the
//! truth, results on one stream and complaints on the other.

use std::path::Path;

use integration::configuration::Configuration;
use integration::gateway::{ADMIN, LISTEN};
use integration::place::Place;
use integration::program::{Program, Ran};
use integration::records;
use integration::wait::OrFail;
use integration::world::{DEVICE, World};

fn gateway(words: &[&str]) -> Program {
    Program::ours("gateway").args(words)
}

fn check(file: &Path) -> Ran {
    gateway(&["check", "--config"]).arg(file).run()
}

#[test]
fn wrong_usage_is_64_and_says_so_on_stderr() {
    let table: &[(&str, &[&str])] = &[
        ("gateway", &[]),
        ("gateway", &["serve"]),
        ("gateway", &["--config", "x"]),
        ("gateway", &["run"]),
        ("gateway", &["run", "--config"]),
        ("gateway", &["check", "--config", "x", "--loud"]),
        ("gateway", &["explain", "--config", "x", "GET"]),
        (
            "gateway",
            &["explain", "--config", "x", "G T", "https://a/"],
        ),
        ("gateway", &["demo", "--listen", "somewhere"]),
        ("audit", &[]),
        ("audit", &["verify"]),
        ("audit", &["show", "a", "b"]),
        ("audit", &["export"]),
        ("pki", &[]),
        ("pki", &["init"]),
        ("pki", &["issue", "--dir", "x", "--profile", "toaster"]),
        ("pki", &["revoke", "--dir", "x"]),
    ];
    for (program, words) in table {
        let ran = Program::ours(program).args(*words).run().expect_code(64);
        assert_eq!(ran.stdout, "", "{program} {words:?}");
        assert!(!ran.stderr.is_empty(), "{program} {words:?}");
        assert!(
            words.is_empty() || ran.stderr.starts_with("error: "),
            "{program} {words:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn help_is_a_result_on_every_level_and_has_an_example() {
    let table: &[(&str, &[&str])] = &[
        (
            "gateway",
            &[
                "run",
                "check",
                "explain",
                "sign",
                "verify",
                "demo",
                "schema",
                "completions",
                "manual",
            ],
        ),
        (
            "audit",
            &[
                "verify",
                "show",
                "index",
                "report",
                "prove",
                "check",
                "keygen",
                "completions",
                "manual",
            ],
        ),
        ("pki", &["init", "issue", "revoke", "crl", "list", "show"]),
    ];
    for (program, commands) in table {
        let help = |words: &[&str]| {
            let ran = Program::ours(program).args(words).run().expect_code(0);
            assert_eq!(ran.stderr, "", "{program} {words:?}");
            assert!(!ran.stdout.contains('\u{1b}'), "nobody looks: no colors");
            ran.stdout
        };
        let top = help(&["--help"]);
        assert!(top.contains("Example"), "{top}");
        assert!(help(&["--version"]).starts_with(program));
        for command in *commands {
            assert!(
                top.contains(&format!("\n  {command} ")),
                "{command} in {top}"
            );
            let text = help(&[command, "--help"]);
            assert!(text.contains("Example"), "{program} {command}: {text}");
            assert!(
                text.contains(&format!("{program} {command}")),
                "{program} {command}: {text}"
            );
        }
    }
}

#[test]
fn every_mistake_of_a_file_is_named_at_once_with_its_place() {
    let world = World::new();
    let file = world.place.write(
        "wrong.toml",
        "[audit]\n\
         directory = \"audit\"\n\
         rationale = \"a test of mistakes\"\n\
         [trust.devices]\n\
         roots = [\"pki/trust.pem\"]\n\
         revocation = { crls = [\"pki/crl/\"] }\n\
         [certificates.api]\n\
         chian = \"server/chain.pem\"\n\
         key = \"file:server/key.pem\"\n\
         [listeners.devices]\n\
         listen = [\"somewhere\"]\n\
         certificates = [\"apo\"]\n\
         clients = { certificates = \"required\", trust = \"devices\" }\n\
         [roles.pump]\n\
         clients = [\"urn:example:pump-*\"]\n\
         [upstreams.far]\n\
         servers = [\"http://10.0.0.5:80\"]\n\
         [[routes]]\n\
         name = \"all\"\n\
         listeners = [\"devices\"]\n\
         hosts = [\"api.test\"]\n\
         path = \"/a/../b\"\n\
         methods = [\"GET\"]\n\
         allow = [\"pomp\"]\n\
         upstream = \"far\"\n",
    );
    let ran = check(&file).expect_code(1);
    assert_eq!(ran.stdout, "", "{ran:?}");
    for (line, key) in [
        (8, "chian"),
        (11, "listen"),
        (12, "certificates"),
        (17, "servers"),
        (22, "path"),
        (24, "allow"),
    ] {
        let place = format!("wrong.toml:{line}:");
        let found = ran.stderr.lines().find(|said| said.contains(&place));
        let found = found.or_fail(&format!("find line {line} in\n{}", ran.stderr));
        assert!(
            found.starts_with("error: ") && found.contains(key),
            "{found}"
        );
    }
    for hint in ["\"chain\"", "\"api\"", "\"pump\""] {
        let hinted = |line: &&str| line.starts_with("hint: ") && line.contains(hint);
        assert!(
            ran.stderr.lines().any(|line| hinted(&line)),
            "{hint} in\n{}",
            ran.stderr
        );
    }
    // `run` says the same, and serves nothing.
    let run = gateway(&["run", "--config"])
        .arg(&file)
        .run()
        .expect_code(1);
    assert!(run.stderr.contains("wrong.toml:8:"), "{run:?}");
    assert!(!world.place.path("audit").exists(), "nothing half-done");
    // For programs, the same as one object.
    let json = gateway(&["check", "--json", "--config"]).arg(&file).run();
    let json: serde_json::Value = serde_json::from_str(&json.expect_code(1).stdout).unwrap();
    assert_eq!(json["ok"], false);
    let findings = json["findings"].as_array().or_fail("find the findings");
    let errors = ran.stderr.matches("error: ").count();
    let said = |finding: &&serde_json::Value| finding["severity"] == "error";
    assert_eq!(findings.iter().filter(said).count(), errors);
    assert!(findings.iter().any(|finding| finding["line"] == 22));
}

#[test]
fn what_the_file_names_is_judged_too() {
    let world = World::new();
    world.place.write("garbage.pem", "no certificate at all\n");
    let other = world
        .authority
        .server(&world.place.path("other"), &["other.test"]);
    let good = world.configuration();
    let other = other.key.display();
    let client = world.device.chain.display();
    let client_key = world.device.key.display();
    let table: Vec<(Configuration, &str)> = vec![
        (
            good.clone()
                .with("[certificates.api]\nchain = \"nowhere.pem\""),
            "certificates.api.chain",
        ),
        (
            good.clone()
                .with("[certificates.api]\nchain = \"garbage.pem\""),
            "certificates.api.chain",
        ),
        (
            good.clone()
                .with(&format!("[certificates.api]\nkey = \"file:{other}\"")),
            "certificates.api",
        ),
        (
            good.clone()
                .with("[certificates.api]\nkey = \"env:PHIGATE_NO_SUCH_KEY\""),
            "certificates.api.key",
        ),
        (
            good.clone().with(&format!(
                "[certificates.api]\nchain = \"{client}\"\nkey = \"file:{client_key}\""
            )),
            "listeners.devices.certificates",
        ),
        (
            good.clone()
                .with("[trust.devices]\nroots = [\"garbage.pem\"]"),
            "trust.devices.roots",
        ),
        (
            // A server's certificate is no root.
            good.clone()
                .with("[trust.devices]\nroots = [\"server/cert.pem\"]"),
            "trust.devices.roots",
        ),
        (
            good.clone()
                .with("[trust.devices]\nrevocation = { crls = [\"garbage.pem\"] }"),
            "trust.devices.revocation",
        ),
    ];
    for (configuration, key) in table {
        let file = world.place.write("wrong.toml", configuration.text());
        let ran = check(&file).expect_code(1);
        let named = |line: &&str| {
            line.starts_with("error: ") && line.contains("wrong.toml:") && line.contains(key)
        };
        assert!(
            ran.stderr.lines().any(|line| named(&line)),
            "{key}: {ran:?}"
        );
        assert!(!ran.stderr.contains("PRIVATE KEY"), "{ran:?}");
    }
    let file = world.place.write("good.toml", good.text());
    let ran = check(&file).expect_code(0);
    assert!(ran.stdout.starts_with("ok: "), "{ran:?}");
    assert!(
        ran.stdout.contains("the upstream of a test knows nobody"),
        "each rationale in use is shown: {ran:?}"
    );
    // What is served and helps nobody is told all the same.
    let idle = good.with("[[routes]]\nname = \"all\"\nhosts = [\"elsewhere.test\"]");
    let file = world.place.write("idle.toml", idle.text());
    let ran = check(&file).expect_code(0);
    assert!(
        ran.stderr.starts_with("warning: ") && ran.stderr.contains("elsewhere.test"),
        "{ran:?}"
    );
}

#[test]
fn a_check_touches_no_socket_and_no_log() {
    let world = World::new();
    // Both addresses are taken, and the log is somebody else's.
    let gateway = world.gateway("");
    let records = gateway.records().len();
    check(gateway.file()).expect_code(0);
    assert_eq!(gateway.records().len(), records, "nothing is recorded");
    drop(gateway);
    let quiet = Place::new();
    for port in [LISTEN, ADMIN] {
        std::net::TcpListener::bind(quiet.at(port)).unwrap();
    }
    // A configuration whose log is not there yet is checked without making it.
    let file = world.place.write(
        "new.toml",
        world
            .configuration()
            .with("[audit]\ndirectory = \"new/audit\"")
            .text(),
    );
    check(&file).expect_code(0);
    assert!(!world.place.path("new").exists());
}

#[test]
fn what_is_explained_is_what_happens() {
    let world = World::new();
    let _origin = world.plain_origin();
    let more = "[[routes]]\nname = \"narrow\"\nlisteners = [\"devices\"]\nhosts = [\"api.test\"]\n\
                path = \"/narrow\"\nmethods = [\"GET\"]\nallow = [\"service\"]\nupstream = \"origin\"\n\
                [roles.service]\nclients = [\"urn:example:service\"]\n";
    let gateway = world.gateway(more);
    let explain = |method: &str, url: &str| {
        let listen = world.place.at(LISTEN);
        let url = url.replace("api.test", &format!("api.test:{}", listen.port()));
        let url = url.replace("other.test", &format!("other.test:{}", listen.port()));
        let file = gateway.file();
        Program::ours("gateway")
            .args(["explain", "--client", DEVICE, "--config"])
            .arg(file)
            .args([method, &url])
            .run()
    };
    let permitted = explain("GET", "https://api.test/x").expect_code(0);
    for line in [
        "listener: devices",
        "certificate: api",
        "route: all",
        "upstream: origin",
        "permitted by: pump",
    ] {
        assert!(
            permitted.stdout.lines().any(|known| known == line),
            "{line} in\n{}",
            permitted.stdout
        );
    }
    let table = [
        ("GET", "api.test", "/x"),
        ("TRACE", "api.test", "/x"),
        ("PROPFIND", "api.test", "/x"),
        ("GET", "api.test", "/narrow"),
        ("POST", "api.test", "/narrow/x"),
        ("GET", "other.test", "/x"),
        ("GET", "api.test", "/a%2fb"),
        ("GET", "api.test", "/a//b"),
    ];
    for (method, host, path) in table {
        let ran = explain(method, &format!("https://{host}{path}"));
        let mut line = world.caller().connect().or_fail("connect");
        line.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"
        ))
        .or_fail("ask");
        let answer = line.answer().or_fail("get an answer");
        let what = format!("{method} {host} {path}: {answer:?} {ran:?}");
        if answer.status == 200 {
            assert_eq!(ran.code(), 0, "{what}");
        } else {
            assert_eq!(ran.code(), 1, "{what}");
            let refused = format!("refused: {} {}", answer.status, answer.problem());
            assert!(ran.stdout.contains(&refused), "{refused}: {what}");
        }
    }
    let nobody = Program::ours("gateway")
        .args(["explain", "--config"])
        .arg(gateway.file())
        .args(["GET", &format!("https://api.test:{LISTEN}/x")])
        .run()
        .expect_code(1);
    assert!(nobody.stdout.contains("refused: "), "{nobody:?}");
}

#[test]
fn a_verdict_on_a_log_is_an_exit_code() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    for _ in 0..5 {
        world.is_served();
    }
    let stopped = gateway.stop();
    let good = records::verify(&stopped.audit).expect_code(0);
    assert!(good.stdout.starts_with("good: "), "{good:?}");
    let segment = integration::sources::newest(&stopped.audit, "seg");
    let whole = std::fs::read(&segment).unwrap();
    // Some byte of a record: behind the header of a batch in the middle.
    let mut changed = whole.clone();
    let batches = changed
        .chunks(4096)
        .filter(|block| block.starts_with(b"pbat"));
    let middle = batches.count() / 2;
    changed[middle * 4096 + 300] ^= 1;
    std::fs::write(&segment, &changed).unwrap();
    let tampered = records::verify(&stopped.audit).expect_code(1);
    assert!(
        tampered.stdout.contains("tampered") || tampered.stderr.contains("tampered"),
        "{tampered:?}"
    );
    std::fs::write(&segment, &whole).unwrap();
    records::verify(&stopped.audit).expect_code(0);
    // No log is no good log, and neither is one that cannot be read.
    let empty = world.place.path("empty");
    std::fs::create_dir(&empty).unwrap();
    assert_ne!(records::verify(&empty).code(), 0);
    records::verify(&world.place.path("nowhere")).expect_code(4);
    // Cut exactly behind a batch: only what is signed tells.
    let cut = whole.len() - 4096;
    std::fs::write(&segment, &whole[..cut]).unwrap();
    let shorter = records::verify(&stopped.audit).expect_code(2);
    assert!(shorter.stdout.contains("cut or rolled back"), "{shorter:?}");
    std::fs::write(&segment, &whole).unwrap();
    // Without a key from outside nobody but the log vouches for it.
    let key = world.place.path("log.vkey");
    let aside = world.place.path("kept");
    std::fs::rename(&key, &aside).unwrap();
    records::verify(&stopped.audit).expect_code(3);
    let asserted = Program::ours("audit")
        .arg("verify")
        .arg(&stopped.audit)
        .run()
        .expect_code(0);
    assert!(
        asserted.stdout.contains("\nkey: self-asserted"),
        "{asserted:?}"
    );
    Program::ours("audit")
        .args(["verify", "--strict", "--key"])
        .arg(&aside)
        .arg(&stopped.audit)
        .run()
        .expect_code(0);
}

#[test]
fn a_record_has_the_fields_that_the_documents_name() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let answer = world.caller().ask("GET /x").unwrap();
    let record = gateway.await_record("the release", |record| {
        record.kind() == "release" && record.text("request_id") == answer.id()
    });
    let text = record.to_string();
    for field in [
        "request_id",
        "connection_id",
        "type",
        "time",
        "client",
        "user",
        "method",
        "route",
        "rule",
        "resource",
        "status",
        "bytes",
        "outcome",
        "code",
    ] {
        assert!(text.contains(&format!("\"{field}\":")), "{field} in {text}");
    }
    assert_eq!(record.text("route"), "all");
    assert_eq!(record.text("rule"), "pump");
    assert_eq!(record.number("status"), Some(200));
}

#[test]
fn completions_and_manual_pages_are_made() {
    let place = Place::new();
    for program in ["gateway", "audit", "pki"] {
        for shell in ["bash", "zsh", "fish"] {
            let ran = Program::ours(program).args(["completions", shell]).run();
            assert!(ran.expect_code(0).stdout.len() > 500, "{program} {shell}");
        }
        Program::ours(program)
            .arg("manual")
            .arg(place.directory())
            .run()
            .expect_code(0);
        assert!(place.path(format!("{program}.1")).exists(), "{program}");
    }
    assert!(place.path("gateway-demo.1").exists());
}

#[test]
fn a_reader_that_stops_early_is_no_failure_and_a_full_disk_is_one() {
    let run = |command: &str, binary: &str| {
        Program::of_the_machine("bash")
            .args(["-o", "pipefail", "-c", command, "bash"])
            .arg(integration::program::binary(binary))
            .run()
    };
    let early = run("\"$1\" schema | head -c 10", "gateway").expect_code(0);
    assert_eq!((early.stdout.len(), early.stderr.as_str()), (10, ""));
    let full = run("\"$1\" schema >/dev/full", "gateway").expect_code(1);
    assert!(full.stderr.starts_with("error: "), "{full:?}");
}
