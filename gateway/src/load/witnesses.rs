//! The witnesses of the audit log: their keys, and the way to them.
//!
//! They stay as they are while the gateway runs.

use audit::merkle::key::{Algorithm, Verifier};
use audit::ship::http::Server;
use audit::ship::submit::Witness;
use config::Config;

use super::loader::Loader;
use crate::peer::Protocol;
use crate::site::Site;
use crate::tls;

/// No public key is longer than this, bytes.
const MAX_KEY: u64 = 4096;

impl Loader {
    /// What `previous` had, or else what the configuration names.
    pub(super) fn witnesses(&mut self, config: &Config, previous: Option<&Site>) -> Vec<Witness> {
        if let Some(previous) = previous {
            return previous.witnesses.clone();
        }
        let mut found: Vec<Witness> = Vec::with_capacity(config.audit.witnesses.len());
        for witness in &config.audit.witnesses {
            let (key, server) = (self.key_of(witness), self.server_of(witness));
            let (Some(key), Some(server)) = (key, server) else {
                continue;
            };
            // Evidence is kept by the id.
            if found.iter().any(|known| known.key.id() == key.id()) {
                let message = format!(
                    "{} holds a key that is named above",
                    witness.key.path.display()
                );
                self.error(&witness.key.place, message, Some("name each witness once"));
                continue;
            }
            found.push(Witness {
                key,
                server,
                every: witness.every,
                alarm: witness.alarm,
            });
        }
        found
    }

    fn key_of(&mut self, witness: &config::Witness) -> Option<Verifier> {
        let file = &witness.key;
        let text = self.read(&file.path, &file.place, MAX_KEY)?;
        let key = String::from_utf8_lossy(&text).trim().parse::<Verifier>();
        let why = match key {
            Ok(key) if key.algorithm() == Algorithm::CosignatureV1 => return Some(key),
            Ok(_) => "it signs notes, not cosignatures".to_owned(),
            Err(error) => error.to_string(),
        };
        let message = format!(
            "{} holds no public key of a witness: {why}",
            file.path.display()
        );
        let hint = "its operator has it: witness.vkey of `audit witness keygen`";
        self.error(&file.place, message, Some(hint));
        None
    }

    fn server_of(&mut self, witness: &config::Witness) -> Option<Server> {
        let place = &witness.url.place;
        let (is_https, authority, prefix) = witness.url.value.parts();
        let host = match authority.host.address() {
            Some(address) => address.to_string(),
            None => authority.host.as_str().to_owned(),
        };
        let tls = if is_https {
            let roots = self.authorities(witness.authority.as_slice(), true);
            let config = tls::client_side(&roots, None, &[Protocol::Http1]);
            let name = tls::upstream_name(&authority.host);
            let (Ok(config), Some(name)) = (config, name) else {
                let message = "the host is not one that a certificate can hold";
                self.error(
                    place,
                    message.to_owned(),
                    Some("write its name, or its address"),
                );
                return None;
            };
            Some((config, name))
        } else {
            None
        };
        Some(Server {
            host,
            port: authority.port,
            prefix: prefix.to_owned(),
            tls,
        })
    }
}
