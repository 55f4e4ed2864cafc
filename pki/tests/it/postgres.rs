//! A PostgreSQL server of the tests' own: in a directory of its own, over a Unix socket and over TLS
//! on loopback, ended by its id. Used by the unit tests of the store, too.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// A running server, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Postgres {
    directory: tempfile::TempDir,
    port: u16,
    child: Mutex<Option<Child>>,
    databases: AtomicU32,
}

/// The password of the user `pki` over TCP.
pub(crate) const PASSWORD: &str = "hunter2-hunter2";

impl Postgres {
    /// The server that all tests of this process share while any of them runs. `None`, and the reason
    /// printed, if PostgreSQL is not installed.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let started = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&started);
        Some(started)
    }

    /// A server of one's own, to be treated badly.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            use std::io::Write as _;
            let why = "PostgreSQL is not installed (Debian package postgresql)";
            let _ = writeln!(std::io::stderr(), "not run here: {why}");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        // The server refuses to run as root; then it runs as the user that its package made.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(&data));
        }
        run(as_server(programs.join("initdb"))
            .args([
                "--username=postgres",
                "--auth=trust",
                "--no-sync",
                "-E",
                "UTF8",
                "-D",
            ])
            .arg(&data));
        certificate(directory.path(), &data);
        fs::write(
            data.join("pg_hba.conf"),
            "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
        )
        .unwrap();
        let server = Self {
            port: free_port(),
            directory,
            child: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        server.up(&[]);
        server.sql(
            "postgres",
            &format!("CREATE ROLE pki LOGIN CREATEDB PASSWORD '{PASSWORD}'"),
        );
        Some(server)
    }

    /// Starts it, if it does not run, with these settings.
    pub(crate) fn up(&self, settings: &[&str]) {
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut child = self.spawn(settings);
        while !self.answers() {
            assert!(Instant::now() < deadline, "{}", self.log());
            pause();
            // One that was killed may have left children that are not done yet.
            if child.try_wait().unwrap().is_some() {
                child = self.spawn(settings);
            }
        }
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
    }

    fn spawn(&self, settings: &[&str]) -> Child {
        let data = self.directory.path().join("data");
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        let mut command = as_server(programs().unwrap().join("postgres"));
        command
            .arg("-D")
            .arg(&data)
            .args(["-p", &self.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            &format!("unix_socket_directories={}", data.display()),
            "ssl=on",
            "max_connections=50",
            "shared_buffers=64MB",
        ]
        .iter()
        .chain(settings)
        {
            command.args(["-c", setting]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Kills it with SIGKILL, and what it started with it.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // Its children notice, end, and let go of the shared memory that the next one looks for.
        let data = self.directory.path().join("data");
        let _ = fs::remove_file(data.join(format!(".s.PGSQL.{}", self.port)));
    }

    /// A new database, owned by the user `pki`.
    pub(crate) fn database(&self) -> String {
        let name = format!("pki_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER pki"));
        name
    }

    /// How the database is reached over the Unix socket, with no password.
    pub(crate) fn socket(&self, database: &str) -> String {
        format!(
            "host={} port={} user=pki dbname={database}",
            self.directory.path().join("data").display(),
            self.port
        )
    }

    /// How it is reached over TLS. [`Postgres::roots`] are to be trusted.
    pub(crate) fn tls(&self, database: &str) -> String {
        format!(
            "postgresql://pki:{PASSWORD}@localhost:{}/{database}?sslmode=require&hostaddr=127.0.0.1",
            self.port
        )
    }

    /// The root of its certificate.
    pub(crate) fn roots(&self) -> PathBuf {
        self.directory.path().join("root.pem")
    }

    /// Runs a statement as the user that may do everything, and gives back what it says.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database, sql);
        assert!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        Command::new(programs().unwrap().join("psql"))
            .args([
                "-X",
                "-q",
                "-t",
                "-A",
                "-U",
                "postgres",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
            ])
            .arg(self.directory.path().join("data"))
            .args(["-p", &self.port.to_string(), "-d", database, "-c", sql])
            .output()
            .unwrap()
    }

    fn answers(&self) -> bool {
        self.psql("postgres", "SELECT 1").status.success()
    }

    fn log(&self) -> String {
        let mut text = String::new();
        if let Ok(mut log) = fs::File::open(self.directory.path().join("log")) {
            let _ = log.seek(SeekFrom::Start(0));
            let _ = log.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = child {
            // The postmaster ends its children at SIGINT; SIGKILL would leave that to them.
            let _ = Command::new("kill")
                .args(["-INT", &child.id().to_string()])
                .status();
            let _ = child.wait();
        }
    }
}

/// Where the programs of the server are.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .collect();
    found.sort();
    found.pop()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// A program of the server, as a user that may run it.
fn as_server(program: PathBuf) -> Command {
    let mut command;
    if is_root() {
        command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
            .arg(program);
    } else {
        command = Command::new(program);
    }
    command.current_dir("/").env("LC_ALL", "C.UTF-8");
    command
}

/// A root, and a certificate of the server for `localhost`.
fn certificate(directory: &Path, data: &Path) {
    let openssl = |arguments: &str| {
        run(Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(directory)
            .stdin(Stdio::null()));
    };
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout root.key \
         -out root.pem -days 2 -subj /CN=test-root",
    );
    fs::write(
        directory.join("extensions"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n",
    )
    .unwrap();
    openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout data/server.key \
         -out server.csr -subj /CN=localhost",
    );
    openssl(
        "x509 -req -in server.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 \
         -extfile extensions -out data/server.crt",
    );
    fs::set_permissions(data.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    if is_root() {
        run(Command::new("chown")
            .arg("postgres:")
            .args([data.join("server.key"), data.join("server.crt")]));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A test may wait for a server.
#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}
