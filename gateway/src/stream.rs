//! A TLS connection as a stream of bytes, on rustls' unbuffered interface.
//!
//! rustls does all of TLS; this file moves bytes. What arrives is received into one buffer of the worker
//! and decrypted there. What is written gathers, is sealed in whole records, and leaves when somebody
//! flushes or when enough waits. A connection on which nothing happens holds no buffer: records that
//! are not whole yet are all that stays.
//!
//! What this file does not do: it decides nothing about versions, certificates or time.
//! Standards: RFC 8446 5.1 (records), 6.1 (an end without `close_notify` is a truncation, and an error).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{CommonState, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::buffers::Buffers;

/// So much is received at once for a reader who does not say more.
const RECEIVE_ONCE: usize = 32 * 1024;

/// The content of a full record, bytes (RFC 8446 5.1).
const RECORD: usize = 16 * 1024;

/// When so much is sealed it is sent before more is taken, bytes: eight records. A client that takes
/// nothing keeps as much waiting.
const SEND: usize = 128 * 1024;

/// No more may wait for the end of a record or of a handshake message, bytes: the longest message that
/// rustls takes, 64 KiB, with what is around it when it is cut as anybody in his senses cuts it.
const PARTIAL: usize = 80 * 1024;

/// What sealing adds to each record at the most: header, nonce, tag and type.
const AROUND: usize = 5 + 8 + 16 + 1;

/// The server's end of a TLS connection.
pub struct TlsStream<S> {
    buffers: Buffers,
    socket: S,
    session: Session,
    /// What has arrived and is not a whole record yet.
    partial: Vec<u8>,
    /// What was decrypted and not read yet; from `read` on.
    plain: Vec<u8>,
    read: usize,
    /// What was written and not sealed yet.
    gathered: Vec<u8>,
    /// Whether we said that we write no more.
    closed: bool,
}

/// Seals something into the bytes that it is given, and says how many it took.
type SealInto<'a> = &'a mut dyn FnMut(
    &mut WriteTraffic<'_, ServerConnectionData>,
    &mut [u8],
) -> Result<usize, EncryptError>;

/// The same, and about how many bytes it takes.
type Seal<'a> = (usize, SealInto<'a>);

/// rustls' end of it, and what it has sealed.
struct Session {
    buffers: Buffers,
    tls: Box<UnbufferedServerConnection>,
    sealed: Sealed,
    /// Whether the peer said that it writes no more.
    ended: bool,
    fault: Option<rustls::Error>,
}

/// Records on their way to the socket: of the bytes of `buffer`, which all have a value, those from
/// `sent` to `filled`.
#[derive(Default)]
struct Sealed {
    buffer: Vec<u8>,
    filled: usize,
    sent: usize,
}

impl<S> std::fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream").finish_non_exhaustive()
    }
}

/// A handshake that did not end well.
#[derive(Debug)]
pub struct Failed<S> {
    /// rustls' error inside, unless it is the socket's.
    pub error: io::Error,
    /// The socket. The alert, if there was one, has been sent.
    pub socket: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Shakes hands as a server. `received` is what was read of the connection so far.
    ///
    /// # Errors
    /// [`Failed`], once its alert is sent.
    pub async fn accept(
        socket: S,
        config: Arc<ServerConfig>,
        received: Vec<u8>,
        buffers: &Buffers,
    ) -> Result<TlsStream<S>, Box<Failed<S>>> {
        let tls = match UnbufferedServerConnection::new(config) {
            Ok(tls) => tls,
            Err(error) => {
                let error = io::Error::new(io::ErrorKind::InvalidData, error);
                return Err(Box::new(Failed { error, socket }));
            }
        };
        let mut stream = TlsStream {
            buffers: buffers.clone(),
            socket,
            session: Session {
                buffers: buffers.clone(),
                tls: Box::new(tls),
                sealed: Sealed::default(),
                ended: false,
                fault: None,
            },
            partial: received,
            plain: Vec::new(),
            read: 0,
            gathered: Vec::new(),
            closed: false,
        };
        let shaken = stream.handshake().await;
        match shaken {
            Ok(()) => Ok(stream),
            Err(error) => Err(Box::new(Failed {
                error,
                socket: stream.socket,
            })),
        }
    }

