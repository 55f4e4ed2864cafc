//! A word: a value that the file spells as one string, and that is parsed once, at the border.
//!
//! [`Word`] is what the reader and the schema know about such a value; each type of [`crate::name`],
//! [`crate::units`] and their neighbors implements it beside its own `parse`.

use std::num::NonZeroU32;

use serde_json::{Value as Json, json};

use crate::error::{Advice, did_you_mean, nearest};
use crate::place::quoted;

/// A value spelled as one string.
pub(crate) trait Word: Sized {
    /// What it is, with its article: `a duration`.
    const NOUN: &'static str;
    /// One good spelling, for messages and for the schema.
    const EXAMPLE: &'static str;
    /// A regular expression that every accepted spelling matches, for editors; it may match more.
    const PATTERN: Option<&'static str> = None;

    /// Parses the word, or says what is wrong with it. The advice of a secret never repeats it.
    fn parse_word(text: &str) -> Result<Self, Advice>;

    /// The JSON Schema of the string.
    fn schema() -> Json {
        let mut schema = json!({ "type": "string", "examples": [Self::EXAMPLE] });
        if let Some(pattern) = Self::PATTERN {
            schema["pattern"] = pattern.into();
        }
        schema
    }
}

/// How a default or a bound is spelled in the schema and in messages.
pub(crate) trait Shown {
    fn shown(&self) -> Json;
}

impl Shown for bool {
    fn shown(&self) -> Json {
        (*self).into()
    }
}

impl Shown for NonZeroU32 {
    fn shown(&self) -> Json {
        self.get().into()
    }
}

/// The text of a [`Shown`] value in a message.
pub(crate) fn spelled(value: &impl Shown) -> String {
    match value.shown() {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

/// One of the words that a choice knows: how it is spelled, what it stands for, what it does.
pub(crate) type Row<T> = (&'static str, T, &'static str);

/// Looks `text` up among the words of a choice.
pub(crate) fn choose<T: Copy>(text: &str, rows: &[Row<T>]) -> Result<T, Advice> {
    if let Some((_, value, _)) = rows.iter().find(|(word, ..)| *word == text) {
        return Ok(*value);
    }
    let words = rows.iter().map(|(word, ..)| *word);
    let all = || {
        let words: Vec<String> = words.clone().map(quoted).collect();
        format!("write {}", words.join(" or "))
    };
    let hint = nearest(text, words.clone()).map_or_else(all, did_you_mean);
    Err(Advice {
        message: format!("unknown value {}", quoted(text)),
        hint: Some(hint),
    })
}

/// Stands in for a name or a text that is wrong or missing, in a draft that never leaves this
/// crate. It equals nothing that can be parsed.
pub(crate) trait StandIn {
    fn stand_in() -> Self;
}

/// The JSON Schema of a choice: its words, and what each of them does.
pub(crate) fn choice_schema<T>(rows: &[Row<T>]) -> Json {
    let words = rows
        .iter()
        .map(|(word, _, about)| json!({ "const": word, "description": about }));
    json!({ "oneOf": words.collect::<Vec<_>>() })
}

/// Makes a `Copy` enum a word: one row for each spelling.
macro_rules! choice {
    ($type:ty, $noun:literal, [$(($word:literal, $value:expr, $about:literal)),+ $(,)?]) => {
        impl $type {
            const WORDS: &'static [$crate::word::Row<Self>] = &[$(($word, $value, $about)),+];
        }

        impl $crate::word::Word for $type {
            const NOUN: &'static str = $noun;
            const EXAMPLE: &'static str = Self::WORDS[0].0;

            fn parse_word(text: &str) -> Result<Self, $crate::error::Advice> {
                $crate::word::choose(text, Self::WORDS)
            }

            fn schema() -> serde_json::Value {
                $crate::word::choice_schema(Self::WORDS)
            }
        }

        impl $crate::word::Shown for $type {
            fn shown(&self) -> serde_json::Value {
                Self::WORDS.iter().find(|(_, value, _)| value == self).map(|row| row.0).into()
            }
        }
    };
}
pub(crate) use choice;
