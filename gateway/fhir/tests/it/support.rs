//! What was found, in words that a vector can hold.

use fhir::{Completeness, Found, Limits, Scanner, Subject, SubjectSystem};

/// Scans contents in one piece.
pub(crate) fn scan(contents: &[u8]) -> Found {
    scan_pieces([contents])
}

/// Scans contents in these pieces.
pub(crate) fn scan_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Found {
    let mut scanner = Scanner::new(Limits::default());
    for piece in pieces {
        scanner.push(piece);
    }
    scanner.finish()
}

/// The names in order, separated by blanks; the links; and what is unknown.
pub(crate) fn spell(found: &Found) -> String {
    let mut words: Vec<String> = found.subjects().iter().map(name).collect();
    words.extend(
        found
            .links()
            .iter()
            .map(|(one, other)| format!("{one}={other}")),
    );
    words.push(match found.completeness() {
        Completeness::All => "all".into(),
        Completeness::Unknown(reason) => format!("unknown:{}", reason.name()),
    });
    words.join(" ")
}

/// One name.
pub(crate) fn name(subject: &Subject) -> String {
    match subject.system() {
        SubjectSystem::Local => format!("Patient/{}", subject.value()),
        SubjectSystem::Server(base) => format!("{base}/Patient/{}", subject.value()),
        SubjectSystem::Identifier(system) => format!("{system}|{}", subject.value()),
        SubjectSystem::Unsaid => format!("|{}", subject.value()),
    }
}

/// The rows of a file of vectors: what stands before the arrow and what stands behind it.
pub(crate) fn rows(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# "))
        .map(|line| line.split_once(" => ").expect("an arrow"))
}
