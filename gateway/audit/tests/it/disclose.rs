//! One entry for somebody else: it is checked with the public key alone, and tells of no other.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use audit::appender::Appender;
use audit::disclosure::{Disclosure, DisclosureError};
use audit::event::{Entry, Event, Id, Refusal, Release, Request, Time};
use audit::keys::system_random;
use audit::log::{Log, Options};
use audit::prove;
use audit::queue::Share;
use audit::seal::reader::{self, Reader, Scope};
use audit::unseal::Unsealer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoints::signer;
use crate::clinic::{audit, text};

const PATIENCE: Duration = Duration::from_secs(20);

/// Where the releases stand: behind the key that signs and the key that seals.
const FIRST: u64 = 3;

fn request(number: u8) -> Request<'static> {
    Request {
        request_id: Id::new([number; 16]),
        connection_id: Id::new([1; 16]),
        client: Some("devices:urn:example:pump-1"),
        user: None,
        method: Some("GET"),
        route: Some("patients"),
        rule: None,
        resource: Some("Patient"),
        interaction: Some("read"),
        subjects: None,
        target: None,
        integrity: None,
    }
}

fn release(number: u8) -> Entry<'static> {
    Entry {
        time: Time(1_795_000_000_000_000_000 + u64::from(number)),
        event: Event::Release(Release {
            request: request(number),
            status: 200,
            content_type: Some("application/fhir+json"),
            bytes: Some(5),
            digest: None,
            upstream: "ehr",
            attempts: 1,
        }),
    }
}

fn target(number: u8) -> String {
    format!("/fhir/Patient/canary-{number}?_format=json")
}

/// A place with a log, the key of its reader and its public key.
struct Made {
    place: tempfile::TempDir,
}

impl Made {
    /// Ten releases with their targets, sealed to a reader of this scope, and signed.
    fn new(scope: Scope) -> Made {
        let place = tempfile::tempdir().unwrap();
        let (secret, public) = reader::draw(&mut system_random).unwrap();
        std::fs::write(place.path().join("reader.key"), secret.as_bytes()).unwrap();
        let reader = Reader::parse(public.as_bytes(), scope).unwrap();
        let made = Made { place };
        made.write(vec![reader]);
        let key = signer(1).verifier().to_string();
        std::fs::write(made.path("log.vkey"), key).unwrap();
        made
    }

    /// The same in the clear.
    fn clear() -> Made {
        let made = Made {
            place: tempfile::tempdir().unwrap(),
        };
        made.write(Vec::new());
        let key = signer(1).verifier().to_string();
        std::fs::write(made.path("log.vkey"), key).unwrap();
        made
    }

    fn write(&self, readers: Vec<Reader>) {
        std::fs::create_dir(self.log()).unwrap();
        let options = Options {
            readers,
            ..crate::signed::options(&self.log(), Some(signer(1)))
        };
        let (log, committer) = Log::open(&options).unwrap();
        let worker = Appender::new(&log);
        for number in 0..10 {
            let target = target(number);
            let appended =
                worker.append_with_target(release(number), target.as_bytes(), Share::Proven);
            drop(appended.unwrap());
        }
        committer.close(PATIENCE).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.path("audit")
    }

    fn disclose(&self, entry: u64, more: &[&str]) -> Output {
        let (log, entry) = (self.log(), entry.to_string());
        let log = log.to_str().unwrap();
        let mut arguments = vec!["disclose", log, "--unrecorded", "--entry", &entry];
        arguments.extend(more);
        audit(&arguments)
    }

    fn check(&self, disclosed: &[u8]) -> Output {
        let (file, key) = (self.path("disclosed"), self.path("log.vkey"));
        std::fs::write(&file, disclosed).unwrap();
        let (file, key) = (file.to_str().unwrap(), key.to_str().unwrap());
        audit(&["check", file, "--key", key])
    }

    fn show(&self, more: &[&str]) -> Vec<String> {
        let log = self.log();
        let mut arguments = vec!["show", "--unrecorded", "--json", log.to_str().unwrap()];
        arguments.extend(more);
        let shown = audit(&arguments);
        assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
        text(&shown.stdout).lines().map(str::to_owned).collect()
    }
}

#[track_caller]
fn good(output: &Output) -> &[u8] {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    &output.stdout
}

