//! The OCSP answer about a certificate of the gateway that is shown with it: stapled (RFC 6066 section 8, RFC 8446
//! section 4.4.2.1).
//!
//! An answer is judged in full before it is shown, as a client will judge it: signature, certificate, status,
//! dates. Where it comes from is the business of `fetch` and `staples`; no file, no network, no clock here.
//!
//! Fails closed: what is not good, or is over, is never shown, and a certificate that demands a staple
//! (RFC 7633) is not shown without one.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use config::{OcspUrl, Place};
use jiff::Timestamp;
use ocsp::{CertId, HashAlgorithm, Issuer, Request, Status};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::profile::signature_algorithms;

/// Where the answer about a certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StapleSource {
    /// This responder is asked.
    Http(OcspUrl),
    /// Something else keeps it fresh in this file (DER).
    File(PathBuf),
}

/// The answer about one certificate, and how the next one is judged.
#[derive(Debug)]
pub struct Staples {
    source: StapleSource,
    place: Place,
    issuer: CertificateDer<'static>,
    serial: Box<[u8]>,
    question: Box<[u8]>,
    newest: ArcSwapOption<Staple>,
    /// Whoever puts an answer in place of another has it: what is older must not come last.
    turn: Mutex<()>,
}

/// An answer that its issuer answers for.
#[derive(Debug, Clone)]
pub struct Staple {
    /// What it says.
    pub standing: StapleStanding,
    /// Since when it is known to be right, seconds since 1970.
    pub this_update: i64,
    /// When it ends, seconds since 1970.
    pub next_update: i64,
    response: Box<[u8]>,
    /// The certificate with it; only if it is good.
    certified: Option<Arc<CertifiedKey>>,
}

/// What an answer says of a certificate of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StapleStanding {
    /// It is not revoked.
    Good,
    /// It is revoked.
    Revoked {
        /// Since when, seconds since 1970.
        at: i64,
    },
}

/// Why an answer is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StapleFault {
    /// It is not to be believed, or it is over.
    Response(ocsp::Fault),
    /// The responder does not know the certificate.
    Unknown,
    /// The certificate is revoked.
    Revoked {
        /// Since when, seconds since 1970.
        at: i64,
    },
    /// It is older than the one before.
    Older,
}

impl Staples {
    /// Nothing is known yet of the certificate with this serial (as it stands in the certificate) of `issuer`.
    /// Nothing when no question can be asked about it.
    pub(super) fn new(
        source: StapleSource,
        place: Place,
        issuer: &CertificateDer<'_>,
        serial: &[u8],
    ) -> Option<Staples> {
        let named = Issuer::of_certificate(issuer)?;
        // RFC 5019 section 2.1.1: the hash that responders know.
        let id = CertId::of(HashAlgorithm::Sha1, named, serial).ok()?;
        Some(Staples {
            source,
            place,
            serial: id.serial().into(),
            question: Request::new(id).encode().into(),
            issuer: issuer.clone().into_owned(),
            newest: ArcSwapOption::empty(),
            turn: Mutex::default(),
        })
    }

    /// Where answers come from.
    pub fn source(&self) -> &StapleSource {
        &self.source
    }

    /// Who asked for it.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What a responder is asked (OCSPRequest, DER).
    pub fn question(&self) -> &[u8] {
        &self.question
    }

    /// The last answer that counts, which may be over by now, or say that the certificate is revoked.
    pub fn newest(&self) -> Option<Arc<Staple>> {
        self.newest.load_full()
    }

    /// The last answer, if it is good and not over. `now` in seconds since 1970.
    pub fn in_force(&self, now: i64) -> Option<Arc<Staple>> {
        let newest = self.newest.load_full()?;
        let is_good = newest.standing == StapleStanding::Good;
        (is_good && now < newest.next_update).then_some(newest)
    }

