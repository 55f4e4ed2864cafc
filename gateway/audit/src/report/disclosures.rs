//! An accounting of disclosures (45 CFR 164.528): what of a patient went to whom outside, and why.
//!
//! Who is outside, where, and for what purpose the operator says in a file; the accounting says what it
//! left out, and names whoever the file does not know. Fails to the safe side: every answer that was
//! released counts, whatever its status, a recipient is accounted for on every route, and what nobody
//! classified is told, never dropped.
//!
//! ```toml
//! [[recipients]]
//! clients = ["services:urn:example:registry"]     # as records name them; * within one segment
//! name = "Cancer registry of the state"
//! address = "1 Example Street, Example City"
//! purpose = "public health (45 CFR 164.512(b))"
//! [treatment]                                     # 164.528(a)(1)(i); also [payment], [operations]
//! clients = ["devices:urn:example:pump-*"]
//! routes = ["ward"]
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::Time;
use crate::exchange::Exchange;

/// Who is outside, and what is left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipients {
    #[serde(default, rename = "recipients")]
    outside: Vec<Recipient>,
    treatment: Option<Inside>,
    payment: Option<Inside>,
    operations: Option<Inside>,
}

/// A recipient of disclosures (164.528(b)(2)).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipient {
    clients: Vec<String>,
    name: String,
    address: String,
    purpose: String,
}

/// What 164.528(a)(1)(i) takes out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inside {
    #[serde(default)]
    clients: Vec<String>,
    #[serde(default)]
    routes: Vec<String>,
}

impl Recipients {
    /// Reads the operator's file.
    ///
    /// # Errors
    /// [`RecipientsError`].
    pub fn parse(text: &str) -> Result<Recipients, RecipientsError> {
        let parsed: Recipients = toml::from_str(text).map_err(|error| {
            let place = error.span().map_or(0, |span| span.start);
            let before = text.get(..place).unwrap_or_default();
            RecipientsError::Syntax {
                line: before.matches('\n').count() + 1,
                message: error.message().to_owned(),
            }
        })?;
        for (at, recipient) in parsed.outside.iter().enumerate() {
            let number = at + 1;
            let texts = [
                ("name", &recipient.name),
                ("address", &recipient.address),
                ("purpose", &recipient.purpose),
            ];
            if let Some((field, _)) = texts.iter().find(|(_, text)| text.trim().is_empty()) {
                return Err(RecipientsError::Empty { number, field });
            }
            if recipient.clients.is_empty() {
                let field = "clients";
                return Err(RecipientsError::Empty { number, field });
            }
            let earlier = parsed.outside[..at].iter();
            let earlier = earlier.flat_map(|earlier| &earlier.clients);
            let inside = parsed.inside().flat_map(|(_, inside)| &inside.clients);
            for other in earlier.chain(inside) {
                if let Some(client) = recipient.clients.iter().find(|client| *client == other) {
                    let client = client.clone();
                    return Err(RecipientsError::Twice { number, client });
                }
            }
        }
        Ok(parsed)
    }

    fn inside(&self) -> impl Iterator<Item = (&'static str, &Inside)> {
        let all = [
            ("treatment", &self.treatment),
            ("payment", &self.payment),
            ("operations", &self.operations),
        ];
        all.into_iter()
            .filter_map(|(why, inside)| Some((why, inside.as_ref()?)))
    }

    fn class(&self, exchange: &Exchange) -> Class<'_> {
        let is_one_of = |list: &[String], name: Option<&str>| {
            name.is_some_and(|name| list.iter().any(|pattern| matches(pattern, name)))
        };
        let client = exchange.client.as_deref();
        let mut recipients = self.outside.iter();
        if let Some(recipient) = recipients.find(|it| is_one_of(&it.clients, client)) {
            return Class::Outside(recipient);
        }
        let route = exchange.route.as_deref();
        let inside = self.inside().find(|(_, inside)| {
            is_one_of(&inside.clients, client)
                || route.is_some_and(|route| inside.routes.iter().any(|known| known == route))
        });
        inside.map_or(Class::Unknown, |(why, _)| Class::Inside(why))
    }
}

enum Class<'a> {
    Outside(&'a Recipient),
    Inside(&'static str),
    Unknown,
}

/// Whether a name is of a pattern, in which `*` stands for a part of one segment between `:` or `/`.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(rest) = name.strip_prefix(before) else {
        return false;
    };
    let segment = rest.find([':', '/']).unwrap_or(rest.len());
    (0..=segment)
        .filter(|at| rest.is_char_boundary(*at))
        .any(|at| matches(after, &rest[at..]))
}

/// The accounting.
#[derive(Debug, Serialize)]
pub struct Accounting {
    /// What went outside, in the order of the log.
    pub disclosures: Vec<Disclosure>,
    /// What was left out, and why.
    pub left_out: Vec<LeftOut>,
    /// What went to clients of whom the file says nothing.
    pub not_classified: Vec<Exchange>,
    /// Requests of which no answer left.
    pub not_released: u64,
}

