//! Asking for the status of a client's certificate by OCSP, before what it sent is served.
//!
//! ```text
//! a worker --> settle   what is known counts                        at once
//!          --> Question one for each certificate, however many wait
//!          --> Line     one for each responder                      of its own length
//! fetch    --> an answer, judged and remembered (tls)               everybody who waits is told
//! ```
//!
//! Bounded: so many questions wait for a responder, and none for another one; each of those who wait has a deadline,
//! and a question ends by itself. Fails closed: whoever is not vouched for in time is refused.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use config::{OcspUrl, TrustName};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use crate::ca::CaCertificate;
use crate::identity::{IssuerKey, Link, Serial};
use crate::peer::Client;
use crate::timer::unix_now;
use crate::tls::{ChainRefusal, Clients, LeafStanding, Statuses};

/// How many certificates wait for one responder to be asked about.
const WAITING: usize = 1024;

/// How many responders may be new at once, to whoever asks them.
const NEW: usize = 64;

/// What became of a question; nothing yet.
type Verdict = Option<Result<(), ChainRefusal>>;

/// Which question: of which memory, about which certificate.
type Key = (usize, IssuerKey, Serial);

type UnderWay = Mutex<HashMap<Key, watch::Receiver<Verdict>>>;

/// The questions for one responder, in turn. It ends when no trust set that asked it is left.
#[derive(Debug)]
pub struct Line(pub mpsc::Receiver<Question>);

/// Where questions for a responder go in. It is for nobody once the memory is gone.
#[derive(Debug)]
struct Entrance {
    questions: mpsc::Sender<Question>,
    memory: Weak<Statuses>,
}

/// Asks for the workers. Clones ask the same.
#[derive(Debug, Clone)]
pub struct Asker {
    lines: mpsc::Sender<Line>,
    /// As many as responders are configured, and those before a reload, until another one is new.
    entrances: Arc<Mutex<HashMap<OcspUrl, Entrance>>>,
    under_way: Arc<UnderWay>,
}

/// What is to be asked, by whoever has the network (`fetch`). When it is dropped without an answer, those who wait
/// are refused.
#[derive(Debug)]
pub struct Question {
    /// The trust set of the client.
    pub trust: TrustName,
    /// The responder, and what is remembered of what it says.
    pub statuses: Arc<Statuses>,
    /// Who issued the certificate.
    pub issuer: CaCertificate,
    /// The certificate.
    pub link: Link,
    verdict: watch::Sender<Verdict>,
    under_way: Arc<UnderWay>,
}

impl Asker {
    /// With what is to be asked: a line for each responder, from its first question on.
    #[must_use]
    pub fn new() -> (Asker, mpsc::Receiver<Line>) {
        let (lines, asked) = mpsc::channel(NEW);
        let asker = Asker {
            lines,
            entrances: Arc::default(),
            under_way: Arc::default(),
        };
        (asker, asked)
    }

    /// Whether a client is vouched for, where its trust set asks a responder; otherwise there is nothing to ask.
    /// `clients` is what its listener asks of clients now.
    ///
    /// # Errors
    /// [`ChainRefusal`], at the deadline at the latest.
    pub async fn settle(
        &self,
        client: &Client,
        clients: &Clients,
        deadline: Instant,
    ) -> Result<(), ChainRefusal> {
        let (Client::Known(identity), Clients::Required(trust) | Clients::Optional(trust)) =
            (client, clients)
        else {
            return Ok(());
        };
        let (Some(statuses), Some(leaf)) = (trust.statuses(), identity.path().first()) else {
            return Ok(());
        };
        match statuses.settled(leaf, unix_now().cast_signed()) {
            LeafStanding::Good => return Ok(()),
            LeafStanding::Refused(refusal) => return Err(refusal),
            LeafStanding::Open => {}
        }
        let issuer = trust
            .authorities()
            .find(|authority| authority.key() == leaf.issuer)
            .ok_or(ChainRefusal::RevocationUnknown)?;
        let mut told = self.ask(&trust.name, statuses, issuer, leaf)?;
        let verdict = timeout_at(deadline, told.wait_for(Option::is_some)).await;
        match verdict {
            Ok(Ok(verdict)) => verdict.unwrap_or(Err(ChainRefusal::StatusUnavailable)),
            Ok(Err(_)) | Err(_) => Err(ChainRefusal::StatusUnavailable),
        }
    }

