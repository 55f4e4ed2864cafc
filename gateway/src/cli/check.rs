//! `gateway check`: every mistake in a configuration, and what it decided.

use std::path::Path;
use std::process::ExitCode;

use audit::clock::{Clock as _, Kernel};
use terminal::{counted, print};

use crate::load::{self, Loaded, Mistakes};

pub(super) fn check(path: &Path, quiet: bool, json: bool) -> ExitCode {
    let loaded = load::check(path);
    if json {
        let (ok, findings, unlisted, decisions) = match &loaded {
            Ok(Loaded { site, warnings }) => (true, warnings.as_slice(), 0, &site.decisions[..]),
            Err(Mistakes { findings, .. }) => {
                (false, findings.list(), findings.unlisted(), &[][..])
            }
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
        let printed = print(&format!("{document}\n"));
        return if ok { printed } else { ExitCode::FAILURE };
    }
    match loaded {
        Ok(Loaded { site, warnings }) => {
            for warning in &warnings {
                terminal::tell(warning);
            }
            if quiet {
                return ExitCode::SUCCESS;
            }
            let mut lines = vec![format!(
                "ok: {}, {}, {}, {}",
                counted(site.listeners.len(), "listener"),
                counted(site.config.routes.len(), "route"),
                counted(site.upstreams.len(), "upstream"),
                counted(site.roles.len(), "role")
            )];
            lines.extend(medium(&site.config.audit.directory.path));
            lines.push(clock());
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
            print(&lines.join("\n"))
        }
        Err(Mistakes { findings, unseen }) => {
            terminal::tell(findings);
            if let Some(unseen) = unseen {
                terminal::tell(format_args!("hint: {unseen}"));
            }
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

/// What the kernel says of the clock now, whose time records and checkpoints will bear.
fn clock() -> String {
    let state = Kernel.read().state;
    let advice = state.advice();
    let advice = advice.map_or(String::new(), |advice| format!("; {advice}"));
    format!("clock: {state}{advice}")
}
