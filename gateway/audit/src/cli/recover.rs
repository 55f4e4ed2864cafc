//! `audit recover`: what a log has lost at its end, and letting it go on without it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use terminal::{complain, counted};

use super::failure::Failure;
use super::verify::key_for;
use crate::event::Time;
use crate::loss::{self, Acceptance, Loss};
use crate::reading::login_uid;

/// Say what a log has lost at its end, and let it go on without it.
///
/// For a log that the gateway refuses to open: the end of its last segment is damaged, cut off or not
/// what was signed, or segments are missing. Without --accept-loss nothing is changed. With it, the log
/// goes on behind what is lost; an entry says what that was, who accepted it and why, and the damaged
/// bytes stay as evidence. A torn last batch is no loss: the gateway sets it aside by itself.
///
/// Exit codes: 0 nothing is lost, or its loss is accepted now; 1 something is lost, or the log cannot
/// go on; 64 wrong usage.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  audit recover /var/lib/phigate/audit\n  audit recover /var/lib/phigate/audit --accept-loss --reason 'disk replaced, ticket 4711'"
)]
pub(super) struct Recover {
    /// The log's directory.
    directory: PathBuf,
    /// Let the log go on without what is lost.
    #[arg(long, requires = "reason")]
    accept_loss: bool,
    /// Why, in a sentence that an auditor will read.
    #[arg(long, value_name = "TEXT", requires = "accept_loss")]
    reason: Option<String>,
    /// A file with the public key that the log is signed with. Else log.vkey beside its directory.
    #[arg(long, value_name = "VKEY")]
    key: Option<PathBuf>,
}

impl Recover {
    /// Says what is lost; accepts it if that was asked.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let key = key_for(&self.directory, self.key)?;
        let key = key.as_ref().map(|key| &key.verifier);
        let failed = |error| Failure::Loss {
            directory: self.directory.clone(),
            error,
        };
        let loss = match &self.reason {
            Some(reason) => {
                let acceptance = Acceptance {
                    reason,
                    uid: rustix::process::getuid().as_raw(),
                    login_uid: login_uid("self"),
                    now: Time::from_system(SystemTime::now()),
                };
                loss::accept(&self.directory, key, &acceptance)
            }
            None => loss::assess(&self.directory, key),
        };
        let Some(loss) = loss.map_err(failed)? else {
            writeln!(
                out,
                "nothing is lost: the gateway opens this log, or says what else is wrong"
            )
            .map_err(Failure::Output)?;
            return Ok(ExitCode::SUCCESS);
        };
        print(&loss, out).map_err(Failure::Output)?;
        if self.accept_loss {
            let next = loss.to;
            writeln!(
                out,
                "accepted: the log goes on with entry {next}, which says so"
            )
            .map_err(Failure::Output)?;
            return Ok(ExitCode::SUCCESS);
        }
        complain(
            "the log does not go on by itself",
            Some(
                "look for a copy of what is missing first; then --accept-loss --reason TEXT lets it go on",
            ),
        );
        Ok(ExitCode::FAILURE)
    }
}

fn print(loss: &Loss, out: &mut impl Write) -> std::io::Result<()> {
    let lost = counted(loss.to - loss.from, "signed entry/signed entries");
    writeln!(
        out,
        "lost: {lost} from {} on, and whatever was not signed behind them",
        loss.from
    )?;
    for damage in &loss.damage {
        writeln!(
            out,
            "damaged: {} of segment {} from byte {} on, which stay as evidence",
            counted(damage.bytes, "byte"),
            damage.segment,
            damage.offset
        )?;
    }
    out.flush()
}
