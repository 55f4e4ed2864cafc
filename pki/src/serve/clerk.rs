//! The one thread that has the authority in its hands: the inventory, the keys, the files. Whoever
//! serves a connection asks it through a bounded queue and waits, so that nothing that blocks stands
//! on the runtime, and one connection to the inventory serves them all.
//!
//! Between questions it tends what is published: the responder's certificate, CRLs at half of their
//! time, and the status of every live certificate, signed ahead. A revocation is in the next answer:
//! whether the inventory changed is looked at for each question. What is remembered is gone after a
//! crash, and signed anew.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use ocsp::{CertId, ErrorStatus, HashAlgorithm, Issuer};
use tokio::sync::oneshot;

use super::attempts::Attempts;
use super::cache::{Answered, Cache, Key};
use super::published::{Lists, Published};
use crate::authority::AuthorityCertificate;
use crate::ca::{Applicant, Ca, Renewal};
use crate::error::Error;
use crate::inspect::Inspected;
use crate::revocation::PublishedCrl;
use crate::serial::Serial;
use crate::status::{Signer, StatusError, told};
use crate::store::{CertificateId, Standing, Status};

/// Questions that wait. A connection has one at a time, so that more than there are connections are
/// never there.
const QUEUE: usize = 512;
/// So often what is published is looked after.
const TEND: Duration = Duration::from_secs(1);
/// So long after something failed it is tried again, and CRLs and the responder are looked at though
/// nothing changed.
const PATIENCE: Duration = Duration::from_mins(1);
/// Most statuses that are remembered, about 1 kB each.
const REMEMBERED: usize = 65_536;
/// Most that are signed ahead: the rest is for those that are asked for.
const AHEAD: usize = REMEMBERED / 4 * 3;
/// Statuses that are looked at before the next question gets its turn: some milliseconds if all must
/// be signed.
const PAGE: u32 = 16;
/// Between the beginnings of two rounds of signing ahead.
const ROUND: Duration = Duration::from_secs(10);

/// A question, and where its answer goes. Whoever asked may be gone by then.
#[derive(Debug)]
pub(crate) enum Ask {
    /// The status of a certificate.
    Status {
        certificate: CertId,
        reply: oneshot::Sender<Result<Arc<Answered>, ErrorStatus>>,
    },
    /// The CRL in the file of this name.
    List {
        name: String,
        reply: oneshot::Sender<Option<Arc<Published>>>,
    },
    /// A certificate for the key of this request.
    Enrol {
        request: Vec<u8>,
        applicant: Applicant,
        address: IpAddr,
        /// Whether it takes the place of one that may have ended.
        again: bool,
        reply: oneshot::Sender<Result<Vec<u8>, Error>>,
    },
}

/// Where questions are put. When all of these are gone, the clerk goes home.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    queue: SyncSender<Ask>,
}

impl Desk {
    /// Asks. `None` if too many wait, or nobody is there any more.
    pub(crate) async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(ask(reply)).ok()?;
        answer.await.ok()
    }
}

/// Opens the desk, with everything in order behind it.
///
/// Refused if no status can be signed: somebody should know before clients do.
pub(crate) fn open(
    ca: Ca,
    window: SignedDuration,
    clock: fn() -> Timestamp,
) -> Result<(Desk, JoinHandle<()>), Error> {
    ca.hold_issuing_key()?;
    let mut clerk = Clerk::new(ca, window, clock)?;
    clerk.renew_responder(clock())?;
    clerk.tend();
    let (queue, questions) = sync_channel(QUEUE);
    let thread = std::thread::Builder::new()
        .name("authority".to_owned())
        .spawn(move || clerk.work(&questions))
        .map_err(|source| Error::Server { source })?;
    Ok((Desk { queue }, thread))
}

