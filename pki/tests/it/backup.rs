//! `pki backup` and `pki restore`: whole or not at all, verified before it takes a name.

use crate::support::World;

#[test]
fn a_backup_comes_back_and_goes_on() {
    let world = World::new();
    world.device("urn:example:pump-1", "pump");
    world
        .pki("backup --to copy")
        .must_refuse(1, "is not encrypted");
    assert!(!world.path("copy").exists());
    world
        .pki("backup --to copy --with-plain-keys")
        .must_succeed();
    assert_eq!(world.mode("copy"), 0o700);
    world
        .run(["restore", "--from", "copy", "--verify"])
        .must_succeed();
    let before = number(&world);
    std::fs::remove_dir_all(world.path("pki")).unwrap();
    world
        .run(["restore", "--from", "copy", "--dir", "pki"])
        .must_succeed();
    world.pki("crl").must_succeed();
    assert!(number(&world) > before + 1000, "no list goes back");
    world.verify("pump/cert.pem").must_succeed();
    world.device("urn:example:pump-2", "next");
    world.verify("next/cert.pem").must_succeed();
    let said = world.pki("doctor");
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert_eq!(world.count("--profile device"), 2);
}

/// The number of the issuing CRL.
fn number(world: &World) -> u64 {
    let said = world
        .openssl("crl -in pki/crl/issuing.crl -noout -crlnumber")
        .must_succeed();
    let hex = said.out.trim().trim_start_matches("crlNumber=0x");
    u64::from_str_radix(hex, 16).unwrap()
}

#[test]
fn a_backup_that_was_changed_cut_or_added_to_is_found_and_does_not_come_back() {
    for spoil in ["changed", "cut", "added", "without manifest"] {
        let world = World::new();
        world
            .pki("backup --to copy --with-plain-keys")
            .must_succeed();
        let certificate = world.path("copy/ca/issuing.pem");
        match spoil {
            "changed" => {
                let text = world.read("copy/ca/issuing.pem") + "\n";
                std::fs::write(certificate, text).unwrap();
            }
            "cut" => std::fs::remove_file(certificate).unwrap(),
            "added" => world.write("copy/ca/extra", "x"),
            _ => std::fs::remove_file(world.path("copy/manifest.json")).unwrap(),
        }
        for words in [["--verify", "--json"], ["--dir", "again"]] {
            let args = ["restore", "--from", "copy"].into_iter().chain(words);
            let said = world.run(args);
            assert_eq!(said.code, 1, "{spoil}: {}{}", said.out, said.err);
        }
        assert!(!world.path("again").exists(), "{spoil}");
    }
}

#[test]
fn tokens_do_not_come_back_and_verifiers_read_what_does() {
    let world = World::new();
    world
        .pki("token make --profile device --id urn:example:pump-1")
        .must_succeed();
    world.pki("backup --to copy --without-keys").must_succeed();
    world
        .run(["restore", "--from", "copy", "--dir", "again"])
        .must_succeed();
    let listed = world
        .run(["token", "list", "--dir", "again", "--json"])
        .must_succeed();
    assert!(listed.out.contains("\"cancelled\""), "{}", listed.out);
    assert_eq!(world.mode("again/trust.pem"), 0o644);
    assert_eq!(world.mode("again/crl"), 0o755);
    assert_eq!(world.mode("again/ca"), 0o700);
}

#[test]
fn a_backup_without_keys_has_none() {
    let world = World::new();
    world.pki("backup --to copy --without-keys").must_succeed();
    let names = world.names("copy/ca");
    assert!(
        !names.iter().any(|name| name.contains(".key.pem")),
        "{names:?}"
    );
    world
        .run(["restore", "--from", "copy", "--dir", "again"])
        .must_succeed();
    world.run(["list", "--dir", "again"]).must_succeed();
}

#[test]
fn nothing_is_overwritten() {
    let world = World::new();
    world.pki("backup --to copy --without-keys").must_succeed();
    world
        .pki("backup --to copy --without-keys")
        .must_refuse(1, "");
    world
        .run(["restore", "--from", "copy", "--dir", "pki"])
        .must_refuse(1, "");
}
