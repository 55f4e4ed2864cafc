//! A backup of a gateway that runs holds what it should, whatever ends the copying; and a log that was
//! restored from one goes on where nobody remembers more.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use integration::disk::Disk;
use integration::gateway::Gateway;
use integration::program::{self, Program, Ran};
use integration::records::Records;
use integration::wait::{self, OrFail};
use integration::world::World;

use crate::witness::{Watched, await_witness};

fn back_up(world: &World, from: &Path, to: &Path) -> Program {
    Program::ours("audit")
        .arg("backup")
        .arg(from)
        .arg("--to")
        .arg(to)
        .arg("--key")
        .arg(world.place.path("log.vkey"))
        .arg("--json")
}

fn drill(world: &World, backup: &Path) -> Ran {
    Program::ours("audit")
        .arg("restore")
        .arg(backup)
        .args(["--verify", "--json", "--key"])
        .arg(world.place.path("log.vkey"))
        .arg("--reader")
        .arg(world.place.path("reader.key"))
        .run()
}

fn restore(world: &World, backup: &Path, to: &Path) -> Ran {
    Program::ours("audit")
        .arg("restore")
        .arg(backup)
        .arg("--to")
        .arg(to)
        .args(["--reason", "disk replaced", "--key"])
        .arg(world.place.path("log.vkey"))
        .run()
}

/// A number of the object that was printed.
#[track_caller]
fn number(ran: &Ran, field: &str) -> u64 {
    let lines = Records::parse(&ran.stdout);
    let line = lines.iter().next().or_fail("read what was printed");
    line.number(field).or_fail(field)
}

#[test]
fn a_backup_under_load_holds_every_answer_that_left_before_its_checkpoint() {
    let world = World::new();
    let _origin = world.plain_origin();
    let gateway = world.gateway("");
    let backup = world.place.path("backup");
    let seen: Mutex<HashSet<String>> = Mutex::default();
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !ends.load(Ordering::SeqCst) {
                    let answer = world.caller().ask("GET /x").or_fail("get an answer");
                    seen.lock().unwrap().insert(answer.id().to_owned());
                }
            });
        }
        let mut before = 0;
        for round in 0..4 {
            wait::until("more answers", || {
                (seen.lock().unwrap().len() > 50 * (round + 1)).then_some(())
            });
            let left = seen.lock().unwrap().clone();
            let entries = gateway.metric("phigate_audit_entries");
            wait::until("a checkpoint behind them", || {
                (gateway.metric("phigate_audit_signed_entries") >= entries).then_some(())
            });
            let made = back_up(&world, gateway.audit(), &backup)
                .run()
                .expect_code(0);
            assert!(number(&made, "entries") > before, "{made:?}");
            before = number(&made, "entries");
            drill(&world, &backup).expect_code(0);
            let records = Records::of(&backup);
            let held: HashSet<&str> = records
                .of_kind("release")
                .into_iter()
                .map(|record| record.text("request_id"))
                .collect();
            let missing: Vec<_> = left
                .iter()
                .filter(|id| !held.contains(id.as_str()))
                .collect();
            assert!(missing.is_empty(), "{round}: {missing:?}");
        }
        ends.store(true, Ordering::SeqCst);
    });
    let records = gateway.records();
    let acts = records.of_kind("backup");
    assert_eq!(acts.len(), 4, "each is on record");
    let by = acts[0].field("by");
    assert_eq!(by["served"], true);
    assert_eq!(by["uid"], rustix::process::getuid().as_raw());
    gateway.verify();
}

/// Two backups of one log: an older and a newer one.
struct Pair {
    world: World,
    old: PathBuf,
    new: PathBuf,
    /// Where the older one is brought up to date.
    place: PathBuf,
}

impl Pair {
    #[track_caller]
    fn make() -> Pair {
        let world = World::new();
        let _origin = world.plain_origin();
        let (old, new) = (world.place.path("old"), world.place.path("new"));
        for backup in [&old, &new] {
            let gateway = world.gateway("");
            for _ in 0..150 {
                world.is_served();
            }
            let log = gateway.stop().audit;
            back_up(&world, &log, backup).run().expect_code(0);
        }
        // Two more segments and tiles.
        let place = world.place.path("place");
        Pair {
            world,
            old,
            new,
            place,
        }
    }

