//! Invariants as absences: what is not in the code, or only in one place.

use integration::sources::{self, Source};

/// The functional core: files, named without their ending, and folders that take bytes, keys and time as arguments, and return
/// values.
const CORE: &[&str] = &[
    "config/src/resolve",
    "config/src/collect",
    "gateway/http1/src",
    "gateway/integrity/src",
    "gateway/audit/src/code",
    "gateway/audit/src/event",
    "gateway/audit/src/entry",
    "gateway/audit/src/clock/state",
    "gateway/audit/src/clock/watch",
    "gateway/audit/src/frame",
    "gateway/audit/src/merkle",
    "gateway/audit/src/seal",
    "gateway/audit/src/noise",
    "gateway/audit/src/export",
    "gateway/audit/src/select",
    "gateway/audit/src/report/disclosures",
    "gateway/audit/src/report/exchange",
    "gateway/audit/src/report/page",
    "gateway/audit/src/witness/judge",
    "gateway/audit/src/witness/logs",
    "gateway/src/authorize",
    "gateway/src/ca",
    "gateway/src/capture",
    "gateway/src/checks",
    "gateway/src/digest",
    "gateway/fhir/src",
    "gateway/src/headers",
    "gateway/src/hello",
    "gateway/src/hosts",
    "gateway/src/identity",
    "gateway/src/path",
    "gateway/src/peer",
    "gateway/src/record/subjects",
    "gateway/src/refusal",
    "gateway/src/revocation",
    "gateway/src/route",
    "gateway/src/tls",
    "pki/ocsp/src",
    "pki/src/ceremony",
    "pki/src/lint",
    "pki/src/name",
    "pki/src/profile",
    "pki/src/public_key",
    "pki/src/reason",
    "pki/src/request",
    "pki/src/serial",
    "pki/src/serve/cache",
    "pki/src/serve/route",
];

/// What touches the world.
const WORLD: &[&str] = &[
    "tokio",
    "async ",
    ".await",
    "std::fs",
    "fs::",
    "File::open",
    "std::thread",
    "std::env",
    "std::process",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "rustix::",
    "::now(",
    "SystemRandom",
    "SecureRandom",
    "getrandom",
    "rand::",
];

/// The files of a list of files and folders.
fn sources_of(places: &[&str]) -> Vec<Source> {
    let files = places.iter().flat_map(|place| {
        // A module is a file until it becomes a folder.
        let file = format!("{place}.rs");
        let mut found = Vec::new();
        if sources::root().join(place).is_dir() {
            found = Source::all(place);
        }
        if sources::root().join(&file).is_file() {
            found.push(Source::read(file.as_ref()));
        }
        assert!(!found.is_empty(), "{place} is gone");
        found
    });
    files.collect()
}

/// Fails when one of these words stands in the code below these folders, unless it is in one of
/// the files that begin with a name of `but`.
#[track_caller]
fn absent(words: &[&str], folders: &[&str], but: &[&str]) {
    let mut seen = 0;
    let mut found = Vec::new();
    for source in sources_of(folders) {
        let path = source.path.to_string_lossy().into_owned();
        let lines = source.lines_with(words);
        if but.iter().any(|known| path.starts_with(known)) {
            seen += lines.len();
        } else {
            found.extend(lines);
        }
    }
    assert!(found.is_empty(), "{words:?} in\n{}", found.join("\n"));
    // A rule whose words nobody uses where they belong has lost its object.
    assert!(but.is_empty() || seen > 0, "{words:?} are nowhere");
}

#[test]
fn the_core_touches_nothing() {
    absent(WORLD, CORE, &[]);
}

#[test]
fn only_the_upstream_and_who_fetches_lists_connect_and_the_demo_to_itself() {
    absent(
        &["TcpStream::connect", "UnixStream::connect", "TcpSocket::"],
        &["gateway/src"],
        &[
            "gateway/src/dial.rs",
            "gateway/src/upstream/",
            "gateway/src/demo/",
        ],
    );
    absent(
        &["crate::dial"],
        &["gateway/src"],
        &["gateway/src/upstream/", "gateway/src/fetch/"],
    );
}

#[test]
fn only_what_ships_the_log_knows_a_network() {
    absent(
        &["rustls::", "TcpStream", "tokio"],
        &["gateway/audit/src"],
        &["gateway/audit/src/ship/"],
    );
    absent(
        &["crate::ship"],
        &["gateway/audit/src"],
        &["gateway/audit/src/cli/", "gateway/audit/src/ship/"],
    );
}

#[test]
fn only_tls_names_a_version_a_suite_or_a_group_of_the_library() {
    absent(
        &[
            "rustls::version",
            "TLS13_",
            "TLS12_",
            "kx_group",
            "CipherSuite::",
            "NamedGroup::",
            "SupportedProtocolVersion",
            "dangerous()",
        ],
        &["gateway/src"],
        &["gateway/src/tls/"],
    );
}

#[test]
fn only_records_build_events_of_connections_and_requests() {
    absent(
        &[
            "Event::Intent(",
            "Event::Release(",
            "Event::Passage(",
            "Event::Completion(",
            "Event::Refusal(",
            "Event::Handshake(",
            "Event::HandshakeRefused(",
            "Event::Close(",
        ],
        &["gateway/src"],
        // The story of the demo reads them.
        &["gateway/src/record", "gateway/src/demo/story.rs"],
    );
}

#[test]
fn only_reload_and_run_build_events_of_the_house() {
    absent(
        &[
            "Event::Start(",
            "Event::Stop(",
            "Event::Configuration(",
            "Event::Decision(",
            "Event::Revocation(",
        ],
        &["gateway/src"],
        &[
            "gateway/src/reload",
            "gateway/src/run",
            "gateway/src/demo/story.rs",
        ],
    );
}

#[test]
fn nothing_is_global_and_mutable() {
    let folders = [
        "config/src",
        "gateway/src",
        "gateway/audit/src",
        "gateway/http1/src",
        "gateway/integrity/src",
        "pki/ocsp/src",
        "pki/src",
    ];
    let words = ["static mut ", "thread_local!", "LazyLock", "lazy_static"];
    absent(&words, &folders, &[]);
    for source in sources_of(&folders) {
        for line in source.lines_with(&["static "]) {
            let holds = ["Mutex", "Atomic", "Cell", "OnceLock", "RwLock"];
            let is_item =
                line.contains("static ") && line.contains(": ") && !line.contains("'static ");
            assert!(
                !(is_item && holds.iter().any(|word| line.contains(word))),
                "{line}"
            );
        }
    }
}

#[test]
fn no_product_code_knows_that_it_is_tested() {
    let folders = [
        "config/src",
        "gateway/src",
        "gateway/audit/src",
        "gateway/http1/src",
        "pki/src",
    ];
    for source in sources_of(&folders) {
        // A whole module of tests may stand elsewhere; a condition within a function may not.
        let found = source.lines_with(&["cfg!(test)", "cfg(not(test))", "PHIGATE_TEST"]);
        assert!(found.is_empty(), "{found:?}");
    }
}
