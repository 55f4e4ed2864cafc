//! The log as audit messages of DICOM, which IHE ATNA sends by syslog.
//!
//! Standard: DICOM PS3.15 A.5.1 (schema), A.5.2 (fields), A.5.3 (events); IHE ITI-20 Record Audit Event.
//! Requests are told once for each patient: searches as 110112 Query, what else concerns a patient as
//! 110110 Patient Record, the rest as FHIR's `rest`. So are starts and stops (110100), reads of the log
//! (110101), and what a node has to alert of (110113): peers turned away, changes of what secures the gateway, its clock, times without a record.
//! Connections that were established and their ends are not told: their facts stand with each request.
//!
//! Not on record are the ids of resources and the text of queries; their places say so.

mod codes;

mod alert;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Source;
use super::syslog::{self, Severity};
use super::xml::{Element, LONGEST};
use crate::event::{Entry, Event, LogRead, Pseudonym, Time};
use crate::exchange::{Exchange, Outcome};
use alert::{Alert, alert_of};
use codes::{
    APPLICATION, APPLICATION_ACTIVITY, APPLICATION_START, APPLICATION_STOP, AUDIT_LOG_USED, Code,
    DESTINATION, INTERACTION, PATIENT_NUMBER, PATIENT_RECORD, QUERY, REQUEST_ID, REST,
    SECURITY_ALERT, SOURCE, URI,
};

/// Adds the messages of a request, one for each patient, one where there is none.
pub(super) fn write(exchange: &Exchange, source: &Source, out: &mut Vec<u8>) {
    let severity = match exchange.outcome() {
        Outcome::Success | Outcome::Rejected => Severity::Notice,
        Outcome::Refused | Outcome::Failed | Outcome::BrokenOff | Outcome::Unknown => {
            Severity::Warning
        }
    };
    let mut patients = exchange.persons();
    if patients.is_empty() {
        patients.push(Vec::new());
    }
    for names in &patients {
        let message = request(exchange, source, names);
        frame(severity, exchange.ended, source, &message, out);
    }
}

/// Adds the message of an event that is no request, if it has one.
pub(super) fn write_event(sequence: u64, entry: &Entry<'_>, source: &Source, out: &mut Vec<u8>) {
    let told = match &entry.event {
        Event::Start(it) => application(APPLICATION_START, it.program, source),
        Event::Stop(_) => application(APPLICATION_STOP, "gateway", source),
        Event::LogRead(it) => log_used(it, source),
        event => match alert_of(event) {
            Some(alert) => alert.told(source),
            None => return,
        },
    };
    let (kind, outcome, children) = (told.kind, told.outcome, told.children);
    let mut all = vec![identification(
        kind.0,
        kind.1,
        told.action,
        entry.time,
        outcome,
        &told.remark,
    )];
    all.extend(children);
    if let Some(subject) = all.last_mut().filter(|_| told.has_subject) {
        let detail = detail("sequence", &sequence.to_string());
        *subject = subject.clone().containing([detail]);
    }
    let severity = if outcome == "0" {
        Severity::Notice
    } else {
        Severity::Warning
    };
    let message = Element::new("AuditMessage").containing(all);
    frame(severity, entry.time, source, &message, out);
}

fn frame(severity: Severity, time: Time, source: &Source, message: &Element, out: &mut Vec<u8>) {
    let mut document = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    message.write(&mut document);
    syslog::frame(severity, time, source, &document, out);
}

fn request(exchange: &Exchange, source: &Source, patient: &[Pseudonym]) -> Element {
    let interaction = exchange.interaction.as_deref();
    let is_query = matches!(interaction, Some("search-type" | "search-system"));
    let event = match (is_query, patient) {
        (true, _) => QUERY,
        (false, [_, ..]) => PATIENT_RECORD,
        (false, []) => REST,
    };
    let kind = interaction.map(|code| Code(code, INTERACTION, code));
    let mut children = vec![identification(
        event,
        kind,
        action(exchange),
        exchange.began,
        exchange.outcome().indicator(),
        &exchange.remark(),
    )];
    children.extend(participants(exchange, source));
    children.push(reported_by(source));
    children.push(object(exchange, is_query));
    children.push(
        participant_object(
            "4",
            None,
            REQUEST_ID,
            &exchange.request_id.to_string(),
            "X-Request-Id",
        )
        .containing(details(exchange)),
    );
    if let [name, others @ ..] = patient {
        // HL7 CX: an id and who assigned it. It is the pseudonym of this log, and says so.
        let id = format!("{name}^^^&urn:phigate:pseudonym&URI");
        let aliases = others.iter().take(ALIASES);
        children.push(
            participant_object("1", Some("1"), PATIENT_NUMBER, &id, "pseudonym")
                .containing(aliases.map(|name| detail("alias", &name.to_string()))),
        );
    }
    Element::new("AuditMessage").containing(children)
}

