//! What every test needs: a directory, the program, and openssl.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// The program that is tested.
pub(crate) fn pki() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pki"))
}

/// Says why a test does not run here, past what the harness keeps for failures.
pub(crate) fn not_run(reason: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "not run here: {reason}");
}

/// A directory with an authority in `pki/`.
pub(crate) struct World {
    directory: TempDir,
}

/// What a run of the program said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    /// An empty directory.
    pub(crate) fn empty() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// A directory with a new authority.
    pub(crate) fn new() -> Self {
        let world = Self::empty();
        world.run(["init", "--dir", "pki"]).must_succeed();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// A file that its owner alone reads.
    pub(crate) fn secret(&self, name: &str, secret: &str) {
        self.write(name, format!("{secret}\n"));
        let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(self.path(name), owner).unwrap();
    }

    /// Permission bits of a file.
    pub(crate) fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().mode() & 0o777
    }

    /// Names in a directory, sorted.
    pub(crate) fn names(&self, name: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(name))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The program, ready to run in this directory.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = pki();
        command.current_dir(self.directory.path()).args(args);
        command
    }

    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Said {
        Said::from(self.command(args).output().unwrap())
    }

    /// Runs a command of words separated by spaces, with `--dir pki`.
    pub(crate) fn pki(&self, words: &str) -> Said {
        let mut words = words.split_whitespace().peekable();
        let mut verb = vec![words.next().unwrap()];
        // A verb of two words, such as `token make`.
        let is_group = matches!(verb[0], "token" | "ceremony");
        verb.extend(words.next_if(|word| is_group && !word.starts_with('-')));
        let dir = ["--dir", "pki"];
        self.run(verb.into_iter().chain(dir).chain(words))
    }

    /// The same with `--json`, which must succeed.
    pub(crate) fn json(&self, words: &str) -> Value {
        let said = self.pki(&format!("{words} --json")).must_succeed();
        serde_json::from_str(&said.out).unwrap()
    }

    /// Issues a device certificate with a new key in `out`; returns its serial.
    pub(crate) fn device(&self, name: &str, out: &str) -> String {
        let issued = self.json(&format!(
            "issue --profile device --id {name} --new-key --out {out}"
        ));
        issued["serial"].as_str().unwrap().to_owned()
    }

    /// Runs openssl with words separated by spaces; `subject` arguments must not contain any.
    pub(crate) fn openssl(&self, words: &str) -> Said {
        let output = Command::new("openssl")
            .current_dir(self.directory.path())
            .args(words.split_whitespace())
            .output()
            .expect("openssl must be installed");
        Said::from(output)
    }

    /// Verifies a leaf as a strict verifier does: whole chain, whole chain's revocation.
    pub(crate) fn verify(&self, leaf: &str) -> Said {
        let crls = self.read("pki/crl/root.crl") + &self.read("pki/crl/issuing.crl");
        self.write("crls.pem", crls);
        self.openssl(&format!(
            "verify -x509_strict -crl_check_all -CRLfile crls.pem -CAfile pki/trust.pem \
             -untrusted pki/crl/issuing.pem {leaf}"
        ))
    }

    /// The text of a certificate.
    pub(crate) fn text(&self, certificate: &str) -> String {
        self.openssl(&format!("x509 -in {certificate} -noout -text"))
            .must_succeed()
            .out
    }

    /// The text of the issuing CRL.
    pub(crate) fn crl_text(&self) -> String {
        self.openssl("crl -in pki/crl/issuing.crl -noout -text")
            .must_succeed()
            .out
    }

    /// How many certificates the inventory holds that match.
    pub(crate) fn count(&self, filter: &str) -> u64 {
        self.json(&format!("list {filter}"))["total"]
            .as_u64()
            .unwrap()
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    #[track_caller]
    pub(crate) fn must_succeed(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }

    /// Refused, with an error that says this, a hint, and nothing on standard output.
    #[track_caller]
    pub(crate) fn must_refuse(&self, code: i32, says: &str) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(self.err.starts_with("error: "), "{}", self.err);
        assert!(self.err.contains(says), "{}", self.err);
        assert!(self.err.contains("\nhint: "), "what to do: {}", self.err);
        assert_eq!(self.out, "");
    }
}
