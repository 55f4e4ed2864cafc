//! `audit export` tells of the patient who is asked for, in every format, and of nobody else.

use audit::event::Pseudonym;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::clinic::{BASE, Clinic, Exchange, audit, text, whom, word};

const PUMP: &str = "devices:urn:example:pump-1";

const FORMATS: [&str; 4] = ["balp", "ocsf", "csv", "dicom"];

/// A log of patient 1 under two names, linked late, alone and among others, and of patients 2 to 5. The
/// first two ids are of requests that do not concern patient 1.
fn clinic() -> (Clinic, Vec<String>) {
    let clinic = Clinic::new();
    let [one, two, three] = [1, 2, 3].map(|number| clinic.id(number));
    let mut writer = clinic.write();
    writer.connect(0, PUMP);
    let ids = vec![
        writer.read(&Exchange::of(10, PUMP, whom(&[two], false))),
        writer.stream(&Exchange::of(20, PUMP, whom(&[two, three], true))),
        writer.read(&Exchange::of(30, PUMP, whom(&[clinic.mrn(1)], false))),
        writer.read_target(
            &Exchange::of(40, PUMP, whom(&[one, two, three], false)),
            b"/fhir/Observation?subject=canary-1,canary-2",
        ),
        writer.stream(&Exchange::of(50, PUMP, whom(&[two, one], false))),
        writer.refuse(&Exchange::of(60, PUMP, whom(&[one, clinic.mrn(1)], true))),
        // Two others who are linked in one record with patient 1 are not linked with patient 1.
        writer.read(&Exchange::of(
            70,
            PUMP,
            whom(&[clinic.id(4), clinic.id(5), one], true),
        )),
    ];
    writer.end();
    (clinic, ids)
}

/// Whether a word stands in an export, also as a detail of a DICOM audit message, which is in base64.
fn tells(exported: &str, word: &str) -> bool {
    exported.contains(word) || exported.contains(&STANDARD.encode(word))
}

fn export(clinic: &Clinic, format: &str, more: &[&str]) -> String {
    let log = clinic.log();
    let words = ["export", word(&log), "--format", format];
    let made = audit(&[&words[..], more].concat());
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    text(&made.stdout)
}

#[test]
fn an_export_of_a_patient_tells_of_no_other() {
    let (clinic, ids) = clinic();
    let own = [clinic.id(1), clinic.mrn(1)];
    let others: Vec<Pseudonym> = (2..=5).map(|number| clinic.id(number)).collect();
    let name = format!("{BASE}|1");
    for format in FORMATS {
        let all = export(&clinic, format, &[]);
        for told in ids
            .iter()
            .cloned()
            .chain(others.iter().map(Pseudonym::to_string))
        {
            assert!(tells(&all, &told), "{format}: all are told else: {told}");
        }
        let told = export(&clinic, format, &["--patient", &name]);
        for id in &ids[..2] {
            assert!(!told.contains(id), "{format}: {id} in {told}");
        }
        for id in &ids[2..] {
            assert!(told.contains(id), "{format}: {id} in {told}");
        }
        for other in &others {
            assert!(
                !tells(&told, &other.to_string()),
                "{format}: {other} in {told}"
            );
        }
        for name in own {
            assert!(
                tells(&told, &name.to_string()),
                "{format}: {name} in {told}"
            );
        }
        assert!(!told.contains("canary"), "{format}: {told}");
    }
}

#[test]
fn an_export_of_a_patient_under_one_name_tells_of_that_name_and_of_what_its_record_links() {
    let (clinic, ids) = clinic();
    let name = clinic.mrn(1).to_string();
    for format in FORMATS {
        let told = export(&clinic, format, &["--patient", &name, "--unlinked"]);
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(
                told.contains(id),
                [2, 5].contains(&number),
                "{format}: {id}"
            );
        }
        for other in 2..=5 {
            let other = clinic.id(other).to_string();
            assert!(!tells(&told, &other), "{format}: {other} in {told}");
        }
    }
}
