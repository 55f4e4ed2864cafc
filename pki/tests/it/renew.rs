//! `pki renew`: the new pair in place in one step, or the old one as it was.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use pki::{AuthorityName, Ca, EndEntity, KeySource, Name, Order, Plan};

use crate::support::World;

/// Due at once: a thousandth of its life.
const DUE: &str = "--if-needed --at 1/1000 --jitter none";
const FILES: [&str; 4] = ["cert.pem", "chain.pem", "key.pem", "trust.pem"];

/// A world whose authority was made 100 days ago, and a device certificate in `out` that ended
/// `ago` days ago.
fn expired(ago: i64) -> World {
    let world = World::empty();
    let day = |days: i64| SignedDuration::from_hours(24 * days);
    let then = Timestamp::now() - day(100);
    let plan = Plan::new(AuthorityName::parse("Clinic North").unwrap());
    let mut ca = Ca::init(&world.path("pki"), &plan, then).unwrap();
    let name = Name::uri("urn:example:pump-1").unwrap();
    let order = Order {
        profile: EndEntity::Device,
        names: EndEntity::Device.admit(vec![name]).unwrap(),
        key: KeySource::New,
        days: Some(30),
    };
    let issued = Timestamp::now() - day(ago + 30);
    ca.issue(order, &world.path("out"), issued).unwrap();
    world
}

/// Every file of a pair.
fn pair(world: &World, out: &str) -> Vec<String> {
    FILES
        .map(|name| world.read(&format!("{out}/{name}")))
        .into()
}

/// A pair that a server could use: four files, a key that is the certificate's, a whole chain.
#[track_caller]
fn must_be_a_pair(world: &World, out: &str) {
    assert_eq!(world.names(out), FILES);
    let of_key = world
        .openssl(&format!("pkey -in {out}/key.pem -pubout"))
        .must_succeed();
    let of_certificate = world
        .openssl(&format!("x509 -in {out}/cert.pem -noout -pubkey"))
        .must_succeed();
    assert_eq!(of_key.out, of_certificate.out);
    let chain = world.read(&format!("{out}/chain.pem"));
    assert!(chain.starts_with(&world.read(&format!("{out}/cert.pem"))));
    world
        .openssl(&format!(
            "verify -x509_strict -no_check_time -CAfile {out}/trust.pem -untrusted {out}/chain.pem {out}/cert.pem"
        ))
        .must_succeed();
}

/// What names and purposes a certificate has.
fn says(world: &World, certificate: &str) -> String {
    world
        .openssl(&format!(
            "x509 -in {certificate} -noout -subject -ext subjectAltName,extendedKeyUsage"
        ))
        .must_succeed()
        .out
}

#[test]
fn a_renewed_pair_has_a_new_key_the_same_names_and_a_later_end() {
    let world = World::new();
    for (out, words) in [
        (
            "pump",
            "--profile device --id urn:example:pump-1 --hardware-module 1.3.6.1.4.1.99999.7:0a1b --days 30",
        ),
        (
            "api",
            "--profile server --dns api.example --dns b.example --ip 10.0.0.5 --days 30",
        ),
        (
            "nurse",
            "--profile operator --id urn:example:nurse --days 30",
        ),
    ] {
        let old = world.json(&format!("issue {words} --new-key --out {out}"));
        let (old_says, old_key) = (
            says(&world, &format!("{out}/cert.pem")),
            world.read(&format!("{out}/key.pem")),
        );
        // Dates have whole seconds.
        #[allow(clippy::disallowed_methods)]
        sleep(Duration::from_millis(1100));
        let new = world.json(&format!("renew --in {out}"));
        must_be_a_pair(&world, out);
        assert_eq!(says(&world, &format!("{out}/cert.pem")), old_says);
        assert_ne!(world.read(&format!("{out}/key.pem")), old_key);
        assert_eq!(new["renewed"], true);
        assert_eq!(new["old"]["serial"], old["serial"]);
        assert_eq!(new["old"]["revoked"], false);
        let shown = world.json(&format!("show --cert {out}/cert.pem"));
        assert_eq!(shown["certificates"][0]["serial"], new["serial"]);
        assert_eq!(shown["certificates"][0]["key"], "request");
        let end = |json: &serde_json::Value| -> Timestamp {
            json["not_after"].as_str().unwrap().parse().unwrap()
        };
        let longer = end(&old).duration_until(end(&new));
        assert!(
            longer.is_positive() && longer < SignedDuration::from_hours(1),
            "30 days again: {longer}"
        );
        // The old one stays valid: who was interrupted is not locked out.
        let shown = world.json(&format!(
            "show --serial {}",
            old["serial"].as_str().unwrap()
        ));
        assert_eq!(shown["certificates"][0]["status"], "issued");
    }
    // Nothing is left beside them.
    assert_eq!(world.names("."), ["api", "nurse", "pki", "pump"]);
}

