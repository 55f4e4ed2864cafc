//! Which entries are asked for: by patient, client, route, outcome, type and time.
//!
//! Conditions of one kind are alternatives; those of different kinds must all hold. A patient is known
//! by several names: [`Names`] holds those that are asked for and takes in what records say of links
//! (decision 013). Pure: keys and times come as arguments. Not here: walking the log (`opened`), and how
//! conditions are typed (`cli`).

mod names;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::event::{Code, Entry, Event, Id, Pseudonym, Subjects, Time, kind_name, kind_names};
use crate::seal::pseudonym::TenantKey;

pub use names::Names;

/// What must hold of an entry. An empty one is met by every entry.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The record names one of these.
    pub patients: Option<Names>,
    /// The record names one of these clients, as `trust:name` or by the name alone.
    pub clients: Vec<String>,
    /// The request was on one of these routes.
    pub routes: Vec<String>,
    /// It came to one of these.
    pub outcomes: Vec<Outcome>,
    /// It is of one of these types.
    pub kinds: Vec<RecordType>,
    /// It is not older.
    pub since: Option<Time>,
    /// It is older.
    pub until: Option<Time>,
}

impl Filter {
    /// Whether all conditions hold.
    #[must_use]
    pub fn admits(&self, entry: &Entry<'_>) -> bool {
        let facts = Facts::of(&entry.event);
        let kind = entry.event.kind();
        let one = |list: &[String], value: Option<&str>, is: fn(&str, &str) -> bool| {
            list.is_empty() || value.is_some_and(|value| list.iter().any(|asked| is(asked, value)))
        };
        self.is_within(entry.time)
            && (self.kinds.is_empty() || self.kinds.iter().any(|asked| asked.name == kind))
            && one(&self.clients, facts.client, is_client)
            && one(&self.routes, facts.route, |asked, route| asked == route)
            && (self.outcomes.is_empty() || self.outcomes.iter().any(|asked| asked.is(&facts)))
            && self.patients.as_ref().is_none_or(|names| {
                facts
                    .subjects
                    .is_some_and(|subjects| names.touches(subjects))
            })
    }

    /// Whether they can hold of an entry that does not open, of which only this is known.
    #[must_use]
    pub fn may_admit(&self, kind: u8, time: Time) -> bool {
        let is_asked = |asked: &RecordType| Some(asked.name) == kind_name(kind);
        self.is_within(time) && (self.kinds.is_empty() || self.kinds.iter().any(is_asked))
    }

    /// By what it asks, in the words of the flags; never for which.
    #[must_use]
    pub fn asked(&self) -> Vec<&'static str> {
        let kinds = [
            (self.patients.is_some(), "patient"),
            (!self.clients.is_empty(), "client"),
            (!self.routes.is_empty(), "route"),
            (!self.outcomes.is_empty(), "outcome"),
            (!self.kinds.is_empty(), "type"),
        ];
        let asked = kinds.into_iter().filter(|(is_asked, _)| *is_asked);
        asked.map(|(_, name)| name).collect()
    }

    /// Whether a time is within the window.
    #[must_use]
    pub fn is_within(&self, time: Time) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }
}

/// The name of a client: with its trust set, or without.
fn is_client(asked: &str, client: &str) -> bool {
    asked == client
        || client
            .split_once(':')
            .is_some_and(|(_, name)| name == asked)
}

/// What can be asked of a record, wherever its event keeps it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// Joins the records of a request.
    pub request: Option<Id>,
    /// Who asked, as `trust:name`.
    pub client: Option<&'a str>,
    /// On which route.
    pub route: Option<&'a str>,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Why it ended or was refused.
    pub code: Option<Code>,
    /// In one word, what became of it.
    pub outcome: Option<&'static str>,
    /// Whom it concerns.
    pub subjects: Option<&'a Subjects>,
}

