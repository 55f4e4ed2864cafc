//! What tests of the programs stand on: an authority with its certificates in files, and a backend.
//!
//! What this file does not do: it tests nothing.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// What a certificate authority issued, in files as `pki issue --out` names them: three clients in
/// `clients`, and `server` for localhost.
pub(crate) struct Pki(tempfile::TempDir);

impl Pki {
    pub(crate) fn new() -> Self {
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let pki = Self(tempfile::tempdir().unwrap());
        fs::write(pki.path("trust.pem"), issuer.pem()).unwrap();
        for (folder, name) in [
            ("clients/a", "a"),
            ("clients/b", "b"),
            ("clients/c", "c"),
            ("server", "localhost"),
        ] {
            let key = KeyPair::generate().unwrap();
            let parameters = CertificateParams::new([name.to_owned()]).unwrap();
            let certificate = parameters.signed_by(&key, &issuer).unwrap();
            let folder = pki.0.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("chain.pem"), certificate.pem()).unwrap();
            fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        }
        pki
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

/// `load backend`, ended when it is dropped.
pub(crate) struct Backend {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Backend {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_load"))
            .args(["backend", "--listen", "127.0.0.1:0", "--lifetime", "60"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap();
        Self {
            address: address.parse().unwrap(),
            child,
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
