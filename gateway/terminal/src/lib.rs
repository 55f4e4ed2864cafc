//! What `gateway`, `audit` and `pki` have in common on a terminal: how wrong usage is told, where
//! results and trouble go, the log, completions and manual pages.
//!
//! Results go to stdout and nothing else does; trouble goes to stderr as `error:` and `hint:` lines.
//! Exit codes: 0 done, 1 refused or failed, 64 wrong usage (sysexits.h). What a program says is its
//! own: there is not a word here about gateways, logs or certificates.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Command, Parser};
pub use clap_complete::Shell;

/// Wrong usage: what was typed makes no sense, whatever the machine looks like.
pub const USAGE: u8 = 64;

/// Reads what was typed. Help and version are results, and end the program well; everything else
/// that the parser says is wrong usage.
///
/// # Errors
/// What to end the program with; everything has been said.
pub fn parse<P: Parser>(arguments: impl Iterator<Item = OsString>) -> Result<P, ExitCode> {
    P::try_parse_from(arguments).map_err(|error| match error.kind() {
        // In colors, if the terminal wants them.
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            USAGE.into()
        }
        _ => {
            tell(usage_lines(&error.to_string()).trim_end());
            USAGE.into()
        }
    })
}

/// The parser's words in the form of all other errors.
fn usage_lines(rendered: &str) -> String {
    let line = |line: &str| {
        let trimmed = line.trim_start();
        if let Some(tip) = trimmed.strip_prefix("tip: ") {
            format!("hint: {tip}\n")
        } else if let Some(usage) = trimmed.strip_prefix("Usage: ") {
            format!("hint: usage: {usage}\n")
        } else if trimmed.starts_with("For more information") {
            "hint: --help shows every flag and an example\n".to_owned()
        } else {
            format!("{line}\n")
        }
    };
    let lines = rendered.lines().filter(|line| !line.trim().is_empty());
    lines.map(line).collect()
}

/// Wrong usage that only the program can see.
pub fn misused(error: impl fmt::Display, hint: &str) -> ExitCode {
    complain(error, Some(hint));
    USAGE.into()
}

/// Tells why nothing came of it, and what to do about it if there is something.
pub fn fail(error: impl fmt::Display, hint: Option<&str>) -> ExitCode {
    complain(error, hint);
    ExitCode::FAILURE
}

/// An `error:` line and, if there is one, a `hint:` line.
pub fn complain(error: impl fmt::Display, hint: Option<&str>) {
    match hint {
        Some(hint) => tell(format_args!("error: {error}\nhint: {hint}")),
        None => tell(format_args!("error: {error}")),
    }
}

/// Writes lines of trouble that are whole already. Whoever reads no more of it has seen enough: the
/// exit code is what remains.
pub fn tell(lines: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{lines}");
}

/// Starts the log of a program that stays: on standard error, lines for people on a terminal, JSON for
/// everybody else. `PHIGATE_LOG` says how much, in the words of `tracing`; "info" if it is not set.
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PHIGATE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false);
    let terminal = io::stderr().is_terminal();
    let colors = terminal && std::env::var_os("NO_COLOR").is_none();
    // A second subscriber is refused; the first one stays, which is what is wanted.
    let _ = if terminal {
        builder.with_ansi(colors).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}

/// Writes a result. A reader that has seen enough, such as `head`, is no failure.
///
/// # Errors
/// The operating system's.
pub fn put(text: &str) -> io::Result<()> {
    put_bytes(text.as_bytes())
}

fn put_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes a result, and says whether it could be written.
pub fn print(text: &str) -> ExitCode {
    print_bytes(text.as_bytes())
}

/// Writes a result that need not be text, and says whether it could be written.
pub fn print_bytes(bytes: &[u8]) -> ExitCode {
    match put_bytes(bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unwritten(&error),
    }
}

/// The result could not be written.
pub fn unwritten(error: &io::Error) -> ExitCode {
    let hint = "look at where stdout leads: a disk may be full";
    fail(format_args!("cannot write the result: {error}"), Some(hint))
}

/// Prints the completion script of a program for a shell.
pub fn completions(mut command: Command, shell: Shell) -> ExitCode {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Writes the manual pages of a program, one a command, into a directory that is there.
pub fn manual(command: Command, directory: &Path) -> ExitCode {
    match clap_mangen::generate_to(command, directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(
            format_args!("cannot write to {}: {error}", directory.display()),
            Some("name a directory that exists and that you may write to"),
        ),
    }
}

/// `1 list`, `2 lists`; a noun that takes more than an s is given as `batch/batches`.
pub fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    match (count, noun.split_once('/')) {
        (1, Some((one, _))) => format!("1 {one}"),
        (1, None) => format!("1 {noun}"),
        (_, Some((_, many))) => format!("{count} {many}"),
        (_, None) => format!("{count} {noun}s"),
    }
}

/// How far long work has come, for a person who watches: one line on stderr that is written over,
/// and nothing where stderr is no terminal.
#[derive(Debug)]
pub struct Progress {
    watched: bool,
}

impl Progress {
    /// Shows nothing when `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Progress {
        Progress {
            watched: !quiet && io::stderr().is_terminal(),
        }
    }

    /// Where the work is.
    pub fn at(&self, place: impl fmt::Display) {
        if self.watched {
            // Back to the margin, and clear to the end of the line (ECMA-48 8.3.41).
            let _ = write!(io::stderr(), "\r\u{1b}[K{place}");
        }
    }
}

/// Takes the line away again.
impl Drop for Progress {
    fn drop(&mut self) {
        self.at("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_parser_become_errors_and_hints() {
        let rendered = "error: unexpected argument '--nmae' found\n\n  tip: a similar argument \
                        exists: '--name'\n\nUsage: pki init --dir <DIR>\n\nFor more information, \
                        try '--help'.\n";
        assert_eq!(
            usage_lines(rendered),
            "error: unexpected argument '--nmae' found\n\
             hint: a similar argument exists: '--name'\n\
             hint: usage: pki init --dir <DIR>\n\
             hint: --help shows every flag and an example\n"
        );
    }

    #[test]
    fn one_thing_is_no_plural() {
        assert_eq!(counted(1_usize, "list"), "1 list");
        assert_eq!(counted(0_u32, "list"), "0 lists");
        assert_eq!(counted(2_u64, "list"), "2 lists");
        assert_eq!(counted(1_u64, "batch/batches"), "1 batch");
        assert_eq!(counted(50_u64, "batch/batches"), "50 batches");
    }
}