    /// Puts the older one into the place.
    #[track_caller]
    fn reset(&self) {
        let _ = std::fs::remove_dir_all(&self.place);
        Program::of_the_machine("cp")
            .args(["-a", "--"])
            .arg(&self.old)
            .arg(&self.place)
            .run()
            .expect_code(0);
    }

    /// Brings it up to date from the newer one, under a tracer that does this to system calls.
    fn update(&self, trace: &[&str]) -> Ran {
        Program::of_the_machine("strace")
            .args(["-f", "-q"])
            .args(trace)
            .arg(program::binary("audit"))
            .arg("backup")
            .arg(&self.new)
            .arg("--to")
            .arg(&self.place)
            .arg("--key")
            .arg(self.world.place.path("log.vkey"))
            .run()
    }

    /// Whether the place holds the same as a backup.
    fn is(&self, backup: &Path) -> bool {
        Program::of_the_machine("diff")
            .arg("-r")
            .arg(backup)
            .arg(&self.place)
            .run()
            .code()
            == 0
    }

    /// The place holds one of the two, and the next attempt finishes it.
    #[track_caller]
    fn is_whole(&self, what: &str) {
        assert!(self.is(&self.old) || self.is(&self.new), "{what}");
        drill(&self.world, &self.place).expect_code(0);
        self.goes_on(what);
    }

    #[track_caller]
    fn goes_on(&self, what: &str) {
        back_up(&self.world, &self.new, &self.place)
            .run()
            .expect_code(0);
        assert!(self.is(&self.new), "{what}");
        assert!(!self.aside().exists(), "{what}");
    }

    fn aside(&self) -> PathBuf {
        self.world.place.path("place.aside")
    }
}

/// What changes a directory or makes it durable.
const CALLS: &str = "mkdir,openat,linkat,copy_file_range,fsync,renameat,renameat2,unlinkat,rmdir";

/// The calls of an undisturbed run, by name, with how often each comes.
#[track_caller]
fn calls(pair: &Pair) -> Option<Vec<(String, usize)>> {
    let may_trace = program::is_installed("strace")
        && Program::of_the_machine("strace")
            .args(["-o", "/dev/null", "true"])
            .run()
            .code()
            == 0;
    if !may_trace {
        wait::cannot_run("backup", "this user may not trace a process");
        return None;
    }
    pair.reset();
    let trace = pair.world.place.path("trace");
    let filter = format!("trace={CALLS}");
    let words = ["-o", trace.to_str().or_fail("be UTF-8"), "-e", &filter];
    pair.update(&words).expect_code(0);
    let text = std::fs::read_to_string(&trace).or_fail("read the trace");
    let count = |name: &str| {
        let call = format!(" {name}(");
        let times = text.lines().filter(|line| line.contains(&call)).count();
        (name.to_owned(), times)
    };
    let counted: Vec<_> = CALLS.split(',').map(count).collect();
    assert!(
        counted.iter().all(|(_, times)| *times > 0),
        "all of them are made: {counted:?}"
    );
    Some(counted)
}

/// Some of the numbers up to `times`: the first ones, the last ones, and between.
fn some(times: usize) -> Vec<usize> {
    let most = if wait::long() { 200 } else { 5 };
    if times <= most {
        return (1..=times).collect();
    }
    (0..most)
        .map(|at| 1 + at * (times - 1) / (most - 1))
        .collect()
}

#[test]
fn a_backup_that_is_killed_at_any_step_is_the_old_one_or_the_new_one() {
    let pair = Pair::make();
    let Some(calls) = calls(&pair) else { return };
    for (name, times) in calls {
        for when in some(times) {
            pair.reset();
            let what = format!("{name} {when} of {times}");
            let inject = format!("inject={name}:signal=SIGKILL:when={when}");
            let trace = format!("trace={name}");
            let ran = pair.update(&["-o", "/dev/null", "-e", &trace, "-e", &inject]);
            assert_ne!(ran.code(), 0, "{what}: {ran:?}");
            pair.is_whole(&what);
        }
    }
}

#[test]
fn a_backup_on_a_full_or_broken_disk_is_the_old_one_or_the_new_one_and_nothing_is_left() {
    let pair = Pair::make();
    let Some(calls) = calls(&pair) else { return };
    // Before anything of ours is opened, the program and its libraries are.
    let calls = calls.into_iter().filter(|(name, _)| name != "openat");
    for ((name, times), error) in calls.zip(["ENOSPC", "EIO"].into_iter().cycle()) {
        for when in some(times) {
            pair.reset();
            let what = format!("{name} {when} of {times}: {error}");
            let inject = format!("inject={name}:error={error}:when={when}");
            let trace = format!("trace={name}");
            let ran = pair.update(&["-o", "/dev/null", "-e", &trace, "-e", &inject]);
            assert!(ran.code() == 4 || ran.code() == 0, "{what}: {ran:?}");
            if pair.is(&pair.old) {
                assert_eq!(ran.code(), 4, "{what}");
            }
            pair.is_whole(&what);
        }
    }
}

