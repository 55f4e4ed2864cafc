//! What a person types and sees. Results go to stdout, everything else to stderr as `error:`,
//! `warning:` and `hint:` lines. Exit codes: 0 done, 1 refused or failed, 64 wrong usage.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use config::{ClientName, TrustName};
use http::{Method, Uri};

use crate::demo;
use crate::explain::{self, Question};
use crate::load::{self, Loaded};
use crate::run;

/// A transmission security gateway for health care.
#[derive(Debug, Parser)]
#[command(
    name = "gateway",
    version,
    after_help = "Example:\n  gateway check --config /etc/phigate/gateway.toml"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a configuration. SIGHUP reloads it, SIGTERM drains.
    #[command(after_help = "Example:\n  gateway run --config /etc/phigate/gateway.toml")]
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Resolve a configuration and everything that it names, and print every mistake.
    ///
    /// Exit codes: 0 it can be served, 1 it cannot. Touches no socket.
    #[command(after_help = "Example:\n  gateway check --config /etc/phigate/gateway.toml")]
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print nothing but mistakes and warnings.
        #[arg(long)]
        quiet: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Say which listener, certificate, route and rule a request would meet, or which refusal.
    ///
    /// Exit codes: 0 some listener would permit it, 1 none would.
    #[command(
        after_help = "Example:\n  gateway explain --config gateway.toml --client urn:example:pump-1 GET https://api.clinic.example/fhir/Patient/1"
    )]
    Explain {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The client's name, as `NAME` or `TRUST:NAME`; nobody when left out.
        #[arg(long, value_name = "NAME")]
        client: Option<String>,
        /// Print one JSON array.
        #[arg(long)]
        json: bool,
        /// The method.
        method: Method,
        /// The URL.
        url: Uri,
    },
    /// Show the whole product on this machine with nothing prepared.
    ///
    /// Makes an authority and certificates, serves a sample API behind the gateway, and prints
    /// commands to paste. What it made is reused at the next start. Ctrl-C ends it.
    #[command(after_help = "Example:\n  gateway demo --once")]
    Demo {
        /// Where to keep what it makes.
        #[arg(long, value_name = "DIR", default_value = "phigate-demo")]
        dir: PathBuf,
        /// The address to listen on; port 0 takes a free one. 127.0.0.1:8443, or that of an earlier
        /// demo in DIR, when left out.
        #[arg(long, value_name = "ADDR:PORT")]
        listen: Option<SocketAddr>,
        /// Play the story, verify the log, and end. Exit code 0 only if all went as expected.
        #[arg(long)]
        once: bool,
    },
    /// Print the JSON Schema of the configuration file, for editors.
    #[command(after_help = "Example:\n  gateway schema > gateway.schema.json")]
    Schema,
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  gateway completions bash > /etc/bash_completion.d/gateway")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory.
    #[command(after_help = "Example:\n  gateway manual /usr/local/share/man/man1")]
    Manual {
        /// The directory, which must exist.
        directory: PathBuf,
    },
}

const USAGE: u8 = 64;

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
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
    let mut out = io::stdout();
    match arguments.command {
        Command::Run { config } => serve(&config),
        Command::Check {
            config,
            quiet,
            json,
        } => check(&config, quiet, json, &mut out),
        Command::Explain {
            config,
            client,
            json,
            method,
            url,
        } => explain(&config, client.as_deref(), method, url, json, &mut out),
        Command::Demo { dir, listen, once } => run_demo(&dir, listen, once, &mut out),
        Command::Schema => print(&mut out, &config::schema()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "gateway", &mut script);
            print(&mut out, &String::from_utf8_lossy(&script))
        }
        Command::Manual { directory } => {
            match clap_mangen::generate_to(Arguments::command(), &directory) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(
                    &format!("cannot write to {}: {error}", directory.display()),
                    Some("name a directory that exists"),
                ),
            }
        }
    }
}

fn serve(path: &Path) -> ExitCode {
    start_logging();
    match run::run(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Lines for people on a terminal, JSON for everybody else.
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PHIGATE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false);
    let terminal = io::stderr().is_terminal();
    let colors = terminal && std::env::var_os("NO_COLOR").is_none();
    // A second subscriber is refused; the first one stays, which is what is wanted.
    let _ = if terminal {
        builder.with_ansi(colors).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}

fn run_demo(
    directory: &Path,
    listen: Option<SocketAddr>,
    once: bool,
    out: &mut impl Write,
) -> ExitCode {
    if std::env::var_os("PHIGATE_LOG").is_some() {
        start_logging();
    }
    let mut say = |line: &str| {
        // Whoever closed the terminal does not want to read it.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    };
    match demo::demo(directory, listen, once, &mut say) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            complain(&text);
            ExitCode::FAILURE
        }
    }
}

