//! Records of one request are joined while the log passes, in bounded memory.
//!
//! A request is told when its last record has come: a refusal or completion, the end of its
//! connection, the next request on a connection that serves one after another, the start of the next
//! writer. What is open is bounded; beyond that the oldest is told as it is known, and what the log
//! says of it later is told on its own. So nothing is left out, and nothing is told twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use crate::event::{Close, Entry, Event, Id, Request, Time};
use crate::exchange::{Connection, Exchange, State};

/// How much is kept while requests are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Requests.
    pub requests: usize,
    /// Connections whose facts are known.
    pub connections: usize,
    /// Patients of all open requests.
    pub patients: usize,
}

impl Default for Bounds {
    /// Some 100 MiB at the very most. A gateway holds as many connections as this on three listeners.
    fn default() -> Bounds {
        Bounds {
            requests: 16 * 1024,
            connections: 64 * 1024,
            patients: 1024 * 1024,
        }
    }
}

/// Joins records.
#[derive(Debug, Default)]
pub struct Joiner {
    bounds: Bounds,
    /// By the sequence number of the first record.
    open: BTreeMap<u64, Exchange>,
    requests: HashMap<Id, u64>,
    connections: HashMap<Id, Live>,
    /// The same by the sequence number of their handshake.
    oldest: BTreeMap<u64, Id>,
    patients: usize,
}

/// A connection that has not ended.
#[derive(Debug)]
struct Live {
    sequence: u64,
    facts: Rc<Connection>,
    /// Its open requests.
    open: BTreeSet<u64>,
}

/// A record of a request.
struct Record<'a> {
    sequence: u64,
    time: Time,
    request: &'a Request<'a>,
    event: &'a Event<'a>,
    is_asked: bool,
}

