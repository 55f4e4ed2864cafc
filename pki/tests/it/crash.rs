//! Killed at any moment: no serial twice, no certificate unknown, no half authority, no half CRL.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::World;

/// How long one undisturbed run takes, so that kills fall all over it.
pub(crate) fn duration_of(run: impl FnOnce()) -> Duration {
    let started = Instant::now();
    run();
    started.elapsed()
}

/// Starts the program and kills it with SIGKILL after a part of `whole`.
pub(crate) fn killed_after(world: &World, words: &str, whole: Duration, part: u32, of: u32) {
    let mut child = world
        .command(words.split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // A test may wait; the delay is what is tested.
    #[allow(clippy::disallowed_methods)]
    sleep(whole * part / of);
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn an_issue_that_is_killed_leaves_no_unknown_certificate() {
    const KILLS: u32 = 60;
    let world = World::new();
    let whole = duration_of(|| {
        world.device("urn:example:first", "first");
    });
    for kill in 0..KILLS {
        let words = format!(
            "issue --dir pki --profile device --id urn:example:{kill} --new-key --out out/{kill}"
        );
        killed_after(&world, &words, whole, kill, KILLS);
    }
    world.openssl("version").must_succeed();
    let mut handed_over = 0;
    for kill in 0..KILLS {
        let leaf = format!("out/{kill}/cert.pem");
        if world.path(&leaf).exists() {
            handed_over += 1;
            let shown = world.json(&format!("show --cert {leaf}"));
            assert_eq!(shown["certificates"][0]["status"], "issued");
            // The leaf appears last: with it, everything is there.
            for name in ["chain.pem", "key.pem", "trust.pem"] {
                assert!(world.path(&format!("out/{kill}/{name}")).exists());
            }
        }
    }
    let issued = world.count("--profile device --status issued");
    assert!(issued > handed_over, "the first one is issued, too");
    let in_all = world.count("--profile device");
    let unfinished =
        world.count("--status pending") + world.count("--profile device --status reserved");
    assert_eq!(in_all, issued + unfinished);
    // The authority works on, and what stayed pending can be revoked.
    world.device("urn:example:last", "last");
    world.verify("last/cert.pem").must_succeed();
    let pending = world.json("list --status pending --limit 1000");
    for certificate in pending["certificates"].as_array().unwrap() {
        let serial = certificate["serial"].as_str().unwrap();
        world
            .pki(&format!("revoke --serial {serial} --reason unspecified"))
            .must_succeed();
    }
    assert_eq!(world.count("--status pending"), 0);
}

#[test]
fn an_issue_that_is_killed_can_be_repeated_into_the_same_directory() {
    const KILLS: u32 = 20;
    let world = World::new();
    let whole = duration_of(|| {
        world.device("urn:example:first", "first");
    });
    let words = "issue --dir pki --profile device --id urn:example:a --new-key --out out";
    for kill in 0..KILLS {
        killed_after(&world, words, whole, kill, KILLS);
        if world.path("out/key.pem").exists() {
            break;
        }
    }
    if !world.path("out/key.pem").exists() {
        world.run(words.split_whitespace()).must_succeed();
    }
    // What killed runs had prepared was swept away, secret keys first of all.
    assert!(
        world
            .names("out")
            .iter()
            .filter(|name| name.starts_with(".pki-"))
            .count()
            <= 1,
        "{:?}",
        world.names("out")
    );
}

#[test]
fn an_init_that_is_killed_leaves_no_half_authority() {
    const KILLS: u32 = 25;
    let world = World::empty();
    let whole = duration_of(|| {
        world.run(["init", "--dir", "first"]).must_succeed();
    });
    for kill in 0..KILLS {
        killed_after(&world, "init --dir pki", whole, kill, KILLS);
        if world.path("pki").exists() {
            break;
        }
    }
    if !world.path("pki").exists() {
        world.run(["init", "--dir", "pki"]).must_succeed();
    }
    // Whatever is there under the name is whole.
    world.device("urn:example:a", "a");
    world.verify("a/cert.pem").must_succeed();
    // And the next one sweeps up what the killed ones left.
    world.run(["init", "--dir", "second"]).must_succeed();
    assert_eq!(
        world.names("."),
        ["a", "crls.pem", "first", "pki", "second"]
    );
}

#[test]
fn a_revocation_that_is_killed_is_kept_or_never_was_and_readers_see_whole_crls() {
    const KILLS: u32 = 30;
    let world = World::new();
    for number in 0..KILLS {
        world.device(&format!("urn:example:{number}"), &format!("out/{number}"));
    }
    world.device("urn:example:first", "first");
    let whole = duration_of(|| {
        world
            .pki("revoke --id urn:example:first --reason superseded")
            .must_succeed();
    });
    for kill in 0..KILLS {
        let words = format!("revoke --dir pki --id urn:example:{kill} --reason superseded");
        killed_after(&world, &words, whole, kill, KILLS);
        // Whole and properly signed, whichever one it is.
        world
            .openssl("crl -in pki/crl/issuing.crl -noout -CAfile pki/ca/issuing.pem")
            .must_succeed();
    }
    world.pki("crl").must_succeed();
    let revoked = world.count("--status revoked");
    assert_eq!(
        u64::try_from(world.crl_text().matches("Serial Number").count()).unwrap(),
        revoked
    );
}

#[test]
fn crl_numbers_only_rise_through_kills() {
    const KILLS: u32 = 20;
    let world = World::new();
    let whole = duration_of(|| {
        world.pki("crl").must_succeed();
    });
    let mut last = 0;
    for kill in 0..KILLS {
        killed_after(&world, "crl --dir pki", whole, kill, KILLS);
        let number = world
            .openssl("crl -in pki/crl/issuing.crl -noout -crlnumber")
            .must_succeed();
        let hex = number
            .out
            .trim()
            .trim_start_matches("crlNumber=0x")
            .to_owned();
        let number = u64::from_str_radix(&hex, 16).unwrap();
        assert!(number >= last, "{number} after {last}");
        last = number;
    }
}
