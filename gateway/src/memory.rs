//! Memory that the answers of one connection take while their client does not, and what is gathered of its
//! requests before it is forwarded.
//!
//! A client with many streams that takes nothing must not make the gateway hold an answer for each.
//! Beyond the bound nothing is gathered ahead: answers stay with the upstream.

use std::cell::Cell;
use std::rc::Rc;

/// What the streams of one connection hold together: of answers, and by itself of requests, so that neither
/// keeps the other out.
#[derive(Debug, Default, Clone)]
pub struct Memory {
    held: Rc<Cell<usize>>,
    of_requests: Rc<Cell<usize>>,
}

/// What one answer holds of it, given back when dropped.
#[derive(Debug)]
pub struct Held {
    memory: Memory,
    bytes: usize,
}

impl Memory {
    /// A connection that holds more than this, bytes, gathers nothing more. It is exceeded by what
    /// the answers that were under way then had begun to gather.
    pub const MOST: usize = 1024 * 1024;

    /// Of one answer so much is gathered, bytes, if it is there already, before it is released.
    pub const GATHER: usize = 64 * 1024;

    /// The same for the content of requests.
    #[must_use]
    pub fn of_requests(&self) -> Memory {
        Memory {
            held: Rc::clone(&self.of_requests),
            of_requests: Rc::clone(&self.of_requests),
        }
    }

    /// Whether an answer may gather more now.
    pub fn has_room(&self) -> bool {
        self.held.get() < Self::MOST
    }

    /// Counts what an answer holds.
    pub fn hold(&self, bytes: usize) -> Held {
        let mut held = Held {
            memory: self.clone(),
            bytes: 0,
        };
        held.set(bytes);
        held
    }
}

impl Held {
    /// Says how much it holds now, bytes.
    pub fn set(&mut self, bytes: usize) {
        let total = &self.memory.held;
        total.set(total.get().saturating_sub(self.bytes) + bytes);
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_holds_too_much_gathers_nothing_until_it_is_given_back() {
        let memory = Memory::default();
        let held: Vec<_> = (0..16).map(|_| memory.hold(Memory::GATHER)).collect();
        assert!(!memory.has_room());
        assert!(memory.of_requests().has_room());
        let requests = memory.of_requests().hold(Memory::MOST);
        drop(held);
        assert!(memory.has_room() && !memory.of_requests().has_room());
        drop(requests);
        assert!(memory.of_requests().has_room());
    }
}
