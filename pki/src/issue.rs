//! Issuing an end-entity certificate in seven steps, after Let's Encrypt's boulder.
//!
//! Each step consumes the value of the one before it, so none can be left out or taken twice, and
//! each leaves in the inventory what a later look needs. Dead after step 2 leaves a serial that
//! nobody gets again; dead after step 3, 4, 5 or 6 leaves a `pending` or `issued` serial that can be
//! revoked: a certificate that may exist is always known, to the audit log as well. Files are `outbox`'s
//! business.
//!
//! Steps 4 and 6 come in groups too, for who issues many: one wait for the disk is enough for all of them.

use jiff::Timestamp;

use crate::authority::{Authority, AuthorityCertificate, Draft, Issuing, Subject};
use crate::error::Error;
use crate::key::{KeyError, PrivateKey};
use crate::log::{Asker, Intended, Recorded, Recorder};
use crate::profile::{AuthorityRole, EndEntity, Names, ProfileError, whole_seconds};
use crate::public_key::{KeyId, sha256};
use crate::publication::{Pointers, Publication};
use crate::request::Request;
use crate::secret::Secret;
use crate::serial::Serial;
use crate::store::{AuthorityId, CertificateId, KeyOrigin, Reservation, Store};

/// A certificate that somebody asks for.
#[derive(Debug)]
pub struct Order {
    /// The profile.
    pub profile: EndEntity,
    /// The names it is to carry. They come from whoever runs the authority, never from a request.
    pub names: Names,
    /// The key it is to certify.
    pub key: KeySource,
    /// Its lifetime in days; the profile's if `None`.
    pub days: Option<u32>,
}

/// Where the key of a new certificate comes from.
#[derive(Debug)]
pub enum KeySource {
    /// It is made here. That is explicit, and recorded, because a key should not leave its holder.
    New,
    /// It is made here, and encrypted by this passphrase before it is written.
    NewEncrypted(Secret),
    /// It is in this signing request, PEM or DER.
    Request(Vec<u8>),
}

/// After step 1: the profile grants it.
#[derive(Debug)]
pub(crate) struct Validated {
    subject: Subject,
    secret: Option<PrivateKey>,
    key_origin: KeyOrigin,
    passphrase: Option<Secret>,
    /// SHA-256 of the one-time token that is used up with the serial's reservation.
    token: Option<[u8; 32]>,
    predecessor: Option<CertificateId>,
}

/// After step 2: the serial is drawn, and nobody else gets it.
#[derive(Debug)]
pub(crate) struct Reserved {
    id: CertificateId,
    serial: Serial,
    subject: Subject,
    key_origin: KeyOrigin,
}

/// After step 3: what will be signed is linted and known by its hash.
#[derive(Debug)]
pub(crate) struct Pending {
    id: CertificateId,
    serial: Serial,
    subject: Subject,
    key_origin: KeyOrigin,
    issuer: KeyId,
    draft: Draft<Issuing>,
}

/// After step 4: that it will be signed is on record, durable.
#[derive(Debug)]
pub(crate) struct OnRecord {
    id: CertificateId,
    serial: Serial,
    draft: Draft<Issuing>,
    recorded: Recorded,
}

/// After step 5: it is signed.
#[derive(Debug)]
pub(crate) struct Signed {
    id: CertificateId,
    serial: Serial,
    der: Vec<u8>,
}

/// In step 6: it is in the inventory.
#[derive(Debug)]
pub(crate) struct Stored {
    serial: Serial,
    der: Vec<u8>,
}

/// After step 6: it is in the inventory and on record, and may be handed over.
#[derive(Debug)]
pub(crate) struct Issued {
    /// Its serial.
    pub(crate) serial: Serial,
    /// Its octets.
    pub(crate) der: Vec<u8>,
}

