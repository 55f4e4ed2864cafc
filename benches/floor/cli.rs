//! What is typed, what is printed, and how the program ends: 0 is `--help`, 1 anything that went
//! wrong, 64 wrong usage.
//!
//! What this file does not do: it serves nothing itself.

use crate::loopback::Loopback;
use crate::{proxy, tls};
use clap::Parser;
use std::io::{self, Write};
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

const USAGE: u8 = 64;

/// A TLS proxy of hyper and tokio-rustls with nothing of the gateway: what it costs a request, the
/// libraries cost.
///
/// Client certificates are required. HTTP/1.1 or HTTP/2 towards clients, HTTP/1.1 to the backend. It
/// records nothing, and serves until it is killed. Prints the address that it listens on.
#[derive(Debug, Parser)]
#[command(
    name = "floor",
    version,
    after_help = "Example:
  load backend --listen 127.0.0.1:8080 &
  floor --backend 127.0.0.1:8080 --chain server/chain.pem --key server/key.pem \\
    --clients trust.pem

Exit codes: 1 something went wrong, 64 wrong usage."
)]
struct Arguments {
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8443")]
    listen: Loopback,
    /// Where requests go.
    #[arg(long, value_name = "ADDR:PORT")]
    backend: Loopback,
    #[command(flatten)]
    files: tls::Files,
}

/// Runs the program with the process's arguments.
pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let config = match tls::config(&arguments.files) {
        Ok(config) => config,
        Err(error) => {
            let hint = "`pki issue --out DIR` writes chain.pem, key.pem and trust.pem in DIR";
            return fail(&error, hint);
        }
    };
    match serve(&arguments, TlsAcceptor::from(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(
            &format!("cannot serve on {}: {error}", arguments.listen),
            "port 0 takes a free port",
        ),
    }
}

fn serve(arguments: &Arguments, acceptor: TlsAcceptor) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(arguments.listen.address()).await?;
        let mut out = io::stdout();
        writeln!(out, "listening on {}", listener.local_addr()?)?;
        out.flush()?;
        proxy::serve(listener, acceptor, arguments.backend.address()).await
    })
}

fn fail(error: &str, hint: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {error}\nhint: {hint}");
    ExitCode::FAILURE
}