#[test]
fn before_it_is_due_nothing_is_done_and_exit_3_says_when_it_will_be() {
    let world = World::new();
    world.device("urn:example:a", "out");
    let before = pair(&world, "out");
    let said = world.pki("renew --in out --if-needed");
    assert_eq!((said.code, said.err.as_str()), (3, ""));
    assert!(said.out.contains("is due at 2"), "{}", said.out);
    let said = world.pki("renew --in out --if-needed --jitter none --json");
    assert_eq!(said.code, 3);
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["renewed"], false);
    let due: Timestamp = json["due"].as_str().unwrap().parse().unwrap();
    let ahead = Timestamp::now().duration_until(due).as_hours();
    // Two thirds of 91 days, of which one is over at the beginning.
    assert!((1431..=1432).contains(&ahead), "{ahead}");
    assert_eq!(pair(&world, "out"), before);
    assert_eq!(world.count("--profile device"), 1);
    // Dates have whole seconds, and a new one ends later.
    #[allow(clippy::disallowed_methods)]
    sleep(Duration::from_millis(1100));
    world.pki(&format!("renew --in out {DUE}")).must_succeed();
    assert_ne!(pair(&world, "out"), before);
}

#[test]
fn a_key_is_kept_if_that_is_asked_for() {
    let world = World::new();
    world.device("urn:example:a", "out");
    let before = pair(&world, "out");
    #[allow(clippy::disallowed_methods)]
    sleep(Duration::from_millis(1100));
    world.pki("renew --in out --same-key").must_succeed();
    must_be_a_pair(&world, "out");
    let after = pair(&world, "out");
    assert_eq!(after[2].trim(), before[2].trim());
    assert_ne!(after[0], before[0]);
}