    async fn handshake(&mut self) -> io::Result<()> {
        let mut first = std::mem::take(&mut self.partial);
        let mut keep = |bytes: &[u8]| self.plain.extend_from_slice(bytes);
        let taken = self.session.process(&mut first, &mut keep, None);
        self.partial.extend_from_slice(&first[taken..]);
        std::future::poll_fn(|context| self.poll_handshake(context)).await
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let sent = ready!(self.poll_send(context));
            // What is wrong with the peer counts, also when it does not stay to hear of it.
            self.session.judge()?;
            sent?;
            if !self.session.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let TlsStream {
                socket,
                session,
                partial,
                plain,
                ..
            } = self;
            let received = poll_receive(socket, session, partial, context, RECEIVE_ONCE, |bytes| {
                plain.extend_from_slice(bytes);
            });
            if ready!(received)? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// What was agreed on.
    pub fn agreed(&self) -> &CommonState {
        &self.session.tls
    }

    /// The socket underneath.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// Reads all that one receiving of up to `most` bytes brings, to the end of `into`; 0 is the end.
    ///
    /// # Errors
    /// The socket's, or rustls'; an end that the peer did not announce is one.
    pub fn poll_read_into(
        &mut self,
        context: &mut Context<'_>,
        into: &mut BytesMut,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let before = into.len();
        self.poll_plain(context, most, &mut |bytes| {
            into.extend_from_slice(bytes);
            bytes.len()
        })
        .map_ok(|()| into.len() - before)
    }

    /// Hands what is decrypted to `take`, which says how much of it it took; at the end of the
    /// connection nothing.
    fn poll_plain(
        &mut self,
        context: &mut Context<'_>,
        most: usize,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<()>> {
        if self.read < self.plain.len() {
            self.read += take(&self.plain[self.read..]);
            if self.read == self.plain.len() {
                self.buffers.give_back(std::mem::take(&mut self.plain));
                self.read = 0;
            }
            return Poll::Ready(Ok(()));
        }
        loop {
            if self.session.ended {
                return Poll::Ready(Ok(()));
            }
            self.session.judge()?;
            let TlsStream {
                buffers,
                socket,
                session,
                partial,
                plain,
                ..
            } = self;
            let (mut some, waits) = (false, !session.sealed.is_empty());
            let received = poll_receive(socket, session, partial, context, most, |bytes| {
                some |= !bytes.is_empty();
                // What finds no room is kept, and all that comes behind it.
                let taken = if plain.is_empty() { take(bytes) } else { 0 };
                if taken < bytes.len() {
                    if plain.is_empty() {
                        *plain = buffers.spare();
                    }
                    plain.extend_from_slice(&bytes[taken..]);
                }
            });
            let received = ready!(received)?;
            if !waits && !self.session.sealed.is_empty() {
                // A word of rustls' own. If it cannot leave now it does with what is written next. Where
                // something waited before, a writer waits with it, in a task that may be another one.
                let _ = self.poll_send(context)?;
            }
            if some {
                return Poll::Ready(Ok(()));
            }
            if received == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Sends what is sealed.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sealed = &mut self.session.sealed;
        while !sealed.is_empty() {
            let rest = &sealed.buffer[sealed.sent..sealed.filled];
            let sent = ready!(Pin::new(&mut self.socket).poll_write(context, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            sealed.sent += sent;
        }
        sealed.clear(&self.buffers);
        Poll::Ready(Ok(()))
    }

    /// Waits until more may be written.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.judge()?;
        if self.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.session.sealed.filled >= SEND {
            ready!(self.poll_send(context))?;
        }
        Poll::Ready(Ok(()))
    }

    /// How much may be taken at once, bytes.
    fn room(&self) -> usize {
        SEND.saturating_sub(self.session.sealed.filled).max(RECORD)
    }

    /// Takes what is to be sent; full records are sealed at once.
    fn gather(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if !self.gathered.is_empty() {
            let room = RECORD - self.gathered.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.gathered.extend_from_slice(now);
            bytes = later;
            if self.gathered.len() == RECORD {
                self.seal()?;
            }
        }
        let whole = bytes.len() - bytes.len() % RECORD;
        let (whole, rest) = bytes.split_at(whole);
        if !whole.is_empty() {
            self.session.encrypt(&mut self.partial, whole)?;
        }
        if !rest.is_empty() {
            if self.gathered.is_empty() {
                self.gathered = self.buffers.spare();
            }
            self.gathered.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Seals what has gathered.
    fn seal(&mut self) -> io::Result<()> {
        if !self.gathered.is_empty() {
            self.session.encrypt(&mut self.partial, &self.gathered)?;
            self.buffers.give_back(std::mem::take(&mut self.gathered));
        }
        Ok(())
    }
}

/// Receives up to `most` bytes and lets rustls take them. Returns how many these were.
fn poll_receive<S: AsyncRead + Unpin>(
    socket: &mut S,
    session: &mut Session,
    partial: &mut Vec<u8>,
    context: &mut Context<'_>,
    most: usize,
    mut plain: impl FnMut(&[u8]),
) -> Poll<io::Result<usize>> {
    session.buffers.clone().receive(|buffer| {
        let kept = partial.len();
        let end = buffer.len().min(kept + most);
        let Some(room) = buffer.get_mut(kept..end).filter(|room| !room.is_empty()) else {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        };
        let mut room = ReadBuf::new(room);
        ready!(Pin::new(socket).poll_read(context, &mut room))?;
        let received = room.filled().len();
        buffer[..kept].copy_from_slice(partial);
        let arrived = &mut buffer[..kept + received];
        let taken = session.process(arrived, &mut plain, None);
        partial.clear();
        let rest = arrived.len() - taken;
        if rest > PARTIAL {
            // Many small records for one long message: each would be looked at again with the next.
            let error = rustls::Error::General("a message in too many records".to_owned());
            session.fault.get_or_insert(error);
        } else if rest > 0 {
            partial.extend_from_slice(&arrived[taken..]);
        } else {
            *partial = Vec::new();
        }
        Poll::Ready(Ok(received))
    })
}

impl Session {
    /// Lets rustls take what has arrived, and then `seal`, if there is something to seal. What is decrypted
    /// goes to `plain`, what rustls says itself is sealed. Returns how many bytes are done with. What is
    /// wrong is remembered, behind what came before it.
    fn process(
        &mut self,
        arrived: &mut [u8],
        plain: &mut dyn FnMut(&[u8]),
        mut seal: Option<Seal<'_>>,
    ) -> usize {
        let mut taken = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.tls.process_tls_records(&mut arrived[taken..]);
            let goes_on = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut fault = None;
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                plain(record.payload);
                            }
                            Err(error) => fault = Some(error),
                        }
                    }
                    self.fault = fault.or(self.fault.take());
                    self.fault.is_none()
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let sealed =
                        self.sealed
                            .fill(&self.buffers, 0, |room| match data.encode(room) {
                                Ok(bytes) => Ok(bytes),
                                Err(EncodeError::InsufficientSize(size)) => Err(Some(size)),
                                Err(EncodeError::AlreadyEncoded) => Err(None),
                            });
                    // Behind a fault it is the alert. rustls would look at what is wrong once more.
                    sealed && self.fault.is_none()
                }
                // It is sealed, and whoever drives us sends what is sealed.
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    true
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.ended = true;
                    true
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    if let Some((room, seal)) = seal.take() {
                        let sealed = self.sealed.fill(&self.buffers, room, |room| {
                            seal(&mut traffic, room).map_err(|error| match error {
                                EncryptError::InsufficientSize(size) => Some(size),
                                EncryptError::EncryptExhausted => None,
                            })
                        });
                        if !sealed {
                            self.fault = Some(rustls::Error::EncryptError);
                        }
                    }
                    false
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => false,
                // Early data, which we never allow, and what a later version may think of.
                Ok(_) => {
                    self.fault = Some(unexpected());
                    false
                }
                // Once more: now it has the alert.
                Err(error) => {
                    let is_first = self.fault.is_none();
                    self.fault.get_or_insert(error);
                    is_first
                }
            };
            taken += discard;
            if !goes_on {
                return taken;
            }
        }
    }

