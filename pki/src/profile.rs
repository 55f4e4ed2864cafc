//! Certificate profiles: what each kind of certificate may say, for how long, and with which names.
//!
//! The profile is the authority. A request contributes a key and nothing else; everything a
//! certificate says comes from a row of [`PROFILES`] and from names that the row admits.
//! Nothing is signed here, and time is an argument.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::name::Name;
use crate::public_key::KeyKind;

/// One kind of certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name on the command line, in the inventory and in JSON.
    pub name: &'static str,
    /// What its holder may do.
    pub role: Role,
    /// The kind of key that is made for it. A request may bring another certified kind.
    pub new_key: KeyKind,
    /// Lifetime in days, counted from the moment of issue, when none is asked for.
    pub default_days: u32,
    /// Longest lifetime in days that may be asked for.
    pub max_days: u32,
    /// How long before the moment of issue the validity begins: room for clocks that are behind.
    pub backdate: SignedDuration,
}

/// What the holder of a certificate may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sign certificates and CRLs, with at most this many authorities below
    /// (RFC 5280 section 4.2.1.9).
    Authority {
        /// pathLenConstraint.
        path_length: u8,
    },
    /// Authenticate in TLS, for one purpose and under these names.
    EndEntity {
        /// The one extended key usage.
        purpose: Purpose,
        /// The names it needs.
        names: NameRule,
    },
}

/// The one extended key usage of an end-entity certificate (RFC 5280 section 4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// id-kp-serverAuth.
    ServerAuth,
    /// id-kp-clientAuth.
    ClientAuth,
    /// id-kp-OCSPSigning (RFC 6960 section 4.2.2.2).
    OcspSigning,
}

/// Which names a certificate needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// Exactly one URI: a gateway refuses a client with no name or with two.
    OneUri,
    /// Exactly one URI, and beside it the hardware module if it is known (RFC 4108 section 5).
    OneUriAndHardware,
    /// Host names and addresses, at least one and at most this many.
    Hosts {
        /// The limit.
        at_most: usize,
    },
    /// None: what it may do does not depend on its name.
    None,
}

/// The profiles that end entities get, as a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndEntity {
    /// A TLS server: a gateway or an API.
    Server,
    /// A device.
    Device,
    /// A program.
    Client,
    /// A person.
    Operator,
    /// Whoever signs OCSP responses for the issuing authority: `pki serve`.
    Responder,
}

/// One of the two authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorityRole {
    /// The root.
    Root,
    /// The issuing authority.
    Issuing,
}

impl AuthorityRole {
    /// As it is stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Issuing => "issuing",
        }
    }
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Longest validity of any end-entity certificate in days, the back-dated part included: IHE ITI-19
/// section 3.19.6.1.3 recommends at most two years for a node.
pub const MAX_NODE_DAYS: i64 = 730;

/// Every profile.
///
/// Servers and devices are back-dated by a day, because a device whose clock is behind judges both;
/// the authorities above them by as much, or its clock would stumble there. The root's path length
/// is 1: the one issuing authority below it and nothing further, even if that one's own limit of 0
/// were not looked at. A responder lives for a month at most, because nobody can revoke it: verifiers
/// are told not to ask about it (RFC 6960 section 4.2.2.2.1).
#[rustfmt::skip]
pub static PROFILES: [Profile; 7] = {
    use KeyKind::{P256, P384};
    use Purpose::{ClientAuth, OcspSigning, ServerAuth};
    [
        Profile { name: "root",     role: Role::Authority { path_length: 1 }, new_key: P384,
                  default_days: 15 * 365, max_days: 15 * 365, backdate: DAY },
        Profile { name: "issuing",  role: Role::Authority { path_length: 0 }, new_key: P256,
                  default_days: 5 * 365, max_days: 5 * 365, backdate: DAY },
        Profile { name: "server",   role: Role::EndEntity { purpose: ServerAuth, names: NameRule::Hosts { at_most: 50 } },
                  new_key: P256, default_days: 90, max_days: 397, backdate: DAY },
        Profile { name: "device",   role: Role::EndEntity { purpose: ClientAuth, names: NameRule::OneUriAndHardware },
                  new_key: P256, default_days: 90, max_days: 729, backdate: DAY },
        Profile { name: "client",   role: Role::EndEntity { purpose: ClientAuth, names: NameRule::OneUri },
                  new_key: P256, default_days: 90, max_days: 365, backdate: HOUR },
        Profile { name: "operator", role: Role::EndEntity { purpose: ClientAuth, names: NameRule::OneUri },
                  new_key: P256, default_days: 90, max_days: 365, backdate: HOUR },
        Profile { name: "ocsp",     role: Role::EndEntity { purpose: OcspSigning, names: NameRule::None },
                  new_key: P256, default_days: 30, max_days: 30, backdate: DAY },
    ]
};