impl<'a> Facts<'a> {
    /// Those of an event.
    #[must_use]
    pub fn of(event: &'a Event<'a>) -> Facts<'a> {
        let mut facts = Facts {
            outcome: event.outcome(),
            ..Facts::default()
        };
        if let Some(request) = event.request() {
            facts.request = Some(request.request_id);
            facts.client = request.client;
            facts.route = request.route;
            facts.subjects = request.subjects.as_ref();
        }
        match event {
            Event::Handshake(event) => facts.client = event.client,
            Event::HandshakeRefused(event) => facts.code = Some(event.code),
            Event::Close(event) => facts.code = Some(event.code),
            Event::Noise(event) => facts.code = Some(event.code),
            Event::Release(event) => facts.status = Some(event.status),
            Event::Completion(event) => {
                (facts.status, facts.code) = (event.status, Some(event.code));
            }
            Event::Refusal(event) => {
                (facts.status, facts.code) = (Some(event.status), Some(event.code));
            }
            // Nobody asked for what is left: it is of the house, or says no more of a request.
            _ => {}
        }
        facts
    }
}

/// What a request came to: a status, a class of them, a code, or a record's word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// This status.
    Status(u16),
    /// A status of this class: 4 for 400 to 499.
    Class(u16),
    /// This code.
    Code(Code),
    /// This word in `outcome`.
    Word(&'static str),
}

/// Words of [`Event::outcome`]; `complete` is also a code and means the same.
const WORDS: &[&str] = &[
    "established",
    "refused",
    "intended",
    "released",
    "complete",
    "broken_off",
    "closed",
    "accepted",
];

impl Outcome {
    fn is(self, facts: &Facts<'_>) -> bool {
        match self {
            Outcome::Status(status) => facts.status == Some(status),
            Outcome::Class(class) => facts.status.is_some_and(|status| status / 100 == class),
            Outcome::Code(code) => facts.code == Some(code),
            Outcome::Word(word) => facts.outcome == Some(word),
        }
    }
}

impl FromStr for Outcome {
    type Err = SelectError;

    fn from_str(text: &str) -> Result<Outcome, SelectError> {
        if let Some(word) = WORDS.iter().find(|word| **word == text) {
            return Ok(Outcome::Word(word));
        }
        if let Some(code) = Code::ALL.iter().find(|code| code.name() == text) {
            return Ok(Outcome::Code(*code));
        }
        let class = text.strip_suffix("xx").and_then(|class| class.parse().ok());
        match (class, text.parse()) {
            (Some(class @ 1..=5), _) => Ok(Outcome::Class(class)),
            (None, Ok(status @ 100..=599)) => Ok(Outcome::Status(status)),
            _ => Err(SelectError::Outcome),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Status(status) => write!(f, "{status}"),
            Outcome::Class(class) => write!(f, "{class}xx"),
            Outcome::Code(code) => code.fmt(f),
            Outcome::Word(word) => f.write_str(word),
        }
    }
}

/// The type of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordType {
    name: &'static str,
}

impl FromStr for RecordType {
    type Err = SelectError;

    fn from_str(text: &str) -> Result<RecordType, SelectError> {
        let name = kind_names().find(|name| *name == text);
        name.map(|name| RecordType { name })
            .ok_or(SelectError::Type)
    }
}

/// Where a window of time begins: RFC 3339, or a date, whose first moment it is (UTC).
///
/// # Errors
/// [`SelectError::Time`].
pub fn since(text: &str) -> Result<Time, SelectError> {
    match date(text) {
        Some(date) => midnight(date),
        None => timestamp(text),
    }
}

/// Where a window of time ends: RFC 3339, which is not in it, or a date, the whole of which is (UTC).
///
/// # Errors
/// [`SelectError::Time`].
pub fn until(text: &str) -> Result<Time, SelectError> {
    match date(text) {
        Some(date) => midnight(date.tomorrow().map_err(|_| SelectError::Time)?),
        None => timestamp(text),
    }
}

fn date(text: &str) -> Option<Date> {
    // The library takes more forms of a date than one.
    (text.len() == "2026-11-22".len())
        .then(|| text.parse().ok())
        .flatten()
}

fn midnight(date: Date) -> Result<Time, SelectError> {
    let zoned = date.to_zoned(TimeZone::UTC);
    from_timestamp(zoned.map_err(|_| SelectError::Time)?.timestamp())
}

fn timestamp(text: &str) -> Result<Time, SelectError> {
    from_timestamp(text.parse().map_err(|_| SelectError::Time)?)
}

fn from_timestamp(timestamp: Timestamp) -> Result<Time, SelectError> {
    let nanoseconds = u64::try_from(timestamp.as_nanosecond());
    nanoseconds.map(Time).map_err(|_| SelectError::Time)
}

