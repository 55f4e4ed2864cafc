//! The keys that matter, and where they say that a patient stands.
//!
//! Standard: HL7 FHIR R4; [`crate::types::COMPARTMENT`], without regard to the resource type, since
//! `resourceType` may come last.

use crate::types::Role;

/// A key that matters, or [`Key::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// Above a document.
    Root,
    /// Any that is not listed here.
    Other,
    // Where a resource may stand.
    Resource,
    Contained,
    Outcome,
    // What is read.
    ResourceType,
    Id,
    Identifier,
    Reference,
    Type,
    System,
    Value,
    FullUrl,
    Url,
    Method,
    Location,
    IfNoneExist,
    // Parts of a Bundle.
    Entry,
    Request,
    Response,
    // Elements that hold a patient, or an element that does.
    Action,
    Actor,
    Agent,
    Asserter,
    Attester,
    Author,
    Beneficiary,
    Candidate,
    DeliverTo,
    Detail,
    Entity,
    For,
    Individual,
    Link,
    Member,
    Other_,
    Participant,
    Party,
    Patient,
    Payee,
    Payor,
    Performer,
    PolicyHolder,
    Receiver,
    Recipient,
    Recorder,
    Requester,
    Sender,
    Source,
    Subject,
    Subscriber,
    Target,
    What,
    Who,
}

impl Key {
    /// Longest key that matters, in bytes.
    pub(crate) const LONGEST: usize = 12;

    /// The key of this name.
    pub(crate) fn of(name: &[u8]) -> Key {
        match name {
            b"resource" => Key::Resource,
            b"contained" => Key::Contained,
            b"outcome" => Key::Outcome,
            b"resourceType" => Key::ResourceType,
            b"id" => Key::Id,
            b"identifier" => Key::Identifier,
            b"reference" => Key::Reference,
            b"type" => Key::Type,
            b"system" => Key::System,
            b"value" => Key::Value,
            b"fullUrl" => Key::FullUrl,
            b"url" => Key::Url,
            b"method" => Key::Method,
            b"location" => Key::Location,
            b"ifNoneExist" => Key::IfNoneExist,
            b"entry" => Key::Entry,
            b"request" => Key::Request,
            b"response" => Key::Response,
            b"action" => Key::Action,
            b"actor" => Key::Actor,
            b"agent" => Key::Agent,
            b"asserter" => Key::Asserter,
            b"attester" => Key::Attester,
            b"author" => Key::Author,
            b"beneficiary" => Key::Beneficiary,
            b"candidate" => Key::Candidate,
            b"deliverTo" => Key::DeliverTo,
            b"detail" => Key::Detail,
            b"entity" => Key::Entity,
            b"for" => Key::For,
            b"individual" => Key::Individual,
            b"link" => Key::Link,
            b"member" => Key::Member,
            b"other" => Key::Other_,
            b"participant" => Key::Participant,
            b"party" => Key::Party,
            b"patient" => Key::Patient,
            b"payee" => Key::Payee,
            b"payor" => Key::Payor,
            b"performer" => Key::Performer,
            b"policyHolder" => Key::PolicyHolder,
            b"receiver" => Key::Receiver,
            b"recipient" => Key::Recipient,
            b"recorder" => Key::Recorder,
            b"requester" => Key::Requester,
            b"sender" => Key::Sender,
            b"source" => Key::Source,
            b"subject" => Key::Subject,
            b"subscriber" => Key::Subscriber,
            b"target" => Key::Target,
            b"what" => Key::What,
            b"who" => Key::Who,
            _ => Key::Other,
        }
    }

    /// Whether a resource stands below this key.
    pub(crate) fn holds_resource(self) -> bool {
        matches!(
            self,
            Key::Root | Key::Resource | Key::Contained | Key::Outcome
        )
    }

    /// Who stands below this key, in an object that stands below `above`.
    pub(crate) fn role(self, above: Key) -> Option<Role> {
        let on_resource = above.holds_resource();
        match (above, self) {
            (
                _,
                Key::Subject
                | Key::Patient
                | Key::Beneficiary
                | Key::Candidate
                | Key::Individual
                | Key::For,
            ) if on_resource => Some(Role::Subject),
            (
                _,
                Key::Actor
                | Key::Asserter
                | Key::Author
                | Key::DeliverTo
                | Key::Payor
                | Key::Performer
                | Key::PolicyHolder
                | Key::Receiver
                | Key::Recipient
                | Key::Recorder
                | Key::Requester
                | Key::Sender
                | Key::Source
                | Key::Subscriber
                | Key::Target,
            ) if on_resource => Some(Role::Party),
            (Key::Participant, Key::Actor | Key::Member)
            | (Key::Performer, Key::Actor)
            | (Key::Agent, Key::Who)
            | (Key::Entity, Key::What)
            | (Key::Detail, Key::Performer)
            | (Key::Payee | Key::Attester, Key::Party)
            | (Key::Member, Key::Entity)
            | (Key::Link, Key::Other_ | Key::Target)
            | (Key::Action, Key::Participant) => Some(Role::Party),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BESIDE, COMPARTMENT};

    #[test]
    fn every_element_of_the_compartment_is_known_here() {
        for row in COMPARTMENT.iter().chain(BESIDE) {
            let mut parts = row.element.rsplit('.');
            let name = Key::of(parts.next().unwrap().as_bytes());
            let above = parts
                .next()
                .map_or(Key::Root, |part| Key::of(part.as_bytes()));
            assert_eq!(name.role(above), Some(row.role), "{row:?}");
            assert!(
                row.element
                    .split('.')
                    .all(|part| part.len() <= Key::LONGEST)
            );
        }
    }

    #[test]
    fn an_element_of_that_name_elsewhere_is_another() {
        // R4, Encounter.participant.individual: never a patient.
        assert_eq!(Key::Individual.role(Key::Participant), None);
        assert_eq!(Key::Subject.role(Key::Other), None);
    }
}