/// The profile of the root authority.
pub fn root() -> &'static Profile {
    &PROFILES[0]
}

/// The profile of the issuing authority.
pub fn issuing() -> &'static Profile {
    &PROFILES[1]
}

/// The row of this name.
pub fn named(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

impl EndEntity {
    /// Its row.
    pub fn profile(self) -> &'static Profile {
        match self {
            Self::Server => &PROFILES[2],
            Self::Device => &PROFILES[3],
            Self::Client => &PROFILES[4],
            Self::Operator => &PROFILES[5],
            Self::Responder => &PROFILES[6],
        }
    }

    /// Its purpose.
    pub fn purpose(self) -> Purpose {
        match self {
            Self::Server => Purpose::ServerAuth,
            Self::Device | Self::Client | Self::Operator => Purpose::ClientAuth,
            Self::Responder => Purpose::OcspSigning,
        }
    }

    /// Its rule for names.
    pub fn name_rule(self) -> NameRule {
        match self.profile().role {
            Role::EndEntity { names, .. } => names,
            Role::Authority { .. } => unreachable!("no end entity is an authority"),
        }
    }

    /// Judges the names that a certificate of this profile is to carry.
    pub fn admit(self, names: Vec<Name>) -> Result<Names, ProfileError> {
        for (position, name) in names.iter().enumerate() {
            if names[..position].contains(name) {
                return Err(ProfileError::SameNameTwice);
            }
        }
        let is_module = |name: &Name| matches!(name, Name::Hardware(_));
        let fits = |name: &Name| match self.name_rule() {
            NameRule::OneUri => matches!(name, Name::Uri(_)),
            NameRule::OneUriAndHardware => matches!(name, Name::Uri(_)) || is_module(name),
            NameRule::Hosts { .. } => matches!(name, Name::Dns(_) | Name::Ip(_)),
            NameRule::None => false,
        };
        if !names.iter().all(fits) {
            return Err(ProfileError::KindOfName { profile: self });
        }
        let modules = names.iter().filter(|name| is_module(name)).count();
        let at_most = match self.name_rule() {
            NameRule::OneUri | NameRule::OneUriAndHardware => 1,
            NameRule::Hosts { at_most } => at_most,
            NameRule::None => 0,
        };
        let given = names.len() - modules;
        if given == 0 || given > at_most || modules > 1 {
            return Err(ProfileError::NumberOfNames { given, at_most });
        }
        // The URI is what the certificate is called.
        let mut names = names;
        names.sort_by_key(is_module);
        Ok(Names {
            names,
            common_name: None,
        })
    }
}

/// Names that a profile admitted, no two equal: at least one, or those of a responder, which has a
/// common name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    names: Vec<Name>,
    /// What the subject says when it repeats no name.
    common_name: Option<String>,
}

impl Names {
    /// A responder's: none, and this in its subject.
    pub(crate) fn of_responder(common_name: String) -> Self {
        Self {
            names: Vec::new(),
            common_name: Some(common_name),
        }
    }