fn at(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

#[test]
fn what_is_disclosed_is_checked_without_log_or_secret_and_shown_as_a_reader_sees_it() {
    let made = Made::new(Scope::Targets);
    let shown = made.show(&[]);
    let entries = [0, FIRST, FIRST + 7];
    let disclosed = entries.map(|entry| good(&made.disclose(entry, &[])).to_vec());
    std::fs::remove_dir_all(made.log()).unwrap();
    std::fs::remove_file(made.path("reader.key")).unwrap();
    for (entry, disclosed) in entries.into_iter().zip(disclosed) {
        let checked = made.check(&disclosed);
        assert_eq!(text(good(&checked)), format!("{}\n", shown[at(entry)]));
        let said = format!("good: it is entry {entry} of the log example.com/log of 13 entries\n");
        assert_eq!(text(&checked.stderr), said);
    }
}

#[test]
fn the_raw_target_is_disclosed_when_it_is_asked_for_and_not_else() {
    let made = Made::new(Scope::Targets);
    let with = made.disclose(FIRST + 3, &["--target"]);
    let without = made.disclose(FIRST + 3, &[]);
    let shown = |output: &Output| text(good(&made.check(good(output))));
    let told = format!("\"target\":\"{}\"", target(3));
    assert!(shown(&with).contains(&told), "{}", shown(&with));
    assert_eq!(shown(&with), format!("{}\n", made.show(&["--targets"])[6]));
    assert!(!shown(&without).contains("canary"));
    let encoded = STANDARD.encode(target(3));
    assert!(text(&with.stdout).contains(&encoded));
    assert!(!text(&without.stdout).contains(&encoded));
    // Of what has none, and for who may not see it, there is none to disclose.
    for (made, entry) in [
        (&made, 0),
        (&Made::clear(), 1),
        (&Made::new(Scope::Entries), FIRST),
    ] {
        let refused = made.disclose(entry, &["--target"]);
        assert_eq!(refused.status.code(), Some(1));
        assert_eq!(text(&refused.stdout), "");
        assert!(text(&refused.stderr).contains("\nhint: "));
        assert!(!made.disclose(entry, &[]).stdout.is_empty());
    }
}

#[test]
fn every_flipped_bit_of_a_disclosure_is_found() {
    let key = signer(1);
    let whole = |output: &Output| good(output).to_vec();
    let made = Made::new(Scope::Targets);
    for text in [
        whole(&made.disclose(FIRST, &["--target"])),
        whole(&made.disclose(0, &[])),
    ] {
        let holds = |text: &[u8]| {
            let disclosure = Disclosure::parse(text)?;
            disclosure.check(key.verifier()).map(drop)
        };
        assert_eq!(holds(&text), Ok(()));
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone();
                changed[at] ^= 1 << bit;
                assert!(holds(&changed).is_err(), "byte {at}, bit {bit}");
            }
        }
        for at in 0..text.len() {
            assert!(holds(&text[..at]).is_err(), "cut at {at}");
        }
        assert!(holds(&[&text[..], b"\n"].concat()).is_err());
    }
}

/// The bytes behind each word of a disclosure.
fn fields(disclosed: &str) -> Vec<(&str, Vec<u8>)> {
    let (own, _) = disclosed.split_once("\n\n").unwrap();
    let fields = own
        .lines()
        .skip(1)
        .map(|line| line.split_once(' ').unwrap());
    fields
        .map(|(word, value)| (word, STANDARD.decode(value).unwrap()))
        .collect()
}

#[test]
fn a_disclosure_holds_one_entry_with_its_opening_and_nothing_that_opens_another() {
    let made = Made::new(Scope::Targets);
    let disclosed = text(good(&made.disclose(FIRST, &[])));
    // Leaf and proof are what anybody gets who may see the log's directory; entry and opening are
    // those of this leaf (what an opening leads to is shown in `seal`). There is nothing else.
    let (included, leaf) = prove::included(&made.log(), FIRST).unwrap();
    let secret = std::fs::read(made.path("reader.key")).unwrap();
    let secret = reader::parse_secret(&secret).unwrap();
    let mut unsealer = Unsealer::new(&made.log(), Some(secret)).unwrap();
    let audit::seal::sealed::Leaf::Sealed(sealed) =
        audit::seal::sealed::Leaf::parse(&leaf).unwrap()
    else {
        panic!("in the clear");
    };
    let opened = unsealer.open(&sealed).unwrap();
    let expected = [
        ("leaf", leaf.clone()),
        ("entry", opened.plaintext().to_vec()),
        ("opening", opened.opening().to_vec()),
    ];
    assert_eq!(fields(&disclosed), expected);
    assert!(disclosed.ends_with(&format!("\n\n{included}")));
    // With the opening of one nothing can be said of another: neither its own words nor invented ones.
    let other = text(good(&made.disclose(FIRST + 1, &[])));
    let opening = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("opening "));
        line.unwrap().to_owned()
    };
    let entry = |text: &str| {
        text.lines()
            .find(|line| line.starts_with("entry "))
            .unwrap()
            .to_owned()
    };
    for forged in [
        other.replace(&opening(&other), &opening(&disclosed)),
        other.replace(&entry(&other), &entry(&disclosed)),
        other
            .replace(&entry(&other), &entry(&disclosed))
            .replace(&opening(&other), &opening(&disclosed)),
    ] {
        let disclosure = Disclosure::parse(forged.as_bytes()).unwrap();
        let checked = disclosure.check(signer(1).verifier());
        assert_eq!(checked.err(), Some(DisclosureError::OtherEntry));
    }
}

