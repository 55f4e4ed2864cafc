//! `audit keygen`: the keys of a log, and a reader's pair.

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::keygen;
use crate::locked;

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
    /// A file that holds a passphrase: audit.keys is encrypted with it.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Keygen {
    /// Makes the files and prints where they are.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let name = self.name.parse().map_err(|error| Failure::Name { error })?;
        let passphrase = passphrase(self.passphrase_file)?;
        let passphrase = passphrase.as_ref().map(|passphrase| &passphrase[..]);
        let paths = keygen::keygen(&self.out, &name, passphrase).map_err(Failure::Keygen)?;
        for path in paths {
            writeln!(out, "{}", path.display()).map_err(Failure::Output)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The content of the file that holds the passphrase, if there is one.
pub(super) fn passphrase(file: Option<PathBuf>) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let Some(path) = file else {
        return Ok(None);
    };
    // Sized ahead, so that no half of it is left behind by a buffer that grew. What is longer than a
    // passphrase is refused as none.
    let mut content = Zeroizing::new(Vec::with_capacity(locked::LONGEST + 4));
    let read = File::open(&path).and_then(|file| {
        file.take(locked::LONGEST as u64 + 3)
            .read_to_end(&mut content)
    });
    match read {
        Ok(_) => Ok(Some(content)),
        Err(error) => Err(Failure::Open { path, error }),
    }
}
