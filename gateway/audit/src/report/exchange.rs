//! A request as reports tell it: in the fields of a JSON object, and in a few words.

use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use crate::event::{Code, Unknown};
use crate::exchange::{Exchange, Known, Records, Stage};

impl Exchange {
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
        let code = code.filter(|code| *code != self.word());
        let words = [status.as_deref(), Some(self.word()), code];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// How many bytes, as far as is known.
    #[must_use]
    pub fn size(&self) -> String {
        match (self.bytes, self.is_at_most()) {
            (Some(bytes), false) => bytes.to_string(),
            (Some(bytes), true) => format!("at most {bytes}"),
            (None, _) if self.was_released() => "not known".to_owned(),
            (None, _) => "-".to_owned(),
        }
    }

    /// What it came to: `refused`, `intended` when it is not known whether an answer left, `released`
    /// when one left as its release promised, `complete` or `broken_off` when it was streamed.
    fn word(&self) -> &'static str {
        match (self.stage, self.code) {
            (Stage::Refused, _) => "refused",
            (Stage::Completed, Some(Code::Complete)) => "complete",
            (Stage::Completed, _) => "broken_off",
            (Stage::Intended | Stage::Released, _) if self.was_released() => "released",
            (Stage::Intended | Stage::Released, _) => "intended",
        }
    }

    /// Whether no more is known than that there were not more bytes.
    fn is_at_most(&self) -> bool {
        self.records.passages > 0 && self.records.completion.is_none()
    }
}

/// A field is what the records say last; nothing where none does. Patients are not told.
impl Serialize for Exchange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Why the request may concern others too; nothing when all are named.
        let unknown = match self.subjects {
            Some(Known::Not(reason)) => Some(Unknown::name(reason)),
            Some(Known::All) | None => None,
        };
        let mut fields = serializer.serialize_struct("Exchange", 16)?;
        fields.serialize_field("request_id", &self.request_id)?;
        fields.serialize_field("time", &self.began)?;
        for (name, text) in [
            ("client", &self.client),
            ("user", &self.user),
            ("method", &self.method),
            ("route", &self.route),
            ("rule", &self.rule),
            ("resource", &self.resource),
            ("interaction", &self.interaction),
        ] {
            fields.serialize_field(name, text)?;
        }
        fields.serialize_field("status", &self.status)?;
        fields.serialize_field("outcome", self.word())?;
        fields.serialize_field("code", &self.code)?;
        fields.serialize_field("bytes", &self.bytes)?;
        fields.serialize_field("at_most", &self.is_at_most())?;
        fields.serialize_field("subjects_unknown", &unknown)?;
        fields.serialize_field("records", &Places(self))?;
        fields.end()
    }
}

/// Where the records of a request stand in the log.
struct Places<'a>(&'a Exchange);

impl Serialize for Places<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Records {
            intent,
            release,
            passages,
            completion,
            refusal,
        } = self.0.records;
        let mut fields = serializer.serialize_struct("Records", 6)?;
        fields.serialize_field("first", &self.0.first)?;
        fields.serialize_field("intent", &intent)?;
        fields.serialize_field("release", &release)?;
        fields.serialize_field("passages", &passages)?;
        fields.serialize_field("completion", &completion)?;
        fields.serialize_field("refusal", &refusal)?;
        fields.end()
    }
}