/// A patient as somebody asks for one. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Asked {
    /// By the pseudonym that records show.
    Pseudonym(Pseudonym),
    /// By an identifier, or the id on an upstream whose base is the system (decision 013).
    Identifier {
        /// Within what the value is unique.
        system: String,
        /// The value.
        value: String,
    },
}

impl Asked {
    /// The pseudonyms to look for. A system with a slash at its end is also looked for without: the
    /// base of an upstream is recorded so.
    ///
    /// # Errors
    /// [`SelectError::NoTenantKey`] when it takes the key to make one.
    pub fn pseudonyms(&self, key: Option<&TenantKey>) -> Result<Vec<Pseudonym>, SelectError> {
        match self {
            Asked::Pseudonym(pseudonym) => Ok(vec![*pseudonym]),
            Asked::Identifier { system, value } => {
                let key = key.ok_or(SelectError::NoTenantKey)?;
                let mut found = vec![key.pseudonym(system, value)];
                if let Some(base) = system.strip_suffix('/') {
                    found.push(key.pseudonym(base, value));
                }
                Ok(found)
            }
        }
    }
}

impl FromStr for Asked {
    type Err = SelectError;

    /// `SYSTEM|VALUE` (FHIR R4, search parameter type token), or 32 hex digits.
    fn from_str(text: &str) -> Result<Asked, SelectError> {
        if let Some((system, value)) = text.split_once('|') {
            return if value.is_empty() {
                Err(SelectError::Patient)
            } else {
                Ok(Asked::Identifier {
                    system: system.to_owned(),
                    value: value.to_owned(),
                })
            };
        }
        let digits = text.as_bytes();
        if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(SelectError::Patient);
        }
        let mut bytes = [0; 16];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            let pair = u8::from_str_radix(&text[at..at + 2], 16);
            *byte = pair.map_err(|_| SelectError::Patient)?;
        }
        Ok(Asked::Pseudonym(Pseudonym::new(bytes)))
    }
}

/// Says of which form it is, and not who.
impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Asked::Pseudonym(_) => "Pseudonym(..)",
            Asked::Identifier { .. } => "Identifier(..)",
        })
    }
}

/// Why a condition is not taken. None of these holds what was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectError {
    /// Neither a pseudonym nor an identifier.
    Patient,
    /// A patient's name, and no key to make a pseudonym of it.
    NoTenantKey,
    /// More names than a search is for.
    TooManyNames,
    /// No outcome.
    Outcome,
    /// No type of a record.
    Type,
    /// No time.
    Time,
    /// The window ends before it begins.
    Window,
}

impl SelectError {
    /// What can be done.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            SelectError::Patient => {
                "a patient is SYSTEM|VALUE, where SYSTEM is that of an identifier or the upstream's fhir_base, or 32 hex digits as `audit show` prints them"
            }
            SelectError::NoTenantKey => {
                "--keys names the file audit.keys of the log, or a file with its line PATIENTS+KEY+ alone; or ask by pseudonym"
            }
            SelectError::TooManyNames => {
                "ask for fewer at a time; --unlinked looks for these names alone"
            }
            SelectError::Outcome => {
                "an outcome is a status (404), a class (4xx), a code as in docs/codes.md, or a word: established, intended, released, refused, complete, broken_off, closed, accepted"
            }
            SelectError::Type => {
                "it is the field `type` of `audit show --json`, such as release, refusal, handshake"
            }
            SelectError::Time => {
                "a time is 2026-11-22T06:25:00Z, or with another offset (RFC 3339), or a date such as 2026-11-22"
            }
            SelectError::Window => "--since is earlier than --until",
        }
    }
}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SelectError::Patient => f.write_str("not a patient"),
            SelectError::NoTenantKey => {
                f.write_str("without the key that patients are named with no patient can be found")
            }
            SelectError::TooManyNames => write!(
                f,
                "these patients have more than {} names in the log",
                Names::MOST
            ),
            SelectError::Outcome => f.write_str("not an outcome"),
            SelectError::Type => f.write_str("not a type of a record"),
            SelectError::Time => f.write_str("not a time"),
            SelectError::Window => f.write_str("the window ends before it begins"),
        }
    }
}

