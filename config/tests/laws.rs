//! What holds for every text, good or bad.

use std::fs;
use std::path::Path;
use std::time::Instant;

use config::{Findings, MAX_FINDINGS, Severity};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_text_is_answered_with_places_in_it(text in ".{0,200}") {
        check(&text)?;
    }

    #[test]
    fn any_toml_is_answered_with_places_in_it(text in toml()) {
        check(&text)?;
    }

    #[test]
    fn a_good_file_that_was_damaged_is_answered_with_places_in_it(
        at in 0.0..1.0f64,
        length in 0usize..60,
        junk in prop_oneof!["[\\[\\]{}\"'=.,#\n a-z0-9\u{e9}]{0,12}", ".{0,6}"],
        piece in 0.0..1.0f64,
    ) {
        let good = full();
        let start = boundary(&good, at);
        let end = good[start..].char_indices().nth(length).map_or(good.len(), |(at, _)| start + at);
        check(&format!("{}{junk}{}", &good[..start], &good[end..]))?;
        // A piece of the file, moved to where it does not belong.
        let line = good.lines().nth(boundary(&good, piece) % good.lines().count()).unwrap_or("");
        check(&format!("{}\n{line}\n{}", &good[..start], &good[start..]))?;
    }

    #[test]
    fn the_order_of_tables_means_nothing(seed in any::<u64>()) {
        let good = full();
        let (head, rest) = good.split_once("[workers]").expect("the example has workers");
        let rest = format!("[workers]{rest}");
        let mut tables: Vec<&str> = split_tables(&rest);
        let mut state = seed;
        for at in (1..tables.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            tables.swap(at, usize::try_from(state >> 33).unwrap_or(0) % (at + 1));
        }
        let shuffled = format!("{head}{}", tables.concat());
        let config = config::parse(Path::new("gateway.toml"), &shuffled);
        let config = config.map_err(|findings| TestCaseError::fail(findings.to_string()))?;
        prop_assert!(config.warnings.is_empty());
        prop_assert_eq!((config.decisions.len(), config.routes.len()), (6, 4));
    }
}

