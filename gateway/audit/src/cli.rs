//! What a person types and sees: `audit verify`, `audit show`.
//!
//! Results go to stdout, everything else to stderr as `error:`, `hint:` and `note:` lines. Exit codes of
//! `verify`: 0 good, 1 tampered, 2 truncated, 3 cannot verify, 4 I/O; of the rest: 0 done, 1 failed;
//! 64 wrong usage.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use serde_json::Value;

use crate::entry;
use crate::frame::Fault;
use crate::read::{self, Reader, Step};
use crate::show::{Human, Line};
use crate::verify::{self, Report, Verdict};

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
        /// The public key that the log's checkpoints must be signed with, kept outside of it.
        #[arg(long, value_name = "VKEY")]
        key: Option<PathBuf>,
        /// Pass only what is signed with a key from outside.
        #[arg(long)]
        strict: bool,
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
    },
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  audit completions bash > /etc/bash_completion.d/audit")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory.
    #[command(after_help = "Example:\n  audit manual /usr/local/share/man/man1")]
    Manual {
        /// The directory, which must exist.
        directory: PathBuf,
    },
}

const USAGE: u8 = 64;
const IO: u8 = 4;

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let mut out = io::stdout().lock();
    match run(arguments.command, &mut out) {
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
    Write {
        path: PathBuf,
        error: io::Error,
    },
}

impl Failure {
    fn report(&self) -> ExitCode {
        let (error, hint, code) = match self {
            Failure::Output(error) => (format!("cannot write the output: {error}"), None, 1),
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
                    _ => "check the disk",
                };
                (
                    format!("cannot read {}: {error}", directory.display()),
                    Some(hint),
                    *code,
                )
            }
            Failure::Stuck { at, fault } => (
                format!("the log cannot be read further: {at} is {fault}"),
                Some("`audit verify` says what is wrong"),
                1,
            ),
            Failure::Write { path, error } => {
                (format!("cannot write {}: {error}", path.display()), None, 1)
            }
        };
        complain("error", &error);
        if let Some(hint) = hint {
            complain("hint", hint);
        }
        code.into()
    }
}

fn run(command: Command, out: &mut impl Write) -> Result<ExitCode, Failure> {
    match command {
        Command::Verify {
            directory,
            key,
            strict,
            json,
        } => run_verify(&directory, key.is_some() || strict, json, out),
        Command::Show {
            directory,
            json,
            follow,
        } => show(&directory, json, follow, out).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "audit", &mut script);
            out.write_all(&script).map_err(Failure::Output)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Manual { directory } => {
            clap_mangen::generate_to(Arguments::command(), &directory).map_err(|error| {
                Failure::Write {
                    path: directory,
                    error,
                }
            })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

const UNSIGNED: &str = "the log is not signed: this finds every change but one that wrote the log anew from some point on, or cut it exactly behind a batch";

fn run_verify(
    directory: &Path,
    ask_for_signature: bool,
    json: bool,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let failed = |error| Failure::Read {
        directory: directory.to_owned(),
        error,
        code: IO,
    };
    let report = verify::verify(directory).map_err(failed)?;
    let mut verdict = report.verdict();
    if ask_for_signature && verdict == Verdict::Good {
        verdict = Verdict::CannotVerify;
    }
    if json {
        print_report_json(&report, verdict, out)
    } else {
        print_report(&report, verdict, ask_for_signature, out)
    }
    .map_err(Failure::Output)?;
    Ok((verdict as u8).into())
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
    ask_for_signature: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    write!(
        out,
        "{}: {} entries in {} batches and {} segments",
        word(verdict),
        report.entries,
        report.batches,
        report.segments
    )?;
    if let (Some(first), Some(last)) = (report.first, report.last) {
        write!(out, ", from {first} to {last}")?;
    }
    writeln!(
        out,
        "{}",
        if report.live {
            ", being written to"
        } else {
            ""
        }
    )?;
    for finding in &report.findings {
        writeln!(out, "finding: {finding}")?;
    }
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    if ask_for_signature {
        complain(
            "error",
            "nothing in this log is signed, so no key can vouch for it",
        );
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

fn show(directory: &Path, json: bool, follow: bool, out: &mut impl Write) -> Result<(), Failure> {
    let failed = |error| Failure::Read {
        directory: directory.to_owned(),
        error,
        code: 1,
    };
    if !directory.join("wal").is_dir() {
        return Err(failed(io::ErrorKind::NotFound.into()));
    }
    let mut reader = Reader::new(directory);
    // On a live log the last batch can be seen half-written; one more look tells.
    let mut faults = 0;
    loop {
        match reader.step().map_err(failed)? {
            Step::Segment(_) => {}
            Step::Batch {
                sequence, records, ..
            } => {
                faults = 0;
                for (sequence, bytes) in read::entries(sequence, &records) {
                    print_entry(sequence, bytes, json, out).map_err(Failure::Output)?;
                }
            }
            Step::End if !follow => return out.flush().map_err(Failure::Output),
            Step::End => {
                out.flush().map_err(Failure::Output)?;
                pause();
            }
            Step::Fault(fault) => {
                out.flush().map_err(Failure::Output)?;
                faults += 1;
                if faults > 20 {
                    let at = reader.position();
                    let at = format!(
                        "what stands in segment {} at byte {}",
                        at.segment, at.offset
                    );
                    return Err(Failure::Stuck { at, fault });
                }
                pause();
            }
        }
    }
}

fn pause() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a command-line tool that waits for more"
    )]
    std::thread::sleep(Duration::from_millis(100));
}

fn print_entry(sequence: u64, bytes: &[u8], json: bool, out: &mut impl Write) -> io::Result<()> {
    let entry = match entry::decode(bytes) {
        Ok(entry) => entry,
        Err(error) => {
            complain("error", &format!("entry {sequence}: {error}"));
            return Ok(());
        }
    };
    if json {
        serde_json::to_writer(&mut *out, &Line::new(Some(sequence), &entry))?;
        writeln!(out)
    } else {
        writeln!(out, "{}", Human(&entry))
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the one place that speaks to a person about trouble"
)]
fn complain(kind: &str, text: &str) {
    eprintln!("{kind}: {text}");
}