impl std::error::Error for SelectError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Completion, Handshake, Hex16, Release, Request};
    use proptest::prelude::*;

    fn patient(number: u8) -> Pseudonym {
        Pseudonym::new([number; 16])
    }

    fn naming(patients: &[u8], links: &[(u16, u16)]) -> Subjects {
        let mut subjects = Subjects::new();
        for number in patients {
            subjects.add(patient(*number), Subjects::MOST);
        }
        for (one, other) in links {
            subjects.link(*one, *other);
        }
        subjects
    }

    fn request(client: Option<&'static str>, subjects: Option<Subjects>) -> Request<'static> {
        Request {
            request_id: Id::new([1; 16]),
            connection_id: Id::new([2; 16]),
            client,
            user: None,
            method: Some("GET"),
            route: Some("records"),
            rule: None,
            resource: None,
            interaction: None,
            subjects,
            target: None,
            integrity: None,
        }
    }

    fn release(client: Option<&'static str>, subjects: Option<Subjects>) -> Entry<'static> {
        Entry {
            time: Time(1_000),
            event: Event::Release(Release {
                request: request(client, subjects),
                status: 404,
                content_type: None,
                bytes: None,
                digest: None,
                upstream: "fhir",
                attempts: 1,
            }),
        }
    }

    #[test]
    fn conditions_of_one_kind_are_alternatives_and_of_different_kinds_must_all_hold() {
        let entry = release(Some("devices:urn:example:pump-1"), None);
        let mut filter = Filter::default();
        assert!(filter.admits(&entry));
        filter.outcomes = vec!["200".parse().unwrap(), "4xx".parse().unwrap()];
        assert!(filter.admits(&entry));
        filter.clients = vec!["nobody".to_owned(), "urn:example:pump-1".to_owned()];
        assert!(filter.admits(&entry));
        filter.clients = vec!["devices:urn:example:pump-1".to_owned()];
        assert!(filter.admits(&entry));
        filter.routes = vec!["other".to_owned()];
        assert!(!filter.admits(&entry));
        filter.routes.push("records".to_owned());
        filter.kinds = vec!["release".parse().unwrap()];
        assert!(filter.admits(&entry));
        filter.kinds = vec!["refusal".parse().unwrap()];
        assert!(!filter.admits(&entry) && !filter.may_admit(9, entry.time));
        assert!(filter.may_admit(11, entry.time));
    }

    #[test]
    fn an_outcome_is_a_status_a_class_a_code_or_a_word() {
        let ended = |code| Entry {
            time: Time(0),
            event: Event::Completion(Completion {
                request: request(None, None),
                status: Some(200),
                bytes: 0,
                code,
            }),
        };
        for (asked, code, holds) in [
            ("200", Code::Complete, true),
            ("2xx", Code::Complete, true),
            ("5xx", Code::Complete, false),
            ("complete", Code::Complete, true),
            ("client_gone", Code::ClientGone, true),
            ("broken_off", Code::ClientGone, true),
            ("complete", Code::ClientGone, false),
        ] {
            let filter = Filter {
                outcomes: vec![asked.parse().unwrap()],
                ..Filter::default()
            };
            assert_eq!(filter.admits(&ended(code)), holds, "{asked} {code}");
        }
        for wrong in ["", "xx", "6xx", "99", "600", "4XX", "gone", "-200"] {
            assert_eq!(
                wrong.parse::<Outcome>(),
                Err(SelectError::Outcome),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_connection_is_found_by_its_client_and_nothing_else_passes_for_it() {
        let handshake = Entry {
            time: Time(0),
            event: Event::Handshake(Handshake {
                connection_id: Id::new([2; 16]),
                listener: "devices",
                address: "192.0.2.1:1".parse().unwrap(),
                client: Some("devices:pump-1"),
                certificate: None,
                version: Hex16(0x0304),
                suite: Hex16(0x1301),
                group: None,
                alpn: None,
                sni: None,
                ja4: "",
            }),
        };
        let asked = |client: &str| Filter {
            clients: vec![client.to_owned()],
            ..Filter::default()
        };
        assert!(asked("pump-1").admits(&handshake));
        for other in ["pump", "pump-11", "devices", "others:pump-1", ""] {
            assert!(!asked(other).admits(&handshake), "{other}");
        }
    }

    #[test]
    fn a_date_is_a_whole_day_and_a_window_holds_its_beginning_alone() {
        let noon = since("2026-11-22T12:00:00+01:00").unwrap();
        assert_eq!(Ok(noon), until("2026-11-22T11:00:00Z"));
        let day = Filter {
            since: since("2026-11-22").ok(),
            until: until("2026-11-22").ok(),
            ..Filter::default()
        };
        assert!(day.is_within(noon) && day.is_within(since("2026-11-22T00:00:00Z").unwrap()));
        assert!(day.is_within(since("2026-11-22T23:59:59.999Z").unwrap()));
        assert!(!day.is_within(since("2026-11-23T00:00:00Z").unwrap()));
        assert!(!day.is_within(since("2026-11-21T23:59:59Z").unwrap()));
        for wrong in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-11-22T12:00:00",
            "1969-12-31",
            "20261122",
        ] {
            assert_eq!(since(wrong), Err(SelectError::Time), "{wrong}");
            assert_eq!(until(wrong).is_ok(), wrong == "1969-12-31", "{wrong}");
        }
    }

    #[test]
    fn a_patient_is_found_under_every_name_that_is_linked() {
        let mut names = Names::linked([patient(1)]).unwrap();
        let (far, near) = (naming(&[3, 4], &[(0, 1)]), naming(&[1, 3, 9], &[(1, 0)]));
        assert_eq!(names.take_in(&far), Ok(false), "not linked yet");
        assert_eq!(names.take_in(&near), Ok(true));
        assert_eq!(names.take_in(&far), Ok(true));
        assert_eq!(names.take_in(&far), Ok(false));
        let found: Vec<_> = names.iter().collect();
        assert_eq!(
            found,
            [1, 3, 4].map(patient),
            "whom a list names is not linked"
        );
        let filter = Filter {
            patients: Some(names),
            ..Filter::default()
        };
        assert!(filter.admits(&release(None, Some(naming(&[8, 4], &[])))));
        assert!(!filter.admits(&release(None, Some(naming(&[8, 9], &[])))));
        assert!(!filter.admits(&release(None, None)));
        let mut alone = Names::alone([patient(1)]).unwrap();
        assert_eq!(alone.take_in(&near), Ok(false));
    }

    #[test]
    fn links_without_an_end_are_refused() {
        let mut names = Names::linked([patient(0)]).unwrap();
        let name = |number: u16| {
            let mut bytes = [0; 16];
            bytes[..2].copy_from_slice(&number.to_be_bytes());
            Pseudonym::new(bytes)
        };
        let mut taken = Ok(true);
        for number in 0..2048 {
            taken = names.take_group(&[name(number), name(number + 1)]);
            if taken.is_err() {
                break;
            }
        }
        assert_eq!(taken, Err(SelectError::TooManyNames));
    }

    #[test]
    fn a_patient_is_asked_for_by_pseudonym_or_identifier_and_never_printed() {
        let hex = "ab".repeat(16);
        let asked: Asked = hex.to_uppercase().parse().unwrap();
        assert_eq!(asked.pseudonyms(None), Ok(vec![patient(0xab)]));
        let key = TenantKey::parse("0123456789abcdef".repeat(4).as_bytes()).unwrap();
        let asked: Asked = "https://fhir.example/fhir/|17".parse().unwrap();
        assert_eq!(asked.pseudonyms(None), Err(SelectError::NoTenantKey));
        let found = asked.pseudonyms(Some(&key)).unwrap();
        assert!(found.contains(&key.pseudonym("https://fhir.example/fhir", "17")));
        assert!(!format!("{asked:?}").contains("17"));
        assert!(
            "|17".parse::<Asked>().is_ok(),
            "an identifier without a system"
        );
        for wrong in ["", "17", "system|", &hex[1..], &"ä".repeat(16)] {
            assert_eq!(wrong.parse::<Asked>(), Err(SelectError::Patient));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = (text.parse::<Asked>(), text.parse::<Outcome>(), since(&text), until(&text));
        }

        /// In whichever order links are told, often enough, the names are the same.
        #[test]
        fn the_order_of_links_makes_no_difference(pairs in prop::collection::vec((0..20u8, 0..20u8), 0..30)) {
            let close = |pairs: &mut dyn Iterator<Item = &(u8, u8)>| {
                let pairs: Vec<_> = pairs.collect();
                let mut names = Names::linked([patient(0)]).unwrap();
                while pairs.iter().any(|(one, other)| {
                    names.take_group(&[patient(*one), patient(*other)]).unwrap()
                }) {}
                names
            };
            prop_assert_eq!(close(&mut pairs.iter()), close(&mut pairs.iter().rev()));
        }
    }
}
