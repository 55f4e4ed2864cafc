//! The tests of the HTTP working group for structured fields, through the functions that everything
//! in this crate reads and writes with; and what is stricter here.

use serde_json::Value;

use super::*;

const FILES: &[(&str, &str)] = &[
    (
        "binary",
        include_str!("../../vectors/structured/binary.json"),
    ),
    (
        "boolean",
        include_str!("../../vectors/structured/boolean.json"),
    ),
    ("date", include_str!("../../vectors/structured/date.json")),
    (
        "dictionary",
        include_str!("../../vectors/structured/dictionary.json"),
    ),
    (
        "display-string",
        include_str!("../../vectors/structured/display-string.json"),
    ),
    (
        "examples",
        include_str!("../../vectors/structured/examples.json"),
    ),
    ("item", include_str!("../../vectors/structured/item.json")),
    (
        "key-generated",
        include_str!("../../vectors/structured/key-generated.json"),
    ),
    ("list", include_str!("../../vectors/structured/list.json")),
    (
        "listlist",
        include_str!("../../vectors/structured/listlist.json"),
    ),
    (
        "number",
        include_str!("../../vectors/structured/number.json"),
    ),
    (
        "number-generated",
        include_str!("../../vectors/structured/number-generated.json"),
    ),
    (
        "param-dict",
        include_str!("../../vectors/structured/param-dict.json"),
    ),
    (
        "param-list",
        include_str!("../../vectors/structured/param-list.json"),
    ),
    (
        "param-listlist",
        include_str!("../../vectors/structured/param-listlist.json"),
    ),
    (
        "string",
        include_str!("../../vectors/structured/string.json"),
    ),
    (
        "string-generated",
        include_str!("../../vectors/structured/string-generated.json"),
    ),
    ("token", include_str!("../../vectors/structured/token.json")),
    (
        "token-generated",
        include_str!("../../vectors/structured/token-generated.json"),
    ),
];

/// Cases in which a key stands twice: the RFC lets the last one win, we refuse.
const DUPLICATES: &[&str] = &[
    "0x2c in dictionary key",
    "0x3b in parameterised list key",
    "duplicate key dictionary",
    "duplicate parameter with different positions",
];

#[test]
fn the_tests_of_the_working_group_pass() {
    let mut passed = 0;
    let mut refused = Vec::new();
    for (file, text) in FILES {
        let cases: Vec<Value> = serde_json::from_str(text).unwrap();
        for case in &cases {
            let name = case["name"].as_str().unwrap();
            let raw = lines(&case["raw"]).join(", ");
            let read = canonical(case["header_type"].as_str().unwrap(), &raw);
            let says = format!("{file}: {name}: {raw:?}: {read:?}");
            if case["must_fail"] == true {
                assert!(read.is_err(), "{says}");
            } else if read == Err(Fault::Duplicate) {
                refused.push(name.to_owned());
            } else if case["can_fail"] != true || read.is_ok() {
                let expected = if case["canonical"].is_null() {
                    &case["raw"]
                } else {
                    &case["canonical"]
                };
                assert_eq!(read.as_deref(), Ok(&*lines(expected).join(", ")), "{says}");
            }
            passed += 1;
        }
    }
    assert!(passed > 1500, "{passed}");
    refused.sort_unstable();
    refused.dedup();
    assert_eq!(refused, DUPLICATES);
}

fn lines(value: &Value) -> Vec<&str> {
    let lines = value.as_array().unwrap();
    lines.iter().map(|line| line.as_str().unwrap()).collect()
}

fn canonical(kind: &str, text: &str) -> Result<String, Fault> {
    let mut out = String::new();
    match kind {
        "item" => write_item(&mut out, &item(text.as_bytes())?),
        "list" => write_list(&mut out, &list(text.as_bytes())?),
        "dictionary" => write_dictionary(&mut out, &dictionary(text.as_bytes())?),
        other => panic!("{other}"),
    }
    Ok(out)
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    for (kind, text) in [
        ("dictionary", "a=1, b=2, a=1"),
        ("dictionary", "a=1;x;y;x"),
        ("list", "1;x, 2;x;x"),
        ("list", "(1;x 2;x;x)"),
        ("list", "(1);x;x"),
        ("item", "1;x;x"),
    ] {
        assert_eq!(canonical(kind, text), Err(Fault::Duplicate), "{text}");
    }
}

#[test]
fn more_members_than_the_limit_are_refused_and_as_many_are_not() {
    let keys = |count: usize, separator: &str| {
        let keys: Vec<_> = (0..count).map(|key| format!("k{key}")).collect();
        keys.join(separator)
    };
    let limit = |limit| Err(Fault::TooMany { limit });
    assert!(canonical("dictionary", &keys(KEYS, ",")).is_ok());
    assert_eq!(canonical("dictionary", &keys(KEYS + 1, ",")), limit(KEYS));
    assert!(canonical("item", &format!("1;{}", keys(KEYS, ";"))).is_ok());
    assert_eq!(
        canonical("item", &format!("1;{}", keys(KEYS + 1, ";"))),
        limit(KEYS)
    );
    assert!(canonical("list", &keys(ITEMS, ",")).is_ok());
    assert_eq!(canonical("list", &keys(ITEMS + 1, ",")), limit(ITEMS));
    assert!(canonical("list", &format!("({})", keys(ITEMS, " "))).is_ok());
    assert_eq!(
        canonical("list", &format!("({})", keys(ITEMS + 1, " "))),
        limit(ITEMS)
    );
}

#[test]
fn a_byte_sequence_whose_spelling_matters_has_one() {
    let read = |text: &'static str| byte_members(text.as_bytes());
    assert_eq!(
        read("a=:AAE=:,\tb=:AAEC:").unwrap(),
        [("a", vec![0, 1]), ("b", vec![0, 1, 2])]
    );
    assert_eq!(
        read("a=:AAF=:").unwrap_err(),
        Fault::Base64,
        "bits that nobody reads"
    );
    assert_eq!(read("a=:AAE:").unwrap_err(), Fault::Base64, "no padding");
    assert_eq!(read("a=:AAE=:;x").unwrap_err(), Fault::Type);
    assert_eq!(read("a=AAE").unwrap_err(), Fault::Type);
    assert_eq!(read("a").unwrap_err(), Fault::Type);
    assert_eq!(read("a=:AAE=:, a=:AAE=:").unwrap_err(), Fault::Duplicate);
    assert_eq!(read("").unwrap(), []);
}

#[test]
fn lines_of_a_field_are_one_text_within_the_limit() {
    let name = HeaderName::from_static("signature");
    let mut headers = HeaderMap::new();
    assert!(joined(&headers, &name, 10).unwrap().is_none());
    headers.append(&name, "a=1".parse().unwrap());
    assert!(matches!(
        joined(&headers, &name, 3),
        Ok(Some(Cow::Borrowed(b"a=1")))
    ));
    assert!(joined(&headers, &name, 2).is_err());
    headers.append(&name, "b=2".parse().unwrap());
    assert_eq!(
        joined(&headers, &name, 8).unwrap().as_deref(),
        Some(&b"a=1, b=2"[..])
    );
    assert!(joined(&headers, &name, 7).is_err());
}