    /// Judges an answer (OCSPResponse, DER), and shows it from now on. Says whether it is another one than
    /// before. One that says "revoked" is kept too, so that no older one takes it back, and shown to nobody.
    ///
    /// # Errors
    /// [`StapleFault`]; the last good one is shown until it ends, unless the certificate is revoked.
    pub(super) fn put(
        &self,
        der: &[u8],
        certified: &CertifiedKey,
        now: Timestamp,
    ) -> Result<bool, StapleFault> {
        let algorithms = signature_algorithms();
        let verified = ocsp::verify(der, &self.issuer, &self.serial, now, algorithms)
            .map_err(StapleFault::Response)?;
        let standing = match verified.status {
            Status::Good => StapleStanding::Good,
            Status::Revoked { at, .. } => StapleStanding::Revoked { at: at.as_second() },
            Status::Unknown => return Err(StapleFault::Unknown),
        };
        let this_update = verified.this_update.as_second();
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.newest.load().as_ref() {
            if *known.response == *der {
                return known.told().map(|()| false);
            }
            let takes_back = standing == StapleStanding::Good && known.standing != standing;
            if this_update < known.this_update || (takes_back && this_update == known.this_update) {
                return Err(StapleFault::Older);
            }
        }
        let certified = (standing == StapleStanding::Good).then(|| {
            let mut certified = certified.clone();
            certified.ocsp = Some(der.to_vec());
            Arc::new(certified)
        });
        let staple = Staple {
            standing,
            this_update,
            next_update: verified.next_update.as_second(),
            response: der.into(),
            certified,
        };
        let told = staple.told();
        self.newest.store(Some(Arc::new(staple)));
        told.map(|()| true)
    }

    /// Takes over what was known before a reload, as far as it still counts.
    pub(super) fn adopt(&self, previous: &Staples, certified: &CertifiedKey, now: Timestamp) {
        if let Some(known) = previous.newest() {
            // What no longer counts is asked for anew, as it would be without a reload.
            let _ = self.put(&known.response, certified, now);
        }
    }

    /// The certificate with its staple, if there is one in force.
    pub(super) fn certified(&self, now: i64) -> Option<Arc<CertifiedKey>> {
        self.in_force(now)?.certified.clone()
    }
}

impl Staple {
    fn told(&self) -> Result<(), StapleFault> {
        match self.standing {
            StapleStanding::Good => Ok(()),
            StapleStanding::Revoked { at } => Err(StapleFault::Revoked { at }),
        }
    }

    /// How long it holds, seconds.
    pub fn life(&self) -> i64 {
        self.next_update.saturating_sub(self.this_update)
    }
}

impl StapleFault {
    /// What the operator can do.
    pub fn hint(&self) -> &'static str {
        match self {
            StapleFault::Response(ocsp::Fault::Refused { .. }) | StapleFault::Unknown => {
                "ask the authority that issued the certificate where it answers for it"
            }
            StapleFault::Response(ocsp::Fault::Stale { .. } | ocsp::Fault::NotYet { .. }) => {
                "look at the responder, or check the clock of this machine"
            }
            StapleFault::Response(_) => {
                "check where the answer comes from, and that the chain file holds the issuer; whoever sits between can change it too, and nothing comes of it"
            }
            StapleFault::Revoked { .. } => {
                "have a new certificate issued, for a new key, and reload"
            }
            StapleFault::Older => "have the responder give its newest answer",
        }
    }
}

