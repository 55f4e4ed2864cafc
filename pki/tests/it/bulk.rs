//! `pki bulk`: many certificates, row by row, ended and begun again.

use std::fmt::Write as _;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use crate::support::World;

/// A table of `many` pumps, each with a new key.
fn table(many: u32) -> String {
    let mut table = "id\n".to_owned();
    for number in 0..many {
        let _ = writeln!(table, "urn:example:pump-{number}");
    }
    table
}

/// Makes a request for `name` with openssl.
fn request(world: &World, file: &str, name: &str) {
    world
        .openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {file}.key -out {file} \
             -subj / -addext subjectAltName=URI:{name}"
        ))
        .must_succeed();
}

#[test]
fn a_table_becomes_a_directory_for_each_row_and_a_journal() {
    let world = World::new();
    world.write(
        "pumps.csv",
        "id,hardware,days,out\nurn:example:a,1.3.6.1.4.1.99999.7:0a,30,first\nurn:example:b,,,\n",
    );
    let totals = world.json("bulk --profile device --table pumps.csv --out pumps");
    assert_eq!(
        (&totals["issued"], &totals["failed"]),
        (&2.into(), &0.into())
    );
    for out in ["pumps/first", "pumps/urn-example-b"] {
        world.verify(&format!("{out}/cert.pem")).must_succeed();
        assert_eq!(world.mode(&format!("{out}/key.pem")), 0o600);
    }
    let journal = world.read("pumps/journal.jsonl");
    assert_eq!(journal.lines().count(), 2);
    assert!(
        journal
            .lines()
            .all(|line| line.contains("\"outcome\":\"issued\"")),
        "{journal}"
    );
    assert_eq!(world.mode("pumps/journal.jsonl"), 0o600);
}

#[test]
fn a_row_that_fails_stops_no_other_and_is_named() {
    let world = World::new();
    world.write(
        "pumps.csv",
        "id,days\nurn:example:a,\nnonsense,\nurn:example:b,4000\nurn:example:c,\n",
    );
    let said = world.pki("bulk --profile device --table pumps.csv --out pumps");
    assert_eq!(said.code, 1);
    assert!(said.out.contains("issued    2\n"), "{}", said.out);
    assert!(
        said.err.contains("line 3: ") && said.err.contains("line 4: "),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("error: 2 rows failed\nhint: "),
        "{}",
        said.err
    );
    // Mended and run again, the others are not issued twice.
    world.write(
        "pumps.csv",
        "id,days\nurn:example:a,\nurn:example:d,\nurn:example:b,40\nurn:example:c,\n",
    );
    let totals = world.json("bulk --profile device --table pumps.csv --out pumps");
    assert_eq!(
        (&totals["issued"], &totals["already"]),
        (&2.into(), &2.into())
    );
    assert_eq!(world.count("--profile device"), 4);
}

#[test]
fn requests_in_a_directory_name_themselves_as_far_as_is_allowed() {
    let world = World::new();
    std::fs::create_dir(world.path("csr")).unwrap();
    request(&world, "csr/a.csr", "urn:example:pump-1");
    request(&world, "csr/b.csr", "urn:example:gateway");
    world.write("csr/c.csr", "garbage");
    for key in ["csr/a.csr.key", "csr/b.csr.key"] {
        std::fs::remove_file(world.path(key)).unwrap();
    }
    let words = "bulk --profile device --requests csr --allow urn:example:pump-* --out out";
    let said = world.pki(words);
    assert_eq!(said.code, 1);
    assert!(
        said.err
            .contains("b.csr: the request asks for no name, or for one that is not allowed")
    );
    assert!(said.err.contains("c.csr: "), "{}", said.err);
    assert_eq!(world.names("out"), ["a", "journal.jsonl"]);
    assert_eq!(world.names("out/a"), ["cert.pem", "chain.pem", "trust.pem"]);
    // The files are lost: they are handed over again, and nothing is issued.
    std::fs::remove_dir_all(world.path("out/a")).unwrap();
    world.pki(words);
    assert_eq!(world.count("--profile device"), 1);
    world.verify("out/a/cert.pem").must_succeed();
}

#[test]
fn a_run_that_is_killed_goes_on_where_it_was() {
    let rows: u64 = if std::env::var_os("PHIGATE_LONG").is_some() {
        400
    } else {
        60
    };
    let world = World::new();
    std::fs::create_dir(world.path("csr")).unwrap();
    let mut pumps = "id,csr\n".to_owned();
    for number in 0..rows {
        let name = format!("urn:example:pump-{number}");
        request(&world, &format!("csr/{number}.csr"), &name);
        let _ = writeln!(pumps, "{name},csr/{number}.csr");
    }
    world.write("pumps.csv", pumps);
    let words = "bulk --dir pki --profile device --table pumps.csv --out pumps --json";
    for kill in 1..=10_u64 {
        let mut child = world
            .command(words.split_whitespace())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A test may wait; the delay is what is tested.
        #[allow(clippy::disallowed_methods)]
        sleep(Duration::from_millis(17 * kill));
        let _ = child.kill();
        child.wait().unwrap();
    }
    world.run(words.split_whitespace()).must_succeed();
    let totals = world.json("bulk --profile device --table pumps.csv --out pumps");
    assert_eq!(totals["already"], rows);
    // One request got one certificate, though a run may have died between its signature and its files.
    assert_eq!(world.count("--profile device --status issued"), rows);
    let unfinished = world.count("--profile device") - rows;
    let known = world.count("--status pending") + world.count("--status reserved");
    assert_eq!(unfinished, known);
}

#[test]
fn what_would_fail_in_every_row_ends_the_run() {
    let world = World::new();
    world.write("pumps.csv", table(5));
    std::fs::remove_file(world.path("pki/ca/issuing.key.pem")).unwrap();
    let said = world.pki("bulk --profile device --table pumps.csv --out pumps");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("issuing.key.pem"), "{}", said.err);
    world.write("other.csv", "name\nurn:example:a\n");
    world
        .pki("bulk --profile device --table other.csv --out pumps")
        .must_refuse(1, "columns");
}
