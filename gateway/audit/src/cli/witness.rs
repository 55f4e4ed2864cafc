//! `audit witness`: the key of a witness, and a server that cosigns.

use std::io::{Read as _, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use terminal::{counted, misused};

use super::failure::Failure;
use crate::ship::serve::{self, Told};
use crate::witness::{self, Logs, Witness as Cosigning};

/// Cosign the checkpoints of other machines' logs (C2SP tlog-witness).
///
/// A witness remembers how far it saw each log grow, so that a log that is put back to an older state
/// is found. It belongs on another machine than the log, under another administration.
#[derive(Debug, Args)]
pub(super) struct Witness {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the key of a witness.
    ///
    /// Writes witness.key, which stays with it, and witness.vkey, which gateways and verifiers are
    /// given. Nothing that exists is replaced.
    #[command(
        after_help = "Example:\n  audit witness keygen --name witness.example/w1 --out /etc/phigate-witness"
    )]
    Keygen {
        /// The witness's name, which stands in every cosignature: a host of yours and a path, without
        /// a scheme.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// The directory to write to, which must exist.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Serve until the process is ended.
    #[command(
        after_help = "Example:\n  audit witness serve --key witness.key --logs logs --state /var/lib/phigate-witness --listen 127.0.0.1:7380"
    )]
    Serve {
        /// The file witness.key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// A file with the public keys of the logs that are cosigned, one a line, as in log.vkey. What
        /// stands before a key on its line names the log, if it is not the name of the key.
        #[arg(long, value_name = "FILE")]
        logs: PathBuf,
        /// The directory of what is remembered; made when it does not exist. It is never put back to
        /// an older copy: a witness that forgets proves nothing.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Address and port. Plain HTTP: cosignatures are verified by whoever asks for them. Put TLS in
        /// front where others could claim to be this witness.
        #[arg(long, value_name = "ADDRESS")]
        listen: SocketAddr,
    },
}

impl Witness {
    /// Makes the key, or serves.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Keygen {
                name,
                out: directory,
            } => keygen(&name, &directory, out),
            Command::Serve {
                key,
                logs,
                state,
                listen,
            } => serve(&key, &logs, &state, listen, out),
        }
    }
}

fn keygen(name: &str, directory: &Path, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let name = name.parse().map_err(|error| Failure::Name { error })?;
    let paths = witness::keygen(directory, &name).map_err(Failure::WitnessKey)?;
    for path in paths {
        writeln!(out, "{}", path.display()).map_err(Failure::Output)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(
    key: &Path,
    logs: &Path,
    state: &Path,
    listen: SocketAddr,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let cosigner = witness::read_key(key).map_err(Failure::WitnessKey)?;
    let open = |error| Failure::Open {
        path: logs.to_owned(),
        error,
    };
    let mut text = Vec::new();
    std::fs::File::open(logs)
        .and_then(|file| file.take(Logs::MAX_BYTES as u64 + 1).read_to_end(&mut text))
        .map_err(open)?;
    let known = match Logs::parse(&text) {
        Ok(known) => known,
        Err(error) => {
            let error = format_args!("{}: {error}", logs.display());
            let hint = "one line a log, with its public key as in log.vkey";
            return Ok(misused(error, hint));
        }
    };
    let count = known.origins().len();
    let cosigning = Cosigning::open(state, known, cosigner).map_err(|error| {
        let directory = state.to_owned();
        Failure::WitnessState { directory, error }
    })?;
    let failed = |error| Failure::Listen {
        address: listen,
        error,
    };
    let listener = TcpListener::bind(listen).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let verifier = cosigning.verifier();
    let counted = counted(count as u64, "log");
    writeln!(
        out,
        "key: {verifier}\ncosigning {counted} on http://{address}"
    )
    .and_then(|()| out.flush())
    .map_err(Failure::Output)?;
    serve::serve(listener, None, cosigning, tell).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

/// What an operator should look at goes to stderr.
fn tell(told: Told) {
    match told {
        Told::Unproved(refusal) => terminal::complain(
            format_args!("a log signed two histories, or was put back: {refusal}"),
            Some("ask its operator; the last checkpoint that was cosigned is in the state"),
        ),
        Told::Failed(error) => terminal::complain(error, Some("check the disk and the clock")),
    }
}