    /// Waits with whoever asked about the same certificate, or asks.
    fn ask(
        &self,
        trust: &TrustName,
        statuses: &Arc<Statuses>,
        issuer: &CaCertificate,
        leaf: &Link,
    ) -> Result<watch::Receiver<Verdict>, ChainRefusal> {
        let mut under_way = lock(&self.under_way);
        let place = match under_way.entry(key(statuses, leaf)) {
            Entry::Occupied(known) => return Ok(known.get().clone()),
            Entry::Vacant(place) => place,
        };
        // Before a question is made: its end would wait for the lock that is held here.
        let questions = self.entrance(statuses)?;
        let slot = questions
            .try_reserve()
            .map_err(|_| ChainRefusal::StatusUnavailable)?;
        let (verdict, told) = watch::channel(None);
        place.insert(told.clone());
        slot.send(Question {
            trust: trust.clone(),
            statuses: Arc::clone(statuses),
            issuer: issuer.clone(),
            link: leaf.clone(),
            verdict,
            under_way: Arc::clone(&self.under_way),
        });
        Ok(told)
    }

    /// Where questions for this responder go in.
    fn entrance(&self, statuses: &Arc<Statuses>) -> Result<mpsc::Sender<Question>, ChainRefusal> {
        let mut entrances = lock(&self.entrances);
        let url = &statuses.url().value;
        if let Some(entrance) = entrances.get_mut(url)
            && !entrance.questions.is_closed()
        {
            // Of two trust sets with one responder the one that asks is there.
            entrance.memory = Arc::downgrade(statuses);
            return Ok(entrance.questions.clone());
        }
        // What waits in a line that is left is asked still.
        entrances.retain(|_, entrance| entrance.memory.strong_count() > 0);
        let (questions, asked) = mpsc::channel(WAITING);
        self.lines
            .try_send(Line(asked))
            .map_err(|_| ChainRefusal::StatusUnavailable)?;
        let entrance = Entrance {
            questions: questions.clone(),
            memory: Arc::downgrade(statuses),
        };
        entrances.insert(url.clone(), entrance);
        Ok(questions)
    }
}

impl Question {
    /// Tells everybody who waits. What the memory holds is to be there before.
    pub fn answered(self, verdict: Result<(), ChainRefusal>) {
        let _ = self.verdict.send(Some(verdict));
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        // Whoever came between the verdict and here has read it.
        lock(&self.under_way).remove(&key(&self.statuses, &self.link));
    }
}

/// A memory that a question speaks of lives as long as the question.
fn key(statuses: &Arc<Statuses>, link: &Link) -> Key {
    let memory = Arc::as_ptr(statuses).addr();
    (memory, link.issuer, link.serial.clone())
}

