//! How long a log is kept: nothing is destroyed before its time or while it is held, and what is destroyed
//! nobody reads again.

use std::path::PathBuf;

use std::cell::Cell;

use audit::destroy::{Ended, KeepError, Which, destroy};
use audit::event::{By, Event, Hold, Time};
use audit::keeping::{Classes, Forbidden};
use audit::log::{Committer, Log, Options};
use audit::verify::Asked;
use serde_json::Value;

use crate::clinic::{Clinic, Exchange, json_lines, text, whom};

const PUMP: &str = "devices:urn:example:pump-1";
const REASON: &str = "retention schedule 12";

/// The first moment of a month.
fn month(text: &str) -> Time {
    let moment: jiff::Timestamp = format!("{text}-01T00:00:00Z").parse().unwrap();
    Time(u64::try_from(moment.as_nanosecond()).unwrap())
}

/// Seconds from the first moment that the clinic knows to this one, and what the clinic makes of them.
fn seconds(month: Time) -> u64 {
    (month.0 / 1_000_000_000).wrapping_sub(crate::clinic::second(0).0 / 1_000_000_000)
}

/// A log that was written in these months, one request of patient 1 in each, and is whole.
pub(crate) fn clinic(months: &[&str], classes: &Classes) -> Clinic {
    let clinic = Clinic::new();
    std::fs::write(
        clinic.path("log.vkey"),
        clinic.keys.signer.verifier().to_string(),
    )
    .unwrap();
    let options = Options {
        classes: classes.clone(),
        ..clinic.options()
    };
    let mut writer = Clinic::write_as_of(&options, month(months[0]));
    for name in months {
        let time = month(name);
        writer.log.turn(time).unwrap();
        for route in ["records", "studies"] {
            writer.read(&Exchange {
                route,
                ..Exchange::of(seconds(time), PUMP, whom(&[clinic.id(1)], false))
            });
        }
    }
    writer.end();
    clinic
}

/// The standard class alone.
fn old(months: &[&str]) -> Clinic {
    clinic(months, &Classes::default())
}

#[track_caller]
fn done(clinic: &Clinic, words: &[&str]) -> String {
    let output = clinic.run(words);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn refused(clinic: &Clinic, words: &[&str], why: &str) {
    let output = clinic.run(words);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(why), "{said}");
}

/// How the epochs stand, by name.
fn states(clinic: &Clinic) -> Vec<(String, String)> {
    let kept: Value = serde_json::from_str(&done(clinic, &["keep", "--json"])).unwrap();
    let epochs = kept["epochs"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    epochs
        .map(|epoch| (text(&epoch["epoch"]), text(&epoch["state"])))
        .filter(|(epoch, _)| epoch.as_str() < "2026")
        .collect()
}

fn state<'a>(epoch: &'a str, state: &'a str) -> (String, String) {
    (epoch.to_owned(), state.to_owned())
}

/// The routes and months of the requests that a reader can read.
fn readable(clinic: &Clinic) -> Vec<(String, String)> {
    let reader = clinic.path("reader.key");
    let words = [
        "show",
        "--json",
        "--unrecorded",
        "--type",
        "release",
        "--reader",
        reader.to_str().unwrap(),
    ];
    let shown = json_lines(&clinic.run(&words)).into_iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    shown
        .filter(|line| line["route"].is_string())
        .map(|line| (text(&line["route"]), text(&line["time"])[..7].to_owned()))
        .collect()
}