    /// All of them, in the order they were given.
    pub fn all(&self) -> &[Name] {
        &self.names
    }

    /// What the certificate is called in lists: its first name or, without any, its common name.
    pub fn label(&self) -> String {
        match (self.names.first(), &self.common_name) {
            (Some(name), _) => name.to_string(),
            (None, common_name) => common_name.clone().unwrap_or_default(),
        }
    }

    /// Longest common name in characters (RFC 5280 appendix A.1, ub-common-name).
    const MAX_COMMON_NAME: usize = 64;

    /// The common name of the subject: the first name if it fits, else none.
    ///
    /// Upstreams and people read the subject; verifiers read the subject alternative name. So the
    /// subject repeats a name in full or is empty, in which case the alternative name is critical
    /// (RFC 5280 section 4.2.1.6). It is never shortened: two devices could come to share it.
    pub fn common_name(&self) -> Option<String> {
        let name = self.label();
        (name.chars().count() <= Self::MAX_COMMON_NAME).then_some(name)
    }
}

/// From when until when a certificate is valid, both ends included (RFC 5280 section 4.1.2.5), in
/// whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// notBefore.
    pub not_before: Timestamp,
    /// notAfter.
    pub not_after: Timestamp,
}

impl Validity {
    /// Whether `now` lies within.
    pub fn contains(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// Earliest time that is believed: 2025-01-01T00:00:00Z. A machine that starts without a clock
/// begins in 1970, and a certificate dated there would be expired for everybody else.
const EARLIEST_BELIEVED: i64 = 1_735_689_600;

impl Profile {
    /// The validity of a certificate issued `now`.
    ///
    /// It begins early by the profile's back-dating and never before the issuer's. It ends after
    /// `days` if they are given, and then a lifetime beyond the profile's or the issuer's end is
    /// refused; without `days` it ends after the profile's default or with the issuer, whichever is
    /// sooner, so that an authority in its last months still serves. `issuer` is `None` for a root.
    pub fn validity(
        &self,
        days: Option<u32>,
        now: Timestamp,
        issuer: Option<&Validity>,
    ) -> Result<Validity, ProfileError> {
        let now = whole_seconds(now)?;
        if let Some(days) = days
            && !(1..=self.max_days).contains(&days)
        {
            return Err(ProfileError::Days {
                asked: days,
                at_most: self.max_days,
            });
        }
        let lifetime =
            SignedDuration::from_hours(24 * i64::from(days.unwrap_or(self.default_days)))
                - SignedDuration::from_secs(1);
        let beyond_time = |_| ProfileError::Clock { now };
        let mut not_before = now.checked_sub(self.backdate).map_err(beyond_time)?;
        let mut not_after = now.checked_add(lifetime).map_err(beyond_time)?;
        if let Some(issuer) = issuer {
            if !issuer.contains(now) {
                return Err(ProfileError::IssuerOutOfDate {
                    now,
                    validity: *issuer,
                });
            }
            not_before = not_before.max(issuer.not_before);
            if not_after > issuer.not_after {
                if days.is_some() {
                    return Err(ProfileError::BeyondIssuer {
                        issuer_ends: issuer.not_after,
                    });
                }
                not_after = issuer.not_after;
            }
        }
        Ok(Validity {
            not_before,
            not_after,
        })
    }
}

/// X.509 has no fractions of a second (RFC 5280 section 4.1.2.5). Refuses a clock that cannot be
/// right.
pub(crate) fn whole_seconds(now: Timestamp) -> Result<Timestamp, ProfileError> {
    if now.as_second() < EARLIEST_BELIEVED {
        return Err(ProfileError::Clock { now });
    }
    Timestamp::from_second(now.as_second()).map_err(|_| ProfileError::Clock { now })
}

/// What a profile refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileError {
    /// A kind of name that the profile does not carry.
    KindOfName {
        /// The profile.
        profile: EndEntity,
    },
    /// No name, or too many.
    NumberOfNames {
        /// How many were given.
        given: usize,
        /// The limit.
        at_most: usize,
    },
    /// The same name twice.
    SameNameTwice,
    /// A lifetime that the profile does not grant.
    Days {
        /// What was asked for.
        asked: u32,
        /// The limit.
        at_most: u32,
    },
    /// The certificate would outlive its issuer.
    BeyondIssuer {
        /// When the issuer ends.
        issuer_ends: Timestamp,
    },
    /// The issuer is not valid now.
    IssuerOutOfDate {
        /// The time.
        now: Timestamp,
        /// When it is valid.
        validity: Validity,
    },
    /// A name that the issuing authority's own certificate does not permit.
    NotPermitted {
        /// Which of the names, counted from 0.
        position: usize,
    },
    /// The clock cannot be right.
    Clock {
        /// What it says.
        now: Timestamp,
    },
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KindOfName { profile } => {
                let wanted = match profile.name_rule() {
                    NameRule::OneUri => "a URI",
                    NameRule::OneUriAndHardware => "a URI, and a hardware module beside it",
                    NameRule::Hosts { .. } => "host names and IP addresses",
                    NameRule::None => "nothing: the authority names it",
                };
                write!(
                    f,
                    "a certificate of profile {} is named by {wanted}",
                    profile.profile().name
                )
            }
            Self::NumberOfNames { given, at_most } => {
                write!(f, "{given} names were given; 1 to {at_most} are needed")
            }
            Self::SameNameTwice => write!(f, "the same name was given twice"),
            Self::Days { asked, at_most } => {
                write!(
                    f,
                    "{asked} days were asked for; the profile grants 1 to {at_most}"
                )
            }
            Self::BeyondIssuer { issuer_ends } => write!(
                f,
                "the certificate would outlive its issuing CA, which ends {issuer_ends}"
            ),
            Self::IssuerOutOfDate { now, validity } => write!(
                f,
                "the issuing CA is valid from {} to {}, and it is {now}",
                validity.not_before, validity.not_after
            ),
            Self::NotPermitted { position } => write!(
                f,
                "name {} is outside the name constraints of the issuing CA",
                position + 1
            ),
            Self::Clock { now } => write!(f, "the clock says {now}, which cannot be right"),
        }
    }
}

