//! How results and trouble reach a person: results on stdout, trouble on stderr.

use std::io::{self, Write};
use std::process::ExitCode;

/// Writes a result, and says whether it could be written.
pub(super) fn print(out: &mut impl Write, text: &str) -> ExitCode {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot write the output: {error}"), None),
    }
}

/// Tells why nothing came of it, and what to do about it if there is something.
pub(super) fn fail(error: &str, hint: Option<&str>) -> ExitCode {
    complain(&format!("error: {error}"));
    if let Some(hint) = hint {
        complain(&format!("hint: {hint}"));
    }
    ExitCode::FAILURE
}

/// Tells trouble. Whoever reads no more of it has seen enough: that is no reason to fail otherwise
/// than for the trouble itself.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
