//! Requests as OCSF events, one a line: class 6003, API Activity.
//!
//! Standard: Open Cybersecurity Schema Framework 1.7.0 (<https://schema.ocsf.io/1.7.0/classes/api_activity>),
//! with the profile `security_control` for what was allowed and what was not. What the schema has no
//! place for stands under `unmapped`.

use serde_json::{Value, json};

use super::Source;
use crate::event::Pseudonym;
use crate::exchange::{Exchange, Known, Outcome, Stage};

const VERSION: &str = "1.7.0";
const CLASS: u32 = 6003;

/// Adds the event of a request.
pub(super) fn write(exchange: &Exchange, source: &Source, out: &mut Vec<u8>) {
    out.extend_from_slice(event(exchange, source).to_string().as_bytes());
    out.push(b'\n');
}

fn event(exchange: &Exchange, source: &Source) -> Value {
    let (activity, activity_name) = activity(exchange);
    let (severity, severity_name) = severity(exchange.outcome());
    let (status, status_name) = status(exchange.outcome());
    let is_denied = exchange.outcome() == Outcome::Refused;
    let mut event = json!({
        "activity_id": activity,
        "activity_name": activity_name,
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "API Activity",
        "type_uid": CLASS * 100 + activity,
        "type_name": format!("API Activity: {activity_name}"),
        "severity_id": severity,
        "severity": severity_name,
        "status_id": status,
        "status": status_name,
        "status_detail": exchange.remark(),
        "message": message(exchange),
        "time": exchange.began.milliseconds(),
        "timezone_offset": 0,
        "action_id": if is_denied { 2 } else { 1 },
        "action": if is_denied { "Denied" } else { "Allowed" },
        "disposition_id": if is_denied { 2 } else { 1 },
        "disposition": if is_denied { "Blocked" } else { "Allowed" },
        "metadata": {
            "version": VERSION,
            "profiles": ["security_control"],
            // The same however often it is exported.
            "uid": format!("{}-{}", exchange.request_id, exchange.first),
            "correlation_uid": exchange.connection_id,
            "sequence": exchange.first,
            "log_name": source.log,
            "product": { "name": "phigate", "vendor_name": "phigate", "version": source.version },
        },
        "actor": actor(exchange),
        "api": api(exchange),
        "http_request": { "uid": exchange.request_id },
        "src_endpoint": source_endpoint(exchange),
        "unmapped": unmapped(exchange),
    });
    if let Some(code) = exchange.code {
        event["status_code"] = json!(code);
    }
    if let Some(method) = &exchange.method {
        event["http_request"]["http_method"] = json!(method);
    }
    if let Some(status) = exchange.status {
        event["http_response"] = json!({ "code": status });
        if let Some(kind) = &exchange.content_type {
            event["http_response"]["content_type"] = json!(kind);
        }
        if let Some(bytes) = exchange.bytes {
            event["http_response"]["body_length"] = json!(bytes);
        }
    }
    if let Some(destination) = destination(exchange) {
        event["dst_endpoint"] = destination;
    }
    let resources = resources(exchange);
    if !resources.is_empty() {
        event["resources"] = Value::Array(resources);
    }
    if let Some(rule) = &exchange.rule {
        event["policy"] = json!({ "name": rule });
    }
    event
}

/// `activity_id` of the class.
fn activity(exchange: &Exchange) -> (u32, &'static str) {
    let interaction = exchange.interaction.as_deref();
    match interaction.or(exchange.method.as_deref()) {
        Some("create") => (1, "Create"),
        Some("update" | "patch" | "PUT" | "PATCH") => (3, "Update"),
        Some("delete" | "DELETE") => (4, "Delete"),
        Some(
            "read" | "vread" | "history-instance" | "history-type" | "history-system"
            | "search-type" | "search-system" | "capabilities" | "GET" | "HEAD",
        ) => (2, "Read"),
        Some(_) => (99, "Other"),
        None => (0, "Unknown"),
    }
}