    /// Seals `bytes` behind what is sealed already.
    fn encrypt(&mut self, partial: &mut [u8], bytes: &[u8]) -> io::Result<()> {
        let room = bytes.len() + (bytes.len() / RECORD + 1) * AROUND;
        self.write(partial, room, &mut |traffic, room| {
            traffic.encrypt(bytes, room)
        })
    }

    /// Seals the words that we write no more (RFC 8446 6.1).
    fn close(&mut self, partial: &mut [u8]) -> io::Result<()> {
        self.write(partial, 64, &mut |traffic, room| {
            traffic.queue_close_notify(room)
        })
    }

    /// Seals what `seal` has to say, for which about `room` bytes will do. What is partial has no record
    /// that is whole, and stays as it is.
    fn write(&mut self, partial: &mut [u8], room: usize, seal: SealInto<'_>) -> io::Result<()> {
        let before = self.sealed.filled;
        self.process(partial, &mut |_| (), Some((room, seal)));
        self.judge()?;
        if self.sealed.filled == before {
            // Where rustls lets nobody write there is something wrong.
            return Err(io::Error::new(io::ErrorKind::InvalidData, unexpected()));
        }
        Ok(())
    }

    /// What is wrong, if something is.
    fn judge(&self) -> io::Result<()> {
        match &self.fault {
            None => Ok(()),
            Some(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error.clone())),
        }
    }
}

