//! Every verb is on record, and nothing is signed that is not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use audit::public_key;
use audit::read::{Reader, Step, entries};
use audit::show::Line;
use audit::verify::{Asked, Verdict, verify_watched};
use serde_json::Value;

use crate::crash::{duration_of, each_step, killed_after};
use crate::support::World;

/// The entries of the log of `pki/`.
pub(crate) fn logged(world: &World) -> Vec<Value> {
    logged_in(world, "pki")
}

/// Every entry of the log of an authority, in its order, as `audit show --json` prints it.
pub(crate) fn logged_in(world: &World, directory: &str) -> Vec<Value> {
    let mut reader = Reader::new(&world.path(directory).join("audit"));
    let mut all = Vec::new();
    loop {
        match reader.step().unwrap() {
            Step::Segment(_) => {}
            Step::Batch {
                sequence, records, ..
            } => all.extend(entries(sequence, &records).map(|(sequence, bytes)| {
                let entry = audit::entry::decode(bytes).unwrap();
                serde_json::to_value(Line::new(Some(sequence), &entry)).unwrap()
            })),
            Step::End => return all,
            Step::Fault(fault) => panic!("{fault}"),
        }
    }
}

fn kinds(entries: &[Value]) -> Vec<&str> {
    let kind = |entry: &Value| entry["type"].as_str().map(str::to_owned);
    assert!(entries.iter().all(|entry| kind(entry).is_some()));
    entries
        .iter()
        .map(|entry| entry["type"].as_str().unwrap())
        .collect()
}

/// Serials of the entries of one kind.
pub(crate) fn serials(entries: &[Value], kind: &str) -> BTreeSet<String> {
    let of_kind = entries.iter().filter(|entry| entry["type"] == kind);
    of_kind
        .map(|entry| entry["serial"].as_str().unwrap().to_owned())
        .collect()
}

/// What `audit verify --strict` says of the log in `pki/`.
pub(crate) fn verdict(world: &World) -> Verdict {
    let directory = world.path("pki/audit");
    let key = public_key::read(&public_key::beside(&directory)).unwrap();
    let asked = Asked {
        key: Some(&key),
        strict: true,
        ..Asked::default()
    };
    let report = verify_watched(&directory, &asked, &mut |_, _| ()).unwrap();
    report.verdict()
}

/// The inventory's serials in this state, of the devices.
fn inventory(world: &World, status: &str) -> BTreeSet<String> {
    let words = format!("list --profile device --limit 1000 {status}");
    let list = world.json(&words);
    assert_eq!(list["next"], Value::Null);
    let certificates = list["certificates"].as_array().unwrap();
    certificates
        .iter()
        .map(|certificate| certificate["serial"].as_str().unwrap().to_owned())
        .collect()
}

/// What the authority knows and what its log knows do not contradict each other.
#[track_caller]
pub(crate) fn agree(world: &World) {
    let entries = logged(world);
    let intended = serials(&entries, "certificate_intended");
    let known = inventory(world, "");
    let devices = entries
        .iter()
        .filter(|entry| entry["profile"] == "device" && entry["type"] != "token");
    for entry in devices {
        let serial = entry["serial"].as_str().unwrap();
        assert!(known.contains(serial), "{serial} is in no inventory");
    }
    for status in ["--status issued", "--status revoked"] {
        let missing: Vec<_> = inventory(world, status)
            .difference(&intended)
            .cloned()
            .collect();
        assert!(missing.is_empty(), "not on record: {missing:?}");
    }
    let issued = serials(&entries, "certificate_issued");
    assert!(issued.is_subset(&intended));
}

/// Every verb that works on an authority, how it is run, and the entries that it leaves. One that is not
/// here makes the test fail.
#[rustfmt::skip]
const VERBS: &[(&str, &str, &[&str])] = &[
    ("init", "", &[
        "signing_key", "authority",
        "authority", "certificate_intended", "certificate_issued",
        "authority", "certificate_intended", "certificate_issued",
        "crl", "crl", "crl", "crl", "verb",
    ]),
    ("issue", "--profile device --id urn:example:pump-1 --new-key --out pump",
        &["certificate_intended", "certificate_issued", "verb"]),
    ("list", "", &["verb"]),
    ("show", "--id urn:example:pump-1", &["verb"]),
    ("crl", "", &["crl", "crl", "crl", "crl", "verb"]),
    ("revoke", "--id urn:example:pump-1 --reason superseded",
        &["certificate_revoked", "crl", "crl", "verb"]),
    ("token make", "--profile device --id urn:example:pump-2", &["token", "verb"]),
    ("token list", "", &["verb"]),
    ("token cancel", "--place 1", &["token", "verb"]),
    ("bulk", "--profile device --table rows.csv --out bulk",
        &["certificate_intended", "certificate_issued", "verb"]),
    ("doctor", "", &["verb"]),
    ("recover", "", &["verb"]),
    ("passphrase", "--new file:secret", &["authority", "authority", "verb"]),
    ("renew", "--in bulk/next", &["certificate_intended", "certificate_issued", "verb"]),
    ("backup", "--to copy", &["authority", "verb"]),
];

