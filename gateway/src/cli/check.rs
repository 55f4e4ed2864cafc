//! `gateway check`: every mistake in a configuration, and what it decided.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::say::{complain, print};
use crate::load::{self, Loaded};

pub(super) fn check(path: &Path, quiet: bool, json: bool, out: &mut impl Write) -> ExitCode {
    let loaded = config::load(path).and_then(|config| load::load(config, None));
    if json {
        let (ok, findings, unlisted, decisions) = match &loaded {
            Ok(Loaded { site, warnings }) => (true, warnings.as_slice(), 0, &site.decisions[..]),
            Err(findings) => (false, findings.list(), findings.unlisted(), &[][..]),
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
            "unlisted": unlisted,
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
