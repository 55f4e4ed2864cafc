//! Requests as FHIR R4 AuditEvent resources, one a line (NDJSON), after IHE BALP.
//!
//! Standard: HL7 FHIR R4 `AuditEvent`; IHE ITI Basic Audit Log Patterns 1.1.4, volume 3, 3:5.7.3 and the
//! profiles `IHE.BasicAudit.{Create,Read,Update,Delete,Query}` with their `Patient*` variants
//! (<https://profiles.ihe.net/ITI/BALP>).
//!
//! One event for each patient of a request (BALP 1:52.4.1.3). A profile is claimed only where all of it
//! is met: the interaction is one of the five, the request succeeded, and its patients are known, or the
//! event is about one of them. What else happened has the same shape and claims nothing.
//!
//! Not on record are the ids of resources and the text of queries: `what` names the type alone, and the
//! query is marked as masked. Patients are pseudonyms, never ids of a server.

use serde_json::{Value, json};

use super::Source;
use crate::event::Pseudonym;
use crate::exchange::{Exchange, Known, Outcome};

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const PROFILE: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
const BALP_ENTITY_TYPE: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
const ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// What an interaction is to BALP. The roles of client and server follow the data, but for a query,
/// whose parameters flow to the server (BALP 3:5.7.3).
struct Pattern {
    interactions: &'static [&'static str],
    /// The profile's name behind `IHE.BasicAudit.`; empty where BALP has none.
    profile: &'static str,
    action: &'static str,
    client: Role,
    server: Role,
    entity: Entity,
}

/// System, code, display.
#[derive(Clone, Copy)]
struct Role(&'static str, &'static str, &'static str);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Entity {
    Data,
    Query,
}

const SOURCE: Role = Role(DCM, "110153", "Source Role ID");
const DESTINATION: Role = Role(DCM, "110152", "Destination Role ID");
const APPLICATION: Role = Role(DCM, "110150", "Application");
const CUSTODIAN: Role = Role(
    "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
    "custodian",
    "Custodian",
);

#[rustfmt::skip]
const PATTERNS: &[Pattern] = &[
    Pattern { interactions: &["create"], profile: "Create", action: "C", client: SOURCE, server: DESTINATION, entity: Entity::Data },
    Pattern { interactions: &["read", "vread"], profile: "Read", action: "R", client: DESTINATION, server: SOURCE, entity: Entity::Data },
    Pattern { interactions: &["update", "patch"], profile: "Update", action: "U", client: SOURCE, server: DESTINATION, entity: Entity::Data },
    Pattern { interactions: &["delete"], profile: "Delete", action: "D", client: APPLICATION, server: CUSTODIAN, entity: Entity::Data },
    Pattern { interactions: &["search-type", "search-system"], profile: "Query", action: "E", client: SOURCE, server: DESTINATION, entity: Entity::Query },
    // Read, but under no profile.
    Pattern { interactions: &["history-instance", "history-type", "history-system", "capabilities"], profile: "", action: "R", client: DESTINATION, server: SOURCE, entity: Entity::Data },
];

/// An operation, a batch, or no FHIR at all: something is executed.
const OTHER: Pattern = Pattern {
    interactions: &[],
    profile: "",
    action: "E",
    client: SOURCE,
    server: DESTINATION,
    entity: Entity::Data,
};

/// Adds the events of a request, one for each patient, one where there is none. A patient who is known
/// under several names is one.
pub(super) fn write(exchange: &Exchange, source: &Source, out: &mut Vec<u8>) {
    let mut patients = exchange.persons();
    if patients.is_empty() {
        patients.push(Vec::new());
    }
    for (number, names) in patients.iter().enumerate() {
        let event = event(exchange, source, number, names);
        out.extend_from_slice(event.to_string().as_bytes());
        out.push(b'\n');
    }
}

