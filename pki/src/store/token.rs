//! One-time tokens: who holds one may enrol once, for the profile and the names that it was made for.
//!
//! What is stored is the token's SHA-256 ([`crate::token::Token`]), so a stolen inventory enrols
//! nobody. A token is used up in the transaction that reserves the serial: of two who show it at the
//! same time one is refused, and a crash leaves either both or none. What comes after the
//! reservation may fail; the token stays used, and its holder needs another.

use jiff::{SignedDuration, Timestamp};

use super::engine::{Engine, Row};
use super::record::{name, optional_time, time};
use super::{AuthorityId, CertificateId, Reservation, Store, StoreError};
use crate::name::Name;
use crate::profile::{self, Profile};
use crate::public_key::hex;

/// Most tokens that may be open at once, of all authorities of an inventory.
pub const MAX_TOKENS: i64 = 1_000_000;
/// How long after its end a token that nobody used is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How many of those are removed when one is added.
const REMOVED_AT_ONCE: i64 = 100;

/// A token's place in the inventory. Also what a page of a list ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenId(pub(super) i64);

impl TokenId {
    /// As a number, for a program to hand back.
    pub fn number(self) -> i64 {
        self.0
    }

    /// The place that was handed out as this number.
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }
}

/// A token to be added.
#[derive(Debug)]
pub struct NewToken<'a> {
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
    /// The profile it stands for.
    pub profile: &'static Profile,
    /// What lists call it.
    pub label: &'a str,
    /// All names that a certificate enrolled with it carries.
    pub names: &'a [Name],
    /// Who made it.
    pub made_by: &'a str,
    /// The last moment at which it is taken.
    pub expires_at: Timestamp,
}

/// What is known of a token. Not the token: that is known to its holder alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its place.
    pub id: TokenId,
    /// What the audit log calls it ([`handle`]).
    pub handle: String,
    /// The profile it stands for.
    pub profile: &'static Profile,
    /// What lists call it.
    pub label: String,
    /// The names it stands for, in order.
    pub names: Vec<Name>,
    /// When it was made.
    pub made_at: Timestamp,
    /// By whom.
    pub made_by: String,
    /// The last moment at which it is taken.
    pub expires_at: Timestamp,
    /// What became of it.
    pub state: TokenState,
}

/// What the audit log calls the token with this hash: it can be told from others by it, and not shown.
pub fn handle(sha256: &[u8; 32]) -> String {
    hex(&sha256[..8])
}

/// What became of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenState {
    /// Nothing yet; it may have expired.
    Open,
    /// It was used.
    Used {
        /// When.
        at: Timestamp,
        /// For which certificate.
        by: CertificateId,
    },
    /// It was taken back.
    Cancelled {
        /// When.
        at: Timestamp,
        /// By whom.
        by: String,
    },
}

/// Part of a list, in the order in which tokens were made.
#[derive(Debug)]
pub struct TokenPage {
    /// At most as many as were asked for.
    pub tokens: Vec<TokenRecord>,
    /// How many there are in all.
    pub total: u64,
    /// Where the next page begins, if there is one.
    pub next: Option<TokenId>,
}

