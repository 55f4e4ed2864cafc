//! An HTTP/1.1 answer as a strict and suspicious client reads it, with what the bytes were.
//!
//! Not the project's own codec: a second reading of what it writes.

use std::io::{self, Read};

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// The version in its status line.
    pub version: String,
    /// Fields in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Content, without its framing.
    pub body: Vec<u8>,
    /// Fields after the content.
    pub trailers: Vec<(String, String)>,
    /// Whether it came to the end that its framing declares. One that ends with the connection
    /// counts as whole here; how the connection ended is for the caller to ask.
    pub whole: bool,
    /// Whether its end is that of the connection.
    pub until_close: bool,
}

impl Answer {
    /// Reads one, interim ones included: they are answers of their own. `bodiless` for the answer to
    /// HEAD. An answer that breaks off is not an error, but not whole.
    ///
    /// # Errors
    /// What the reader says, or `InvalidData` for what is no answer.
    pub fn read(from: &mut impl Read, bodiless: bool) -> io::Result<Answer> {
        let mut answer = Answer::default();
        let status_line = line(from)?;
        let mut words = status_line.splitn(3, ' ');
        words
            .next()
            .unwrap_or_default()
            .clone_into(&mut answer.version);
        answer.status = words
            .next()
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| invalid(&format!("a status line: {status_line:?}")))?;
        answer.headers = fields(from)?;
        let none = bodiless || matches!(answer.status, 100..=199 | 204 | 304);
        let lengths = answer.all("content-length");
        let chunked = answer.header("transfer-encoding") == Some("chunked");
        match (none, chunked, lengths.as_slice()) {
            (true, ..) => answer.whole = true,
            (false, true, []) => answer.chunks(from)?,
            (false, false, [length]) => {
                let length = length.parse().map_err(|_| invalid("a length"))?;
                answer.whole = take(from, length, &mut answer.body)?;
            }
            (false, false, []) => {
                answer.until_close = true;
                answer.whole = from.read_to_end(&mut answer.body).is_ok();
            }
            _ => return Err(invalid("one framing, found several")),
        }
        Ok(answer)
    }

    fn chunks(&mut self, from: &mut impl Read) -> io::Result<()> {
        loop {
            let size = match line(from) {
                Ok(size) => size,
                Err(error) if is_end(&error) => return Ok(()),
                Err(error) => return Err(error),
            };
            let size = u64::from_str_radix(&size, 16).map_err(|_| invalid("a chunk size"))?;
            if size == 0 {
                match fields(from) {
                    Ok(trailers) => self.trailers = trailers,
                    Err(error) if is_end(&error) => return Ok(()),
                    Err(error) => return Err(error),
                }
                self.whole = true;
                return Ok(());
            }
            let mut end = Vec::new();
            if !take(from, size, &mut self.body)? || !take(from, 2, &mut end)? {
                return Ok(());
            }
            if end != b"\r\n" {
                return Err(invalid("the end of a chunk"));
            }
        }
    }

    /// The value of a field, if there is exactly one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        match self.all(name).as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }

    /// All values of a field.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The id under which its request is on record; empty when it has none.
    #[must_use]
    pub fn id(&self) -> &str {
        self.header("x-request-id").unwrap_or_default()
    }

    /// Its content as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its content as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The code of a problem document (RFC 9457); empty when it is none.
    #[must_use]
    pub fn problem(&self) -> String {
        let document = self.json();
        let name = document["type"].as_str().unwrap_or_default();
        name.strip_prefix("urn:phigate:problem:")
            .unwrap_or_default()
            .to_owned()
    }
}

/// Whether an error only says that there was no more.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// Reads so much, or says that it was cut.
fn take(from: &mut impl Read, length: u64, into: &mut Vec<u8>) -> io::Result<bool> {
    let before = into.len() as u64;
    match from.take(length).read_to_end(into) {
        Err(error) if !is_end(&error) => Err(error),
        _ => Ok(into.len() as u64 - before == length),
    }
}

fn fields(from: &mut impl Read) -> io::Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(from)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("a field"))?;
        if name
            .bytes()
            .any(|byte| byte.is_ascii_uppercase() || byte == b' ')
        {
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        } else {
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }
}

/// A line without its end, which must be CRLF.
fn line(from: &mut impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n") {
        from.read_exact(&mut byte)?;
        bytes.push(byte[0]);
        if byte[0] == b'\n' && !bytes.ends_with(b"\r\n") {
            return Err(invalid("CRLF, found LF"));
        }
        if bytes.len() > 256 * 1024 {
            return Err(invalid("the end of a line"));
        }
    }
    bytes.truncate(bytes.len() - 2);
    String::from_utf8(bytes).map_err(|_| invalid("text"))
}

fn invalid(expected: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<Answer> {
        Answer::read(&mut text.as_bytes(), false)
    }

    #[test]
    fn an_answer_is_whole_only_when_its_framing_ended() {
        let table = [
            ("content-length: 3\r\n\r\nabc", true),
            ("content-length: 3\r\n\r\nab", false),
            (
                "transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
                true,
            ),
            ("transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", false),
            ("transfer-encoding: chunked\r\n\r\n1\r\na\r\n", false),
            ("transfer-encoding: chunked\r\n\r\n2\r\na", false),
        ];
        for (rest, whole) in table {
            let answer = read(&format!("HTTP/1.1 200 OK\r\n{rest}")).unwrap();
            assert_eq!(answer.whole, whole, "{rest:?}");
        }
    }

    #[test]
    fn two_framings_are_no_answer() {
        for both in [
            "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "content-length: 1\r\ncontent-length: 1\r\n\r\na",
        ] {
            assert!(
                read(&format!("HTTP/1.1 200 OK\r\n{both}")).is_err(),
                "{both:?}"
            );
        }
    }
}
