//! `audit keygen`: the keys of a log, and a reader's pair.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use crate::keygen;

/// Make the keys of a log, and a key pair for whoever reads it.
///
/// Writes audit.keys and reader.pem, which the gateway's configuration names, and reader.key, which
/// belongs to whoever reads the log. Nothing that exists is replaced.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  audit keygen --name clinic.example/audit --out /etc/phigate")]
pub(super) struct Keygen {
    /// The log's name, which stands in every checkpoint: a host of yours and a path, without a
    /// scheme.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The directory to write to, which must exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Keygen {
    /// Makes the files and prints where they are.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let name = self.name.parse().map_err(|error| Failure::Name { error })?;
        let paths = keygen::keygen(&self.out, &name).map_err(Failure::Keygen)?;
        for path in paths {
            writeln!(out, "{}", path.display()).map_err(Failure::Output)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
