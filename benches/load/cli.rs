//! What is printed, and how the program ends. Results go to stdout, everything else to stderr as
//! `error:` and `hint:` lines. Exit codes: 0 measured without an error, 1 anything went wrong, 64
//! wrong usage.
//!
//! What this file does not do: it reads no option ([`arguments`](crate::arguments) does).

use crate::arguments::{Arguments, Command, Measure};
use crate::backend;
use crate::compare;
use crate::loopback::Loopback;
use crate::plot::{self, Words};
use crate::points;
use crate::run;
use crate::summary::{self, SummaryError};
use clap::Parser as _;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: u8 = 64;

/// Of reports or points, in bytes.
const MAX_REPORTS: u64 = 16 << 20;

/// Runs the program with the process's arguments.
pub(crate) fn main() -> ExitCode {
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
    match arguments.command {
        Command::Backend {
            listen,
            pin,
            lifetime,
        } => serve(listen, pin, lifetime),
        Command::Summary { file } => tabulate(&file, summary::table),
        Command::Compare { file, ours } => tabulate(&file, |text| compare::table(text, &ours)),
        Command::Plot {
            file,
            title,
            sizes,
            figures,
            out,
        } => {
            let words = Words {
                title: &title,
                sizes: &sizes,
                figures: &figures,
            };
            draw(&file, words, &out)
        }
        Command::Measure(asked) => measure(asked),
    }
}

fn measure(asked: Measure) -> ExitCode {
    let (common, plan) = match asked.plan() {
        Ok(asked) => asked,
        Err(error) => return wrong_usage(&error),
    };
    if let Err(error) = pin(common.pin) {
        return fail(&error, Some("name a CPU that this process may use"));
    }
    let report = match run::run(&plan) {
        Ok(report) => report,
        Err(error) => return fail(&error.to_string(), error.hint()),
    };
    let printed = if common.json {
        match serde_json::to_string(&report) {
            Ok(json) => print(&(json + "\n")),
            Err(error) => return fail(&format!("the report cannot be written: {error}"), None),
        }
    } else {
        print(&report.to_string())
    };
    if !report.is_good() {
        let first = report.first_error.as_deref();
        return fail(
            first.unwrap_or("no request ended in the window"),
            Some("figures of a run with errors mean nothing"),
        );
    }
    printed
}

fn serve(listen: Loopback, cpu: Option<u16>, lifetime: u32) -> ExitCode {
    if let Err(error) = pin(cpu) {
        return fail(&error, Some("name a CPU that this process may use"));
    }
    let lifetime = Duration::from_secs(lifetime.into());
    let announce = |address| {
        let mut out = io::stdout();
        writeln!(out, "listening on {address}").and_then(|()| out.flush())
    };
    match backend::serve(listen, lifetime, announce) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(
            &format!("cannot serve on {listen}: {error}"),
            Some("port 0 takes a free port"),
        ),
    }
}

/// Prints what is made of a file of reports.
fn tabulate(file: &Path, table: impl FnOnce(&str) -> Result<String, SummaryError>) -> ExitCode {
    let text = match read(file) {
        Ok(text) => text,
        Err(error) => return fail(&format!("cannot read {}: {error}", file.display()), None),
    };
    match table(&text) {
        Ok(table) => print(&table),
        Err(error) => fail(
            &error.to_string(),
            Some("give it what `load ... --json` prints, with `--label` to compare"),
        ),
    }
}

fn draw(file: &Path, words: Words<'_>, out: &Path) -> ExitCode {
    let text = match read(file) {
        Ok(text) => text,
        Err(error) => return fail(&format!("cannot read {}: {error}", file.display()), None),
    };
    let series = match points::read(&text) {
        Ok(series) => series,
        Err(error) => return fail(&error.to_string(), Some("`load plot --help`")),
    };
    if let Err(error) = std::fs::write(out, plot::svg(&series, words)) {
        return fail(&format!("cannot write {}: {error}", out.display()), None);
    }
    print(&points::table(&series, words.sizes, words.figures))
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = if file == Path::new("-") {
        io::stdin().take(MAX_REPORTS + 1).read_to_string(&mut text)
    } else {
        File::open(file)?
            .take(MAX_REPORTS + 1)
            .read_to_string(&mut text)
    }?;
    if length as u64 > MAX_REPORTS {
        return Err(io::Error::other(
            "it is longer than any set of reports or points",
        ));
    }
    Ok(text)
}

/// Keeps this process, and the threads it starts, on one CPU.
fn pin(cpu: Option<u16>) -> Result<(), String> {
    let Some(cpu) = cpu else {
        return Ok(());
    };
    let mut set = CpuSet::new();
    set.set(cpu.into());
    sched_setaffinity(None, &set).map_err(|error| format!("cannot run on CPU {cpu}: {error}"))
}

fn print(text: &str) -> ExitCode {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot write to stdout: {error}"), None),
    }
}

fn wrong_usage(error: &str) -> ExitCode {
    complain(error, Some("`load --help` and `load WORKLOAD --help`"));
    USAGE.into()
}

fn fail(error: &str, hint: Option<&str>) -> ExitCode {
    complain(error, hint);
    ExitCode::FAILURE
}

fn complain(error: &str, hint: Option<&str>) {
    let mut err = io::stderr();
    let _ = writeln!(err, "error: {error}");
    if let Some(hint) = hint {
        let _ = writeln!(err, "hint: {hint}");
    }
}
