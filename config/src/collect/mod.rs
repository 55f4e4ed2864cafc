//! Reads a TOML document into typed tables and notes every mistake on the way.
//!
//! A deserializer that returns at its first error shows an operator one mistake a run. Here a
//! value that is wrong is noted with its place and replaced by "wrong, already said", and reading
//! goes on. [`Read`] is what a type needs for that: [`kinds`] has it for words, numbers and lists,
//! and the macro in [`rows`] writes it for a table from one row a key, so that key, type, default,
//! bounds, documentation and schema stand in one place. What values mean together is not judged
//! here, but in [`crate::resolve`].

mod kinds;
mod rows;

use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::error::{Advice, MAX_FINDINGS, Report, did_you_mean, nearest};
use crate::place::{Lines, Place, Placed, join};
use crate::refused;
use crate::schema::Absence;
use crate::word::{Shown, spelled};

pub(crate) use self::kinds::{List, Named, NonEmpty, Rows};
pub(crate) use self::rows::table;

/// The document and where it came from.
pub(crate) struct Source<'t> {
    file: Arc<Path>,
    text: &'t str,
    lines: Lines<'t>,
}

impl<'t> Source<'t> {
    pub(crate) fn new(file: &Path, text: &'t str) -> Self {
        Self {
            file: file.into(),
            text,
            lines: Lines::of(text),
        }
    }

    /// Reads the whole document as a `T`. `None`: it is not TOML, and that is noted.
    pub(crate) fn read<T: Read>(&self, report: &mut Report) -> Option<T> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        let mut readable = true;
        let mut hint = "the rest is read once this is mended";
        for error in errors {
            let span = error.span().unwrap_or_default();
            // The first of two equal keys is kept, so what follows can still be read. Anything
            // else makes the rest a guess.
            let duplicate = error.message() == "duplicate key";
            readable &= duplicate;
            let key = self
                .text
                .get(span.clone())
                .filter(|_| duplicate)
                .unwrap_or_default();
            let place = self.place(span.start, key.trim().to_owned());
            if duplicate {
                report.error(&place, "given twice", "keep one of the two");
            } else {
                let message = format!("this is not TOML: {}", error.message());
                report.error(&place, message, std::mem::take(&mut hint));
            }
        }
        let root = DeValue::Table(document.into_inner());
        let value = Value {
            node: &root,
            place: self.place(0, String::new()),
            source: self,
        };
        if readable {
            T::read(value, report)
        } else {
            None
        }
    }

    pub(crate) fn place(&self, offset: usize, key: String) -> Place {
        let (line, column) = self.lines.position(offset);
        Place {
            file: Arc::clone(&self.file),
            line,
            column,
            key,
        }
    }
}

/// A value of the document.
pub(crate) struct Value<'a> {
    node: &'a DeValue<'a>,
    place: Place,
    source: &'a Source<'a>,
}

/// A type that a value can be read as.
pub(crate) trait Read: Sized {
    /// Reads the value. `None`: it is wrong, and that is noted.
    fn read(value: Value<'_>, report: &mut Report) -> Option<Self>;

    /// The JSON Schema of such a value.
    fn schema() -> Json;

    /// What it means in the schema that a whole table is absent.
    fn absence() -> Absence {
        Absence::Own
    }
}

impl<'a> Value<'a> {
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.node, DeValue::Table(_))
    }

    pub(crate) fn as_str(&self) -> Option<&'a str> {
        match self.node {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn wrong_type(&self, expects: &str, report: &mut Report) {
        let found = match self.node {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = format!("{found} where {expects} is expected");
        report.advise(&self.place, || match refused::wrong_type(&self.place.key) {
            Some(refusal) => refusal.into_advice(message),
            None => Advice {
                message,
                hint: None,
            },
        });
    }

    fn read_placed<T: Read>(self, report: &mut Report) -> Option<Placed<T>> {
        let place = self.place.clone();
        T::read(self, report).map(|value| Placed { value, place })
    }

    /// The value's table, or a note that it is none. Notes every key that is not among `keys`.
    pub(crate) fn into_table(
        self,
        keys: &'static [&'static str],
        report: &mut Report,
    ) -> Option<Table<'a>> {
        let entries = self.into_entries(report)?;
        let table = Table { keys, ..entries };
        for key in table.unknown() {
            let name = key.get_ref();
            let place = table
                .source
                .place(key.span().start, join(&table.place.key, name));
            report.advise(&place, || match refused::key(&place.key) {
                Some(refusal) => refusal.into_advice("unknown key".to_owned()),
                None => unknown_key(name, keys),
            });
        }
        Some(table)
    }

    /// The value's table, whatever its keys are, or a note that it is none.
    fn into_entries(self, report: &mut Report) -> Option<Table<'a>> {
        let DeValue::Table(entries) = self.node else {
            self.wrong_type("a table", report);
            return None;
        };
        let Value { place, source, .. } = self;
        Some(Table {
            entries,
            keys: &[],
            place,
            source,
        })
    }

    fn into_items(self, expects: &str, report: &mut Report) -> Option<Vec<Value<'a>>> {
        let DeValue::Array(items) = self.node else {
            self.wrong_type(expects, report);
            return None;
        };
        let Value { place, source, .. } = self;
        let value = |item: &'a Spanned<DeValue<'a>>| Value {
            node: item.get_ref(),
            place: source.place(item.span().start, place.key.clone()),
            source,
        };
        Some(items.iter().map(value).collect())
    }
}

