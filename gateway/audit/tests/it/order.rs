//! What a real disk is told, and in which order: the system calls of a log that is opened, written,
//! signed, mended and shortened, as the kernel sees them.
//!
//! A name or a content is open from the call that made it to the end of the sync that covers it. What
//! rests on something comes when that is no longer open. That a disk keeps what it was told is not
//! tested here; what a crash may leave of it is, on simulated ones (`faults`, `checkpoints`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use audit::keeping::Classes;
use audit::log::{Log, Options};
use audit::queue::Share;
use audit::storage::Durability;

use crate::clinic::Clinic;
use crate::entry;
use crate::signed::PATIENCE;

/// Where the process that is traced finds the clinic's directory.
const PLACE: &str = "PHIGATE_ORDER_PLACE";

/// Set when it writes a log without keys and without readers, of which nothing is synced but segments.
const PLAIN: &str = "PHIGATE_ORDER_PLAIN";

/// The directory in which the log's own stands, by its path from there.
const ABOVE: &str = "..";

#[test]
fn what_the_log_rests_on_is_on_the_disk_before_it() {
    let clinic = Clinic::new();
    let this = std::env::current_exe().unwrap();
    let write = || {
        let mut command = Command::new(&this);
        command
            .args(["--exact", "order::a_log_is_written_to_a_real_disk"])
            .env(PLACE, clinic.path(""));
        command
    };
    let Some(trace) = Trace::of(&clinic, &write()) else {
        return;
    };
    trace.judge();
    assert!(trace.seen("segment") >= 2, "several segments");
    assert!(trace.seen("checkpoint") >= 2, "several checkpoints");
    assert!(trace.seen("key") >= 1, "a key");
    // What a crash leaves: half a batch at the end, and a segment in the making.
    let wal = clinic.log().join("wal");
    let mut segments: Vec<_> = std::fs::read_dir(&wal)
        .unwrap()
        .map(|item| item.unwrap().path())
        .collect();
    segments.sort();
    let last = segments.last().unwrap();
    let mut torn = std::fs::read(last).unwrap();
    torn.extend([7; 100]);
    std::fs::write(last, torn).unwrap();
    std::fs::write(wal.join("spare"), [0; 4096]).unwrap();
    let trace = Trace::of(&clinic, &write()).unwrap();
    trace.judge();
    assert!(trace.seen("quarantine") >= 1, "a quarantine");
}

#[test]
fn the_names_that_lead_to_a_new_log_are_on_the_disk_before_its_first_entry() {
    let clinic = Clinic::new();
    let mut write = Command::new(std::env::current_exe().unwrap());
    write
        .args(["--exact", "order::a_log_is_written_to_a_real_disk"])
        .env(PLACE, clinic.path(""))
        .env(PLAIN, "1");
    assert!(!clinic.log().exists());
    let Some(trace) = Trace::of(&clinic, &write) else {
        return;
    };
    let made = trace.calls.iter().filter(|call| call.name == "mkdir");
    assert!(
        made.count() >= 2,
        "the log's directory, and that of its segments"
    );
    trace.judge();
}

/// What the tests above trace; a test of its own elsewhere.
#[test]
fn a_log_is_written_to_a_real_disk() {
    let own = std::env::var_os(PLACE).is_none().then(Clinic::new);
    let options = match &own {
        Some(clinic) => clinic.options(),
        None => Clinic::options_in(Path::new(&std::env::var_os(PLACE).unwrap())),
    };
    let mut options = Options {
        durability: Durability::Durable,
        ..options
    };
    if std::env::var_os(PLAIN).is_some() {
        (options.signer, options.readers) = (None, Vec::new());
    }
    let (log, committer) = Log::open(&options).unwrap();
    for round in 0..4 {
        for number in 0..4000 {
            log.append_unwaited(&entry(number), Share::Proven).unwrap();
        }
        log.append_blocking(&entry(round), PATIENCE).unwrap();
    }
    committer.close(PATIENCE).unwrap();
    let report = audit::verify::verify(&options.directory).unwrap();
    assert_eq!(
        report.verdict(),
        audit::verify::Verdict::Good,
        "{:?}",
        report.findings
    );
}

#[test]
fn a_key_that_is_destroyed_is_overwritten_and_gone_on_the_disk() {
    // Another class has keys in the same month: its folder stays.
    let research = Classes::new(
        [("research".parse().unwrap(), 50)],
        [("studies".into(), "research".parse().unwrap())],
    );
    let clinic = crate::keeping::clinic(&["2018-11"], &research.unwrap());
    let log = clinic.log();
    let mut destroy = Command::new(env!("CARGO_BIN_EXE_audit"));
    destroy.args(crate::keeping::DUE).arg(&log);
    let Some(trace) = Trace::of(&clinic, &destroy) else {
        return;
    };
    trace.judge();
    assert!(log.join("keys/2018-11/research").exists());
    assert!(!log.join("keys/2018-11/standard").exists());
    assert_eq!(trace.seen("destroyed"), 1);
}

