//! What is wrong with a configuration, in the words that a person reads.
//!
//! A [`Finding`] says where, what, and what to do. [`Report`] collects all of them, so that one
//! run of `check` shows every mistake. It bounds what it keeps: a file of nothing but mistakes
//! costs no more than one with a hundred. No finding repeats the value of a secret.

use std::fmt;

use crate::place::{Place, quoted};

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used. A gateway that is running keeps the configuration it has.
    Error,
    /// The file can be used, and something in it probably does not do what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing to say about the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// Where, including the key.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where there is something to say.
    pub hint: Option<String>,
}

impl Finding {
    /// An error at a place.
    pub fn error(place: &Place, message: impl Into<String>, hint: Option<&str>) -> Self {
        Self {
            severity: Severity::Error,
            place: place.clone(),
            message: message.into(),
            hint: hint.map(str::to_owned),
        }
    }
}

/// `error: FILE:LINE:COLUMN: KEY: MESSAGE` and, on a line of its own, `hint: HINT`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity, self.place, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Findings in the order of the file, at most [`MAX_FINDINGS`] of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    list: Vec<Finding>,
    unlisted: usize,
}

/// How many findings are kept and printed; the rest is a number.
pub const MAX_FINDINGS: usize = 100;

impl Findings {
    /// The findings, in the order of the file.
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// How many more there were than are listed.
    pub fn unlisted(&self) -> usize {
        self.unlisted
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn push(&mut self, finding: impl FnOnce() -> Finding) {
        if self.list.len() < MAX_FINDINGS {
            self.list.push(finding());
        } else {
            self.unlisted += 1;
        }
    }

    /// Stable, so that two findings on one place stay in the order in which they were made.
    fn sort(&mut self) {
        self.list
            .sort_by_key(|finding| (finding.place.line, finding.place.column));
    }
}

/// Collects findings that are made elsewhere, of files that could not be opened for instance.
impl FromIterator<Finding> for Findings {
    fn from_iter<I: IntoIterator<Item = Finding>>(findings: I) -> Self {
        let mut all = Self::default();
        for finding in findings {
            all.push(|| finding);
        }
        all.sort();
        all
    }
}

/// One finding a paragraph, ready for stderr; a last line counts what is not listed.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, finding) in self.list.iter().enumerate() {
            let line_end = if at == 0 { "" } else { "\n" };
            write!(f, "{line_end}{finding}")?;
        }
        match self.unlisted {
            0 => Ok(()),
            more => write!(f, "\nhint: {more} more are not listed; mend these first"),
        }
    }
}

impl std::error::Error for Findings {}

/// A message and its hint, before a place is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Advice {
    pub(crate) fn new(message: impl fmt::Display, hint: Option<&str>) -> Self {
        Self {
            message: message.to_string(),
            hint: hint.map(str::to_owned),
        }
    }
}

/// Collects findings while a file is read and resolved.
#[derive(Debug, Default)]
pub(crate) struct Report {
    errors: Findings,
    warnings: Findings,
}

impl Report {
    pub(crate) fn error(&mut self, place: &Place, message: impl Into<String>, hint: &str) {
        self.advise(place, || Advice {
            message: message.into(),
            hint: Some(hint.to_owned()).filter(|hint| !hint.is_empty()),
        });
    }

    /// An error whose words are only made when there is room for them: looking for the nearest
    /// name costs more than finding out that a name is unknown.
    pub(crate) fn advise(&mut self, place: &Place, advice: impl FnOnce() -> Advice) {
        self.errors.push(|| {
            let Advice { message, hint } = advice();
            Finding {
                severity: Severity::Error,
                place: place.clone(),
                message,
                hint,
            }
        });
    }

    /// A finding that is made elsewhere.
    pub(crate) fn note(&mut self, finding: Finding) {
        match finding.severity {
            Severity::Error => self.errors.push(|| finding),
            Severity::Warning => self.warnings.push(|| finding),
        }
    }