impl Validated {
    /// Step 1: judges the order by the profile, and the request by its signature and its wishes.
    pub(crate) fn check(
        order: Order,
        issuer: &AuthorityCertificate,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let profile = order.profile.profile();
        let validity = profile.validity(order.days, now, Some(&issuer.validity()))?;
        if let Some(constraints) = issuer.constraints()
            && let Some(position) = order
                .names
                .all()
                .iter()
                .position(|name| !constraints.permit(name))
        {
            return Err(ProfileError::NotPermitted { position }.into());
        }
        let new = || PrivateKey::generate(profile.new_key).map_err(unnamed);
        let (request, passphrase) = match order.key {
            KeySource::New => (None, None),
            KeySource::NewEncrypted(passphrase) => (None, Some(passphrase)),
            KeySource::Request(bytes) => (Some(Request::parse(&bytes)?), None),
        };
        let (key, secret) = match request {
            Some(request) => (request.agree(order.profile, &order.names)?, None),
            None => {
                let secret = new()?;
                (secret.public().clone(), Some(secret))
            }
        };
        Ok(Self {
            key_origin: match secret {
                Some(_) => KeyOrigin::New,
                None => KeyOrigin::Request,
            },
            subject: Subject {
                profile: order.profile,
                names: order.names,
                key,
                validity,
                pointers: Pointers::default(),
            },
            secret,
            passphrase,
            token: None,
            predecessor: None,
        })
    }

    /// Asked for with a one-time token.
    pub(crate) fn with_token(mut self, sha256: Option<[u8; 32]>) -> Self {
        self.token = sha256;
        self
    }

    /// Asked for with the certificate that it follows.
    pub(crate) fn with_predecessor(mut self, predecessor: Option<CertificateId>) -> Self {
        self.predecessor = predecessor;
        self
    }

    /// The secret key, if it was made here.
    pub(crate) fn secret(&self) -> Option<&PrivateKey> {
        self.secret.as_ref()
    }

    /// Gives out the secret key, if it was made here.
    pub(crate) fn take_secret(&mut self) -> Option<PrivateKey> {
        self.secret.take()
    }

    /// What the secret key is encrypted by where it is written, if it is.
    pub(crate) fn passphrase(&self) -> Option<&Secret> {
        self.passphrase.as_ref()
    }

    /// Step 2: records the serial as drawn, unless the inventory knows something of the key that
    /// speaks against it. The serial decides which shard of the CRL the certificate names.
    pub(crate) fn reserve(
        mut self,
        serial: Serial,
        (issuer, publication): (AuthorityId, Option<&Publication>),
        store: &mut Store,
        now: Timestamp,
    ) -> Result<Reserved, Error> {
        let shard = publication.map(|publication| publication.shard_of(&serial));
        if let Some(publication) = publication {
            self.subject.pointers = match self.subject.profile {
                // Nobody asks about a responder; it carries the mark that says so instead.
                EndEntity::Responder => Pointers::default(),
                _ => publication.pointers(AuthorityRole::Issuing, shard),
            };
        }
        let reservation = Reservation {
            profile: self.subject.profile.profile(),
            label: &self.subject.names.label(),
            names: self.subject.names.all(),
            key: &self.subject.key,
            key_origin: self.key_origin,
            shard,
            token: self.token,
            predecessor: self.predecessor,
        };
        let id = store.reserve(issuer, &serial, &reservation, whole_seconds(now)?)?;
        Ok(Reserved {
            id,
            serial,
            subject: self.subject,
            key_origin: self.key_origin,
        })
    }
}

impl Reserved {
    /// Step 3: builds and lints what will be signed, and records its hash as pending.
    pub(crate) fn draft(
        self,
        authority: &Authority<Issuing>,
        store: &mut Store,
    ) -> Result<Pending, Error> {
        let draft = authority.draft(&self.subject, &self.serial)?;
        store.pending(self.id, draft.tbs_sha256(), draft.validity())?;
        Ok(Pending {
            id: self.id,
            serial: self.serial,
            subject: self.subject,
            key_origin: self.key_origin,
            issuer: authority.certificate().key_id(),
            draft,
        })
    }
}

