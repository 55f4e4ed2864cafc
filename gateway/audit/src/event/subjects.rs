//! Whom a record concerns: patients by pseudonym, and whether these are all.
//!
//! An empty list says that nobody is concerned only where it is known; else it says why it is not.
//! What one record says holds for what it covers. Of one request the lists of all records add up,
//! and the last word on whether they are all is the one that counts.

use std::fmt;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// A patient, to whoever has the tenant key: 16 bytes, written as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Pseudonym(#[n(0)] ByteArray<16>);

impl Pseudonym {
    /// The pseudonym of these bytes, which `seal::pseudonym` makes.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Pseudonym {
        Pseudonym(bytes.into())
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Pseudonym {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whom a record concerns.
///
/// In JSON: `patients`, a list of pseudonyms; `links`, groups of pseudonyms that are one patient;
/// `subjects`, `known` or `unknown`; `reason`, why they are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Subjects {
    /// Each once, in the order in which they were found. One patient may have several.
    #[n(0)]
    patients: Vec<Pseudonym>,
    /// Groups of places in `patients`, each group one patient.
    #[n(1)]
    links: Option<Vec<Vec<u16>>>,
    /// Why there may be others.
    #[n(2)]
    unknown: Option<Unknown>,
}

impl Subjects {
    /// Of one record, more than these are not kept. With as many links they fit an entry.
    pub const MOST: usize = 512;

    /// Nobody yet, and that is all.
    #[must_use]
    pub fn new() -> Subjects {
        Subjects::default()
    }

    /// Adds a patient who is not in the list yet, and brings the place; `None` beyond `most`, and the
    /// list is then not complete.
    pub fn add(&mut self, patient: Pseudonym, most: usize) -> Option<u16> {
        if let Some(place) = self.patients.iter().position(|known| *known == patient) {
            return u16::try_from(place).ok();
        }
        if self.patients.len() >= most.min(Self::MOST) {
            self.leave_open(Unknown::More);
            return None;
        }
        self.patients.push(patient);
        u16::try_from(self.patients.len() - 1).ok()
    }

    /// Says that two places of the list are one patient.
    pub fn link(&mut self, one: u16, other: u16) {
        let known = |place: u16| usize::from(place) < self.patients.len();
        if one == other || !known(one) || !known(other) {
            return;
        }
        let groups = self.links.get_or_insert_default();
        let of =
            |groups: &[Vec<u16>], place| groups.iter().position(|group| group.contains(&place));
        match (of(groups, one), of(groups, other)) {
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) => {
                let moved = groups.remove(a.max(b));
                groups[a.min(b)].extend(moved);
            }
            (Some(a), None) => groups[a].push(other),
            (None, Some(b)) => groups[b].push(one),
            (None, None) => groups.push(vec![one, other]),
        }
    }

    /// Says why there may be others. The first reason stays, but for one that only says that more is
    /// to come.
    pub fn leave_open(&mut self, reason: Unknown) {
        if matches!(self.unknown, None | Some(Unknown::Open | Unknown::NotNamed)) {
            self.unknown = Some(reason);
        }
    }

    /// The patients.
    #[must_use]
    pub fn patients(&self) -> &[Pseudonym] {
        &self.patients
    }

    /// Groups of patients, each of which is one under several names.
    pub fn links(&self) -> impl Iterator<Item = Vec<Pseudonym>> {
        self.links.iter().flatten().map(|group| {
            let named = |place: &u16| self.patients.get(usize::from(*place)).copied();
            group.iter().filter_map(named).collect()
        })
    }

    /// Why there may be others; `None` when these are all.
    #[must_use]
    pub fn unknown(&self) -> Option<Unknown> {
        self.unknown
    }
}

impl Serialize for Subjects {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Subjects", 4)?;
        fields.serialize_field("patients", &self.patients)?;
        let links: Vec<_> = self.links().collect();
        if links.is_empty() {
            fields.skip_field("links")?;
        } else {
            fields.serialize_field("links", &links)?;
        }
        let word = if self.unknown.is_some() {
            "unknown"
        } else {
            "known"
        };
        fields.serialize_field("subjects", word)?;
        match self.unknown {
            Some(reason) => fields.serialize_field("reason", reason.name())?,
            None => fields.skip_field("reason")?,
        }
        fields.end()
    }
}

macro_rules! reasons {
    ($($number:literal $variant:ident $name:literal $meaning:literal)*) => {
        /// Why there may be patients whom a record does not name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
        #[cbor(index_only)]
        pub enum Unknown {
            $(#[doc = $meaning] #[n($number)] $variant,)*
        }

        impl Unknown {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Unknown] = &[$(Unknown::$variant),*];

            /// Its stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Unknown::$variant => $name),* }
            }
        }
    };
}

