//! Records as programs and people read them: one JSON object, or one line of text.

use std::fmt::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value};
use terminal::counted;

use crate::clock::seconds;
use crate::event::{By, Clock, Entry, Event, LogRead, Sender, Subjects, Time, Witness, tell};

/// One record as JSON. The fields that a program asks for first stand first and are always there.
#[derive(Debug, Serialize)]
pub struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    time: Time,
    #[serde(rename = "type")]
    kind: &'static str,
    request_id: Value,
    connection_id: Value,
    client: Value,
    user: Value,
    method: Value,
    route: Value,
    rule: Value,
    resource: Value,
    status: Value,
    bytes: Value,
    outcome: Option<&'static str>,
    code: Value,
    #[serde(flatten)]
    more: Map<String, Value>,
}

impl Line {
    /// The record of `entry`, with its place in the log where it has one.
    #[must_use]
    pub fn new(sequence: Option<u64>, entry: &Entry<'_>) -> Line {
        let mut more = match serde_json::to_value(&entry.event) {
            Ok(Value::Object(fields)) => fields,
            // Every event is a struct, and a struct becomes an object.
            _ => Map::new(),
        };
        more.remove("type");
        let mut take = |name: &str| more.remove(name).unwrap_or(Value::Null);
        Line {
            sequence,
            time: entry.time,
            kind: entry.event.kind(),
            request_id: take("request_id"),
            connection_id: take("connection_id"),
            client: take("client"),
            user: take("user"),
            method: take("method"),
            route: take("route"),
            rule: take("rule"),
            resource: take("resource"),
            status: take("status"),
            bytes: take("bytes"),
            outcome: entry.event.outcome(),
            code: take("code"),
            more,
        }
    }
}

impl Line {
    /// The same with the raw target of its request, as `target`.
    #[must_use]
    pub fn with_target(mut self, raw: &[u8]) -> Line {
        let target = String::from_utf8_lossy(raw).into_owned();
        self.more.insert("target".to_owned(), target.into());
        self
    }
}

/// One record as a line for people.
#[derive(Debug)]
pub struct Human<'a>(pub &'a Entry<'a>);

/// Control characters are escaped: what is read here may drive a terminal.
impl fmt::Display for Human<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::new();
        self.compose(&mut line)?;
        escape(&line, f)
    }
}

/// The raw target of a record's request, behind its line for people.
#[derive(Debug)]
pub struct HumanTarget<'a>(pub &'a [u8]);

/// Control characters are escaped here too.
impl fmt::Display for HumanTarget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(", target ")?;
        escape(&String::from_utf8_lossy(self.0), f)
    }
}

