//! One-time tokens: made for one profile and the names of one device, listed, taken back.

use jiff::{SignedDuration, Timestamp};

use audit::event::TokenState as Recorded;

use super::Ca;
use crate::error::Error;
use crate::log::{Asker, TokenEntry};
use crate::profile::{EndEntity, Names, ProfileError, whole_seconds};
use crate::store::{self, AuthorityRole, NewToken, TokenId, TokenPage, TokenRecord};
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
        recorder.token(&TokenEntry {
            id: &record.handle,
            state: Recorded::Cancelled,
            profile: record.profile,
            names: &record.names,
            expires: record.expires_at,
            by: &Asker::Operator,
        })?;
        recorder.close()?;
        Ok(record)
    }
}

/// Whoever runs the program, as the kernel knows him.
pub(super) fn operator() -> String {
    format!("uid {}", rustix::process::getuid().as_raw())
}
