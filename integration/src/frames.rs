//! HTTP/2 by the frame (RFC 9113): a client that takes no more than it says, and sees which frame
//! comes when.
//!
//! It compresses nothing and reads no header block: what was answered stands in the audit log.

use std::io::{self, Read};

use crate::line::{Caller, End, Line, end_of};

/// A connection.
#[derive(Debug)]
pub struct Frames {
    line: Line,
}

/// A frame (RFC 9113 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type; the ones that matter here are constants below.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Content.
    pub const DATA: u8 = 0;
    /// A head.
    pub const HEADERS: u8 = 1;
    /// The end of a stream before its time.
    pub const RST_STREAM: u8 = 3;
    /// No stream after the last that it names will be served.
    pub const GOAWAY: u8 = 7;

    /// Whether it ends its stream as a stream should end.
    #[must_use]
    pub fn ends_stream(&self) -> bool {
        [Frame::DATA, Frame::HEADERS].contains(&self.kind) && self.flags & END_STREAM != 0
    }
}

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A peer takes frames of this size without having said so (RFC 9113 4.2).
const FRAME: usize = 16_384;

impl Frames {
    /// Opens a connection on which each answer may bring so many bytes, and no more.
    ///
    /// # Errors
    /// What TLS or the operating system says.
    pub fn open(caller: &Caller, window: u32) -> io::Result<Frames> {
        let mut line = caller.clone().speaking("h2").connect()?;
        line.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 6.5.2).
        let window = [&[0, 4], &window.to_be_bytes()[..]].concat();
        line.send(encode(SETTINGS, 0, 0, &window))?;
        Ok(Frames { line })
    }

    /// Lets the answers of the connection bring so many bytes more in all (RFC 9113 6.9).
    ///
    /// # Errors
    /// The operating system's.
    pub fn widen(&mut self, bytes: u32) -> io::Result<()> {
        self.line
            .send(encode(WINDOW_UPDATE, 0, 0, &bytes.to_be_bytes()))
    }

    /// Sends a request without content to `https://api.test` on a stream of this number.
    ///
    /// # Errors
    /// The operating system's.
    pub fn ask(&mut self, stream: u32, method: &str, path: &str) -> io::Result<()> {
        self.begin(stream, method, path, END_STREAM)
    }

    /// Sends the head of a request whose content [`Frames::content`] sends.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open_request(&mut self, stream: u32, method: &str, path: &str) -> io::Result<()> {
        self.begin(stream, method, path, 0)
    }

    /// Sends content on a stream, and whether it was all.
    ///
    /// # Errors
    /// The operating system's.
    pub fn content(&mut self, stream: u32, bytes: &[u8], last: bool) -> io::Result<()> {
        let flags = if last { END_STREAM } else { 0 };
        self.line.send(encode(Frame::DATA, flags, stream, bytes))
    }

    /// Asks for a sign of life, which comes behind all that was sent before it: every frame up to it.
    ///
    /// # Errors
    /// As [`Frames::receive`].
    pub fn until_pong(&mut self) -> Result<Vec<Frame>, End> {
        let sent = self.line.send(encode(PING, 0, 0, b"are you?"));
        sent.map_err(|error| end_of(&error))?;
        let mut frames = Vec::new();
        loop {
            let frame = self.receive()?;
            if frame.kind == PING && frame.flags & ACK != 0 {
                return Ok(frames);
            }
            frames.push(frame);
        }
    }

    fn begin(&mut self, stream: u32, method: &str, path: &str, ends: u8) -> io::Result<()> {
        let fields = [
            (":method", method),
            (":scheme", "https"),
            (":path", path),
            (":authority", "api.test"),
        ];
        let block: Vec<u8> = fields.iter().flat_map(|field| literal(*field)).collect();
        let pieces: Vec<_> = block.chunks(FRAME).collect();
        let mut bytes = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            let last = if number + 1 == pieces.len() {
                END_HEADERS
            } else {
                0
            };
            let (kind, first) = match number {
                0 => (Frame::HEADERS, ends),
                _ => (CONTINUATION, 0),
            };
            bytes.extend(encode(kind, first | last, stream, piece));
        }
        self.line.send(bytes)
    }

    /// The next frame. Settings and pings are confirmed, as a client must that wants to stay.
    ///
    /// # Errors
    /// How the connection ended, or [`End::Open`] when nothing came in time.
    pub fn receive(&mut self) -> Result<Frame, End> {
        let frame = self.read()?;
        if [SETTINGS, PING].contains(&frame.kind) && frame.flags & ACK == 0 {
            let echo = if frame.kind == PING {
                &frame.payload[..]
            } else {
                &[]
            };
            // Whether the peer still listens shows in what it sends next.
            let _ = self.line.send(encode(frame.kind, ACK, 0, echo));
        }
        Ok(frame)
    }

    /// The next frame that is as `is_it` asks, past all others.
    ///
    /// # Errors
    /// As [`Frames::receive`].
    pub fn find(&mut self, is_it: impl Fn(&Frame) -> bool) -> Result<Frame, End> {
        loop {
            let frame = self.receive()?;
            if is_it(&frame) {
                return Ok(frame);
            }
        }
    }

    /// Every frame from here to the end of the connection, and how that ended.
    pub fn rest(&mut self) -> (Vec<Frame>, End) {
        let mut frames = Vec::new();
        loop {
            match self.receive() {
                Ok(frame) => frames.push(frame),
                Err(end) => return (frames, end),
            }
        }
    }

    /// The connection under it.
    #[must_use]
    pub fn into_line(self) -> Line {
        self.line
    }

    fn read(&mut self) -> Result<Frame, End> {
        let mut head = [0; 9];
        // Between two frames an end is one; within a frame it is a cut.
        let begun = self.line.read(&mut head).map_err(|error| end_of(&error))?;
        if begun == 0 {
            return Err(End::Closed);
        }
        let mut fill = |into: &mut [u8]| {
            let read = self.line.read_exact(into);
            read.map_err(|error| end_of(&error))
        };
        fill(&mut head[begun..])?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        fill(&mut payload)?;
        Ok(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }
}

fn encode(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    let head = [&length[..], &[kind, flags], &stream.to_be_bytes()];
    [&head.concat()[..], payload].concat()
}

/// A field, as it is (RFC 7541 6.2.2: literal, without indexing).
fn literal((name, value): (&str, &str)) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.extend(prefixed(text.len()));
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541 5.1).
fn prefixed(value: usize) -> Vec<u8> {
    let Some(mut rest) = value.checked_sub(127) else {
        return vec![u8::try_from(value).unwrap_or(127)];
    };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap_or(0) | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap_or(0));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_as_the_examples_of_the_standard() {
        // RFC 7541 C.1.2 has a prefix of five bits; these are its rules with seven.
        assert_eq!(prefixed(10), [10]);
        assert_eq!(prefixed(126), [126]);
        assert_eq!(prefixed(127), [127, 0]);
        assert_eq!(prefixed(127 + 1306), [127, 154, 10]);
    }

    #[test]
    fn a_frame_names_its_length_kind_flags_and_stream() {
        assert_eq!(
            encode(Frame::DATA, END_STREAM, 258, b"ab"),
            [0, 0, 2, 0, 1, 0, 0, 1, 2, b'a', b'b']
        );
    }
}