// Numbers and names are the wire format and the interface: never reused, never renamed.
reasons! {
    // The gateway's own.
    0   Open                "open"                 "What the record covers ends before the end of the content; a later record goes on."
    1   NoKey               "no_key"               "The gateway has no key to name patients with."
    2   Encoded             "encoded"              "The content has a coding other than identity (RFC 9110 8.4)."
    3   Xml                 "xml"                  "The content is XML."
    4   MediaType           "media_type"           "The content is of another type than FHIR JSON or NDJSON, or of none."
    5   Partial             "partial"              "The answer holds a part of the content (RFC 9110 15.3.7)."
    6   Unread              "unread"               "Content of the request or the answer did not pass to its end."

    // Of the crate `fhir`, which has a word more for each.
    20  NotNamed            "not_named"            "The target leaves it to content that did not name anybody, or that there is none of."
    21  Bulk                "bulk"                 "The request is for everybody's data."
    22  Target              "target"               "Method or path are of no form of FHIR R4."
    23  Query               "query"                "A query or form that cannot be decoded, or whose criteria cannot be read."
    24  Syntax              "syntax"               "The content is not JSON (RFC 8259)."
    25  NotUtf8             "not_utf8"             "The content is not UTF-8 (RFC 8259 8.1)."
    26  TooDeep             "too_deep"             "The content is deeper than is followed."
    27  Truncated           "truncated"            "The content ends early."
    28  TooLong             "too_long"             "A text that matters is longer than is kept."
    29  DuplicateKey        "duplicate_key"        "A key that matters stands twice in an object."
    30  NotFhir             "not_fhir"             "A document that is no resource."
    31  ResourceType        "resource_type"        "A resource type that FHIR R4 does not know."
    32  UnnamedPatient      "unnamed_patient"      "A Patient resource with neither id nor identifier."
    33  UnnamedSubject      "unnamed_subject"      "A subject with neither reference nor identifier."
    34  UntypedReference    "untyped_reference"    "An identifier of somebody who may be a patient, without a type."
    35  Reference           "reference"            "A reference that is of no form of FHIR R4."
    36  UnresolvedReference "unresolved_reference" "A subject that refers into the content, where it is not."
    37  Group               "group"                "A group, which stands for its members."
    38  More                "more"                 "More patients than a record holds."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient(number: u16) -> Pseudonym {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        Pseudonym::new(bytes)
    }

    #[test]
    fn a_patient_stands_once_and_one_too_many_is_said() {
        let mut subjects = Subjects::new();
        assert_eq!(subjects.add(patient(7), 2), Some(0));
        assert_eq!(subjects.add(patient(8), 2), Some(1));
        assert_eq!(subjects.add(patient(7), 2), Some(0));
        assert_eq!(subjects.unknown(), None);
        assert_eq!(subjects.add(patient(9), 2), None);
        assert_eq!(subjects.unknown(), Some(Unknown::More));
        assert_eq!(subjects.patients(), [patient(7), patient(8)]);
    }

    #[test]
    fn what_is_linked_in_any_order_is_one_group() {
        let mut subjects = Subjects::new();
        for number in 0..5 {
            subjects.add(patient(number), 9);
        }
        for (one, other) in [(0, 1), (2, 3), (3, 1), (4, 4), (0, 9), (1, 0)] {
            subjects.link(one, other);
        }
        let groups: Vec<_> = subjects.links().collect();
        assert_eq!(groups, [[0, 1, 2, 3].map(patient)]);
    }

    #[test]
    fn the_longest_list_fits_an_entry() {
        let mut subjects = Subjects::new();
        for number in 0..600 {
            subjects.add(patient(number), usize::MAX);
        }
        for number in (0..600).step_by(2) {
            subjects.link(number, number + 1);
        }
        let bytes = minicbor::to_vec(&subjects).unwrap();
        let rest_of_the_entry = 1024;
        assert!(
            bytes.len() + rest_of_the_entry <= 16 * 1024,
            "{}",
            bytes.len()
        );
    }

    #[test]
    fn a_record_that_names_nobody_says_whether_that_is_known() {
        let json = |subjects: &Subjects| serde_json::to_value(subjects).unwrap();
        let mut subjects = Subjects::new();
        let known = serde_json::json!({"patients": [], "subjects": "known"});
        assert_eq!(json(&subjects), known);
        subjects.leave_open(Unknown::Open);
        subjects.leave_open(Unknown::Encoded);
        subjects.leave_open(Unknown::Group);
        let unknown =
            serde_json::json!({"patients": [], "subjects": "unknown", "reason": "encoded"});
        assert_eq!(json(&subjects), unknown);
    }
}