/// System calls on the files of a log, in their order.
struct Trace {
    log: PathBuf,
    /// Files that were there before.
    there: BTreeSet<String>,
    calls: Vec<Call>,
}

/// A call that went well. It counts from `began`, and what it does is done at `ended`.
struct Call {
    began: usize,
    ended: usize,
    thread: String,
    name: String,
    /// Files, by their paths.
    files: Vec<PathBuf>,
    text: String,
    result: String,
}

impl Trace {
    /// Runs a program to its good end. `None`, and a word, when this user may not trace a process.
    fn of(clinic: &Clinic, program: &Command) -> Option<Trace> {
        let may_trace = Command::new("strace")
            .args(["-o", "/dev/null", "true"])
            .status()
            .is_ok_and(|status| status.success());
        if !may_trace {
            // Past whatever holds back what a test prints: a run says what it left out.
            let _ = writeln!(
                std::io::stderr(),
                "not run here: order: this user may not trace a process"
            );
            return None;
        }
        let path = clinic.path("trace.txt");
        let there = files_below(&clinic.log(), "");
        let calls = "trace=openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat2,\
                     unlink,rmdir,mkdir";
        let mut traced = Command::new("strace");
        traced
            .args(["-f", "-y", "-s", "0", "-e", calls, "-o"])
            .arg(&path)
            .arg(program.get_program())
            .args(program.get_args());
        for (name, value) in program.get_envs() {
            traced.env(name, value.unwrap());
        }
        let output = traced.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = std::fs::read_to_string(&path).unwrap();
        Some(Trace {
            log: clinic.log(),
            there,
            calls: calls_in(&text),
        })
    }

    /// A path as the log knows it; nothing when it is none of the log's.
    fn name<'a>(&self, path: &'a Path) -> Option<&'a str> {
        if Some(path) == self.log.parent() {
            return Some(ABOVE);
        }
        path.strip_prefix(&self.log).ok()?.to_str()
    }

    /// How many calls came of this kind.
    fn seen(&self, kind: &str) -> usize {
        let is_kind = |call: &&Call| {
            let last = call.files.last().and_then(|path| self.name(path));
            let last = last.unwrap_or_default();
            let is_rename = call.name.starts_with("rename");
            match kind {
                "segment" => is_rename && is_segment(last),
                "checkpoint" => is_rename && last == "checkpoint",
                "key" => is_rename && last.starts_with("keys/"),
                "quarantine" => is_rename && Path::new(last).extension() == Some("torn".as_ref()),
                _ => call.name == "unlink" && last.starts_with("keys/"),
            }
        };
        self.calls.iter().filter(is_kind).count()
    }

    /// Nothing comes before what it rests on.
    #[track_caller]
    fn judge(&self) {
        let mut open = Open {
            known: self.there.clone(),
            ..Open::default()
        };
        // Each call twice: where it begins and where it ends.
        let mut steps: Vec<(usize, bool, &Call)> = self
            .calls
            .iter()
            .flat_map(|call| [(call.began, false, call), (call.ended, true, call)])
            .collect();
        steps.sort_by_key(|(line, is_end, _)| (*line, *is_end));
        let opener = &self.calls[0].thread;
        for (line, is_end, call) in steps {
            let names: Vec<&str> = call
                .files
                .iter()
                .filter_map(|path| self.name(path))
                .filter(|name| *name != "LOCK")
                .collect();
            if names.is_empty() {
                continue;
            }
            if is_end {
                open.ended(call, &names);
            } else if let Some(fault) = open.fault(call, &names, opener) {
                panic!("line {}, {} {names:?}: {fault}", line + 1, call.name);
            }
        }
        assert_eq!(open.all(|_, _| true), None, "at the end");
    }
}

/// The thread that did something, and the line of the trace.
type Mark = (String, usize);

/// What is not known to be on the disk.
#[derive(Default)]
struct Open {
    contents: BTreeMap<String, Mark>,
    /// Directories in which names came or went.
    names: BTreeMap<String, Mark>,
    /// Descriptors whose writes are on the disk when they return.
    through: BTreeSet<String>,
    /// Files that are there, as far as was seen.
    known: BTreeSet<String>,
}

impl Open {
    /// What is open of what these threads made.
    fn all(&self, of: impl Fn(&str, &str) -> bool) -> Option<String> {
        let mut open = self.contents.iter().chain(&self.names);
        let found = open.find(|(name, (thread, _))| of(name, thread));
        found.map(|(name, (_, line))| format!("`{name}` of line {line} is not on the disk yet"))
    }

