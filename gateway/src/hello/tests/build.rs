//! Builds hellos by hand, good ones and such as no client sends.

use super::super::{ClientHello, HelloReader, HelloRefusal, ParameterSet, Policy};

/// A hello to be encoded.
#[derive(Clone, Debug)]
pub(super) struct Build {
    pub(super) record_version: u16,
    pub(super) legacy_version: u16,
    pub(super) session_id: Vec<u8>,
    pub(super) suites: Vec<u16>,
    pub(super) compression_methods: Vec<u8>,
    /// `None`: not even the length of the block.
    pub(super) extensions: Option<Vec<(u16, Vec<u8>)>>,
}

impl Build {
    /// What a client of TLS 1.3 and TLS 1.2 sends.
    pub(super) fn tls13() -> Self {
        Self {
            record_version: 0x0301,
            legacy_version: 0x0303,
            session_id: vec![7; 32],
            suites: vec![0x1301, 0x1302, 0xc02b, 0xc02f, 0x00ff],
            compression_methods: vec![0],
            extensions: Some(vec![
                (0, server_name("gateway.example")),
                (10, list16(&[0x001d, 0x0017])),
                (11, vec![1, 0]),
                (13, list16(&[0x0403, 0x0804, 0x0401])),
                (16, protocols(&["h2", "http/1.1"])),
                (23, vec![]),
                (43, list8(&[0x0304, 0x0303])),
                (45, vec![1, 1]),
                (51, key_shares(&[(0x001d, 32)])),
            ]),
        }
    }

    /// What a client of TLS 1.2 alone sends.
    pub(super) fn tls12() -> Self {
        let mut build = Self::tls13().without(43).without(45).without(51);
        build.suites = vec![0xc02b, 0xc02f, 0x00ff];
        build
    }

    /// What a client sends whose highest version is this one, before TLS 1.3.
    pub(super) fn up_to(legacy_version: u16) -> Self {
        let mut build = Self::tls12();
        build.legacy_version = legacy_version;
        build
    }

    /// With the extension, in its former place or else at the end.
    pub(super) fn with(mut self, number: u16, content: Vec<u8>) -> Self {
        let extensions = self.extensions.get_or_insert_default();
        match extensions.iter_mut().find(|(found, _)| *found == number) {
            Some((_, former)) => *former = content,
            None => extensions.push((number, content)),
        }
        self
    }

    /// Without the extension.
    pub(super) fn without(mut self, number: u16) -> Self {
        let extensions = self.extensions.get_or_insert_default();
        extensions.retain(|(found, _)| *found != number);
        self
    }

    /// With the suite as well.
    pub(super) fn and_suite(mut self, suite: u16) -> Self {
        self.suites.push(suite);
        self
    }

    /// The handshake message.
    pub(super) fn message(&self) -> Vec<u8> {
        let mut body = self.legacy_version.to_be_bytes().to_vec();
        body.extend([0x55; 32]);
        body.extend(vector8(&self.session_id));
        body.extend(list16(&self.suites));
        body.extend(vector8(&self.compression_methods));
        if let Some(extensions) = &self.extensions {
            let block: Vec<u8> = extensions
                .iter()
                .flat_map(|(number, content)| [number.to_be_bytes().into(), vector16(content)])
                .flatten()
                .collect();
            body.extend(vector16(&block));
        }
        message(1, &body)
    }

    /// The hello in one record.
    pub(super) fn bytes(&self) -> Vec<u8> {
        record(22, self.record_version, &self.message())
    }

    /// What is read of it.
    pub(super) fn read(&self) -> Result<ClientHello, HelloRefusal> {
        read(&self.bytes())
    }

    /// What is read of it, where that is sure.
    pub(super) fn hello(&self) -> ClientHello {
        self.read().expect("it follows the grammar")
    }
}

/// What is read of bytes that hold a whole hello.
pub(super) fn read(received: &[u8]) -> Result<ClientHello, HelloRefusal> {
    let hello = HelloReader::new().read(received)?;
    Ok(hello.expect("all of it is there"))
}

/// A handshake message.
pub(super) fn message(message_type: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[message_type], &length[1..], body].concat()
}

/// A record.
pub(super) fn record(content_type: u8, version: u16, fragment: &[u8]) -> Vec<u8> {
    [
        &[content_type],
        &version.to_be_bytes()[..],
        &vector16(fragment),
    ]
    .concat()
}

/// The message, cut into records of `size` bytes.
pub(super) fn records(message: &[u8], size: usize) -> Vec<u8> {
    let fragments = message.chunks(size);
    fragments
        .flat_map(|fragment| record(22, 0x0301, fragment))
        .collect()
}

pub(super) fn vector8(content: &[u8]) -> Vec<u8> {
    [&[u8::try_from(content.len()).unwrap()], content].concat()
}

pub(super) fn vector16(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&length, content].concat()
}

pub(super) fn list8(values: &[u16]) -> Vec<u8> {
    vector8(&numbers(values))
}

pub(super) fn list16(values: &[u16]) -> Vec<u8> {
    vector16(&numbers(values))
}

pub(super) fn server_name(name: &str) -> Vec<u8> {
    vector16(&[vec![0], vector16(name.as_bytes())].concat())
}

pub(super) fn protocols(names: &[&str]) -> Vec<u8> {
    let names = names.iter().flat_map(|name| vector8(name.as_bytes()));
    vector16(&names.collect::<Vec<_>>())
}

/// Shares of these groups and lengths.
pub(super) fn key_shares(shares: &[(u16, usize)]) -> Vec<u8> {
    let share = |(group, length): &(u16, usize)| {
        [group.to_be_bytes().into(), vector16(&vec![9; *length])].concat()
    };
    vector16(&shares.iter().flat_map(share).collect::<Vec<_>>())
}

/// Identities and binders, so and so many.
pub(super) fn pre_shared_keys(identities: usize, binders: usize) -> Vec<u8> {
    let identity = [vector16(b"ticket"), vec![0; 4]].concat();
    let binder = vector8(&[8; 32]);
    let lists = [identity.repeat(identities), binder.repeat(binders)];
    lists.iter().flat_map(|list| vector16(list)).collect()
}

fn numbers(values: &[u16]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}

/// A listener of TLS 1.3 alone, with an ECDSA and an RSA certificate.
pub(super) fn modern() -> Policy {
    Policy {
        sets: vec![ParameterSet {
            version: 0x0304,
            suites: vec![0x1301, 0x1302, 0x1303],
            groups: vec![0x11ec, 0x001d, 0x0017, 0x0018],
            signatures: vec![0x0403, 0x0804, 0x0805, 0x0806],
        }],
        protocols: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    }
}

/// The same, and TLS 1.2.
pub(super) fn intermediate() -> Policy {
    let mut policy = modern();
    let groups = vec![0x001d, 0x0017, 0x0018];
    policy.sets.push(ParameterSet {
        version: 0x0303,
        suites: vec![0xc02b, 0xc02c, 0xcca9],
        groups: groups.clone(),
        signatures: vec![0x0403],
    });
    policy.sets.push(ParameterSet {
        version: 0x0303,
        suites: vec![0xc02f, 0xc030, 0xcca8],
        groups,
        signatures: vec![0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601],
    });
    policy
}
