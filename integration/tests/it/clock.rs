//! Whatever the kernel says of the clock is on record, in each checkpoint and in the figures, and
//! nothing better. What it says is read off the system call, by strace; where a test needs another kernel
//! than this one, strace answers in its place.

use std::path::{Path, PathBuf};

use integration::gateway::Gateway;
use integration::program::{self, Program};
use integration::records;
use integration::wait::{self, OrFail};
use integration::world::World;
use regex::Regex;

/// The calls by which a C library asks: which of them is its own affair.
const CALLS: &str = "adjtimex,clock_adjtime";

const SYNCHRONIZED: &str = "phigate_audit_clock_synchronized";
const MAX_ERROR: &str = "phigate_audit_clock_max_error_seconds";
const ENTRIES: &str = "phigate_audit_entries";
const SIGNED: &str = "phigate_audit_signed_entries";

/// What a kernel is made to answer.
enum Answer {
    /// What it answers itself.
    Own,
    Refused,
    /// To the first so many questions of each thread: synchronized or not, with this maximum error in
    /// microseconds. Then its own answer.
    First(u32, bool, u64),
    /// To all questions.
    Always(bool, u64),
}

impl Answer {
    /// `strace -e`: what is done to the call.
    fn expression(&self) -> String {
        match self {
            Answer::Own => format!("trace={CALLS}"),
            Answer::Refused => format!("inject={CALLS}:error=EPERM"),
            Answer::First(times, is_synchronized, error) => {
                format!("{}:when=1..{times}", answers(*is_synchronized, *error))
            }
            Answer::Always(is_synchronized, error) => answers(*is_synchronized, *error),
        }
    }
}

/// An answer in the form of the kernel: the first fields of `struct timex` of a 64-bit machine.
fn answers(is_synchronized: bool, max_error_us: u64) -> String {
    let (code, status): (u8, u32) = if is_synchronized { (0, 1) } else { (5, 0x41) };
    // As the bytes lie in memory; the modes and their padding come first.
    let long = |field: u64| format!("{:016x}", u64::from_be_bytes(field.to_ne_bytes()));
    let fields = [0, 0, 0, max_error_us, 99].map(long).concat();
    let status = u32::from_be_bytes(status.to_ne_bytes());
    let hex = format!("{fields}{status:08x}");
    // The buffer is the second argument of the call that glibc makes.
    format!("inject=clock_adjtime:retval={code}:poke_exit=@arg2={hex}")
}

/// A gateway whose questions about the clock are seen, and answered like this.
struct Asked {
    gateway: Gateway,
    trace: PathBuf,
}

impl Asked {
    /// `None`, and a word, where no such answer can be given.
    fn start(world: &World, test: &str, answer: &Answer) -> Option<Asked> {
        let expression = answer.expression();
        let probe = program::is_installed("strace")
            && Program::of_the_machine("strace")
                .args(["-o", "/dev/null", "-e", &expression, "true"])
                .run()
                .code()
                == 0;
        if !probe {
            wait::cannot_run(test, "this user may not trace a process like that");
            return None;
        }
        let trace = world.place.path("clock.trace");
        let file = world
            .place
            .write("gateway.toml", world.configuration().text());
        let traced = Program::of_the_machine("strace")
            // The tracer stands aside, so that the process is the gateway's.
            .args(["-D", "-f", "-q", "-o"])
            .arg(&trace)
            .args(["-e", &expression])
            .arg(program::binary("gateway"))
            .args(["run", "--config"])
            .arg(&file);
        let gateway = Gateway::from_program(&world.place, traced);
        Some(Asked { gateway, trace })
    }

    /// Waits until the figures say this, and all that is on record is signed.
    #[track_caller]
    fn await_clock(&self, is_synchronized: bool) {
        wait::until("the clock in the figures", || {
            let gateway = &self.gateway;
            let is_so = gateway.metric(SYNCHRONIZED) == f64::from(u8::from(is_synchronized));
            (is_so && gateway.metric(SIGNED) == gateway.metric(ENTRIES)).then_some(())
        });
    }
}

