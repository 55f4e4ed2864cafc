//! What a new authority is to be: decided before it is founded, and fixed afterwards.

use super::NewKeys;
use crate::authority::AuthorityName;
use crate::ceremony::Wishes;
use crate::constraints::NameConstraints;
use crate::publication::Publication;
use crate::settings::{Holds, InventorySettings, Settings};

/// What a new authority is to be.
#[derive(Debug)]
pub struct Plan {
    /// What it is called.
    pub name: AuthorityName,
    /// Where verifiers will find what it publishes. Its certificates say so; nowhere if `None`.
    pub publication: Option<Publication>,
    /// Under which names it may certify servers; any if `None`.
    pub constraints: Option<NameConstraints>,
    /// Where its secret keys go: into plain files of its directory unless this says more.
    pub keys: NewKeys,
    /// The server that is to hold its inventory; a file of its directory does if `None`.
    pub inventory: Option<InventorySettings>,
}

impl Plan {
    /// An authority of this name that certifies any server and points nowhere.
    pub fn new(name: AuthorityName) -> Self {
        Self {
            name,
            publication: None,
            constraints: None,
            keys: NewKeys::default(),
            inventory: None,
        }
    }

    /// What its issuing authority asks a root for.
    pub(super) fn wishes(&self) -> Wishes {
        let url = self.publication.as_ref().map(Publication::url);
        Wishes {
            name: self.name.clone(),
            url: url.map(str::to_owned),
            constraints: self.constraints.clone(),
        }
    }

    /// What the directory remembers of it.
    pub(super) fn settings(&self, holds: Holds) -> Settings {
        let publication = self.publication.as_ref();
        let mut settings = Settings::new(&self.name, publication);
        settings.holds = holds;
        settings.keys = self.keys.places.clone();
        settings.inventory.clone_from(&self.inventory);
        settings
    }
}