fn event(exchange: &Exchange, source: &Source, number: usize, patient: &[Pseudonym]) -> Value {
    let interaction = exchange.interaction.as_deref();
    let pattern = interaction
        .and_then(|code| PATTERNS.iter().find(|it| it.interactions.contains(&code)))
        .unwrap_or(&OTHER);
    let mut event = json!({
        "resourceType": "AuditEvent",
        // The same however often it is exported.
        "id": format!("{}-{}.{number}", exchange.request_id, exchange.first),
        "type": coding("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest", "Restful Operation"),
        "action": pattern.action,
        "period": { "start": exchange.began, "end": exchange.ended },
        "recorded": exchange.ended,
        "outcome": exchange.outcome().indicator(),
        "outcomeDesc": exchange.remark(),
        "agent": agents(exchange, pattern),
        "source": {
            "observer": { "identifier": { "system": "urn:phigate:log", "value": source.log } },
            "type": [coding("http://terminology.hl7.org/CodeSystem/security-source-type", "3", "Web Server")],
        },
        "entity": entities(exchange, pattern, patient),
    });
    if let Some(code) = interaction {
        event["subtype"] = json!([coding(INTERACTION, code, code)]);
    }
    if let Some(profile) = claimed(exchange, pattern, !patient.is_empty()) {
        event["meta"] = json!({ "profile": [profile] });
    }
    event
}

/// The profile that the event meets.
fn claimed(exchange: &Exchange, pattern: &Pattern, names_patient: bool) -> Option<String> {
    let is_met = !pattern.profile.is_empty()
        && exchange.outcome() == Outcome::Success
        // `agent[client].network`, 1..1.
        && exchange.address.is_some();
    // The profiles without a patient are for what has none.
    let prefix = match (names_patient, exchange.subjects) {
        (true, _) => "Patient",
        (false, Some(Known::All)) => "",
        (false, Some(Known::Not(_)) | None) => return None,
    };
    is_met.then(|| format!("{PROFILE}{prefix}{}", pattern.profile))
}

fn agents(exchange: &Exchange, pattern: &Pattern) -> Value {
    let mut client = json!({
        "type": concept(pattern.client),
        "who": match exchange.client_parts() {
            Some((trust, name)) => json!({
                "type": "Device",
                "identifier": { "system": format!("urn:phigate:trust:{trust}"), "value": name },
            }),
            None => json!({ "display": "a client without a certificate" }),
        },
        "requestor": exchange.user.is_none(),
    });
    let connection = exchange.connection.as_deref();
    if let Some(fingerprint) = connection.and_then(|it| it.certificate) {
        client["altId"] = json!(format!("sha256:{fingerprint}"));
    }
    if let Some(address) = exchange.address {
        client["network"] = json!({ "address": address.ip().to_string(), "type": "2" });
    }
    if let Some(rule) = &exchange.rule {
        client["policy"] = json!([format!("urn:phigate:rule:{rule}")]);
    }
    let host = connection.map(|it| it.sni.as_ref().unwrap_or(&it.listener));
    let mut server = json!({
        "type": concept(pattern.server),
        "who": match &exchange.upstream {
            Some(name) => json!({ "identifier": { "system": "urn:phigate:upstream", "value": name } }),
            None => json!({ "display": "no upstream" }),
        },
        "requestor": false,
    });
    if let Some(host) = host {
        server["network"] = json!({ "address": host, "type": "1" });
    }
    let mut agents = vec![client, server];
    if let Some(user) = &exchange.user {
        agents.push(json!({
            "type": concept(user_role(pattern)),
            "who": { "display": user },
            "name": user,
            "requestor": true,
        }));
    }
    Value::Array(agents)
}

/// `agent[user].type`: who receives, or who tells (value set `DataSources`).
fn user_role(pattern: &Pattern) -> Role {
    const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
    match pattern.action {
        "R" | "E" => Role(PARTICIPATION, "IRCP", "information recipient"),
        _ => Role(PARTICIPATION, "AUT", "author (originator)"),
    }
}

