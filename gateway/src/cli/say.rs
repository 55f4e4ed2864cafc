//! How results and trouble reach a person: results on stdout, trouble on stderr.

use std::io::{self, Write};
use std::process::ExitCode;

pub(super) fn print(out: &mut impl Write, text: &str) -> ExitCode {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot write the output: {error}"), None),
    }
}

pub(super) fn fail(error: &str, hint: Option<&str>) -> ExitCode {
    complain(&format!("error: {error}"));
    if let Some(hint) = hint {
        complain(&format!("hint: {hint}"));
    }
    ExitCode::FAILURE
}

#[expect(
    clippy::print_stderr,
    reason = "the one place that speaks to a person about trouble"
)]
pub(super) fn complain(text: &str) {
    eprintln!("{text}");
}
