//! The schema says what the reader does, and the examples show all of it.
//!
//! To write `schema.json` anew after a change of a row: `BLESS=1 cargo test -p config --test schema`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use config::Config;
use serde_json::{Map, Value as Json, json};

#[test]
fn the_committed_schema_is_what_the_types_give() {
    let file = crate_file("schema.json");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&file, config::schema()).unwrap();
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), config::schema());
}

#[test]
fn the_schema_accepts_the_examples() {
    for name in ["minimal", "full"] {
        refused(&example(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn the_schema_accepts_whatever_the_gateway_accepts() {
    let mut accepted = 0;
    for entry in fs::read_dir(crate_file("tests/mistakes")).unwrap() {
        let file = entry.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        if config::parse(&file, &text).is_ok() {
            refused(&toml_of(&text)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            accepted += 1;
        }
    }
    assert!(accepted > 5, "files with nothing but warnings are accepted");
}

#[test]
fn the_schema_refuses_a_misspelt_key_in_every_table() {
    let full = example("full");
    let mut tables = Vec::new();
    pointers(&full, &schema(), String::new(), &mut tables);
    assert!(tables.len() > 20, "{tables:?}");
    for pointer in tables {
        let mut misspelt = full.clone();
        let table = misspelt
            .pointer_mut(&pointer)
            .and_then(Json::as_object_mut)
            .unwrap();
        table.insert("misspelt".to_owned(), json!(true));
        let error = refused(&misspelt).expect_err(&pointer);
        assert!(error.contains("misspelt"), "{pointer}: {error}");
    }
}

#[test]
fn the_schema_refuses_values_of_another_kind() {
    for (pointer, value) in [
        ("/access_log", json!("syslog")),
        ("/drain", json!(30)),
        ("/drain", json!("30")),
        ("/audit/queue_bytes", json!("64MB")),
        ("/audit/queue_entries", json!(0)),
        ("/certificates/api/key", json!("api.key.pem")),
        ("/listeners/devices/listen", json!([])),
        ("/routes/0/path", json!("fhir")),
        ("/routes/0/signature", json!(true)),
        ("/routes/0/signature_covers", json!(["Content-Type"])),
        ("/routes/0/signature_covers", json!([])),
        ("/signatures/window", json!(999)),
        ("/signatures/key", json!("signing.pem")),
        ("/routes/0/methods", json!(["G ET"])),
        ("/trust/devices/revocation", json!("none")),
    ] {
        let mut changed = example("full");
        *changed.pointer_mut(pointer).unwrap() = value;
        refused(&changed).expect_err(pointer);
    }
}

#[test]
fn every_key_of_the_schema_stands_in_the_full_example() {
    let mut keys = BTreeSet::new();
    keys_of(&schema(), "", &mut keys);
    let mut found = BTreeSet::new();
    keys_in(&example("full"), &schema(), "", &mut found);
    let missing: Vec<_> = keys.difference(&found).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(
        keys.len() >= 80,
        "the schema has many keys, not {}",
        keys.len()
    );
}

#[test]
fn what_the_schema_calls_the_default_is_what_an_absent_key_means() {
    let bare = example("minimal");
    let mut spelled = bare.clone();
    let written = write_defaults(&mut spelled, &schema());
    assert!(written > 30, "only {written} defaults were written out");
    let text = toml::to_string(&spelled).unwrap();
    assert_eq!(meaning(&text), meaning(&toml::to_string(&bare).unwrap()));
}

/// What a text means, without the places at which it says so.
fn meaning(text: &str) -> String {
    let config = config::parse(Path::new("gateway.toml"), text);
    let config = config.unwrap_or_else(|findings| panic!("{findings}\n{text}"));
    let shown = format!(
        "{:#?}",
        Config {
            text: String::new(),
            ..config
        }
    );
    let lines = shown
        .lines()
        .filter(|line| !line.trim_start().starts_with("place: <"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Writes each default into each table where its key is absent.
fn write_defaults(value: &mut Json, schema: &Json) -> usize {
    let mut written = 0;
    match value {
        Json::Array(items) => {
            for item in items {
                written += write_defaults(item, &schema["items"]);
            }
        }
        Json::Object(table) => {
            let schema = schema.get("anyOf").map_or(schema, |any| &any[0]);
            for (key, value) in table.iter_mut() {
                written += write_defaults(value, member(schema, key));
            }
            for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = schema.get("default").filter(|_| !table.contains_key(key)) {
                    table.insert(key.clone(), default.clone());
                    written += 1;
                } else if stands_for_itself(schema) && !table.contains_key(key) {
                    let mut inner = json!({});
                    written += write_defaults(&mut inner, schema);
                    table.insert(key.clone(), inner);
                }
            }
        }
        _ => {}
    }
    written
}

/// A table whose absence means the same as an empty one.
fn stands_for_itself(schema: &Json) -> bool {
    schema["type"] == "object" && schema["required"].is_null()
}

/// Each key of a schema, with `*` for names.
fn keys_of(schema: &Json, path: &str, keys: &mut BTreeSet<String>) {
    for schema in schema["anyOf"].as_array().into_iter().flatten() {
        keys_of(schema, path, keys);
    }
    if schema["type"] == "array" {
        keys_of(&schema["items"], &format!("{path}[]"), keys);
    }
    if schema["additionalProperties"].is_object() {
        keys_of(&schema["additionalProperties"], &format!("{path}.*"), keys);
    }
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        keys_of(schema, &path, keys);
        keys.insert(path);
    }
}

/// Each key of a value, spelled as [`keys_of`] spells them.
fn keys_in(value: &Json, schema: &Json, path: &str, keys: &mut BTreeSet<String>) {
    let schema = schema.get("anyOf").map_or(schema, |any| &any[0]);
    for item in value.as_array().into_iter().flatten() {
        keys_in(item, &schema["items"], &format!("{path}[]"), keys);
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let named = schema["additionalProperties"].is_object();
        let path = format!("{path}.{}", if named { "*" } else { key });
        keys_in(value, member(schema, key), &path, keys);
        keys.insert(path);
    }
}

/// JSON pointers to the tables whose keys the schema knows.
fn pointers(value: &Json, schema: &Json, path: String, found: &mut Vec<String>) {
    let schema = schema.get("anyOf").map_or(schema, |any| &any[0]);
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        pointers(item, &schema["items"], format!("{path}/{at}"), found);
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        pointers(value, member(schema, key), format!("{path}/{key}"), found);
    }
    if value.is_object() && schema["additionalProperties"] == false {
        found.push(path);
    }
}

/// The schema of a key of a table.
fn member<'s>(schema: &'s Json, key: &str) -> &'s Json {
    schema["properties"]
        .get(key)
        .unwrap_or(&schema["additionalProperties"])
}

/// Judges a value by the schema. `Err` says where and why it is refused.
fn refused(value: &Json) -> Result<(), String> {
    judge(value, &schema(), "")
}

/// As much of JSON Schema (draft 2020-12, Validation) as this schema uses, and a panic on any
/// keyword beyond that.
fn judge(value: &Json, schema: &Json, at: &str) -> Result<(), String> {
    let say = |holds: bool, what: &str| {
        if holds {
            Ok(())
        } else {
            Err(format!("{at}: {what}"))
        }
    };
    let rules = schema.as_object().expect("a schema is an object");
    for (keyword, rule) in rules {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "examples" => {}
            "type" => say(kind(value) == rule, &format!("{rule} is expected"))?,
            "const" => say(value == rule, &format!("{rule} is expected"))?,
            "oneOf" | "anyOf" => {
                let fits = |schema: &&Json| judge(value, schema, at).is_ok();
                let count = rule
                    .as_array()
                    .expect("a list of schemas")
                    .iter()
                    .filter(fits)
                    .count();
                say(count == 1, &format!("{count} of {keyword} fit {value}"))?;
            }
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    rule.get(key)
                        .map_or(Ok(()), |rule| judge(value, rule, &format!("{at}/{key}")))?;
                }
            }
            "additionalProperties" => {
                let known = rules.get("properties").and_then(Json::as_object);
                let known = |key: &str| known.is_some_and(|known| known.contains_key(key));
                for (key, value) in value.as_object().into_iter().flatten() {
                    match rule {
                        _ if known(key) => {}
                        Json::Bool(allowed) => say(*allowed, &format!("unknown key {key}"))?,
                        schema => judge(value, schema, &format!("{at}/{key}"))?,
                    }
                }
            }
            "propertyNames" => {
                for key in value.as_object().map(Map::keys).into_iter().flatten() {
                    judge(&json!(key), rule, &format!("{at}/{key}"))?;
                }
            }
            "required" => {
                for key in rule.as_array().expect("a list of keys") {
                    let key = key.as_str().expect("a key");
                    say(value.get(key).is_some(), &format!("{key} is missing"))?;
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    judge(item, rule, &format!("{at}/{index}"))?;
                }
            }
            "minItems" => say(items(value) >= rule.as_u64(), "too few entries")?,
            "maxItems" => say(items(value) <= rule.as_u64(), "too many entries")?,
            "uniqueItems" => {
                let texts: Vec<String> = value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(Json::to_string)
                    .collect();
                let unique: BTreeSet<&String> = texts.iter().collect();
                say(unique.len() == texts.len(), "entries are repeated")?;
            }
            "minimum" => say(value.as_u64() >= rule.as_u64(), "too small")?,
            "maximum" => say(value.as_u64() <= rule.as_u64(), "too large")?,
            "pattern" => {
                let pattern = regex::Regex::new(rule.as_str().expect("a text")).expect("a pattern");
                let text = value.as_str().unwrap_or_default();
                say(pattern.is_match(text), &format!("{text} is not {rule}"))?;
            }
            other => panic!("the schema uses {other}, which this test does not judge"),
        }
    }
    Ok(())
}

fn items(value: &Json) -> Option<u64> {
    value
        .as_array()
        .and_then(|items| u64::try_from(items.len()).ok())
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "integer",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn schema() -> Json {
    config::schema().parse().expect("the schema is JSON")
}

fn example(name: &str) -> Json {
    let file = crate_file(&format!("examples/{name}.toml"));
    toml_of(&fs::read_to_string(file).expect("the example is there"))
}

fn toml_of(text: &str) -> Json {
    let table: toml::Table = text.parse().expect("it is TOML");
    serde_json::to_value(table).expect("it holds no dates")
}

fn crate_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
