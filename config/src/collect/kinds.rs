//! What a value can be read as: a word, a flag, a number, a list, tables by name or in a row.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::{Read, Value};
use crate::error::Report;
use crate::name::RouteName;
use crate::place::{Place, Placed, join, quoted};
use crate::refused;
use crate::word::{Shown, Word};

impl<T: Word> Read for T {
    fn read(value: Value<'_>, report: &mut Report) -> Option<Self> {
        let Some(text) = value.as_str() else {
            value.wrong_type(
                &format!("{} such as {}", T::NOUN, quoted(T::EXAMPLE)),
                report,
            );
            return None;
        };
        let key = &value.place.key;
        // Before parsing: some values that are refused here would parse.
        if let Some(refusal) = refused::text(key, text) {
            let message = format!("this is not {}", T::NOUN);
            report.advise(&value.place, || refusal.into_advice(message));
            return None;
        }
        match T::parse_word(text) {
            Ok(word) => Some(word),
            Err(advice) => {
                report.advise(&value.place, || advice);
                None
            }
        }
    }

    fn schema() -> Json {
        T::schema()
    }
}

impl Read for bool {
    fn read(value: Value<'_>, report: &mut Report) -> Option<Self> {
        let DeValue::Boolean(flag) = value.node else {
            value.wrong_type("true or false", report);
            return None;
        };
        Some(*flag)
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

impl Read for NonZeroU32 {
    fn read(value: Value<'_>, report: &mut Report) -> Option<Self> {
        let DeValue::Integer(number) = value.node else {
            value.wrong_type("a whole number such as 100", report);
            return None;
        };
        let number = u32::from_str_radix(number.as_str(), number.radix())
            .ok()
            .and_then(Self::new);
        if number.is_none() {
            report.error(
                &value.place,
                "out of bounds",
                "write a whole number such as 100",
            );
        }
        number
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX })
    }
}

/// A list of words without repetition. Entries that are wrong are noted and left out.
#[derive(Debug)]
pub(crate) struct List<T>(pub(crate) Vec<Placed<T>>);

impl<T: Word> List<T> {
    fn example() -> String {
        format!("[{}]", quoted(T::EXAMPLE))
    }
}

/// The most entries that a list can have: a bound on what is compared with each other later.
const LONGEST_LIST: usize = 1000;

impl<T: Word + Ord + Clone> Read for List<T> {
    fn read(value: Value<'_>, report: &mut Report) -> Option<Self> {
        let place = value.place.clone();
        let items = value.into_items(&format!("a list such as {}", Self::example()), report)?;
        if items.len() > LONGEST_LIST {
            let message = format!("{} entries; at most {LONGEST_LIST} are taken", items.len());
            report.error(&place, message, "divide the list");
            return None;
        }
        let several = items.get(1).map(|item| item.place.clone());
        let several = several.and_then(|place| Some((refused::second_entry(&place.key)?, place)));
        if let Some((refusal, place)) = several {
            report.advise(&place, || refusal.into_advice(String::new()));
        }
        let mut first: BTreeMap<T, Place> = BTreeMap::new();
        let mut list = Vec::new();
        for item in items {
            let Some(item) = item.read_placed::<T>(report) else {
                continue;
            };
            // Compared as parsed: two spellings of one host are the same host.
            if let Some(Place { line, column, .. }) = first.get(&item.value) {
                let message = format!("named twice, first at {line}:{column}");
                report.error(&item.place, message, "leave one of the two out");
                continue;
            }
            first.insert(item.value.clone(), item.place.clone());
            list.push(item);
        }
        Some(Self(list))
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": <T as Read>::schema(), "maxItems": LONGEST_LIST, "uniqueItems": true })
    }
}

impl<T> Shown for List<T> {
    /// Only an empty list is ever a default.
    fn shown(&self) -> Json {
        json!([])
    }
}

/// A list in which something stands. It is empty only when every entry was wrong, which is noted.
#[derive(Debug)]
pub(crate) struct NonEmpty<T>(pub(crate) Vec<Placed<T>>);

impl<T: Word + Ord + Clone> Read for NonEmpty<T> {
    fn read(value: Value<'_>, report: &mut Report) -> Option<Self> {
        if matches!(value.node, DeValue::Array(items) if items.is_empty()) {
            let hint = format!("write at least one, as in {}", List::<T>::example());
            report.error(&value.place, "an empty list", &hint);
            return None;
        }
        List::read(value, report).map(|list| Self(list.0))
    }

    fn schema() -> Json {
        let mut schema = List::<T>::schema();
        schema["minItems"] = 1.into();
        schema
    }
}

/// Tables by name, such as all that stands under `[listeners]`.
#[derive(Debug)]
pub(crate) struct Named<N, T> {
    /// The tables that could be read.
    pub(crate) tables: Vec<(N, T)>,
    /// Every name that is given, so that a reference to a table that could not be read is not a
    /// second mistake.
    pub(crate) names: BTreeSet<N>,
}

impl<N: Word + Ord + Clone, T: Read> Read for Named<N, T> {
    fn read(value: Value<'_>, report: &mut Report) -> Option<Self> {
        let table = value.into_entries(report)?;
        let (mut tables, mut names) = (Vec::new(), BTreeSet::new());
        // In the order of the file, whatever order the parser keeps.
        let mut entries: Vec<_> = table.entries.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let path = join(&table.place.key, key.get_ref());
            let place = table.source.place(key.span().start, path.clone());
            let name = match N::parse_word(key.get_ref()) {
                Ok(name) => Some(name),
                Err(advice) => {
                    report.advise(&place, || advice);
                    None
                }
            };
            names.extend(name.clone());
            let place = table.source.place(value.span().start, path);
            let value = Value {
                node: value.get_ref(),
                place,
                source: table.source,
            };
            tables.extend(T::read(value, report).and_then(|table| Some((name?, table))));
        }
        Some(Self { tables, names })
    }

    fn schema() -> Json {
        json!({
            "type": "object",
            "propertyNames": N::schema(),
            "additionalProperties": T::schema(),
        })
    }
}

/// A list of tables, such as `[[routes]]`. Each is called by its `name`, or by its number.
#[derive(Debug)]
pub(crate) struct Rows<T>(pub(crate) Vec<T>);

impl<T: Read> Read for Rows<T> {
    fn read(value: Value<'_>, report: &mut Report) -> Option<Self> {
        let parent = value.place.key.clone();
        let mut rows = Vec::new();
        for (at, mut item) in value
            .into_items("a list of tables", report)?
            .into_iter()
            .enumerate()
        {
            let name = match item.node {
                DeValue::Table(table) => table.get("name").and_then(|name| name.get_ref().as_str()),
                _ => None,
            };
            let name = name.filter(|name| RouteName::parse(name).is_ok());
            item.place.key = join(&parent, &name.map_or(format!("#{}", at + 1), str::to_owned));
            rows.extend(T::read(item, report));
        }
        Some(Self(rows))
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }
}
