//! What good files become: the examples, the defaults, the decisions, and what a file is read as.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{
    AccessLog, Admin, Allow, AnswerKey, Answers, ByteSize, Clients, Config, Control, Demand,
    Durability, FhirBase, Findings, KeyClient, MAX_FILE_BYTES, NameKind, Protocol, Purpose, Rate,
    Rationale, Replay, Revocation, Secret, Server, SignatureRule, SigningKey, TlsPolicy,
    UpstreamIdentity, WhenStale, WorkerCount,
};

#[test]
fn the_examples_resolve_without_a_word() {
    for name in ["minimal.toml", "full.toml"] {
        let config = config::load(&example(name)).unwrap_or_else(|findings| panic!("{findings}"));
        assert!(config.warnings.is_empty(), "{name}: {}", config.warnings);
    }
}

#[test]
fn the_minimal_example_weakens_nothing() {
    assert_eq!(minimal().decisions, []);
}

#[test]
fn each_rationale_of_the_full_example_but_the_audit_logs_is_a_decision() {
    let config = config::load(&example("full.toml")).unwrap();
    let controls: Vec<Control> = config
        .decisions
        .iter()
        .map(|decision| decision.control)
        .collect();
    assert_eq!(
        controls,
        [
            Control::ShortRetention,
            Control::RevocationOff,
            Control::NoClientCertificates,
            Control::PlainUpstream,
            Control::AnyoneOnEphi,
            Control::EphiDeclaredAbsent,
        ]
    );
    let rationales = config.text.matches("rationale =").count();
    assert_eq!(rationales, config.decisions.len() + 1);
}

#[test]
fn absent_keys_have_their_defaults() {
    let config = minimal();
    assert_eq!(config.access_log, AccessLog::Off);
    assert_eq!(config.drain, secs(30));
    assert_eq!(
        (config.workers.count, config.workers.pin),
        (WorkerCount::PerCore, false)
    );

    let audit = &config.audit;
    assert_eq!(audit.durability.value, Durability::Durable);
    assert_eq!(audit.queue_entries.get(), 65_536);
    assert_eq!(audit.queue_bytes, ByteSize::mib(64));
    assert_eq!(audit.min_free, ByteSize::mib(256));
    assert_eq!(audit.segment_size, ByteSize::mib(64));
    assert_eq!(audit.rationale, Rationale::Absent);

    let Admin::Listen(admin) = &config.admin else {
        panic!("the admin listener is on")
    };
    assert_eq!(admin.value, "127.0.0.1:9090".parse::<SocketAddr>().unwrap());

    let trust = only(config.trust.values());
    assert_eq!(trust.identity, NameKind::SanUri);
    assert_eq!(trust.intermediates, []);
    let Revocation::Crls { when_stale, .. } = &trust.revocation.value else {
        panic!("lists")
    };
    assert_eq!(*when_stale, WhenStale::Refuse);

    let listener = only(config.listeners.values());
    assert_eq!(listener.tls, TlsPolicy::Modern);
    let limits = &listener.limits;
    assert_eq!(
        (
            limits.connections.get(),
            limits.connections_per_address.get()
        ),
        (20_000, 200)
    );
    assert_eq!(
        (limits.handshake, limits.head, limits.idle),
        (secs(10), secs(10), secs(75))
    );
    assert_eq!(
        (limits.head_bytes, limits.head_fields.get()),
        (ByteSize::kib(32), 100)
    );
    assert_eq!((limits.age, limits.streams.get()), (secs(3600), 100));

    let role = only(config.roles.values());
    assert_eq!(role.trust.value.as_str(), "devices");
    assert_eq!(role.purpose, Purpose::Unstated);

    let upstream = only(config.upstreams.values());
    assert_eq!(upstream.protocol, Protocol::Http11);
    assert_eq!(
        (upstream.connect, upstream.head, upstream.idle),
        (secs(3), secs(60), secs(4))
    );
    assert_eq!(upstream.connections.get(), 256);
    assert_eq!(upstream.fhir_base, FhirBase::Unstated);

    let route = only(&config.routes);
    assert!(route.ephi.value && !route.fhir && !route.intent && !route.encoded_slash);
    assert_eq!(
        (route.body_limit, route.body_idle),
        (ByteSize::mib(16), secs(15))
    );
    assert_eq!(
        (route.body_rate, &route.rate),
        (ByteSize::kib(1), &Rate::Unlimited)
    );
}

