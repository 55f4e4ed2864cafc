//! From bytes to an established connection: the hello is read and judged, then rustls finishes, all
//! under one deadline.
//!
//! The bytes that the hello was read from are handed to rustls as they came. What a refused peer is
//! told is an alert, or for a peer that does not speak TLS one plain line; it is written, and what
//! the peer still sends is read for a moment, so that a reset does not overtake it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use audit::event::Id;
use config::ListenerName;
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::ask::Asker;
use crate::buffers::Buffers;
use crate::headers::Origin;
use crate::hello::{
    self, ClientHello, HelloReader, HelloRefusal, MAX_FLIGHT_BYTES, Refused, ServerName,
};
use crate::peer::{Channel, Client, Peer, Protocol};
use crate::stream::{self, TlsStream};
use crate::timer::unix_now;
use crate::tls::{ALPN, ChainRefusal, Evidence, ServerSide};

/// An established connection and who is at the other end of it.
#[derive(Debug)]
pub struct Established {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

impl Established {
    /// The connection and the peer, for the driver that takes it over.
    pub(crate) fn into_parts(self) -> (TlsStream<TcpStream>, Peer) {
        (self.stream, self.peer)
    }
}

/// Why a connection was not established.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeRefusal {
    /// The hello is refused.
    Hello(HelloRefusal),
    /// The hello did not arrive in time.
    HelloTimeout,
    /// The handshake did not end in time.
    Timeout,
    /// The peer went away.
    BrokenOff,
    /// A certificate is required, and none came.
    CertificateMissing,
    /// The certificate that came is refused.
    Chain(ChainRefusal),
    /// Our own certificate demands an OCSP answer with it (RFC 7633), and there is none that holds.
    Unstapled,
    /// The peer ended the handshake.
    PeerAlert {
        /// Its number (RFC 8446 6).
        alert: u8,
    },
    /// The library ended the handshake.
    Tls {
        /// What it said.
        reason: Box<str>,
    },
}

/// A peer that was turned away, with what it showed.
#[derive(Debug)]
pub struct TurnedAway {
    /// Why.
    pub refusal: HandshakeRefusal,
    /// The alert that it was sent.
    pub alert: Option<u8>,
    /// Its hello, if one could be read.
    pub hello: Option<Box<ClientHello>>,
    /// The certificate that it presented.
    pub certificate: Option<CertificateDer<'static>>,
}

/// Who connects, and to which listener.
#[derive(Debug)]
pub struct Arrival {
    /// The id of the connection.
    pub connection: Id,
    /// The peer's address.
    pub address: SocketAddr,
    /// The listener.
    pub listener: ListenerName,
}

/// How long a peer that was turned away is listened to, so that it can read why.
const LINGER: Duration = Duration::from_millis(500);

/// Establishes a connection before `deadline`, or turns the peer away.
pub async fn establish(
    mut stream: TcpStream,
    side: &ServerSide,
    arrival: Arrival,
    deadline: Instant,
    buffers: &Buffers,
    asker: &Asker,
) -> Result<Established, TurnedAway> {
    let (inspected, bytes) = match inspect(&mut stream, side, deadline).await {
        Ok(read) => read,
        Err((turned_away, answer)) => {
            Box::pin(tell(stream, &answer)).await;
            return Err(turned_away);
        }
    };
    let hello = inspected.hello().clone();
    match finish(stream, side, bytes, deadline, buffers).await {
        Ok((mut stream, evidence)) => {
            let refusal = match peer(&stream, &evidence, &hello, arrival) {
                Ok(peer) => match asker.settle(&peer.client, side.clients(), deadline).await {
                    Ok(()) => {
                        side.remember(&evidence);
                        return Ok(Established { stream, peer });
                    }
                    Err(refusal) => {
                        // The handshake is over, and TLS has no word for it any more.
                        Box::pin(leave(&mut stream)).await;
                        HandshakeRefusal::Chain(refusal)
                    }
                },
                Err(refusal) => refusal,
            };
            Err(TurnedAway {
                refusal,
                alert: None,
                hello: Some(Box::new(hello)),
                certificate: evidence.presented.get().cloned(),
            })
        }
        Err(failed) => {
            let Failed {
                refusal,
                alert,
                evidence,
            } = *failed;
            let certificate = evidence.and_then(|evidence| evidence.presented.get().cloned());
            Err(TurnedAway {
                refusal,
                alert,
                hello: Some(Box::new(hello)),
                certificate,
            })
        }
    }
}

