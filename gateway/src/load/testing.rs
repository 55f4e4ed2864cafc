//! A configuration that loads, for tests.

use std::fs;

use config::Findings;
use rcgen::{CertificateParams, KeyPair};

use super::{Loaded, Source, load};
use crate::revocation::testing::{Ca, edition, usual};
use crate::site::Site;

/// A configuration with everything that it names, in a directory.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) ca: Ca,
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
        let name = "clinic.example/audit".parse().unwrap();
        audit::keygen::keygen(place.directory.path(), &name, None).unwrap();
        let text = include_str!("../demo/gateway.toml")
            .replace("@LISTEN@", "127.0.0.1:1")
            .replace("@ADMIN@", "127.0.0.1:2")
            .replace("@UPSTREAM@", "127.0.0.1:3");
        fs::write(at("gateway.toml"), text).unwrap();
        place
    }

    /// Puts a list in force, of this number and day of January 2026.
    pub(crate) fn revoke(&self, number: u64, day: u8, serials: &[u64]) {
        let list = edition(number, day, serials);
        let pem = list.signed_by(&self.ca.signer).unwrap().pem().unwrap();
        fs::write(self.directory.path().join("pki/crl/one.crl"), pem).unwrap();
    }

    /// Changes the text of the configuration.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let path = self.directory.path().join("gateway.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Loads it.
    pub(crate) fn load(&self, previous: Option<&Site>) -> Result<Site, String> {
        self.loaded(previous).map(|loaded| loaded.site)
    }

    /// What is warned of.
    pub(crate) fn warnings(&self) -> String {
        let warnings = self.loaded(None).unwrap().warnings;
        warnings.into_iter().collect::<Findings>().to_string()
    }

    fn loaded(&self, previous: Option<&Site>) -> Result<Loaded, String> {
        let source = Source::file(&self.directory.path().join("gateway.toml"));
        load(source.read().unwrap(), previous).map_err(|findings| findings.to_string())
    }
}