#[test]
fn where_a_file_system_knows_neither_links_nor_exchange_backups_are_copied_and_put_in_two_steps() {
    let pair = Pair::make();
    if calls(&pair).is_none() {
        return;
    }
    pair.reset();
    let inject = [
        "-o",
        "/dev/null",
        "-e",
        "trace=linkat,renameat2",
        "-e",
        "inject=linkat:error=EPERM",
        "-e",
        "inject=renameat2:error=EINVAL",
    ];
    pair.update(&inject).expect_code(0);
    assert!(pair.is(&pair.new) && !pair.aside().exists());
    // Ended between the two steps: the next attempt puts back what was there.
    for when in 1..=3 {
        pair.reset();
        let kill = format!("inject=renameat:signal=SIGKILL:when={when}");
        let with = [
            "-o",
            "/dev/null",
            "-e",
            "trace=renameat,renameat2",
            "-e",
            "inject=renameat2:error=EINVAL",
            "-e",
            &kill,
        ];
        pair.update(&with);
        assert_eq!(pair.place.exists(), when < 3, "{when}");
        pair.goes_on(&format!("{when}"));
    }
}

#[test]
fn a_place_without_room_is_told_before_anything_is_copied() {
    let pair = Pair::make();
    let world = &pair.world;
    let Some(disk) = Disk::mount(&world.place, "disk", "256k") else {
        return wait::cannot_run(
            "backup::a_place_without_room",
            "mounting a small file system takes root",
        );
    };
    let to = disk.path("backup");
    let ran = back_up(world, &pair.new, &to).run().expect_code(4);
    assert!(ran.stderr.contains("bytes, and "), "{ran:?}");
    assert!(!to.exists() && !disk.path("backup.aside").exists());
    // The root of a file system has nothing beside it on the same one.
    let ran = back_up(world, &pair.new, &disk.path(""))
        .run()
        .expect_code(4);
    assert!(
        ran.stderr.contains("is a file system of its own"),
        "{ran:?}"
    );
}

#[test]
fn a_restored_log_goes_on_unless_a_witness_remembers_more_than_the_backup_held() {
    let watched = Watched::new();
    let world = &watched.world;
    let _origin = world.plain_origin();
    let _witness = watched.witness("state");
    let gateway = watched.start();
    world.is_served();
    await_witness(&gateway);
    gateway.stop();
    let backup = world.place.path("backup");
    back_up(world, &watched.audit(), &backup)
        .run()
        .expect_code(0);
    let lose = || std::fs::remove_dir_all(watched.audit()).or_fail("lose the log");
    lose();
    restore(world, &backup, &watched.audit()).expect_code(0);
    // Nothing that was signed is missing.
    let gateway = watched.start();
    world.is_served();
    await_witness(&gateway);
    let records = gateway.records();
    let told = records.of_kind("restored");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].text("reason"), "disk replaced");
    gateway.verify();
    gateway.stop();
    // By now the witness remembers more than the backup held.
    lose();
    restore(world, &backup, &watched.audit()).expect_code(0);
    let ran = Gateway::refuses_to_start(&world.place, &watched.configuration());
    assert!(
        ran.stderr
            .contains("the audit log was cut, rolled back or replaced"),
        "{ran:?}"
    );
    // It can be read all the same.
    assert!(Records::of(&watched.audit()).len() > 3);
}

#[test]
fn a_gateway_does_not_start_on_a_backup() {
    let world = World::new();
    let gateway = world.gateway("");
    let log = gateway.stop().audit;
    let backup = world.place.path("backup");
    back_up(&world, &log, &backup).run().expect_code(0);
    let configuration = world
        .configuration()
        .with("[audit]\ndirectory = \"backup\"");
    let ran = Gateway::refuses_to_start(&world.place, &configuration);
    assert!(ran.stderr.contains("this is a backup of a log"), "{ran:?}");
    drill(&world, &backup).expect_code(0);
}