#[test]
fn modes_and_owners_stay_as_they_were() {
    let world = World::new();
    world.device("urn:example:a", "out");
    let set = |name: &str, mode| {
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    set("out", 0o750);
    set("out/key.pem", 0o400);
    set("out/cert.pem", 0o640);
    #[allow(clippy::disallowed_methods)]
    sleep(Duration::from_millis(1100));
    // Only the superuser can give files away.
    let is_root = fs::metadata(world.path("out")).unwrap().uid() == 0;
    if is_root {
        for name in ["out", "out/key.pem"] {
            std::os::unix::fs::chown(world.path(name), Some(4711), Some(4712)).unwrap();
        }
    }
    world.pki("renew --in out").must_succeed();
    must_be_a_pair(&world, "out");
    let modes =
        ["out", "out/key.pem", "out/cert.pem", "out/trust.pem"].map(|name| world.mode(name));
    assert_eq!(modes, [0o750, 0o400, 0o640, 0o644]);
    if is_root {
        let owners = ["out", "out/key.pem", "out/cert.pem"].map(|name| {
            let metadata = fs::metadata(world.path(name)).unwrap();
            (metadata.uid(), metadata.gid())
        });
        assert_eq!(owners[..2], [(4711, 4712); 2]);
        assert_eq!(owners[2].0, 0);
    }
}

#[test]
fn a_directory_that_holds_anything_else_is_refused_and_nothing_is_lost() {
    let world = World::new();
    world.device("urn:example:a", "out");
    world.write("out/notes", "mine");
    let said = world.pki("renew --in out");
    said.must_refuse(1, "out/notes");
    assert!(said.err.contains("a directory of its own"), "{}", said.err);
    assert_eq!(world.read("out/notes"), "mine");
    fs::remove_file(world.path("out/notes")).unwrap();
    // A link in the place of a file would be replaced by a file.
    fs::rename(world.path("out/trust.pem"), world.path("trust.pem")).unwrap();
    symlink("../trust.pem", world.path("out/trust.pem")).unwrap();
    world.pki("renew --in out").must_refuse(1, "out/trust.pem");
    assert_eq!(world.count("--profile device"), 1);
}

#[test]
fn a_link_to_the_directory_stays_a_link() {
    let world = World::new();
    fs::create_dir(world.path("deep")).unwrap();
    world.device("urn:example:a", "deep/out");
    symlink("deep/out", world.path("link")).unwrap();
    #[allow(clippy::disallowed_methods)]
    sleep(Duration::from_millis(1100));
    world.pki("renew --in link").must_succeed();
    must_be_a_pair(&world, "link");
    assert!(world.path("link").symlink_metadata().unwrap().is_symlink());
    assert_eq!(world.names("deep"), ["out"]);
}

#[test]
fn files_that_do_not_belong_together_are_refused_by_name() {
    let world = World::new();
    world.device("urn:example:a", "out");
    world.device("urn:example:b", "other");
    let before = pair(&world, "out");
    for (file, says) in [
        ("key.pem", "out/key.pem does not belong to"),
        ("chain.pem", "out/chain.pem does not belong to"),
    ] {
        let kept = world.read(&format!("out/{file}"));
        world.write(&format!("out/{file}"), world.read(&format!("other/{file}")));
        world.pki("renew --in out").must_refuse(1, says);
        world.write(&format!("out/{file}"), kept);
    }
    for (file, says) in [
        ("cert.pem", "holds no certificate of a server"),
        ("key.pem", "no PKCS #8 key in PEM"),
        ("trust.pem", "it holds no certificate"),
    ] {
        let kept = world.read(&format!("out/{file}"));
        world.write(&format!("out/{file}"), "garbage");
        world.pki("renew --in out").must_refuse(1, says);
        world.write(&format!("out/{file}"), kept);
    }
    assert_eq!(pair(&world, "out"), before);
    assert_eq!(world.count("--profile device"), 2);
    world
        .pki("renew --in missing")
        .must_refuse(1, "cannot open");
}

#[test]
fn an_answer_of_an_authority_that_is_not_trusted_replaces_nothing() {
    let world = World::new();
    world.device("urn:example:a", "out");
    world.run(["init", "--dir", "elsewhere"]).must_succeed();
    world.write("out/trust.pem", world.read("elsewhere/trust.pem"));
    let before = pair(&world, "out");
    #[allow(clippy::disallowed_methods)]
    sleep(Duration::from_millis(1100));
    world
        .pki("renew --in out")
        .must_refuse(1, "does not lead to a trusted root");
    assert_eq!(pair(&world, "out"), before);
    assert_eq!(world.names("."), ["elsewhere", "out", "pki"]);
    // And one of a foreign authority is not renewed here.
    let said = world.run(["renew", "--in", "out", "--dir", "elsewhere"]);
    said.must_refuse(1, "valid until");
    assert_eq!(pair(&world, "out"), before);
}

#[test]
fn a_revoked_certificate_has_no_successor() {
    let world = World::new();
    let serial = world.device("urn:example:a", "out");
    let before = pair(&world, "out");
    world
        .pki(&format!("revoke --serial {serial} --reason keyCompromise"))
        .must_succeed();
    for same_key in ["", "--same-key"] {
        world
            .pki(&format!("renew --in out {same_key}"))
            .must_refuse(1, "was revoked at");
    }
    assert_eq!(pair(&world, "out"), before);
    assert_eq!(world.count("--profile device"), 1);
}

#[test]
fn an_expired_certificate_is_renewed_within_the_days_of_grace_and_not_later() {
    let world = expired(29);
    world.pki("renew --in out --if-needed").must_succeed();
    must_be_a_pair(&world, "out");
    let world = expired(31);
    let before = pair(&world, "out");
    let said = world.pki("renew --in out --if-needed");
    said.must_refuse(1, "expired too long ago");
    assert!(
        said.err.contains("the old certificate expired at"),
        "{}",
        said.err
    );
    assert_eq!(pair(&world, "out"), before);
    world.pki("renew --in out --grace-days 32").must_succeed();
    must_be_a_pair(&world, "out");
}

#[test]
fn the_old_certificate_is_revoked_if_that_is_asked_for() {
    let world = World::new();
    let serial = world.device("urn:example:a", "out");
    #[allow(clippy::disallowed_methods)]
    sleep(Duration::from_millis(1100));
    let json = world.json("renew --in out --revoke-old");
    assert_eq!(json["old"]["revoked"], true);
    let shown = world.json(&format!("show --serial {serial}"));
    assert_eq!(shown["certificates"][0]["status"], "revoked");
    assert_eq!(shown["certificates"][0]["reason"], "superseded");
    assert_eq!(world.crl_text().matches("Serial Number").count(), 1);
    world.verify("out/cert.pem").must_succeed();
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    let world = World::new();
    world.device("urn:example:a", "out");
    for words in [
        "renew --in out",
        "renew --in out --dir pki --est https://127.0.0.1:1",
        "renew --in out --dir pki --at 1/2",
        "renew --in out --dir pki --if-needed --at 3/2",
        "renew --in out --dir pki --if-needed --jitter some",
        "renew --in out --est https://127.0.0.1:1 --revoke-old",
        "renew --in out --est http://127.0.0.1:1",
        "enrol --est https://127.0.0.1:1 --id urn:example:a --token-from stdin --out new",
        "enrol --est https://127.0.0.1:1 --id urn:example:a --token-from 4711 --trust t --out new",
        "enrol --est https://127.0.0.1:1 --id urn:example:a --token-from stdin --fingerprint 00 --out new",
    ] {
        let said = world.run(words.split_whitespace());
        assert_eq!(said.code, 64, "{words}: {}", said.err);
    }
}

#[test]
fn renewers_at_once_take_turns_and_each_leaves_a_whole_pair() {
    let world = expired(10);
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| world.pki("renew --in out").code))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    // Who comes in the same second as the one before gets nothing that ends later, and refuses it.
    assert!(codes.iter().all(|code| [0, 1].contains(code)), "{codes:?}");
    assert!(codes.contains(&0), "{codes:?}");
    must_be_a_pair(&world, "out");
    assert_eq!(world.names("."), ["out", "pki"]);
}

