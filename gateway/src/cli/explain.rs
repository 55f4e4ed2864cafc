//! `gateway explain`: the question as it is typed, and the answer as it is printed.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use config::{ClientName, TrustName};
use http::{Method, Uri};

use super::say::{complain, fail, print};
use crate::authorize::Rule;
use crate::explain::{self, Question};
use crate::load::{self, Loaded};

pub(super) fn explain(
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
    let prefixed = client.split_once(':').and_then(|(prefix, name)| {
        let known = trusts.iter().find(|known| known.as_str() == prefix)?;
        Some((*known, name))
    });
    let (trust, name) = match (prefixed, trusts) {
        (Some(found), _) => found,
        (None, [only]) => (*only, client),
        (None, []) => {
            return Err((
                format!("{client} cannot be anybody: there is no trust set"),
                "leave --client out".to_owned(),
            ));
        }
        (None, _) => {
            let known: Vec<&str> = trusts.iter().map(|trust| trust.as_str()).collect();
            return Err((
                format!("{client} names no trust set"),
                format!("write TRUST:NAME; the trust sets are: {}", known.join(", ")),
            ));
        }
    };
    let name = ClientName::parse(name).map_err(|error| {
        (
            format!("{client} is no client's name: {error}"),
            "such as urn:example:pump-1".to_owned(),
        )
    })?;
    Ok((trust.clone(), name))
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

    fn ask(client: &str, trusts: &[&str]) -> Result<(String, String), String> {
        let trusts: Vec<_> = trusts
            .iter()
            .map(|trust| TrustName::parse(trust).unwrap())
            .collect();
        match named(client, &trusts.iter().collect::<Vec<_>>()) {
            Ok((trust, name)) => Ok((trust.to_string(), name.to_string())),
            Err((_, hint)) => Err(hint),
        }
    }

    #[test]
    fn a_client_is_named_with_its_trust_set_unless_there_is_one_only() {
        let found = |trust: &str, name: &str| Ok((trust.to_owned(), name.to_owned()));
        let pump = "urn:example:pump-1";
        assert_eq!(ask(pump, &["devices"]), found("devices", pump));
        let whole = format!("devices:{pump}");
        assert_eq!(ask(&whole, &["devices"]), found("devices", pump));
        assert_eq!(ask(&whole, &["people", "devices"]), found("devices", pump));
        let told = ask(pump, &["people", "devices"]).unwrap_err();
        assert!(told.contains("people, devices"), "{told}");
        assert_eq!(ask(pump, &[]).unwrap_err(), "leave --client out");
    }
}
