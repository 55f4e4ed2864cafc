//! What verifiers ask of an authority, one certificate at a time.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Ca;
use crate::error::Error;
use crate::publication::Publication;
use crate::serial::Serial;
use crate::settings::ServeSettings;
use crate::store::{AuthorityRole, CertificateId, Standing};

impl Ca {
    /// How the certificate of the issuing authority with this serial stands, if there is one.
    pub fn standing(&self, serial: &Serial) -> Result<Option<Standing>, Error> {
        Ok(self
            .store
            .standing(self.id(AuthorityRole::Issuing)?, serial)?)
    }

    /// How the signed and unexpired certificates of the issuing authority stand, latest first, at
    /// most `limit`, from before `before`.
    pub fn standings(
        &self,
        before: Option<CertificateId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Standing>, Error> {
        let issuing = self.id(AuthorityRole::Issuing)?;
        Ok(self.store.standings(issuing, before, limit, now)?)
    }

    /// A number that is another one after somebody else changed the inventory. `None` if the inventory
    /// does not say.
    pub fn version(&self) -> Result<Option<i64>, Error> {
        Ok(self.store.version()?)
    }

    /// Whether [`Ca::sign_crls`] would sign one that is due. Asked first, nobody waits for the log when
    /// there is nothing to sign.
    pub fn has_due_crl(&self, now: Timestamp) -> Result<bool, Error> {
        for role in self.known_roles() {
            if self.settings.holds.key_of(role) && !self.due_shards(role, now)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The file of the root's CRL, if it is due and the root's key is elsewhere: it is to be signed there, and
    /// brought here.
    pub fn wanted_root_crl(&self, now: Timestamp) -> Result<Option<PathBuf>, Error> {
        let role = AuthorityRole::Root;
        if self.settings.holds.key_of(role) || self.due_shards(role, now)?.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.crl_file(role, None).published))
    }

    /// Where the authority publishes, if its certificates say so.
    pub fn publication(&self) -> Option<&Publication> {
        self.publication.as_ref()
    }

    /// What its settings say of the server.
    pub fn serve_settings(&self) -> ServeSettings {
        self.settings.serve
    }

    /// The directory of the authority.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}
