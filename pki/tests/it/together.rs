//! Several processes on one authority.

use std::collections::BTreeSet;

use crate::support::World;

#[test]
fn two_processes_issue_at_once_and_every_certificate_is_known_once() {
    const EACH: usize = 15;
    let world = World::new();
    std::thread::scope(|scope| {
        for process in 0..2 {
            let world = &world;
            scope.spawn(move || {
                for number in 0..EACH {
                    let name = format!("urn:example:{process}-{number}");
                    world.device(&name, &format!("out/{process}-{number}"));
                }
            });
        }
    });
    let list = world.json("list --profile device --status issued --limit 1000");
    assert_eq!(list["total"], 2 * EACH);
    let serials: BTreeSet<&str> = list["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|certificate| certificate["serial"].as_str().unwrap())
        .collect();
    assert_eq!(serials.len(), 2 * EACH);
    for process in 0..2 {
        for number in 0..EACH {
            let shown = world.json(&format!("show --cert out/{process}-{number}/cert.pem"));
            assert_eq!(shown["certificates"][0]["status"], "issued");
        }
    }
}

#[test]
fn two_processes_revoke_at_once_and_the_last_crl_holds_everything() {
    const EACH: usize = 8;
    let world = World::new();
    for process in 0..2 {
        for number in 0..EACH {
            let name = format!("{process}-{number}");
            world.device(&format!("urn:example:{name}"), &format!("out/{name}"));
        }
    }
    std::thread::scope(|scope| {
        for process in 0..2 {
            let world = &world;
            scope.spawn(move || {
                for number in 0..EACH {
                    world
                        .pki(&format!(
                            "revoke --id urn:example:{process}-{number} --reason superseded"
                        ))
                        .must_succeed();
                }
            });
        }
    });
    assert_eq!(world.crl_text().matches("Serial Number").count(), 2 * EACH);
}

#[test]
fn one_directory_gets_one_authority_however_many_try() {
    let world = World::empty();
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| world.run(["init", "--dir", "pki"]).code))
            .collect();
        tries
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(
        codes.iter().filter(|&&code| code == 0).count(),
        1,
        "{codes:?}"
    );
    assert!(
        codes.iter().all(|&code| code == 0 || code == 1),
        "{codes:?}"
    );
    assert_eq!(world.names("."), ["pki"]);
    world.device("urn:example:a", "a");
    world.verify("a/cert.pem").must_succeed();
}
