//! The scanner against a naive reader that has the whole tree in hand.

use std::collections::BTreeSet;

use fhir::Completeness;
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::random::{self, Choices};
use crate::support::{name, scan};

/// What a tree says.
#[derive(Default)]
struct Said {
    names: BTreeSet<String>,
    links: BTreeSet<(String, String)>,
    types: BTreeSet<String>,
    incomplete: bool,
    /// Entries that subjects refer to, and entries that are there.
    wanted: BTreeSet<String>,
    given: BTreeSet<String>,
}

/// Of the elements that [`random`] writes: whom a resource is about, and who has a part in it.
const SUBJECTS: &[&str] = &["subject", "for"];
const PARTIES: &[(&str, &str)] = &[("resource", "performer"), ("link", "other")];

impl Said {
    fn of(document: &Value) -> Said {
        let mut said = Said::default();
        let root = document.as_object().expect("an object");
        said.object(root, "resource", "");
        let missing = said.wanted.difference(&said.given).next().is_some();
        said.incomplete |= missing;
        said
    }

    fn value(&mut self, value: &Value, key: &str, above: &str) {
        match value {
            Value::Object(object) => self.object(object, key, above),
            Value::Array(list) => list.iter().for_each(|value| self.value(value, key, above)),
            _ => {}
        }
    }

    fn object(&mut self, object: &Map<String, Value>, key: &str, above: &str) {
        if let Some(resource) = text(object, "resourceType") {
            self.types.insert(resource.into());
            if resource == "Patient" {
                self.patient(object, key == "contained");
            }
            let local = serde_json::to_string(
                object
                    .get("subject")
                    .or(object.get("for"))
                    .unwrap_or(&Value::Null),
            );
            if key != "contained"
                && local.expect("a text").contains("\"#")
                && !object.contains_key("contained")
            {
                self.incomplete = true;
            }
        } else if key != "identifier" {
            self.reference(object, key, above);
        }
        let entered = object.get("resource").and_then(Value::as_object);
        let may_be_subject = entered
            .and_then(|resource| text(resource, "resourceType"))
            .is_some_and(|resource| ["Patient", "Practitioner"].contains(&resource));
        if let Some(url) = text(object, "fullUrl").filter(|_| may_be_subject) {
            self.given.insert(url.into());
        }
        let here = if matches!(key, "contained") {
            "resource"
        } else {
            key
        };
        for (key, value) in object {
            self.value(value, key, here);
        }
    }

    fn patient(&mut self, object: &Map<String, Value>, contained: bool) {
        let id = text(object, "id").filter(|_| !contained);
        let id = id.map(|id| format!("Patient/{id}"));
        let identifiers = object.get("identifier").and_then(Value::as_array);
        let names: Vec<String> = identifiers
            .into_iter()
            .flatten()
            .filter_map(identifier)
            .chain(id)
            .collect();
        self.incomplete |= names.is_empty();
        for one in &names {
            for other in &names {
                self.links.insert((one.clone(), other.clone()));
            }
        }
        self.names.extend(names);
    }

    fn reference(&mut self, object: &Map<String, Value>, key: &str, above: &str) {
        let is_subject = above == "resource" && SUBJECTS.contains(&key);
        let is_party = PARTIES.contains(&(above, key));
        let of_type = text(object, "type");
        let reference = text(object, "reference");
        let mut to = of_type;
        if let Some(reference) = reference {
            let parts: Vec<_> = reference
                .split("/_history/")
                .next()
                .unwrap_or_default()
                .split('/')
                .collect();
            match parts.as_slice() {
                [base @ .., "Patient", id] if !id.is_empty() && !id.contains(' ') => {
                    self.names
                        .insert([base, &["Patient", id]].concat().join("/"));
                    to = Some("Patient");
                }
                [.., resource @ ("Practitioner" | "Group"), _] => {
                    self.incomplete |= *resource == "Group" && is_subject;
                    if to != Some("Patient") {
                        to = Some(resource);
                    }
                }
                _ if reference.starts_with("urn:uuid:") => {
                    if is_subject {
                        self.wanted.insert(reference.into());
                    }
                }
                _ if reference.starts_with('#') => {}
                _ => self.incomplete = true,
            }
        }
        self.incomplete |= is_subject && of_type == Some("Group");
        let logical = object.get("identifier").and_then(identifier);
        match (logical, to) {
            (Some(name), Some("Patient")) => {
                self.names.insert(name);
            }
            (Some(name), None) if is_subject => {
                self.names.insert(name);
            }
            (Some(_), None) => self.incomplete |= is_party && reference.is_none(),
            (Some(_), Some(_)) => {}
            (None, _) => self.incomplete |= is_subject && reference.is_none(),
        }
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

fn identifier(identifier: &Value) -> Option<String> {
    let value = identifier.get("value").and_then(Value::as_str)?;
    let system = identifier.get("system").and_then(Value::as_str);
    Some(format!("{}|{value}", system.unwrap_or_default()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_scanner_finds_what_a_reader_of_the_whole_finds(seed in any::<u64>()) {
        let mut choices = Choices::new(seed);
        let document = random::document(&mut choices);
        let written = random::write(&document, &mut choices);
        let said = Said::of(&document);
        let found = scan(written.as_bytes());
        let names: Vec<String> = found.subjects().iter().map(name).collect();
        prop_assert_eq!(&names.iter().cloned().collect::<BTreeSet<_>>(), &said.names, "{}", written);
        let types: BTreeSet<_> = found.types().names().map(str::to_owned).collect();
        prop_assert_eq!(&types, &said.types, "{}", &written);
        let complete = found.completeness() == Completeness::All;
        prop_assert_eq!(complete, !said.incomplete, "{:?} {}", found, &written);
        // Every link is within one Patient, and every Patient holds together.
        for (one, other) in found.links() {
            let pair = (names[*one as usize].clone(), names[*other as usize].clone());
            prop_assert!(said.links.contains(&pair), "{:?} {}", pair, &written);
        }
        for (one, other) in &said.links {
            prop_assert!(is_joined(&names, found.links(), one, other), "{}={} {}", one, other, &written);
        }
    }
}

/// Whether links lead from one name to the other.
fn is_joined(names: &[String], links: &[(u32, u32)], one: &str, other: &str) -> bool {
    let mut reached = vec![one];
    let mut at = 0;
    while let Some(&here) = reached.get(at) {
        at += 1;
        for (a, b) in links {
            let (a, b) = (names[*a as usize].as_str(), names[*b as usize].as_str());
            for (from, to) in [(a, b), (b, a)] {
                if from == here && !reached.contains(&to) {
                    reached.push(to);
                }
            }
        }
    }
    reached.contains(&other)
}
