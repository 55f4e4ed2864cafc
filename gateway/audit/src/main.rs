//! The program `audit`: verify a log and read it, without the gateway.

use std::process::ExitCode;

fn main() -> ExitCode {
    audit::cli::main()
}