/// A table of the document.
pub(crate) struct Table<'a> {
    entries: &'a DeTable<'a>,
    /// The keys that it can have.
    keys: &'static [&'static str],
    place: Place,
    source: &'a Source<'a>,
}

/// A key that may be absent.
#[derive(Debug)]
pub(crate) enum Optional<T> {
    /// It is not there.
    Absent,
    /// It is there and wrong, which is noted.
    Wrong,
    /// It is there.
    Given(Placed<T>),
}

impl<T> Optional<T> {
    /// What is there and right.
    pub(crate) fn given(&self) -> Option<&Placed<T>> {
        match self {
            Self::Given(given) => Some(given),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// The same, taken.
    pub(crate) fn into_given(self) -> Option<Placed<T>> {
        match self {
            Self::Given(given) => Some(given),
            Self::Absent | Self::Wrong => None,
        }
    }
}

impl<'a> Table<'a> {
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// A key whose absence is a mistake, with how to write it. `None`: it is wrong or missing, and
    /// that is noted.
    pub(crate) fn required<T: Read>(
        &self,
        key: &str,
        eg: &str,
        within: &impl Within<T>,
        report: &mut Report,
    ) -> Option<Placed<T>> {
        match self.optional(key, within, report) {
            Optional::Given(given) => Some(given),
            Optional::Wrong => None,
            // Noted as the unknown key that it is.
            Optional::Absent if self.is_misspelt(key) => None,
            Optional::Absent => {
                let hint = format!("write {key} = {eg}");
                report.error(&self.place.child(key), "missing", &hint);
                None
            }
        }
    }

    /// A key that has a default, which also stands in for a wrong value.
    pub(crate) fn or_default<T: Read>(
        &self,
        key: &str,
        default: T,
        within: &impl Within<T>,
        report: &mut Report,
    ) -> Placed<T> {
        match self.optional(key, within, report) {
            Optional::Given(given) => given,
            Optional::Wrong | Optional::Absent => Placed {
                value: default,
                place: self.place.child(key),
            },
        }
    }

    /// A key that may be absent.
    pub(crate) fn optional<T: Read>(
        &self,
        key: &str,
        within: &impl Within<T>,
        report: &mut Report,
    ) -> Optional<T> {
        let Some(value) = self.get(key) else {
            return Optional::Absent;
        };
        match value.read_placed(report) {
            Some(given) if within.holds(&given, report) => Optional::Given(given),
            _ => Optional::Wrong,
        }
    }

    /// A table of its own, empty when it is absent. `None`: it is no table, and that is noted.
    pub(crate) fn inner<T: Read>(&self, key: &str, report: &mut Report) -> Option<T> {
        if let Some(value) = self.get(key) {
            return T::read(value, report);
        }
        let node = DeValue::Table(DeTable::new());
        let place = self.place.child(key);
        let value = Value {
            node: &node,
            place,
            source: self.source,
        };
        T::read(value, report)
    }

    /// The keys that nobody knows, in the order of the file.
    fn unknown(&self) -> Vec<&'a Spanned<DeString<'a>>> {
        let unknown = |key: &&Spanned<DeString<'_>>| !self.keys.contains(&key.get_ref().as_ref());
        let mut keys: Vec<_> = self.entries.keys().filter(unknown).collect();
        keys.sort_by_key(|key| key.span().start);
        keys
    }

    /// Whether a key that is not there was meant by one that nobody knows.
    fn is_misspelt(&self, key: &str) -> bool {
        // Beyond what is listed nobody looks for a cause.
        let mut unknown = self.unknown().into_iter().take(MAX_FINDINGS);
        unknown.any(|name| nearest(name.get_ref(), self.keys.iter().copied()) == Some(key))
    }

    fn get(&self, key: &str) -> Option<Value<'_>> {
        self.entries.get(key).map(|value| Value {
            node: value.get_ref(),
            place: self
                .source
                .place(value.span().start, join(&self.place.key, key)),
            source: self.source,
        })
    }
}

fn unknown_key(name: &str, keys: &[&str]) -> Advice {
    let all = || format!("the keys here are {}", keys.join(", "));
    let hint = nearest(name, keys.iter().copied()).map_or_else(all, did_you_mean);
    Advice {
        message: "unknown key".to_owned(),
        hint: Some(hint),
    }
}

/// Bounds of a value, or none.
pub(crate) trait Within<T> {
    /// Whether the value lies within; notes it when it does not.
    fn holds(&self, given: &Placed<T>, report: &mut Report) -> bool;
}

/// Nothing to keep to.
pub(crate) struct Anything;

impl<T> Within<T> for Anything {
    fn holds(&self, _: &Placed<T>, _: &mut Report) -> bool {
        true
    }
}

/// From the first to the second, both included.
impl<T: PartialOrd + Shown> Within<T> for (T, T) {
    fn holds(&self, given: &Placed<T>, report: &mut Report) -> bool {
        let (low, high) = self;
        let holds = *low <= given.value && given.value <= *high;
        if !holds {
            let hint = format!("from {} to {}", spelled(low), spelled(high));
            report.error(
                &given.place,
                format!("{} is out of bounds", spelled(&given.value)),
                &hint,
            );
        }
        holds
    }
}
