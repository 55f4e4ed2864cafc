//! Where the inventory is: in a file of the directory, or on a server that several issuers share.

use std::path::Path;

use zeroize::Zeroizing;

use super::INVENTORY;
use crate::error::Error;
use crate::settings::InventorySettings;
use crate::store::{Server, ServerError, Store};

/// An inventory for a new authority: a file of its own, or a place on the server.
pub(super) fn create(place: Option<&InventorySettings>, ca: &Path) -> Result<Store, Error> {
    Ok(match place {
        None => Store::create(&ca.join(INVENTORY))?,
        Some(place) => Store::create_on(server(place)?)?,
    })
}

/// The inventory of an authority.
pub(super) fn open(place: Option<&InventorySettings>, ca: &Path) -> Result<Store, Error> {
    Ok(match place {
        None => Store::open(&ca.join(INVENTORY))?,
        Some(place) => Store::open_on(server(place)?)?,
    })
}

fn server(place: &InventorySettings) -> Result<Server, Error> {
    let what = "connection string of the inventory's server";
    let secret = place.postgres.read(what).map_err(|error| Error::Secret {
        source: place.postgres.clone(),
        error,
    })?;
    let connection = std::str::from_utf8(secret.expose())
        .map_err(|_| Error::Store(ServerError::ConnectionString.into()))?;
    Ok(Server::new(
        Zeroizing::new(connection.to_owned()),
        place.trust.clone(),
    ))
}
