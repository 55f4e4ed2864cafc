//! How long records are kept: classes with keys of their own, holds on a live log, backups aside.

use std::path::Path;

use integration::gateway::Gateway;
use integration::records::{self, Records, audit};
use integration::wait::OrFail;
use integration::world::World;

/// A second route, of another class.
const STUDIES: &str = r#"
[audit.classes.research]
keep_years = 15
[[routes]]
name = "studies"
listeners = ["devices"]
hosts = ["api.test"]
path = "/studies"
methods = ["GET"]
allow = ["pump"]
upstream = "origin"
class = "research"
"#;

/// The folder of the keys of a class in the month that it is.
fn keys(directory: &Path, class: &str) -> std::path::PathBuf {
    let mut months = std::fs::read_dir(directory.join("keys")).or_fail("list the months");
    let month = months
        .next()
        .or_fail("find a month")
        .or_fail("read its name");
    month.path().join(class)
}

#[test]
fn records_of_a_route_end_with_the_keys_of_its_class() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = Gateway::start(&world.place, &world.configuration().with(STUDIES));
    let caller = world.caller();
    for path in ["GET /fhir/Patient/1", "GET /studies/1"] {
        caller.ask(path).or_fail("get an answer");
    }
    let stopped = gateway.stop();
    records::verify(&stopped.audit).expect_code(0);
    let routes = || {
        let shown = audit(
            "show",
            &stopped.audit,
            &["--json", "--type", "release", "--unrecorded"],
        );
        let records = Records::parse(&shown.stdout);
        let releases = records.of_kind("release").into_iter();
        let routes: Vec<_> = releases
            .filter_map(|record| record.field("route").as_str().map(str::to_owned))
            .collect();
        (shown.code(), routes)
    };
    let (_, both) = routes();
    assert!(
        both.iter().any(|route| route == "studies") && both.len() == 2,
        "{both:?}"
    );
    std::fs::remove_dir_all(keys(&stopped.audit, "research")).or_fail("remove keys");
    let (_, left) = routes();
    assert!(
        left.iter().all(|route| route != "studies") && left.len() == 1,
        "{left:?}"
    );
    // Without a word of it in the log that is an attack.
    records::verify(&stopped.audit).expect_code(1);
}

#[test]
fn a_route_changes_its_class_with_a_reload_and_periods_need_a_restart() {
    let world = World::new();
    let _origin = world.plain_origin();
    let configuration = world.configuration().with(STUDIES);
    let gateway = Gateway::start(&world.place, &configuration);
    let moved = STUDIES.replace("class = \"research\"\n", "");
    assert!(gateway.reload_with(&world.configuration().with(&moved)));
    world
        .caller()
        .ask("GET /studies/1")
        .or_fail("get an answer");
    let longer = STUDIES.replace("= 15", "= 16");
    assert!(!gateway.reload_with(&world.configuration().with(&longer)));
    let stopped = gateway.stop();
    std::fs::remove_dir_all(keys(&stopped.audit, "research")).or_fail("remove keys");
    let shown = audit(
        "show",
        &stopped.audit,
        &["--json", "--type", "release", "--unrecorded"],
    );
    assert!(
        shown.stdout.contains("\"route\":\"studies\""),
        "{}",
        shown.stdout
    );
}

#[test]
fn holds_on_a_live_log_are_recorded_by_the_gateway_and_nothing_young_is_destroyed() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = Gateway::start(&world.place, &world.configuration().with(STUDIES));
    let log = gateway.audit();
    let hold = ["--name", "case-17", "--reason", "a subpoena"];
    audit("hold", log, &hold).expect_code(0);
    let kept = audit("keep", log, &[]).expect_code(0).stdout;
    for said in [
        "/research 1 key held by case-17",
        "/standard 1 key held by case-17",
        "research 15 years",
        "standard 6 years",
    ] {
        assert!(kept.contains(said), "{said}: {kept}");
    }
    let nothing = audit("destroy", log, &["--due", "--reason", "schedule"]).expect_code(0);
    assert_eq!(nothing.stdout, "nothing is due\n");
    audit(
        "hold",
        log,
        &["--name", "case-17", "--release", "--reason", "over"],
    )
    .expect_code(0);
    let folder = keys(log, "standard");
    let month = folder
        .parent()
        .and_then(Path::file_name)
        .or_fail("find the month");
    let epoch = format!("{}/standard", month.display());
    let early = audit("destroy", log, &["--epoch", &epoch, "--reason", "now"]).expect_code(1);
    assert!(
        early.stderr.contains("it is to be kept until"),
        "{}",
        early.stderr
    );
    assert_eq!(
        std::fs::read_dir(&folder).or_fail("list the keys").count(),
        1
    );
    let records = gateway.records();
    let holds = records.of_kind("hold");
    let placed: Vec<_> = holds
        .iter()
        .map(|hold| hold.field("placed").as_bool())
        .collect();
    assert_eq!(placed, [Some(true), Some(false)]);
    assert_eq!(holds[0].field("by")["served"], true);
    assert_eq!(
        holds[0].field("by")["uid"],
        rustix::process::getuid().as_raw()
    );
    assert_eq!(records.of_kind("destruction").len(), 0);
    gateway.verify();
}