fn records(clinic: &Clinic, epoch: &str) -> Vec<PathBuf> {
    match std::fs::read_dir(clinic.log().join("keys").join(epoch)) {
        Ok(items) => items.map(|item| item.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    }
}

fn verdict(clinic: &Clinic) -> (Option<i32>, String) {
    let verified = clinic.run(&["verify"]);
    (verified.status.code(), text(&verified.stdout))
}

pub(crate) const DUE: [&str; 4] = ["destroy", "--due", "--reason", REASON];

#[test]
fn what_is_due_ends_and_nobody_reads_it_and_the_rest_stays() {
    let clinic = old(&["2018-11", "2019-12", "2024-03"]);
    let read = |month: &str| {
        let all = readable(&clinic);
        all.iter().filter(|(_, at)| at == month).count()
    };
    assert_eq!(
        (read("2018-11"), read("2019-12"), read("2024-03")),
        (2, 2, 2)
    );
    assert_eq!(
        states(&clinic),
        [
            state("2018-11/standard", "due"),
            state("2019-12/standard", "due"),
            state("2024-03/standard", "kept"),
        ]
    );
    let said = done(&clinic, &DUE);
    assert!(
        said.contains("destroyed: 2018-11/standard, 1 key"),
        "{said}"
    );
    assert_eq!(
        (read("2018-11"), read("2019-12"), read("2024-03")),
        (0, 0, 2)
    );
    assert!(!clinic.log().join("keys/2018-11").exists());
    assert_eq!(records(&clinic, "2024-03/standard").len(), 1);
    let (code, said) = verdict(&clinic);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("the keys of 2018-11/standard were destroyed"),
        "{said}"
    );
    assert!(said.contains(REASON), "{said}");
    assert_eq!(done(&clinic, &DUE), "nothing is due\n");
    // Who did it is on record, before and after.
    let told = ["show", "--json", "--unrecorded", "--type", "destruction"];
    let told = json_lines(&clinic.run(&told));
    let dones: Vec<_> = told.iter().map(|line| line["done"].as_bool()).collect();
    assert_eq!(dones, [Some(false), Some(true), Some(false), Some(true)]);
    assert_eq!(told[0]["by"]["uid"], rustix::process::getuid().as_raw());
    // The next run of the writer goes on, and signs it.
    clinic.write().end();
    assert_eq!(clinic.run(&["verify", "--strict"]).status.code(), Some(0));
}

#[test]
fn before_its_time_nothing_is_destroyed_by_whatever_name() {
    let clinic = old(&["2019-12", "2024-03"]);
    let early = ["destroy", "--epoch", "2024-03/standard", "--reason", REASON];
    refused(&clinic, &early, "kept until 2030-04-01");
    let both = [
        "destroy",
        "--epoch",
        "2019-12/standard",
        "--epoch",
        "2024-03/standard",
        "--reason",
        REASON,
    ];
    refused(&clinic, &both, "kept until 2030-04-01");
    assert_eq!(records(&clinic, "2019-12/standard").len(), 1);
    let unknown = ["destroy", "--epoch", "2001-01/standard", "--reason", REASON];
    refused(&clinic, &unknown, "no such month and class");
    let silent = ["destroy", "--due", "--reason", "  "];
    refused(&clinic, &silent, "the reason is empty");
    assert_eq!(verdict(&clinic).0, Some(0));
}

#[test]
fn a_class_is_kept_as_long_as_was_promised_when_it_was_written() {
    let research = || "research".parse().unwrap();
    let classes = Classes::new([(research(), 15)], [("studies".into(), research())]).unwrap();
    let clinic = clinic(&["2015-05"], &classes);
    // A shorter period comes too late for what is there.
    let shorter = Options {
        classes: Classes::new([(research(), 1)], []).unwrap(),
        ..clinic.options()
    };
    Clinic::write_with(&shorter).end();
    assert_eq!(
        states(&clinic),
        [
            state("2015-05/research", "kept"),
            state("2015-05/standard", "due"),
        ]
    );
    done(&clinic, &DUE);
    let left = readable(&clinic);
    assert_eq!(left, [("studies".to_owned(), "2015-05".to_owned())]);
    assert_eq!(verdict(&clinic).0, Some(0));
}

#[test]
fn what_is_held_stays_until_the_hold_is_released() {
    let clinic = old(&["2018-11", "2019-12"]);
    let hold = [
        "hold", "--name", "case-17", "--from", "2019-01", "--reason", "subpoena",
    ];
    assert_eq!(done(&clinic, &hold), "placed: case-17\n");
    let said = done(&clinic, &["keep"]);
    assert!(
        said.contains("2019-12/standard 1 key held by case-17"),
        "{said}"
    );
    assert!(
        said.contains("hold case-17: 2019-01 to all to come"),
        "{said}"
    );
    let named = ["destroy", "--epoch", "2019-12/standard", "--reason", REASON];
    refused(&clinic, &named, "held by case-17");
    let said = done(&clinic, &DUE);
    assert!(
        said.contains("2018-11") && !said.contains("2019-12"),
        "{said}"
    );
    let other = ["hold", "--name", "case-18", "--release", "--reason", "over"];
    refused(&clinic, &other, "no hold of this name");
    let release = ["hold", "--name", "case-17", "--release", "--reason", "over"];
    assert_eq!(done(&clinic, &release), "released: case-17\n");
    assert!(done(&clinic, &DUE).contains("2019-12"));
    assert_eq!(readable(&clinic).len(), 0);
    assert_eq!(verdict(&clinic).0, Some(0));
    let turned = [
        "hold", "--name", "x", "--from", "2019-06", "--to", "2019-01", "--reason", "y",
    ];
    refused(&clinic, &turned, "that is no hold");
    for month in ["2019-13", "19-01", "2019-1", "../../x"] {
        let bad = ["hold", "--name", "x", "--to", month, "--reason", "y"];
        refused(&clinic, &bad, "that is no hold");
    }
}