impl Pending {
    /// Step 4: puts on record that this will be signed, and who asked for it.
    pub(crate) fn record(self, by: &Asker, recorder: &Recorder) -> Result<OnRecord, Error> {
        let recorded = recorder.intend(&self.intended(by))?;
        Ok(self.recorded(recorded))
    }

    /// The same for many, behind one wait for the disk; in their order.
    #[allow(
        dead_code,
        reason = "for who issues many at once, which no verb does yet"
    )]
    pub(crate) fn record_all(
        all: Vec<(Self, Asker)>,
        recorder: &Recorder,
    ) -> Result<Vec<OnRecord>, Error> {
        let intended: Vec<_> = all.iter().map(|(one, by)| one.intended(by)).collect();
        let recorded = recorder.intend_all(&intended)?;
        let all = all.into_iter().zip(recorded);
        Ok(all
            .map(|((one, _), recorded)| one.recorded(recorded))
            .collect())
    }

    fn intended<'a>(&'a self, by: &'a Asker) -> Intended<'a> {
        Intended {
            issuer: self.issuer,
            serial: &self.serial,
            profile: self.subject.profile.profile(),
            common_name: self
                .subject
                .names
                .all()
                .is_empty()
                .then(|| self.subject.names.label()),
            names: self.subject.names.all(),
            validity: self.draft.validity(),
            tbs_sha256: self.draft.tbs_sha256(),
            key: &self.subject.key,
            key_origin: self.key_origin,
            by,
        }
    }

    fn recorded(self, recorded: Recorded) -> OnRecord {
        OnRecord {
            id: self.id,
            serial: self.serial,
            draft: self.draft,
            recorded,
        }
    }
}

impl OnRecord {
    /// Step 5: signs exactly what was linted and recorded.
    pub(crate) fn sign(self, authority: &Authority<Issuing>) -> Result<Signed, Error> {
        let der = authority.sign(&self.draft, self.recorded)?;
        Ok(Signed {
            id: self.id,
            serial: self.serial,
            der,
        })
    }
}

impl Signed {
    /// Step 6, the inventory: stores the certificate as issued. Whoever revoked the pending serial
    /// meanwhile has the last word: then it is not issued.
    pub(crate) fn store(self, store: &mut Store, now: Timestamp) -> Result<Stored, Error> {
        store.issued(self.id, &self.der, whole_seconds(now)?)?;
        Ok(Stored {
            serial: self.serial,
            der: self.der,
        })
    }
}

impl Stored {
    /// Step 6, the log: puts on record that it was issued.
    pub(crate) fn record(self, issuer: KeyId, recorder: &Recorder) -> Result<Issued, Error> {
        match recorder.issued(issuer, [(&self.serial, sha256(&self.der))]) {
            Ok(()) => Ok(self.issued()),
            Err(error) => Err(Error::IssuedUnrecorded {
                serial: self.serial,
                error,
            }),
        }
    }

    /// The same for many, behind one wait for the disk; in their order.
    #[allow(
        dead_code,
        reason = "for who issues many at once, which no verb does yet"
    )]
    pub(crate) fn record_all(
        all: Vec<Self>,
        issuer: KeyId,
        recorder: &Recorder,
    ) -> Result<Vec<Issued>, Error> {
        let told = all.iter().map(|one| (&one.serial, sha256(&one.der)));
        recorder.issued(issuer, told)?;
        Ok(all.into_iter().map(Self::issued).collect())
    }

    fn issued(self) -> Issued {
        Issued {
            serial: self.serial,
            der: self.der,
        }
    }
}

/// Draws a serial of 128 random bits.
pub(crate) fn draw_serial() -> Result<Serial, Error> {
    let mut octets = [0; Serial::RANDOM_OCTETS];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| crate::files::FileError::NoRandomness)?;
    Serial::from_octets(&octets).map_err(|_| crate::files::FileError::NoRandomness.into())
}