    pub(crate) fn warning(&mut self, place: &Place, message: impl Into<String>, hint: &str) {
        self.warnings.push(|| Finding {
            severity: Severity::Warning,
            place: place.clone(),
            message: message.into(),
            hint: Some(hint.to_owned()).filter(|hint| !hint.is_empty()),
        });
    }

    /// The warnings, if there is no error. Beside errors they would mislead: a listener whose
    /// route could not be read is not an unused listener.
    pub(crate) fn into_result(mut self) -> Result<Findings, Findings> {
        self.errors.sort();
        self.warnings.sort();
        if self.errors.is_empty() {
            Ok(self.warnings)
        } else {
            Err(self.errors)
        }
    }
}

/// The candidate that is near enough to be what a slip of the pen was meant to be.
pub(crate) fn nearest<'c>(
    found: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    if found.len() > LONGEST_COMPARED {
        return None;
    }
    let found = fold(found);
    let near = |candidate: &str| {
        let candidate = fold(candidate);
        let (short, long) = if found.len() < candidate.len() {
            (&found, &candidate)
        } else {
            (&candidate, &found)
        };
        let extends = short.len() >= SHORTEST_STEM && long.starts_with(short.as_str());
        let distance = strsim::damerau_levenshtein(&found, &candidate);
        (extends || distance <= (found.len() / 3).max(1)).then_some(distance)
    };
    candidates
        .into_iter()
        .take(MOST_COMPARED)
        .filter_map(|candidate| near(candidate).map(|distance| (distance, candidate)))
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean "x"?`
pub(crate) fn did_you_mean(word: &str) -> String {
    format!("did you mean {}?", quoted(word))
}

const SHORTEST_STEM: usize = 4;
// Bounds on looking around: it is done for people, who wait.
const LONGEST_COMPARED: usize = 64;
const MOST_COMPARED: usize = 1000;

fn fold(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_slip_of_the_pen_finds_its_word_and_a_stranger_does_not() {
        let known = ["allow", "hosts", "encoded_slash", "body_limit"];
        assert_eq!(nearest("alow", known), Some("allow"));
        assert_eq!(nearest("host", known), Some("hosts"));
        assert_eq!(nearest("hosts_and_ports", known), Some("hosts"));
        assert_eq!(nearest("body-limit", known), Some("body_limit"));
        assert_eq!(nearest("encoded", known), Some("encoded_slash"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest(&"allow".repeat(100), known), None);
    }

    #[test]
    fn findings_beyond_the_bound_are_counted_and_not_kept() {
        let mut report = Report::default();
        let place = Place::whole(Path::new("gateway.toml"));
        for _ in 0..MAX_FINDINGS + 3 {
            report.error(&place, "wrong", "");
        }
        let findings = report.into_result().expect_err("it holds errors");
        assert_eq!(
            (findings.list().len(), findings.unlisted()),
            (MAX_FINDINGS, 3)
        );
        assert!(
            findings
                .to_string()
                .ends_with("hint: 3 more are not listed; mend these first")
        );
    }

    #[test]
    fn findings_made_elsewhere_come_in_the_order_of_the_file() {
        let at = |line| Place {
            line,
            column: 1,
            ..Place::whole(Path::new("gateway.toml"))
        };
        let finding = |line| Finding::error(&at(line), "cannot be read", None);
        let findings: Findings = [finding(3), finding(1), finding(2)].into_iter().collect();
        let lines: Vec<u32> = findings
            .list()
            .iter()
            .map(|finding| finding.place.line)
            .collect();
        assert_eq!(lines, [1, 2, 3]);
    }

    #[test]
    fn a_finding_prints_its_hint_on_a_line_of_its_own() {
        let finding = Finding {
            severity: Severity::Error,
            place: Place {
                file: Path::new("gateway.toml").into(),
                line: 58,
                column: 12,
                key: "routes.observations-write.allow".to_owned(),
            },
            message: "unknown role \"pumps\"".to_owned(),
            hint: Some("did you mean \"pump\"?".to_owned()),
        };
        assert_eq!(
            finding.to_string(),
            "error: gateway.toml:58:12: routes.observations-write.allow: unknown role \"pumps\"\n\
             hint: did you mean \"pump\"?"
        );
    }
}