/// One disclosure (164.528(b)(2)).
#[derive(Debug, Serialize)]
pub struct Disclosure {
    /// To whom.
    pub recipient: String,
    /// Where they are.
    pub address: String,
    /// Why.
    pub purpose: String,
    /// When and what.
    #[serde(flatten)]
    pub exchange: Exchange,
}

/// Requests that are not accounted for.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// `treatment`, `payment` or `operations`.
    pub why: &'static str,
    /// Whose.
    pub client: Option<String>,
    /// On which route.
    pub route: Option<String>,
    /// How many.
    pub requests: u64,
    /// The first of them.
    pub first: Time,
    /// The last of them.
    pub last: Time,
}

/// Says of each exchange what it was.
#[must_use]
pub fn account(exchanges: Vec<Exchange>, recipients: &Recipients) -> Accounting {
    let mut accounting = Accounting {
        disclosures: Vec::new(),
        left_out: Vec::new(),
        not_classified: Vec::new(),
        not_released: 0,
    };
    let mut inside: BTreeMap<_, LeftOut> = BTreeMap::new();
    for exchange in exchanges {
        if !exchange.was_released() {
            accounting.not_released += 1;
            continue;
        }
        match recipients.class(&exchange) {
            Class::Outside(recipient) => accounting.disclosures.push(Disclosure {
                recipient: recipient.name.clone(),
                address: recipient.address.clone(),
                purpose: recipient.purpose.clone(),
                exchange,
            }),
            Class::Inside(why) => {
                let (client, route) = (exchange.client.clone(), exchange.route.clone());
                let group = inside
                    .entry((why, client.clone(), route.clone()))
                    .or_insert(LeftOut {
                        why,
                        client,
                        route,
                        requests: 0,
                        first: exchange.began,
                        last: exchange.began,
                    });
                group.requests += 1;
                group.first = group.first.min(exchange.began);
                group.last = group.last.max(exchange.began);
            }
            Class::Unknown => accounting.not_classified.push(exchange),
        }
    }
    accounting.left_out = inside.into_values().collect();
    accounting
}

/// Why the file is not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum RecipientsError {
    /// It is no TOML, or holds what does not belong there.
    Syntax {
        /// Where.
        line: usize,
        /// Why.
        message: String,
    },
    /// A recipient lacks what the accounting has to say.
    Empty {
        /// Which, from 1.
        number: usize,
        /// What.
        field: &'static str,
    },
    /// A client is in two places.
    Twice {
        /// Which recipient, from 1.
        number: usize,
        /// Which client.
        client: String,
    },
}

impl RecipientsError {
    /// What can be done.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            RecipientsError::Syntax { .. } => {
                "[[recipients]] has clients, name, address and purpose; [treatment], [payment] and [operations] have clients and routes"
            }
            RecipientsError::Empty { .. } => {
                "an accounting names each recipient with address and purpose (45 CFR 164.528(b)(2))"
            }
            RecipientsError::Twice { .. } => {
                "say once of each client whether it is a recipient outside"
            }
        }
    }
}

impl fmt::Display for RecipientsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecipientsError::Syntax { line, message } => {
                write!(f, "line {line}: {}", message.replace('\n', " "))
            }
            RecipientsError::Empty { number, field } => {
                write!(f, "recipient {number} has no {field}")
            }
            RecipientsError::Twice { number, client } => {
                write!(
                    f,
                    "{client} of recipient {number} stands in another place too"
                )
            }
        }
    }
}

impl std::error::Error for RecipientsError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_a_part_of_one_segment() {
        for (pattern, name, holds) in [
            (
                "devices:urn:example:pump-*",
                "devices:urn:example:pump-1",
                true,
            ),
            (
                "devices:urn:example:pump-*",
                "devices:urn:example:pump-1:x",
                false,
            ),
            ("devices:urn:*:pump-*", "devices:urn:example:pump-1", true),
            ("devices:*", "devices:urn:example", false),
            ("*", "devices", true),
            ("devices", "devices:x", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
        ] {
            assert_eq!(matches(pattern, name), holds, "{pattern} {name}");
        }
    }

    #[test]
    fn a_file_that_would_leave_something_open_is_refused() {
        let whole =
            "[[recipients]]\nclients = [\"a:b\"]\nname = \"N\"\naddress = \"A\"\npurpose = \"P\"\n";
        assert!(Recipients::parse(whole).is_ok());
        for (text, told) in [
            (
                whole.replace("\"P\"", "\" \""),
                "recipient 1 has no purpose",
            ),
            (whole.replace("\"a:b\"", ""), "recipient 1 has no clients"),
            (whole.repeat(2), "a:b of recipient 2"),
            (
                format!("{whole}[treatment]\nclients = [\"a:b\"]"),
                "a:b of recipient 1",
            ),
            (format!("{whole}[treatments]\nclients = []"), "line 6: "),
            (whole.replace("address = \"A\"\n", ""), "line 1: "),
        ] {
            let error = Recipients::parse(&text).unwrap_err();
            assert!(error.to_string().starts_with(told), "{error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_files_and_patterns_never_panic(text: String, pattern in "[a*:é]{0,12}", name in "[a:é]{0,12}") {
            let _ = (Recipients::parse(&text), matches(&pattern, &name));
        }
    }
}
