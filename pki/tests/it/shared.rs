//! One inventory on a PostgreSQL server, shared by issuers and by authorities.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::postgres::{PASSWORD, Postgres};
use crate::support::World;

impl World {
    /// A directory with nothing but the connection string in `connection`, which only its owner reads.
    fn connected(connection: &str) -> Self {
        let world = Self::empty();
        world.write("connection", connection);
        let only_owner = fs::Permissions::from_mode(0o600);
        fs::set_permissions(world.path("connection"), only_owner).unwrap();
        world
    }

    /// `--postgres` and where the connection string is.
    fn postgres(&self) -> [String; 2] {
        let path = self.path("connection");
        ["--postgres".to_owned(), format!("file:{}", path.display())]
    }

    fn init_on_server(&self, directory: &str) {
        let [flag, source] = self.postgres();
        self.run(["init", "--dir", directory, &flag, &source])
            .must_succeed();
    }

    fn issue_in(&self, directory: &str, name: &str) -> i32 {
        self.run([
            "issue",
            "--dir",
            directory,
            "--profile",
            "device",
            "--id",
            &format!("urn:example:{name}"),
            "--new-key",
            "--out",
            &format!("out/{name}"),
        ])
        .code
    }
}

/// The serials of all devices that an authority lists.
fn serials(world: &World, directory: &str) -> Vec<String> {
    let said = world
        .run([
            "list",
            "--dir",
            directory,
            "--profile",
            "device",
            "--limit",
            "10000",
            "--json",
        ])
        .must_succeed();
    let list: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let serials: Vec<String> = list["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|certificate| certificate["serial"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(list["total"], serials.len());
    serials
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

#[test]
fn two_authorities_on_one_server_have_one_root_that_is_elsewhere() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let world = World::connected(&server.socket(&server.database()));
    world
        .run(["init", "--root-only", "--dir", "root"])
        .must_succeed();
    let [flag, source] = world.postgres();
    for directory in ["pki", "second"] {
        let out = format!("{directory}.csr");
        let answer = format!("{directory}.pem");
        let request = [
            "ceremony", "request", "--dir", directory, "--out", &out, "--json",
        ];
        let said = world
            .run([&request[..], &[&flag, &source]].concat())
            .must_succeed();
        let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let digest = told["request_sha256"].as_str().unwrap();
        let sign = [
            "ceremony",
            "sign",
            "--dir",
            "root",
            "--request",
            &out,
            "--out",
            &answer,
        ];
        let confirm = ["--request-sha256", digest, "--json"];
        let said = world.run([&sign[..], &confirm].concat()).must_succeed();
        let signed: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let root = signed["root_sha256"].as_str().unwrap();
        let import = ["ceremony", "import", "--dir", directory, "--in", &answer];
        for _ in 0..2 {
            world
                .run([&import[..], &["--root-sha256", root]].concat())
                .must_succeed();
        }
        assert_eq!(world.issue_in(directory, directory), 0);
    }
    world.verify("out/pki/cert.pem").must_succeed();
    assert_eq!(serials(&world, "pki").len(), 1);
    // The root's list that one imports is known to both, and each needs the file.
    world
        .run([
            "revoke",
            "--dir",
            "root",
            "--cert",
            "second/ca/issuing.pem",
            "--reason",
            "superseded",
        ])
        .must_succeed();
    for directory in ["pki", "second"] {
        let import = [
            "ceremony",
            "import",
            "--dir",
            directory,
            "--in",
            "root/crl/root.crl",
        ];
        world.run(import).must_succeed();
    }
    assert_eq!(world.issue_in("pki", "more"), 0);
    assert_eq!(world.issue_in("second", "none"), 1);
}

#[test]
fn two_issuers_with_the_same_keys_share_one_inventory() {
    const EACH: usize = 8;
    let Some(server) = Postgres::shared() else {
        return;
    };
    let world = World::connected(&server.socket(&server.database()));
    world.init_on_server("pki");
    assert!(!world.path("pki/ca/inventory.db").exists());
    // The second one stands elsewhere, with the same keys.
    copy(&world.path("pki"), &world.path("second"));
    std::thread::scope(|scope| {
        for directory in ["pki", "second"] {
            let world = &world;
            scope.spawn(move || {
                for number in 0..EACH {
                    assert_eq!(
                        world.issue_in(directory, &format!("{directory}-{number}")),
                        0
                    );
                }
            });
        }
    });
    let listed = serials(&world, "pki");
    assert_eq!(listed, serials(&world, "second"));
    assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), 2 * EACH);
    world.verify("out/second-0/cert.pem").must_succeed();

    // What one revokes is on the next CRL of the other.
    world
        .pki("revoke --id urn:example:second-0 --reason keyCompromise")
        .must_succeed();
    world.run(["crl", "--dir", "second"]).must_succeed();
    let crl = world
        .openssl("crl -in second/crl/issuing.crl -noout -text")
        .must_succeed();
    assert_eq!(crl.out.matches("Serial Number").count(), 1);
}

#[test]
fn two_authorities_on_one_server_see_their_own_alone() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let world = World::connected(&server.socket(&server.database()));
    world.init_on_server("pki");
    world.init_on_server("other");
    assert_eq!(world.issue_in("pki", "a"), 0);
    assert_eq!(world.issue_in("other", "b"), 0);
    assert_eq!(serials(&world, "pki").len(), 1);
    assert_eq!(serials(&world, "other").len(), 1);
    world
        .pki("revoke --id urn:example:b --reason superseded")
        .must_refuse(1, "");
    assert_eq!(world.count("--id urn:example:b"), 0);
}