#[test]
fn absent_keys_ask_for_no_signature_and_for_digests_that_are_right() {
    let config = minimal();
    let signatures = &config.signatures;
    assert_eq!(signatures.replay, Replay::Unstated);
    assert_eq!(signatures.key, SigningKey::Unstated);
    assert_eq!(
        (signatures.window.get(), signatures.keys.len()),
        (1_000_000, 0)
    );

    let route = only(&config.routes);
    assert_eq!(route.digest.value, Demand::WhenPresent);
    assert_eq!(route.signature.demand.value, Demand::Off);
    assert_eq!((route.buffer, route.stream), (ByteSize::mib(1), false));
    assert_eq!(route.answers.value, Answers::Plain);

    let upstream = only(config.upstreams.values());
    assert!(!upstream.signed.value);
    assert_eq!(upstream.answer_key, AnswerKey::Unstated);
}

#[test]
fn a_route_that_only_asks_for_signatures_has_the_defaults_of_their_rule() {
    let upstream = "upstream  = \"fhir\"\n";
    let config = with(&[
        ("[roles]", "[signatures]\nreplay = \"replay\"\n\n[roles]"),
        (
            upstream,
            &format!("{upstream}signature = \"when-present\"\n"),
        ),
    ])
    .unwrap();
    let rule = &only(&config.routes).signature;
    assert_eq!(rule.demand.value, Demand::WhenPresent);
    assert_eq!(covered(rule), ["@method", "@authority", "@path", "@query"]);
    assert_eq!((rule.age, rule.skew), (secs(300), secs(30)));
    assert!(rule.keys.is_empty());
}

#[test]
fn what_is_said_of_signatures_is_kept_with_its_place() {
    let changes = [
        (
            "[roles]",
            "[signatures]\nreplay = \"replay\"\nwindow = 2000\nkey = \"env:SIGNING\"\n\n\
             [signatures.keys.any]\npublic = \"any.pem\"\n\n\
             [signatures.keys.one]\npublic = \"one.pem\"\nclient = \"urn:example:pump-1\"\n\n[roles]",
        ),
        (
            "servers = [\"unix:/run/fhir.sock\"]",
            "servers = [\"unix:/run/fhir.sock\"]\nsigned = true\nanswer_key = \"fhir.pem\"",
        ),
        (
            "upstream  = \"fhir\"\n",
            "upstream = \"fhir\"\ndigest = \"required\"\nsignature = \"required\"\n\
             signature_covers = ['cookie;key=\"a\"', \"@path\"]\nsignature_age = \"1h\"\n\
             signature_skew = \"0s\"\nsignature_keys = [\"one\", \"any\"]\nbuffer = \"0B\"\n\
             stream = true\nanswers = \"digest\"\n",
        ),
    ];
    let config = with(&changes).unwrap();
    assert!(config.warnings.is_empty(), "{}", config.warnings);

    let signatures = &config.signatures;
    let Replay::Kept(folder) = &signatures.replay else {
        panic!("a folder")
    };
    assert_eq!(folder.path, Path::new("replay"));
    assert_eq!(folder.place.key, "signatures.replay");
    let SigningKey::Stated(key) = &signatures.key else {
        panic!("a key")
    };
    assert_eq!(key.place().key, "signatures.key");
    assert_eq!(signatures.window.get(), 2000);
    let [(_, any), (_, one)] = signatures.keys.iter().collect::<Vec<_>>()[..] else {
        panic!("two keys")
    };
    assert_eq!(any.client, KeyClient::Any);
    assert_eq!(one.public.place.key, "signatures.keys.one.public");
    let KeyClient::Only(client) = &one.client else {
        panic!("a client")
    };
    assert_eq!(client.value.as_str(), "urn:example:pump-1");

    let upstream = only(config.upstreams.values());
    assert!(upstream.signed.value);
    let AnswerKey::Stated(file) = &upstream.answer_key else {
        panic!("a file")
    };
    assert_eq!(file.place.key, "upstreams.fhir.answer_key");

    let route = only(&config.routes);
    let rule = &route.signature;
    assert_eq!(
        (route.digest.value, rule.demand.value, route.answers.value),
        (Demand::Required, Demand::Required, Answers::Digest)
    );
    assert_eq!(covered(rule), ["cookie;key=\"a\"", "@path"]);
    assert_eq!((rule.age, rule.skew), (secs(3600), secs(0)));
    let keys: Vec<&str> = rule.keys.iter().map(|key| key.value.as_str()).collect();
    assert_eq!(keys, ["one", "any"]);
    assert_eq!((route.buffer, route.stream), (ByteSize::bytes(0), true));
}