/// A panic elsewhere cannot have left a map half-changed.
fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ClientIdentity;
    use crate::revocation::testing::{Ca, usual};
    use crate::tls::{ClientTrust, Revocation};
    use config::{NameKind, Place, Placed};
    use rcgen::{CertificateParams, KeyPair, SanType, SerialNumber};
    use std::time::Duration;

    struct Fleet {
        ca: Ca,
        clients: Clients,
    }

    impl Fleet {
        fn new() -> Fleet {
            Fleet::of("http://127.0.0.1:1/ocsp")
        }

        fn of(responder: &str) -> Fleet {
            let ca = usual("one");
            let url = Placed {
                value: OcspUrl::parse(responder).unwrap(),
                place: Place::whole(std::path::Path::new("gateway.toml")),
            };
            let trust = ClientTrust::new(
                TrustName::parse("devices").unwrap(),
                NameKind::SanUri,
                vec![ca.authority.clone()],
                Vec::new(),
                Revocation::Off,
            );
            let statuses = Arc::new(Statuses::new(url, Duration::from_mins(5)));
            let trust = Arc::new(trust.with_statuses(Some(statuses)));
            Fleet {
                ca,
                clients: Clients::Required(trust),
            }
        }

        fn device(&self, serial: u64) -> Client {
            let mut params = CertificateParams::default();
            let name = "urn:example:pump-1".try_into().unwrap();
            params.subject_alt_names = vec![SanType::URI(name)];
            params.serial_number = Some(SerialNumber::from(serial));
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &self.ca.signer).unwrap();
            let (path, issuers) = ([certificate.der().clone()], [self.ca.authority.key()]);
            let trust = TrustName::parse("devices").unwrap();
            let identity = ClientIdentity::read(&trust, NameKind::SanUri, &path, &issuers);
            Client::Known(Arc::new(identity.unwrap()))
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_who_wait_for_one_certificate_one_asks_and_all_are_told() {
        let fleet = Fleet::new();
        let device = fleet.device(7);
        let (asker, mut lines) = Asker::new();
        let settle = || asker.settle(&device, &fleet.clients, soon());
        let mut questions = None;
        let answering = async {
            let Line(line) = lines.recv().await.unwrap();
            let question = questions.insert(line).recv().await.unwrap();
            assert_eq!(question.link.serial.to_string(), "07");
            question.answered(Err(ChainRefusal::Revoked));
        };
        let (one, two, three, ()) = tokio::join!(settle(), settle(), settle(), answering);
        assert_eq!([one, two, three], [Err(ChainRefusal::Revoked); 3]);
        let mut questions = questions.unwrap();
        assert!(questions.try_recv().is_err(), "one question for all");
        assert!(lock(&asker.under_way).is_empty());
        // Nothing was remembered: the next one asks again.
        let answering = async {
            questions.recv().await.unwrap().answered(Ok(()));
        };
        let (again, ()) = tokio::join!(settle(), answering);
        assert_eq!(again, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_vouched_for_in_time_is_refused_and_so_is_who_finds_no_room() {
        let fleet = Fleet::new();
        let (asker, mut lines) = Asker::new();
        let silent = fleet.device(1);
        let settled = asker.settle(&silent, &fleet.clients, soon()).await;
        assert_eq!(settled, Err(ChainRefusal::StatusUnavailable));
        let Line(mut questions) = lines.recv().await.unwrap();
        // A question that is given up tells those who wait.
        let other = fleet.device(2);
        let giving_up = async {
            drop(questions.recv().await);
            drop(questions.recv().await);
        };
        let late = Instant::now() + Duration::from_hours(1);
        let (settled, ()) = tokio::join!(asker.settle(&other, &fleet.clients, late), giving_up);
        assert_eq!(settled, Err(ChainRefusal::StatusUnavailable));
        assert!(Instant::now() < late);
        assert!(lock(&asker.under_way).is_empty());
        let Clients::Required(trust) = &fleet.clients else {
            panic!("clients show certificates");
        };
        let Client::Known(identity) = &silent else {
            panic!("it has a certificate");
        };
        let issuer = &fleet.ca.authority;
        let ask = |serial: usize| {
            let mut link = identity.path()[0].clone();
            link.serial = Serial::new(&(serial + 1000).to_be_bytes());
            asker.ask(&trust.name, trust.statuses().unwrap(), issuer, &link)
        };
        for serial in 0..WAITING {
            assert!(ask(serial).is_ok(), "{serial}");
        }
        let refused = asker.settle(&silent, &fleet.clients, late).await;
        assert_eq!(refused, Err(ChainRefusal::StatusUnavailable));
        assert_eq!(lock(&asker.under_way).len(), WAITING);
        // Who asks another responder is not held up.
        let elsewhere = Fleet::of("http://127.0.0.1:2/ocsp");
        let device = elsewhere.device(1);
        let answering = async {
            let Line(mut questions) = lines.recv().await.unwrap();
            questions.recv().await.unwrap().answered(Ok(()));
        };
        let settling = asker.settle(&device, &elsewhere.clients, late);
        let (settled, ()) = tokio::join!(settling, answering);
        assert_eq!(settled, Ok(()));
        drop(questions);
        assert!(lock(&asker.under_way).is_empty(), "nothing stays behind");
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_for_a_responder_that_nobody_names_any_more_ends() {
        let (asker, mut lines) = Asker::new();
        let mut first = None;
        for port in 1..=(2 * NEW) {
            let fleet = Fleet::of(&format!("http://127.0.0.1:{port}/ocsp"));
            let device = fleet.device(1);
            let answering = async {
                let Line(mut questions) = lines.recv().await.unwrap();
                questions.recv().await.unwrap().answered(Ok(()));
                first.get_or_insert(questions);
            };
            let settling = asker.settle(&device, &fleet.clients, soon());
            assert_eq!(tokio::join!(settling, answering).0, Ok(()));
            assert!(lock(&asker.entrances).len() <= 2);
        }
        assert!(first.unwrap().recv().await.is_none());
    }

    #[tokio::test]
    async fn where_nobody_is_asked_there_is_nothing_to_wait_for() {
        let fleet = Fleet::new();
        let (asker, _lines) = Asker::new();
        let now = Instant::now();
        let nobody = asker.settle(&Client::Anonymous, &fleet.clients, now);
        assert_eq!(nobody.await, Ok(()));
        let device = fleet.device(7);
        assert_eq!(asker.settle(&device, &Clients::None, now).await, Ok(()));
    }
}