#[test]
fn the_way_to_a_server_is_encrypted_and_its_password_is_never_shown() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let world = World::connected(&server.tls(&server.database()));
    let [flag, source] = world.postgres();
    let plain = world.run(["init", "--dir", "pki", &flag, &source]);
    plain.must_refuse(1, "no roots are named");
    // Somebody else's root.
    world
        .openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout other.key \
             -out other.pem -days 2 -subj /CN=other",
        )
        .must_succeed();
    let trusting = |roots: &str| {
        world.run([
            "init",
            "--dir",
            "pki",
            &flag,
            &source,
            "--postgres-trust",
            roots,
        ])
    };
    trusting("other.pem").must_refuse(1, "cannot be reached");
    assert!(!world.path("pki").exists());
    fs::copy(server.roots(), world.path("roots.pem")).unwrap();
    let mut said = vec![trusting("roots.pem").must_succeed()];
    let encrypted = "SELECT count(*) FROM pg_stat_ssl WHERE ssl AND pid <> pg_backend_pid()";
    let watching = Arc::new(AtomicBool::new(true));
    let seen = std::thread::scope(|scope| {
        let (server, flag) = (&server, watching.clone());
        let watcher = scope.spawn(move || {
            let mut seen = false;
            while flag.load(Ordering::Relaxed) {
                seen |= server.sql("postgres", encrypted) != "0";
            }
            seen
        });
        for number in 0..5 {
            assert_eq!(world.issue_in("pki", &number.to_string()), 0);
        }
        watching.store(false, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    assert!(seen, "a session over TLS");
    said.push(world.pki("list --json").must_succeed());
    // A password that is wrong, in a string that is then not shown either.
    let wrong = server
        .tls("postgres")
        .replace(PASSWORD, "wrong-wrong-wrong");
    world.write("connection", wrong);
    let refused = world.pki("list");
    refused.must_refuse(1, "password authentication failed");
    said.push(refused);
    for said in said {
        for text in [&said.out, &said.err] {
            assert!(
                !text.contains(PASSWORD) && !text.contains("wrong-wrong"),
                "{text}"
            );
        }
    }
    assert!(!world.read("pki/ca/authority.toml").contains(PASSWORD));
}

#[test]
fn a_server_that_is_gone_or_would_lose_commits_issues_nothing() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let world = World::connected(&server.socket(&server.database()));
    world.init_on_server("pki");
    server.kill();
    let said = world.run(
        "issue --dir pki --profile device --id urn:example:a --new-key --out out/a"
            .split_whitespace(),
    );
    said.must_refuse(1, "cannot be reached");
    assert!(!world.path("out/a/cert.pem").exists());
    for setting in ["fsync", "full_page_writes"] {
        server.up(&[&format!("{setting}=off")]);
        world
            .pki("list")
            .must_refuse(1, &format!("{setting} = off"));
        server.kill();
    }
    server.up(&[]);
    assert_eq!(world.issue_in("pki", "a"), 0);
}

#[test]
fn what_was_issued_before_the_server_was_killed_is_known_after() {
    let kills = if std::env::var_os("PHIGATE_LONG").is_some() {
        20
    } else {
        3
    };
    let Some(server) = Postgres::start() else {
        return;
    };
    let world = World::connected(&server.socket(&server.database()));
    world.init_on_server("pki");
    let (stop, issued) = (&AtomicBool::new(false), &AtomicU32::new(0));
    let handed_over: Vec<String> = std::thread::scope(|scope| {
        let issuers: Vec<_> = (0..2)
            .map(|issuer| {
                let world = &world;
                scope.spawn(move || {
                    let mut names = Vec::new();
                    for number in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let name = format!("{issuer}-{number}");
                        if world.issue_in("pki", &name) == 0 {
                            issued.fetch_add(1, Ordering::Relaxed);
                            names.push(name);
                        }
                    }
                    names
                })
            })
            .collect();
        for _ in 0..kills {
            let before = issued.load(Ordering::Relaxed);
            while issued.load(Ordering::Relaxed) < before + 4 {
                pause();
            }
            server.kill();
            server.up(&[]);
        }
        stop.store(true, Ordering::Relaxed);
        issuers
            .into_iter()
            .flat_map(|issuer| issuer.join().unwrap())
            .collect()
    });
    assert!(!handed_over.is_empty());
    for name in &handed_over {
        let shown = world.json(&format!("show --cert out/{name}/cert.pem"));
        assert_eq!(shown["certificates"][0]["status"], "issued", "{name}");
    }
    // And none that nobody knows: a file appears only for what is known as issued.
    for entry in fs::read_dir(world.path("out")).unwrap() {
        let leaf = entry.unwrap().path().join("cert.pem");
        if leaf.exists() {
            let said = world.pki(&format!("show --cert {}", leaf.display()));
            said.must_succeed();
        }
    }
    let listed = serials(&world, "pki");
    assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), listed.len());
}

#[test]
fn an_init_that_is_killed_is_not_in_the_way_of_the_next() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let world = World::connected(&server.socket(&server.database()));
    let [flag, source] = world.postgres();
    for part in 0..8 {
        let mut child = world
            .command(["init", "--dir", "pki", &flag, &source])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..part {
            pause();
        }
        let _ = child.kill();
        child.wait().unwrap();
        if world.path("pki").exists() {
            break;
        }
    }
    if !world.path("pki").exists() {
        world.init_on_server("pki");
    }
    assert_eq!(world.issue_in("pki", "a"), 0);
    assert_eq!(serials(&world, "pki").len(), 1);
    // Nothing pending or reserved is left over that this authority would see.
    assert_eq!(world.count(""), 3);
}

/// A test may wait; that is what is tested.
#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}