#[test]
fn a_destruction_that_a_crash_cut_short_is_told_and_finished() {
    let clinic = old(&["2018-11"]);
    // Several keys, since the log was opened again in that month.
    Clinic::write_as_of(&clinic.options(), month("2018-11")).end();
    let keys = records(&clinic, "2018-11/standard");
    assert_eq!(keys.len(), 2);
    let kept: Vec<_> = keys
        .iter()
        .map(|path| (path, std::fs::read(path).unwrap()))
        .collect();
    // The crash comes behind the first entry and the first removal.
    announce(&clinic);
    std::fs::remove_file(kept[0].0).unwrap();
    // Of the second one a part is overwritten.
    let half: Vec<u8> = [&[0; 20], &kept[1].1[20..]].concat();
    std::fs::write(kept[1].0, half).unwrap();
    let (code, said) = verdict(&clinic);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("`audit destroy` finishes it"), "{said}");
    assert_eq!(
        states(&clinic),
        [state("2018-11/standard", "half destroyed")]
    );
    assert!(done(&clinic, &DUE).contains("2018-11/standard, 1 key"));
    assert_eq!(verdict(&clinic).0, Some(0));
    // A key that comes back is found.
    std::fs::create_dir_all(clinic.log().join("keys/2018-11/standard")).unwrap();
    std::fs::write(kept[1].0, &kept[1].1).unwrap();
    let (code, said) = verdict(&clinic);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is there again"), "{said}");
}

#[test]
fn a_destruction_that_cannot_be_put_on_record_destroys_nothing() {
    let clinic = old(&["2018-11"]);
    let before = records(&clinic, "2018-11/standard");
    // Somebody writes the log, and does not answer.
    let writer = clinic.write();
    refused(&clinic, &DUE, "it cannot be put on record");
    writer.end();
    assert_eq!(records(&clinic, "2018-11/standard"), before);
    assert_eq!(states(&clinic), [state("2018-11/standard", "due")]);
}

/// Adds the entry that says that the keys of 2018-11 are about to be destroyed.
fn announce(clinic: &Clinic) {
    use audit::event::{By, Destruction, Digest, Event};
    let by = By {
        uid: 0,
        login_uid: None,
        served: false,
    };
    let said = Event::Destruction(Destruction {
        epoch: "2018-11/standard",
        done: false,
        keys: 2,
        digest: Digest::of(b""),
        reason: REASON,
        by,
    });
    audit::reading::put(&clinic.log(), said).unwrap();
}

#[test]
fn a_key_that_is_removed_without_a_word_is_found() {
    let clinic = old(&["2018-11"]);
    std::fs::remove_file(&records(&clinic, "2018-11/standard")[0]).unwrap();
    let (code, said) = verdict(&clinic);
    assert_eq!(code, Some(1), "{said}");
    refused(&clinic, &DUE, "the log does not verify");
}

#[test]
fn a_destruction_that_must_not_be_is_found_by_whoever_verifies() {
    use audit::event::{By, Destruction, Digest, Event};
    let clinic = old(&["2024-03"]);
    let by = By {
        uid: 0,
        login_uid: None,
        served: false,
    };
    for done in [false, true] {
        let said = Event::Destruction(Destruction {
            epoch: "2024-03/standard",
            done,
            keys: 1,
            digest: Digest::of(b""),
            reason: REASON,
            by,
        });
        audit::reading::put(&clinic.log(), said).unwrap();
    }
    std::fs::remove_file(&records(&clinic, "2024-03/standard")[0]).unwrap();
    let (code, said) = verdict(&clinic);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("the keys of 2024-03/standard were destroyed, and it is to be kept until"),
        "{said}"
    );
}

