//! Issuing an end-entity certificate in seven steps, after Let's Encrypt's boulder.
//!
//! Each step consumes the value of the one before it, so none can be left out or taken twice, and
//! each leaves in the inventory what a later look needs. Dead after step 2 leaves a serial that
//! nobody gets again; dead after step 3, 5 or 6 leaves a `pending` or `issued` serial that can be
//! revoked: a certificate that may exist is always known. Files are `outbox`'s business.

use jiff::Timestamp;

use crate::authority::{Authority, AuthorityCertificate, Draft, Issuing, Subject};
use crate::error::Error;
use crate::key::{KeyError, PrivateKey};
use crate::profile::{AuthorityRole, EndEntity, Names, ProfileError, whole_seconds};
use crate::publication::{Pointers, Publication};
use crate::request::Request;
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
    /// It is in this signing request, PEM or DER.
    Request(Vec<u8>),
}

/// After step 1: the profile grants it.
#[derive(Debug)]
pub(crate) struct Validated {
    subject: Subject,
    secret: Option<PrivateKey>,
    key_origin: KeyOrigin,
}

/// After step 2: the serial is drawn, and nobody else gets it.
#[derive(Debug)]
pub(crate) struct Reserved {
    id: CertificateId,
    serial: Serial,
    subject: Subject,
}

/// After step 3: what will be signed is linted and known by its hash.
#[derive(Debug)]
pub(crate) struct Pending {
    id: CertificateId,
    serial: Serial,
    draft: Draft<Issuing>,
}

/// After step 5: it is signed.
#[derive(Debug)]
pub(crate) struct Signed {
    id: CertificateId,
    serial: Serial,
    der: Vec<u8>,
}

/// After step 6: it is in the inventory, and may be handed over.
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
        let (key, secret) = match order.key {
            KeySource::New => {
                let secret = PrivateKey::generate(profile.new_key).map_err(unnamed)?;
                (secret.public().clone(), Some(secret))
            }
            KeySource::Request(bytes) => {
                let request = Request::parse(&bytes)?;
                (request.agree(order.profile, &order.names)?, None)
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
        })
    }

    /// The secret key, if it was made here.
    pub(crate) fn secret(&self) -> Option<&PrivateKey> {
        self.secret.as_ref()
    }

    /// Gives out the secret key, if it was made here.
    pub(crate) fn take_secret(&mut self) -> Option<PrivateKey> {
        self.secret.take()
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
            token: None,
        };
        let id = store.reserve(issuer, &serial, &reservation, whole_seconds(now)?)?;
        Ok(Reserved {
            id,
            serial,
            subject: self.subject,
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
            draft,
        })
    }
}

// Step 4, a durable entry in the audit log that this will be signed, stands between `Pending` and
// `sign`, as a type of its own that only the log gives out.

impl Pending {
    /// Step 5: signs exactly what was linted.
    pub(crate) fn sign(self, authority: &Authority<Issuing>) -> Result<Signed, Error> {
        let der = authority.sign(&self.draft)?;
        Ok(Signed {
            id: self.id,
            serial: self.serial,
            der,
        })
    }
}

impl Signed {
    /// Step 6: records the certificate as issued. Whoever revoked the pending serial meanwhile has
    /// the last word: then it is not issued.
    pub(crate) fn record(self, store: &mut Store, now: Timestamp) -> Result<Issued, Error> {
        store.issued(self.id, &self.der, whole_seconds(now)?)?;
        Ok(Issued {
            serial: self.serial,
            der: self.der,
        })
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
    use crate::name::Name;
    use crate::reason::Reason;
    use crate::store::{Find, Record, Status, StoreError};

    /// An authority and its inventory, in a directory that outlives them.
    struct World {
        directory: tempfile::TempDir,
        store: Store,
        issuer: AuthorityId,
        authority: Authority<Issuing>,
    }

    impl World {
        fn new() -> Self {
            let (name, root) = new_root();
            let authority = new_issuing(&name, &root);
            let directory = tempfile::tempdir().unwrap();
            let mut store = Store::create(&directory.path().join("inventory.db")).unwrap();
            let issuer = store
                .add_authority(AuthorityRole::Issuing, authority.certificate().key_id())
                .unwrap();
            Self {
                directory,
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
    fn dead_after_step_5_the_signed_certificate_is_found_and_can_be_revoked() {
        let mut world = World::new();
        let signed = world.pending().sign(&world.authority).unwrap();
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
        let signed = world.pending().sign(&world.authority).unwrap();
        let issued = signed.record(&mut world.store, now()).unwrap();
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
        let signed = world.pending().sign(&world.authority).unwrap();
        let find = Find::Serial(signed.serial.clone());
        world
            .store
            .revoke::<StoreError>(&find, Reason::CessationOfOperation, now(), Ok)
            .unwrap();
        assert!(matches!(
            signed.record(&mut world.store, now()),
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
