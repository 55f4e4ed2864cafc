//! Processes: one that runs as long as its test, and a command that ends by itself before a deadline.
//!
//! A process is ended by its own id and waited for when it is dropped, also when the test panics. If
//! the test's process is killed, the kernel ends it (`setpriv --pdeathsig`).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::place::Place;
use crate::wait::{self, OrFail, PATIENCE};

/// The path of one of our binaries: in the directory that `PHIGATE_BINARIES` names, or beside the
/// test binary, where one build puts them all.
#[must_use]
#[track_caller]
pub fn binary(name: &str) -> PathBuf {
    let named = std::env::var_os("PHIGATE_BINARIES").map(PathBuf::from);
    let own = std::env::current_exe().or_fail("find the test binary");
    named
        .iter()
        .map(PathBuf::as_path)
        .chain(own.ancestors().skip(1))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .or_fail(&format!(
            "find the binary {name}: cargo build --release --workspace --bins makes it"
        ))
}

/// Whether a program of the machine can be found.
#[must_use]
pub fn is_installed(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
            .any(|directory| directory.join(name).is_file())
    })
}

/// A command, as a test writes it.
#[derive(Debug)]
pub struct Program {
    path: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    input: Vec<u8>,
}

impl Program {
    /// A program of the machine.
    #[track_caller]
    pub fn of_the_machine(name: &str) -> Program {
        assert!(
            is_installed(name),
            "{name} is not installed: integration/test says what to install"
        );
        Program::at(name)
    }

    /// One of our binaries.
    #[track_caller]
    pub fn ours(name: &str) -> Program {
        Program::at(binary(name))
    }

    fn at(program: impl AsRef<OsStr>) -> Program {
        Program {
            path: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            input: Vec::new(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Program {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Program {
        let arguments = arguments.into_iter();
        self.arguments
            .extend(arguments.map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Program {
        self.environment
            .push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Runs it in this directory.
    #[must_use]
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Program {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// What it reads from its standard input, which then ends.
    #[must_use]
    pub fn input(mut self, input: impl AsRef<[u8]>) -> Program {
        self.input = input.as_ref().to_vec();
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    #[track_caller]
    pub fn run(self) -> Ran {
        self.run_within(PATIENCE)
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it does not end within `patience`.
    #[track_caller]
    pub fn run_within(self, patience: Duration) -> Ran {
        let name = self.path.display().to_string();
        let mut child = self
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .or_fail(&format!("run {name}"));
        let mut stdin = child.stdin.take().or_fail("reach its input");
        let input = self.input;
        let writer = std::thread::spawn(move || {
            // A program may end without having read its input.
            let _ = stdin.write_all(&input);
        });
        let stdout = collect(child.stdout.take().or_fail("reach its output"));
        let stderr = collect(child.stderr.take().or_fail("reach its errors"));
        let ended = wait::within(patience, || child.try_wait().ok().flatten());
        if ended.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = writer.join();
        let text = |reader: std::thread::JoinHandle<Vec<u8>>| {
            let bytes = reader.join().unwrap_or_default();
            (String::from_utf8_lossy(&bytes).into_owned(), bytes)
        };
        let ((stdout, bytes), (stderr, _)) = (text(stdout), text(stderr));
        let Some(status) = ended else {
            panic!("{name} did not end within {patience:?}\n{stdout}\n{stderr}");
        };
        Ran {
            name,
            status,
            bytes,
            stdout,
            stderr,
        }
    }

    /// Starts it. What it prints goes to files in `place` that are named after `role`.
    #[track_caller]
    pub fn start(self, place: &Place, role: &str) -> Process {
        let (stdout, stderr) = (
            place.path(format!("{role}.stdout")),
            place.path(format!("{role}.stderr")),
        );
        let append = |path: &Path| {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .or_fail("open a file for its output")
        };
        let child = self
            .command()
            .stdin(Stdio::null())
            .stdout(append(&stdout))
            .stderr(append(&stderr))
            .spawn()
            .or_fail(&format!("start {}", self.path.display()));
        Process {
            role: role.to_owned(),
            child,
            stdout,
            stderr,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.path)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }
}

fn collect(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what there is.
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// What a command did.
pub struct Ran {
    name: String,
    status: ExitStatus,
    /// What it printed, as it came.
    pub bytes: Vec<u8>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// Without the bytes, which stand in the text.
impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ended with {}", self.name, self.code())?;
        writeln!(f, "stdout: {}\nstderr: {}", self.stdout, self.stderr)
    }
}

impl Ran {
    /// Its exit code; -1 when a signal ended it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Itself, if it ended with this code.
    ///
    /// # Panics
    /// When it did not.
    #[expect(
        clippy::return_self_not_must_use,
        reason = "that it ended so is often all that is asked"
    )]
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Ran {
        assert_eq!(
            self.code(),
            code,
            "the exit code of {}\nstdout: {}\nstderr: {}",
            self.name,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// A process that lives no longer than this value.
#[derive(Debug)]
pub struct Process {
    role: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.or_fail("name the process"), signal).or_fail(&format!(
            "signal {}\n{}",
            self.role,
            self.stderr()
        ));
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        wait::until(&format!("the end of {}", self.role), || self.ended())
    }

    /// What it has printed.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }

    /// What it has complained about.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// Bytes of memory that it holds (`VmRSS`).
    #[track_caller]
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that it held at once, bytes (`VmHWM`).
    #[track_caller]
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// A line of its status, kB as bytes.
    #[track_caller]
    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))
            .or_fail("read the status of the process");
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"))
            .and_then(|kib| kib.trim().parse::<u64>().ok())
            .or_fail("read its memory")
            * 1024
    }

    /// How many descriptors it has open.
    #[track_caller]
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id()))
            .or_fail("list its descriptors")
            .count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let tail: Vec<String> = self
                .stderr()
                .lines()
                .rev()
                .take(20)
                .map(Into::into)
                .collect();
            for line in tail.iter().rev() {
                eprint_line(&self.role, line);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a failed test shows of the processes that it had.
#[expect(
    clippy::print_stderr,
    reason = "the test runner shows it with the failure"
)]
fn eprint_line(role: &str, line: &str) {
    eprintln!("[{role}] {line}");
}