/// Reads the hello and holds it against the rules. An error comes with what to tell the peer.
async fn inspect(
    stream: &mut TcpStream,
    side: &ServerSide,
    deadline: Instant,
) -> Result<(hello::Inspected, Vec<u8>), (TurnedAway, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(2048);
    let mut reader = HelloReader::new();
    let silent = |refusal| {
        (
            TurnedAway {
                refusal,
                alert: None,
                hello: None,
                certificate: None,
            },
            Vec::new(),
        )
    };
    loop {
        // The reader refuses a hello that is too long before this can be exceeded.
        let room = (MAX_FLIGHT_BYTES + 1).saturating_sub(bytes.len()).max(1);
        let mut bounded = (&mut *stream).take(room as u64);
        match timeout_at(deadline, bounded.read_buf(&mut bytes)).await {
            Ok(Ok(count)) if count > 0 => {}
            Ok(Ok(_) | Err(_)) => return Err(silent(HandshakeRefusal::BrokenOff)),
            Err(_) => return Err(silent(HandshakeRefusal::HelloTimeout)),
        }
        match reader.read(&bytes) {
            Ok(None) => {}
            Ok(Some(hello)) => match hello::judge(hello, side.hello()) {
                Ok(inspected) => return Ok((inspected, bytes)),
                Err(Refused { hello, refusal }) => {
                    let answer = answer(&refusal, hello.legacy_version);
                    return Err((
                        TurnedAway {
                            refusal: HandshakeRefusal::Hello(refusal),
                            alert: refusal.alert(),
                            hello: Some(hello),
                            certificate: None,
                        },
                        answer,
                    ));
                }
            },
            Err(refusal) => {
                let answer = answer(&refusal, reader.version());
                return Err((
                    TurnedAway {
                        refusal: HandshakeRefusal::Hello(refusal),
                        alert: refusal.alert(),
                        hello: None,
                        certificate: None,
                    },
                    answer,
                ));
            }
        }
    }
}

/// What a refused hello is answered with.
fn answer(refusal: &HelloRefusal, version: u16) -> Vec<u8> {
    match (refusal, refusal.alert()) {
        (HelloRefusal::PlainHttp, _) => PLAIN_HTTP.to_vec(),
        (_, Some(alert)) => hello::alert_record(alert, version).to_vec(),
        (_, None) => Vec::new(),
    }
}

/// What a peer reads that speaks plain HTTP to a TLS port.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 38\r\n\r\nThis port speaks HTTPS. Use https://.\n";

/// Tells a peer why, and listens until it has had time to read it.
async fn tell(mut stream: TcpStream, answer: &[u8]) {
    let talk = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        drain(&mut stream).await
    };
    // Whether it was read is the peer's business.
    let _ = timeout(LINGER, talk).await;
}

/// Says goodbye to a peer whose handshake has ended, and listens until it has had time to read it.
async fn leave(stream: &mut TlsStream<TcpStream>) {
    let talk = async {
        stream.shutdown().await?;
        drain(stream).await
    };
    // Whether it was read is the peer's business.
    let _ = timeout(LINGER, talk).await;
}

