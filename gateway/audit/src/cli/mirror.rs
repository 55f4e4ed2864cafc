//! `audit mirror`: the signed part of a log for tools of C2SP tlog-tiles.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use terminal::{Progress, counted};

use super::backup;
use super::failure::Failure;
use super::verify::{by, key_for};
use crate::mirror;

/// Write a log as files that any web server can offer and tools for C2SP tlog-tiles read.
///
/// The place gets the log's last checkpoint, the tiles of its tree and its entries in bundles, up to
/// that checkpoint; sealed entries stay sealed. Done again with the same place, it adds what is new. A
/// log that does not verify, or was put back, cut or written anew, is refused, and the mirror stays as it
/// was. New files are for whoever may read the place itself. Works on the log of a running gateway,
/// which puts it on record first.
///
/// Exit codes: 0 done, 1 failed, 64 wrong usage.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  audit mirror /var/lib/phigate/audit --to /var/lib/phigate/mirror"
)]
pub(super) struct Mirror {
    /// The log's directory.
    directory: PathBuf,
    /// The place: a directory that is not there yet, an empty one, or a mirror of this log.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// A file with the public key that the log's checkpoints must be signed with. Else log.vkey beside
    /// the log's directory; else the key that the log names itself.
    #[arg(long, value_name = "VKEY")]
    key: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Mirror {
    /// Brings the mirror up to date, and says what it holds.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let key = key_for(&self.directory, self.key)?;
        let asked = by(key.as_ref());
        let begun = mirror::begin(&self.directory, &self.to).map_err(Failure::Mirror)?;
        backup::record(&self.directory, begun.entries())?;
        let progress = Progress::new(self.json);
        let made = begun.make(&asked, &mut |segment, last| {
            progress.at(format_args!("verifying segment {segment} of {last}"));
        });
        drop(progress);
        let made = made.map_err(Failure::Mirror)?;
        let new = made.head.size - made.before;
        let printed = if self.json {
            let document = json!({
                "entries": made.head.size,
                "root": made.head.root.to_string(),
                "new_entries": new,
                "written_files": made.files,
            });
            writeln!(out, "{document}")
        } else {
            writeln!(
                out,
                "mirrored: {}, {new} of them new; {} written\nroot: {}",
                counted(made.head.size, "entry/entries"),
                counted(made.files, "file"),
                made.head.root,
            )
        };
        printed
            .and_then(|()| out.flush())
            .map_err(Failure::Output)?;
        Ok(ExitCode::SUCCESS)
    }
}
