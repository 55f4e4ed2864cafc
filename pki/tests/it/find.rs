//! `pki list` and `pki show`: the inventory, counted exactly.

use crate::support::World;

#[test]
fn a_list_counts_exactly_and_pages_without_gaps() {
    let world = World::new();
    for number in 0..7 {
        world.device(
            &format!("urn:example:pump-{number}"),
            &format!("out{number}"),
        );
    }
    let mut ids = Vec::new();
    let mut after = String::new();
    loop {
        let page = world.json(&format!("list --profile device --limit 3 {after}"));
        assert_eq!(page["total"], 7);
        for certificate in page["certificates"].as_array().unwrap() {
            ids.push(certificate["id"].as_str().unwrap().to_owned());
        }
        match page["next"].as_i64() {
            Some(next) => after = format!("--after {next}"),
            None => break,
        }
    }
    let all: Vec<String> = (0..7).map(|n| format!("urn:example:pump-{n}")).collect();
    assert_eq!(ids, all);
    let said = world.pki("list --profile device --limit 3").must_succeed();
    assert!(
        said.out.contains("3 of 7; go on with --after"),
        "{}",
        said.out
    );
}

#[test]
fn each_filter_filters() {
    let world = World::new();
    world.device("urn:example:pump-1", "a");
    world.device("urn:example:monitor-1", "b");
    world
        .pki("issue --profile server --dns api.clinic.example --new-key --out c --days 10")
        .must_succeed();
    world
        .pki("revoke --id urn:example:monitor-1 --reason superseded")
        .must_succeed();
    for (filter, count) in [
        ("", 5),
        ("--status issued", 4),
        ("--status revoked", 1),
        ("--status pending", 0),
        ("--status expired", 0),
        ("--profile device", 2),
        ("--profile server --status issued", 1),
        ("--profile root", 1),
        ("--id pump", 1),
        ("--id urn:example:*", 2),
        ("--id example", 3),
        ("--id example:*", 0),
        ("--expires-within 11d", 1),
        ("--expires-within 13w", 2),
        ("--expires-within 9d", 0),
    ] {
        assert_eq!(world.count(filter), count, "{filter}");
    }
}

#[test]
fn what_is_typed_wrong_is_wrong_usage() {
    let world = World::new();
    for words in [
        "list --status gone",
        "list --limit 0",
        "list --limit 10001",
        "list --after -1",
        "list --expires-within 30",
        "list --profile pump",
        "show",
        "show --serial 12xy",
        "show --serial 12 --id x",
    ] {
        world.pki(words).must_refuse(64, "");
    }
}

#[test]
fn show_tells_everything_of_a_certificate() {
    let world = World::new();
    let serial = world.device("urn:example:pump-1", "pump");
    world
        .pki("revoke --id urn:example:pump-1 --reason keyCompromise")
        .must_succeed();
    for which in [
        format!("--serial {}", serial.to_uppercase()),
        "--id urn:example:pump-1".to_owned(),
        "--cert pump/cert.pem".to_owned(),
    ] {
        let json = world.json(&format!("show {which}"));
        let shown = &json["certificates"][0];
        assert_eq!(shown["serial"], serial.as_str());
        assert_eq!(shown["reason"], "keyCompromise");
        assert_eq!(shown["issuer"], "issuing");
        assert_eq!(shown["expired"], false);
        assert_eq!(shown["pem"], world.read("pump/cert.pem").as_str());
        for time in ["not_before", "not_after", "issued_at", "revoked_at"] {
            let text = shown[time].as_str().unwrap();
            assert!(text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok());
        }
    }
    let human = world.pki(&format!("show --serial {serial}")).must_succeed();
    assert!(human.out.contains("revoked"), "{}", human.out);
    let pem = world
        .pki(&format!("show --serial {serial} --pem"))
        .must_succeed();
    assert_eq!(pem.out, world.read("pump/cert.pem"));
}

#[test]
fn what_is_not_there_is_not_found() {
    let world = World::new();
    world
        .pki("show --id urn:example:nobody")
        .must_refuse(1, "no such");
    world.pki("show --serial 01").must_refuse(1, "no such");
    let other = World::new();
    other.device("urn:example:a", "a");
    world.write("foreign.pem", other.read("a/cert.pem"));
    world
        .pki("show --cert foreign.pem")
        .must_refuse(1, "not one of this authority");
    world
        .run(["list", "--dir", "nowhere"])
        .must_refuse(1, "no authority in nowhere");
}

#[test]
fn a_certificate_that_was_never_stored_is_shown_but_has_no_pem() {
    let world = World::new();
    let serial = world.device("urn:example:a", "a");
    // What a kill between steps 3 and 6 leaves. The inventory itself lets no state go back.
    let inventory = rusqlite::Connection::open(world.path("pki/ca/inventory.db")).unwrap();
    let back = "UPDATE certificates SET status = 'pending', der = NULL WHERE serial = ?1";
    assert!(inventory.execute(back, [&serial]).is_err());
    inventory
        .execute("DROP TRIGGER states_go_forward", [])
        .unwrap();
    assert_eq!(inventory.execute(back, [&serial]).unwrap(), 1);
    drop(inventory);
    let shown = world.json(&format!("show --serial {serial}"));
    assert_eq!(shown["certificates"][0]["status"], "pending");
    assert_eq!(shown["certificates"][0]["pem"], serde_json::Value::Null);
    world
        .pki(&format!("show --serial {serial} --pem"))
        .must_refuse(1, "was not stored");
    let said = world.pki("list --status pending").must_succeed();
    assert!(said.out.contains(&serial), "{}", said.out);
}