fn entities(exchange: &Exchange, pattern: &Pattern, patient: &[Pseudonym]) -> Value {
    let object = coding(ENTITY_TYPE, "2", "System Object");
    let of = exchange.resource.as_deref();
    let mut entities = vec![json!({
        "type": { "system": BALP_ENTITY_TYPE, "code": "XrequestId" },
        "what": { "identifier": { "value": exchange.request_id } },
    })];
    entities.push(match pattern.entity {
        Entity::Query => json!({
            "type": object,
            "role": coding(OBJECT_ROLE, "24", "Query"),
            "description": format!("{} of {}", exchange.interaction.as_deref().unwrap_or("search"), of.unwrap_or("all types")),
            "_query": { "extension": [{ "url": ABSENT, "valueCode": "masked" }] },
        }),
        Entity::Data => json!({
            "type": object,
            "role": coding(OBJECT_ROLE, "4", "Domain Resource"),
            "what": what(exchange),
        }),
    });
    if let [name, others @ ..] = patient {
        let mut entity = json!({
            "type": coding(ENTITY_TYPE, "1", "Person"),
            "role": coding(OBJECT_ROLE, "1", "Patient"),
            "what": {
                "type": "Patient",
                "identifier": { "system": "urn:phigate:pseudonym", "value": name },
            },
        });
        if !others.is_empty() {
            let alias = |name| json!({ "type": "alias", "valueString": name });
            entity["detail"] = others.iter().map(alias).collect();
        }
        entities.push(entity);
    }
    Value::Array(entities)
}

/// The resource: its type is on record, its id is not.
fn what(exchange: &Exchange) -> Value {
    match (&exchange.resource, &exchange.route) {
        (Some(resource), _) => {
            json!({ "type": resource, "display": format!("{resource}, its id is not on record") })
        }
        (None, Some(route)) => json!({ "display": format!("route {route}") }),
        (None, None) => json!({ "display": "no route" }),
    }
}

fn coding(system: &str, code: &str, display: &str) -> Value {
    json!({ "system": system, "code": code, "display": display })
}