#[test]
fn routes_of_too_many_hosts_and_methods_are_refused() {
    let list = |count, letter| {
        (0..count)
            .map(|n| format!("'{letter}{n}'"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let route = |n| {
        let (hosts, methods) = (list(1000, 'h'), list(32, 'M'));
        format!(
            "[[routes]]\nname='r{n}'\npath='/{n}'\nlisteners=['devices']\nallow=['pump']\n\
             upstream='fhir'\nhosts=[{hosts}]\nmethods=[{methods}]\n"
        )
    };
    let routes = |count| (0..count).map(route).collect::<Vec<_>>().concat();
    let minimal = example("minimal.toml");
    let told = |text: String| {
        config::parse(Path::new("gateway.toml"), &text).map(|config| config.warnings)
    };
    assert!(told(format!("{minimal}{}", routes(15))).unwrap().is_empty());
    let findings = told(format!("{minimal}{}", routes(16))).unwrap_err();
    assert_eq!(findings.list().len(), 1, "{findings}");
    assert!(
        findings
            .to_string()
            .contains("more than 500000 pairs of host and method")
    );
}

#[test]
fn a_file_made_to_be_slow_is_answered_soon() {
    for (name, text) in slow_files(config::MAX_FILE_BYTES / 2) {
        let started = Instant::now();
        check(&text).unwrap();
        // Generous: a debug build on a busy machine. What it catches is quadratic.
        assert!(
            started.elapsed().as_secs() < 15,
            "{name} took {:?}",
            started.elapsed()
        );
    }
}

/// Files of a size that make the most of what is compared with each other.
fn slow_files(size: usize) -> Vec<(&'static str, String)> {
    let list =
        |count, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(",");
    let same_route =
        "[[routes]]\nname='a'\nhosts=['a']\nlisteners=['a']\npath='/'\nmethods=['A']\n";
    let listener = |n| {
        let table = "certificates=['a']\nclients={certificates='none'}\n";
        let route = "hosts=['a']\npath='/'\nmethods=['A']\nupstream='u'\n";
        let port = n + 1;
        format!(
            "[listeners.l{n}]\nlisten=['1.1.1.1:{port}']\n{table}\
             [[routes]]\nname='n{n}'\nlisteners=['l{n}']\n{route}"
        )
    };
    let hosts = list(900, &|n| format!("'h{n}'"));
    let methods = list(32, &|n| format!("'M{n}'"));
    let product = format!("[[routes]]\npath='/'\nhosts=[{hosts}]\nmethods=[{methods}]\n");
    let roles = filled(size / 2, |n| format!("r{n}={{clients=['a:']}}\n"));
    let allow = format!(
        "[[routes]]\nallow=[{}]\n",
        list(900, &|n| format!("'r{n}'"))
    );
    let allow = filled(size / 2 - 100, |_| allow.clone());
    vec![
        (
            "roles and routes that name them",
            format!("[roles]\n{roles}{allow}"),
        ),
        (
            "routes that differ in their listener",
            filled(size, listener),
        ),
        (
            "routes of many hosts and methods",
            filled(size, |_| product.clone()),
        ),
        (
            "routes that are all the same",
            filled(size, |_| same_route.to_owned()),
        ),
        ("empty routes", filled(size, |_| "[[routes]]\n".to_owned())),
        (
            "unknown keys",
            filled(size, |n| format!("unknown{n} = 1\n")),
        ),
        (
            "unknown keys in a table",
            format!("[audit]\n{}", filled(size - 10, |n| format!("d{n} = 1\n"))),
        ),
        (
            "wrong roles",
            format!("[roles]\n{}", filled(size - 10, |n| format!("r{n} = 1\n"))),
        ),
        (
            "a key given again and again",
            filled(size, |_| "a.b = 1\n".to_owned()),
        ),
        (
            "a table given again and again",
            filled(size, |_| "[a]\n".to_owned()),
        ),
        ("brackets", filled(size, |_| "[[".to_owned())),
        (
            "lists that do not end",
            filled(size, |_| "a = [\n".to_owned()),
        ),
        ("braces", filled(size, |_| "{".to_owned())),
        ("wide characters", filled(size, |_| "\u{1F600}".to_owned())),
        (
            "a long value",
            format!("access_log = \"{}\"", "x".repeat(size)),
        ),
        (
            "a long inline table",
            format!("audit = {{ {} }}", filled(size, |n| format!("a{n} = 1, "))),
        ),
        (
            "a long list",
            format!("[audit]\ndirectory = [{}]", "1,".repeat(size / 2)),
        ),
        ("deep nesting", format!("a = {}", "[".repeat(size))),
    ]
}

/// Pieces, as many as fit.
fn filled(size: usize, piece: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for number in 0.. {
        let piece = piece(number);
        if text.len() + piece.len() > size {
            break;
        }
        text += &piece;
    }
    text
}

/// Whatever the text is: an answer, bounded, in the order of the file, each within it.
fn check(text: &str) -> Result<(), TestCaseError> {
    let (findings, severity) = match config::parse(Path::new("gateway.toml"), text) {
        Ok(config) => (config.warnings, Severity::Warning),
        Err(findings) => {
            prop_assert!(!findings.is_empty());
            (findings, Severity::Error)
        }
    };
    within(&findings, severity, text)
}

fn within(findings: &Findings, severity: Severity, text: &str) -> Result<(), TestCaseError> {
    let lines: Vec<usize> = text.split('\n').map(|line| line.chars().count()).collect();
    prop_assert!(findings.list().len() <= MAX_FINDINGS);
    prop_assert!(findings.unlisted() == 0 || findings.list().len() == MAX_FINDINGS);
    let mut last = (0, 0);
    for finding in findings.list() {
        let (line, column) = (finding.place.line as usize, finding.place.column as usize);
        prop_assert_eq!(finding.severity, severity);
        prop_assert!(line >= 1 && line <= lines.len(), "{}", finding);
        prop_assert!(column >= 1 && column <= lines[line - 1] + 1, "{}", finding);
        prop_assert!((line, column) >= last, "{}", finding);
        prop_assert!(
            !finding.message.is_empty() && finding.message.len() < 1000,
            "{}",
            finding
        );
        prop_assert!(
            !finding.message.chars().any(char::is_control),
            "{:?}",
            finding
        );
        last = (line, column);
    }
    Ok(())
}

/// Something like a configuration: known and unknown keys, values of every kind.
fn toml() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        "audit|admin|trust|certificates|listeners|roles|upstreams|routes|workers|access_log|drain",
        "directory|listen|roots|revocation|chain|key|clients|limits|servers|trust|name|hosts|path",
        "methods|allow|upstream|rate|ephi|rationale|crls|when_stale|identity|certificates|protocol",
        "signatures|replay|window|keys|public|client|digest|signature|signature_covers|signature_keys",
        "signature_age|buffer|stream|answers|signed|answer_key",
        "[a-z]{1,3}",
        "\"[a-z. ]{0,4}\"",
    ];
    let value = prop_oneof![
        "\"[a-z0-9:/.*-]{0,12}\"",
        "-?[0-9]{1,12}|true|false|1\\.5|2026-11-21|\\[\\]|\\{\\}|\\[\\[\\]\\]",
        "\"(10s|1MiB|off|required|when-present|signed|@method|x;tr|none|anyone|modern|file:a|unix:/a|https://a|127\\.0\\.0\\.1:1)\"",
        "\\[\"[a-z]{0,3}\", \"[a-z]{0,3}\"\\]",
        "\\{ (clients|certificates|crls|per|trust) = (\\[\"a\"\\]|\"none\"|1), b = \\{ \\} \\}",
    ];
    let line = prop_oneof![
        3 => (proptest::collection::vec(key.clone(), 1..3), value)
            .prop_map(|(keys, value)| format!("{} = {value}", keys.join("."))),
        1 => proptest::collection::vec(key.clone(), 1..4).prop_map(|keys| format!("[{}]", keys.join("."))),
        1 => key.prop_map(|key| format!("[[{key}]]")),
    ];
    proptest::collection::vec(line, 0..25).prop_map(|lines| lines.join("\n"))
}

/// Splits before each header; a comment stays with what it follows.
fn split_tables(text: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = text.match_indices("\n[").map(|(at, _)| at + 1).collect();
    starts.insert(0, 0);
    starts.push(text.len());
    starts
        .windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .collect()
}

fn boundary(text: &str, share: f64) -> usize {
    let count = text.chars().count();
    // A share of the file; what rounding does to it does not matter.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    let nth = (count as f64 * share) as usize;
    text.char_indices()
        .nth(nth)
        .map_or(text.len(), |(at, _)| at)
}

fn full() -> String {
    example("full.toml")
}

fn example(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name);
    fs::read_to_string(file).expect("the example is there")
}