#[test]
fn digests_that_nobody_compares_are_a_decision() {
    let upstream = "upstream  = \"fhir\"\n";
    let off = "digest = \"off\"\nrationale = \"old pumps write wrong digests; review 2027-01\"\n";
    let config = with(&[(upstream, &format!("{upstream}{off}"))]).unwrap();
    let decision = only(&config.decisions);
    assert_eq!(decision.control, Control::UncheckedDigest);
    assert_eq!(decision.paragraph, "45 CFR 164.312(c)(2)");
    assert_eq!(decision.place.key, "routes.observations.digest");
}

/// On a listener whose clients may come without a certificate, those who have one can sign.
#[test]
fn a_listener_with_optional_certificates_can_take_signatures() {
    let upstream = "upstream  = \"fhir\"\n";
    let config = with(&[
        (
            "certificates = \"required\", trust = \"devices\"",
            "certificates = \"optional\", trust = \"devices\", rationale = \"while pumps are enrolled\"",
        ),
        ("[roles]", "[signatures]\nreplay = \"replay\"\n\n[roles]"),
        (upstream, &format!("{upstream}signature = \"required\"\n")),
    ]);
    assert!(config.unwrap().warnings.is_empty());
}

#[test]
fn a_listener_without_client_certificates_keeps_connections_for_a_day() {
    let config = with(&[
        (
            "certificates = \"required\", trust = \"devices\"",
            "certificates = \"none\", rationale = \"people sign in\"",
        ),
        (
            "allow     = [\"pump\"]",
            "allow = [\"anyone\"]\nrationale = \"the portal asks people itself\"",
        ),
    ])
    .unwrap();
    let listener = only(config.listeners.values());
    assert_eq!(listener.clients.value, Clients::None);
    assert_eq!(listener.limits.age, Duration::from_hours(24));
}

#[test]
fn a_route_that_allows_nothing_is_for_nobody() {
    let config = with(&[("allow     = [\"pump\"]\n", "")]).unwrap();
    assert_eq!(only(&config.routes).allow.value, Allow::Nobody);
    assert_eq!(config.warnings.list().len(), 2, "{}", config.warnings);
}

#[test]
fn an_https_server_is_named_by_its_url_unless_it_is_told_otherwise() {
    let server = "servers = [\"unix:/run/fhir.sock\"]";
    let tls =
        "servers = [\"https://FHIR.internal\"]\ntrust = \"root.pem\"\nclient_certificate = \"api\"";
    let config = with(&[(server, tls)]).unwrap();
    let upstream = only(config.upstreams.values());
    assert_eq!(upstream.protocol, Protocol::Alpn);
    let Server::Https {
        authority,
        roots,
        server_name,
        identity,
    } = &upstream.server.value
    else {
        panic!("https")
    };
    assert_eq!(authority.to_string(), "fhir.internal:443");
    assert_eq!(server_name.as_str(), "fhir.internal");
    assert!(roots.path.ends_with("root.pem") && roots.place.key == "upstreams.fhir.trust");
    let UpstreamIdentity::Certificate(name) = identity else {
        panic!("a certificate")
    };
    assert_eq!(name.value.as_str(), "api");
}

#[test]
fn the_protocol_of_an_upstream_can_be_told() {
    let server = "servers = [\"unix:/run/fhir.sock\"]";
    for (word, protocol) in [("http/1.1", Protocol::Http11), ("h2", Protocol::Http2)] {
        let config = with(&[(server, &format!("{server}\nprotocol = \"{word}\""))]).unwrap();
        assert_eq!(only(config.upstreams.values()).protocol, protocol);
    }
}

#[test]
fn the_admin_listener_can_be_turned_off() {
    let config = with(&[("[audit]", "[admin]\nlisten = \"off\"\n\n[audit]")]).unwrap();
    assert!(matches!(config.admin, Admin::Off));
}

#[test]
fn a_role_covers_names_under_its_own_trust_set_alone() {
    let config = config::load(&example("full.toml")).unwrap();
    let trust = |name: &str| {
        config
            .trust
            .keys()
            .find(|set| set.as_str() == name)
            .unwrap()
    };
    let role = config
        .roles
        .values()
        .find(|role| role.trust.value.as_str() == "devices")
        .unwrap();
    assert!(role.covers(trust("devices"), "urn:example:pump-7"));
    assert!(!role.covers(trust("partners"), "urn:example:pump-7"));
    assert!(!role.covers(trust("devices"), "urn:example:pump-7:admin"));
}

