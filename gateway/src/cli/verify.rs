//! `gateway verify`: what became of a captured message, as text and as JSON.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use integrity::explain::{Difference, Line};
use jiff::Timestamp;
use serde_json::{Value, json};
use terminal::counted;

use super::files::{self, Failure, Missing, STANDARD_INPUT};
use crate::capture::report::{self, DigestVerdict, Judged, Keys, Question, Report};
use crate::capture::text::{self, Read};
use crate::capture::{Message, Request};
use crate::timer::unix_now;

/// Verify the signatures (RFC 9421) and digests (RFC 9530) of a captured message.
///
/// The message is text: a head as on the wire, or as curl -i prints it, an empty line, and the content to
/// the last byte. Prints each signature with what it covers, and in what another capture differs. A
/// signature is judged by what it says of itself; what a route asks of it beyond stands in the configuration.
///
/// Exit codes: 0 good, 1 not good.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  gateway verify --cert cert.pem captured.http --against sent.http\n  gateway verify --jwks keys.json --request request.http response.http"
)]
pub(super) struct Verify {
    #[command(flatten)]
    with: With,
    /// The one signature that is meant; all of them when left out.
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// The request that the response answers.
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// Another capture of the same message, as its signer has it: in what it differs is told component by
    /// component.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// The time at which to verify, in seconds since 1970; now when left out.
    #[arg(long, value_name = "SECONDS")]
    now: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The message; standard input when left out, or -.
    #[arg(value_name = "FILE")]
    message: Option<PathBuf>,
}

/// With what signatures are verified.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct With {
    /// A public key in PEM.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A certificate in PEM.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// A JWK set; keys are found in it by keyid.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
}

impl Verify {
    /// Prints what was found, which is the exit code too.
    pub(super) fn run(&self) -> ExitCode {
        let (read, report) = match self.report() {
            Ok(found) => found,
            Err(failure) => return failure.report(),
        };
        let text = if self.json {
            format!("{}\n", as_json(&read.message, &report))
        } else {
            as_text(&read.message, &report, self.with.path())
        };
        let printed = terminal::print(&text);
        if report.is_good() {
            printed
        } else {
            ExitCode::FAILURE
        }
    }

    fn report(&self) -> Result<(Read, Report), Failure> {
        let path = self.message.as_deref();
        let path = path.unwrap_or(Path::new(STANDARD_INPUT));
        let standard_input = [Some(path), self.request.as_deref(), self.against.as_deref()];
        let standard_input = standard_input
            .into_iter()
            .filter(|path| *path == Some(Path::new(STANDARD_INPUT)));
        if standard_input.count() > 1 {
            return Err(Failure::TwiceStandardInput);
        }
        let keys = self.with.keys()?;
        let request = self.request.as_deref().map(request).transpose()?;
        let read = |path: &Path| {
            let asked = request.as_ref().map(|request| &request.method);
            let read = text::read(&files::message(path)?, asked);
            read.map_err(|error| Failure::Text {
                path: path.to_owned(),
                error,
            })
        };
        let against = self.against.as_deref().map(read).transpose()?;
        let read = read(path)?;
        let report = report::report(&Question {
            read: &read,
            request: request.as_ref(),
            against: against.as_ref().map(|against| &against.message),
            keys: &keys,
            label: self.label.as_deref(),
            now: self.now.unwrap_or_else(unix_now),
        });
        Ok((read, report))
    }
}

impl With {
    /// The file that is named.
    fn path(&self) -> &Path {
        let paths = [&self.key, &self.cert, &self.jwks];
        let named = paths.into_iter().find_map(|path| path.as_deref());
        named.unwrap_or(Path::new(""))
    }

    fn keys(&self) -> Result<Keys, Failure> {
        match (&self.key, &self.cert, &self.jwks) {
            (Some(path), ..) => {
                let key = files::public_key(path)?;
                Ok(Keys::One { key, keyid: None })
            }
            (None, Some(path), _) => {
                let (key, keyid) = files::certificate(path)?;
                let keyid = Some(keyid);
                Ok(Keys::One { key, keyid })
            }
            (None, None, Some(path)) => files::jwks(path).map(Keys::Set),
            (None, None, None) => Err(Failure::Missing(Missing::Key)),
        }
    }
}

/// The request that a response answers.
fn request(path: &Path) -> Result<Request, Failure> {
    let read = text::read_request(&files::message(path)?);
    let (request, _) = read.map_err(|error| Failure::Text {
        path: path.to_owned(),
        error,
    })?;
    Ok(request)
}

fn word(is_good: bool) -> &'static str {
    if is_good { "good" } else { "not good" }
}

fn as_text(message: &Message, report: &Report, key: &Path) -> String {
    let mut out = String::new();
    let good = report.signatures.iter().filter(|it| it.outcome.is_ok());
    // Nothing is lost when a string cannot be written to: it can.
    let _ = writeln!(
        out,
        "{}: a {}, {}, {} good",
        word(report.is_good()),
        message.kind(),
        counted(report.signatures.len(), "signature"),
        good.count()
    );
    for finding in &report.findings {
        let _ = writeln!(out, "finding: {finding}");
    }
    for judged in &report.signatures {
        write_signature(&mut out, judged, key);
    }
    let _ = writeln!(out, "content-digest: {}", report.content_digest);
    let _ = writeln!(out, "repr-digest: {}", report.repr_digest);
    if let Some(differs) = &report.content_differs {
        let _ = writeln!(out, "content differs: {differs}");
    }
    for note in &report.notes {
        let _ = writeln!(out, "note: {note}");
    }
    out
}

