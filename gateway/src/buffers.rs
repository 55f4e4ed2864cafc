//! Buffers that the connections of one worker share, so that one on which nothing happens holds none.
//!
//! A buffer is borrowed for as long as something is in it. What was in it before is not wiped: it was
//! received from, or is sent to, a peer, and holds no key.

use std::cell::RefCell;
use std::rc::Rc;

/// What is received into, bytes. A handshake message takes 64 KiB at most, a record 16 KiB and a bit.
const RECEIVE: usize = 256 * 1024;

/// Buffers of each kind that are kept for whoever needs one next.
const SPARE: usize = 16;

/// Larger ones than this are not kept, bytes.
const KEPT: usize = 512 * 1024;

/// A worker's buffers. Clones share them.
#[derive(Debug, Clone)]
pub struct Buffers(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    received: RefCell<Box<[u8]>>,
    spares: RefCell<Vec<Vec<u8>>>,
    blanks: RefCell<Vec<Vec<u8>>>,
}

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers(Rc::new(Inner {
            received: RefCell::new(vec![0; RECEIVE].into()),
            spares: RefCell::default(),
            blanks: RefCell::default(),
        }))
    }
}

impl Buffers {
    /// Lends the one buffer that everybody receives into, for the length of a call.
    pub fn receive<T>(&self, into: impl FnOnce(&mut [u8]) -> T) -> T {
        into(&mut self.0.received.borrow_mut())
    }

    /// An empty buffer.
    pub fn spare(&self) -> Vec<u8> {
        self.0.spares.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a buffer back, whatever is in it.
    pub fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        keep(&mut self.0.spares.borrow_mut(), buffer);
    }

    /// A buffer of some length, each byte of which has a value: for whoever writes into a slice.
    pub fn blank(&self) -> Vec<u8> {
        self.0.blanks.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a buffer back at its length.
    pub fn give_back_blank(&self, buffer: Vec<u8>) {
        keep(&mut self.0.blanks.borrow_mut(), buffer);
    }
}

fn keep(kept: &mut Vec<Vec<u8>>, buffer: Vec<u8>) {
    if kept.len() < SPARE && (1..=KEPT).contains(&buffer.capacity()) {
        kept.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_are_bounded_in_number_and_size() {
        let buffers = Buffers::default();
        for _ in 0..100 {
            buffers.give_back(vec![7; 1000]);
            buffers.give_back_blank(vec![7; 1000]);
        }
        buffers.give_back(vec![7; KEPT + 1]);
        buffers.give_back(Vec::new());
        assert_eq!(buffers.0.spares.borrow().len(), SPARE);
        assert_eq!(buffers.0.blanks.borrow().len(), SPARE);
        let spare = buffers.spare();
        assert!(spare.is_empty() && spare.capacity() == 1000);
        assert_eq!(buffers.blank().len(), 1000);
    }
}