impl Sealed {
    fn is_empty(&self) -> bool {
        self.sent == self.filled
    }

    /// Lets `fill` write behind what is there, where at least `room` bytes are free; more if it says so.
    /// Returns whether it wrote.
    fn fill(
        &mut self,
        buffers: &Buffers,
        room: usize,
        mut fill: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
    ) -> bool {
        self.reserve(room, buffers);
        loop {
            match fill(&mut self.buffer[self.filled..]) {
                Ok(bytes) => {
                    self.filled += bytes;
                    return true;
                }
                Err(Some(size)) if size.required_size > self.buffer.len() - self.filled => {
                    self.reserve(size.required_size, buffers);
                }
                Err(_) => return false,
            }
        }
    }

    fn reserve(&mut self, room: usize, buffers: &Buffers) {
        if self.buffer.is_empty() {
            self.buffer = buffers.blank();
        }
        if self.buffer.len() < self.filled + room {
            self.buffer.resize(self.filled + room, 0);
        }
    }

    /// All of it is sent: the buffer is somebody else's.
    fn clear(&mut self, buffers: &Buffers) {
        (self.filled, self.sent) = (0, 0);
        buffers.give_back_blank(std::mem::take(&mut self.buffer));
    }
}

fn unexpected() -> rustls::Error {
    rustls::Error::General("a state that has no place here".to_owned())
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_plain(context, RECEIVE_ONCE, &mut |bytes| {
            let taken = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..taken]);
            taken
        })
    }
}

