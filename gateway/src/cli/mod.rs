//! What a person types and sees. Results go to stdout, everything else to stderr as `error:`,
//! `warning:` and `hint:` lines. Exit codes: 0 done, 1 refused or failed, 64 wrong usage.

mod files;

mod sign;

mod verify;

mod arguments;

mod check;

mod explain;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;

use self::arguments::{Arguments, Command};
use self::check::check;
use self::explain::explain;
use crate::{demo, run};

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let command = match terminal::parse(std::env::args_os()) {
        Ok(Arguments { command }) => command,
        Err(code) => return code,
    };
    match command {
        Command::Run { config } => serve(&config),
        Command::Check {
            config,
            quiet,
            json,
        } => check(&config, quiet, json),
        Command::Explain {
            config,
            client,
            json,
            method,
            url,
        } => explain(&config, client.as_deref(), &method, &url, json),
        Command::Sign(sign) => sign.run(),
        Command::Verify(verify) => verify.run(),
        Command::Demo { dir, listen, once } => run_demo(&dir, listen, once),
        Command::Schema => terminal::print(&config::schema()),
        Command::Completions { shell } => terminal::completions(Arguments::command(), shell),
        Command::Manual { directory } => terminal::manual(Arguments::command(), &directory),
    }
}

fn serve(path: &Path) -> ExitCode {
    terminal::start_logging();
    match run::run(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::tell(error);
            ExitCode::FAILURE
        }
    }
}

fn run_demo(directory: &Path, listen: Option<SocketAddr>, once: bool) -> ExitCode {
    // A demo that stays is a gateway like any other: what becomes of a reload must be told.
    if !once || std::env::var_os("PHIGATE_LOG").is_some() {
        terminal::start_logging();
    }
    let mut out = io::stdout();
    let mut say = |line: &str| {
        // Whoever closed the terminal does not want to read it.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    };
    match demo::demo(directory, listen, once, &mut say) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            terminal::tell(text);
            ExitCode::FAILURE
        }
    }
}
