//! `audit rotate`: new keys for a log.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::keygen::passphrase;
use crate::rotate;

/// Make new keys for a log, which the old ones hand over to.
///
/// Writes audit.keys, which takes the place of the old file in the gateway's configuration and is
/// in force from its next start on, and log.rotations, which is public: with it, whoever has an older
/// public key checks proofs of later ones. Nothing that exists is replaced. Prints the files and the
/// new public key, for those who keep one.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  audit rotate /var/lib/phigate/audit --keys /etc/phigate/audit.keys --out /etc/phigate/2027"
)]
pub(super) struct Rotate {
    /// The log's directory. The gateway may be running.
    directory: PathBuf,
    /// The file with the keys that the log has.
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// The directory to write to, which must exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A file that holds a passphrase: the new audit.keys is encrypted with it, and the old one opened,
    /// if that is encrypted.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Rotate {
    /// Makes the files, and prints where they are.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let passphrase = passphrase(self.passphrase_file)?;
        let passphrase = passphrase.as_ref().map(|passphrase| &passphrase[..]);
        let made = rotate::rotate(&self.directory, &self.keys, passphrase, &self.out);
        let made = made.map_err(Failure::Rotate)?;
        let [rotations, keys] = made.paths.each_ref().map(|path| path.display());
        let printed = writeln!(out, "{rotations}\n{keys}\n{}", made.key);
        printed.map_err(Failure::Output)?;
        Ok(ExitCode::SUCCESS)
    }
}
