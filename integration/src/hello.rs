//! ClientHellos by hand (RFC 8446 4.1.2, RFC 5246 7.4.1.2): what no library sends any more, or must
//! not send.

/// A hello to be put into bytes.
#[derive(Debug, Clone)]
pub struct Hello {
    /// `legacy_version`.
    pub version: u16,
    /// Cipher suites.
    pub suites: Vec<u16>,
    /// Extensions, in their order.
    pub extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    /// What a client offers whose highest version is this one, before TLS 1.3, and who is otherwise
    /// up to date.
    #[must_use]
    pub fn up_to(version: u16) -> Hello {
        Hello {
            version,
            // ECDHE with AES-GCM, and that renegotiation is secure (RFC 5746).
            suites: vec![0xc02b, 0xc02f, 0x00ff],
            extensions: vec![
                (0, server_name("api.test")),
                (10, list(&[0x001d, 0x0017])),
                (11, vec![1, 0]),
                (13, list(&[0x0403, 0x0804, 0x0401])),
                (23, Vec::new()),
            ],
        }
    }

    /// With this extension in place of the one of the same number, or as well.
    #[must_use]
    pub fn with(mut self, number: u16, content: Vec<u8>) -> Hello {
        self = self.without(number);
        self.extensions.push((number, content));
        self
    }

    /// Without this extension.
    #[must_use]
    pub fn without(mut self, number: u16) -> Hello {
        self.extensions.retain(|(known, _)| *known != number);
        self
    }

    /// Offering these suites.
    #[must_use]
    pub fn offering(mut self, suites: &[u16]) -> Hello {
        self.suites = suites.to_vec();
        self
    }

    /// The record that holds it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        for (number, content) in &self.extensions {
            extensions.extend(number.to_be_bytes());
            extensions.extend(long(content));
        }
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([0x5a; 32]);
        body.push(0);
        body.extend(list(&self.suites));
        body.extend([1, 0]);
        body.extend(long(&extensions));
        let mut message = vec![1, 0];
        message.extend(long(&body));
        let mut record = vec![22, 3, 1];
        record.extend(long(&message));
        record
    }
}

/// The content of the extension `server_name` (RFC 6066 3).
#[must_use]
pub fn server_name(host: &str) -> Vec<u8> {
    let mut name = vec![0];
    name.extend(long(host.as_bytes()));
    long(&name)
}

/// A list of 16-bit values behind its length.
#[must_use]
pub fn list(values: &[u16]) -> Vec<u8> {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect();
    long(&bytes)
}

/// The CLIENT-HELLO of SSL 2.0 (RFC 5246 E.2) that offers at most this version.
#[must_use]
pub fn ssl2(version: u16) -> Vec<u8> {
    let mut body = vec![1];
    body.extend(version.to_be_bytes());
    // Lengths of three cipher specs, no session id, and a challenge of 16 bytes.
    body.extend([0, 9, 0, 0, 0, 16]);
    body.extend([1, 0, 0x80, 7, 0, 0xc0, 0, 0, 0x2f]);
    body.extend([0x5a; 16]);
    let mut record = vec![0x80, u8::try_from(body.len()).unwrap_or(u8::MAX)];
    record.extend(body);
    record
}

fn long(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(content);
    bytes
}