/// What the kernel said so far, one answer after the other, as a checkpoint has to say it.
#[track_caller]
fn said(trace: &Path) -> Vec<String> {
    let answer =
        Regex::new(r"adj[a-z]*[(].*maxerror=([0-9]+),.* status=([^,]*),.* = ([0-9])").unwrap();
    let trace = std::fs::read_to_string(trace).or_fail("read the trace");
    answer
        .captures_iter(&trace)
        .map(|found| {
            let no = &found[3] == "5" || found[2].contains("STA_UNSYNC");
            let name = if no { "unsynchronized" } else { "synchronized" };
            format!("{name} {}", &found[1])
        })
        .collect()
}

/// What the checkpoints of a log say of its clock, in order.
#[track_caller]
fn stamped(audit: &Path) -> Vec<String> {
    let days = std::fs::read_dir(audit.join("checkpoints")).or_fail("list the history");
    let mut days: Vec<_> = days.map(|day| day.or_fail("read a name").path()).collect();
    days.sort();
    let line = Regex::new(
        r"(?m)^clock [0-9]{4}-[0-9-]{5}T[0-9:]{8}[.][0-9]{6}Z ((?:un)?synchronized [0-9]+|unknown)$",
    )
    .unwrap();
    let mut found = Vec::new();
    for day in days {
        let history = std::fs::read_to_string(day).or_fail("read the history");
        let signed = history.matches("\n\u{2014} ").count();
        let before = found.len();
        let said = line.captures_iter(&history);
        found.extend(said.map(|said| said[1].to_owned()));
        assert_eq!(found.len() - before, signed, "one each in\n{history}");
    }
    found
}

/// What `audit verify --json` says of the clock.
#[track_caller]
fn verified(audit: &Path) -> (serde_json::Value, String) {
    let ran = Program::ours("audit")
        .args(["verify", "--json"])
        .arg(audit)
        .run()
        .expect_code(0);
    let mut said: serde_json::Value = serde_json::from_str(&ran.stdout).or_fail("read JSON");
    (said["clock"].take(), said["notes"].to_string())
}

#[test]
fn whatever_the_kernel_says_is_in_the_record_the_checkpoints_and_the_figures() {
    let world = World::new();
    let _origin = world.plain_origin();
    let Some(asked) = Asked::start(&world, "clock::whatever_the_kernel_says", &Answer::Own) else {
        return;
    };
    world.is_served();
    wait::until("a checkpoint of all", || {
        let gateway = &asked.gateway;
        (gateway.metric(SIGNED) == gateway.metric(ENTRIES)).then_some(())
    });
    let error = asked.gateway.metric(MAX_ERROR);
    let figure = asked.gateway.metric(SYNCHRONIZED);
    let so_far = said(&asked.trace);
    let named = |said: &String| {
        let (name, us) = said.split_once(' ').or_fail("read an answer");
        let seconds = us.parse::<f64>().or_fail("read an error") / 1e6;
        (name == "synchronized") == (figure == 1.0) && (seconds - error).abs() < 1e-9
    };
    assert!(so_far.iter().any(named), "{figure} and {error}: {so_far:?}");
    assert_eq!(asked.gateway.metric("phigate_audit_clock_steps"), 0.0);
    let status = asked.gateway.visit("/status").or_fail("visit").text();
    assert!(status.contains("\"clock\":{\"max_error_us\":"), "{status}");
    let begun = asked
        .gateway
        .await_record("the clock", |it| it.kind() == "clock");
    assert_eq!(begun.text("change"), "begun");
    let trace = asked.trace.clone();
    let stopped = asked.gateway.stop();
    wait::until("the end of the trace", || {
        let trace = std::fs::read_to_string(&trace).ok()?;
        trace.contains("+++ exited with 0 +++").then_some(())
    });
    // Each answer that is on record was one of the kernel's.
    let said = said(&trace);
    for stamp in stamped(&stopped.audit) {
        assert!(said.contains(&stamp), "{stamp}: {said:?}");
    }
    let error = begun.number("max_error_us").unwrap_or_default();
    let begun = format!("{} {error}", begun.text("state"));
    assert!(said.contains(&begun), "{begun}: {said:?}");
}