    /// What is wrong with a call that begins.
    fn fault(&self, call: &Call, names: &[&str], opener: &str) -> Option<String> {
        let own = |_: &str, thread: &str| thread == call.thread;
        let (first, last) = (names[0], names[names.len() - 1]);
        let is_open = self.contents.contains_key(first);
        let content = is_open.then(|| format!("the content of `{first}` is not on the disk yet"));
        match &*call.name {
            "rename" | "renameat2" if content.is_some() => content,
            "rename" | "renameat2" if last == "checkpoint" => self.all(own),
            // A segment is what another thread prepared.
            "rename" | "renameat2" if first == "wal/spare" => {
                let mut names = self.names.keys();
                let is_open = names.any(|name| name == "wal");
                is_open.then(|| "`wal` is not on the disk yet".to_owned())
            }
            "unlink" if first.starts_with("keys/") => content,
            // The history speaks of tiles.
            "write" | "pwrite64" if first.starts_with("checkpoints/") => {
                self.all(|name, thread| name.starts_with("tile") && own(name, thread))
            }
            // An entry rests on all that the start did, and on what was destroyed before.
            "write" | "pwrite64" if is_segment(first) => {
                self.all(|name, thread| own(name, thread) || thread == opener)
            }
            _ => None,
        }
    }

    /// Takes what a call did.
    fn ended(&mut self, call: &Call, names: &[&str]) {
        let (first, last) = (names[0], names[names.len() - 1]);
        let descriptor = |text: &str| text.split('<').next().unwrap_or_default().to_owned();
        let mut touched = Vec::new();
        match &*call.name {
            "openat" => {
                let opened = descriptor(&call.result);
                if ["O_DSYNC", "O_SYNC"]
                    .iter()
                    .any(|flag| call.text.contains(flag))
                {
                    self.through.insert(opened);
                } else {
                    self.through.remove(&opened);
                }
                if call.text.contains("O_CREAT") && self.known.insert(first.to_owned()) {
                    touched.push(first);
                }
            }
            "write" | "pwrite64" | "ftruncate" => {
                if !self.through.contains(&descriptor(&call.text)) {
                    self.contents
                        .insert(first.to_owned(), (call.thread.clone(), call.ended + 1));
                }
            }
            "fsync" | "fdatasync" => {
                self.contents.remove(first);
                self.names.remove(first);
            }
            "rename" | "renameat2" => {
                self.known.remove(first);
                self.known.insert(last.to_owned());
                touched.extend([first, last]);
            }
            "unlink" | "rmdir" => {
                self.known.remove(first);
                self.contents.remove(first);
                self.names.remove(first);
                touched.push(first);
            }
            _ => touched.push(first),
        }
        // What is being written aside may come and go.
        touched.retain(|name| *name != "aside.new");
        for name in touched {
            // What that stands in itself is not the log's.
            if name == ABOVE {
                continue;
            }
            let parent = Path::new(name).parent();
            let parent = parent.map_or(ABOVE, |parent| parent.to_str().unwrap());
            self.names
                .insert(parent.to_owned(), (call.thread.clone(), call.ended + 1));
        }
    }
}

fn is_segment(name: &str) -> bool {
    name.starts_with("wal/") && Path::new(name).extension() == Some("seg".as_ref())
}

/// The files in a directory and below, by their paths from there.
fn files_below(directory: &Path, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let Ok(items) = std::fs::read_dir(directory) else {
        return found;
    };
    for item in items {
        let item = item.unwrap();
        let name = format!("{prefix}{}", item.file_name().to_str().unwrap());
        if item.file_type().unwrap().is_dir() {
            found.extend(files_below(&item.path(), &format!("{name}/")));
        } else {
            found.insert(name);
        }
    }
    found
}

/// The calls of a trace that went well, in the order in which they began.
fn calls_in(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, text)) = text.split_once(' ') else {
            continue;
        };
        let text = text.trim_start();
        if let Some(begun) = text.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (line, begun));
            continue;
        }
        let (began, text) = match text.split_once(" resumed>") {
            Some((_, rest)) => match unfinished.remove(thread) {
                Some((began, begun)) => (began, format!("{begun}{rest}")),
                None => continue,
            },
            None => (line, text.to_owned()),
        };
        let Some((text, result)) = text.rsplit_once(" = ") else {
            continue;
        };
        let Some((name, text)) = text.split_once('(') else {
            continue;
        };
        if result.starts_with('-') {
            continue;
        }
        calls.push(Call {
            began,
            ended: line,
            thread: thread.to_owned(),
            name: name.to_owned(),
            files: files_in(text),
            text: text.to_owned(),
            result: result.to_owned(),
        });
    }
    calls.sort_by_key(|call| call.began);
    calls
}

/// The files that a call names: `"/path"`, or else the descriptor `5</path>`.
fn files_in(text: &str) -> Vec<PathBuf> {
    let named = text.split('"').skip(1).step_by(2);
    let named: Vec<PathBuf> = named
        .filter(|name| name.starts_with('/'))
        .map(PathBuf::from)
        .collect();
    if !named.is_empty() {
        return named;
    }
    let descriptor = text
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    descriptor
        .map(|(path, _)| PathBuf::from(path.trim_end_matches('/')))
        .into_iter()
        .collect()
}
