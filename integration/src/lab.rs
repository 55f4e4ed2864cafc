//! Certificates that no authority should issue, by openssl: out of date, for another purpose, with
//! no name or with two.

use std::path::{Path, PathBuf};

use crate::authority::Credentials;
use crate::place::Place;
use crate::program::Program;

/// A root made by openssl, which signs whatever it is asked to.
#[derive(Debug)]
pub struct Lab {
    directory: PathBuf,
}

/// What a certificate is to say. The texts are openssl's (x509v3_config(5)).
#[derive(Debug, Clone, Copy)]
pub struct Leaf<'a> {
    /// The subject alternative names; none when empty.
    pub names: &'a str,
    /// What the key is for.
    pub usage: &'a str,
    /// First day, as `YYYYMMDDHHMMSSZ`.
    pub from: &'a str,
    /// Last day.
    pub to: &'a str,
    /// Where its revocation list is published, `URI:http://...`; nowhere when empty.
    pub points: &'a str,
}

const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

impl Leaf<'_> {
    /// A device's certificate that is as it should be.
    pub const GOOD: Leaf<'static> = Leaf {
        names: "URI:urn:example:pump-1",
        usage: "clientAuth",
        from: "20200101000000Z",
        to: "20400101000000Z",
        points: "",
    };
}

const CONFIGURATION: &str = "
[ca]
default_ca = lab
[lab]
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = issued
certificate = root.pem
private_key = root.key
default_md = sha256
default_crl_days = 30
policy = any
unique_subject = no
[any]
commonName = supplied
";

impl Lab {
    /// A new one, in a directory of `place` with this name, with an empty revocation list.
    #[track_caller]
    pub fn new(place: &Place, name: &str) -> Lab {
        place.write(format!("{name}/lab.cnf"), CONFIGURATION);
        place.write(format!("{name}/index.txt"), "");
        place.write(format!("{name}/serial"), "7A51000000000001\n");
        place.write(format!("{name}/crlnumber"), "01\n");
        let directory = place.path(name);
        std::fs::create_dir(directory.join("issued")).expect("the directory was just made");
        let lab = Lab { directory };
        lab.new_key(P256, "root.key");
        lab.openssl(&[
            "req",
            "-x509",
            "-new",
            "-key",
            "root.key",
            "-days",
            "3650",
            "-out",
            "root.pem",
            "-subj",
            &format!("/CN={name}"),
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ]);
        lab.publish();
        lab
    }

    /// Its root.
    #[must_use]
    pub fn trust(&self) -> PathBuf {
        self.directory.join("root.pem")
    }

    /// The key of its root.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.directory.join("root.key")
    }

    /// Its revocation list.
    #[must_use]
    pub fn crl(&self) -> PathBuf {
        self.directory.join("lab.crl")
    }

    /// Issues a certificate with this common name, which also names its files. Its key is of P-256.
    #[track_caller]
    pub fn issue(&self, name: &str, leaf: &Leaf<'_>) -> Credentials {
        self.issue_for(P256, name, leaf)
    }

    /// Issues a certificate for a key that `openssl genpkey` makes with these options.
    #[track_caller]
    pub fn issue_for(&self, key: &[&str], name: &str, leaf: &Leaf<'_>) -> Credentials {
        let file = |kind: &str| format!("{}.{kind}", name.replace(':', "-"));
        self.new_key(key, &file("key"));
        let names = if leaf.names.is_empty() {
            String::new()
        } else {
            format!("subjectAltName={}\n", leaf.names)
        };
        let points = if leaf.points.is_empty() {
            String::new()
        } else {
            format!("crlDistributionPoints={}\n", leaf.points)
        };
        let extensions = format!(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
             extendedKeyUsage={}\n{names}{points}subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
            leaf.usage
        );
        std::fs::write(self.directory.join(file("ext")), extensions)
            .expect("the directory is there");
        let (key, csr, ext, out) = (file("key"), file("csr"), file("ext"), file("pem"));
        let subject = format!("/CN={name}");
        self.openssl(&["req", "-new", "-key", &key, "-subj", &subject, "-out", &csr]);
        self.openssl(&[
            "ca",
            "-batch",
            "-config",
            "lab.cnf",
            "-notext",
            "-extfile",
            &ext,
            "-startdate",
            leaf.from,
            "-enddate",
            leaf.to,
            "-in",
            &csr,
            "-out",
            &out,
        ]);
        let certificate = self.directory.join(out);
        Credentials {
            chain: certificate.clone(),
            certificate,
            key: self.directory.join(key),
            trust: self.trust(),
        }
    }

    /// Signs its revocation list anew.
    #[track_caller]
    pub fn publish(&self) {
        self.openssl(&["ca", "-config", "lab.cnf", "-gencrl", "-out", "lab.crl"]);
    }

    /// Signs a revocation list that is good from 2020 until then, as `YYYYMMDDHHMMSSZ`.
    #[track_caller]
    pub fn publish_until(&self, then: &str) {
        self.openssl(&[
            "ca",
            "-config",
            "lab.cnf",
            "-gencrl",
            "-out",
            "lab.crl",
            "-crl_lastupdate",
            "20200101000000Z",
            "-crl_nextupdate",
            then,
        ]);
    }

    /// Signs a revocation list for the certificates of one distribution point (RFC 5280 5.2.5), in `file` of
    /// this directory. It names whatever is revoked.
    #[track_caller]
    pub fn publish_shard(&self, file: &str, url: &str) -> PathBuf {
        let point = format!(
            "{CONFIGURATION}[shard]\nissuingDistributionPoint=critical,@point\n[point]\nfullname=URI:{url}\n"
        );
        std::fs::write(self.directory.join("shard.cnf"), point).expect("the directory is there");
        self.openssl(&[
            "ca",
            "-config",
            "shard.cnf",
            "-crlexts",
            "shard",
            "-gencrl",
            "-out",
            file,
        ]);
        self.directory.join(file)
    }

    /// Revokes a certificate. A list says so when one is signed again.
    #[track_caller]
    pub fn revoke(&self, certificate: &Path) {
        let certificate = certificate.to_string_lossy();
        self.openssl(&["ca", "-config", "lab.cnf", "-revoke", &certificate]);
    }

    #[track_caller]
    fn new_key(&self, options: &[&str], name: &str) {
        self.openssl(&[&["genpkey"], options, &["-out", name]].concat());
    }

    #[track_caller]
    fn openssl(&self, arguments: &[&str]) {
        Program::of_the_machine("openssl")
            .args(arguments)
            .directory(&self.directory)
            .run()
            .expect_code(0);
    }
}