#[test]
fn a_kernel_that_may_not_say_is_unknown_everywhere_and_the_operator_learns_why() {
    let world = World::new();
    let _origin = world.plain_origin();
    let answer = Answer::Refused;
    let Some(asked) = Asked::start(&world, "clock::a_kernel_that_may_not_say", &answer) else {
        return;
    };
    world.is_served();
    asked.await_clock(false);
    assert!(asked.gateway.metric(MAX_ERROR).is_nan());
    let stopped = asked.gateway.stop();
    let records = stopped.records();
    let clock = records.of_kind("clock");
    assert_eq!(clock.len(), 1, "{records}");
    assert_eq!(clock[0].text("state"), "unknown");
    assert_eq!(clock[0].text("reason"), "refused");
    assert!(stamped(&stopped.audit).iter().all(|said| said == "unknown"));
    for word in ["not known to be right", "ProtectClock=yes"] {
        assert!(stopped.stderr.contains(word), "{}", stopped.stderr);
    }
    let (clock, notes) = verified(&stopped.audit);
    assert_eq!(clock["unsynchronized"], clock["checkpoints"]);
    assert!(notes.contains("not known to be synchronized"), "{notes}");
    // Nothing waits for a clock, and the log is as good as any.
    records::verify(&stopped.audit).expect_code(0);
}

#[test]
fn a_clock_that_is_synchronized_is_said_to_be_and_nothing_warns() {
    let world = World::new();
    let _origin = world.plain_origin();
    let answer = Answer::Always(true, 1234);
    let Some(asked) = Asked::start(&world, "clock::a_clock_that_is_synchronized", &answer) else {
        return;
    };
    world.is_served();
    asked.await_clock(true);
    assert_eq!(asked.gateway.metric(MAX_ERROR), 0.001_234);
    let stopped = asked.gateway.stop();
    let stamps = stamped(&stopped.audit);
    assert!(
        stamps.iter().all(|said| said == "synchronized 1234"),
        "{stamps:?}"
    );
    assert!(!stopped.stderr.contains("clock"), "{}", stopped.stderr);
    let (clock, notes) = verified(&stopped.audit);
    assert_eq!(
        (&clock["unsynchronized"], &clock["max_error_us"]),
        (&0.into(), &1234.into())
    );
    assert!(!notes.contains("clock"), "{notes}");
}

#[test]
fn a_clock_that_changes_while_the_gateway_runs_is_told_of_at_once() {
    let world = World::new();
    let _origin = world.plain_origin();
    let own = {
        let test = "clock::a_clock_that_changes";
        let Some(asked) = Asked::start(&world, test, &Answer::Own) else {
            return;
        };
        let said = said(&asked.trace);
        asked.gateway.stop();
        said[0].starts_with("synchronized ")
    };
    // The other way round than this machine: lost here, back there.
    let answer = Answer::First(3, !own, 77);
    let Some(asked) = Asked::start(&world, "clock::a_clock_that_changes", &answer) else {
        return;
    };
    asked.gateway.await_record("the change", |it| {
        it.kind() == "clock" && it.text("change") == if own { "back" } else { "lost" }
    });
    asked.await_clock(own);
    let stopped = asked.gateway.stop();
    let word = if own {
        "right again"
    } else {
        "not known to be right"
    };
    assert!(stopped.stderr.contains(word), "{}", stopped.stderr);
    records::verify(&stopped.audit).expect_code(0);
}

#[test]
fn check_says_how_the_clock_stands() {
    let world = World::new();
    let file = world
        .place
        .write("gateway.toml", world.configuration().text());
    let (gateway, arguments) = (program::binary("gateway"), ["check", "--config"]);
    let said = Program::ours("gateway")
        .args(arguments)
        .arg(&file)
        .run()
        .expect_code(0)
        .stdout;
    let line = Regex::new(r"(?m)^clock: (not synchronized|synchronized|unknown)").unwrap();
    assert!(line.is_match(&said), "{said}");
    let injected = [
        (
            answers(true, 2500),
            "clock: synchronized, maximum error 0.002500 s\n",
        ),
        (
            answers(false, 16_000_000),
            "clock: not synchronized, maximum error 16.000000 s; run a time service",
        ),
        (
            Answer::Refused.expression(),
            "clock: unknown: the kernel was not allowed to say; let the process call",
        ),
    ];
    for (expression, expected) in injected {
        if !program::is_installed("strace") {
            wait::cannot_run("clock::check_says", "there is no strace");
            return;
        }
        let ran = Program::of_the_machine("strace")
            .args(["-D", "-f", "-q", "-o", "/dev/null", "-e", &expression])
            .arg(&gateway)
            .args(arguments)
            .arg(&file)
            .run();
        assert!(
            ran.stdout.contains(expected),
            "{}\n{}",
            ran.stdout,
            ran.stderr
        );
    }
}