#[test]
fn paths_are_relative_to_the_file_and_keep_their_place() {
    let text = fs::read_to_string(example("minimal.toml")).unwrap();
    let config = config::parse(Path::new("/etc/phigate/gateway.toml"), &text).unwrap();
    let certificate = only(config.certificates.values());
    assert_eq!(
        certificate.chain.path,
        Path::new("/etc/phigate/api.chain.pem")
    );
    let Secret::File(key) = &certificate.key else {
        panic!("a file")
    };
    assert_eq!(key.path, Path::new("/etc/phigate/api.key.pem"));
    assert_eq!(
        key.place.to_string(),
        "/etc/phigate/gateway.toml:16:9: certificates.api.key"
    );
    assert_eq!(
        config.audit.directory.path,
        Path::new("/var/lib/phigate/audit")
    );

    let here = config::parse(Path::new("gateway.toml"), &text).unwrap();
    assert_eq!(
        only(here.certificates.values()).chain.path,
        Path::new("api.chain.pem")
    );
}

#[test]
fn the_text_is_kept_byte_for_byte() {
    let text = fs::read_to_string(example("full.toml")).unwrap();
    assert_eq!(config::load(&example("full.toml")).unwrap().text, text);
}

#[test]
fn a_weak_file_system_is_a_decision_with_a_rationale_and_an_error_without() {
    let full = config::load(&example("full.toml")).unwrap();
    let decision = full.weak_file_system("tmpfs").unwrap();
    assert_eq!(decision.control, Control::WeakFileSystem);
    assert_eq!(decision.place.key, "audit.directory");
    assert!(
        decision
            .rationale
            .value
            .as_str()
            .starts_with("the folder is on")
    );

    let finding = minimal().weak_file_system("tmpfs").unwrap_err();
    assert!(
        finding.to_string().contains("audit.directory: "),
        "{finding}"
    );
    assert!(finding.to_string().contains("(tmpfs)"), "{finding}");
}

#[test]
fn each_addressable_control_has_one_row_with_its_paragraph() {
    for (at, row) in config::ADDRESSABLE.iter().enumerate() {
        assert!(
            row.paragraph.starts_with("45 CFR 164.31"),
            "{}",
            row.control
        );
        assert!(
            config::ADDRESSABLE[at + 1..]
                .iter()
                .all(|other| other.control != row.control)
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_without_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("gateway.toml");
    let told = config::load(&missing).unwrap_err().to_string();
    assert!(
        told.starts_with(&format!("error: {}: cannot be read: ", missing.display())),
        "{told}"
    );
    assert!(told.contains("\nhint: check the path"), "{told}");
    let told = config::load(folder.path()).unwrap_err().to_string();
    assert!(
        told.contains("cannot be read: it is not a file\nhint: "),
        "{told}"
    );
}

#[test]
fn a_file_that_is_not_utf_8_is_told_where() {
    let told = load_bytes(b"[audit]\ndirectory = \"caf\xe9\"\n")
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("gateway.toml:2:17: this is not UTF-8"),
        "{told}"
    );
}

#[test]
fn a_file_of_more_than_the_limit_is_not_read_on() {
    let mut text = fs::read(example("minimal.toml")).unwrap();
    text.resize(MAX_FILE_BYTES, b'\n');
    assert!(load_bytes(&text).is_ok());
    text.push(b'\n');
    let told = load_bytes(&text).unwrap_err().to_string();
    assert!(told.contains("gateway.toml: larger than 1MiB"), "{told}");
    *text.last_mut().unwrap() = 0xff;
    let told = load_bytes(&text).unwrap_err().to_string();
    assert!(told.contains("gateway.toml: larger than 1MiB"), "{told}");
}

fn covered(rule: &SignatureRule) -> Vec<String> {
    let covers = rule.covers.iter();
    covers
        .map(|component| component.value.to_string())
        .collect()
}

fn load_bytes(bytes: &[u8]) -> Result<Config, Findings> {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("gateway.toml");
    fs::write(&file, bytes).expect("the folder can be written to");
    config::load(&file)
}

fn minimal() -> Config {
    with(&[]).expect("the example is good")
}

/// The minimal example, changed.
fn with(changes: &[(&str, &str)]) -> Result<Config, Findings> {
    let mut text = fs::read_to_string(example("minimal.toml")).expect("the example is there");
    for (old, new) in changes {
        assert!(text.contains(old), "the example has no {old}");
        text = text.replace(old, new);
    }
    config::parse(Path::new("gateway.toml"), &text)
}

fn only<T>(values: impl IntoIterator<Item = T>) -> T {
    let mut values = values.into_iter();
    let value = values.next().expect("there is one");
    assert!(values.next().is_none(), "there is only one");
    value
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name)
}

const fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}