#[test]
fn of_renewers_at_once_one_renews_and_the_others_find_nothing_to_do() {
    let world = expired(10);
    let words = "renew --in out --if-needed --dir pki";
    let mut codes: Vec<i32> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| world.run(words.split_whitespace()).code))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    codes.sort_unstable();
    assert_eq!(codes, [0, 3, 3, 3]);
    must_be_a_pair(&world, "out");
    assert_eq!(world.count("--profile device"), 2);
}

#[test]
fn an_encrypted_authority_renews_with_its_passphrase_and_not_without() {
    let world = World::empty();
    world.write("passphrase", "six words by chance, and more\n");
    fs::set_permissions(world.path("passphrase"), fs::Permissions::from_mode(0o600)).unwrap();
    world
        .run(["init", "--dir", "pki", "--passphrase", "file:passphrase"])
        .must_succeed();
    world.device("urn:example:a", "out");
    let before = pair(&world, "out");
    #[allow(clippy::disallowed_methods)]
    sleep(Duration::from_millis(1100));
    world
        .pki("renew --in out --passphrase env:NOT_THERE")
        .must_refuse(1, "NOT_THERE");
    assert_eq!(pair(&world, "out"), before);
    // Its settings remember where the passphrase is.
    world.pki("renew --in out").must_succeed();
    must_be_a_pair(&world, "out");
    world
        .run("renew --in out --est https://127.0.0.1:1 --passphrase file:passphrase".split(' '))
        .must_refuse(64, "no passphrase of ours");
}