fn write_signature(out: &mut String, judged: &Judged, key: &Path) {
    let place = if judged.in_trailers {
        " in the trailers"
    } else {
        ""
    };
    let label = &judged.label;
    let _ = match &judged.outcome {
        Ok(()) => writeln!(out, "signature {label}{place}: good"),
        Err(error) => {
            let hint = error.hint();
            writeln!(
                out,
                "signature {label}{place}: not good: {error}\n  hint: {hint}"
            )
        }
    };
    if let Some(algorithm) = judged.algorithm {
        let _ = writeln!(out, "  key: {algorithm} from {}", key.display());
    }
    if let Some(params) = &judged.params {
        let texts = [
            ("keyid", &params.keyid),
            ("alg", &params.alg),
            ("nonce", &params.nonce),
            ("tag", &params.tag),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                let _ = writeln!(out, "  {name}: {text}");
            }
        }
        for (name, seconds) in [("created", params.created), ("expires", params.expires)] {
            if let Some(seconds) = seconds {
                let _ = writeln!(out, "  {name}: {seconds}{}", date(seconds));
            }
        }
    }
    for Line { component, value } in &judged.lines {
        let _ = match value {
            Ok(value) => writeln!(out, "  covers {component}: {value}"),
            Err(error) => writeln!(out, "  covers {component}: [{error}]"),
        };
    }
    for difference in &judged.differences {
        for line in difference.to_string().lines() {
            let _ = writeln!(out, "  differs {line}");
        }
    }
}

/// A time for a person.
fn date(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).ok();
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or(String::new(), |time| format!(" ({time})"))
}

fn as_json(message: &Message, report: &Report) -> Value {
    json!({
        "verdict": word(report.is_good()),
        "message": message.kind(),
        "signatures": report.signatures.iter().map(signature_json).collect::<Vec<_>>(),
        "content_digest": digest_json(&report.content_digest),
        "repr_digest": digest_json(&report.repr_digest),
        "content_differs": report.content_differs.map(|differs| json!({
            "against_bytes": differs.against,
            "message_bytes": differs.message,
            "from_byte": differs.at,
        })),
        "findings": report.findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "notes": report.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn signature_json(judged: &Judged) -> Value {
    let error = judged.outcome.as_ref().err();
    let params = judged.params.as_ref();
    json!({
        "label": judged.label,
        "in_trailers": judged.in_trailers,
        "verdict": word(error.is_none()),
        "code": error.map(integrity::Error::code),
        "error": error.map(ToString::to_string),
        "hint": error.map(integrity::Error::hint),
        "algorithm": judged.algorithm.map(integrity::Algorithm::name),
        "keyid": params.and_then(|params| params.keyid.as_deref()),
        "alg": params.and_then(|params| params.alg.as_deref()),
        "created": params.and_then(|params| params.created),
        "expires": params.and_then(|params| params.expires),
        "nonce": params.and_then(|params| params.nonce.as_deref()),
        "tag": params.and_then(|params| params.tag.as_deref()),
        "covers": judged.lines.iter().map(|line| json!({
            "component": line.component.as_str(),
            "value": line.value.as_ref().ok(),
            "error": line.value.as_ref().err().map(ToString::to_string),
        })).collect::<Vec<_>>(),
        "differences": judged.differences.iter().map(difference_json).collect::<Vec<_>>(),
    })
}

fn difference_json(difference: &Difference) -> Value {
    let shown = |value: &Result<String, integrity::Error>| match value {
        Ok(value) => json!(value),
        Err(error) => json!({ "error": error.to_string() }),
    };
    match difference {
        Difference::Value {
            component,
            first,
            second,
        } => json!({
            "component": component.as_str(),
            "against": shown(first),
            "message": shown(second),
        }),
        Difference::OnlyFirst(component) => json!({
            "component": component.as_str(),
            "covered_by": "against",
        }),
        Difference::OnlySecond(component) => json!({
            "component": component.as_str(),
            "covered_by": "message",
        }),
        Difference::Parameters { first, second } => json!({
            "component": "\"@signature-params\"",
            "against": first,
            "message": second,
        }),
    }
}

fn digest_json(verdict: &DigestVerdict) -> Value {
    let (word, algorithms, error) = match verdict {
        DigestVerdict::Absent => ("none", Vec::new(), None),
        DigestVerdict::Good(algorithms) => {
            let names = algorithms.iter().map(|algorithm| algorithm.name());
            ("good", names.collect(), None)
        }
        DigestVerdict::Bad(error) => ("not good", Vec::new(), Some(error.to_string())),
        DigestVerdict::NotCompared(reason) => {
            ("not compared", Vec::new(), Some(reason.to_string()))
        }
    };
    json!({ "verdict": word, "algorithms": algorithms, "error": error })
}