/// What works on no authority, on one elsewhere, or on two (`ceremony.rs` looks at that one), or does not end
/// by itself.
const OTHERS: [&str; 6] = [
    "completions",
    "manual",
    "enrol",
    "restore",
    "serve",
    "ceremony",
];

#[test]
fn every_verb_leaves_its_entries_and_the_last_says_how_it_ended() {
    let world = World::empty();
    world.write("rows.csv", "id,out\nurn:example:pump-3,next\n");
    world.secret("secret", "a long passphrase");
    let mut seen = 0;
    for (verb, words, expected) in VERBS {
        if *verb == "renew" {
            // What ends no later than the old one is no renewal, and ends are whole seconds.
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(std::time::Duration::from_millis(1100));
        }
        world.pki(&format!("{verb} {words}")).must_succeed();
        let entries = logged(&world);
        assert_eq!(&kinds(&entries[seen..]), expected, "{verb}");
        seen = entries.len();
        let last = entries.last().unwrap();
        assert_eq!(last["verb"], *verb);
        assert_eq!(
            (&last["code"], &last["outcome"]),
            (&Value::Null, &"complete".into())
        );
        let uid = rustix::process::getuid().as_raw();
        assert_eq!(last["by"]["uid"], uid);
    }
    assert_eq!(verdict(&world), Verdict::Good);
    agree(&world);

    let help = world.run(["--help"]).must_succeed().out;
    let commands = help.split_once("Commands:").unwrap().1;
    let commands = commands.split_once("\n\n").unwrap().0;
    let offered: BTreeSet<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let verbs = VERBS.iter().filter_map(|(verb, ..)| verb.split(' ').next());
    let known = verbs.chain(OTHERS);
    assert_eq!(
        offered,
        known.collect(),
        "a verb whose entries nobody looked at"
    );
}

#[test]
fn what_was_issued_is_on_record_with_who_asked_and_what_exactly_was_signed() {
    let world = World::new();
    let serial = world.device("urn:example:pump-1", "pump");
    let entries = logged(&world);
    let find = |kind: &str| {
        let mut of_kind = entries.iter().filter(|entry| entry["type"] == kind);
        let found = of_kind.find(|entry| entry["serial"] == serial.as_str());
        found.unwrap().clone()
    };
    let intended = find("certificate_intended");
    assert_eq!(intended["profile"], "device");
    assert_eq!(intended["names"], serde_json::json!(["urn:example:pump-1"]));
    assert_eq!(intended["key_origin"], "new");
    let shown = world.json(&format!("show --serial {serial}"));
    let fingerprint = &shown["certificates"][0]["sha256"];
    assert_eq!(&find("certificate_issued")["sha256"], fingerprint);
    // By openssl: what is signed, and the key that it certifies.
    world
        .openssl("x509 -in pump/cert.pem -noout -pubkey -out pump/public.pem")
        .must_succeed();
    world
        .openssl("pkey -pubin -in pump/public.pem -outform DER -out pump/public.der")
        .must_succeed();
    let digest = world
        .openssl("dgst -sha256 -r pump/public.der")
        .must_succeed();
    assert!(
        digest
            .out
            .starts_with(intended["public_key"].as_str().unwrap())
    );
    let tbs = world
        .openssl("asn1parse -in pump/cert.pem -strparse 4 -noout -out pump/tbs.der")
        .must_succeed();
    assert_eq!(tbs.err, "");
    let digest = world.openssl("dgst -sha256 -r pump/tbs.der").must_succeed();
    assert!(digest.out.starts_with(intended["tbs"].as_str().unwrap()));
}

#[test]
fn what_is_refused_is_on_record_with_its_code_and_what_was_asked_for() {
    let world = World::new();
    let before = logged(&world).len();
    world.write("bad.csr", "no request");
    let issue = "issue --profile device --id urn:example:pump-1 --out pump --csr bad.csr";
    world.pki(issue).must_refuse(1, "");
    world
        .pki("revoke --serial 0abc --reason superseded")
        .must_refuse(1, "no such");
    world.pki("crl --days 366").must_refuse(64, "days");
    let entries = logged(&world).split_off(before);
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry["type"].as_str().unwrap(),
                entry["code"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("request_refused", "request_malformed"),
            ("verb", "request_malformed"),
            ("verb", "not_found"),
            ("verb", "crl_days"),
        ]
    );
    assert_eq!(
        entries[0]["names"],
        serde_json::json!(["urn:example:pump-1"])
    );
    assert_eq!(entries[0]["profile"], "device");
}