/// Reads and forgets, up to a bound, until the peer closes.
async fn drain(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut sink = vec![0; 4096];
    for _ in 0..64 {
        if stream.read(&mut sink).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// A handshake that did not end well.
struct Failed {
    refusal: HandshakeRefusal,
    alert: Option<u8>,
    evidence: Option<Arc<Evidence>>,
}

async fn finish(
    stream: TcpStream,
    side: &ServerSide,
    bytes: Vec<u8>,
    deadline: Instant,
    buffers: &Buffers,
) -> Result<(TlsStream<TcpStream>, Arc<Evidence>), Box<Failed>> {
    let failed = |refusal| {
        Box::new(Failed {
            refusal,
            alert: None,
            evidence: None,
        })
    };
    let (config, evidence) = side
        .connection(unix_now().cast_signed())
        .map_err(|error| failed(tls(&error.to_string())))?;
    match timeout_at(deadline, TlsStream::accept(stream, config, bytes, buffers)).await {
        Ok(Ok(stream)) => Ok((stream, evidence)),
        Ok(Err(failed)) => {
            let stream::Failed { error, socket } = *failed;
            let (refusal, alert) = why(&error, &evidence);
            Box::pin(tell(socket, &[])).await;
            Err(Box::new(Failed {
                refusal,
                alert,
                evidence: Some(evidence),
            }))
        }
        Err(_) => {
            // Whoever is refused, and reads nothing, is refused all the same.
            let verdict = evidence
                .verdict
                .get()
                .and_then(|verdict| verdict.as_ref().err());
            let refusal = verdict.map_or(HandshakeRefusal::Timeout, |refusal| {
                HandshakeRefusal::Chain(*refusal)
            });
            Err(Box::new(Failed {
                refusal,
                alert: None,
                evidence: Some(evidence),
            }))
        }
    }
}

/// What ended a handshake, and the alert that rustls sent for it.
fn why(error: &io::Error, evidence: &Evidence) -> (HandshakeRefusal, Option<u8>) {
    if let Some(Err(refusal)) = evidence.verdict.get() {
        return (HandshakeRefusal::Chain(*refusal), Some(refusal.alert()));
    }
    if evidence.unstapled.get().is_some() {
        let alert = AlertDescription::AccessDenied.into();
        return (HandshakeRefusal::Unstapled, Some(alert));
    }
    let Some(error) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    else {
        return (HandshakeRefusal::BrokenOff, None);
    };
    match error {
        rustls::Error::NoCertificatesPresented => (
            HandshakeRefusal::CertificateMissing,
            Some(AlertDescription::CertificateRequired.into()),
        ),
        rustls::Error::AlertReceived(alert) => (
            HandshakeRefusal::PeerAlert {
                alert: u8::from(*alert),
            },
            None,
        ),
        error => (tls(&error.to_string()), None),
    }
}

fn tls(reason: &str) -> HandshakeRefusal {
    HandshakeRefusal::Tls {
        reason: reason.chars().take(200).collect::<String>().into(),
    }
}

/// The facts of the connection. Fails closed: a listener that asks for a certificate has no peer
/// without a verdict on one.
fn peer(
    stream: &TlsStream<TcpStream>,
    evidence: &Evidence,
    hello: &ClientHello,
    arrival: Arrival,
) -> Result<Peer, HandshakeRefusal> {
    let agreed = stream.agreed();
    let client = match (evidence.verdict.get(), agreed.peer_certificates()) {
        (Some(Ok(identity)), Some(_)) => Client::Known(Arc::clone(identity)),
        (None, None) => Client::Anonymous,
        (Some(Err(refusal)), _) => return Err(HandshakeRefusal::Chain(*refusal)),
        (None, Some(_)) | (Some(Ok(_)), None) => {
            return Err(tls("a certificate without a verdict"));
        }
    };
    let protocol = match agreed.alpn_protocol() {
        None => Protocol::Http1,
        Some(chosen) => match ALPN.iter().find(|(name, _)| *name == chosen) {
            Some((_, protocol)) => *protocol,
            None => return Err(tls("a protocol that was not offered")),
        },
    };
    let shown = evidence
        .shown
        .get()
        .ok_or_else(|| tls("no certificate was shown"))?;
    Ok(Peer {
        connection: arrival.connection,
        address: arrival.address,
        origin: Origin::of(arrival.address),
        listener: arrival.listener,
        client,
        channel: Channel {
            version: agreed.protocol_version().map_or(0, u16::from),
            suite: agreed
                .negotiated_cipher_suite()
                .map_or(0, |suite| u16::from(suite.suite())),
            group: agreed
                .negotiated_key_exchange_group()
                .map(|group| u16::from(group.name())),
            protocol,
            sni: hello
                .server_name
                .as_ref()
                .and_then(ServerName::host)
                .map(Into::into),
            shown: Arc::clone(shown.hosts()),
            ja4: hello.ja4().into(),
        },
    })
}
