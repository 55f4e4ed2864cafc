//! An upstream that does as the test says: it answers with bytes, slowly or not at all, breaks off,
//! breaks its framing, and remembers what it saw.
//!
//! One thread a connection. It is the strict reader that an upstream should be: what the gateway
//! sends it is read to the letter, and anything odd fails the test that asks what it saw.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::wait::{self, OrFail};

/// The port on which a place's upstream listens.
pub const PORT: u16 = 20_080;

/// An upstream that serves until it is dropped.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    streams: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
    ends: AtomicBool,
    go: AtomicBool,
}

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Which connection brought it, counted from 0.
    pub connection: usize,
    /// Its head, byte for byte.
    pub head: String,
    /// Method.
    pub method: String,
    /// Target, byte for byte.
    pub target: String,
    /// Fields in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Content so far, without its framing; nothing after [`Conversation::keep_nothing`].
    pub body: Vec<u8>,
    /// How much content came so far, bytes.
    pub length: u64,
    /// Fields after the content.
    pub trailers: Vec<(String, String)>,
    /// Whether its content came to its end.
    pub whole: bool,
}

impl Seen {
    /// All values of a field.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The value of a field, if there is exactly one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        match self.all(name).as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }
}

impl Origin {
    /// Serves each connection by `serve`, which ends with it.
    #[track_caller]
    pub fn start(
        address: SocketAddr,
        serve: impl Fn(&mut Conversation) -> io::Result<()> + Send + Sync + 'static,
    ) -> Origin {
        let listener = TcpListener::bind(address).or_fail("bind the upstream");
        let shared = Arc::new(Shared::default());
        let accepting = {
            let (shared, serve) = (Arc::clone(&shared), Arc::new(serve));
            std::thread::spawn(move || accept(&listener, &shared, &serve))
        };
        Origin {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    /// Answers each request, once it is whole, with the bytes that `answer` makes of it.
    #[track_caller]
    pub fn answering(
        address: SocketAddr,
        answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static,
    ) -> Origin {
        Origin::start(address, move |conversation| {
            while conversation.request()? {
                conversation.body()?;
                let answer = answer(&conversation.current());
                conversation.write(&answer)?;
            }
            Ok(())
        })
    }

    /// Answers each request with 200 and `ok`.
    #[track_caller]
    pub fn plain(address: SocketAddr) -> Origin {
        Origin::answering(address, |_| ok("ok"))
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// Waits until it has seen a request, and brings the last one.
    #[track_caller]
    pub fn await_request(&self) -> Seen {
        wait::until("a request at the upstream", || self.seen().pop())
    }

    /// How many connections were made to it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Lets go on who waits in [`Conversation::hold`].
    pub fn go(&self) {
        self.shared.go.store(true, Ordering::SeqCst);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        self.go();
        // Whoever waits to accept or to read is woken by an end.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in lock(&self.shared.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// 200 with this content.
#[must_use]
pub fn ok(content: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{content}",
        content.len()
    )
    .into_bytes()
}

fn accept<F>(listener: &TcpListener, shared: &Arc<Shared>, serve: &Arc<F>)
where
    F: Fn(&mut Conversation) -> io::Result<()> + Send + Sync + 'static,
{
    while let Ok((stream, _)) = listener.accept() {
        if shared.ends.load(Ordering::SeqCst) {
            return;
        }
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        let timeout = stream.set_read_timeout(Some(wait::PATIENCE));
        let (Ok(()), Ok(()), Ok(copy)) = (timeout, stream.set_nodelay(true), stream.try_clone())
        else {
            continue;
        };
        lock(&shared.streams).push(copy);
        let (shared, serve) = (Arc::clone(shared), Arc::clone(serve));
        std::thread::spawn(move || {
            let mut conversation = Conversation {
                stream,
                buffer: Vec::new(),
                number,
                request: None,
                keeps: true,
                is_reset: false,
                shared,
            };
            // A peer that goes away, and a script that ends, both end the connection.
            let _ = serve(&mut conversation);
            if !conversation.is_reset {
                let _ = conversation.stream.shutdown(Shutdown::Both);
            }
        });
    }
}

/// One connection from the upstream's side.
#[derive(Debug)]
pub struct Conversation {
    stream: TcpStream,
    buffer: Vec<u8>,
    number: usize,
    /// The place of the current request in what was seen.
    request: Option<usize>,
    /// Whether content is kept.
    keeps: bool,
    /// Whether it ends without a word.
    is_reset: bool,
    shared: Arc<Shared>,
}

impl Conversation {
    /// Reads the head of the next request; `false` when the peer has closed.
    ///
    /// # Errors
    /// The operating system's, or `InvalidData` for what is no head.
    pub fn request(&mut self) -> io::Result<bool> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill()? {
                return Ok(false);
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8(head).map_err(|_| invalid("a head that is text"))?;
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let request_line = lines.next().unwrap_or_default();
        let words: Vec<&str> = request_line.split(' ').collect();
        let [method, target, "HTTP/1.1"] = words.as_slice() else {
            return Err(invalid("a request line"));
        };
        let mut seen = Seen {
            connection: self.number,
            method: (*method).to_owned(),
            target: (*target).to_owned(),
            ..Seen::default()
        };
        for line in lines {
            seen.headers.push(field(line)?);
        }
        seen.head = head;
        let mut all = lock(&self.shared.seen);
        self.request = Some(all.len());
        all.push(seen);
        Ok(true)
    }

    /// The current request as far as it was read.
    #[must_use]
    pub fn current(&self) -> Seen {
        let all = lock(&self.shared.seen);
        let current = self.request.and_then(|at| all.get(at));
        current.cloned().unwrap_or_default()
    }

    /// From here on content is counted and not kept.
    pub fn keep_nothing(&mut self) {
        self.keeps = false;
    }

    /// Reads the content of the current request to its end.
    ///
    /// # Errors
    /// `UnexpectedEof` when it breaks off, `InvalidData` when its framing is not exactly one.
    pub fn body(&mut self) -> io::Result<()> {
        let current = self.current();
        let lengths = current.all("content-length");
        match (
            current.all("transfer-encoding").as_slice(),
            lengths.as_slice(),
        ) {
            ([], []) => {}
            ([], [length]) => {
                let mut left = length.parse::<usize>().map_err(|_| invalid("a length"))?;
                while left > 0 {
                    left -= self.piece(left)?;
                }
            }
            (["chunked"], []) => self.chunks()?,
            _ => return Err(invalid("exactly one framing")),
        }
        self.update(|seen| seen.whole = true);
        Ok(())
    }

    /// Waits until the test says [`Origin::go`], or for the end of the test.
    pub fn hold(&self) {
        wait::within(wait::PATIENCE, || {
            self.shared.go.load(Ordering::SeqCst).then_some(())
        });
    }

    /// Waits for the peer to close; brings whether it did.
    pub fn await_close(&mut self) -> bool {
        loop {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// What has come, at least a byte; nothing at the end.
    ///
    /// # Errors
    /// The operating system's.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The operating system's.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Goes away without a word.
    pub fn reset(&mut self) {
        self.is_reset = true;
        let linger = Some(Duration::ZERO);
        let _ = rustix::net::sockopt::set_socket_linger(&self.stream, linger);
        // The copy that ends the connection with the test would keep the socket open.
        let own = self.stream.peer_addr().ok();
        lock(&self.shared.streams).retain(|stream| stream.peer_addr().ok() != own);
    }

    fn chunks(&mut self) -> io::Result<()> {
        loop {
            let size = self.line()?;
            let mut size = usize::from_str_radix(&size, 16).map_err(|_| invalid("a chunk size"))?;
            if size == 0 {
                break;
            }
            while size > 0 {
                size -= self.piece(size)?;
            }
            if !self.line()?.is_empty() {
                return Err(invalid("the end of a chunk"));
            }
        }
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(());
            }
            let trailer = field(&line)?;
            self.update(|seen| seen.trailers.push(trailer));
        }
    }

    /// Takes at most `most` bytes of content.
    fn piece(&mut self, most: usize) -> io::Result<usize> {
        if self.buffer.is_empty() && !self.fill()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = most.min(self.buffer.len());
        let piece: Vec<u8> = self.buffer.drain(..length).collect();
        let kept = if self.keeps { &piece[..] } else { &[] };
        self.update(|seen| {
            seen.body.extend_from_slice(kept);
            seen.length += length as u64;
        });
        Ok(length)
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return String::from_utf8(line[..at].to_vec()).map_err(|_| invalid("text"));
            }
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads what has come; `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 16 * 1024];
        let count = self.stream.read(&mut bytes)?;
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count > 0)
    }

    fn update(&self, change: impl FnOnce(&mut Seen)) {
        let mut all = lock(&self.shared.seen);
        if let Some(seen) = self.request.and_then(|at| all.get_mut(at)) {
            change(seen);
        }
    }
}

fn field(line: &str) -> io::Result<(String, String)> {
    let (name, value) = line.split_once(": ").ok_or_else(|| invalid("a field"))?;
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}

fn invalid(expected: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("expected {expected}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
