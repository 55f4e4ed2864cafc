//! What a person types and sees: `audit verify`, `audit show`.
//!
//! Results go to stdout: a verdict with its `finding:` and `note:` lines, or records. Trouble goes to
//! stderr as `error:` and `hint:` lines. Exit codes of `verify`: 0 good, 1 tampered, 2 truncated, 3
//! cannot verify, 4 I/O; of the rest: 0 done, 1 failed; 64 wrong usage.

mod show;

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use serde_json::Value;
use terminal::{Progress, Shell, complain, counted};

use crate::frame::Fault;
use crate::keygen::{self, KeygenError};
use crate::merkle::key::{KeyError, Verifier};
use crate::seal::reader::ReaderError;
use crate::verify::{self, Finding, Report, Verdict};

/// Verify and read an audit log of phigate.
#[derive(Debug, Parser)]
#[command(
    name = "audit",
    version,
    after_help = "Example:\n  audit verify /var/lib/phigate/audit"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check that nothing in a log was changed, removed or added.
    ///
    /// Exit codes: 0 good, 1 tampered, 2 truncated or rolled back, 3 cannot verify, 4 I/O.
    /// Works on the log of a running gateway.
    #[command(after_help = "Example:\n  audit verify /var/lib/phigate/audit")]
    Verify {
        /// The log's directory.
        directory: PathBuf,
        /// A file with the public key that the log's checkpoints must be signed with, kept outside
        /// of it.
        #[arg(long, value_name = "VKEY")]
        key: Option<PathBuf>,
        /// Pass only what is signed with a key from outside.
        #[arg(long)]
        strict: bool,
        /// Print nothing but what is wrong.
        #[arg(long, conflicts_with = "json")]
        quiet: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print the records of a log, oldest first.
    #[command(
        after_help = "Example:\n  audit show --json /var/lib/phigate/audit | jq 'select(.type == \"refusal\")'"
    )]
    Show {
        /// The log's directory.
        directory: PathBuf,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
        /// Wait for more at the end, until interrupted.
        #[arg(long)]
        follow: bool,
        /// A file with the secret key of a reader that the records were encrypted to. Without it,
        /// reader.key beside the log's directory.
        #[arg(long, value_name = "FILE")]
        reader: Option<PathBuf>,
    },
    /// Make the keys of a log, and a key pair for whoever reads it.
    ///
    /// Writes audit.keys and reader.pem, which the gateway's configuration names, and reader.key, which
    /// belongs to whoever reads the log. Nothing that exists is replaced.
    #[command(
        after_help = "Example:\n  audit keygen --name clinic.example/audit --out /etc/phigate"
    )]
    Keygen {
        /// The log's name, which stands in every checkpoint: a host of yours and a path, without a
        /// scheme.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// The directory to write to, which must exist.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  audit completions bash > /etc/bash_completion.d/audit")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages into a directory.
    #[command(after_help = "Example:\n  audit manual /usr/local/share/man/man1")]
    Manual {
        /// The directory, which must exist.
        directory: PathBuf,
    },
}

const IO: u8 = 4;

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let command = match terminal::parse(std::env::args_os()) {
        Ok(Arguments { command }) => command,
        Err(code) => return code,
    };
    let mut out = io::stdout().lock();
    let ended = match command {
        Command::Verify {
            directory,
            key,
            strict,
            quiet,
            json,
        } => {
            let asked = Asked {
                signature: key.is_some() || strict,
                quiet,
                json,
            };
            key.as_deref()
                .map_or(Ok(()), read_key)
                .and_then(|()| verify(&directory, &asked, &mut out))
        }
        Command::Show {
            directory,
            json,
            follow,
            reader,
        } => {
            let asked = show::Asked {
                json,
                follow,
                reader,
            };
            show::show(&directory, &asked, &mut out)
        }
        Command::Keygen {
            name,
            out: directory,
        } => keygen(&name, &directory, &mut out),
        Command::Completions { shell } => {
            drop(out);
            return terminal::completions(Arguments::command(), shell);
        }
        Command::Manual { directory } => return terminal::manual(Arguments::command(), &directory),
    };
    match ended {
        Ok(code) => code,
        // Whoever reads our output has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => failure.report(),
    }
}

/// Why a command could not do its work.
enum Failure {
    Output(io::Error),
    Read {
        directory: PathBuf,
        error: io::Error,
        code: u8,
    },
    Stuck {
        at: String,
        fault: Fault,
    },
    KeyFile {
        path: PathBuf,
        error: io::Error,
    },
    Key {
        path: PathBuf,
        error: KeyError,
    },
    ReaderFile {
        path: PathBuf,
        error: io::Error,
    },
    Reader {
        path: PathBuf,
        error: ReaderError,
    },
    Name {
        error: KeyError,
    },
    Keygen(KeygenError),
}

