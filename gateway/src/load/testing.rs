//! A configuration that loads, for tests.

use std::fs;

use rcgen::{CertificateParams, KeyPair};

use super::{Source, load};
use crate::revocation::testing::{Ca, edition, usual};
use crate::site::Site;

/// A configuration with everything that it names, in a directory.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    ca: Ca,
}

impl Place {
    pub(crate) fn new() -> Place {
        let place = Place {
            directory: tempfile::tempdir().unwrap(),
            ca: usual("one"),
        };
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let server = CertificateParams::new(names).unwrap();
        let server = server.signed_by(&key, &place.ca.signer).unwrap();
        let at = |name: &str| place.directory.path().join(name);
        fs::create_dir_all(at("pki/crl")).unwrap();
        fs::create_dir(at("server")).unwrap();
        fs::write(at("pki/trust.pem"), place.ca.certificate.pem()).unwrap();
        fs::write(at("server/chain.pem"), server.pem()).unwrap();
        fs::write(at("server/key.pem"), key.serialize_pem()).unwrap();
        let text = include_str!("../demo/gateway.toml")
            .replace("@LISTEN@", "127.0.0.1:1")
            .replace("@ADMIN@", "127.0.0.1:2")
            .replace("@UPSTREAM@", "127.0.0.1:3");
        fs::write(at("gateway.toml"), text).unwrap();
        place
    }

    pub(crate) fn revoke(&self, number: u64, day: u8, serials: &[u64]) {
        let list = edition(number, day, serials);
        let pem = list.signed_by(&self.ca.signer).unwrap().pem().unwrap();
        fs::write(self.directory.path().join("pki/crl/one.crl"), pem).unwrap();
    }

    pub(crate) fn load(&self, previous: Option<&Site>) -> Result<Site, String> {
        let source = Source::file(&self.directory.path().join("gateway.toml"));
        let loaded = load(source.read().unwrap(), previous);
        loaded
            .map(|loaded| loaded.site)
            .map_err(|findings| findings.to_string())
    }
}
