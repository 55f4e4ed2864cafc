//! `audit index`: where the entries of each patient stand, for reports.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use terminal::{Progress, counted};

use super::failure::Failure;
use super::source::Source;
use crate::index::{self, UpdateError};
use crate::select::Filter;

/// Make the index that reports use, or bring it up to date.
///
/// It lies in the log's directory, for its owner alone, and holds no name of a patient, only pseudonyms.
/// It can be removed at any time: the log holds all that it tells.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  audit index /var/lib/phigate/audit")]
pub(super) struct Index {
    #[command(flatten)]
    source: Source,
}

impl Index {
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let source = &self.source;
        source.look()?;
        if !source.is_ours() {
            let directory = source.directory.clone();
            return Err(Failure::NotOurs { directory });
        }
        let unsealer = source.unsealer()?;
        source.record("index", &Filter::default())?;
        let progress = Progress::new(false);
        let mut watch = |entries| progress.at(format_args!("{entries} entries"));
        let updated = index::update(&source.directory, unsealer, &mut watch);
        drop(progress);
        let updated = updated.map_err(|error| match error {
            UpdateError::Walk(error) => source.stuck(error),
            error => Failure::Index(error),
        })?;
        let told = if let Some(why) = &updated.anew {
            writeln!(out, "made anew: {why}")
        } else {
            Ok(())
        };
        told.and_then(|()| {
            writeln!(
                out,
                "{}, {} of them new",
                counted(updated.entries, "entry/entries"),
                updated.added
            )
        })
        .map_err(Failure::Output)?;
        for (count, what) in [
            (updated.dropped, "whose key is gone: dropped"),
            (
                updated.closed,
                "sealed to readers with another key: not in the index",
            ),
            (updated.wrong, "not to be read: not in the index"),
        ] {
            if count > 0 {
                writeln!(out, "{} {what}", counted(count, "entry/entries"))
                    .map_err(Failure::Output)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
