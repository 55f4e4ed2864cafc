//! A request for the tests of the formats.

use std::rc::Rc;

use super::Source;
use crate::event::{Code, Digest, Id, Pseudonym, Time};
use crate::exchange::{Connection, Exchange, Known, Records, Stage, State};

/// The patient with this number.
pub(super) fn patient(number: u64) -> Pseudonym {
    let mut bytes = [0xa5; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Pseudonym::new(bytes)
}

/// Who wrote the log.
pub(super) fn source() -> Source {
    Source {
        host: "gate-1".to_owned(),
        log: "clinic.example/audit".to_owned(),
        version: "0.1.0".to_owned(),
        process: Some(4711),
    }
}

/// A search for observations that answered with those of two patients, one of them under two names.
pub(super) fn exchange() -> Exchange {
    Exchange {
        first: 41,
        last: 42,
        began: Time(1_800_000_000_000_001_000),
        ended: Time(1_800_000_000_250_000_000),
        request_id: Id::new([0x11; 16]),
        connection_id: Id::new([0x22; 16]),
        connection: Some(Rc::new(Connection {
            listener: "devices".to_owned(),
            address: "192.0.2.7:49152".parse().unwrap(),
            certificate: Some(Digest::new([0x33; 32])),
            sni: Some("api.clinic.example".to_owned()),
            is_sequential: true,
        })),
        address: Some("192.0.2.7:49152".parse().unwrap()),
        client: Some("devices:urn:example:pump-1".to_owned()),
        user: None,
        method: Some("GET".to_owned()),
        route: Some("observations".to_owned()),
        rule: Some("pump".to_owned()),
        resource: Some("Observation".to_owned()),
        interaction: Some("search-type".to_owned()),
        records: Records {
            intent: Some(41),
            release: Some(42),
            ..Records::default()
        },
        is_asked: true,
        stage: Stage::Released,
        state: State::Settled,
        status: Some(200),
        content_type: Some("application/fhir+json".to_owned()),
        bytes: Some(1234),
        digest: Some(Digest::new([0x44; 32])),
        upstream: Some("fhir".to_owned()),
        attempts: Some(1),
        code: None,
        detail: None,
        patients: [patient(1), patient(2), patient(3)].into(),
        linked: vec![[patient(2), patient(3)].into()],
        subjects: Some(Known::All),
    }
}

/// The same, ended with a code.
pub(super) fn ended(code: Code) -> Exchange {
    Exchange {
        stage: Stage::Completed,
        code: Some(code),
        ..exchange()
    }
}
