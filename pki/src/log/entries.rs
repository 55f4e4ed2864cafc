//! What the authority puts on record, in its own types, and how the log says it.

use std::net::IpAddr;
use std::time::SystemTime;

use audit::event::{
    CertificateIntended, Crl, Digest, Entry, Event, Requester, Time, Token, TokenState,
};
use audit::reading;
use jiff::Timestamp;

use crate::name::Name;
use crate::profile::{Profile, Validity};
use crate::public_key::{KeyId, PublicKey};
use crate::serial::Serial;
use crate::store::KeyOrigin;

/// Who asked for something, as far as it was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// The user that this program runs as.
    Operator,
    /// Somebody on the network who showed a one-time token.
    Token {
        /// The token's public id; never the token.
        id: String,
        /// From where.
        address: IpAddr,
    },
    /// Somebody on the network who proved to hold the key of a certificate.
    Certificate {
        /// The certificate's serial.
        serial: Serial,
        /// From where.
        address: IpAddr,
    },
    /// Somebody on the network who proved nothing.
    Nobody {
        /// From where.
        address: IpAddr,
    },
}

/// A certificate that is about to be signed.
#[derive(Debug)]
pub struct Intended<'a> {
    /// The issuer's key; a root's own.
    pub issuer: KeyId,
    /// The serial.
    pub serial: &'a Serial,
    /// The profile.
    pub profile: &'static Profile,
    /// The common name of who has no other, as an authority.
    pub common_name: Option<String>,
    /// Its names.
    pub names: &'a [Name],
    /// From when until when.
    pub validity: &'a Validity,
    /// SHA-256 of what will be signed.
    pub tbs_sha256: &'a [u8; 32],
    /// The key that it certifies.
    pub key: &'a PublicKey,
    /// Where that key was made.
    pub key_origin: KeyOrigin,
    /// Who asked for it.
    pub by: &'a Asker,
}

/// A CRL that is about to be signed, or was published.
#[derive(Debug, Clone, Copy)]
pub struct CrlEntry {
    /// The issuer's key.
    pub issuer: KeyId,
    /// Which shard; `None` of an issuer whose list is one.
    pub shard: Option<u16>,
    /// Its number.
    pub number: u64,
    /// thisUpdate and nextUpdate.
    pub updates: (Timestamp, Timestamp),
    /// How many certificates are on it.
    pub entries: u64,
    /// SHA-256 of what will be signed.
    pub tbs_sha256: [u8; 32],
}

/// What becomes of a one-time token.
#[derive(Debug)]
pub struct TokenEntry<'a> {
    /// Its public id; never the token.
    pub id: &'a str,
    /// Made, cancelled or used.
    pub state: TokenState,
    /// The profile that it enrols for.
    pub profile: &'static Profile,
    /// The names that it enrols for.
    pub names: &'a [Name],
    /// Until when it can be used.
    pub expires: Timestamp,
    /// Who did it.
    pub by: &'a Asker,
}

impl Asker {
    /// Itself, in the words of the log.
    pub(super) fn tell<T>(&self, tell: impl FnOnce(Requester<'_>) -> T) -> T {
        let hand = reading::own_hand();
        let (mut id, mut serial, mut from) = (None, None, None);
        match self {
            Self::Operator => {}
            Self::Token { id: token, address } => {
                (id, from) = (Some(token.as_str()), Some(address.to_string()));
            }
            Self::Certificate {
                serial: proved,
                address,
            } => {
                (serial, from) = (Some(proved.to_string()), Some(address.to_string()));
            }
            Self::Nobody { address } => from = Some(address.to_string()),
        }
        tell(Requester {
            uid: hand.uid,
            login_uid: hand.login_uid,
            token: id,
            certificate: serial.as_deref(),
            address: from.as_deref(),
        })
    }
}

impl Intended<'_> {
    pub(super) fn tell<T>(&self, tell: impl FnOnce(Event<'_>) -> T) -> T {
        let names: Vec<String> = self.names.iter().map(ToString::to_string).collect();
        let names = names.iter().chain(&self.common_name).map(String::as_str);
        let names = names.collect();
        self.by.tell(|by| {
            tell(Event::CertificateIntended(CertificateIntended {
                issuer: &self.issuer.to_string(),
                serial: &self.serial.to_string(),
                profile: self.profile.name,
                names,
                not_before: time(self.validity.not_before),
                not_after: time(self.validity.not_after),
                tbs: Digest::new(*self.tbs_sha256),
                public_key: Digest::new(self.key.sha256()),
                key_origin: self.key_origin.as_str(),
                by,
            }))
        })
    }
}

impl TokenEntry<'_> {
    pub(super) fn tell<T>(&self, tell: impl FnOnce(Event<'_>) -> T) -> T {
        let names: Vec<String> = self.names.iter().map(ToString::to_string).collect();
        self.by.tell(|by| {
            tell(Event::Token(Token {
                id: self.id,
                state: self.state,
                profile: self.profile.name,
                names: names.iter().map(String::as_str).collect(),
                expires: time(self.expires),
                by,
            }))
        })
    }
}

impl CrlEntry {
    pub(super) fn tell<T>(&self, published: bool, tell: impl FnOnce(Event<'_>) -> T) -> T {
        tell(Event::Crl(Crl {
            issuer: &self.issuer.to_string(),
            shard: self.shard.map(u32::from),
            number: self.number,
            this_update: time(self.updates.0),
            next_update: time(self.updates.1),
            entries: self.entries,
            tbs: Digest::new(self.tbs_sha256),
            published,
        }))
    }
}

pub(super) fn now(event: Event<'_>) -> Entry<'_> {
    Entry {
        time: Time::from_system(SystemTime::now()),
        event,
    }
}

fn time(at: Timestamp) -> Time {
    Time::from_unix_seconds(at.as_second())
}