struct Clerk {
    ca: Ca,
    /// Whose certificates are answered for.
    issuer: AuthorityCertificate,
    window: SignedDuration,
    /// How long after its end a certificate can be replaced by its holder.
    grace: SignedDuration,
    clock: fn() -> Timestamp,
    lists: Lists,
    signer: Option<(Signer, Serial)>,
    cache: Cache,
    /// The state of the inventory that was last seen, as far as it says.
    version: i64,
    /// Questions that an inventory was asked that does not say whether it changed.
    unsure: i64,
    /// The state of the inventory, and when, that what is published was last brought up to.
    tended: Option<(i64, Instant)>,
    round: Round,
    attempts: Attempts,
    responder_trouble: Trouble,
    crl_trouble: Trouble,
    /// Whether it was told that the root's CRL is due.
    wants_root_crl: bool,
    status_trouble: Trouble,
}

/// A walk through the inventory that signs ahead.
struct Round {
    /// The state of the inventory in which it began, and when.
    began: Option<(i64, Instant)>,
    at: Place,
}

/// Where a walk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the latest certificate.
    Start,
    /// Behind this one.
    After(CertificateId),
    /// Nobody walks.
    End,
}

impl Clerk {
    fn new(ca: Ca, window: SignedDuration, clock: fn() -> Timestamp) -> Result<Self, Error> {
        Ok(Self {
            issuer: ca.issuing()?.clone(),
            lists: Lists::new(ca.crl_directory()),
            version: ca.version()?.unwrap_or(0),
            grace: SignedDuration::from_hours(24 * i64::from(ca.serve_settings().est_grace_days)),
            unsure: 0,
            ca,
            window,
            clock,
            signer: None,
            cache: Cache::new(REMEMBERED),
            tended: None,
            round: Round {
                began: None,
                at: Place::End,
            },
            attempts: Attempts::new(Instant::now()),
            responder_trouble: Trouble::new("the OCSP responder's certificate"),
            crl_trouble: Trouble::new("the CRLs"),
            wants_root_crl: false,
            status_trouble: Trouble::new("the status of certificates"),
        })
    }