#[test]
fn the_program_audit_finds_the_log_good_and_a_changed_or_cut_one_not() {
    let audit = Path::new(env!("CARGO_BIN_EXE_pki")).with_file_name("audit");
    if !audit.exists() {
        println!("skipped: the program `audit` is not built");
        return;
    }
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    world.pki("list").must_succeed();
    let verify = || {
        let verify = Command::new(&audit)
            .args(["verify", "--strict"])
            .arg(world.path("pki/audit"))
            .output()
            .unwrap();
        verify.status.code()
    };
    assert_eq!(verify(), Some(0));
    let segment = world.path("pki/audit/wal/0000000000000001.seg");
    let whole = fs::read(&segment).unwrap();
    // The last batch is one that could have been torn; but it is signed, so it is missed.
    for (at, code) in [(5000, 1), (whole.len() / 2, 1), (whole.len() - 4000, 2)] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&segment, changed).unwrap();
        assert_eq!(verify(), Some(code), "changed at {at}");
    }
    fs::write(&segment, &whole[..whole.len() - 4096]).unwrap();
    assert_eq!(verify(), Some(2), "cut");
    // And such a log takes no entry, so nothing is signed.
    let issue = "issue --profile device --id urn:example:a --new-key --out a";
    world.pki(issue).must_refuse(1, "the audit log: ");
    assert!(!world.path("a/cert.pem").exists());
    fs::write(&segment, whole).unwrap();
    assert_eq!(verify(), Some(0));
    world.pki(issue).must_succeed();
}

#[test]
fn without_its_log_an_authority_signs_nothing_and_can_still_be_read() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    let before = world.crl_text();
    fs::rename(world.path("pki/audit"), world.path("aside")).unwrap();
    for words in [
        "issue --profile device --id urn:example:a --new-key --out a",
        "revoke --id urn:example:pump-1 --reason superseded",
        "crl",
    ] {
        world.pki(words).must_refuse(1, "the audit log: ");
    }
    assert_eq!(world.crl_text(), before);
    assert!(!world.path("a/cert.pem").exists());
    for words in ["list", "show --id urn:example:pump-1"] {
        let said = world.pki(words).must_succeed();
        assert!(said.out.contains("urn:example:pump-1"));
        assert!(said.err.starts_with("warning: that `pki "), "{}", said.err);
        assert!(said.err.contains("\nhint: "), "{}", said.err);
    }
    // No other log took its place.
    assert!(world.names("pki/audit/wal").is_empty());
    fs::remove_dir_all(world.path("pki/audit")).unwrap();
    fs::rename(world.path("aside"), world.path("pki/audit")).unwrap();
    world.pki("crl").must_succeed();
    assert_eq!(inventory(&world, "--status issued").len(), 1);
    assert_eq!(verdict(&world), Verdict::Good);
}

#[test]
fn who_finds_the_log_in_use_waits_and_is_refused_in_the_end() {
    let world = World::new();
    let lock = fs::File::options()
        .write(true)
        .open(world.path("pki/audit/LOCK"))
        .unwrap();
    lock.lock().unwrap();
    let issue = "issue --profile device --id urn:example:a --new-key --out a";
    world
        .pki(issue)
        .must_refuse(1, "others have been writing to it for 10 seconds");
    assert!(!world.path("a/cert.pem").exists());
    drop(lock);
    world.pki(issue).must_succeed();
}

#[test]
fn many_runs_are_few_files_and_several_at_once_lose_nothing() {
    const EACH: usize = 12;
    let world = World::new();
    std::thread::scope(|scope| {
        for process in 0..4 {
            let world = &world;
            scope.spawn(move || {
                for number in 0..EACH {
                    let name = format!("urn:example:{process}-{number}");
                    world.device(&name, &format!("out/{process}-{number}"));
                }
            });
        }
    });
    let entries = logged(&world);
    let verbs = entries.iter().filter(|entry| entry["verb"] == "issue");
    assert_eq!(verbs.count(), 4 * EACH);
    assert_eq!(world.names("pki/audit/wal"), ["0000000000000001.seg"]);
    assert_eq!(verdict(&world), Verdict::Good);
    agree(&world);
}

