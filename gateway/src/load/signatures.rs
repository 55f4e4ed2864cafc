//! What routes ask of messages: registered keys are read, and the window of what was accepted is that of
//! the configuration before, if it names the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Config, Demand, FilePath, KeyClient, KeyName, Replay, Route, SigningKey};
use integrity::VerifyingKey;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use super::loader::Loader;
use crate::demands::{Demands, RegisteredKey, SignatureDemand};
use crate::endpoint::Endpoint;
use crate::replays::Replays;
use crate::signing::OwnSigner;
use crate::site::Site;

/// What is at hand for the routes.
pub(super) struct Means {
    keys: BTreeMap<KeyName, (Arc<VerifyingKey>, KeyClient)>,
    /// What was accepted before; nothing where no route takes signatures.
    pub(super) replays: Option<Arc<Replays>>,
}

impl Loader {
    /// Registered keys and the window.
    pub(super) fn signatures(&mut self, config: &Config, previous: Option<&Site>) -> Means {
        let signatures = &config.signatures;
        let mut keys = BTreeMap::new();
        for (name, registered) in &signatures.keys {
            if let Some(key) = self.public_key(&registered.public) {
                keys.insert(name.clone(), (Arc::new(key), registered.client.clone()));
            }
        }
        let replays =
            match &signatures.replay {
                Replay::Unstated => None,
                Replay::Kept(directory) => {
                    let capacity = signatures.window.get() as usize;
                    let known = previous.and_then(|site| site.replays.as_ref());
                    let same = known.filter(|known| known.is(&directory.path, capacity));
                    Some(same.cloned().unwrap_or_else(|| {
                        Arc::new(Replays::new(directory.path.clone(), capacity))
                    }))
                }
            };
        Means { keys, replays }
    }

    /// The gateway's own key. The configuration has one wherever something is to be signed.
    pub(super) fn signer(&mut self, config: &Config) -> Option<Arc<OwnSigner>> {
        let SigningKey::Stated(secret) = &config.signatures.key else {
            return None;
        };
        let key = self.key(secret)?;
        let signer = integrity::SigningKey::from_pkcs8(key.secret_der()).and_then(OwnSigner::new);
        match signer {
            Ok(signer) => Some(Arc::new(signer)),
            Err(error) => {
                let hint = error.hint();
                self.error(secret.place(), error.to_string(), Some(hint));
                None
            }
        }
    }

    /// The public key in a PEM file.
    pub(super) fn public_key(&mut self, file: &FilePath) -> Option<VerifyingKey> {
        let bytes = self.read(&file.path, &file.place, MOST)?;
        let hint = "openssl pkey -in KEY -pubout writes one; P-256, P-384, Ed25519, or RSA of 2048 bits or more";
        let Ok(spki) = SubjectPublicKeyInfoDer::from_pem_slice(&bytes) else {
            let message = format!("{} holds no PUBLIC KEY in PEM form", file.path.display());
            self.error(&file.place, message, Some(hint));
            return None;
        };
        match VerifyingKey::from_spki(&spki) {
            Ok(key) => Some(key),
            Err(error) => {
                let message = format!("{}: {error}", file.path.display());
                self.error(&file.place, message, Some(hint));
                None
            }
        }
    }

    /// What a route asks.
    pub(super) fn demands(&mut self, route: &Route, endpoint: &Endpoint, means: &Means) -> Demands {
        let buffer = usize::try_from(route.buffer.get()).unwrap_or(usize::MAX);
        Demands {
            digest: route.digest.value,
            signature: self.signature(route, means),
            states_digest: endpoint.signer.is_some(),
            buffer,
        }
    }

    fn signature(&mut self, route: &Route, means: &Means) -> Option<SignatureDemand> {
        let rule = &route.signature;
        let is_required = match rule.demand.value {
            Demand::Off => return None,
            Demand::WhenPresent => false,
            Demand::Required => true,
        };
        let keys = rule.keys.iter().filter_map(|name| {
            // One that is missing has been reported where it is configured.
            let (key, client) = means.keys.get(&name.value)?;
            Some(RegisteredKey {
                name: name.value.as_str().into(),
                key: Arc::clone(key),
                client: match client {
                    KeyClient::Only(client) => Some(client.value.clone()),
                    KeyClient::Any => None,
                },
            })
        });
        let covers: Vec<String> = rule.covers.iter().map(|it| it.value.to_string()).collect();
        let covers: Vec<&str> = covers.iter().map(String::as_str).collect();
        // The configuration names a directory wherever a route takes signatures.
        let replays = Arc::clone(means.replays.as_ref()?);
        let times = (rule.age, rule.skew);
        match SignatureDemand::new(
            &covers,
            times,
            is_required,
            route.stream,
            keys.collect(),
            replays,
        ) {
            Ok(demand) => Some(demand),
            Err(error) => {
                let hint = error.hint();
                self.error(&rule.demand.place, error.to_string(), Some(hint));
                None
            }
        }
    }
}

/// No file with a public key is larger, bytes.
const MOST: u64 = 64 * 1024;
