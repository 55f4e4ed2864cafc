//! `gateway explain`: the question as it is typed, and the answer as it is printed.

use std::path::Path;
use std::process::ExitCode;

use config::{ClientError, ClientName, TrustName};
use http::{Method, Uri};

use crate::authorize::Rule;
use crate::explain::{self, Question};
use crate::load::{self, Loaded};

pub(super) fn explain(
    path: &Path,
    client: Option<&str>,
    method: &Method,
    url: &Uri,
    json: bool,
) -> ExitCode {
    let question = match Question::parse(method, url) {
        Ok(question) => question,
        Err(error) => return terminal::misused(error, "such as https://api.clinic.example/fhir/"),
    };
    let Loaded { site, .. } = match config::load(path).and_then(|config| load::load(config, None)) {
        Ok(loaded) => loaded,
        Err(findings) => {
            terminal::tell(findings);
            return ExitCode::FAILURE;
        }
    };
    let trusts: Vec<&TrustName> = site.config.trust.keys().collect();
    let client = match client.map(|client| named(client, &trusts)).transpose() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    let explanations = explain::explain(&site, client.as_ref(), &question);
    if explanations.is_empty() {
        return terminal::fail(
            "no listener has this port and a certificate for this host",
            Some(
                "compare the URL with `listen` of the listeners and with the names in their certificates",
            ),
        );
    }
    let permitted = explanations
        .iter()
        .any(|explanation| explanation.outcome.is_ok());
    let text = if json {
        as_json(&explanations)
    } else {
        as_text(&explanations)
    };
    let printed = terminal::print(&text);
    if permitted {
        printed
    } else {
        ExitCode::FAILURE
    }
}

/// Why a name is nobody's.
#[derive(Debug, PartialEq, Eq)]
enum Nobody {
    /// It is no name, under whatever trust set.
    Name(String, ClientError),
    /// The configuration has no trust set.
    NoTrust(String),
    /// The configuration has several trust sets, and the name says none of them.
    WhichTrust(String, Vec<String>),
}

impl Nobody {
    fn report(&self) -> ExitCode {
        match self {
            Nobody::Name(client, error) => terminal::misused(
                format_args!("{client} is no client's name: {error}"),
                "such as urn:example:pump-1",
            ),
            Nobody::NoTrust(client) => terminal::fail(
                format_args!("{client} cannot be anybody: there is no trust set"),
                Some("leave --client out"),
            ),
            Nobody::WhichTrust(client, known) => terminal::fail(
                format_args!("{client} names no trust set"),
                Some(&format!(
                    "write TRUST:NAME; the trust sets are: {}",
                    known.join(", ")
                )),
            ),
        }
    }
}

/// A client's name with its trust set, which may be left out when there is only one.
fn named(client: &str, trusts: &[&TrustName]) -> Result<(TrustName, ClientName), Nobody> {
    let prefixed = client.split_once(':').and_then(|(prefix, name)| {
        let known = trusts.iter().find(|known| known.as_str() == prefix)?;
        Some((*known, name))
    });
    let (trust, name) = match (prefixed, trusts) {
        (Some((trust, name)), _) => (Ok(trust), name),
        (None, [only]) => (Ok(*only), client),
        (None, []) => (Err(Nobody::NoTrust(client.to_owned())), client),
        (None, _) => {
            let known = trusts.iter().map(ToString::to_string).collect();
            (Err(Nobody::WhichTrust(client.to_owned(), known)), client)
        }
    };
    let name = ClientName::parse(name).map_err(|error| Nobody::Name(client.to_owned(), error))?;
    Ok((trust?.clone(), name))
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
                "rule": explanation.outcome.as_ref().ok().map(Rule::as_str),
                "status": refusal.map(|refusal| refusal.status().as_u16()),
                "code": refusal.map(|refusal| refusal.code().name()),
            })
        })
        .collect();
    format!("{}\n", serde_json::Value::from(list))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(client: &str, trusts: &[&str]) -> Result<(String, String), Nobody> {
        let trusts: Vec<_> = trusts
            .iter()
            .map(|trust| TrustName::parse(trust).unwrap())
            .collect();
        named(client, &trusts.iter().collect::<Vec<_>>())
            .map(|(trust, name)| (trust.to_string(), name.to_string()))
    }

    #[test]
    fn a_client_is_named_with_its_trust_set_unless_there_is_one_only() {
        let found = |trust: &str, name: &str| Ok((trust.to_owned(), name.to_owned()));
        let pump = "urn:example:pump-1";
        assert_eq!(ask(pump, &["devices"]), found("devices", pump));
        let whole = format!("devices:{pump}");
        assert_eq!(ask(&whole, &["devices"]), found("devices", pump));
        assert_eq!(ask(&whole, &["people", "devices"]), found("devices", pump));
        let known = vec!["people".to_owned(), "devices".to_owned()];
        let which = Nobody::WhichTrust(pump.to_owned(), known);
        assert_eq!(ask(pump, &["people", "devices"]), Err(which));
        assert_eq!(ask(pump, &[]), Err(Nobody::NoTrust(pump.to_owned())));
    }

    #[test]
    fn a_name_that_nobody_can_have_is_wrong_whatever_the_trust_sets_are() {
        for trusts in [&[][..], &["devices"], &["people", "devices"]] {
            assert!(matches!(ask("", trusts), Err(Nobody::Name(..))));
        }
    }
}