impl Store {
    /// Adds a token. Those that nobody used for 90 days after their end are removed on the way.
    pub fn add_token(
        &mut self,
        issuer: AuthorityId,
        token: &NewToken<'_>,
        now: Timestamp,
    ) -> Result<TokenId, StoreError> {
        let transaction = self.begin()?;
        remove_forgotten(&transaction, now)?;
        refuse_too_many(&transaction, MAX_TOKENS)?;
        let id = transaction.number(
            "INSERT INTO tokens
                 (authority, token_sha256, profile, label, made_at, made_by, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING id",
            &[
                issuer.0.into(),
                hex(&token.sha256).into(),
                token.profile.name.into(),
                token.label.into(),
                now.as_second().into(),
                token.made_by.into(),
                token.expires_at.as_second().into(),
            ],
        )?;
        for (position, name) in (0_i64..).zip(token.names) {
            transaction.execute(
                "INSERT INTO token_names (token, position, kind, value) VALUES (?1, ?2, ?3, ?4)",
                &[
                    id.into(),
                    position.into(),
                    name.kind().into(),
                    name.to_string().into(),
                ],
            )?;
        }
        transaction.commit()?;
        Ok(TokenId(id))
    }

    /// The open token with this hash; what it stands for is what its holder may ask for. Refused if
    /// it is unknown, used, cancelled or expired. [`Store::reserve`] asks again, and uses it.
    pub fn token(
        &self,
        issuer: AuthorityId,
        sha256: &[u8; 32],
        now: Timestamp,
    ) -> Result<TokenRecord, StoreError> {
        let snapshot = self.engine.snapshot()?;
        open(&snapshot, issuer, sha256, now)
    }

    /// What was enrolled with the token with this hash, if it was used and has not expired since.
    pub fn enrolled(
        &self,
        issuer: AuthorityId,
        sha256: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<(TokenRecord, CertificateId)>, StoreError> {
        let snapshot = self.engine.snapshot()?;
        let Some(row) = snapshot.first(&by_hash(), &[hex(sha256).into(), issuer.0.into()])? else {
            return Ok(None);
        };
        let token = read(&snapshot, &row)?;
        Ok(match token.state {
            TokenState::Used { by, .. } if now <= token.expires_at => Some((token, by)),
            TokenState::Used { .. } | TokenState::Open | TokenState::Cancelled { .. } => None,
        })
    }

    /// The tokens of an authority, at most `limit` (and [`super::MAX_PAGE`]), after `after`.
    pub fn tokens(
        &self,
        issuer: AuthorityId,
        after: Option<TokenId>,
        limit: u32,
    ) -> Result<TokenPage, StoreError> {
        let limit = limit.clamp(1, super::MAX_PAGE);
        let snapshot = self.engine.snapshot()?;
        let total = snapshot.number(
            "SELECT count(*) FROM tokens WHERE authority = ?1",
            &[issuer.0.into()],
        )?;
        let rows = snapshot.query(
            &format!(
                "SELECT {COLUMNS} FROM tokens WHERE authority = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
            ),
            &[
                issuer.0.into(),
                after.map_or(0, |id| id.0).into(),
                (i64::from(limit) + 1).into(),
            ],
        )?;
        let more = rows.len() > limit as usize;
        let tokens = rows
            .iter()
            .take(limit as usize)
            .map(|row| read(&snapshot, row))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(TokenPage {
            next: more.then(|| tokens.last().map(|last| last.id)).flatten(),
            tokens,
            total: total.unsigned_abs(),
        })
    }

    /// Takes an open token back. Refused if it is unknown, used or cancelled.
    pub fn cancel_token(
        &mut self,
        issuer: AuthorityId,
        id: TokenId,
        by: &str,
        now: Timestamp,
    ) -> Result<TokenRecord, StoreError> {
        let transaction = self.begin()?;
        let row = transaction
            .first(
                &format!("SELECT {COLUMNS} FROM tokens WHERE id = ?1 AND authority = ?2"),
                &[id.0.into(), issuer.0.into()],
            )?
            .ok_or(StoreError::TokenUnknown)?;
        let mut token = read(&transaction, &row)?;
        refuse_ended(&token)?;
        transaction.execute(
            "UPDATE tokens SET cancelled_at = ?2, cancelled_by = ?3 WHERE id = ?1",
            &[id.0.into(), now.as_second().into(), by.into()],
        )?;
        transaction.commit()?;
        token.state = TokenState::Cancelled {
            at: now,
            by: by.to_owned(),
        };
        Ok(token)
    }
}

impl Store {
    /// Takes back all open tokens of an authority. Returns how many.
    pub fn cancel_tokens(
        &mut self,
        issuer: AuthorityId,
        by: &str,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let transaction = self.begin()?;
        let cancelled = transaction.execute(
            "UPDATE tokens SET cancelled_at = ?2, cancelled_by = ?3
              WHERE authority = ?1 AND used_at IS NULL AND cancelled_at IS NULL",
            &[issuer.0.into(), now.as_second().into(), by.into()],
        )?;
        transaction.commit()?;
        Ok(cancelled)
    }

    /// Takes back open tokens that stand for this name, at most [`super::MAX_PAGE`] at once. Returns them as they
    /// were; none when none is left.
    pub fn cancel_tokens_of(
        &mut self,
        issuer: AuthorityId,
        name: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<Vec<TokenRecord>, StoreError> {
        let transaction = self.begin()?;
        let rows = transaction.query(
            &format!(
                "SELECT {COLUMNS} FROM tokens
                  WHERE authority = ?1 AND used_at IS NULL AND cancelled_at IS NULL
                    AND id IN (SELECT token FROM token_names WHERE value = ?2) ORDER BY id LIMIT ?3"
            ),
            &[
                issuer.0.into(),
                name.into(),
                i64::from(super::MAX_PAGE).into(),
            ],
        )?;
        let mut tokens = Vec::with_capacity(rows.len());
        for row in &rows {
            let token = read(&transaction, row)?;
            transaction.execute(
                "UPDATE tokens SET cancelled_at = ?2, cancelled_by = ?3 WHERE id = ?1",
                &[token.id.0.into(), now.as_second().into(), by.into()],
            )?;
            tokens.push(token);
        }
        transaction.commit()?;
        Ok(tokens)
    }
}

/// Whether a token admits this reservation.
pub(super) fn admit(
    engine: &Engine,
    issuer: AuthorityId,
    sha256: &[u8; 32],
    reservation: &Reservation<'_>,
    now: Timestamp,
) -> Result<TokenId, StoreError> {
    let token = open(engine, issuer, sha256, now)?;
    let same_names = token.names.len() == reservation.names.len()
        && token
            .names
            .iter()
            .all(|name| reservation.names.contains(name));
    if token.profile != reservation.profile || !same_names {
        return Err(StoreError::TokenForAnother);
    }
    Ok(token.id)
}

/// Uses a token up.
pub(super) fn spend(
    engine: &Engine,
    token: TokenId,
    certificate: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    engine.execute(
        "UPDATE tokens SET used_at = ?2, used_by = ?3 WHERE id = ?1",
        &[token.0.into(), now.as_second().into(), certificate.into()],
    )?;
    Ok(())
}

fn open(
    engine: &Engine,
    issuer: AuthorityId,
    sha256: &[u8; 32],
    now: Timestamp,
) -> Result<TokenRecord, StoreError> {
    let row = engine
        .first(&by_hash(), &[hex(sha256).into(), issuer.0.into()])?
        .ok_or(StoreError::TokenUnknown)?;
    let token = read(engine, &row)?;
    refuse_ended(&token)?;
    if token.expires_at < now {
        return Err(StoreError::TokenExpired {
            at: token.expires_at,
        });
    }
    Ok(token)
}

fn by_hash() -> String {
    format!("SELECT {COLUMNS} FROM tokens WHERE token_sha256 = ?1 AND authority = ?2")
}

fn refuse_ended(token: &TokenRecord) -> Result<(), StoreError> {
    match token.state {
        TokenState::Open => Ok(()),
        TokenState::Used { at, .. } => Err(StoreError::TokenSpent { at }),
        TokenState::Cancelled { at, .. } => Err(StoreError::TokenCancelled { at }),
    }
}

fn refuse_too_many(engine: &Engine, most: i64) -> Result<(), StoreError> {
    // Counting takes longer the more there are, and so few were ever made in most places.
    let ever = engine.number("SELECT coalesce(max(id), 0) FROM tokens", &[])?;
    if ever < most {
        return Ok(());
    }
    let open = "SELECT count(*) FROM tokens WHERE used_at IS NULL AND cancelled_at IS NULL";
    if engine.number(open, &[])? < most {
        Ok(())
    } else {
        Err(StoreError::TooManyTokens)
    }
}

/// Removes what nobody used long ago. Its names go with it.
fn remove_forgotten(engine: &Engine, now: Timestamp) -> Result<(), StoreError> {
    engine.execute(
        "DELETE FROM tokens WHERE id IN
             (SELECT id FROM tokens WHERE used_at IS NULL AND cancelled_at IS NULL
                 AND expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
        &[
            now.as_second().saturating_sub(KEPT.as_secs()).into(),
            REMOVED_AT_ONCE.into(),
        ],
    )?;
    Ok(())
}

const COLUMNS: &str = "id, profile, label, made_at, made_by, expires_at, used_at, used_by, \
     cancelled_at, cancelled_by, token_sha256";

fn read(engine: &Engine, row: &Row) -> Result<TokenRecord, StoreError> {
    let corrupt = |what| StoreError::Corrupt { what };
    let id = row.integer(0)?;
    let used = (optional_time(row, 6)?, row.optional_integer(7)?);
    let cancelled = (optional_time(row, 8)?, row.optional_text(9)?);
    let state = match (used, cancelled) {
        ((Some(at), Some(by)), _) => TokenState::Used {
            at,
            by: CertificateId(by),
        },
        (_, (Some(at), Some(by))) => TokenState::Cancelled {
            at,
            by: by.to_owned(),
        },
        _ => TokenState::Open,
    };
    Ok(TokenRecord {
        id: TokenId(id),
        handle: row.text(10)?.chars().take(16).collect(),
        profile: profile::named(row.text(1)?).ok_or(corrupt("a profile"))?,
        label: row.text(2)?.to_owned(),
        names: engine
            .query(
                "SELECT kind, value FROM token_names WHERE token = ?1 ORDER BY position",
                &[id.into()],
            )?
            .iter()
            .map(|row| name(row.text(0)?, row.text(1)?))
            .collect::<Result<_, _>>()?,
        made_at: time(row.integer(3)?)?,
        made_by: row.text(4)?.to_owned(),
        expires_at: time(row.integer(5)?)?,
        state,
    })
}

#[cfg(test)]
mod tests {
    use super::super::lifecycle::tests::{a_key, at, serial};
    use super::super::tests::{On, on_both_engines};
    use super::super::{Find, KeyOrigin};
    use super::*;
    use crate::profile::EndEntity;

    on_both_engines!(
        a_token_enrols_once,
        of_two_who_show_one_token_at_once_one_is_refused,
        a_token_is_for_its_profile_and_all_of_its_names,
        a_reservation_that_is_refused_leaves_the_token_open,
        a_token_ends_at_its_time_and_can_be_taken_back,
        pages_of_tokens_join_and_each_says_the_total,
        what_nobody_used_long_ago_is_removed_and_what_was_used_is_kept,
        no_more_tokens_are_open_than_may_be,
    );

    const PUMP: &str = "urn:example:pump-1";

    fn add(store: &mut Store, issuer: AuthorityId, number: u8, name: &str) -> TokenId {
        let names = [Name::uri(name).unwrap()];
        let token = NewToken {
            sha256: [number; 32],
            profile: EndEntity::Device.profile(),
            label: name,
            names: &names,
            made_by: "nurse",
            expires_at: at(100),
        };
        store.add_token(issuer, &token, at(0)).unwrap()
    }

    fn enrol(
        store: &mut Store,
        issuer: AuthorityId,
        number: u64,
        (profile, names): (EndEntity, &[&str]),
        token: u8,
        now: i64,
    ) -> Result<CertificateId, StoreError> {
        let names: Vec<Name> = names.iter().map(|name| Name::uri(name).unwrap()).collect();
        let reservation = Reservation {
            profile: profile.profile(),
            label: "a",
            names: &names,
            key: &a_key(),
            key_origin: KeyOrigin::Request,
            shard: None,
            token: Some([token; 32]),
            predecessor: None,
        };
        store.reserve(issuer, &serial(number), &reservation, at(now))
    }

    const DEVICE: (EndEntity, &[&str]) = (EndEntity::Device, &[PUMP]);

    fn a_token_enrols_once(on: &On) {
        let (_home, mut store, issuing) = on.new_store();
        add(&mut store, issuing, 1, PUMP);
        assert!(matches!(
            enrol(&mut store, issuing, 1, DEVICE, 2, 5),
            Err(StoreError::TokenUnknown)
        ));
        let stands_for = store.token(issuing, &[1; 32], at(5)).unwrap();
        assert_eq!(stands_for.names, [Name::uri(PUMP).unwrap()]);
        let by = enrol(&mut store, issuing, 2, DEVICE, 1, 5).unwrap();
        let again = enrol(&mut store, issuing, 3, DEVICE, 1, 6);
        assert!(matches!(again, Err(StoreError::TokenSpent { at: spent }) if spent == at(5)));
        assert!(store.find(&Find::Serial(serial(3))).unwrap().is_empty());
        let listed = &store.tokens(issuing, None, 10).unwrap().tokens[0];
        assert_eq!(listed.state, TokenState::Used { at: at(5), by });
    }

    fn of_two_who_show_one_token_at_once_one_is_refused(on: &On) {
        let (home, mut store, issuing) = on.new_store();
        add(&mut store, issuing, 1, PUMP);
        let won = std::thread::scope(|scope| {
            let tries: Vec<_> = (1..=4)
                .map(|number| {
                    let mut store = home.open();
                    scope.spawn(move || enrol(&mut store, issuing, number, DEVICE, 1, 5).is_ok())
                })
                .collect();
            tries
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .filter(|won| *won)
                .count()
        });
        assert_eq!(won, 1);
    }

    fn a_token_is_for_its_profile_and_all_of_its_names(on: &On) {
        let (_home, mut store, issuing) = on.new_store();
        add(&mut store, issuing, 1, PUMP);
        for other in [
            (EndEntity::Client, &[PUMP][..]),
            (EndEntity::Device, &["urn:example:pump-2"]),
            (EndEntity::Device, &[PUMP, "urn:example:pump-2"]),
            (EndEntity::Device, &[]),
        ] {
            assert!(matches!(
                enrol(&mut store, issuing, 1, other, 1, 5),
                Err(StoreError::TokenForAnother)
            ));
        }
        // Another authority on the same server made none.
        let other = store
            .add_authority(
                super::super::AuthorityRole::Issuing,
                crate::public_key::KeyId([8; 20]),
            )
            .unwrap();
        assert!(matches!(
            enrol(&mut store, other, 1, DEVICE, 1, 5),
            Err(StoreError::TokenUnknown)
        ));
        enrol(&mut store, issuing, 1, DEVICE, 1, 5).unwrap();
    }

    fn a_reservation_that_is_refused_leaves_the_token_open(on: &On) {
        let (_home, mut store, issuing) = on.new_store();
        add(&mut store, issuing, 1, PUMP);
        add(&mut store, issuing, 2, PUMP);
        enrol(&mut store, issuing, 1, DEVICE, 1, 5).unwrap();
        assert!(matches!(
            enrol(&mut store, issuing, 1, DEVICE, 2, 5),
            Err(StoreError::SerialTaken)
        ));
        enrol(&mut store, issuing, 2, DEVICE, 2, 5).unwrap();
    }

    fn a_token_ends_at_its_time_and_can_be_taken_back(on: &On) {
        let (_home, mut store, issuing) = on.new_store();
        add(&mut store, issuing, 1, PUMP);
        let back = add(&mut store, issuing, 2, PUMP);
        assert!(matches!(
            enrol(&mut store, issuing, 1, DEVICE, 1, 101),
            Err(StoreError::TokenExpired { at: ended }) if ended == at(100)
        ));
        enrol(&mut store, issuing, 1, DEVICE, 1, 100).unwrap();
        store.cancel_token(issuing, back, "nurse", at(7)).unwrap();
        assert!(matches!(
            enrol(&mut store, issuing, 2, DEVICE, 2, 8),
            Err(StoreError::TokenCancelled { at: ended }) if ended == at(7)
        ));
        assert!(matches!(
            store.cancel_token(issuing, back, "nurse", at(9)),
            Err(StoreError::TokenCancelled { .. })
        ));
        for forbidden in [
            "UPDATE tokens SET used_at = NULL, used_by = NULL",
            "UPDATE tokens SET expires_at = expires_at + 1",
            "UPDATE token_names SET value = 'urn:example:b'",
            "DELETE FROM tokens",
        ] {
            assert!(store.engine.batch(forbidden).is_err(), "{forbidden}");
        }
    }

    fn pages_of_tokens_join_and_each_says_the_total(on: &On) {
        let (_home, mut store, issuing) = on.new_store();
        let made: Vec<TokenId> = (1..=5)
            .map(|number| add(&mut store, issuing, number, PUMP))
            .collect();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.tokens(issuing, after, 2).unwrap();
            assert_eq!(page.total, 5);
            seen.extend(page.tokens.iter().map(|token| token.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, made);
    }

    fn what_nobody_used_long_ago_is_removed_and_what_was_used_is_kept(on: &On) {
        let (_home, mut store, issuing) = on.new_store();
        add(&mut store, issuing, 1, PUMP);
        let used = add(&mut store, issuing, 2, PUMP);
        enrol(&mut store, issuing, 1, DEVICE, 2, 5).unwrap();
        let names = [];
        let mut late = |number: u8, now: i64| {
            let token = NewToken {
                sha256: [number; 32],
                profile: EndEntity::Device.profile(),
                label: "late",
                names: &names,
                made_by: "nurse",
                expires_at: at(now + 100),
            };
            let id = store.add_token(issuing, &token, at(now)).unwrap();
            let tokens = store.tokens(issuing, None, 10).unwrap().tokens;
            (id, tokens.iter().map(|it| it.id).collect::<Vec<_>>())
        };
        let ninety_days = KEPT.as_secs();
        let (first, left) = late(3, ninety_days + 100);
        assert_eq!(left.len(), 3);
        let (second, left) = late(4, ninety_days + 101);
        assert_eq!(left, [used, first, second]);
    }

    fn no_more_tokens_are_open_than_may_be(on: &On) {
        let (_home, mut store, issuing) = on.new_store();
        let first = add(&mut store, issuing, 1, PUMP);
        add(&mut store, issuing, 2, PUMP);
        assert!(refuse_too_many(&store.engine, 3).is_ok());
        assert!(matches!(
            refuse_too_many(&store.engine, 2),
            Err(StoreError::TooManyTokens)
        ));
        store.cancel_token(issuing, first, "nurse", at(1)).unwrap();
        assert!(refuse_too_many(&store.engine, 2).is_ok());
    }
}