fn severity(outcome: Outcome) -> (u32, &'static str) {
    match outcome {
        Outcome::Success | Outcome::Rejected => (1, "Informational"),
        Outcome::Refused | Outcome::BrokenOff => (2, "Low"),
        Outcome::Failed | Outcome::Unknown => (3, "Medium"),
    }
}

fn status(outcome: Outcome) -> (u32, &'static str) {
    match outcome {
        Outcome::Success => (1, "Success"),
        Outcome::Refused | Outcome::Rejected | Outcome::Failed | Outcome::BrokenOff => {
            (2, "Failure")
        }
        Outcome::Unknown => (0, "Unknown"),
    }
}

fn message(exchange: &Exchange) -> String {
    let method = exchange.method.as_deref().unwrap_or("A request");
    let route = exchange.route.as_deref().unwrap_or("no route");
    let outcome = exchange.outcome().name().replace('_', " ");
    match exchange.status {
        Some(status) => format!("{method} on {route}: {outcome}, {status}"),
        None => format!("{method} on {route}: {outcome}"),
    }
}

fn actor(exchange: &Exchange) -> Value {
    let client = match (&exchange.client, exchange.client_parts()) {
        (Some(client), Some((trust, name))) => {
            let mut user = json!({ "uid": client, "name": name, "domain": trust, "type_id": 4, "type": "Service" });
            let connection = exchange.connection.as_deref();
            if let Some(certificate) = connection.and_then(|it| it.certificate) {
                user["credential_uid"] = json!(format!("sha256:{certificate}"));
            }
            user
        }
        _ => json!({ "name": "without a certificate", "type_id": 0, "type": "Unknown" }),
    };
    let session = json!({ "uid": exchange.connection_id });
    match (&exchange.user, &exchange.client) {
        (Some(person), Some(client)) => json!({
            "user": { "name": person, "type_id": 1, "type": "User" },
            "invoked_by": client,
            "session": session,
        }),
        (Some(person), None) => json!({
            "user": { "name": person, "type_id": 1, "type": "User" },
            "session": session,
        }),
        (None, _) => json!({ "user": client, "session": session }),
    }
}

fn api(exchange: &Exchange) -> Value {
    let operation = exchange.interaction.as_ref().or(exchange.method.as_ref());
    let mut api = json!({
        "operation": operation.map_or("unknown", String::as_str),
        "request": { "uid": exchange.request_id },
    });
    if let Some(upstream) = &exchange.upstream {
        api["service"] = json!({ "name": upstream });
    }
    if let Some(status) = exchange.status {
        api["response"] = json!({ "code": status });
        if let (Stage::Refused, Some(code)) = (exchange.stage, exchange.code) {
            api["response"]["error"] = json!(code);
        }
    }
    api
}

fn source_endpoint(exchange: &Exchange) -> Value {
    match exchange.address {
        Some(address) => json!({ "ip": address.ip().to_string(), "port": address.port() }),
        // At least one of several attributes; the connection is one that was not read.
        None => json!({ "uid": exchange.connection_id }),
    }
}

fn destination(exchange: &Exchange) -> Option<Value> {
    let connection = exchange.connection.as_deref()?;
    let mut endpoint = json!({ "svc_name": connection.listener });
    if let Some(host) = &connection.sni {
        endpoint["hostname"] = json!(host);
    }
    Some(endpoint)
}

/// What was touched: the type of the resource, and each patient, with its other names as labels.
fn resources(exchange: &Exchange) -> Vec<Value> {
    let resource = exchange.resource.as_ref();
    let kind = resource.map(|name| json!({ "type": "FHIR resource", "name": name }));
    let patient = |names: Vec<Pseudonym>| {
        let mut names = names
            .iter()
            .map(|name| format!("urn:phigate:pseudonym:{name}"));
        let mut patient = json!({ "type": "Patient", "uid": names.next() });
        let others: Vec<String> = names.collect();
        if !others.is_empty() {
            patient["labels"] = json!(others);
        }
        patient
    };
    let patients = exchange.persons().into_iter().map(patient);
    kind.into_iter().chain(patients).collect()
}

