//! The JSON Schema of the file (draft 2020-12), made from the same rows that read it.
//!
//! Editors use it to complete keys and to mark slips. It says less than the gateway checks: no
//! names are looked up, and a value that it accepts may still be refused.

use serde_json::{Map, Value as Json, json};

/// One key of a table.
pub(crate) struct Property {
    pub(crate) key: &'static str,
    /// The doc comment.
    pub(crate) about: String,
    pub(crate) schema: Json,
    pub(crate) absence: Absence,
    pub(crate) bounds: Option<(Json, Json)>,
}

/// What it means that a key is not there.
pub(crate) enum Absence {
    /// A mistake.
    Missing,
    /// Its own case.
    Own,
    /// This value.
    Default(Json),
}

/// The schema of a table with these keys and no others.
pub(crate) fn object(about: &str, properties: Vec<Property>) -> Json {
    let required: Vec<&str> = properties
        .iter()
        .filter(|property| matches!(property.absence, Absence::Missing))
        .map(|property| property.key)
        .collect();
    let mut object = json!({
        "type": "object",
        "description": about,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        object["required"] = required.into();
    }
    let properties = properties
        .into_iter()
        .map(|property| (property.key.to_owned(), described(property)));
    object["properties"] = Json::Object(properties.collect::<Map<_, _>>());
    object
}

fn described(property: Property) -> Json {
    let Property {
        mut schema,
        mut about,
        absence,
        bounds,
        ..
    } = property;
    if let Some((low, high)) = bounds {
        if schema["type"] == "integer" {
            schema["minimum"] = low;
            schema["maximum"] = high;
        } else {
            let text = |bound: Json| bound.as_str().unwrap_or_default().to_owned();
            about = format!("{about} From {} to {}.", text(low), text(high));
        }
    }
    if let Absence::Default(default) = absence {
        schema["default"] = default;
    }
    // A table describes itself; beside it, what the key is for says more.
    schema["description"] = about.into();
    schema
}

/// The lines of a doc comment as one paragraph.
pub(crate) fn paragraph(lines: &[&str]) -> String {
    lines
        .iter()
        .map(|line| line.trim())
        .collect::<Vec<_>>()
        .join(" ")
        .trim()
        .to_owned()
}

/// The whole document, as it is committed in `config/schema.json`.
pub(crate) fn document(mut root: Json) -> String {
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "phigate configuration".into();
    format!("{root:#}\n")
}
