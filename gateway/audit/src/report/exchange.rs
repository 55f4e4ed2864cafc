//! One request, put together from its records: who, when, what, what it came to, how many bytes.

use serde::Serialize;

use crate::event::{Code, Entry, Event, Id, Request, Time, Unknown};

/// A request that concerns a patient. A field is what the records say last; nothing where none does.
#[derive(Debug, Clone, Serialize)]
pub struct Exchange {
    /// Joins its records.
    pub request_id: Id,
    /// When its first record was made.
    pub time: Time,
    /// Who asked, as `trust:name`.
    pub client: Option<String>,
    /// The person, when something that the gateway believes has named one.
    pub user: Option<String>,
    /// Method.
    pub method: Option<String>,
    /// Route.
    pub route: Option<String>,
    /// The rule that permitted it.
    pub rule: Option<String>,
    /// FHIR resource type.
    pub resource: Option<String>,
    /// FHIR interaction.
    pub interaction: Option<String>,
    /// Status of the answer.
    pub status: Option<u16>,
    /// What it came to: `refused`, `intended` when it is not known whether an answer left, `released`
    /// when one left as its release promised, `complete` or `broken_off` when it was streamed.
    pub outcome: &'static str,
    /// Why, where a record says so.
    pub code: Option<Code>,
    /// Bytes of the answer's content.
    pub bytes: Option<u64>,
    /// Whether no more is known than that there were not more bytes.
    pub at_most: bool,
    /// Why the request may concern others too; nothing when all are named.
    pub subjects_unknown: Option<&'static str>,
    /// Where its records stand in the log.
    pub records: Records,
}

/// Numbers of entries.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Records {
    /// The first of all.
    pub first: u64,
    /// `intent`.
    pub intent: Option<u64>,
    /// `release`.
    pub release: Option<u64>,
    /// How many `passage` there are.
    pub passages: u64,
    /// `completion`.
    pub completion: Option<u64>,
    /// `refusal`.
    pub refusal: Option<u64>,
}

impl Exchange {
    /// Of the first record of a request.
    #[must_use]
    pub fn begin(sequence: u64, time: Time, request: &Request<'_>) -> Exchange {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Exchange {
            request_id: request.request_id,
            time,
            client: text(request.client),
            user: text(request.user),
            method: text(request.method),
            route: text(request.route),
            rule: text(request.rule),
            resource: text(request.resource),
            interaction: text(request.interaction),
            status: None,
            outcome: "intended",
            code: None,
            bytes: None,
            at_most: false,
            subjects_unknown: None,
            records: Records {
                first: sequence,
                ..Records::default()
            },
        }
    }

    /// Takes in a further record, and the first one too. They come in the order of the log.
    pub fn take(&mut self, sequence: u64, entry: &Entry<'_>) {
        if let Some(request) = entry.event.request() {
            let later = |known: &mut Option<String>, said: Option<&str>| {
                if known.is_none() {
                    *known = said.map(str::to_owned);
                }
            };
            later(&mut self.user, request.user);
            later(&mut self.interaction, request.interaction);
            later(&mut self.resource, request.resource);
            if let Some(subjects) = &request.subjects {
                self.subjects_unknown = subjects.unknown().map(Unknown::name);
            }
        }
        match &entry.event {
            Event::Intent(_) => self.records.intent = Some(sequence),
            Event::Release(event) => {
                self.records.release = Some(sequence);
                self.status = Some(event.status);
                self.bytes = event.bytes;
                self.outcome = "released";
            }
            Event::Passage(event) => {
                self.records.passages += 1;
                self.bytes = Some(event.offset.saturating_add(event.bytes));
                self.at_most = true;
            }
            Event::Completion(event) => {
                self.records.completion = Some(sequence);
                self.status = event.status.or(self.status);
                (self.bytes, self.at_most) = (Some(event.bytes), false);
                self.code = Some(event.code);
                self.outcome = entry.event.outcome().unwrap_or("complete");
            }
            Event::Refusal(event) => {
                self.records.refusal = Some(sequence);
                self.status = Some(event.status);
                self.code = Some(event.code);
                self.outcome = "refused";
            }
            // No other record is of a request.
            _ => {}
        }
    }

    /// Whether something of an answer of the upstream may have left.
    #[must_use]
    pub fn was_released(&self) -> bool {
        self.records.release.is_some()
    }

    /// What was asked, in a few words: `GET Observation search-type on records`.
    #[must_use]
    pub fn what(&self) -> String {
        let words = [
            self.method.as_deref(),
            self.resource.as_deref(),
            self.interaction.as_deref(),
        ];
        let mut what: Vec<_> = words.into_iter().flatten().collect();
        if let Some(route) = &self.route {
            what.extend(["on", route]);
        }
        what.join(" ")
    }

    /// What it came to, in a few words: `200 broken_off client_gone`.
    #[must_use]
    pub fn result(&self) -> String {
        let status = self.status.map(|status| status.to_string());
        let code = self.code.map(Code::name);
        let code = code.filter(|code| *code != self.outcome);
        let words = [status.as_deref(), Some(self.outcome), code];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// How many bytes, as far as is known.
    #[must_use]
    pub fn size(&self) -> String {
        match (self.bytes, self.at_most) {
            (Some(bytes), false) => bytes.to_string(),
            (Some(bytes), true) => format!("at most {bytes}"),
            (None, _) if self.was_released() => "not known".to_owned(),
            (None, _) => "-".to_owned(),
        }
    }
}