impl fmt::Display for StapleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StapleFault::Response(fault) => fault.fmt(f),
            StapleFault::Unknown => f.write_str("the responder does not know the certificate"),
            StapleFault::Revoked { at } => write!(
                f,
                "the certificate is revoked since {}",
                audit::event::Time::from_unix_seconds(*at)
            ),
            StapleFault::Older => f.write_str("the answer is older than the one before"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::own::{OwnCertificate, OwnFault};
    use super::super::testing::{answer, revoked};
    use super::*;
    use crate::revocation::testing::{Ca, NOW, usual};
    use config::CertificateName;
    use rcgen::{CertificateParams, CustomExtension, KeyPair, SerialNumber, date_time_ymd};
    use rustls::crypto::aws_lc_rs::sign::any_supported_type;
    use rustls::pki_types::PrivateKeyDer;

    const SERIAL: &[u8] = &[0xf0, 1, 2, 3];
    const DAY: i64 = 86_400;

    /// A server's certificate, with these certificates behind it.
    fn server(ca: &Ca, behind: &[&Ca], extensions: Vec<CustomExtension>) -> OwnCertificate {
        let mut params = CertificateParams::new(vec!["api.test".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(SERIAL));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        params.custom_extensions = extensions;
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &ca.signer).unwrap();
        let mut chain = vec![leaf.der().clone()];
        chain.extend(behind.iter().map(|ca| ca.certificate.der().clone()));
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let certified = CertifiedKey::new(chain, any_supported_type(&key).unwrap());
        let name = CertificateName::parse("api").unwrap();
        OwnCertificate::judge(name, certified, NOW).unwrap()
    }

    fn stapling(own: OwnCertificate) -> Result<OwnCertificate, OwnFault> {
        let place = Place::whole(std::path::Path::new("gateway.toml"));
        own.with_staples(StapleSource::File("api.ocsp".into()), place)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn is_stapled(own: &OwnCertificate, now: i64) -> bool {
        own.shown(now).is_some_and(|shown| shown.ocsp.is_some())
    }

    #[test]
    fn a_good_answer_is_shown_until_it_ends() {
        let ca = usual("one");
        let own = stapling(server(&ca, &[&ca], Vec::new())).unwrap();
        assert!(!is_stapled(&own, NOW));
        let good = answer(&ca, SERIAL, Status::Good, NOW - DAY, NOW + DAY);
        assert_eq!(own.staple(&good, at(NOW)), Ok(true));
        assert_eq!(own.staple(&good, at(NOW)), Ok(false), "it is the same");
        assert_eq!(own.shown(NOW).unwrap().ocsp.as_deref(), Some(&good[..]));
        assert!(is_stapled(&own, NOW + DAY - 1));
        assert!(!is_stapled(&own, NOW + DAY));
    }

    #[test]
    fn what_does_not_count_is_never_shown_and_the_last_good_answer_stays() {
        let ca = usual("one");
        let own = stapling(server(&ca, &[&ca], Vec::new())).unwrap();
        let good = answer(&ca, SERIAL, Status::Good, NOW - 10, NOW + DAY);
        own.staple(&good, at(NOW)).unwrap();
        let say = |ca: &Ca, serial: &[u8], status, from, until| {
            own.staple(&answer(ca, serial, status, from, until), at(NOW))
                .unwrap_err()
        };
        let of = |fault| StapleFault::Response(fault);
        // Of the same name, with another key.
        let forged = say(&usual("one"), SERIAL, Status::Good, NOW, NOW + DAY);
        assert!(matches!(forged, StapleFault::Response(_)), "{forged}");
        let other = say(&ca, &[7], Status::Good, NOW, NOW + DAY);
        assert_eq!(other, of(ocsp::Fault::OtherCertificate));
        let over = say(&ca, SERIAL, Status::Good, NOW - DAY, NOW);
        assert!(matches!(
            over,
            StapleFault::Response(ocsp::Fault::Stale { .. })
        ));
        let early = say(&ca, SERIAL, Status::Good, NOW + 3600, NOW + DAY);
        assert!(matches!(
            early,
            StapleFault::Response(ocsp::Fault::NotYet { .. })
        ));
        let unknown = say(&ca, SERIAL, Status::Unknown, NOW, NOW + DAY);
        assert_eq!(unknown, StapleFault::Unknown);
        let older = say(&ca, SERIAL, Status::Good, NOW - 20, NOW + 2 * DAY);
        assert_eq!(older, StapleFault::Older);
        for bytes in [&b""[..], b"<html>", &good[..good.len() - 1]] {
            assert!(own.staple(bytes, at(NOW)).is_err());
        }
        assert_eq!(own.shown(NOW).unwrap().ocsp.as_deref(), Some(&good[..]));
    }

    #[test]
    fn a_revocation_ends_the_staple_and_no_answer_from_before_brings_it_back() {
        let ca = usual("one");
        let own = stapling(server(&ca, &[&ca], Vec::new())).unwrap();
        let good = |from| answer(&ca, SERIAL, Status::Good, from, NOW + DAY);
        own.staple(&good(NOW - 20), at(NOW)).unwrap();
        let no = answer(&ca, SERIAL, revoked(), NOW - 10, NOW + DAY);
        for _ in 0..2 {
            let told = own.staple(&no, at(NOW));
            assert!(matches!(told, Err(StapleFault::Revoked { .. })), "{told:?}");
            assert!(!is_stapled(&own, NOW));
        }
        for from in [NOW - 20, NOW - 10] {
            assert_eq!(own.staple(&good(from), at(NOW)), Err(StapleFault::Older));
        }
        assert!(!is_stapled(&own, NOW));
        // It was only on hold.
        assert_eq!(own.staple(&good(NOW - 5), at(NOW)), Ok(true));
        assert!(is_stapled(&own, NOW));
    }

    #[test]
    fn a_reload_keeps_what_is_known_of_the_same_certificate() {
        let ca = usual("one");
        let before = stapling(server(&ca, &[&ca], Vec::new())).unwrap();
        let good = answer(&ca, SERIAL, Status::Good, NOW, NOW + DAY);
        before.staple(&good, at(NOW)).unwrap();
        // Another one, of the same serial.
        let other = stapling(server(&ca, &[&ca], Vec::new())).unwrap();
        other.adopt(&before, at(NOW));
        assert!(!is_stapled(&other, NOW));
        let chain = before.shown(NOW).unwrap();
        let key = CertifiedKey::new(chain.cert.clone(), Arc::clone(&chain.key));
        let name = before.name().clone();
        let same = stapling(OwnCertificate::judge(name, key, NOW).unwrap()).unwrap();
        same.adopt(&before, at(NOW + DAY));
        assert!(!is_stapled(&same, NOW), "what is over is not taken over");
        same.adopt(&before, at(NOW));
        assert!(is_stapled(&same, NOW));
    }

    #[test]
    fn a_certificate_that_demands_a_staple_is_not_shown_without_one() {
        let ca = usual("one");
        let feature = |content: &[u8]| {
            let oid = [1, 3, 6, 1, 5, 5, 7, 1, 24];
            vec![CustomExtension::from_oid_content(&oid, content.to_vec())]
        };
        let own = server(&ca, &[&ca], feature(&[0x30, 3, 2, 1, 5]));
        assert!(own.must_staple());
        assert_eq!(own.check_serves(), Err(OwnFault::Unstapled));
        let own = stapling(own).unwrap();
        assert_eq!(own.check_serves(), Ok(()));
        assert!(own.shown(NOW).is_none());
        let good = answer(&ca, SERIAL, Status::Good, NOW, NOW + DAY);
        own.staple(&good, at(NOW)).unwrap();
        assert!(is_stapled(&own, NOW));
        assert!(own.shown(NOW + DAY).is_none());
        // Another feature demands nothing of this.
        let other = server(&ca, &[&ca], feature(&[0x30, 3, 2, 1, 17]));
        assert!(!other.must_staple());
    }

    #[test]
    fn a_staple_takes_the_issuer_behind_the_certificate() {
        let ca = usual("one");
        let told = |behind: &[&Ca]| stapling(server(&ca, behind, Vec::new())).err();
        assert_eq!(told(&[]), Some(OwnFault::NoIssuer));
        assert_eq!(told(&[&usual("two")]), Some(OwnFault::NoIssuer));
        assert_eq!(told(&[&ca]), None);
    }

    #[test]
    fn the_responder_is_found_in_the_certificate() {
        let ca = usual("one");
        let access = |urls: &[(u8, &str)]| {
            let mut list = Vec::new();
            for (method, url) in urls {
                let length = u8::try_from(url.len()).unwrap();
                list.extend([0x30, length + 12, 6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, *method]);
                list.extend([0x86, length]);
                list.extend(url.as_bytes());
            }
            let content = [&[0x30, u8::try_from(list.len()).unwrap()][..], &list].concat();
            let oid = [1, 3, 6, 1, 5, 5, 7, 1, 1];
            vec![CustomExtension::from_oid_content(&oid, content)]
        };
        let found = |extensions| server(&ca, &[], extensions).responder();
        assert_eq!(found(Vec::new()), Err(OwnFault::NoResponder));
        let only = access(&[(2, "http://a/ca"), (1, "ldap://a/")]);
        assert_eq!(found(only), Err(OwnFault::NoResponder));
        let urls = access(&[(2, "http://a/ca"), (1, "ldap://a/"), (1, "http://a/ocsp")]);
        assert_eq!(found(urls).unwrap().to_string(), "http://a/ocsp");
    }
}