impl Joiner {
    /// Nothing is open yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Joiner {
        Joiner {
            bounds,
            ..Joiner::default()
        }
    }

    /// Takes the next entry of the log, asked for or not. What is settled by it is added to `told`.
    pub fn take(
        &mut self,
        sequence: u64,
        entry: &Entry<'_>,
        is_asked: bool,
        told: &mut Vec<Exchange>,
    ) {
        match &entry.event {
            Event::Start(_) => {
                // Whatever an earlier writer left open has ended with it.
                self.settle_all(told);
                self.connections.clear();
                self.oldest.clear();
            }
            Event::Handshake(it) => self.connect(sequence, it.connection_id, Connection::of(it)),
            Event::Close(it) => self.close(it, told),
            event => {
                if let Some(request) = event.request() {
                    let record = Record {
                        sequence,
                        time: entry.time,
                        request,
                        event,
                        is_asked,
                    };
                    self.join(&record, told);
                }
            }
        }
    }

    /// Tells whatever is open as it is known: the log ends here.
    pub fn end(&mut self, told: &mut Vec<Exchange>) {
        while let Some((&first, _)) = self.open.first_key_value() {
            self.tell(first, State::Open, told);
        }
    }

    /// Tells as they are known the requests that began before `before`.
    pub fn tell_older(&mut self, before: Time, told: &mut Vec<Exchange>) {
        let old = self.open.iter().filter(|(_, it)| it.began < before);
        let old: Vec<u64> = old.map(|(first, _)| *first).collect();
        for first in old {
            self.tell(first, State::Open, told);
        }
    }

    /// The first entry that has to be read again, so that another joiner knows what this one knows,
    /// if there is any.
    #[must_use]
    pub fn needs_from(&self) -> Option<u64> {
        let connection = self.oldest.first_key_value().map(|(first, _)| *first);
        connection.into_iter().chain(self.untold_from()).min()
    }

    /// The first record of what is open, if anything is.
    #[must_use]
    pub fn untold_from(&self) -> Option<u64> {
        self.open.first_key_value().map(|(first, _)| *first)
    }

    fn connect(&mut self, sequence: u64, id: Id, facts: Connection) {
        if self.connections.len() >= self.bounds.connections
            && let Some((_, oldest)) = self.oldest.pop_first()
        {
            self.connections.remove(&oldest);
        }
        let live = Live {
            sequence,
            facts: Rc::new(facts),
            open: BTreeSet::new(),
        };
        if let Some(before) = self.connections.insert(id, live) {
            self.oldest.remove(&before.sequence);
        }
        self.oldest.insert(sequence, id);
    }

    fn close(&mut self, close: &Close, told: &mut Vec<Exchange>) {
        let Some(live) = self.connections.remove(&close.connection_id) else {
            return;
        };
        self.oldest.remove(&live.sequence);
        for first in live.open {
            self.tell(first, State::Settled, told);
        }
    }

    fn join(&mut self, record: &Record<'_>, told: &mut Vec<Exchange>) {
        let request = record.request;
        let first = match self.requests.get(&request.request_id) {
            Some(first) => *first,
            None => self.begin(record, told),
        };
        let Some(exchange) = self.open.get_mut(&first) else {
            return;
        };
        let named = request
            .subjects
            .as_ref()
            .map_or(0, |it| it.patients().len());
        if exchange.patients.len() + named > Exchange::PATIENTS {
            let mut part = exchange.clone();
            part.state = State::Part;
            told.push(part);
            self.patients -= exchange.patients.len();
            exchange.forget_patients();
            exchange.first = record.sequence;
        }
        self.patients -= exchange.patients.len();
        exchange.take(record.sequence, record.time, request, record.event);
        if let Some(subjects) = &request.subjects {
            exchange.take_patients(subjects);
        }
        exchange.is_asked |= record.is_asked;
        self.patients += exchange.patients.len();
        if matches!(record.event, Event::Completion(_) | Event::Refusal(_)) {
            self.tell(first, State::Settled, told);
        }
        while self.open.len() > self.bounds.requests || self.patients > self.bounds.patients {
            let Some((&oldest, _)) = self.open.first_key_value() else {
                break;
            };
            self.tell(oldest, State::Open, told);
        }
    }

    fn begin(&mut self, record: &Record<'_>, told: &mut Vec<Exchange>) -> u64 {
        let (sequence, request) = (record.sequence, record.request);
        let mut exchange = Exchange::new(sequence, record.time, request);
        let mut before = BTreeSet::new();
        if let Some(live) = self.connections.get_mut(&request.connection_id) {
            exchange.address = Some(live.facts.address);
            exchange.connection = Some(Rc::clone(&live.facts));
            if live.facts.is_sequential {
                before = std::mem::take(&mut live.open);
            }
            live.open.insert(sequence);
        }
        for first in before {
            self.tell(first, State::Settled, told);
        }
        self.requests.insert(request.request_id, sequence);
        self.open.insert(sequence, exchange);
        sequence
    }

    fn settle_all(&mut self, told: &mut Vec<Exchange>) {
        while let Some((&first, _)) = self.open.first_key_value() {
            self.tell(first, State::Settled, told);
        }
    }

    fn tell(&mut self, first: u64, state: State, told: &mut Vec<Exchange>) {
        let Some(mut exchange) = self.open.remove(&first) else {
            return;
        };
        self.requests.remove(&exchange.request_id);
        if let Some(live) = self.connections.get_mut(&exchange.connection_id) {
            live.open.remove(&first);
        }
        self.patients -= exchange.patients.len();
        exchange.state = state;
        told.push(exchange);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        Code, Completion, Handshake, Hex16, Passage, Pseudonym, Refusal, Release, Start, Subjects,
        Unknown,
    };
    use crate::exchange::{Known, Outcome, Stage};
    use crate::export::testing::patient;

    /// A log as it is written.
    struct Told {
        joiner: Joiner,
        sequence: u64,
        exchanges: Vec<Exchange>,
    }

    impl Told {
        fn new(bounds: Bounds) -> Told {
            Told {
                joiner: Joiner::new(bounds),
                sequence: 0,
                exchanges: Vec::new(),
            }
        }

        fn take(&mut self, event: Event<'_>) -> &mut Told {
            let entry = Entry {
                time: Time(1000 + self.sequence),
                event,
            };
            let is_asked = true;
            self.joiner
                .take(self.sequence, &entry, is_asked, &mut self.exchanges);
            self.sequence += 1;
            self
        }

        fn connect(&mut self, connection: u8, alpn: &'static str) -> &mut Told {
            self.take(Event::Handshake(Handshake {
                connection_id: Id::new([connection; 16]),
                listener: "devices",
                address: "192.0.2.7:1".parse().unwrap(),
                client: None,
                certificate: None,
                version: Hex16(0x0304),
                suite: Hex16(0x1301),
                group: None,
                alpn: Some(alpn),
                sni: None,
                ja4: "",
            }))
        }

        fn close(&mut self, connection: u8) -> &mut Told {
            self.take(Event::Close(Close {
                connection_id: Id::new([connection; 16]),
                code: Code::Complete,
                requests: 1,
                milliseconds: 1,
            }))
        }

        fn release(&mut self, id: u8, connection: u8, patients: std::ops::Range<u64>) -> &mut Told {
            self.take(Event::Release(Release {
                request: request(id, connection, patients, None),
                status: 200,
                content_type: None,
                bytes: None,
                digest: None,
                upstream: "fhir",
                attempts: 1,
            }))
        }

        fn passage(&mut self, id: u8, connection: u8, patients: std::ops::Range<u64>) -> &mut Told {
            self.take(Event::Passage(Passage {
                request: request(id, connection, patients, Some(Unknown::Open)),
                offset: 10,
                bytes: 10,
                sender: None,
            }))
        }

        fn completion(&mut self, id: u8, connection: u8, code: Code) -> &mut Told {
            self.take(Event::Completion(Completion {
                request: request(id, connection, 0..0, None),
                status: Some(200),
                bytes: 77,
                code,
            }))
        }

        /// The requests told, each with its state.
        fn states(&self) -> Vec<(u8, State)> {
            let states = self.exchanges.iter();
            states.map(|it| (id_of(it), it.state)).collect()
        }
    }

    fn id_of(exchange: &Exchange) -> u8 {
        exchange.request_id.hex()[1] - b'0'
    }

    fn request(
        id: u8,
        connection: u8,
        patients: std::ops::Range<u64>,
        unknown: Option<Unknown>,
    ) -> Request<'static> {
        let mut subjects = Subjects::new();
        for number in patients {
            subjects.add(patient(number), Subjects::MOST);
        }
        if let Some(reason) = unknown {
            subjects.leave_open(reason);
        }
        Request {
            request_id: Id::new([id; 16]),
            connection_id: Id::new([connection; 16]),
            client: Some("devices:urn:example:pump-1"),
            user: None,
            method: Some("GET"),
            route: Some("all"),
            rule: None,
            resource: None,
            interaction: None,
            subjects: Some(subjects),
            target: None,
            integrity: None,
        }
    }

    #[test]
    fn the_records_of_a_request_are_one_and_the_last_word_counts() {
        let mut log = Told::new(Bounds::default());
        log.connect(9, "h2").release(1, 9, 0..2);
        log.release(2, 9, 5..6).passage(1, 9, 1..4);
        assert_eq!(log.states(), [], "both go on");
        log.completion(1, 9, Code::ClientGone);
        let told = &log.exchanges[0];
        assert_eq!((told.first, told.last, told.records.count()), (1, 4, 3));
        let patients: Vec<Pseudonym> = told.patients.iter().copied().collect();
        assert_eq!(patients, (0..4).map(patient).collect::<Vec<_>>());
        assert_eq!(told.subjects, Some(Known::All), "open was said before");
        assert_eq!(told.stage, Stage::Completed);
        assert_eq!(told.outcome(), Outcome::BrokenOff);
        assert_eq!(told.bytes, Some(77));
        assert_eq!(told.address, "192.0.2.7:1".parse().ok());
    }

    #[test]
    fn a_request_is_settled_by_whatever_shows_that_nothing_follows() {
        use State::Settled;
        let mut log = Told::new(Bounds::default());
        log.connect(9, "http/1.1").release(1, 9, 0..1);
        log.release(2, 9, 0..1);
        assert_eq!(log.states(), [(1, Settled)], "the next one of HTTP/1.1");
        log.connect(8, "h2").release(3, 8, 0..1).release(4, 8, 0..1);
        log.close(8);
        assert_eq!(log.states()[1..], [(3, Settled), (4, Settled)], "the close");
        log.take(Event::Start(Start {
            program: "gateway",
            version: "1",
            pid: 1,
        }));
        assert_eq!(log.states()[3..], [(2, Settled)], "the next writer");
        log.take(Event::Refusal(Refusal {
            request: request(5, 7, 0..0, None),
            address: "192.0.2.8:1".parse().unwrap(),
            status: 403,
            code: Code::NotPermitted,
            detail: None,
            attempts: 0,
        }));
        assert_eq!(log.states()[4..], [(5, Settled)], "a refusal");
        assert_eq!(log.joiner.needs_from(), None);
    }

    #[test]
    fn what_is_open_is_bounded_and_nothing_is_left_out() {
        let bounds = Bounds {
            requests: 2,
            connections: 1,
            patients: 10,
        };
        let mut log = Told::new(bounds);
        log.connect(9, "h2");
        for id in 1..=3 {
            log.release(id, 9, 0..1);
        }
        assert_eq!(log.states(), [(1, State::Open)], "the oldest first");
        log.completion(1, 9, Code::Complete);
        assert_eq!(log.states()[1..], [(1, State::Settled)], "on its own");
        log.passage(3, 9, 0..10);
        assert_eq!(log.states()[2..], [(2, State::Open)], "too many patients");
        log.connect(8, "h2").passage(3, 9, 10..20);
        assert_eq!(log.states()[3..], [(3, State::Open)]);
        assert_eq!(log.joiner.needs_from(), Some(6), "the younger connection");
        log.joiner.end(&mut log.exchanges);
        assert!(log.joiner.untold_from().is_none() && log.joiner.patients == 0);
    }

    #[test]
    fn a_request_of_more_patients_than_a_part_holds_comes_in_parts_that_add_up() {
        let mut log = Told::new(Bounds::default());
        log.connect(9, "h2").release(1, 9, 0..500);
        log.passage(1, 9, 500..1000).passage(1, 9, 1000..1400);
        log.completion(1, 9, Code::Complete);
        let parts: Vec<_> = log
            .exchanges
            .iter()
            .map(|it| (it.first, it.state))
            .collect();
        assert_eq!(parts, [(1, State::Part), (2, State::Settled)]);
        let mut all = BTreeSet::new();
        for part in &log.exchanges {
            assert!(part.patients.len() <= Exchange::PATIENTS);
            all.extend(part.patients.iter().copied());
        }
        assert_eq!(all.len(), 1400);
        assert_eq!(log.joiner.patients, 0);
    }

    #[test]
    fn names_that_any_record_links_are_one_patient() {
        let linking = |pairs: &[(u64, u64)]| {
            let mut subjects = Subjects::new();
            for (one, other) in pairs {
                let places = [one, other].map(|name| subjects.add(patient(*name), Subjects::MOST));
                subjects.link(places[0].unwrap(), places[1].unwrap());
            }
            Request {
                subjects: Some(subjects),
                ..request(1, 9, 0..0, None)
            }
        };
        let mut log = Told::new(Bounds::default());
        log.connect(9, "h2").release(1, 9, 0..6);
        for pairs in [[(1, 2), (4, 5)], [(2, 3), (6, 7)]] {
            log.take(Event::Passage(Passage {
                request: linking(&pairs),
                offset: 1,
                bytes: 1,
                sender: None,
            }));
        }
        log.completion(1, 9, Code::Complete);
        let mut persons = log.exchanges[0].persons();
        persons.sort();
        let expected = [vec![0], vec![1, 2, 3], vec![4, 5], vec![6, 7]];
        assert_eq!(
            persons,
            expected.map(|names| names.into_iter().map(patient).collect::<Vec<_>>())
        );
    }

    #[test]
    fn what_is_waited_for_no_longer_is_told_once() {
        let mut log = Told::new(Bounds::default());
        log.connect(9, "h2").release(1, 9, 0..1).release(2, 9, 0..1);
        assert_eq!(log.joiner.untold_from(), Some(1));
        log.joiner.tell_older(Time(1002), &mut log.exchanges);
        assert_eq!(log.states(), [(1, State::Open)]);
        assert_eq!(log.joiner.untold_from(), Some(2));
        log.joiner.end(&mut log.exchanges);
        assert_eq!(log.states()[1..], [(2, State::Open)]);
        assert_eq!(log.joiner.needs_from(), Some(0), "the connection goes on");
    }
}