fn escape(line: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in line.chars() {
        if c.is_control() {
            write!(f, "{}", c.escape_default())?;
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}

impl Human<'_> {
    fn compose(&self, f: &mut impl Write) -> fmt::Result {
        write!(f, "{} {:<17}", self.0.time, self.0.event.kind())?;
        if let Some(request) = self.0.event.request() {
            let dash = |text: Option<&'_ str>| text.unwrap_or("-").to_owned();
            write!(
                f,
                " {} {} {} {}",
                request.request_id,
                dash(request.client),
                dash(request.method),
                dash(request.route)
            )?;
        }
        match &self.0.event {
            Event::Start(e) => write!(f, " {} {} pid {}", e.program, e.version, e.pid)?,
            Event::Stop(e) => write!(f, " {}", e.reason)?,
            Event::Configuration(e) => {
                let outcome = if e.accepted { "in force" } else { "refused" };
                write!(f, " {} {outcome}, sha256 {}", e.occasion, e.digest)?;
            }
            Event::Decision(e) => write!(
                f,
                " {} {} ({}): {}",
                e.key, e.control, e.paragraph, e.rationale
            )?,
            Event::Revocation(e) => {
                let (lists, serials) = (counted(e.lists, "list"), counted(e.serials, "serial"));
                write!(f, " {}: {lists}, {serials}", e.trust)?;
            }
            Event::Handshake(e) => write!(
                f,
                " {} {} {}",
                e.connection_id,
                e.address,
                e.client.unwrap_or("-")
            )?,
            Event::HandshakeRefused(e) => {
                write!(f, " {} {} {}", e.connection_id, e.address, e.code)?;
            }
            Event::Close(e) => write!(
                f,
                " {} {} after {}",
                e.connection_id,
                e.code,
                counted(e.requests, "request")
            )?,
            Event::Intent(_) => {}
            Event::Release(e) => write!(f, " {}", e.status)?,
            Event::Passage(e) => {
                let bytes = counted(e.bytes, "byte");
                write!(f, " {bytes} behind {}", e.offset)?;
                if let Some(Sender::Client) = e.sender {
                    write!(f, " of the client")?;
                }
            }
            Event::Completion(e) => write!(f, " {}, {}", counted(e.bytes, "byte"), e.code)?,
            Event::Refusal(e) => write!(f, " {} {}", e.status, e.code)?,
            Event::Noise(e) => write!(f, " {} {} {}", e.prefix, counted(e.count, "time"), e.code)?,
            Event::Recovered(e) => write!(
                f,
                " segment {} at byte {}, {} set aside",
                e.segment,
                e.offset,
                counted(e.bytes, "byte")
            )?,
            Event::EpochKey(e) => {
                let readers = counted(e.readers.len(), "reader");
                write!(f, " {} {} to {readers}", e.epoch, e.key)?;
            }
            Event::Interrupted(e) => {
                let refused = counted(e.refused, "append");
                write!(f, " since {}, {refused} turned away", e.since)?;
            }
            Event::SigningKey(e) => {
                let after = if e.rotation.is_some() {
                    " from here on, by a rotation"
                } else {
                    ""
                };
                write!(f, " {}{after}", e.key)?;
            }
            Event::Discontinuity(e) => {
                let lost = counted(e.to.saturating_sub(e.from), "entry/entries");
                write!(f, " {lost} lost from {} on, {}", e.from, e.reason)?;
            }
            Event::LogRead(e) => read(e, f)?,
            Event::UnsignedTail(e) => {
                let entries = counted(e.entries, "entry/entries");
                write!(f, " {entries} behind {}", e.signed)?;
            }
            Event::Retention(_)
            | Event::Hold(_)
            | Event::Destruction(_)
            | Event::Backup(_)
            | Event::Restored(_) => kept(&self.0.event, f)?,
            Event::Verb(_)
            | Event::Authority(_)
            | Event::CertificateIntended(_)
            | Event::CertificateIssued(_)
            | Event::CertificateRevoked(_)
            | Event::Crl(_)
            | Event::Token(_)
            | Event::RequestRefused(_) => tell(&self.0.event, f)?,
            Event::Clock(e) => clock(e, f)?,
            Event::Witness(e) => witness(e, f)?,
        }
        if let Some(request) = self.0.event.request() {
            if let Some(interaction) = request.interaction {
                let resource = request.resource.unwrap_or_default();
                write!(f, ", {interaction} {resource}")?;
            }
            if let Some(subjects) = &request.subjects {
                whom(subjects, f)?;
            }
        }
        Ok(())
    }
}

/// How long what was written is kept, what holds it, and how it ends; nothing of another event.
pub(crate) fn kept(event: &Event<'_>, f: &mut impl Write) -> fmt::Result {
    match event {
        Event::Retention(e) => {
            for (number, class) in e.classes.iter().enumerate() {
                let comma = if number == 0 { "" } else { "," };
                let years = counted(class.years, "year");
                write!(f, "{comma} {} {years}", class.class)?;
            }
            Ok(())
        }
        Event::Hold(e) => {
            let does = if e.placed {
                "holds"
            } else {
                "is released from"
            };
            let (from, to) = (e.from.unwrap_or("the first"), e.to.unwrap_or("the last"));
            write!(f, " {} {does} {from} to {to}", e.name)?;
            hand(&e.by, Some(e.reason), f)
        }
        Event::Destruction(e) => {
            let (keys, state) = (
                counted(e.keys, "key"),
                if e.done {
                    "destroyed"
                } else {
                    "to be destroyed"
                },
            );
            write!(f, " {} {keys} {state}", e.epoch)?;
            hand(&e.by, Some(e.reason), f)
        }
        Event::Backup(e) => {
            write!(f, " of {}", counted(e.entries, "entry/entries"))?;
            hand(&e.by, None, f)
        }
        Event::Restored(e) => {
            write!(
                f,
                " from a backup of {}",
                counted(e.entries, "entry/entries")
            )?;
            hand(&e.by, Some(e.reason), f)
        }
        _ => Ok(()),
    }
}

/// By whose hand, and why.
fn hand(by: &By, reason: Option<&str>, f: &mut impl Write) -> fmt::Result {
    write!(f, " by uid {}", by.uid)?;
    if let Some(login) = by.login_uid {
        write!(f, ", logged in as {login}")?;
    }
    match reason {
        Some(reason) => write!(f, ": {reason}"),
        None => Ok(()),
    }
}

/// Who read, how, and whose records.
fn read(read: &LogRead<'_>, f: &mut impl Write) -> fmt::Result {
    write!(f, " {} by uid {}", read.verb, read.uid)?;
    if let Some(login) = read.login_uid {
        write!(f, ", logged in as {login}")?;
    }
    if !read.filters.is_empty() {
        write!(f, ", by {}", read.filters.join(" and "))?;
    }
    for patient in &read.patients {
        write!(f, " {patient}")?;
    }
    Ok(())
}

/// What became of a witness, and how far it cosigned.
fn witness(witness: &Witness<'_>, f: &mut impl Write) -> fmt::Result {
    let signed = counted(witness.signed, "entry/entries");
    let (name, state, witnessed) = (witness.name, witness.state, witness.witnessed);
    write!(f, " {name} {state}: {witnessed} of {signed} cosigned")
}

/// What became of the clock, and how it stands.
fn clock(clock: &Clock<'_>, f: &mut impl Write) -> fmt::Result {
    write!(f, " {}", clock.change)?;
    if let Some(step) = clock.step_us {
        let way = if step < 0 { "back" } else { "ahead" };
        write!(f, " {way} by {}", seconds(step.unsigned_abs()))?;
    }
    write!(f, ": {}", clock.state)?;
    if let Some(error) = clock.max_error_us {
        write!(f, ", maximum error {}", seconds(error))?;
    }
    if let Some(reason) = clock.reason {
        write!(f, ", {reason}")?;
    }
    Ok(())
}

/// The patients of a record; of many, how many more there are.
fn whom(subjects: &Subjects, f: &mut impl Write) -> fmt::Result {
    const SHOWN: usize = 4;
    let patients = subjects.patients();
    for (number, patient) in patients.iter().take(SHOWN).enumerate() {
        write!(
            f,
            "{} {patient}",
            if number == 0 { ", patients" } else { "" }
        )?;
    }
    if patients.len() > SHOWN {
        write!(f, " and {} more", patients.len() - SHOWN)?;
    }
    if let Some(reason) = subjects.unknown() {
        write!(f, ", subjects unknown: {}", reason.name())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Stop;

    #[test]
    fn a_record_cannot_drive_the_terminal_that_shows_it() {
        let reason = "\u{1b}[2Jgone\nfake line";
        let entry = Entry {
            time: Time(0),
            event: Event::Stop(Stop { reason }),
        };
        let shown = Human(&entry).to_string();
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        assert!(shown.contains("gone"));
        let shown = HumanTarget(b"/x\x1b[2J\n\xff").to_string();
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
}
