//! Ids of requests and connections: random, in the order of time (RFC 9562 5.7, UUIDv7).

use std::cell::RefCell;
use std::time::SystemTime;

use audit::event::{Id, Time};

/// Makes the ids of one worker. Randomness is drawn ahead, a page at a time.
#[derive(Debug)]
pub struct Ids {
    pool: RefCell<Pool>,
}

#[derive(Debug)]
struct Pool {
    random: Box<[u8; 4000]>,
    used: usize,
}

/// Randomness that one id takes, bytes.
const EACH: usize = 10;

impl Ids {
    /// Nothing drawn yet.
    pub fn new() -> Ids {
        Ids {
            pool: RefCell::new(Pool {
                random: Box::new([0; 4000]),
                used: 4000,
            }),
        }
    }

    /// The next id, or `None` when the system has no randomness: then nothing can be told apart, so
    /// nothing is served.
    pub fn next(&self) -> Option<Id> {
        let pool = &mut *self.pool.borrow_mut();
        if pool.used + EACH > pool.random.len() {
            aws_lc_rs::rand::fill(&mut pool.random[..]).ok()?;
            pool.used = 0;
        }
        let random = &pool.random[pool.used..pool.used + EACH];
        pool.used += EACH;
        let millis = Time::from_system(SystemTime::now()).0 / 1_000_000;
        let mut id = [0; 16];
        id[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        id[6..].copy_from_slice(random);
        id[6] = id[6] & 0x0f | 0x70;
        id[8] = id[8] & 0x3f | 0x80;
        Some(Id::new(id))
    }
}

impl Default for Ids {
    fn default() -> Ids {
        Ids::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_version_7_and_never_the_same() {
        let ids = Ids::new();
        let drawn: HashSet<String> = (0..2000).map(|_| ids.next().unwrap().to_string()).collect();
        assert_eq!(drawn.len(), 2000);
        for id in drawn {
            assert_eq!(&id[12..13], "7", "{id}");
            assert!("89ab".contains(&id[16..17]), "{id}");
        }
    }
}
