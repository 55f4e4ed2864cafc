//! The program `pki`: the authority on the command line. The library of the same name does the
//! work; what a person types and reads is in `cli`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main(std::env::args_os())
}
