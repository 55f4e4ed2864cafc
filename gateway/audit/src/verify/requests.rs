//! The requests of a run as far as they are remembered, for the rules of meaning.
//!
//! Bounded: what is too much is forgotten, the oldest first, and that it was is known.

use std::collections::{HashMap, HashSet};

/// What joins the records of a request: the header's `join`, or in the clear the request's id.
pub(super) type Request = [u8; 16];

/// Whether an earlier record of a request was seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Open,
    /// And the request has ended since.
    Over,
    No,
    /// It is not remembered, and others are not any more.
    Forgotten,
}

/// The requests of a run, as far as they are remembered.
pub(super) struct Requests {
    limit: usize,
    /// Intents whose outcome has not come.
    intents: HashSet<Request>,
    intents_forgotten: bool,
    /// Whether the request is over, of those that were released: the newer ones, and those before them.
    /// When the newer ones are too many, they become the ones before, and those are forgotten.
    newer: HashMap<Request, bool>,
    older: HashMap<Request, bool>,
    releases_forgotten: bool,
}

impl Requests {
    pub(super) fn new(limit: usize) -> Requests {
        Requests {
            limit,
            intents: HashSet::new(),
            intents_forgotten: false,
            newer: HashMap::new(),
            older: HashMap::new(),
            releases_forgotten: false,
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Requests::new(self.limit);
    }

    pub(super) fn intent(&self, request: &Request) -> Seen {
        if self.intents.contains(request) {
            Seen::Open
        } else if self.intents_forgotten {
            Seen::Forgotten
        } else {
            Seen::No
        }
    }

    /// How many intents have no outcome yet.
    pub(super) fn open(&self) -> u64 {
        self.intents.len() as u64
    }

    pub(super) fn release(&self, request: &Request) -> Seen {
        let found = self.newer.get(request).or_else(|| self.older.get(request));
        match found {
            Some(false) => Seen::Open,
            Some(true) => Seen::Over,
            None if self.releases_forgotten => Seen::Forgotten,
            None => Seen::No,
        }
    }

    pub(super) fn intended(&mut self, request: Request) {
        if self.intents.len() >= self.limit {
            self.intents.clear();
            self.intents_forgotten = true;
        }
        self.intents.insert(request);
    }

    pub(super) fn answered(&mut self, request: &Request) {
        self.intents.remove(request);
    }

    pub(super) fn released(&mut self, request: Request) {
        self.answered(&request);
        self.remember(request, false);
    }

    /// A request that goes on is one of the newer.
    pub(super) fn touch(&mut self, request: &Request) {
        if let Some(is_over) = self.older.remove(request) {
            self.remember(*request, is_over);
        }
    }

    pub(super) fn ended(&mut self, request: &Request) {
        self.answered(request);
        let newer = self.newer.get_mut(request);
        if let Some(is_over) = newer.or_else(|| self.older.get_mut(request)) {
            *is_over = true;
        }
    }

    fn remember(&mut self, request: Request, is_over: bool) {
        if self.newer.len() >= self.limit {
            let dropped = std::mem::replace(&mut self.older, std::mem::take(&mut self.newer));
            self.releases_forgotten |= !dropped.is_empty();
        }
        self.newer.insert(request, is_over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_whatever_the_log_says() {
        let mut requests = Requests::new(10);
        for n in 0..1000_u64 {
            let mut request = [0; 16];
            request[..8].copy_from_slice(&n.to_be_bytes());
            requests.intended(request);
            request[15] = 1;
            requests.released(request);
            requests.touch(&request);
            assert!(requests.intents.len() <= 10);
            assert!(requests.newer.len() <= 10 && requests.older.len() <= 10);
        }
    }
}
