//! `gateway demo`: the whole product on one machine with nothing prepared. An authority, a server
//! and two device certificates (one of them revoked), a sample API, a commented configuration, and
//! the gateway in front; with `--once` it plays its own story and checks the outcome.

mod prepare;

mod sample;

mod story;

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use config::{Admin, Authority, Config, HostName, Server};
use tokio::task::LocalSet;

use crate::load::Source;
use crate::run::{self, Running};
use prepare::Prepared;

/// Runs the demo in `directory` until it is interrupted or, when `once`, until its story is told.
/// Returns whether everything was as expected; `say` prints a line.
///
/// # Errors
/// What to tell the person, as `error:` and `hint:` lines.
pub fn demo(
    directory: &Path,
    listen: Option<SocketAddr>,
    once: bool,
    say: &mut dyn FnMut(&str),
) -> Result<bool, String> {
    let prepared = prepare::prepare(directory, listen).map_err(|error| error.to_string())?;
    prepared.remarks.iter().for_each(|remark| say(remark));
    let sample = prepared
        .sample
        .try_clone()
        .map_err(|error| format!("error: {error}"))?;
    sample::start(sample)
        .map_err(|error| format!("error: the sample API cannot be served: {error}"))?;
    let runtime = run::main_runtime().map_err(|error| error.to_string())?;
    LocalSet::new().block_on(&runtime, async {
        let running = Running::start(source(&prepared), |_| ())
            .await
            .map_err(|error| error.to_string())?;
        if once {
            let client = Rc::new(story::Client::new(&prepared)?);
            let told = story::tell(&client, say).await;
            running
                .stop("the demo's story is told")
                .await
                .map_err(|error| error.to_string())?;
            return Ok(told && story::verify(&prepared, say));
        }
        introduce(&prepared, say);
        running
            .until_signal()
            .await
            .map_err(|error| error.to_string())?;
        Ok(true)
    })
}

/// The file, with the addresses that are free today.
fn source(prepared: &Prepared) -> Source {
    let (listen, admin, upstream) = (prepared.listen, prepared.admin, prepared.upstream);
    Source::adjusted(&prepared.config, move |config: &mut Config| {
        if let Some(first) = config
            .listeners
            .values_mut()
            .next()
            .and_then(|listener| listener.listen.first_mut())
        {
            first.value = listen;
        }
        if let Admin::Listen(address) = &mut config.admin {
            address.value = admin;
        }
        let sample = config
            .upstreams
            .values_mut()
            .find(|upstream| prepare::loopback(upstream).is_some());
        if let (Some(sample), Ok(host)) = (sample, HostName::parse(&upstream.ip().to_string())) {
            sample.server.value = Server::Http {
                authority: Authority {
                    host,
                    port: upstream.port(),
                },
            };
        }
    })
}

/// Commands to paste.
fn introduce(prepared: &Prepared, say: &mut dyn FnMut(&str)) {
    let directory = shell_word(&prepared.directory.display().to_string());
    let url = format!("https://localhost:{}", prepared.listen.port());
    let device = |name: &str| {
        format!("--cert {directory}/{name}/chain.pem --key {directory}/{name}/key.pem")
    };
    say(&format!(
        "The gateway listens on {}, in front of a sample API on {}.",
        prepared.listen, prepared.upstream
    ));
    say("Try, in another terminal:");
    say("");
    say("  # the device reads a record");
    say(&format!(
        "  curl --cacert {directory}/server/trust.pem {} {url}/fhir/Patient/1",
        device("device")
    ));
    say("  # a client without a certificate is refused in the handshake");
    say(&format!(
        "  curl --cacert {directory}/server/trust.pem {url}/fhir/Patient/1"
    ));
    say("  # so is a device whose certificate was revoked");
    say(&format!(
        "  curl --cacert {directory}/server/trust.pem {} {url}/fhir/Patient/1",
        device("revoked")
    ));
    say("  # all of it is on record, and the record is whole");
    say(&format!(
        "  cargo run --release --bin audit -- show {directory}/audit"
    ));
    say(&format!(
        "  cargo run --release --bin audit -- verify {directory}/audit"
    ));
    say("  # health, metrics");
    say(&format!(
        "  curl http://{}/readyz http://{}/metrics",
        prepared.admin, prepared.admin
    ));
    say("");
    say("Ctrl-C ends it.");
}

/// A path as a shell reads it back.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