#[test]
fn a_log_that_was_changed_is_not_shortened_since_it_might_hide_a_hold() {
    let clinic = old(&["2018-11"]);
    let stranger = clinic.log().join("stranger");
    std::fs::write(&stranger, b"").unwrap();
    refused(&clinic, &DUE, "the log does not verify");
    std::fs::remove_file(stranger).unwrap();
    assert!(done(&clinic, &DUE).contains("2018-11"));
}

#[test]
fn an_index_of_what_is_destroyed_goes_too() {
    let clinic = old(&["2018-11"]);
    let reader = clinic.path("reader.key");
    let words = [
        "index",
        "--unrecorded",
        "--reader",
        reader.to_str().unwrap(),
    ];
    clinic.run(&words);
    let index = || {
        let names = std::fs::read_dir(clinic.log()).unwrap();
        names
            .filter(|item| {
                item.as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with("index")
            })
            .count()
    };
    assert!(index() > 0);
    assert!(done(&clinic, &DUE).contains("removed: index"));
    assert_eq!(index(), 0);
}

#[test]
fn what_was_written_behind_a_clock_that_was_set_back_is_not_due() {
    let clinic = old(&["2026-11", "2018-11"]);
    assert_eq!(done(&clinic, &DUE), "nothing is due\n");
    let epoch = ["destroy", "--epoch", "2018-11/standard", "--reason", REASON];
    refused(&clinic, &epoch, "kept until 2032-12-01");
}

#[test]
fn keys_that_were_destroyed_by_a_clock_that_was_ahead_are_found_by_what_comes_behind() {
    let clinic = old(&["2024-03"]);
    let log = clinic.log();
    let ahead = || month("2040-01");
    let mut ended = Ended::default();
    destroy(
        &log,
        &Asked::default(),
        &Which::Due,
        REASON,
        &ahead,
        &mut |_, _| (),
        &mut ended,
    )
    .unwrap();
    // The log itself has the time of its own: it tells that at once.
    assert_eq!(ended.epochs.len(), 1);
    let (code, said) = verdict(&clinic);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("it is to be kept until 2030-04-01"), "{said}");
}

#[test]
fn a_hold_that_comes_while_a_log_is_shortened_counts_and_what_ended_before_is_told() {
    let clinic = old(&["2018-10", "2018-11"]);
    let epochs = ["2018-10/standard", "2018-11/standard"];
    // Whoever asks for the time a third time has judged both, and is about to end the first.
    let asked = Cell::new(0);
    let now = || {
        asked.set(asked.get() + 1);
        if asked.get() == 3 {
            let hold = Hold {
                name: "case-17",
                placed: true,
                from: Some("2018-11"),
                to: Some("2018-11"),
                reason: "subpoena of 3 July",
                by: By {
                    uid: 0,
                    login_uid: None,
                    served: false,
                },
            };
            audit::reading::put(&clinic.log(), Event::Hold(hold)).unwrap();
        }
        month("2026-11")
    };
    let mut ended = Ended::default();
    let destroyed = destroy(
        &clinic.log(),
        &Asked::default(),
        &Which::Named(epochs.map(|epoch| epoch.parse().unwrap()).to_vec()),
        REASON,
        &now,
        &mut |_, _| (),
        &mut ended,
    );
    assert!(
        matches!(
            &destroyed,
            Err(KeepError::Forbidden { epoch, forbidden: Forbidden::Held { .. } }) if epoch.to_string() == epochs[1]
        ),
        "{destroyed:?}"
    );
    assert_eq!(ended.epochs.len(), 1);
    let stand = [state(epochs[0], "destroyed"), state(epochs[1], "held")];
    assert_eq!(states(&clinic), stand);
    assert_eq!(verdict(&clinic).0, Some(0));
}

#[test]
fn a_log_without_readers_has_no_keys_that_could_be_destroyed() {
    let clinic = Clinic::new();
    let options = Options {
        readers: Vec::new(),
        ..clinic.options()
    };
    let (_, committer): (Log, Committer) = Log::open(&options).unwrap();
    committer.close(std::time::Duration::from_secs(30)).unwrap();
    let said = done(&clinic, &["keep"]);
    assert!(said.contains("no key can be destroyed"), "{said}");
    assert_eq!(done(&clinic, &DUE), "nothing is due\n");
}
