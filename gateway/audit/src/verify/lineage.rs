//! Which key is in force where in a log, and whether the key from outside vouches for it.
//!
//! The log begins with one key, and each entry that holds a rotation hands over to the next. The key
//! from outside may be any of them. It vouches for a log when a checkpoint holds that it signed
//! itself, or that a later key signed to which it handed over: such a checkpoint covers all that
//! came before. Until then the earlier keys are the log's own word, and at the end that is not enough.

use super::report::{InForce, RotationFault};
use crate::merkle::key::Verifier;
use crate::merkle::note::Note;
use crate::merkle::rotation::{MAX_ROTATIONS, Rotation};

/// The keys of a log, as far as it was walked through.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    /// The key from outside.
    outside: Option<Verifier>,
    /// The keys that were in force, the last one now; nothing when none is known.
    keys: Vec<InForce>,
    /// Whether a checkpoint held that the key from outside vouches for.
    is_vouched: bool,
    /// Whether entries are lost, and rotations may be among them.
    is_broken: bool,
}

impl Lineage {
    /// Begins with this key.
    pub(super) fn new(outside: Option<&Verifier>, first: Option<Verifier>) -> Lineage {
        Lineage {
            outside: outside.cloned(),
            keys: first
                .map(|key| InForce { key, from: 0 })
                .into_iter()
                .collect(),
            is_vouched: false,
            is_broken: false,
        }
    }

    /// The key in force.
    pub(super) fn current(&self) -> Option<&Verifier> {
        self.keys.last().map(|last| &last.key)
    }

    /// The key in force and, where rotations may be missing, the one from outside, unless that one was
    /// in force before.
    pub(super) fn either(&self) -> Vec<Verifier> {
        let outside = self.outside.as_ref().filter(|key| !self.was_in_force(key));
        self.current().into_iter().chain(outside).cloned().collect()
    }

    /// All keys that were in force so far, and the one from outside.
    pub(super) fn known(&self) -> Vec<Verifier> {
        let outside = self.outside.as_ref().filter(|key| !self.was_in_force(key));
        let keys = self.keys.iter().map(|known| &known.key);
        keys.chain(outside).cloned().collect()
    }

    fn was_in_force(&self, key: &Verifier) -> bool {
        self.keys.iter().any(|known| known.key.id() == key.id())
    }

    /// Hands over, if this rotation leads on from the key in force.
    pub(super) fn rotate(
        &mut self,
        sequence: u64,
        rotation: &Rotation,
    ) -> Result<(), RotationFault> {
        let leads_on = self.current() == Some(rotation.old());
        if !leads_on || self.was_in_force(rotation.new_key()) {
            return Err(RotationFault::Elsewhere);
        }
        if self.keys.len() > MAX_ROTATIONS {
            return Err(RotationFault::TooMany);
        }
        self.keys.push(InForce {
            key: rotation.new_key().clone(),
            from: sequence,
        });
        Ok(())
    }

    /// A checkpoint holds that the key in force signed.
    pub(super) fn holds(&mut self) {
        let is_outside = |known: &InForce| Some(&known.key) == self.outside.as_ref();
        self.is_vouched |= self.keys.iter().any(is_outside);
    }

    /// A checkpoint stands behind the end of the entries that are there. If the key from outside signed
    /// it, the log is its own, and what is missing is told elsewhere.
    pub(super) fn promises(&mut self, note: &[u8]) {
        let by_outside = |key: &Verifier| {
            Note::parse(note).is_ok_and(|note| note.verify(std::slice::from_ref(key)).is_ok())
        };
        self.is_vouched |= self.outside.as_ref().is_some_and(by_outside);
    }

    /// Whether the log is not one of the key from outside: it began with another, and nothing that
    /// holds is signed with it, or with a key that it led to.
    pub(super) fn is_foreign(&self) -> bool {
        let begins = self.keys.first().map(|first| &first.key);
        self.outside.is_some() && begins != self.outside.as_ref() && !self.is_vouched
    }

    /// Passes entries that are lost. From here on the key from outside may come into force without the
    /// rotation that led to it: what it signs covers all that is there.
    pub(super) fn break_off(&mut self) {
        self.is_broken = true;
    }

    /// Whether what the key in force did not sign may be signed by the one from outside.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// A checkpoint of so many entries holds. If the key from outside signed it behind a loss, it is in
    /// force.
    pub(super) fn mend(&mut self, note: &[u8], size: u64) {
        let Some(key) = self.outside.clone().filter(|_| self.is_broken) else {
            return;
        };
        let is_signed = |note: &Note| note.verify(std::slice::from_ref(&key)).is_ok();
        if !self.was_in_force(&key) && Note::parse(note).as_ref().is_ok_and(is_signed) {
            self.keys.push(InForce { key, from: size });
            self.is_broken = false;
        }
    }

    /// The keys that were in force, in order.
    pub(super) fn into_keys(self) -> (Option<Verifier>, Vec<InForce>) {
        let first = self.keys.first().map(|first| first.key.clone());
        (self.outside.or(first), self.keys)
    }
}