/// Of one patient no more other names are told: a message has to stay one that receivers take.
const ALIASES: usize = 32;

/// `EventActionCode`.
fn action(exchange: &Exchange) -> &'static str {
    match exchange.interaction.as_deref() {
        Some("create") => "C",
        Some("update" | "patch") => "U",
        Some("delete") => "D",
        Some(
            "read" | "vread" | "history-instance" | "history-type" | "history-system"
            | "capabilities",
        ) => "R",
        // A query is executed (A.5.3.10), and so is what is no interaction.
        Some(_) | None => "E",
    }
}

fn participants(exchange: &Exchange, source: &Source) -> Vec<Element> {
    // What is read flows to the client; what is written, and the parameters of a query, from it.
    let (of_client, of_server) = match action(exchange) {
        "R" => (DESTINATION, SOURCE),
        _ => (SOURCE, DESTINATION),
    };
    let connection = exchange.connection.as_deref();
    let address = exchange.address.map(|it| it.ip().to_string());
    let name = exchange.client.as_ref().or(address.as_ref());
    let mut client = Element::new("ActiveParticipant")
        .with("UserID", name.map_or("unknown", String::as_str))
        .with("UserIsRequestor", (exchange.user.is_none()).to_string());
    if let Some(certificate) = connection.and_then(|it| it.certificate) {
        client = client.with("AlternativeUserID", format!("sha256:{certificate}"));
    }
    if let Some(address) = address {
        client = at(client, &address, "2");
    }
    let upstream = exchange.upstream.as_ref().unwrap_or(&source.log);
    let mut server = Element::new("ActiveParticipant")
        .with("UserID", upstream)
        .with("UserIsRequestor", "false");
    if let Some(host) = connection.and_then(|it| it.sni.as_ref()) {
        server = at(server, host, "1");
    }
    let mut all = vec![
        client.containing([coded("RoleIDCode", of_client)]),
        server.containing([coded("RoleIDCode", of_server)]),
    ];
    if let Some(user) = &exchange.user {
        let person = Element::new("ActiveParticipant");
        all.push(person.with("UserID", user).with("UserIsRequestor", "true"));
    }
    all
}

/// What was asked for: a query (A.5.3.10), or a resource of a type.
fn object(exchange: &Exchange, is_query: bool) -> Element {
    let id = match (&exchange.resource, &exchange.route) {
        (Some(resource), _) => format!("http://hl7.org/fhir/StructureDefinition/{resource}"),
        (None, Some(route)) => format!("urn:phigate:route:{route}"),
        (None, None) => "urn:phigate:route".to_owned(),
    };
    let (role, name) = if is_query {
        ("24", "the query is not on record")
    } else {
        ("4", "the id is not on record")
    };
    participant_object("2", Some(role), URI, &id, name)
}

/// What the schema has no place for.
fn details(exchange: &Exchange) -> Vec<Element> {
    let shown = |value: Option<&dyn ToString>| value.map(ToString::to_string);
    let all = [
        ("sequence", Some(exchange.first.to_string())),
        ("connection", Some(exchange.connection_id.to_string())),
        ("method", exchange.method.clone()),
        ("route", exchange.route.clone()),
        ("rule", exchange.rule.clone()),
        ("status", shown(exchange.status.as_ref().map(|it| it as _))),
        ("bytes", shown(exchange.bytes.as_ref().map(|it| it as _))),
        ("detail", exchange.detail.clone()),
    ];
    let known = all.into_iter();
    known
        .filter_map(|(name, value)| Some(detail(name, &value?)))
        .collect()
}