impl Failure {
    fn report(&self) -> ExitCode {
        match self {
            Failure::Output(error) => terminal::unwritten(error),
            Failure::Read {
                directory,
                error,
                code,
            } => {
                let hint = match error.kind() {
                    io::ErrorKind::NotFound => {
                        "name the directory that [audit] directory names in the gateway's configuration"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "the log belongs to the gateway's user; read it as that user or as root"
                    }
                    io::ErrorKind::NotADirectory => "name the directory, not a file in it",
                    _ => "check the disk",
                };
                let error = format_args!("cannot read {}: {error}", directory.display());
                complain(error, Some(hint));
                (*code).into()
            }
            Failure::Stuck { at, fault } => terminal::fail(
                format_args!("the log cannot be read further: {at} is {fault}"),
                Some("`audit verify` says what is wrong"),
            ),
            Failure::ReaderFile { path, error } => terminal::fail(
                format_args!("cannot read the key {}: {error}", path.display()),
                Some("--reader names a file that holds the secret key of a reader"),
            ),
            Failure::Reader { path, error } => terminal::fail(
                format_args!("{} holds no reader's secret key: {error}", path.display()),
                Some("it is the file reader.key that `audit keygen` wrote"),
            ),
            Failure::Name { error } => terminal::misused(
                format_args!("--name: {error}"),
                "a log is named by a host of yours and a path, such as clinic.example/audit",
            ),
            Failure::Keygen(error) => terminal::fail(error, Some(error.hint())),
            Failure::KeyFile { path, error } => {
                let error = format_args!("cannot read the key {}: {error}", path.display());
                complain(error, Some("--key names a file that holds the public key"));
                IO.into()
            }
            Failure::Key { path, error } => terminal::misused(
                format_args!("{} holds no public key: {error}", path.display()),
                "a key is one line such as log.example+033de0ae+Ac4z...",
            ),
        }
    }
}

/// No file with a key is longer than this, bytes.
const MAX_KEY_FILE: u64 = 4096;

/// Reads the key, so that a wrong one is told from one that nothing was signed with.
fn read_key(path: &Path) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_KEY_FILE).read_to_end(&mut bytes));
    if let Err(error) = read {
        let path = path.to_owned();
        return Err(Failure::KeyFile { path, error });
    }
    let key: Result<Verifier, KeyError> = String::from_utf8_lossy(&bytes).trim().parse();
    key.map(drop).map_err(|error| Failure::Key {
        path: path.to_owned(),
        error,
    })
}

const UNSIGNED: &str = "the log is not signed: this finds every change but one that wrote the log anew from some point on, or cut it exactly behind a batch";

/// What is asked of a verification.
struct Asked {
    signature: bool,
    quiet: bool,
    json: bool,
}

fn verify(directory: &Path, asked: &Asked, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let failed = |error| Failure::Read {
        directory: directory.to_owned(),
        error,
        code: IO,
    };
    let progress = Progress::new(asked.quiet);
    let mut report = verify::verify_watched(directory, &mut |segment, last| {
        progress.at(format_args!("verifying segment {segment} of {last}"));
    })
    .map_err(failed)?;
    drop(progress);
    if asked.signature && !report.findings.contains(&Finding::Empty) {
        report.findings.push(Finding::Unsigned);
    }
    let verdict = report.verdict();
    let printed = if asked.json {
        print_report_json(&report, verdict, out)
    } else if asked.quiet && verdict == Verdict::Good {
        Ok(())
    } else {
        print_report(&report, verdict, asked.quiet, out)
    };
    printed
        .and_then(|()| out.flush())
        .map_err(Failure::Output)?;
    if report.findings.contains(&Finding::Empty)
        && let Some(near) = log_near(directory)
    {
        let found = format_args!("there is no log in {}", directory.display());
        complain(found, Some(&format!("name {}", near.display())));
    }
    Ok((verdict as u8).into())
}

/// A log beside a directory that is none: the demo's directory holds one, and a log holds `wal`.
fn log_near(directory: &Path) -> Option<PathBuf> {
    let below = directory.join("audit");
    let above = directory.parent().map(Path::to_owned);
    [Some(below), above]
        .into_iter()
        .flatten()
        .find(|near| near.join("wal").is_dir())
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Tampered => "tampered",
        Verdict::Truncated => "truncated",
        Verdict::CannotVerify => "cannot verify",
    }
}

fn print_report(
    report: &Report,
    verdict: Verdict,
    quiet: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    write!(
        out,
        "{}: {} in {} and {}",
        word(verdict),
        counted(report.entries, "entry/entries"),
        counted(report.batches, "batch/batches"),
        counted(report.segments, "segment")
    )?;
    if let (Some(first), Some(last)) = (report.first, report.last) {
        write!(out, ", from {first} to {last}")?;
    }
    let live = if report.live {
        ", being written to"
    } else {
        ""
    };
    writeln!(out, "{live}")?;
    for finding in &report.findings {
        writeln!(out, "finding: {finding}")?;
    }
    if quiet {
        return Ok(());
    }
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    writeln!(out, "note: {UNSIGNED}")
}

fn print_report_json(report: &Report, verdict: Verdict, out: &mut impl Write) -> io::Result<()> {
    let text = |item: &dyn std::fmt::Display| Value::String(item.to_string());
    let document = serde_json::json!({
        "verdict": word(verdict),
        "signed": false,
        "live": report.live,
        "segments": report.segments,
        "batches": report.batches,
        "entries": report.entries,
        "first": report.first,
        "last": report.last,
        "findings": report.findings.iter().map(|finding| text(finding)).collect::<Vec<_>>(),
        "notes": report.notes.iter().map(|note| text(note)).collect::<Vec<_>>(),
    });
    writeln!(out, "{document}")
}

fn keygen(name: &str, directory: &Path, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let name = name.parse().map_err(|error| Failure::Name { error })?;
    let paths = keygen::keygen(directory, &name).map_err(Failure::Keygen)?;
    for path in paths {
        writeln!(out, "{}", path.display()).map_err(Failure::Output)?;
    }
    Ok(ExitCode::SUCCESS)
}