    /// Until all desks are gone.
    fn work(mut self, questions: &Receiver<Ask>) {
        let mut looked = Instant::now();
        loop {
            let ask = match self.round.at {
                Place::End => match questions.recv_timeout(TEND) {
                    Ok(ask) => Some(ask),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
                Place::Start | Place::After(_) => match questions.try_recv() {
                    Ok(ask) => Some(ask),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return,
                },
            };
            match ask {
                Some(ask) => self.answer(ask),
                None => self.sign_ahead(),
            }
            if looked.elapsed() >= TEND {
                self.tend();
                looked = Instant::now();
            }
        }
    }

    fn answer(&mut self, ask: Ask) {
        // Whoever asked may have hung up.
        match ask {
            Ask::Status { certificate, reply } => {
                let _ = reply.send(self.status(&certificate));
            }
            Ask::List { name, reply } => {
                let _ = reply.send(self.lists.get(&name));
            }
            Ask::Enrol {
                request,
                applicant,
                address,
                again,
                reply,
            } => {
                // Whoever hung up gets nothing: neither a token nor a serial is spent for him.
                if reply.is_closed() {
                    return;
                }
                let grace = if again {
                    self.grace
                } else {
                    SignedDuration::ZERO
                };
                let now = (self.clock)();
                let enrolled = self.ca.enrol(request, applicant, (address, grace), now);
                let _ = reply.send(match enrolled {
                    Err(error) => Err(self.put_attempt_on_record(error, address)),
                    enrolled => enrolled,
                });
            }
        }
    }

    /// Whoever still has a revoked certificate, and tries, is what an auditor looks for. Returns what is to be
    /// answered.
    fn put_attempt_on_record(&mut self, error: Error, address: IpAddr) -> Error {
        if let Error::AlreadyRevoked { serial, .. } = &error {
            let put = || self.ca.put_attempt_on_record(&error, serial, address);
            if let Err(failed) = self.attempts.tell(serial, Instant::now(), put) {
                return failed;
            }
        }
        error
    }

    /// The status of a certificate, as it is in the inventory now.
    fn status(&mut self, certificate: &CertId) -> Result<Arc<Answered>, ErrorStatus> {
        let named = Issuer::of_certificate(self.issuer.der()).ok_or(ErrorStatus::InternalError)?;
        // The root's certificates are on its CRL. Unsigned, as for all that is not known: nobody
        // makes the responder sign by asking (RFC 5019 section 2.2.3).
        if !certificate.is_of(named) {
            return Err(ErrorStatus::Unauthorized);
        }
        let serial = Serial::from_octets(certificate.serial());
        let serial = serial.map_err(|_| ErrorStatus::Unauthorized)?;
        let key = Key {
            hash: certificate.hash(),
            serial,
        };
        let now = (self.clock)();
        match self.look_up(&key, certificate, now) {
            Ok(answered) => {
                self.status_trouble.is_over();
                answered.ok_or(ErrorStatus::Unauthorized)
            }
            // Nothing is said that may be wrong by now.
            Err(error) => {
                self.status_trouble.is(&error);
                Err(ErrorStatus::TryLater)
            }
        }
    }

    fn look_up(
        &mut self,
        key: &Key,
        certificate: &CertId,
        now: Timestamp,
    ) -> Result<Option<Arc<Answered>>, Error> {
        let version = match self.ca.version()? {
            Some(version) => {
                self.version = version;
                version
            }
            // Never one in which something was looked up: it is looked up now.
            None => {
                self.unsure += 1;
                -self.unsure
            }
        };
        if let Some(answered) = self.cache.right(key, version)
            && !answered.is_due(now)
        {
            return Ok(Some(Arc::clone(answered)));
        }
        match self.ca.standing(&key.serial)? {
            None => Ok(None),
            Some(standing) => self.up_to_date(key, certificate, &standing, now),
        }
    }

    /// What is told of a certificate that stands so: what was signed, if it still says so, or else a
    /// new one.
    fn up_to_date(
        &mut self,
        key: &Key,
        certificate: &CertId,
        standing: &Standing,
        now: Timestamp,
    ) -> Result<Option<Arc<Answered>>, Error> {
        let Some(status) = told(standing, now) else {
            return Ok(None);
        };
        let last = self
            .cache
            .last(key)
            .filter(|last| last.status == status)
            .cloned();
        if let Some(last) = &last
            && !last.is_due(now)
        {
            self.cache.confirm(key, self.version);
            return Ok(Some(Arc::clone(last)));
        }
        let signed = match &self.signer {
            Some((signer, _)) => signer
                .sign(certificate, status, now, self.window)
                .map_err(Error::from),
            None => Err(StatusError::NoResponder.into()),
        };
        match (signed, last) {
            (Ok(signed), _) => {
                let answered = Arc::new(Answered::from(signed));
                self.cache
                    .keep(key.clone(), Arc::clone(&answered), self.version);
                Ok(Some(answered))
            }
            // It says what is so, and for some time to come.
            (Err(error), Some(last)) if now < last.next_update => {
                self.status_trouble.is(&error);
                Ok(Some(last))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Looks after what is published. What fails is told once, and tried again.
    fn tend(&mut self) {
        let now = (self.clock)();
        match self.ca.version() {
            Ok(version) => self.version = version.unwrap_or(self.version),
            Err(error) => return self.status_trouble.is(&error),
        }
        let is_tended = self
            .tended
            .is_some_and(|(version, when)| version == self.version && when.elapsed() < PATIENCE);
        if !is_tended {
            self.tended = Some((self.version, Instant::now()));
            match self.renew_responder(now) {
                Ok(()) => self.responder_trouble.is_over(),
                Err(error) => self.responder_trouble.is(&error),
            }
            match self.sign_crls(now) {
                Ok(signed) => {
                    self.crl_trouble.is_over();
                    for crl in signed {
                        let next_update = crl.state.next_update;
                        tracing::info!(crl = %crl.path.display(), %next_update, "signed anew");
                    }
                }
                Err(error) => self.crl_trouble.is(&error),
            }
            self.look_at_root_crl(now);
        }
        self.begin_round();
    }

    /// Tells once that the root's CRL is due, where its key is elsewhere.
    fn look_at_root_crl(&mut self, now: Timestamp) {
        match self.ca.wanted_root_crl(now) {
            Ok(Some(path)) if !self.wants_root_crl => {
                self.wants_root_crl = true;
                tracing::warn!(crl = %path.display(), "the root's CRL is due: sign it where the root is, and bring it here (pki ceremony import)");
            }
            Ok(Some(_)) => {}
            Ok(None) => self.wants_root_crl = false,
            Err(error) => self.crl_trouble.is(&error),
        }
    }

    fn sign_crls(&mut self, now: Timestamp) -> Result<Vec<PublishedCrl>, Error> {
        if self.ca.has_due_crl(now)? {
            self.ca.sign_crls(Renewal::Due, None, now)
        } else {
            Ok(Vec::new())
        }
    }

    /// Sees to it that there is a responder's certificate that is good for a while.
    fn renew_responder(&mut self, now: Timestamp) -> Result<(), Error> {
        if let Some((signer, serial)) = &self.signer {
            let validity = signer.validity();
            let is_young =
                validity.not_before.duration_until(now) < now.duration_until(validity.not_after);
            let standing = self.ca.standing(serial)?;
            let is_good = standing.is_some_and(|standing| standing.status == Status::Issued);
            if is_young && is_good {
                return Ok(());
            }
            if !is_good {
                // Revoked: nothing that it signed is shown any more.
                self.signer = None;
                self.cache.clear();
            }
        }
        let responder = self.ca.responder(now)?;
        let inspected = Inspected::read(&responder.certificate).ok_or(Error::Foreign)?;
        let serial = inspected.serial;
        let signer = Signer::new(
            self.issuer.clone(),
            responder.certificate,
            responder.key,
            responder.validity,
        )?;
        tracing::info!(%serial, not_after = %signer.validity().not_after, "OCSP responses are signed by this certificate");
        self.signer = Some((signer, serial));
        Ok(())
    }

    /// Begins to sign ahead if the inventory changed, or some of what is signed may be due.
    fn begin_round(&mut self) {
        let quiet = self.window.unsigned_abs() / 16;
        let is_time = self.round.began.is_none_or(|(version, when)| {
            when.elapsed() >= quiet || (version != self.version && when.elapsed() >= ROUND)
        });
        if self.round.at == Place::End && is_time {
            self.round.began = Some((self.version, Instant::now()));
            self.round.at = Place::Start;
        }
    }

    /// Signs the next few statuses of a round.
    fn sign_ahead(&mut self) {
        let before = match self.round.at {
            Place::Start => None,
            Place::After(last) => Some(last),
            Place::End => return,
        };
        self.round.at = match self.sign_page(before, (self.clock)()) {
            Ok(Some(last)) if self.cache.len() < AHEAD => Place::After(last),
            Ok(_) => Place::End,
            Err(error) => {
                self.status_trouble.is(&error);
                Place::End
            }
        };
    }

    fn sign_page(
        &mut self,
        before: Option<CertificateId>,
        now: Timestamp,
    ) -> Result<Option<CertificateId>, Error> {
        let standings = self.ca.standings(before, PAGE, now)?;
        let issuer = self.issuer.clone();
        let named = Issuer::of_certificate(issuer.der()).ok_or(Error::Foreign)?;
        for standing in &standings {
            // What RFC 5019 section 2.1.1 has clients ask with.
            let hash = HashAlgorithm::Sha1;
            let Ok(certificate) = CertId::of(hash, named, standing.serial.octets()) else {
                continue;
            };
            let key = Key {
                hash,
                serial: standing.serial.clone(),
            };
            self.up_to_date(&key, &certificate, standing, now)?;
        }
        Ok(standings.last().map(|last| last.id))
    }
}

/// What does not work is told when it begins or becomes something else, and when it is over.
struct Trouble {
    about: &'static str,
    told: Option<String>,
}

impl Trouble {
    fn new(about: &'static str) -> Self {
        Self { about, told: None }
    }

    fn is(&mut self, error: &Error) {
        let error = error.to_string();
        if self.told.as_ref() != Some(&error) {
            tracing::error!(error, "{} cannot be brought up to date", self.about);
            self.told = Some(error);
        }
    }

    fn is_over(&mut self) {
        if self.told.take().is_some() {
            tracing::info!("{}: up to date again", self.about);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::authority::AuthorityName;
    use crate::ca::Plan;
    use crate::issue::{KeySource, Order};
    use crate::name::Name;
    use crate::profile::EndEntity;
    use crate::reason::Reason;
    use crate::store::Find;

    const DAY: i64 = 86_400;

    thread_local! {
        /// Each test has a thread, and its own time.
        static PASSED: Cell<i64> = const { Cell::new(0) };
    }

    fn clock() -> Timestamp {
        Timestamp::from_second(1_800_000_000 + PASSED.get()).unwrap()
    }

    fn wait(seconds: i64) {
        PASSED.set(PASSED.get() + seconds);
    }

    struct World {
        directory: tempfile::TempDir,
        clerk: Clerk,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let plan = Plan::new(AuthorityName::parse("Test").unwrap());
            let ca = Ca::init(&directory.path().join("pki"), &plan, clock()).unwrap();
            let mut clerk = Clerk::new(ca, SignedDuration::from_hours(24), clock).unwrap();
            clerk.renew_responder(clock()).unwrap();
            clerk.tend();
            Self { directory, clerk }
        }

        /// Somebody else, with the inventory open.
        fn other(&self) -> Ca {
            Ca::open(&self.directory.path().join("pki")).unwrap()
        }

        fn issue(&self, name: &str) -> Serial {
            let device = EndEntity::Device;
            let order = Order {
                profile: device,
                names: device.admit(vec![Name::uri(name).unwrap()]).unwrap(),
                key: KeySource::New,
                days: None,
            };
            let out = self.directory.path().join(name);
            let issued = self.other().issue(order, &out, clock()).unwrap();
            issued.record.serial
        }

        fn ask(
            &mut self,
            hash: HashAlgorithm,
            serial: &Serial,
        ) -> Result<Arc<Answered>, ErrorStatus> {
            let issuer = self.clerk.issuer.clone();
            let named = Issuer::of_certificate(issuer.der()).unwrap();
            let id = CertId::of(hash, named, serial.octets()).unwrap();
            self.clerk.status(&id)
        }

        /// Lets a round of signing ahead run to its end.
        fn walk(&mut self) {
            while self.clerk.round.at != Place::End {
                self.clerk.sign_ahead();
            }
        }

        fn count(&self, profile: &'static str) -> u64 {
            let filter = crate::store::Filter {
                profile: crate::profile::named(profile),
                ..Default::default()
            };
            self.other().list(&filter, None, 1, clock()).unwrap().total
        }
    }

    #[test]
    fn one_signature_serves_many_questions_until_half_of_its_time() {
        let mut world = World::new();
        let serial = world.issue("urn:example:a");
        let mut ask = || world.ask(HashAlgorithm::Sha256, &serial).unwrap();
        let first = ask();
        assert_eq!(first.status, ocsp::Status::Good);
        wait(DAY / 2 - 1);
        assert!(Arc::ptr_eq(&first, &ask()));
        wait(1);
        assert!(!Arc::ptr_eq(&first, &ask()));
    }

    #[test]
    fn a_revocation_is_in_the_next_answer_and_other_changes_cost_no_signature() {
        let mut world = World::new();
        let (one, two) = (world.issue("urn:example:a"), world.issue("urn:example:b"));
        let before = world.ask(HashAlgorithm::Sha1, &one).unwrap();
        let other = world.ask(HashAlgorithm::Sha1, &two).unwrap();
        let find = Find::Serial(one.clone());
        world
            .other()
            .revoke(&find, Reason::KeyCompromise, clock())
            .unwrap();
        let after = world.ask(HashAlgorithm::Sha1, &one).unwrap();
        assert!(
            matches!(after.status, ocsp::Status::Revoked { reason: Some(reason), .. } if reason.code() == 1)
        );
        assert_ne!(before.etag, after.etag);
        assert!(Arc::ptr_eq(
            &other,
            &world.ask(HashAlgorithm::Sha1, &two).unwrap()
        ));
    }

    #[test]
    fn live_certificates_are_signed_ahead_and_found_ready() {
        let mut world = World::new();
        let serials: Vec<Serial> = (0..PAGE + 3)
            .map(|number| world.issue(&format!("urn:example:{number}")))
            .collect();
        world.clerk.round.began = None;
        world.clerk.tend();
        world.walk();
        // The responder's own certificate is one of them.
        assert_eq!(world.clerk.cache.len(), serials.len() + 1);
        let key = Key {
            hash: HashAlgorithm::Sha1,
            serial: serials[0].clone(),
        };
        let ready = Arc::clone(world.clerk.cache.last(&key).unwrap());
        assert!(Arc::ptr_eq(
            &ready,
            &world.ask(HashAlgorithm::Sha1, &serials[0]).unwrap()
        ));
    }

    #[test]
    fn what_is_not_known_not_signed_or_over_gets_no_signature() {
        let mut world = World::new();
        let serial = world.issue("urn:example:a");
        let nobodys = Serial::from_octets(&[7; 16]).unwrap();
        let refused = Err(ErrorStatus::Unauthorized);
        let asked = |world: &mut World, serial| world.ask(HashAlgorithm::Sha1, serial).map(|_| ());
        assert_eq!(asked(&mut world, &nobodys), refused);
        assert_eq!(asked(&mut world, &serial), Ok(()));
        wait(91 * DAY);
        assert_eq!(asked(&mut world, &serial), refused);
        // Another issuer of a certificate with the same serial.
        let root = world.clerk.ca.root().clone();
        let named = Issuer::of_certificate(root.der()).unwrap();
        let id = CertId::of(HashAlgorithm::Sha1, named, serial.octets()).unwrap();
        assert_eq!(world.clerk.status(&id).map(|_| ()), refused);
    }

    #[test]
    fn crls_are_signed_anew_at_half_of_their_time() {
        let mut world = World::new();
        let numbers = |world: &World| -> Vec<u64> {
            let crls = world.other().crls().unwrap();
            crls.iter().map(|crl| crl.state.number).collect()
        };
        let mut after = |seconds: i64| {
            wait(seconds);
            world.clerk.tended = None;
            world.clerk.tend();
            numbers(&world)
        };
        assert_eq!(after(3 * DAY), [1, 1]);
        assert_eq!(after(DAY), [2, 1]);
        assert_eq!(after(DAY), [2, 1]);
        assert_eq!(after(90 * DAY), [3, 2]);
    }

    #[test]
    fn the_responder_is_renewed_at_half_of_its_life_and_at_once_if_it_is_revoked() {
        let mut world = World::new();
        let of = |world: &World| world.clerk.signer.as_ref().unwrap().1.clone();
        let first = of(&world);
        world.clerk.renew_responder(clock()).unwrap();
        assert_eq!((of(&world), world.count("ocsp")), (first.clone(), 1));
        wait(15 * DAY);
        world.clerk.renew_responder(clock()).unwrap();
        let second = of(&world);
        assert_ne!(second, first);
        let device = world.issue("urn:example:a");
        let answered = world.ask(HashAlgorithm::Sha1, &device).unwrap();
        let find = Find::Serial(second.clone());
        world
            .other()
            .revoke(&find, Reason::KeyCompromise, clock())
            .unwrap();
        world.clerk.tend();
        assert_ne!(of(&world), second);
        let again = world.ask(HashAlgorithm::Sha1, &device).unwrap();
        assert_ne!(answered.etag, again.etag);
        assert_eq!(world.count("ocsp"), 3);
    }

    #[test]
    fn without_a_responder_what_is_signed_is_shown_while_it_is_right_and_nothing_else() {
        let mut world = World::new();
        let (one, two) = (world.issue("urn:example:a"), world.issue("urn:example:b"));
        world.ask(HashAlgorithm::Sha1, &one).unwrap();
        world.clerk.signer = None;
        let mut asked = |serial| world.ask(HashAlgorithm::Sha1, serial).map(|_| ());
        assert_eq!(asked(&two), Err(ErrorStatus::TryLater));
        wait(DAY - 1);
        assert_eq!(asked(&one), Ok(()));
        wait(1);
        assert_eq!(asked(&one), Err(ErrorStatus::TryLater));
    }
}