fn check(path: &Path, quiet: bool, json: bool, out: &mut impl Write) -> ExitCode {
    let loaded = config::load(path).and_then(|config| load::load(config, None));
    if json {
        let (ok, findings, decisions) = match &loaded {
            Ok(Loaded { site, warnings }) => (true, warnings.clone(), site.decisions.clone()),
            Err(findings) => (false, findings.list().to_vec(), Vec::new()),
        };
        let document = serde_json::json!({
            "ok": ok,
            "findings": findings.iter().map(|finding| serde_json::json!({
                "severity": finding.severity.to_string(),
                "file": finding.place.file.display().to_string(),
                "line": finding.place.line,
                "column": finding.place.column,
                "key": finding.place.key,
                "message": finding.message,
                "hint": finding.hint,
            })).collect::<Vec<_>>(),
            "decisions": decisions.iter().map(|decision| serde_json::json!({
                "control": decision.control.id(),
                "paragraph": decision.paragraph,
                "key": decision.place.key,
                "rationale": decision.rationale.value.as_str(),
            })).collect::<Vec<_>>(),
        });
        let printed = print(out, &format!("{document}\n"));
        return if ok { printed } else { ExitCode::FAILURE };
    }
    match loaded {
        Ok(Loaded { site, warnings }) => {
            for warning in &warnings {
                complain(&warning.to_string());
            }
            if quiet {
                return ExitCode::SUCCESS;
            }
            let mut lines = vec![format!(
                "ok: {} listeners, {} routes, {} upstreams, {} roles",
                site.listeners.len(),
                site.config.routes.len(),
                site.upstreams.len(),
                site.roles.len()
            )];
            lines.extend(medium(&site.config.audit.directory.path));
            lines.extend(site.decisions.iter().map(|decision| {
                let config::Decision {
                    control,
                    paragraph,
                    place,
                    rationale,
                } = decision;
                format!(
                    "decision: {}: {control} ({paragraph}): {}",
                    place.key, rationale.value
                )
            }));
            lines.push(String::new());
            print(out, &lines.join("\n"))
        }
        Err(findings) => {
            complain(&findings.to_string());
            ExitCode::FAILURE
        }
    }
}

/// What the audit log lies on, as far as the operating system tells.
fn medium(directory: &Path) -> Option<String> {
    let medium = audit::medium::Medium::under(directory).ok()?;
    let cache = medium
        .write_cache
        .map_or(String::new(), |cache| format!(", write cache: {cache}"));
    Some(format!(
        "audit: {} on {}{cache}",
        directory.display(),
        medium.file_system
    ))
}

fn explain(
    path: &Path,
    client: Option<&str>,
    method: Method,
    url: Uri,
    json: bool,
    out: &mut impl Write,
) -> ExitCode {
    let Loaded { site, .. } = match config::load(path).and_then(|config| load::load(config, None)) {
        Ok(loaded) => loaded,
        Err(findings) => {
            complain(&findings.to_string());
            return ExitCode::FAILURE;
        }
    };
    let trusts: Vec<&TrustName> = site.config.trust.keys().collect();
    let client = match client.map(|client| named(client, &trusts)).transpose() {
        Ok(client) => client,
        Err((error, hint)) => return fail(&error, Some(&hint)),
    };
    let explanations = match explain::explain(
        &site,
        &Question {
            client,
            method,
            url,
        },
    ) {
        Ok(explanations) => explanations,
        Err(error) => return fail(&error.to_string(), None),
    };
    let permitted = explanations
        .iter()
        .any(|explanation| explanation.outcome.is_ok());
    let text = if json {
        as_json(&explanations)
    } else {
        as_text(&explanations)
    };
    let printed = print(out, &text);
    if permitted {
        printed
    } else {
        ExitCode::FAILURE
    }
}

/// A client's name with its trust set, which may be left out when there is only one.
fn named(client: &str, trusts: &[&TrustName]) -> Result<(TrustName, ClientName), (String, String)> {
    let (trust, name) = match (client.split_once(':'), trusts) {
        (Some((trust, name)), _) if trusts.iter().any(|known| known.as_str() == trust) => {
            (trust, name)
        }
        (_, [only]) => (only.as_str(), client),
        (_, _) => {
            let known = trusts
                .iter()
                .map(|trust| trust.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            return Err((
                format!("{client} names no trust set"),
                format!("write TRUST:NAME; the trust sets are: {known}"),
            ));
        }
    };
    let name = ClientName::parse(name).map_err(|error| {
        (
            format!("{client} is no client's name: {error}"),
            "such as urn:example:pump-1".to_owned(),
        )
    })?;
    let trust = TrustName::parse(trust).map_err(|error| (error.to_string(), String::new()))?;
    Ok((trust, name))
}

fn as_text(explanations: &[explain::Explanation]) -> String {
    let mut lines = Vec::new();
    for explanation in explanations {
        lines.push(format!("listener: {}", explanation.listener));
        lines.push(format!("certificate: {}", explanation.certificate));
        if let (Some(route), Some(upstream)) = (&explanation.route, &explanation.upstream) {
            lines.push(format!("route: {route}"));
            lines.push(format!("upstream: {upstream}"));
        }
        lines.push(match &explanation.outcome {
            Ok(rule) => format!("permitted by: {}", rule.as_str()),
            Err(refusal) => {
                let code = refusal.code();
                format!(
                    "refused: {} {code}: {}",
                    refusal.status().as_u16(),
                    code.meaning()
                )
            }
        });
    }
    lines.push(String::new());
    lines.join("\n")
}

fn as_json(explanations: &[explain::Explanation]) -> String {
    let list: Vec<_> = explanations
        .iter()
        .map(|explanation| {
            let refusal = explanation.outcome.as_ref().err();
            serde_json::json!({
                "listener": explanation.listener.as_str(),
                "certificate": explanation.certificate,
                "route": explanation.route,
                "upstream": explanation.upstream,
                "rule": explanation.outcome.as_ref().ok().map(super::authorize::Rule::as_str),
                "status": refusal.map(|refusal| refusal.status().as_u16()),
                "code": refusal.map(|refusal| refusal.code().name()),
            })
        })
        .collect();
    format!("{}\n", serde_json::Value::from(list))
}

fn print(out: &mut impl Write, text: &str) -> ExitCode {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot write the output: {error}"), None),
    }
}

fn fail(error: &str, hint: Option<&str>) -> ExitCode {
    complain(&format!("error: {error}"));
    if let Some(hint) = hint {
        complain(&format!("hint: {hint}"));
    }
    ExitCode::FAILURE
}

#[expect(
    clippy::print_stderr,
    reason = "the one place that speaks to a person about trouble"
)]
fn complain(text: &str) {
    eprintln!("{text}");
}
