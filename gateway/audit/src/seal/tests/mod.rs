//! What the tests of this folder share: repeatable randomness, a reader, a key, a sealer, entries.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::epoch::{Epoch, KeyRecord, LogId, WritingKey};
use super::hpke::SecretKey;
use super::random::{NoRandomness, Random};
use super::reader::{Reader, Scope};
use super::sealed::{Leaf, Sealed};
use super::sealer::{JoinKey, Sealer};
use crate::event::{Code, Completion, Entry, Event, Id, Request, Time};

/// A source that repeats itself: all its bytes follow from `seed`.
pub(super) fn seeded(seed: u64) -> impl Random + Clone {
    Seeded { seed, drawn: 0 }
}

#[derive(Clone)]
struct Seeded {
    seed: u64,
    drawn: u64,
}

impl Random for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoRandomness> {
        for chunk in out.chunks_mut(32) {
            self.drawn += 1;
            let mut input = self.seed.to_be_bytes().to_vec();
            input.extend_from_slice(&self.drawn.to_be_bytes());
            chunk.copy_from_slice(&digest(&SHA256, &input).as_ref()[..chunk.len()]);
        }
        Ok(())
    }
}

/// A source that has nothing to give.
pub(super) fn dry() -> impl Random {
    |_: &mut [u8]| Err(NoRandomness)
}

pub(super) const LOG: LogId = *b"a log of a test.";

pub(super) fn epoch() -> Epoch {
    "2026-11/standard".parse().unwrap()
}

pub(super) fn reader(seed: u64, scope: Scope) -> (SecretKey, Reader) {
    let secret = SecretKey::draw(&mut seeded(seed)).unwrap();
    let key = secret.public().unwrap();
    (secret, Reader { key, scope })
}

pub(super) const MINUTE: u64 = 60_000_000_000;

pub(super) fn key() -> (Arc<WritingKey>, KeyRecord, SecretKey) {
    let (secret, reader) = reader(1, Scope::Targets);
    let drawn = WritingKey::draw(LOG, epoch(), &[reader], &mut seeded(7));
    let (key, record) = drawn.unwrap();
    (Arc::new(key), record, secret)
}

pub(super) fn sealer(seed: u64) -> Sealer<impl Random> {
    let join = JoinKey::draw(&mut seeded(5)).unwrap();
    Sealer::new(key().0, Arc::new(join), seeded(seed))
}

pub(super) fn request<'a>(id: u8, method: &'a str, client: &'a str) -> Request<'a> {
    Request {
        request_id: Id::new([id; 16]),
        connection_id: Id::new([9; 16]),
        client: Some(client),
        user: None,
        method: Some(method),
        route: Some("patients"),
        rule: None,
        resource: None,
        interaction: None,
        subjects: None,
        target: None,
        integrity: None,
    }
}

pub(super) fn completion(time: u64, client: &str) -> Entry<'_> {
    let event = Event::Completion(Completion {
        request: request(3, "GET", client),
        status: Some(200),
        bytes: 5,
        code: Code::Complete,
    });
    Entry {
        time: Time(time),
        event,
    }
}

pub(super) fn parse(leaf: &[u8]) -> Sealed<'_> {
    match Leaf::parse(leaf) {
        Ok(Leaf::Sealed(sealed)) => sealed,
        other => panic!("not a sealed leaf: {other:?}"),
    }
}
