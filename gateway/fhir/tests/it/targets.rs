//! Whom targets and forms name, and whose word counts when they name nobody.

use fhir::{Completeness, Found, Limits, Reason, Target};

use crate::support::{rows, scan, spell};

fn target(request: &str) -> Target {
    let (method, target) = request.split_once(' ').expect("a method");
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    Target::read(method, path, query, Limits::default())
}

#[test]
fn each_row_names_whom_it_names() {
    let rows: Vec<_> = rows(include_str!("../vectors/targets.txt")).collect();
    assert!(rows.len() > 80);
    for (request, expected) in rows {
        let target = target(request);
        let interaction = target.interaction().map_or("-", |it| it.name());
        let resource = target.resource().unwrap_or("-");
        let spelt = format!("{interaction} {resource}: {}", spell(target.found()));
        assert_eq!(spelt, expected, "{request}");
    }
}

#[test]
fn the_form_of_a_search_says_what_a_query_says() {
    for (request, form, expected) in [
        (
            "POST /Observation/_search",
            "patient=Patient%2F1&code=a+b",
            "Patient/1 all",
        ),
        (
            "POST /Patient/_search",
            "identifier=s%7Cv&_id=2",
            "s|v Patient/2 all",
        ),
        ("POST /Patient/_search", "name=x", "all"),
        ("POST /_search", "patient=%", "unknown:query"),
    ] {
        let target = target(request);
        assert!(target.takes_form("POST"), "{request}");
        let found = target.form(form.as_bytes(), Limits::default());
        assert_eq!(spell(&found), expected, "{form}");
    }
    assert!(!target("POST /Patient").takes_form("POST"));
    assert!(!target("GET /Patient").takes_form("GET"));
}

#[test]
fn names_beyond_the_limit_are_said_to_be_more() {
    let query = Some("patient=1,2,3");
    let target = Target::read("GET", "Observation", query, Limits { subjects: 2 });
    assert_eq!(spell(target.found()), "Patient/1 Patient/2 unknown:more");
}

#[test]
fn a_request_is_settled_by_whose_word_counts() {
    let somebody = scan(br#"{"resourceType":"Patient","id":"1"}"#);
    let nobody = scan(br#"{"resourceType":"OperationOutcome"}"#);
    let broken = scan(b"<Patient/>");
    let (somebody, nobody, broken) = (Some(&somebody), Some(&nobody), Some(&broken));
    let open = Completeness::Unknown(Reason::NotNamed);
    let unread = Completeness::Unknown(Reason::Syntax);
    type Row<'a> = (&'a str, Option<&'a Found>, Option<&'a Found>, Completeness);
    let rows: &[Row<'_>] = &[
        // What is read or sought stands in the answer.
        ("GET /Observation/5", None, somebody, Completeness::All),
        ("GET /Observation/5", None, nobody, Completeness::All),
        ("GET /Observation/5", None, None, open),
        ("GET /Patient?name=x", None, nobody, Completeness::All),
        ("GET /Patient?name=x", None, broken, unread),
        ("GET /Patient/1", None, broken, unread),
        ("GET /Patient/1", None, None, Completeness::All),
        // What is written stands in the body.
        ("POST /Observation", somebody, nobody, Completeness::All),
        ("POST /Observation", None, nobody, open),
        ("POST /Observation", broken, nobody, unread),
        ("POST /", nobody, nobody, Completeness::All),
        // What is removed or worked on need not stand anywhere.
        ("DELETE /Observation/5", None, nobody, open),
        ("DELETE /Observation/5", None, somebody, Completeness::All),
        ("PATCH /Observation/5", nobody, nobody, open),
        ("POST /Patient/$match", somebody, nobody, Completeness::All),
        ("POST /Patient/$match", nobody, nobody, open),
        // And some never are.
        (
            "GET /Patient/$export",
            None,
            somebody,
            Completeness::Unknown(Reason::Bulk),
        ),
        (
            "GET /nothing",
            None,
            somebody,
            Completeness::Unknown(Reason::Target),
        ),
    ];
    for (request, body, answer, expected) in rows {
        let settled = target(request).settled(*body, *answer);
        assert_eq!(settled, *expected, "{request}");
    }
}
