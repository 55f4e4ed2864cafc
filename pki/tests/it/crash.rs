//! Killed at any moment: no serial twice, no certificate unknown, no half authority, no half CRL.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use audit::verify::Verdict;

use crate::log::{agree, logged, serials, verdict};
use crate::support::{Said, World, not_run};

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

/// How far an issue came, by what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// 1: nothing is known of it.
    Validated,
    /// 2: its serial is taken.
    Reserved,
    /// 3: it was built and linted.
    Pending,
    /// 4 and 5: it is on record that it will be signed.
    Recorded,
    /// 6, the first half: it is in the inventory.
    Stored,
    /// 6, the second half: it is on record that it was signed.
    Issued,
    /// 7: its holder can have it.
    HandedOver,
}

/// How far the issue for `name` into `out` came.
fn step(world: &World, name: &str, out: &str) -> Step {
    let shown = world.pki(&format!("show --id {name} --json"));
    if shown.code != 0 {
        return Step::Validated;
    }
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    let certificate = &shown["certificates"][0];
    let serial = certificate["serial"].as_str().unwrap();
    let entries = logged(world);
    let is_on_record = |kind| serials(&entries, kind).contains(serial);
    match certificate["status"].as_str().unwrap() {
        "reserved" => Step::Reserved,
        "pending" if is_on_record("certificate_intended") => Step::Recorded,
        "pending" => Step::Pending,
        _ if world.path(&format!("{out}/cert.pem")).exists() => Step::HandedOver,
        _ if is_on_record("certificate_issued") => Step::Issued,
        _ => Step::Stored,
    }
}

/// What changes a file or makes it durable. With `--long` what changes a directory too.
pub(crate) fn calls() -> &'static [&'static str] {
    const LASTING: &[&str] = &[
        "pwrite64",
        "fsync",
        "renameat2",
        "rename",
        "write",
        "ftruncate",
        "mkdir",
        "unlinkat",
        "unlink",
    ];
    if std::env::var_os("PHIGATE_LONG").is_some() {
        LASTING
    } else {
        &LASTING[..4]
    }
}

/// Whether [`killed_at`] works here; says why not.
pub(crate) fn can_trace() -> bool {
    let probe = Command::new("strace")
        .args([
            "-o",
            "/dev/null",
            "-e",
            "inject=fsync:signal=KILL:when=1",
            "true",
        ])
        .output();
    let can = probe.is_ok_and(|probe| probe.status.success());
    if !can {
        not_run("this user may not trace a process like that");
    }
    can
}

/// How often each step is killed.
pub(crate) fn each_step() -> u32 {
    if std::env::var_os("PHIGATE_LONG").is_some() {
        200
    } else {
        20
    }
}

/// Runs the program until its `nth` call of this name, which it does not live to make.
pub(crate) fn killed_at(world: &World, call: &str, nth: u32, words: &str) -> Said {
    let output = Command::new("strace")
        .current_dir(world.root())
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("trace={call}"))
        .arg("-e")
        .arg(format!("inject={call}:signal=KILL:when={nth}"))
        .arg(env!("CARGO_BIN_EXE_pki"))
        .args(words.split_whitespace())
        .output()
        .expect("strace must be installed");
    Said::from(output)
}

#[test]
fn killed_before_any_call_that_lasts_each_step_is_met_and_inventory_and_log_agree() {
    if !can_trace() {
        return;
    }
    let world = World::new();
    let mut numbered = 0..;
    let mut kill = |call: &str, nth: u32| {
        let number = numbered.next().unwrap();
        let (name, out) = (format!("urn:example:{number}"), format!("out/{number}"));
        let words = format!("issue --dir pki --profile device --id {name} --new-key --out {out}");
        let said = killed_at(&world, call, nth, &words);
        let step = step(&world, &name, &out);
        assert!(said.code != 0 || step == Step::HandedOver, "{call} {nth}");
        (step, said.code == 0)
    };
    // How often each step was met, and which call of which name it was.
    let mut met: BTreeMap<Step, (u32, &str, u32)> = BTreeMap::new();
    for call in calls() {
        for nth in 1.. {
            let (step, is_done) = kill(call, nth);
            met.entry(step).or_insert((0, call, nth)).0 += 1;
            // What has not been put on record can never have been signed.
            agree(&world);
            if is_done {
                break;
            }
            assert!(nth < 1000, "{call} without end");
        }
    }
    for step in [
        Step::Validated,
        Step::Reserved,
        Step::Pending,
        Step::Recorded,
        Step::Stored,
        Step::Issued,
        Step::HandedOver,
    ] {
        let Some(&(mut times, call, mut nth)) = met.get(&step) else {
            panic!("{step:?} is not among {met:?}");
        };
        let mut tries = 0;
        while times < each_step() {
            // The inventory grows, and with it the number of calls before a step.
            match kill(call, nth).0.cmp(&step) {
                Ordering::Less => nth += 1,
                Ordering::Equal => times += 1,
                Ordering::Greater => nth = nth.saturating_sub(1).max(1),
            }
            tries += 1;
            assert!(tries < 5 * each_step(), "{step:?} at {call} {nth}: {times}");
        }
    }
    agree(&world);
    let entries = logged(&world);
    let intended = entries
        .iter()
        .filter(|entry| entry["type"] == "certificate_intended");
    let distinct = serials(&entries, "certificate_intended").len();
    assert_eq!(intended.count(), distinct, "a serial was used twice");
    assert_eq!(verdict(&world), Verdict::Good);
    // What may have been signed and what was only built: nobody answers for either.
    world.pki("recover --revoke").must_succeed();
    assert_eq!(world.count("--status pending"), 0);
    world.device("urn:example:last", "last");
    world.verify("last/cert.pem").must_succeed();
    assert_eq!(verdict(&world), Verdict::Good);
}