fn concept(Role(system, code, display): Role) -> Value {
    json!({ "coding": [coding(system, code, display)] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Code, Unknown};
    use crate::exchange::{Stage, State};
    use crate::export::testing;

    /// What a profile of BALP fixes. Source: IHE/ITI.BasicAudit, `input/fsh/Patient{Create,Read,
    /// Update,Delete,Query}.fsh`; both variants of a profile are the same in this.
    struct Row {
        interactions: &'static [&'static str],
        profile: &'static str,
        /// `action`, fixed.
        action: &'static str,
        /// `agent[client].type` and `agent[server].type`, fixed.
        client: &'static str,
        server: &'static str,
        /// `entity[data].role` (value set RestObjectRoles) or `entity[query].role`, fixed.
        role: &'static str,
    }

    #[rustfmt::skip]
    const PROFILES: &[Row] = &[
        Row { interactions: &["create"], profile: "Create", action: "C", client: "110153", server: "110152", role: "4" },
        Row { interactions: &["read", "vread"], profile: "Read", action: "R", client: "110152", server: "110153", role: "4" },
        Row { interactions: &["update", "patch"], profile: "Update", action: "U", client: "110153", server: "110152", role: "4" },
        Row { interactions: &["delete"], profile: "Delete", action: "D", client: "110150", server: "custodian", role: "4" },
        Row { interactions: &["search-type", "search-system"], profile: "Query", action: "E", client: "110153", server: "110152", role: "24" },
    ];

    fn events(exchange: &Exchange) -> Vec<Value> {
        let mut out = Vec::new();
        write(exchange, &testing::source(), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with('\n'));
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn of(interaction: Option<&str>) -> Exchange {
        Exchange {
            interaction: interaction.map(str::to_owned),
            ..testing::exchange()
        }
    }

    /// Elements of a list whose `type` is this code, in a coding or in a concept.
    fn slice<'a>(event: &'a Value, list: &str, code: &str) -> Vec<&'a Value> {
        let items = event[list].as_array().unwrap();
        let has = |item: &&Value| {
            item["type"]["code"] == code || item["type"]["coding"][0]["code"] == code
        };
        items.iter().filter(has).collect()
    }

    /// The least that FHIR R4 asks of an AuditEvent: each element with a cardinality from 1, and its
    /// primitive types.
    fn assert_is_audit_event(event: &Value) {
        assert_eq!(event["resourceType"], "AuditEvent");
        let id = event["id"].as_str().unwrap();
        // R4 datatypes, id.
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        assert!((1..=64).contains(&id.len()) && id.chars().all(fits), "{id}");
        assert!(event["type"]["system"].is_string() && event["type"]["code"].is_string());
        let recorded = event["recorded"].as_str().unwrap();
        assert!(recorded.ends_with('Z') && recorded.parse::<jiff::Timestamp>().is_ok());
        assert!(event["source"]["observer"].is_object());
        let agents = event["agent"].as_array().unwrap();
        assert!(!agents.is_empty());
        let requestors = agents
            .iter()
            .filter(|it| it["requestor"].as_bool().unwrap());
        assert_eq!(requestors.count(), 1, "one of them asked for it");
        for network in agents
            .iter()
            .map(|it| &it["network"])
            .filter(|it| !it.is_null())
        {
            assert!(network["address"].is_string());
            // Code system network-type.
            assert!(["1", "2", "3", "4", "5"].contains(&network["type"].as_str().unwrap()));
        }
        for entity in event["entity"].as_array().unwrap() {
            // Invariant sev-1: not both a name and a query.
            assert!(entity["name"].is_null() || entity["query"].is_null());
            // A Reference has a reference, an identifier or a display.
            let what = &entity["what"];
            assert!(
                what.is_null() || what["identifier"].is_object() || what["display"].is_string()
            );
            assert!(what["reference"].is_null(), "never an id of a server");
        }
    }

    #[test]
    fn each_interaction_meets_the_profile_of_its_name() {
        for row in PROFILES {
            for interaction in row.interactions {
                for event in events(&of(Some(interaction))) {
                    assert_is_audit_event(&event);
                    assert_meets(&event, row, interaction, "Patient");
                    let patients = slice(&event, "entity", "1");
                    assert_eq!(patients.len(), 1, "entity[patient] 1..1");
                    assert_eq!(patients[0]["role"]["code"], "1");
                    let what = &patients[0]["what"];
                    assert_eq!(what["type"], "Patient", "only Reference(Patient)");
                    assert_eq!(what["identifier"]["system"], "urn:phigate:pseudonym");
                }
                let mut nobody = of(Some(interaction));
                nobody.forget_patients();
                let events = events(&nobody);
                assert_eq!(events.len(), 1);
                assert_is_audit_event(&events[0]);
                assert_meets(&events[0], row, interaction, "");
                assert!(slice(&events[0], "entity", "1").is_empty());
            }
        }
    }

    #[track_caller]
    fn assert_meets(event: &Value, row: &Row, interaction: &str, prefix: &str) {
        let profile = format!("{PROFILE}{prefix}{}", row.profile);
        assert_eq!(event["meta"]["profile"], json!([profile]));
        assert_eq!(event["type"]["code"], "rest");
        let subtypes = event["subtype"].as_array().unwrap();
        assert_eq!(subtypes.len(), 1);
        assert_eq!(
            subtypes[0]["system"],
            "http://hl7.org/fhir/restful-interaction"
        );
        assert_eq!(subtypes[0]["code"], interaction);
        assert_eq!(event["action"], row.action);
        assert_eq!(event["outcome"], "0");
        for code in [row.client, row.server] {
            let agents = slice(event, "agent", code);
            assert_eq!(agents.len(), 1, "{code} 1..1");
            assert!(agents[0]["who"].is_object() && agents[0]["network"].is_object());
            assert!(agents[0]["media"].is_null());
        }
        let client = slice(event, "agent", row.client)[0];
        assert_eq!(client["network"]["address"], "192.0.2.7");
        assert_eq!(client["who"]["identifier"]["value"], "urn:example:pump-1");
        let transactions = slice(event, "entity", "XrequestId");
        assert_eq!(transactions.len(), 1, "entity[transaction] 0..1");
        assert_eq!(
            transactions[0]["what"]["identifier"]["value"],
            "1".repeat(32)
        );
        let objects = slice(event, "entity", "2");
        assert_eq!(objects.len(), 1, "entity[data] or entity[query] 1..1");
        assert_eq!(objects[0]["role"]["code"], row.role);
        if row.profile == "Query" {
            // query 1..1, here with a reason for its absence; what, lifecycle, detail 0..0.
            assert_eq!(objects[0]["_query"]["extension"][0]["valueCode"], "masked");
            for absent in ["what", "lifecycle", "detail"] {
                assert!(objects[0][absent].is_null());
            }
        } else {
            assert_eq!(objects[0]["what"]["type"], "Observation", "what 1..1");
        }
    }

    #[test]
    fn there_is_one_event_for_each_patient_and_its_id_is_its_own() {
        let events = events(&of(Some("search-type")));
        assert_eq!(events.len(), 2);
        assert_ne!(events[0]["id"], events[1]["id"]);
        let whom =
            |event: &Value| slice(event, "entity", "1")[0]["what"]["identifier"]["value"].clone();
        assert_ne!(whom(&events[0]), whom(&events[1]));
        let aliases = events
            .iter()
            .map(|event| slice(event, "entity", "1")[0]["detail"].clone());
        let alias = json!([{ "type": "alias", "valueString": testing::patient(3) }]);
        assert_eq!(aliases.collect::<Vec<_>>(), [alias, Value::Null]);
    }

    #[test]
    fn no_profile_is_claimed_of_what_does_not_meet_it() {
        let nobody = || Exchange {
            patients: [].into(),
            linked: Vec::new(),
            ..of(Some("read"))
        };
        for (why, exchange) in [
            (
                "a refusal",
                Exchange {
                    stage: Stage::Refused,
                    status: Some(403),
                    code: Some(Code::NotPermitted),
                    ..of(Some("read"))
                },
            ),
            (
                "an error",
                Exchange {
                    status: Some(404),
                    ..of(Some("read"))
                },
            ),
            (
                "broken off",
                Exchange {
                    stage: Stage::Completed,
                    code: Some(Code::ClientGone),
                    ..of(Some("read"))
                },
            ),
            (
                "no outcome",
                Exchange {
                    stage: Stage::Intended,
                    status: None,
                    ..of(Some("create"))
                },
            ),
            (
                "no address",
                Exchange {
                    address: None,
                    connection: None,
                    ..of(Some("read"))
                },
            ),
            (
                "patients unknown",
                Exchange {
                    subjects: Some(Known::Not(Unknown::Xml)),
                    ..nobody()
                },
            ),
            (
                "nobody looked",
                Exchange {
                    subjects: None,
                    ..nobody()
                },
            ),
            ("an operation", of(Some("operation"))),
            ("a history", of(Some("history-instance"))),
            ("no FHIR", of(None)),
        ] {
            for event in events(&exchange) {
                assert_is_audit_event(&event);
                assert!(event["meta"].is_null(), "{why}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_said() {
        let mut exchange = of(Some("read"));
        exchange.subjects = Some(Known::Not(Unknown::Encoded));
        exchange.state = State::Open;
        let event = &events(&exchange)[0];
        assert_eq!(
            event["outcomeDesc"],
            "released; patients not all known: encoded; open"
        );
    }

    #[test]
    fn a_person_is_the_one_who_asked() {
        for (interaction, role) in [
            ("read", "IRCP"),
            ("search-type", "IRCP"),
            ("update", "AUT"),
            ("delete", "AUT"),
        ] {
            let mut exchange = of(Some(interaction));
            exchange.user = Some("john".to_owned());
            let event = &events(&exchange)[0];
            assert_is_audit_event(event);
            let users = slice(event, "agent", role);
            assert_eq!(users.len(), 1);
            assert_eq!(users[0]["requestor"], true);
            assert!(users[0]["network"].is_null(), "network 0..0");
        }
    }
}