impl std::error::Error for ProfileError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn uri(text: &str) -> Name {
        Name::uri(text).unwrap()
    }

    #[test]
    fn the_rows_stand_where_the_names_say() {
        for (profile, name) in [
            (EndEntity::Server, "server"),
            (EndEntity::Device, "device"),
            (EndEntity::Client, "client"),
            (EndEntity::Operator, "operator"),
        ] {
            assert_eq!(profile.profile().name, name);
            assert!(matches!(
                profile.profile().role,
                Role::EndEntity { purpose, .. } if purpose == profile.purpose()
            ));
            assert_eq!(named(name), Some(profile.profile()));
        }
        assert_eq!(root().name, "root");
        assert_eq!(issuing().name, "issuing");
    }

    #[test]
    fn no_end_entity_lives_longer_than_two_years() {
        for profile in &PROFILES {
            if matches!(profile.role, Role::EndEntity { .. }) {
                let longest =
                    SignedDuration::from_hours(24 * i64::from(profile.max_days)) + profile.backdate;
                assert!(
                    longest <= SignedDuration::from_hours(24 * MAX_NODE_DAYS),
                    "{}",
                    profile.name
                );
            }
            assert!(profile.default_days <= profile.max_days, "{}", profile.name);
        }
    }

    #[test]
    fn a_device_has_exactly_one_uri() {
        let one = uri("urn:example:pump-1");
        let admitted = EndEntity::Device.admit(vec![one.clone()]).unwrap();
        assert_eq!(admitted.label(), one.to_string());
        assert_eq!(
            EndEntity::Device.admit(vec![]),
            Err(ProfileError::NumberOfNames {
                given: 0,
                at_most: 1
            })
        );
        assert_eq!(
            EndEntity::Device.admit(vec![one.clone(), uri("urn:example:pump-2")]),
            Err(ProfileError::NumberOfNames {
                given: 2,
                at_most: 1
            })
        );
        assert_eq!(
            EndEntity::Device.admit(vec![Name::dns("pump-1.example").unwrap()]),
            Err(ProfileError::KindOfName {
                profile: EndEntity::Device
            })
        );
    }

    #[test]
    fn a_server_is_named_by_hosts_and_addresses_without_repetition() {
        let localhost = Name::dns("localhost").unwrap();
        let loopback = Name::ip("127.0.0.1").unwrap();
        assert!(
            EndEntity::Server
                .admit(vec![localhost.clone(), loopback])
                .is_ok()
        );
        assert_eq!(
            EndEntity::Server.admit(vec![localhost.clone(), localhost]),
            Err(ProfileError::SameNameTwice)
        );
        assert_eq!(
            EndEntity::Server.admit(vec![uri("urn:example:pump-1")]),
            Err(ProfileError::KindOfName {
                profile: EndEntity::Server
            })
        );
    }

    #[test]
    fn a_name_that_does_not_fit_the_common_name_leaves_it_out() {
        let name = |length: usize| uri(&format!("urn:example:{}", "x".repeat(length - 12)));
        let common_name = |name| EndEntity::Device.admit(vec![name]).unwrap().common_name();
        assert_eq!(common_name(name(64)), Some(name(64).to_string()));
        assert_eq!(common_name(name(65)), None);
    }

    #[test]
    fn a_device_certificate_begins_a_day_early_and_lasts_its_days_to_the_second() {
        let validity = EndEntity::Device
            .profile()
            .validity(Some(1), at("2026-03-02T12:00:00.9Z"), None)
            .unwrap();
        assert_eq!(validity.not_before, at("2026-03-01T12:00:00Z"));
        assert_eq!(validity.not_after, at("2026-03-03T11:59:59Z"));
    }

    #[test]
    fn nothing_outlives_or_predates_its_issuer() {
        let issuer = Validity {
            not_before: at("2026-01-01T00:00:00Z"),
            not_after: at("2026-02-01T00:00:00Z"),
        };
        let device = EndEntity::Device.profile();
        let now = at("2026-01-01T06:00:00Z");
        let default = device.validity(None, now, Some(&issuer)).unwrap();
        assert_eq!(default, issuer);
        assert_eq!(
            device.validity(Some(60), now, Some(&issuer)),
            Err(ProfileError::BeyondIssuer {
                issuer_ends: issuer.not_after
            })
        );
        for out_of_date in ["2025-12-31T23:59:59Z", "2026-02-01T00:00:01Z"] {
            assert!(matches!(
                device.validity(None, at(out_of_date), Some(&issuer)),
                Err(ProfileError::IssuerOutOfDate { .. })
            ));
        }
    }

    #[test]
    fn days_outside_the_profile_are_refused() {
        let now = at("2026-03-02T12:00:00Z");
        let device = EndEntity::Device.profile();
        for asked in [0, 730, u32::MAX] {
            assert_eq!(
                device.validity(Some(asked), now, None),
                Err(ProfileError::Days {
                    asked,
                    at_most: 729
                })
            );
        }
        assert!(device.validity(Some(729), now, None).is_ok());
    }

    #[test]
    fn a_clock_that_was_never_set_issues_nothing() {
        for now in ["1970-01-01T00:00:10Z", "2024-12-31T23:59:59Z"] {
            assert!(matches!(
                root().validity(None, at(now), None),
                Err(ProfileError::Clock { .. })
            ));
        }
        assert!(matches!(
            root().validity(None, at("9999-01-01T00:00:00Z"), None),
            Err(ProfileError::Clock { .. })
        ));
    }
}