fn unmapped(exchange: &Exchange) -> Value {
    let mut unmapped = json!({
        "state": exchange.state.name(),
        "outcome": exchange.outcome().name(),
        "records": exchange.records.count(),
    });
    if let Some(route) = &exchange.route {
        unmapped["route"] = json!(route);
    }
    if let Some(subjects) = exchange.subjects {
        unmapped["subjects"] = json!(match subjects {
            Known::All => "known",
            Known::Not(_) => "unknown",
        });
        if let Known::Not(reason) = subjects {
            unmapped["reason"] = json!(reason.name());
        }
    }
    if let Some(detail) = &exchange.detail {
        unmapped["detail"] = json!(detail);
    }
    if let Some(attempts) = exchange.attempts {
        unmapped["attempts"] = json!(attempts);
    }
    unmapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Code, Unknown};
    use crate::export::testing;

    /// What the schema says of an attribute.
    #[derive(Clone, Copy)]
    enum Is {
        Integer,
        Text,
        Object,
    }
    use Is::{Integer, Object, Text};

    /// Required attributes of class API Activity and of each object in it, with their types. Source:
    /// ocsf/ocsf-schema at 1.7.0 (dc6359b4): events/base_event.json, events/application/
    /// api_activity.json, objects/{metadata,api,request,http_response}.json. All of them are required
    /// of an object that is there, so a row counts where its parent is.
    const REQUIRED: &[(&str, Is)] = &[
        ("/activity_id", Integer),
        ("/category_uid", Integer),
        ("/class_uid", Integer),
        ("/severity_id", Integer),
        ("/time", Integer),
        ("/type_uid", Integer),
        ("/metadata", Object),
        ("/actor", Object),
        ("/api", Object),
        ("/src_endpoint", Object),
        ("/metadata/product", Object),
        ("/metadata/version", Text),
        ("/api/operation", Text),
        ("/api/request/uid", Text),
        ("/http_response/code", Integer),
    ];

    /// Recommended ones that are always known.
    const RECOMMENDED: &[(&str, Is)] = &[
        ("/message", Text),
        ("/status_id", Integer),
        ("/status", Text),
        ("/status_detail", Text),
        ("/timezone_offset", Integer),
        ("/http_request", Object),
        ("/action_id", Integer),
        ("/disposition_id", Integer),
        ("/metadata/log_name", Text),
        ("/metadata/product/name", Text),
    ];

    /// Constraints `at_least_one` of the objects.
    const AT_LEAST_ONE: &[(&str, &[&str])] = &[
        ("/metadata/product", &["name", "uid"]),
        ("/actor", &["process", "user", "invoked_by", "session"]),
        ("/actor/user", &["account", "name", "uid"]),
        (
            "/src_endpoint",
            &["ip", "uid", "name", "hostname", "svc_name"],
        ),
        (
            "/dst_endpoint",
            &["ip", "uid", "name", "hostname", "svc_name"],
        ),
        ("/api/service", &["name", "uid"]),
        ("/policy", &["name", "uid"]),
    ];

    #[track_caller]
    fn assert_is_valid(event: &Value) {
        for (path, is) in REQUIRED.iter().chain(RECOMMENDED) {
            let (parent, _) = path.rsplit_once('/').unwrap();
            if event.pointer(parent).is_none() {
                continue;
            }
            let value = event.pointer(path).unwrap_or(&Value::Null);
            let fits = match is {
                Integer => value.is_i64() || value.is_u64(),
                Text => value.is_string(),
                Object => value.is_object(),
            };
            assert!(fits, "{path}: {value}");
        }
        for (path, names) in AT_LEAST_ONE {
            if let Some(object) = event.pointer(path) {
                assert!(names.iter().any(|name| !object[*name].is_null()), "{path}");
            }
        }
        for resource in event["resources"].as_array().into_iter().flatten() {
            assert!(resource["name"].is_string() || resource["uid"].is_string());
        }
        // type_uid = class_uid * 100 + activity_id (dictionary.json).
        let number = |name: &str| event[name].as_u64().unwrap();
        assert_eq!(number("category_uid"), 6);
        assert_eq!(number("class_uid"), 6003);
        assert_eq!(number("type_uid"), 600_300 + number("activity_id"));
        assert!([0, 1, 2, 3, 4, 99].contains(&number("activity_id")));
        // status is the caption of status_id.
        let caption =
            ["Unknown", "Success", "Failure"][usize::try_from(number("status_id")).unwrap()];
        assert_eq!(event["status"], caption);
    }

    fn written(exchange: &Exchange) -> Value {
        let mut out = Vec::new();
        write(exchange, &testing::source(), &mut out);
        assert_eq!(out.split(|byte| *byte == b'\n').count(), 2, "one line");
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn every_request_has_what_the_schema_requires() {
        let nothing = || Exchange {
            address: None,
            connection: None,
            client: None,
            method: None,
            route: None,
            rule: None,
            resource: None,
            interaction: None,
            status: None,
            content_type: None,
            bytes: None,
            upstream: None,
            attempts: None,
            patients: [].into(),
            linked: Vec::new(),
            subjects: None,
            ..testing::exchange()
        };
        for exchange in [
            testing::exchange(),
            testing::ended(Code::ClientGone),
            nothing(),
            Exchange {
                stage: Stage::Intended,
                ..nothing()
            },
            Exchange {
                stage: Stage::Refused,
                status: Some(400),
                code: Some(Code::HeadMalformed),
                ..nothing()
            },
            Exchange {
                user: Some("john".to_owned()),
                subjects: Some(Known::Not(Unknown::Xml)),
                ..testing::exchange()
            },
            Exchange {
                status: Some(502),
                ..testing::exchange()
            },
        ] {
            assert_is_valid(&written(&exchange));
        }
    }

    #[test]
    fn each_interaction_is_the_activity_of_its_kind() {
        for (interaction, method, activity) in [
            (Some("create"), "POST", 1),
            (Some("read"), "GET", 2),
            (Some("search-type"), "POST", 2),
            (Some("patch"), "PATCH", 3),
            (Some("delete"), "DELETE", 4),
            (Some("operation"), "POST", 99),
            (None, "GET", 2),
            (None, "PUT", 3),
            (None, "POST", 99),
        ] {
            let event = written(&Exchange {
                interaction: interaction.map(str::to_owned),
                method: Some(method.to_owned()),
                ..testing::exchange()
            });
            assert_is_valid(&event);
            assert_eq!(event["activity_id"], activity, "{interaction:?} {method}");
        }
    }

    #[test]
    fn what_was_refused_was_denied_and_nothing_else() {
        let refused = written(&Exchange {
            stage: Stage::Refused,
            status: Some(403),
            code: Some(Code::NotPermitted),
            ..testing::exchange()
        });
        assert_eq!(
            (&refused["action_id"], &refused["status_id"]),
            (&json!(2), &json!(2))
        );
        assert_eq!(refused["api"]["response"]["error"], "not_permitted");
        let missing = written(&Exchange {
            status: Some(404),
            ..testing::exchange()
        });
        assert_eq!(
            (&missing["action_id"], &missing["status_id"]),
            (&json!(1), &json!(2))
        );
        let resources = written(&testing::exchange())["resources"].clone();
        assert_eq!(
            resources.as_array().unwrap().len(),
            1 + 2,
            "the type and two patients"
        );
        assert_eq!(written(&testing::exchange())["time"], 1_800_000_000_000_u64);
    }
}