#[test]
fn a_line_too_many_or_a_target_from_elsewhere_is_refused() {
    let made = Made::new(Scope::Targets);
    let one = text(good(&made.disclose(FIRST, &["--target"])));
    let other = text(good(&made.disclose(FIRST + 1, &["--target"])));
    let line = |text: &str, word: &str| {
        let line = text.lines().find(|line| line.starts_with(word)).unwrap();
        format!("{line}\n")
    };
    let checked = |text: &str| {
        let disclosure = Disclosure::parse(text.as_bytes());
        disclosure.and_then(|it| it.check(signer(1).verifier()).map(drop))
    };
    let moved = one
        .replace(&line(&one, "target "), &line(&other, "target "))
        .replace(
            &line(&one, "target-opening "),
            &line(&other, "target-opening "),
        );
    assert_eq!(checked(&moved), Err(DisclosureError::OtherTarget));
    let twice = one.replace(&line(&one, "leaf "), &line(&one, "leaf ").repeat(2));
    assert_eq!(checked(&twice), Err(DisclosureError::Superfluous));
    let halved = one.replace(&line(&one, "opening "), "");
    assert_eq!(
        checked(&halved),
        Err(DisclosureError::Line { word: "opening " })
    );
    let shut = one
        .replace(&line(&one, "entry "), "")
        .replace(&line(&one, "opening "), "");
    assert_eq!(
        checked(&shut),
        Err(DisclosureError::Line { word: "entry " })
    );
    // An entry in the clear says itself what it says.
    let clear = text(good(&made.disclose(0, &[])));
    let leaf = line(&clear, "leaf ");
    let told = format!("{leaf}{}{}", line(&one, "entry "), line(&one, "opening "));
    let explained = clear.replace(&leaf, &told);
    assert_eq!(checked(&explained), Err(DisclosureError::Superfluous));
}

#[test]
fn an_entry_in_the_clear_is_disclosed_too_and_holds_no_target() {
    let made = Made::clear();
    let disclosed = made.disclose(1 + 4, &[]);
    let shown = text(good(&made.check(good(&disclosed))));
    assert_eq!(shown, format!("{}\n", made.show(&["--targets"])[5]));
    assert!(shown.contains("\"type\":\"release\"") && !shown.contains("canary"));
    assert_nowhere(&made.log(), b"canary");
}

fn assert_nowhere(directory: &Path, needle: &[u8]) {
    for item in std::fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            assert_nowhere(&path, needle);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let hit = bytes.windows(needle.len()).any(|part| part == needle);
            assert!(!hit, "{}", path.display());
        }
    }
}

#[test]
fn no_byte_of_a_target_is_shown_without_asking_or_stands_in_the_clear() {
    let made = Made::new(Scope::Targets);
    assert_nowhere(&made.log(), b"canary");
    assert!(!made.show(&[]).concat().contains("canary"));
    let shown = made.show(&["--targets"]);
    for (number, line) in (0..).zip(&shown[at(FIRST)..]) {
        let told = format!("\"target\":\"{}\"", target(number));
        assert!(line.contains(&told), "{line}");
    }
    let log = made.log();
    let human = |more: &[&str]| {
        let mut arguments = vec!["show", "--unrecorded", log.to_str().unwrap()];
        arguments.extend(more);
        text(good(&audit(&arguments)))
    };
    assert!(human(&["--targets"]).contains(", target /fhir/Patient/canary-3?_format=json\n"));
    assert!(!human(&[]).contains("canary"));
    // Who may not see them sees the records, and is told.
    let made = Made::new(Scope::Entries);
    let log = made.log();
    let log = log.to_str().unwrap();
    let shown = audit(&["show", "--unrecorded", "--targets", "--json", log]);
    assert_eq!(shown.status.code(), Some(1));
    assert_eq!(text(&shown.stdout).lines().count(), 13);
    assert!(!text(&shown.stdout).contains("canary"));
    assert!(text(&shown.stderr).contains("10 request targets are not for this reader"));
}

