//! `audit show` shows what is asked for: by patient under every linked name, client, route, outcome, type
//! and time.

use serde_json::Value;

use crate::clinic::{BASE, Clinic, Exchange, MRN, json_lines, text, whom, word};

const PUMP: &str = "devices:urn:example:pump-1";
const PORTAL: &str = "services:urn:example:portal";

/// A log of two days: patient 1 is linked late with a record number, by which somebody was found before.
fn clinic() -> (Clinic, Vec<String>) {
    let clinic = Clinic::new();
    let (one, two) = (clinic.id(1), clinic.id(2));
    let mut writer = clinic.write();
    writer.connect(0, PUMP);
    let ids = vec![
        writer.read(&Exchange::of(10, PUMP, whom(&[clinic.mrn(1)], false))),
        writer.read(&Exchange::of(20, PUMP, whom(&[two], false))),
        writer.stream(&Exchange::of(30, PORTAL, whom(&[one, two], false))),
        writer.read(&Exchange::of(
            86_400,
            PORTAL,
            whom(&[one, clinic.mrn(1)], true),
        )),
        writer.refuse(&Exchange::of(86_401, PUMP, whom(&[one], false))),
    ];
    writer.end();
    (clinic, ids)
}

fn show(clinic: &Clinic, words: &[&str]) -> Vec<Value> {
    let all = [&["show", "--json"], words].concat();
    json_lines(&clinic.run(&all))
}

fn ids(lines: &[Value]) -> Vec<&str> {
    let mut ids: Vec<_> = lines
        .iter()
        .filter_map(|line| line["request_id"].as_str())
        .collect();
    ids.dedup();
    ids
}

#[test]
fn a_patient_is_found_under_every_name_that_the_log_links_even_before_the_link() {
    let (clinic, made) = clinic();
    let expected = [&made[0], &made[2], &made[3], &made[4]];
    let pseudonym = clinic.mrn(1).to_string();
    let base = format!("{BASE}/|1");
    let list = clinic.path("patients");
    std::fs::write(&list, format!("{MRN}|mrn-1\n\n")).unwrap();
    let list = format!("@{}", word(&list));
    for asked in [
        &format!("{BASE}|1"),
        &base,
        &format!("{MRN}|mrn-1"),
        &pseudonym,
        &list,
    ] {
        let found = show(&clinic, &["--patient", asked]);
        assert_eq!(ids(&found), expected, "{asked}");
    }
    // Without links, by one name alone.
    let found = show(&clinic, &["--patient", &pseudonym, "--unlinked"]);
    assert_eq!(ids(&found), [&made[0], &made[3]]);
    let both = ["--patient", &pseudonym, "--patient", &format!("{BASE}|2")];
    assert_eq!(ids(&show(&clinic, &both)), made.iter().collect::<Vec<_>>());
}

#[test]
fn records_are_shown_by_client_route_outcome_type_and_time() {
    let (clinic, made) = clinic();
    let count = |words: &[&str]| show(&clinic, words).len();
    assert_eq!(count(&["--client", PUMP]), 4, "its connection too");
    assert_eq!(count(&["--client", "urn:example:pump-1"]), 4);
    assert_eq!(
        count(&["--client", "urn:example:pump-1", "--client", PORTAL]),
        9
    );
    assert_eq!(count(&["--route", "other"]), 0);
    assert_eq!(count(&["--outcome", "4xx"]), 1);
    assert_eq!(count(&["--outcome", "not_permitted"]), 1);
    assert_eq!(
        count(&["--outcome", "refused", "--outcome", "client_gone"]),
        2
    );
    assert_eq!(count(&["--type", "release", "--type", "passage"]), 5);
    let found = show(&clinic, &["--until", "2026-11-01", "--type", "release"]);
    assert_eq!(ids(&found), [&made[0], &made[1], &made[2]]);
    let since = ["--since", "2026-11-02T00:00:01Z", "--type", "refusal"];
    assert_eq!(ids(&show(&clinic, &since)), [&made[4]]);
    let until = ["--until", "2026-11-02T00:00:01Z", "--type", "refusal"];
    assert_eq!(count(&until), 0, "the end is not in it");
}

#[test]
fn a_condition_that_makes_no_sense_is_wrong_usage_and_says_what_would() {
    let (clinic, _) = clinic();
    for (words, told) in [
        (&["--patient", "Mustermann"][..], "SYSTEM|VALUE"),
        (&["--outcome", "bad"], "4xx"),
        (&["--type", "nonsense"], "release"),
        (&["--since", "yesterday"], "RFC 3339"),
        (
            &["--since", "2026-11-02", "--until", "2026-11-01"],
            "--since",
        ),
        (&["--unlinked"], "--patient"),
    ] {
        let refused = clinic.run(&[&["show"], words].concat());
        assert_eq!(refused.status.code(), Some(64), "{words:?}");
        let said = text(&refused.stderr);
        assert!(said.contains(told) && said.contains("hint: "), "{said}");
        assert!(!said.contains("Mustermann"), "{said}");
        assert_eq!(text(&refused.stdout), "");
    }
    std::fs::rename(clinic.path("audit.keys"), clinic.path("kept")).unwrap();
    let name = format!("{BASE}|1");
    let refused = clinic.run(&["show", "--patient", &name]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(text(&refused.stderr).contains("--keys"));
    let kept = clinic.path("kept");
    let kept = ["--patient", &name, "--keys", word(&kept)];
    assert_eq!(
        show(&clinic, &kept).len(),
        4,
        "three requests and a passage"
    );
}

#[test]
fn what_does_not_open_is_left_out_only_where_it_surely_was_not_asked_for() {
    let (clinic, _) = clinic();
    std::fs::rename(clinic.path("reader.key"), clinic.path("kept")).unwrap();
    let asked = |words: &[&str]| clinic.run(&[&["show", "--json"], words].concat());
    let refusals = asked(&["--type", "refusal"]);
    assert_eq!(refusals.status.code(), Some(1));
    assert_eq!(text(&refusals.stdout).lines().count(), 1);
    assert!(text(&refusals.stderr).contains("1 entry is sealed"));
    // It can be about the patient: that it cannot be told is said.
    let of_patient = asked(&["--patient", &clinic.id(1).to_string()]);
    assert_eq!(of_patient.status.code(), Some(1));
    assert!(text(&of_patient.stderr).contains("sealed to readers with another key"));
    let none = asked(&["--type", "start"]);
    assert_eq!(none.status.code(), Some(0), "none of them is a start");
}