/// An event that is no request, on its way into a message.
struct Told {
    kind: (Code<'static>, Option<Code<'static>>),
    action: &'static str,
    outcome: &'static str,
    remark: String,
    children: Vec<Element>,
    /// Whether the last of them is the subject of an alert.
    has_subject: bool,
}

/// A.5.3.1.
fn application(kind: Code<'static>, program: &str, source: &Source) -> Told {
    let process = source
        .process
        .map_or(program.to_owned(), |id| id.to_string());
    let started = Element::new("ActiveParticipant")
        .with("UserID", process)
        .with("UserName", format!("{program} {}", source.version))
        .with("UserIsRequestor", "false")
        .containing([coded("RoleIDCode", APPLICATION)]);
    Told {
        kind: (APPLICATION_ACTIVITY, Some(kind)),
        action: "E",
        outcome: "0",
        remark: String::new(),
        children: vec![started, reported_by(source)],
        has_subject: false,
    }
}

/// A.5.3.2: who used the log, and which one.
fn log_used(read: &LogRead<'_>, source: &Source) -> Told {
    let user = read.login_uid.unwrap_or(read.uid);
    let reader = Element::new("ActiveParticipant")
        .with("UserID", format!("uid {user}"))
        .with("AlternativeUserID", format!("uid {}", read.uid))
        .with("UserIsRequestor", "true");
    let log = format!("urn:phigate:log:{}", source.log);
    let asked = [
        ("verb", Some(read.verb.to_owned())),
        ("filters", Some(read.filters.join(" "))),
        ("since", read.since.map(|it| it.to_string())),
        ("until", read.until.map(|it| it.to_string())),
    ];
    let asked = asked.into_iter();
    let details = asked.filter_map(|(name, value)| Some(detail(name, &value?)));
    let object = participant_object("2", Some("13"), URI, &log, "Security Audit Log");
    Told {
        kind: (AUDIT_LOG_USED, None),
        action: "R",
        outcome: "0",
        remark: String::new(),
        children: vec![reader, reported_by(source), object.containing(details)],
        has_subject: true,
    }
}

/// A.5.3.11.
impl Alert {
    fn told(self, source: &Source) -> Told {
        let mut children = vec![
            Element::new("ActiveParticipant")
                .with("UserID", &source.log)
                .with("UserIsRequestor", "false"),
        ];
        if let Some(peer) = self.peer {
            let address = peer.ip().to_string();
            let performing = Element::new("ActiveParticipant")
                .with("UserID", &address)
                .with("UserIsRequestor", "false");
            children.push(at(performing, &address, "2"));
        }
        children.push(reported_by(source));
        let (kind, id) = &self.subject;
        children.push(
            participant_object("2", Some("13"), *kind, id, self.kind.2)
                .containing([detail("Alert Description", &self.description)]),
        );
        Told {
            kind: (SECURITY_ALERT, Some(self.kind)),
            action: "E",
            outcome: self.outcome,
            remark: self.description,
            children,
            has_subject: true,
        }
    }
}

/// `EventIdentification`.
fn identification(
    id: Code<'_>,
    kind: Option<Code<'_>>,
    action: &str,
    time: Time,
    outcome: &str,
    remark: &str,
) -> Element {
    let kind = kind.map(|kind| coded("EventTypeCode", kind));
    let remark =
        (!remark.is_empty()).then(|| Element::new("EventOutcomeDescription").saying(remark));
    Element::new("EventIdentification")
        .with("EventActionCode", action)
        .with("EventDateTime", time.to_string())
        .with("EventOutcomeIndicator", outcome)
        .containing([coded("EventID", id)])
        .containing(kind)
        .containing(remark)
}

/// `AuditSourceIdentification`: 3 is a web server.
fn reported_by(source: &Source) -> Element {
    Element::new("AuditSourceIdentification")
        .with("AuditSourceID", &source.log)
        .containing([Element::new("AuditSourceTypeCode").with("csd-code", "3")])
}