/// What is written leaves with `poll_flush` at the latest.
impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(context))?;
        let taken = bytes.len().min(self.room());
        self.gather(&bytes[..taken])?;
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(context))?;
        let (mut taken, room) = (0, self.room());
        for slice in slices {
            let some = slice.len().min(room - taken);
            self.gather(&slice[..some])?;
            taken += some;
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.judge()?;
        self.seal()?;
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.closed, true) {
            self.session.judge()?;
            self.seal()?;
            let this = &mut *self;
            this.session.close(&mut this.partial)?;
        }
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::provider;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;
    use tokio_rustls::TlsConnector;

    type Client = tokio_rustls::client::TlsStream<DuplexStream>;

    fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let provider = Arc::new(provider());
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        server.send_tls13_tickets = 0;
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server), Arc::new(client))
    }

    /// Both ends of a connection over a pipe that holds `pipe` bytes each way.
    async fn connection(pipe: usize) -> (TlsStream<DuplexStream>, Client) {
        let (near, far) = duplex(pipe);
        let (server, client) = configs();
        let name = ServerName::try_from("localhost").unwrap();
        let (connector, buffers) = (TlsConnector::from(client), Buffers::default());
        let (server, client) = tokio::join!(
            TlsStream::accept(near, server, Vec::new(), &buffers),
            connector.connect(name, far)
        );
        (server.unwrap(), client.unwrap())
    }

    fn sample(length: usize) -> Vec<u8> {
        (0..length)
            .map(|at| (at * 7 + at / 251).to_le_bytes()[0])
            .collect()
    }

    #[tokio::test]
    async fn every_byte_passes_both_ways_however_little_the_socket_takes() {
        for (pipe, piece) in [(61, 1), (1000, 777), (1 << 20, 16 * 1024), (5000, 300_000)] {
            let (mut server, client) = connection(pipe).await;
            let (mut reads, mut writes) = tokio::io::split(client);
            let content = sample(700_001.min(pipe * 1000));
            let (there, back) = (content.clone(), content.clone());
            let up = async move {
                for part in there.chunks(piece.max(100)) {
                    writes.write_all(part).await.unwrap();
                }
                writes.flush().await.unwrap();
                writes
            };
            let down = async move {
                let mut got = vec![0; back.len()];
                reads.read_exact(&mut got).await.unwrap();
                assert!(got == back, "pipe {pipe}, piece {piece}");
                reads
            };
            let echo = async {
                let mut got = vec![0; content.len()];
                server.read_exact(&mut got).await.unwrap();
                assert!(got == content, "pipe {pipe}, piece {piece}");
                for part in got.chunks(piece.max(100)) {
                    server.write_all(part).await.unwrap();
                }
                server.flush().await.unwrap();
            };
            let all = async { tokio::join!(up, down, echo) };
            let _ = timeout(Duration::from_mins(1), all).await.unwrap();
        }
    }

    #[tokio::test]
    async fn all_that_one_receiving_brings_is_read_at_once() {
        let (mut server, mut client) = connection(1 << 20).await;
        let content = sample(50_000);
        client.write_all(&content).await.unwrap();
        client.flush().await.unwrap();
        let mut got = BytesMut::new();
        let most = 100 * 1024;
        let read = std::future::poll_fn(|context| server.poll_read_into(context, &mut got, most));
        assert_eq!(read.await.unwrap(), content.len());
        assert!(got == content);
    }

    #[tokio::test]
    async fn what_is_written_leaves_with_the_flush_in_one_record() {
        let (mut server, mut client) = connection(1 << 20).await;
        for _ in 0..32 {
            server.write_all(b"an answer").await.unwrap();
        }
        let mut got = [0; 9 * 32];
        let nothing = timeout(Duration::from_millis(50), client.read_exact(&mut got));
        assert!(nothing.await.is_err(), "something left before the flush");
        let waits: usize = server.gathered.len();
        assert_eq!(waits, got.len());
        server.flush().await.unwrap();
        client.read_exact(&mut got).await.unwrap();
        assert!(got.chunks(9).all(|part| part == b"an answer"));
    }

    #[tokio::test]
    async fn a_connection_on_which_nothing_happens_holds_no_buffer() {
        let (mut server, mut client) = connection(1 << 20).await;
        client.write_all(&sample(40_000)).await.unwrap();
        client.flush().await.unwrap();
        let mut got = vec![0; 40_000];
        server.read_exact(&mut got).await.unwrap();
        server.write_all(&got).await.unwrap();
        server.flush().await.unwrap();
        client.read_exact(&mut got).await.unwrap();
        let held = [&server.partial, &server.plain, &server.gathered];
        assert!(held.iter().all(|buffer| buffer.capacity() == 0));
        assert_eq!(server.session.sealed.buffer.capacity(), 0);
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_not_written_for_without_bound() {
        let (mut server, _client) = connection(1024).await;
        let content = sample(100_000);
        let endless = async {
            loop {
                server.write_all(&content).await.unwrap();
            }
        };
        let stuck = timeout(Duration::from_millis(200), endless).await;
        assert!(stuck.is_err());
        let held = server.session.sealed.filled + server.gathered.len();
        assert!(held <= SEND + 2 * RECORD, "{held}");
    }

    #[tokio::test]
    async fn an_end_that_was_not_announced_is_an_error_and_one_that_was_is_an_end() {
        let (mut server, mut client) = connection(4096).await;
        client.shutdown().await.unwrap();
        let mut got = Vec::new();
        assert_eq!(server.read_to_end(&mut got).await.unwrap(), 0);

        let (mut server, client) = connection(4096).await;
        drop(client);
        let error = server.read_to_end(&mut got).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);

        let (mut server, mut client) = connection(4096).await;
        server.write_all(b"the end").await.unwrap();
        server.shutdown().await.unwrap();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"the end");
        assert!(server.write_all(b"more").await.is_err());
    }

    #[tokio::test]
    async fn what_came_before_a_broken_record_is_read_before_the_error() {
        let (mut server, mut client) = connection(1 << 20).await;
        client.write_all(b"whole").await.unwrap();
        client.flush().await.unwrap();
        let (socket, _) = client.get_mut();
        socket.write_all(&[23, 3, 3, 0, 20]).await.unwrap();
        socket.write_all(&[7; 20]).await.unwrap();
        let mut got = [0; 5];
        server.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"whole");
        let error = server.read_exact(&mut got).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        // The peer is told: bad_record_mac (RFC 8446 5.2).
        let told = client.read_exact(&mut got).await.unwrap_err();
        assert!(told.to_string().contains("BadRecordMac"), "{told}");
    }

    #[tokio::test]
    async fn keys_that_the_peer_renews_are_renewed() {
        let (mut server, mut client) = connection(1 << 20).await;
        let mut got = [0; 6];
        for _ in 0..3 {
            client.get_mut().1.refresh_traffic_keys().unwrap();
            client.write_all(b"before").await.unwrap();
            client.flush().await.unwrap();
            server.read_exact(&mut got).await.unwrap();
            server.write_all(b"behind").await.unwrap();
            server.flush().await.unwrap();
            client.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"behind");
        }
    }

    #[tokio::test]
    async fn a_handshake_that_fails_gives_the_socket_back_once_its_alert_is_sent() {
        let (near, far) = duplex(1 << 20);
        let (server, _) = configs();
        // Roots that vouch for nobody.
        let (_, stranger) = configs();
        let name = ServerName::try_from("localhost").unwrap();
        let (connector, buffers) = (TlsConnector::from(stranger), Buffers::default());
        let (failed, refused) = tokio::join!(
            TlsStream::accept(near, server, Vec::new(), &buffers),
            connector.connect(name, far)
        );
        assert!(refused.is_err());
        let failed = failed.unwrap_err();
        let error = failed.error.get_ref().unwrap();
        let error = error.downcast_ref::<rustls::Error>().unwrap();
        assert!(matches!(error, rustls::Error::AlertReceived(_)), "{error}");

        // One that speaks no TLS is told so in an alert.
        let (near, mut far) = duplex(1 << 20);
        let (server, _) = configs();
        far.write_all(&[22, 3, 1, 0, 4, 99, 0, 0, 0]).await.unwrap();
        let mut failed = TlsStream::accept(near, server, Vec::new(), &Buffers::default())
            .await
            .unwrap_err();
        failed.socket.shutdown().await.unwrap();
        let mut told = Vec::new();
        far.read_to_end(&mut told).await.unwrap();
        assert_eq!(told.first(), Some(&21), "{told:?}");
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_peer_counts_also_when_it_is_gone() {
        let (near, mut far) = duplex(1 << 20);
        let ((server, _), buffers) = (configs(), Buffers::default());
        far.write_all(&[22, 3, 1, 0, 4, 99, 0, 0, 0]).await.unwrap();
        drop(far);
        let failed = TlsStream::accept(near, server, Vec::new(), &buffers).await;
        let error = failed.unwrap_err().error;
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        let wrong = matches!(
            inner,
            Some(rustls::Error::InappropriateHandshakeMessage { .. })
        );
        assert!(wrong, "{error}");
    }

    #[tokio::test]
    async fn a_message_in_endless_small_records_is_refused_within_bounds() {
        let (near, mut far) = duplex(1 << 20);
        let ((server, _), buffers) = (configs(), Buffers::default());
        // A hello that claims 64 KiB less one, a byte a record.
        let bytes = [1, 0, 0xff, 0xff].into_iter().chain(std::iter::repeat(0));
        let records: Vec<u8> = bytes
            .take(40_000)
            .flat_map(|byte| [22, 3, 1, 0, 1, byte])
            .collect();
        far.write_all(&records).await.unwrap();
        let failed = TlsStream::accept(near, server, Vec::new(), &buffers).await;
        let error = failed.unwrap_err().error;
        assert!(error.to_string().contains("too many records"), "{error}");
    }
}
