//! `pki serve`: what verifiers ask for, over plain HTTP.
//!
//! ```text
//!  connections ──► http ──► verifiers ──► route                      one thread, a runtime
//!                              │ questions, a bounded queue
//!                              ▼
//!                            clerk ──► cache, published, attempts, Ca         one thread, the authority
//! ```
//!
//! What is sent is signed already (CRLs, certificates, OCSP responses), so that no TLS is needed and
//! none is wanted (RFC 5280 section 8). Nothing of a request is logged. If a status cannot be told as
//! it is now, none is told: fail closed.

mod route;

mod cache;

mod published;

mod attempts;

mod clerk;

mod http;

mod verifiers;

mod tls;

mod est;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::ca::Ca;
use crate::error::Error;
use est::Est;
use tls::Identity;
use verifiers::Verifiers;

/// How to serve.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The address of the plain HTTP listener.
    pub listen: SocketAddr,
    /// How long an OCSP response can be used.
    pub window: SignedDuration,
    /// The listener for enrolment, if there is one.
    pub est: Option<Enrolling>,
}

/// How to serve enrolment.
#[derive(Debug, Clone)]
pub struct Enrolling {
    /// The address of the TLS listener.
    pub listen: SocketAddr,
    /// The directory with the server's `chain.pem` and `key.pem`.
    pub certificate: PathBuf,
}

impl Serving {
    /// As the settings of the authority say.
    pub fn of(ca: &Ca) -> Self {
        let settings = ca.serve_settings();
        Self {
            listen: settings.listen,
            window: SignedDuration::from_hours(i64::from(settings.ocsp_hours)),
            est: None,
        }
    }
}

/// Serves until SIGTERM or SIGINT, and then ends what was begun.
///
/// Refused, before anybody is listened to, if the address cannot be had or no status can be signed.
pub fn run(ca: Ca, serving: &Serving, clock: fn() -> Timestamp) -> Result<(), Error> {
    let server = |source| Error::Server { source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(server)?;
    let bind = |address| {
        let listener = runtime.block_on(TcpListener::bind(address));
        listener.map_err(|source| Error::Listen { address, source })
    };
    let listener = bind(serving.listen)?;
    let est = match &serving.est {
        None => None,
        Some(enrolling) => {
            let identity = Identity::load(&enrolling.certificate, ca.issuing()?)?;
            Some((bind(enrolling.listen)?, identity, Est::cacerts(&ca)?))
        }
    };
    let address = listener.local_addr().map_err(server)?;
    let directory = ca.directory().display().to_string();
    let url = ca
        .publication()
        .map(|publication| publication.url().to_owned());
    // What never changes is read from the authority before it is the clerk's.
    let fixed = verifiers::Fixed::of(&ca)?;
    let (desk, clerk) = clerk::open(ca, serving.window, clock)?;
    let verifiers = Rc::new(Verifiers::new(fixed, desk.clone(), clock));
    let result = LocalSet::new().block_on(&runtime, async {
        let signals = Signals::listen()?;
        let (end, ends) = watch::channel(false);
        tracing::info!(
            listen = %address,
            directory,
            url,
            "serving /ocsp, /crl/NAME.crl, /issuing.cer, /root.cer and /trust.pem"
        );
        let mut identity = None;
        let enrolling = match est {
            None => None,
            Some((listener, own, cacerts)) => {
                tracing::info!(est = %listener.local_addr()?, "serving /.well-known/est/");
                let est = Rc::new(Est::new(desk, cacerts));
                let answer = move |request, peer| Rc::clone(&est).answer(request, peer);
                let acceptor = own.acceptor();
                identity = Some(own);
                Some(http::accept(listener, Some(acceptor), ends.clone(), answer))
            }
        };
        notify(NotifyState::Ready);
        let answer = move |request, _| {
            let verifiers = Rc::clone(&verifiers);
            async move { verifiers.answer(request).await }
        };
        let accepting = async {
            let verifying = http::accept(listener, None, ends, answer);
            match enrolling {
                Some(enrolling) => {
                    tokio::join!(verifying, enrolling);
                }
                None => verifying.await,
            }
        };
        let ending = async {
            tokio::select! {
                () = signals.wait(identity) => tracing::info!("ending"),
                // Whoever waits for the authority would wait for ever; a service manager starts another.
                () = gone(&clerk) => tracing::error!("the authority's thread ended"),
            }
            notify(NotifyState::Stopping);
            let _ = end.send(true);
        };
        tokio::join!(accepting, ending);
        Ok(())
    });
    // The tasks that are left, and with them the last desks.
    drop(runtime);
    if clerk.join().is_err() {
        return Err(server(io::Error::other(
            "the authority's thread ended badly",
        )));
    }
    result.map_err(server)
}

/// Returns when the authority's thread has ended.
async fn gone(clerk: &std::thread::JoinHandle<()>) {
    while !clerk.is_finished() {
        sleep(Duration::from_secs(1)).await;
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// So often the server's own certificate is looked at.
const LOOK: Duration = Duration::from_mins(1);

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Until it is time to end. Meanwhile the certificate is kept up to date: two small files, read where
    /// connections wait for it.
    async fn wait(mut self, mut identity: Option<Identity>) {
        let mut told = String::new();
        loop {
            let asked = tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => true,
                () = sleep(LOOK) => false,
            };
            let Some(identity) = &mut identity else {
                continue;
            };
            match identity.look() {
                Ok(changed) => {
                    told.clear();
                    if changed {
                        tracing::info!("the certificate of the enrolment listener is a new one");
                    }
                }
                Err(error) => {
                    let said = error.to_string();
                    if asked || said != told {
                        tracing::error!(
                            error = said,
                            "the certificate of the enrolment listener is the last good one"
                        );
                        told = said;
                    }
                }
            }
        }
    }
}

/// Tells the service manager, if there is one.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
