//! `gateway demo`: the whole product on one machine with nothing prepared. An authority, a server
//! and two device certificates (one of them revoked), a sample API, a commented configuration, and
//! the gateway in front; with `--once` it plays its own story and checks the outcome.

mod error;

mod credentials;

mod prepare;

mod sample;

mod signed;

mod story;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;

use config::{Admin, Authority, Config, HostName, Server};
use jiff::Timestamp;
use tokio::task::LocalSet;

use crate::capture::shell;
use crate::load::Source;
use crate::run::{self, Running, Signals};
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
    let mut prepared =
        prepare::prepare(directory, listen, Timestamp::now()).map_err(|error| error.to_string())?;
    prepared.remarks.iter().for_each(|remark| say(remark));
    let sample = prepared
        .sample
        .try_clone()
        .map_err(|error| format!("error: {error}"))?;
    sample::start(sample)
        .map_err(|error| format!("error: the sample API cannot be served: {error}"))?;
    let runtime = run::main_runtime().map_err(|error| error.to_string())?;
    LocalSet::new().block_on(&runtime, async {
        prepared.held.clear();
        // A story that is told can be broken off like any program.
        let signals = (!once).then(Signals::listen).transpose();
        let signals = signals.map_err(|error| error.to_string())?;
        let running = Running::start(source(&prepared), |_| ())
            .await
            .map_err(|error| error.to_string())?;
        let Some(signals) = signals else {
            let client = Rc::new(story::Client::new(&prepared)?);
            let told = story::tell(&client, say).await;
            running
                .stop("the demo's story is told")
                .await
                .map_err(|error| error.to_string())?;
            return Ok(told && story::verify(&prepared, say));
        };
        for line in introduce(&prepared) {
            say(&line);
        }
        running
            .until_signal(signals)
            .await
            .map_err(|error| error.to_string())?;
        Ok(true)
    })
}

/// The file, with the addresses that are free today. Where they are not those of the file its text
/// says so: what goes on record as in force is the hash of that text, not of a file that is not.
fn source(prepared: &Prepared) -> Source {
    let (listen, admin, upstream) = (prepared.listen, prepared.admin, prepared.upstream);
    let wanted = prepared.wanted;
    Source::adjusted(&prepared.config, move |config: &mut Config| {
        if wanted != [listen, admin, upstream] {
            let _ = write!(
                config.text,
                "\n# in force instead: listen {listen}, admin {admin}, upstream {upstream}\n"
            );
        }
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
fn introduce(prepared: &Prepared) -> Vec<String> {
    let directory = shell::word(&prepared.directory.display().to_string());
    let listen = prepared.listen;
    let port = listen.port();
    // The certificate is for localhost and 127.0.0.1, wherever the gateway listens.
    let found = listen.ip().is_unspecified()
        || [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ]
        .contains(&listen.ip());
    let resolve = if found {
        String::new()
    } else {
        format!("--resolve localhost:{port}:{} ", listen.ip())
    };
    let read = |client: Option<&str>| {
        let client = client.map_or(String::new(), |name| {
            format!("--cert {directory}/{name}/chain.pem --key {directory}/{name}/key.pem ")
        });
        format!(
            "  curl {resolve}--cacert {directory}/server/trust.pem {client}https://localhost:{port}/fhir/Patient/1"
        )
    };
    let (admin, upstream) = (prepared.admin, prepared.upstream);
    vec![
        format!("The gateway listens on {listen}, in front of a sample API on {upstream}."),
        "Try, in another terminal:".to_owned(),
        String::new(),
        "  # the device reads a record".to_owned(),
        read(Some("device")),
        "  # a client without a certificate is refused in the handshake".to_owned(),
        read(None),
        "  # so is a device whose certificate was revoked".to_owned(),
        read(Some("revoked")),
        "  # all of it is on record, and the record is whole".to_owned(),
        format!("  cargo run --release --bin audit -- show {directory}/audit"),
        format!("  cargo run --release --bin audit -- verify {directory}/audit"),
        "  # health, metrics".to_owned(),
        format!("  curl http://{admin}/readyz http://{admin}/metrics"),
        String::new(),
        "Ctrl-C ends it.".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::path::PathBuf;

    use super::*;
    use crate::load::{self, testing::Place};

    fn printed(directory: &str, listen: &str) -> String {
        let any: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let prepared = Prepared {
            directory: PathBuf::from(directory),
            config: PathBuf::new(),
            listen: listen.parse().unwrap(),
            admin: any,
            upstream: any,
            wanted: [any; 3],
            sample: TcpListener::bind("127.0.0.1:0").unwrap(),
            held: Vec::new(),
            remarks: Vec::new(),
        };
        introduce(&prepared).join("\n")
    }

    #[test]
    fn a_replaced_address_changes_the_hash_that_goes_on_record() {
        let place = Place::new();
        place.revoke(1, 2, &[]);
        let ports = |ports: [u16; 3]| ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let digest = |[listen, admin, upstream]: [SocketAddr; 3]| {
            let prepared = Prepared {
                directory: place.directory.path().to_owned(),
                config: place.directory.path().join("gateway.toml"),
                listen,
                admin,
                upstream,
                wanted: ports([1, 2, 3]),
                sample: TcpListener::bind("127.0.0.1:0").unwrap(),
                held: Vec::new(),
                remarks: Vec::new(),
            };
            let config = source(&prepared).read().unwrap();
            load::load(config, None).unwrap().site.digest
        };
        let file = digest(ports([1, 2, 3]));
        assert_eq!(file, place.load(None).unwrap().digest);
        assert_ne!(digest(ports([1, 2, 4])), file);
        assert_ne!(digest(ports([1, 2, 4])), digest(ports([1, 2, 5])));
    }

    #[test]
    fn a_printed_path_is_one_word_to_a_shell() {
        let text = printed("/tmp/a b's/$HOME", "127.0.0.1:8443");
        assert!(
            text.contains(r"verify '/tmp/a b'\''s/$HOME'/audit"),
            "{text}"
        );
    }

    #[test]
    fn a_printed_command_reaches_an_address_that_localhost_is_not() {
        for (listen, resolve) in [
            ("127.0.0.1:8443", None),
            ("[::1]:8443", None),
            ("0.0.0.0:8443", None),
            (
                "127.0.0.2:8443",
                Some("--resolve localhost:8443:127.0.0.2 "),
            ),
            ("10.1.2.3:8443", Some("--resolve localhost:8443:10.1.2.3 ")),
        ] {
            let text = printed("/d", listen);
            assert_eq!(text.contains("--resolve"), resolve.is_some(), "{text}");
            assert!(text.contains(resolve.unwrap_or("https://localhost:8443/")));
        }
    }
}