/// A key that was never in a file.
fn unnamed(error: KeyError) -> Error {
    Error::Key {
        path: "new key".into(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::tests::{new_issuing, new_root, now};
    use crate::inspect::Inspected;
    use crate::log::tests::new_log;
    use crate::log::{AuditLog, Logged, LoggedStep, certificates};
    use crate::name::Name;
    use crate::reason::Reason;
    use crate::store::{Find, Record, Status, StoreError};

    /// An authority and its inventory, in a directory that outlives them.
    struct World {
        directory: tempfile::TempDir,
        log: AuditLog,
        store: Store,
        issuer: AuthorityId,
        authority: Authority<Issuing>,
    }

    impl World {
        fn new() -> Self {
            let (name, root) = new_root();
            let authority = new_issuing(&name, &root);
            let (directory, log) = new_log();
            let mut store = Store::create(&directory.path().join("inventory.db")).unwrap();
            let issuer = store
                .add_authority(AuthorityRole::Issuing, authority.certificate().key_id())
                .unwrap();
            Self {
                directory,
                log,
                store,
                issuer,
                authority,
            }
        }

        fn validated(&self, key: KeySource) -> Result<Validated, Error> {
            let profile = EndEntity::Device;
            let name = Name::uri("urn:example:pump-1").unwrap();
            let order = Order {
                profile,
                names: profile.admit(vec![name]).unwrap(),
                key,
                days: None,
            };
            Validated::check(order, self.authority.certificate(), now())
        }

        fn reserved(&mut self) -> Reserved {
            self.validated(KeySource::New)
                .unwrap()
                .reserve(
                    draw_serial().unwrap(),
                    (self.issuer, None),
                    &mut self.store,
                    now(),
                )
                .unwrap()
        }

        fn pending(&mut self) -> Pending {
            let reserved = self.reserved();
            reserved.draft(&self.authority, &mut self.store).unwrap()
        }

        fn signed(&mut self) -> Signed {
            let pending = self.pending();
            let recorder = self.log.open().unwrap();
            let recorded = pending.record(&Asker::Operator, &recorder).unwrap();
            recorded.sign(&self.authority).unwrap()
        }

        /// What somebody finds who opens the log after a crash.
        fn logged(&self) -> Vec<(LoggedStep, Serial)> {
            let told = |logged: Logged| (logged.step, logged.serial);
            let found = certificates(self.directory.path());
            found.map(|logged| told(logged.unwrap())).collect()
        }

        /// What somebody finds who opens the inventory after a crash.
        fn after_a_crash(self, serial: &Serial) -> Record {
            drop(self.store);
            let store = Store::open(&self.directory.path().join("inventory.db")).unwrap();
            store.find(&Find::Serial(serial.clone())).unwrap().remove(0)
        }
    }

    #[test]
    fn dead_after_step_1_nothing_is_recorded() {
        let world = World::new();
        let validated = world.validated(KeySource::New).unwrap();
        assert!(validated.secret().is_some());
        let found = world.store.find(&Find::Id("urn:example:pump-1".to_owned()));
        assert!(found.unwrap().is_empty());
    }

    #[test]
    fn dead_after_step_2_the_serial_is_never_drawn_again() {
        let mut world = World::new();
        let serial = world.reserved().serial;
        let again = world.validated(KeySource::New).unwrap().reserve(
            serial.clone(),
            (world.issuer, None),
            &mut world.store,
            now(),
        );
        assert!(matches!(again, Err(Error::Store(StoreError::SerialTaken))));
        assert_eq!(world.after_a_crash(&serial).status, Status::Reserved);
    }

    #[test]
    fn dead_after_step_3_what_would_have_been_signed_is_known() {
        let mut world = World::new();
        let pending = world.pending();
        let serial = pending.serial.clone();
        let record = world.after_a_crash(&serial);
        assert_eq!(record.status, Status::Pending);
        assert!(record.validity.is_some() && record.tbs_sha256.is_some());
    }

    #[test]
    fn dead_after_step_4_what_may_have_been_signed_is_on_record_and_pending() {
        let mut world = World::new();
        let pending = world.pending();
        assert!(world.logged().is_empty());
        let recorder = world.log.open().unwrap();
        let recorded = pending.record(&Asker::Operator, &recorder).unwrap();
        let serial = recorded.serial.clone();
        // Durable while the log is still held.
        assert_eq!(world.logged(), [(LoggedStep::Intended, serial.clone())]);
        assert_eq!(world.after_a_crash(&serial).status, Status::Pending);
    }

    #[test]
    fn many_are_recorded_at_once_in_their_order() {
        let mut world = World::new();
        let all: Vec<_> = (0..5).map(|_| (world.pending(), Asker::Operator)).collect();
        let recorder = world.log.open().unwrap();
        let issuer = world.authority.certificate().key_id();
        let stored: Vec<_> = Pending::record_all(all, &recorder)
            .unwrap()
            .into_iter()
            .map(|one| {
                let signed = one.sign(&world.authority).unwrap();
                signed.store(&mut world.store, now()).unwrap()
            })
            .collect();
        let issued = Stored::record_all(stored, issuer, &recorder).unwrap();
        let logged = world.logged();
        for (at, issued) in issued.iter().enumerate() {
            assert_eq!(logged[at], (LoggedStep::Intended, issued.serial.clone()));
            assert_eq!(logged[5 + at], (LoggedStep::Issued, issued.serial.clone()));
        }
        assert_eq!(logged.len(), 10);
    }

    #[test]
    fn dead_after_step_5_the_signed_certificate_is_found_and_can_be_revoked() {
        let mut world = World::new();
        let signed = world.signed();
        let found_somewhere = Inspected::read(&signed.der).unwrap();
        let find = Find::Tbs(found_somewhere.tbs_sha256);
        let revoked = world
            .store
            .revoke(&find, Reason::KeyCompromise, now(), |found| {
                crate::revocation::judge(found, &find, Reason::KeyCompromise, now())
            })
            .unwrap();
        assert_eq!(revoked[0].serial, signed.serial);
        assert_eq!(world.after_a_crash(&signed.serial).status, Status::Revoked);
    }

    #[test]
    fn dead_after_step_6_the_certificate_can_be_handed_over_later() {
        let mut world = World::new();
        let stored = world.signed().store(&mut world.store, now()).unwrap();
        let issuer = world.authority.certificate().key_id();
        let recorder = world.log.open().unwrap();
        let issued = stored.record(issuer, &recorder).unwrap();
        drop(recorder);
        let serial = issued.serial.clone();
        let steps = [LoggedStep::Intended, LoggedStep::Issued];
        assert_eq!(world.logged(), steps.map(|step| (step, serial.clone())));
        let id = world
            .store
            .find(&Find::Serial(issued.serial.clone()))
            .unwrap()[0]
            .id;
        assert_eq!(world.store.der(id).unwrap().unwrap(), issued.der);
        assert_eq!(world.after_a_crash(&issued.serial).status, Status::Issued);
    }

    #[test]
    fn who_revokes_a_pending_serial_has_the_last_word() {
        let mut world = World::new();
        let signed = world.signed();
        let find = Find::Serial(signed.serial.clone());
        world
            .store
            .revoke::<StoreError>(&find, Reason::CessationOfOperation, now(), Ok)
            .unwrap();
        assert!(matches!(
            signed.store(&mut world.store, now()),
            Err(Error::Store(StoreError::State))
        ));
    }

    #[test]
    fn a_key_from_a_request_leaves_no_secret_here() {
        let world = World::new();
        let key = rcgen::KeyPair::generate().unwrap();
        let request = rcgen::CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        let validated = world
            .validated(KeySource::Request(request.der().to_vec()))
            .unwrap();
        assert!(validated.secret().is_none());
    }

    #[test]
    fn two_serials_are_never_alike() {
        let serials: std::collections::BTreeSet<Serial> =
            (0..1000).map(|_| draw_serial().unwrap()).collect();
        assert_eq!(serials.len(), 1000);
    }
}