#[test]
fn killed_at_any_of_the_seven_steps_no_certificate_is_missing_in_the_log_or_the_inventory() {
    let world = World::new();
    let whole = duration_of(|| {
        world.device("urn:example:first", "first");
    });
    let kills = 7 * each_step();
    for kill in 0..kills {
        let words = format!(
            "issue --dir pki --profile device --id urn:example:{kill} --new-key --out out/{kill}"
        );
        killed_after(&world, &words, whole, kill, kills);
    }
    // Whatever was handed over, though nobody lived to say so.
    let intended = serials(&logged(&world), "certificate_intended");
    for kill in 0..kills {
        let leaf = format!("out/{kill}/cert.pem");
        if world.path(&leaf).exists() {
            let shown = world.json(&format!("show --cert {leaf}"));
            let serial = shown["certificates"][0]["serial"].as_str().unwrap();
            assert!(intended.contains(serial), "{serial} is not on record");
        }
    }
    agree(&world);
    world.device("urn:example:last", "last");
    assert_eq!(verdict(&world), Verdict::Good);
    agree(&world);
}

#[test]
fn a_revocation_and_a_crl_that_are_killed_leave_a_log_that_goes_on() {
    const KILLS: u32 = 20;
    let world = World::new();
    for number in 0..KILLS {
        world.device(&format!("urn:example:{number}"), &format!("out/{number}"));
    }
    let whole = duration_of(|| {
        world.pki("crl").must_succeed();
    });
    for kill in 0..KILLS {
        let words = format!("revoke --dir pki --id urn:example:{kill} --reason superseded");
        killed_after(&world, &words, whole, kill, KILLS);
    }
    world.pki("crl").must_succeed();
    assert_eq!(verdict(&world), Verdict::Good);
    let entries = logged(&world);
    let told = serials(&entries, "certificate_revoked");
    assert!(inventory(&world, "--status revoked").is_subset(&told));
    // Of each published list, its signature was on record first.
    let mut intended = BTreeSet::new();
    for crl in entries.iter().filter(|entry| entry["type"] == "crl") {
        let tbs = crl["tbs"].as_str().unwrap();
        if crl["published"] == true {
            assert!(intended.contains(tbs));
        } else {
            intended.insert(tbs);
        }
    }
}

/// A file system of a few MiB in memory, for as long as a test needs it.
struct Memory(PathBuf);

impl Memory {
    /// `None` where this user may not mount.
    fn mount(path: PathBuf, size: &str) -> Option<Self> {
        let size = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "phigate-test"])
            .arg(&path)
            .output();
        let is_mounted = mount.is_ok_and(|mount| mount.status.success());
        is_mounted.then_some(Self(path))
    }

    /// Leaves `blocks` of 4 KiB.
    fn fill_but(&self, blocks: u64) {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        let taken = (stat.f_bavail * stat.f_frsize).saturating_sub(blocks * 4096);
        let zeros = vec![0; usize::try_from(taken).unwrap()];
        fs::write(self.0.join("filler"), zeros).unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_disk_that_is_full_at_any_step_leaves_nothing_signed_that_is_not_on_record() {
    let world = World::empty();
    fs::create_dir(world.path("pki")).unwrap();
    let Some(disk) = Memory::mount(world.path("pki"), "24m") else {
        println!("skipped: mounting a small file system takes root");
        return;
    };
    // An authority takes the place of an empty directory; here, of one on the file system.
    world.run(["init", "--dir", "pki/authority"]).must_succeed();
    let pki = |words: &str| {
        let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
        let words = rest.split_whitespace();
        world.run([verb, "--dir", "pki/authority"].into_iter().chain(words))
    };
    let (mut refused, mut done) = (0, 0);
    for blocks in 0..60 {
        disk.fill_but(blocks);
        let issue = format!(
            "issue --profile device --id urn:example:{blocks} --new-key --out out/{blocks}"
        );
        let said = pki(&issue);
        match said.code {
            0 => done += 1,
            1 => {
                refused += 1;
                assert!(said.err.starts_with("error: "), "{}", said.err);
                assert!(!world.path(&format!("out/{blocks}/cert.pem")).exists());
            }
            code => panic!("{code}: {}", said.err),
        }
        disk.empty();
    }
    assert!(refused > 0 && done > 0, "{refused} refused, {done} done");
    pki("issue --profile device --id urn:example:last --new-key --out last").must_succeed();
    // The same questions as of any other authority.
    fs::create_dir(world.path("copy")).unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(world.path("pki/authority/."))
        .arg(world.path("copy"))
        .status();
    assert!(copied.unwrap().success());
    drop(disk);
    fs::remove_dir(world.path("pki")).unwrap();
    fs::rename(world.path("copy"), world.path("pki")).unwrap();
    agree(&world);
    assert_eq!(verdict(&world), Verdict::Good);
}
