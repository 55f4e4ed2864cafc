//! One-time tokens: made for one profile and the names of one device, listed, taken back.

use jiff::{SignedDuration, Timestamp};

use audit::event::TokenState as Recorded;

use super::Ca;
use crate::error::Error;
use crate::log::{Asker, LogError, Recorder, TokenEntry};
use crate::profile::{EndEntity, Names, ProfileError, whole_seconds};
use crate::store::{self, AuthorityRole, Find, NewToken, TokenId, TokenPage, TokenRecord};
use crate::token::Token;

/// Longest life of a token: what lies in a drawer for months is no secret any more.
pub const MAX_TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);

impl Ca {
    /// Makes a token for one enrolment under these names. It is shown here and never again: the
    /// inventory keeps its hash.
    ///
    /// On record before it is in the inventory; a crash in between leaves a token on record that nobody
    /// can use.
    pub fn make_token(
        &mut self,
        profile: EndEntity,
        names: &Names,
        life: SignedDuration,
        now: Timestamp,
    ) -> Result<(Token, TokenRecord), Error> {
        self.refuse_if_issuer_is_revoked()?;
        if let Some(constraints) = self.issuing()?.constraints()
            && let Some(position) = names
                .all()
                .iter()
                .position(|name| !constraints.permit(name))
        {
            return Err(ProfileError::NotPermitted { position }.into());
        }
        let issuing = self.id(AuthorityRole::Issuing)?;
        let now = whole_seconds(now)?;
        let expires_at = now
            .checked_add(life.min(MAX_TOKEN_LIFE))
            .map_err(|_| ProfileError::Clock { now })?;
        let token = Token::draw()?;
        let sha256 = token.sha256();
        let recorder = self.log.open()?;
        recorder.token(&TokenEntry {
            id: &store::token_handle(&sha256),
            state: Recorded::Made,
            profile: profile.profile(),
            names: names.all(),
            expires: expires_at,
            by: &Asker::Operator,
        })?;
        let new = NewToken {
            sha256,
            profile: profile.profile(),
            label: &names.label(),
            names: names.all(),
            made_by: &operator(),
            expires_at,
        };
        self.store.add_token(issuing, &new, now)?;
        recorder.close()?;
        let record = self.store.token(issuing, &sha256, now)?;
        Ok((token, record))
    }

    /// A page of the tokens.
    pub fn tokens(&self, after: Option<TokenId>, limit: u32) -> Result<TokenPage, Error> {
        let issuing = self.id(AuthorityRole::Issuing)?;
        Ok(self.store.tokens(issuing, after, limit)?)
    }

    /// Takes an open token back.
    pub fn cancel_token(&mut self, id: TokenId, now: Timestamp) -> Result<TokenRecord, Error> {
        let issuing = self.id(AuthorityRole::Issuing)?;
        let now = whole_seconds(now)?;
        let recorder = self.log.open()?;
        let record = self.store.cancel_token(issuing, id, &operator(), now)?;
        put_cancelled_on_record(&recorder, &record)?;
        recorder.close()?;
        Ok(record)
    }

    /// Takes the open tokens of what is revoked by name back, each on record: or whoever has the device, and a
    /// token that was never used, comes back. Nothing to do for what is revoked otherwise.
    pub(super) fn cancel_tokens_of(
        &mut self,
        find: &Find,
        recorder: &Recorder,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (Find::Id(name), Some((issuing, _))) = (find, &self.issuing) else {
            return Ok(());
        };
        loop {
            let by = operator();
            let cancelled = self.store.cancel_tokens_of(*issuing, name, &by, now)?;
            for token in &cancelled {
                put_cancelled_on_record(recorder, token)?;
            }
            if cancelled.is_empty() {
                return Ok(());
            }
        }
    }
}

fn put_cancelled_on_record(recorder: &Recorder, token: &TokenRecord) -> Result<(), LogError> {
    recorder.token(&TokenEntry {
        id: &token.handle,
        state: Recorded::Cancelled,
        profile: token.profile,
        names: &token.names,
        expires: token.expires_at,
        by: &Asker::Operator,
    })
}

/// Whoever runs the program, as the kernel knows him.
pub(super) fn operator() -> String {
    format!("uid {}", rustix::process::getuid().as_raw())
}
