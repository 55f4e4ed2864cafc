//! References between resources, read strictly enough to know whether they mean a patient.
//!
//! Standard: HL7 FHIR R4, References (literal references, "2.3.0.1"), Bundle ("2.36.4.1 Resolving
//! references in Bundles"), RESTful API ("3.1.0.11.3 conditional references").

use std::borrow::Cow;

use crate::found::{Name, Subject, System};
use crate::text;
use crate::types::Type;

/// What a reference means.
pub(crate) enum Reference<'a> {
    /// A patient on a server.
    Patient(Patient<'a>),
    /// A resource of another type.
    Other(Type),
    /// Whoever a search finds (type and query), in a transaction.
    Conditional(Type, &'a str),
    /// A resource that is contained in the same resource: `#p1`.
    Contained,
    /// An entry of the same Bundle: `urn:uuid:`.
    Entry(Uuid),
    /// Something with a URN of another kind.
    Urn,
    /// No form of R4.
    Unread,
}

/// A patient on a server.
pub(crate) struct Patient<'a> {
    /// Empty for the server that was asked.
    base: &'a str,
    id: Cow<'a, str>,
}

impl Patient<'_> {
    /// The name that this is.
    pub(crate) fn name(&self) -> Name<'_> {
        Name {
            system: match self.base {
                "" => System::Local,
                base => System::Server(base),
            },
            value: &self.id,
        }
    }
}

/// The 128 bits of a UUID (RFC 9562 4).
pub(crate) type Uuid = [u8; 16];

impl<'a> Reference<'a> {
    /// Reads the text of a reference.
    pub(crate) fn read(reference: &'a str) -> Reference<'a> {
        if reference.starts_with('#') {
            return Reference::Contained;
        }
        if let Some(urn) = strip_scheme(reference, "urn:") {
            return strip_scheme(urn, "uuid:")
                .and_then(uuid)
                .map_or(Reference::Urn, Reference::Entry);
        }
        let (path, query) = match reference.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            // A fragment is a part of what stands before it.
            None => (reference.split('#').next().unwrap_or_default(), None),
        };
        match query {
            Some(query) => last_type(path).map_or(Reference::Unread, |resource| {
                Reference::Conditional(resource, query)
            }),
            None => literal(path).unwrap_or(Reference::Unread),
        }
    }
}

/// A relative or absolute URL: `[base/]Type/id[/_history/version]`.
fn literal(url: &str) -> Option<Reference<'_>> {
    let (mut rest, mut id) = url.rsplit_once('/')?;
    if let Some((versioned, "_history")) = rest.rsplit_once('/') {
        (rest, id) = versioned.rsplit_once('/')?;
    }
    let resource = last_type(rest)?;
    if !resource.is_patient() {
        return Some(Reference::Other(resource));
    }
    let id = text::decode(id).filter(|id| is_id(id))?;
    let base = match rest.rsplit_once('/') {
        Some((base, _)) if base.contains("://") => base.trim_end_matches('/'),
        // Relative, with more in front than R4 writes.
        _ => "",
    };
    Some(Reference::Patient(Patient { base, id }))
}

/// The type that the last segment names.
fn last_type(path: &str) -> Option<Type> {
    let segment = path.rsplit('/').next()?;
    Type::of(&text::decode(segment)?)
}

/// Whether this may be the id of a resource. R4 allows 64 of `A-Za-z0-9-.`; servers are found that
/// allow more, and whoever is meant is better named than not.
pub(crate) fn is_id(id: &str) -> bool {
    (1..=Subject::LONGEST).contains(&id.len())
        && !id
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || "/?#|,$\\".contains(c))
        && !id.starts_with('_')
}

fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// The bits of a UUID in its one written form, in either case.
fn uuid(text: &str) -> Option<Uuid> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 || [8, 13, 18, 23].iter().any(|at| bytes[*at] != b'-') {
        return None;
    }
    let mut digits = bytes.iter().filter(|byte| **byte != b'-');
    let mut bits = Uuid::default();
    for byte in &mut bits {
        *byte = text::hex(*digits.next()?)? << 4 | text::hex(*digits.next()?)?;
    }
    digits.next().is_none().then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spell(reference: &str) -> String {
        match Reference::read(reference) {
            Reference::Patient(patient) => match patient.name().system {
                System::Server(base) => format!("{} at {base}", patient.id),
                _ => patient.id.to_string(),
            },
            Reference::Other(resource) => format!("a {}", resource.name()),
            Reference::Conditional(resource, query) => format!("{} by {query}", resource.name()),
            Reference::Contained => "contained".into(),
            Reference::Entry(_) => "entry".into(),
            Reference::Urn => "urn".into(),
            Reference::Unread => "unread".into(),
        }
    }

    #[test]
    fn each_form_has_its_meaning() {
        for (reference, meaning) in [
            ("Patient/1", "1"),
            ("Patient/1/_history/2", "1"),
            ("Patient/1#name", "1"),
            ("%50atient/1", "1"),
            ("/Patient/1", "1"),
            ("Patient/a_b", "a_b"),
            ("Patient/a%2Db", "a-b"),
            (
                "https://ehr.example/r4/Patient/1",
                "1 at https://ehr.example/r4",
            ),
            (
                "http://ehr.example/Patient/1/_history/9",
                "1 at http://ehr.example",
            ),
            ("Practitioner/1", "a Practitioner"),
            ("https://ehr.example/Group/Patient", "a Group"),
            ("Patient?identifier=a|b", "Patient by identifier=a|b"),
            ("#p1", "contained"),
            ("#", "contained"),
            ("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "entry"),
            ("URN:UUID:0C3151BD-1CBF-4D64-B04D-CD9187A4C6E0", "entry"),
            ("urn:uuid:0c3151bd", "urn"),
            ("urn:oid:1.2.3", "urn"),
        ] {
            assert_eq!(spell(reference), meaning, "{reference}");
        }
    }

    #[test]
    fn what_is_no_form_of_r4_is_not_read() {
        for reference in [
            "",
            "1",
            "Patient",
            "Patient/",
            "patient/1",
            "Patient/1/2",
            "Patient/_history/1",
            "Patient/a b",
            "Patient/a%2Fb",
            "Patient/%",
            "Foo/1",
            "https://ehr.example/1",
            "?a=b",
        ] {
            assert_eq!(spell(reference), "unread", "{reference}");
        }
    }

    #[test]
    fn an_id_that_is_too_long_is_not_read() {
        assert!(is_id(&"1".repeat(Subject::LONGEST)));
        assert!(!is_id(&"1".repeat(Subject::LONGEST + 1)));
    }
}
