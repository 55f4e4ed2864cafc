//! What a person types and sees: the verbs of `audit`, each in a file of its own.
//!
//! Results go to stdout: a verdict with its `finding:` and `note:` lines, or records. Trouble goes to
//! stderr as `error:` and `hint:` lines. Exit codes of `verify`, `backup` and `restore`: 0 good, 1
//! tampered, 2 truncated, 3 cannot verify, 4 I/O; of the rest: 0 done, 1 failed; 64 wrong usage.

mod export;

mod failure;

mod index;

mod keep;

mod keygen;

mod recover;

mod rotate;

mod report;

#[cfg(feature = "net")]
mod ship;

mod show;

mod source;

mod disclose;

mod prove;

mod verify;

mod backup;

mod restore;

mod mirror;

#[cfg(feature = "net")]
mod witness;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use terminal::Shell;

use failure::Failure;

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
    Verify(verify::Verify),
    Show(show::Show),
    Index(index::Index),
    Report(report::Report),
    Export(export::Export),
    #[cfg(feature = "net")]
    Ship(ship::Ship),
    Prove(prove::Prove),
    Check(prove::Check),
    Recover(recover::Recover),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Mirror(mirror::Mirror),
    Disclose(disclose::Disclose),
    Keygen(keygen::Keygen),
    Rotate(rotate::Rotate),
    Keep(keep::Keep),
    Hold(keep::Hold),
    Destroy(keep::Destroy),
    #[cfg(feature = "net")]
    Witness(witness::Witness),
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

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let command = match terminal::parse(std::env::args_os()) {
        Ok(Arguments { command }) => command,
        Err(code) => return code,
    };
    let mut out = io::stdout().lock();
    let ended = match command {
        Command::Verify(verb) => verb.run(&mut out),
        Command::Show(verb) => verb.run(&mut out),
        Command::Index(verb) => verb.run(&mut out),
        Command::Report(verb) => verb.run(&mut out),
        Command::Export(verb) => verb.run(&mut out),
        #[cfg(feature = "net")]
        Command::Ship(verb) => verb.run(&mut out),
        Command::Prove(verb) => verb.run(&mut out),
        Command::Check(verb) => verb.run(&mut out),
        Command::Recover(verb) => verb.run(&mut out),
        Command::Backup(verb) => verb.run(&mut out),
        Command::Restore(verb) => verb.run(&mut out),
        Command::Mirror(verb) => verb.run(&mut out),
        Command::Disclose(verb) => verb.run(&mut out),
        Command::Keygen(verb) => verb.run(&mut out),
        Command::Rotate(verb) => verb.run(&mut out),
        Command::Keep(verb) => verb.run(&mut out),
        Command::Hold(verb) => verb.run(&mut out),
        Command::Destroy(verb) => verb.run(&mut out),
        #[cfg(feature = "net")]
        Command::Witness(verb) => verb.run(&mut out),
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