#[test]
fn a_target_that_is_too_long_is_kept_as_far_as_it_goes() {
    let made = Made::new(Scope::Targets);
    let options = Options {
        readers: vec![{
            let secret = std::fs::read(made.path("reader.key")).unwrap();
            let key = reader::parse_secret(&secret).unwrap().public().unwrap();
            let scope = Scope::Targets;
            Reader { key, scope }
        }],
        ..crate::signed::options(&made.log(), Some(signer(1)))
    };
    let (log, committer) = Log::open(&options).unwrap();
    let long = format!("/fhir/Patient?_id={}", "x".repeat(8000));
    let refusal = Entry {
        time: Time(1_795_000_000_000_000_000),
        event: Event::Refusal(Refusal {
            request: request(99),
            address: "192.0.2.1:5".parse().unwrap(),
            status: 403,
            code: audit::event::Code::Idle,
            detail: None,
            attempts: 0,
        }),
    };
    let worker = Appender::new(&log);
    drop(
        worker
            .append_with_target(refusal, long.as_bytes(), Share::Proven)
            .unwrap(),
    );
    committer.close(PATIENCE).unwrap();
    let shown = made.show(&["--targets"]);
    let line = shown
        .iter()
        .find(|line| line.contains("\"refusal\""))
        .unwrap();
    assert!(
        line.contains("xxx\u{2026}\"") && line.len() < 2500,
        "{}",
        line.len()
    );
    let sequence = shown.iter().position(|other| other == line).unwrap() as u64;
    let disclosed = made.disclose(sequence, &["--target"]);
    assert_eq!(
        text(good(&made.check(good(&disclosed)))),
        format!("{line}\n")
    );
}

#[test]
fn what_is_disclosed_and_that_targets_were_is_on_record_before() {
    let made = Made::new(Scope::Targets);
    let log = made.log();
    let log = log.to_str().unwrap();
    for arguments in [
        &["disclose", log, "--entry", "3"][..],
        &["disclose", log, "--entry", "3", "--target"],
        &["show", log, "--targets"],
        // Nothing comes of it, and that it was asked for is on record all the same.
        &["disclose", log, "--entry", "1", "--target"],
    ] {
        audit(arguments);
    }
    let shown = made.show(&[]);
    let reads = shown[13..].iter().map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["type"], "log_read");
        record["verb"].as_str().unwrap().to_owned()
    });
    let expected = [
        "disclose",
        "disclose target",
        "show targets",
        "disclose target",
    ];
    assert_eq!(reads.collect::<Vec<_>>(), expected);
}

#[test]
fn what_cannot_be_disclosed_or_checked_is_told_with_a_hint() {
    let made = Made::new(Scope::Targets);
    let disclosed = good(&made.disclose(FIRST, &[])).to_vec();
    std::fs::write(made.path("disclosed"), &disclosed).unwrap();
    let log = made.log();
    let proof = audit(&["prove", log.to_str().unwrap(), "--entry", "3"]);
    std::fs::write(made.path("proof"), good(&proof)).unwrap();
    let other = signer(2).verifier().to_string();
    std::fs::write(made.path("other.vkey"), other).unwrap();
    std::fs::write(made.path("long"), vec![b'a'; 1 << 20]).unwrap();
    let secret = reader::draw(&mut system_random).unwrap().0;
    std::fs::write(made.path("other.key"), secret.as_bytes()).unwrap();
    let path = |name: &str| made.path(name).to_str().unwrap().to_owned();
    let (key, other_key, other_reader) = (path("log.vkey"), path("other.vkey"), path("other.key"));
    let (log, good, proof, long) = (
        path("audit"),
        path("disclosed"),
        path("proof"),
        path("long"),
    );
    for (arguments, code, said) in [
        (
            vec!["check", &good, "--key", &other_key],
            1,
            "discloses nothing",
        ),
        (vec!["check", &proof, "--key", &key], 1, "--leaf or --old"),
        (vec!["check", &long, "--key", &key], 1, "longer than any"),
        (vec!["check", "absent", "--key", &key], 1, "cannot read"),
        (vec!["disclose", &log], 64, "--entry"),
        (
            vec!["disclose", &log, "--entry", "13"],
            1,
            "beyond the 13 entries",
        ),
        (
            vec!["disclose", &log, "--entry", "3", "--reader", &other_reader],
            1,
            "no key",
        ),
        (
            vec!["disclose", &log, "--entry", "3", "--reader", "absent"],
            1,
            "cannot read the key",
        ),
        (vec!["disclose", "absent", "--entry", "3"], 1, "absent"),
    ] {
        let refused = audit(&arguments);
        let told = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(
            told.contains("hint: ") && told.contains(said),
            "{arguments:?}: {told}"
        );
        assert_eq!(text(&refused.stdout), "", "{arguments:?}");
    }
}