/// How many kills: more in the long run.
fn kills() -> u32 {
    if std::env::var_os("PHIGATE_LONG").is_some() {
        200
    } else {
        20
    }
}

#[test]
fn a_renewal_that_is_killed_leaves_a_usable_pair() {
    let world = expired(10);
    // The same old pair each time, below a directory of its own.
    let put_old = || {
        let _ = fs::remove_dir_all(world.path("site/pair"));
        fs::create_dir_all(world.path("site/pair")).unwrap();
        for name in FILES {
            let from = world.path("out").join(name);
            fs::copy(from, world.path("site/pair").join(name)).unwrap();
        }
    };
    put_old();
    let started = Instant::now();
    world.pki("renew --in site/pair").must_succeed();
    let whole = started.elapsed();
    let (mut kept, mut renewed) = (0, 0);
    for kill in 0..kills() {
        put_old();
        let mut child = world
            .command(["renew", "--dir", "pki", "--in", "site/pair"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A test may wait; the delay is what is tested.
        #[allow(clippy::disallowed_methods)]
        sleep(whole * kill / kills());
        let _ = child.kill();
        child.wait().unwrap();
        must_be_a_pair(&world, "site/pair");
        if pair(&world, "site/pair") == pair(&world, "out") {
            kept += 1;
        } else {
            renewed += 1;
        }
    }
    assert!(
        kept > 0,
        "killed before it began: {kept} kept, {renewed} renewed"
    );
    put_old();
    // The next one sweeps up what the killed ones left, secret keys and all.
    world.pki("renew --in site/pair").must_succeed();
    must_be_a_pair(&world, "site/pair");
    assert_eq!(world.names("site"), ["pair"]);
    // Each certificate that came to be is known, whether anybody holds it or not.
    let shown = world.json("show --cert site/pair/cert.pem");
    assert_eq!(shown["certificates"][0]["status"], "issued");
}

#[test]
fn who_opens_the_directory_once_reads_two_halves_of_one_pair() {
    let world = World::new();
    world.device("urn:example:a", "out");
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            use std::os::fd::AsRawFd as _;
            let mut pairs = std::collections::BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                let directory = fs::File::open(world.path("out")).unwrap();
                let inside = format!("/proc/self/fd/{}", directory.as_raw_fd());
                let read = |name: &str| fs::read_to_string(Path::new(&inside).join(name)).ok();
                // A directory that was exchanged is destroyed: then it is opened again.
                if let (Some(certificate), Some(key)) = (read("cert.pem"), read("key.pem")) {
                    pairs.insert((certificate, key));
                }
            }
            pairs
        });
        for _ in 0..4 {
            #[allow(clippy::disallowed_methods)]
            sleep(Duration::from_millis(1100));
            world.pki("renew --in out").must_succeed();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    // As many certificates as keys: none was seen with two.
    let certificates: std::collections::BTreeSet<_> = seen.iter().map(|(one, _)| one).collect();
    let keys: std::collections::BTreeSet<_> = seen.iter().map(|(_, other)| other).collect();
    assert!(seen.len() >= 2, "the reader saw {} pairs", seen.len());
    assert_eq!((certificates.len(), keys.len()), (seen.len(), seen.len()));
}
