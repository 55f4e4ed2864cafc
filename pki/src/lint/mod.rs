//! Lints: what is about to be signed is read back and compared, rule by rule, with what was meant
//! and with RFC 5280.
//!
//! The lints see the bytes that a throw-away key signed, never a structure in memory, so that a
//! mistake of the encoder is found before the authority's signature makes it true. One rule is one
//! row with its section. A finding stops the signature: fail closed. Whether a *request* is
//! acceptable is not judged here but in `request` and `profile`.

pub mod certificate;
pub mod crl;
pub mod ocsp;

use std::fmt;

/// What rules are about: certificates, CRLs or OCSP responses.
pub trait Subject {
    /// What was drafted, beside what was meant.
    type Draft<'a>;
}

/// One rule.
pub struct Lint<S: Subject> {
    /// What holds when the rule is kept, in a few words.
    pub name: &'static str,
    /// Where it stands written.
    pub section: &'static str,
    /// Whether it is kept.
    pub holds: for<'a> fn(&S::Draft<'a>) -> bool,
}

/// A rule that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub name: &'static str,
    /// Where it stands written.
    pub section: &'static str,
}

/// The rules that are not kept, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LintError {
    /// Which.
    pub findings: Vec<Finding>,
}

impl fmt::Display for LintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what was about to be signed breaks a rule:")?;
        for (position, finding) in self.findings.iter().enumerate() {
            let separator = if position == 0 { "" } else { ";" };
            write!(f, "{separator} {} ({})", finding.name, finding.section)?;
        }
        Ok(())
    }
}

impl std::error::Error for LintError {}

/// Applies every rule and collects what is not kept.
fn apply<S: Subject>(lints: &[Lint<S>], draft: &S::Draft<'_>) -> Result<(), LintError> {
    let findings: Vec<Finding> = lints
        .iter()
        .filter(|lint| !(lint.holds)(draft))
        .map(|lint| Finding {
            name: lint.name,
            section: lint.section,
        })
        .collect();
    if findings.is_empty() {
        Ok(())
    } else {
        Err(LintError { findings })
    }
}

/// What does not even parse breaks the first rule of all.
fn unreadable() -> LintError {
    LintError {
        findings: vec![Finding {
            name: "it reads back as DER of its type, whole",
            section: "RFC 5280 4.1, 5.1",
        }],
    }
}

#[cfg(test)]
pub(crate) mod tests {
    /// Changes the value at `path` (child numbers from the outermost on) and mends the lengths
    /// around it. What `change` gets is the whole value, tag and length included.
    pub(crate) fn edit(der: &[u8], path: &[usize], change: &dyn Fn(&mut Vec<u8>)) -> Vec<u8> {
        let Some((&child, deeper)) = path.split_first() else {
            let mut whole = der.to_vec();
            change(&mut whole);
            return whole;
        };
        let (tag, content) = (der[0], content(der));
        let mut rest = content;
        let mut children = Vec::new();
        while !rest.is_empty() {
            let length = whole_length(rest);
            children.push(rest[..length].to_vec());
            rest = &rest[length..];
        }
        children[child] = edit(&children[child], deeper, change);
        let content = children.concat();
        let mut whole = vec![tag];
        match u16::try_from(content.len()).unwrap().to_be_bytes() {
            [0, short @ ..128] => whole.push(short),
            [0, octet] => whole.extend([0x81, octet]),
            octets => {
                whole.push(0x82);
                whole.extend(octets);
            }
        }
        whole.extend(content);
        whole
    }

    fn content(der: &[u8]) -> &[u8] {
        let header = match der[1] {
            0x82 => 4,
            0x81 => 3,
            _ => 2,
        };
        &der[header..whole_length(der)]
    }

    fn whole_length(der: &[u8]) -> usize {
        match der[1] {
            0x82 => 4 + usize::from(u16::from_be_bytes([der[2], der[3]])),
            0x81 => 3 + usize::from(der[2]),
            short => 2 + usize::from(short),
        }
    }
}