/// `ParticipantObjectIdentification`.
fn participant_object(
    kind: &str,
    role: Option<&str>,
    id_kind: Code<'_>,
    id: &str,
    name: &str,
) -> Element {
    let mut object = Element::new("ParticipantObjectIdentification")
        .with("ParticipantObjectID", id)
        .with("ParticipantObjectTypeCode", kind);
    if let Some(role) = role {
        object = object.with("ParticipantObjectTypeCodeRole", role);
    }
    object.containing([
        coded("ParticipantObjectIDTypeCode", id_kind),
        Element::new("ParticipantObjectName").saying(name),
    ])
}

fn detail(name: &str, value: &str) -> Element {
    // As much as is not cut behind it, where it would be no base64 any more.
    let short = &value[..value.floor_char_boundary(LONGEST / 4 * 3)];
    Element::new("ParticipantObjectDetail")
        .with("type", name)
        .with("value", BASE64.encode(short))
}

/// `NetworkAccessPointTypeCode`: 1 is a name, 2 an address.
fn at(participant: Element, id: &str, kind: &str) -> Element {
    participant
        .with("NetworkAccessPointID", id)
        .with("NetworkAccessPointTypeCode", kind)
}

fn coded(name: &'static str, Code(code, system, meaning): Code<'_>) -> Element {
    Element::new(name)
        .with("csd-code", code)
        .with("codeSystemName", system)
        .with("originalText", meaning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        Certificate, Clock, Close, Code as Cause, Configuration, Decision, Digest, EpochKey,
        HandshakeRefused, Id, Interrupted, Noise, Recovered, Revocation, SigningKey, Start, Stop,
    };
    use crate::exchange::Stage;
    use crate::export::testing;
    use crate::export::xml::reading::{self, Node};

    /// What the schema says of an element. Source: DICOM PS3.15 A.5.1.1, in the order of the schema.
    struct Rule {
        element: &'static str,
        required: &'static [&'static str],
        optional: &'static [&'static str],
        /// Children, each with the least and the most there may be.
        children: &'static [(&'static str, usize, usize)],
    }

    const MANY: usize = usize::MAX;
    const CODED: &[&str] = &["csd-code", "codeSystemName", "originalText"];

    #[rustfmt::skip]
    const SCHEMA: &[Rule] = &[
        Rule { element: "AuditMessage", required: &[], optional: &[], children: &[("EventIdentification", 1, 1), ("ActiveParticipant", 1, MANY), ("AuditSourceIdentification", 1, 1), ("ParticipantObjectIdentification", 0, MANY)] },
        Rule { element: "EventIdentification", required: &["EventDateTime", "EventOutcomeIndicator"], optional: &["EventActionCode"], children: &[("EventID", 1, 1), ("EventTypeCode", 0, MANY), ("EventOutcomeDescription", 0, 1)] },
        Rule { element: "EventID", required: CODED, optional: &["displayName"], children: &[] },
        Rule { element: "EventTypeCode", required: CODED, optional: &["displayName"], children: &[] },
        Rule { element: "EventOutcomeDescription", required: &[], optional: &[], children: &[] },
        Rule { element: "ActiveParticipant", required: &["UserID", "UserIsRequestor"], optional: &["AlternativeUserID", "UserName", "NetworkAccessPointID", "NetworkAccessPointTypeCode"], children: &[("RoleIDCode", 0, MANY)] },
        Rule { element: "RoleIDCode", required: CODED, optional: &["displayName"], children: &[] },
        Rule { element: "AuditSourceIdentification", required: &["AuditSourceID"], optional: &["AuditEnterpriseSiteID"], children: &[("AuditSourceTypeCode", 0, MANY)] },
        Rule { element: "AuditSourceTypeCode", required: &["csd-code"], optional: CODED, children: &[] },
        Rule { element: "ParticipantObjectIdentification", required: &["ParticipantObjectID"], optional: &["ParticipantObjectTypeCode", "ParticipantObjectTypeCodeRole", "ParticipantObjectDataLifeCycle", "ParticipantObjectSensitivity"], children: &[("ParticipantObjectIDTypeCode", 1, 1), ("ParticipantObjectName", 1, 1), ("ParticipantObjectDetail", 0, MANY)] },
        Rule { element: "ParticipantObjectIDTypeCode", required: CODED, optional: &["displayName"], children: &[] },
        Rule { element: "ParticipantObjectName", required: &[], optional: &[], children: &[] },
        Rule { element: "ParticipantObjectDetail", required: &["type", "value"], optional: &[], children: &[] },
    ];

    /// The values that an attribute may have (the same).
    #[rustfmt::skip]
    const VALUES: &[(&str, &[&str])] = &[
        ("EventActionCode", &["C", "R", "U", "D", "E"]),
        ("EventOutcomeIndicator", &["0", "4", "8", "12"]),
        ("UserIsRequestor", &["true", "false"]),
        ("NetworkAccessPointTypeCode", &["1", "2", "3", "4", "5"]),
        ("ParticipantObjectTypeCode", &["1", "2", "3", "4"]),
        ("ParticipantObjectTypeCodeRole", &["1", "3", "4", "13", "24"]),
    ];

    #[track_caller]
    fn assert_follows_schema(node: &Node) {
        let rule = SCHEMA.iter().find(|rule| rule.element == node.name);
        let rule = rule.unwrap_or_else(|| panic!("{} is unknown", node.name));
        for name in rule.required {
            let value = node.attribute(name);
            assert!(
                value.is_some_and(|it| !it.is_empty()),
                "{} of {}",
                name,
                node.name
            );
        }
        for (name, value) in &node.attributes {
            let known = rule.required.iter().chain(rule.optional);
            assert!(
                known.into_iter().any(|it| it == name),
                "{name} of {}",
                node.name
            );
            if let Some((_, values)) = VALUES.iter().find(|(it, _)| it == name) {
                assert!(values.contains(&value.as_str()), "{name}={value}");
            }
        }
        let mut children = node.children.as_slice();
        for (name, least, most) in rule.children {
            let count = children.iter().take_while(|it| it.name == *name).count();
            assert!(
                (*least..=*most).contains(&count),
                "{count} {name} in {}",
                node.name
            );
            children = &children[count..];
        }
        assert!(
            children.is_empty(),
            "{:?} in {}",
            children.first(),
            node.name
        );
        for child in &node.children {
            assert_follows_schema(child);
        }
        if node.name == "ParticipantObjectDetail" {
            BASE64.decode(node.attribute("value").unwrap()).unwrap();
        }
        if node.name == "EventIdentification" {
            let time = node.attribute("EventDateTime").unwrap();
            assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok());
        }
    }

    /// The messages in `out`, each judged by its frame and the schema.
    #[track_caller]
    fn messages(out: &[u8]) -> Vec<Node> {
        let mut rest = std::str::from_utf8(out).unwrap();
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let (length, behind) = rest.split_once(' ').unwrap();
            let (message, behind) = behind.split_at(length.parse().unwrap());
            rest = behind;
            // What a receiver of RFC 5425 4.3.1 should take.
            assert!(message.len() <= 8192, "{}", message.len());
            let (_, document) = message.split_once("?>").unwrap();
            let node = reading::read(document.trim_end());
            assert_follows_schema(&node);
            messages.push(node);
        }
        messages
    }

    fn of(interaction: Option<&str>) -> Exchange {
        Exchange {
            interaction: interaction.map(str::to_owned),
            ..testing::exchange()
        }
    }

    fn requests(exchange: &Exchange) -> Vec<Node> {
        let mut out = Vec::new();
        write(exchange, &testing::source(), &mut out);
        messages(&out)
    }

    fn event(event: Event<'_>) -> Vec<Node> {
        let time = Time(1_800_000_000_000_000_000);
        let mut out = Vec::new();
        write_event(77, &Entry { time, event }, &testing::source(), &mut out);
        messages(&out)
    }

    /// The codes of all elements of this name below a node.
    fn codes<'a>(node: &'a Node, name: &str) -> Vec<&'a str> {
        let found = node.all(name).into_iter();
        let mut codes: Vec<&str> = found.filter_map(|it| it.attribute("csd-code")).collect();
        for child in &node.children {
            codes.extend(self::codes(child, name));
        }
        codes
    }

    #[test]
    fn each_request_is_the_event_of_its_kind_for_each_patient() {
        // Interaction, EventID, EventActionCode, roles of client and server. Sources: PS3.15 A.5.3.9,
        // A.5.3.10; BALP 3:5.7.3 for the roles.
        for (interaction, id, action, client, server) in [
            (Some("search-type"), "110112", "E", "110153", "110152"),
            (Some("read"), "110110", "R", "110152", "110153"),
            (Some("create"), "110110", "C", "110153", "110152"),
            (Some("patch"), "110110", "U", "110153", "110152"),
            (Some("delete"), "110110", "D", "110153", "110152"),
            (Some("operation"), "110110", "E", "110153", "110152"),
        ] {
            let messages = requests(&of(interaction));
            assert_eq!(messages.len(), 2, "one for each patient");
            for message in &messages {
                assert_eq!(codes(message, "EventID"), [id]);
                assert_eq!(codes(message, "EventTypeCode"), interaction.as_slice());
                assert_eq!(codes(message, "RoleIDCode"), [client, server]);
                let event = message.all("EventIdentification")[0];
                assert_eq!(event.attribute("EventActionCode"), Some(action));
                assert_eq!(event.attribute("EventOutcomeIndicator"), Some("0"));
                let objects = message.all("ParticipantObjectIdentification");
                let patients: Vec<_> = objects
                    .iter()
                    .filter(|it| it.attribute("ParticipantObjectTypeCode") == Some("1"))
                    .collect();
                assert_eq!(patients.len(), 1);
                let id = patients[0].attribute("ParticipantObjectID").unwrap();
                assert!(id.ends_with("^^^&urn:phigate:pseudonym&URI"), "{id}");
            }
        }
        let mut nobody = of(None);
        nobody.forget_patients();
        assert_eq!(codes(&requests(&nobody)[0], "EventID"), ["rest"]);
    }

    #[test]
    fn whatever_a_peer_sends_the_message_follows_the_schema() {
        let mut exchange = testing::exchange();
        exchange.detail = Some("\u{1}<&\"\r\n\u{fffe}é".repeat(999));
        exchange.client = None;
        exchange.address = None;
        exchange.connection = None;
        exchange.upstream = None;
        exchange.user = Some("<john>".repeat(10_000));
        exchange.route = exchange.user.clone();
        for stage in [Stage::Intended, Stage::Refused, Stage::Completed] {
            exchange.stage = stage;
            exchange.code = Some(Cause::PathRefused);
            assert_eq!(requests(&exchange).len(), 2);
        }
    }

    #[test]
    fn starts_and_stops_are_application_activity() {
        let start = Event::Start(Start {
            program: "gateway",
            version: "1",
            pid: 4711,
        });
        for (told, kind) in [
            (start, "110120"),
            (Event::Stop(Stop { reason: "signal" }), "110121"),
        ] {
            let message = &event(told)[0];
            assert_eq!(codes(message, "EventID"), ["110100"]);
            assert_eq!(codes(message, "EventTypeCode"), [kind]);
            // A.5.3.1: role EV (110150, DCM, "Application"), the identity of the process.
            assert_eq!(codes(message, "RoleIDCode"), ["110150"]);
            assert_eq!(
                message.all("ActiveParticipant")[0].attribute("UserID"),
                Some("4711")
            );
        }
    }

    #[test]
    fn what_a_node_must_alert_of_is_a_security_alert() {
        let time = Time(1_800_000_000_000_000_000);
        let digest = Digest::new([7; 32]);
        let refused = HandshakeRefused {
            connection_id: Id::new([1; 16]),
            listener: "devices",
            address: "192.0.2.7:1".parse().unwrap(),
            code: Cause::CertificateRevoked,
            alert: None,
            offered: None,
            certificate: Some(Certificate {
                fingerprint: digest,
                serial: None,
                issuer: None,
                not_after: None,
            }),
            detail: None,
        };
        let noise = Noise {
            prefix: "192.0.2.0/24",
            code: Cause::NotTls,
            count: 9,
            first: time,
            last: time,
            sample: None,
        };
        let configuration = Configuration {
            digest,
            accepted: false,
            occasion: "reload",
            mistakes: 1,
            generation: 2,
        };
        let decision = Decision {
            control: "c",
            paragraph: "45 CFR 164.312(e)",
            key: "k",
            rationale: "<reasons>",
        };
        let revocation = Revocation {
            trust: "devices",
            lists: 1,
            serials: 1,
            next_update: None,
            generation: 1,
        };
        let epoch_key = EpochKey {
            epoch: "2026-11/standard",
            key: "k",
            record: digest,
            readers: vec![digest],
        };
        let recovered = Recovered {
            segment: 1,
            offset: 2,
            digest,
            bytes: 3,
        };
        let clock = |state, step_us| {
            Event::Clock(Clock {
                change: "lost",
                state,
                max_error_us: None,
                step_us,
                reason: None,
            })
        };
        // Event, EventTypeCode (CID 403), outcome.
        for (told, kind, outcome) in [
            (Event::HandshakeRefused(refused), "110126", "4"),
            (Event::Noise(noise), "110126", "4"),
            (Event::Configuration(configuration), "110129", "4"),
            (Event::Decision(decision), "110129", "0"),
            (Event::Revocation(revocation), "110129", "0"),
            (Event::EpochKey(epoch_key), "110129", "0"),
            (
                Event::SigningKey(SigningKey {
                    key: "clinic.example/audit+0+A",
                    rotation: None,
                }),
                "110129",
                "0",
            ),
            (clock("unsynchronized", None), "110129", "4"),
            (clock("unknown", None), "110129", "4"),
            (clock("synchronized", None), "110129", "0"),
            (clock("synchronized", Some(2_000_000)), "110129", "4"),
            (clock("synchronized", Some(-2_000_000)), "110129", "8"),
            (Event::Recovered(recovered), "110133", "8"),
            (
                Event::Interrupted(Interrupted {
                    since: time,
                    refused: 3,
                }),
                "110133",
                "8",
            ),
        ] {
            let messages = event(told);
            let message = &messages[0];
            assert_eq!(codes(message, "EventID"), ["110113"]);
            assert_eq!(codes(message, "EventTypeCode"), [kind]);
            let identification = message.all("EventIdentification")[0];
            // A.5.3.11: E, and M for the outcome; who performed asked for nothing.
            assert_eq!(identification.attribute("EventActionCode"), Some("E"));
            assert_eq!(
                identification.attribute("EventOutcomeIndicator"),
                Some(outcome)
            );
            for participant in message.all("ActiveParticipant") {
                assert_eq!(participant.attribute("UserIsRequestor"), Some("false"));
            }
            let subject = message.all("ParticipantObjectIdentification")[0];
            assert_eq!(subject.attribute("ParticipantObjectTypeCode"), Some("2"));
            assert_eq!(subject.all("ParticipantObjectDetail").len(), 2);
        }
    }

    #[test]
    fn a_read_of_the_log_is_audit_log_used() {
        let read = LogRead {
            uid: 0,
            login_uid: Some(1000),
            verb: "show",
            filters: vec!["patient"],
            patients: vec![testing::patient(1)],
            more: 0,
            since: None,
            until: None,
            served: true,
        };
        let messages = event(Event::LogRead(read));
        let message = &messages[0];
        assert_eq!(codes(message, "EventID"), ["110101"]);
        // A.5.3.2: read; the user; the log as a security resource that is called so.
        let identification = message.all("EventIdentification")[0];
        assert_eq!(identification.attribute("EventActionCode"), Some("R"));
        let user = message.all("ActiveParticipant")[0];
        assert_eq!(user.attribute("UserID"), Some("uid 1000"));
        let log = message.all("ParticipantObjectIdentification")[0];
        assert_eq!(log.attribute("ParticipantObjectTypeCode"), Some("2"));
        assert_eq!(log.attribute("ParticipantObjectTypeCodeRole"), Some("13"));
        assert_eq!(codes(log, "ParticipantObjectIDTypeCode"), ["12"]);
        assert_eq!(
            log.all("ParticipantObjectName")[0].text,
            "Security Audit Log"
        );
    }

    #[test]
    fn connections_that_were_established_are_no_messages() {
        let close = Close {
            connection_id: Id::new([1; 16]),
            code: Cause::Complete,
            requests: 1,
            milliseconds: 1,
        };
        assert!(event(Event::Close(close)).is_empty());
    }
}
