//! Hellos that were captured, with what is to be said of them: `gateway/tests/vectors/hello`.
//!
//! A vector begins with `== name`, goes on in lines of `key: value`, and ends in `bytes:` and indented
//! hexadecimal. Fingerprints, versions and names were worked out apart from this code.

use super::super::{ClientHello, HelloReader, Policy, ServerName, judge};
use super::build::{intermediate, modern, read};

const FILES: [&str; 3] = [
    include_str!("../../../tests/vectors/hello/libraries.txt"),
    include_str!("../../../tests/vectors/hello/browsers.txt"),
    include_str!("../../../tests/vectors/hello/refused.txt"),
];

/// A captured hello.
pub(super) struct Vector {
    pub(super) name: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    pub(super) bytes: Vec<u8>,
}

impl Vector {
    pub(super) fn hello(&self) -> ClientHello {
        read(&self.bytes).unwrap_or_else(|refusal| panic!("{}: {refusal}", self.name))
    }

    fn field(&self, key: &str) -> &'static str {
        let found = self.fields.iter().find(|(found, _)| *found == key);
        found
            .unwrap_or_else(|| panic!("{} has no {key}", self.name))
            .1
    }
}

/// All of them.
pub(super) fn vectors() -> Vec<Vector> {
    let sections = FILES.iter().flat_map(|file| file.split("\n== ").skip(1));
    sections.map(vector).collect()
}

fn vector(section: &'static str) -> Vector {
    let (head, hexadecimal) = section.split_once("\nbytes:\n").expect("bytes");
    let mut lines = head.lines();
    let digits: Vec<u8> = hexadecimal.bytes().filter(u8::is_ascii_hexdigit).collect();
    Vector {
        name: lines.next().expect("a name"),
        fields: lines
            .map(|line| line.split_once(": ").expect("a field"))
            .collect(),
        bytes: digits
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect(),
    }
}

/// The name of the refusal and its alert, as the vectors spell them.
fn said(hello: ClientHello, policy: &Policy) -> String {
    match judge(hello, policy) {
        Ok(_) => "accepted".to_owned(),
        Err(refused) => {
            let debug = format!("{:?}", refused.refusal);
            let name = debug.split(' ').next().unwrap();
            format!("{name}, alert {}", refused.refusal.alert().unwrap())
        }
    }
}

#[test]
fn no_vector_is_overlooked() {
    let marks = FILES
        .iter()
        .flat_map(|file| file.lines())
        .filter(|line| line.starts_with("=="));
    assert_eq!(vectors().len(), marks.count());
    assert_eq!(vectors().len(), 35);
}

#[test]
fn each_captured_hello_is_answered_as_its_vector_says() {
    for vector in vectors() {
        let name = vector.name;
        assert_eq!(
            said(vector.hello(), &intermediate()),
            vector.field("intermediate"),
            "{name}"
        );
        assert_eq!(
            said(vector.hello(), &modern()),
            vector.field("modern"),
            "{name}"
        );
    }
}

#[test]
fn each_captured_hello_is_read_as_its_vector_says() {
    for vector in vectors() {
        let hello = vector.hello();
        let versions: Vec<_> = hello
            .versions
            .iter()
            .map(|version| format!("{version:04x}"))
            .collect();
        assert_eq!(
            versions.join(" "),
            vector.field("versions"),
            "{}",
            vector.name
        );
        let name = hello.server_name.as_ref().map(ServerName::to_string);
        assert_eq!(
            name.as_deref().unwrap_or("-"),
            vector.field("server_name"),
            "{}",
            vector.name
        );
    }
}

#[test]
fn each_captured_hello_has_the_fingerprint_of_its_vector() {
    for vector in vectors() {
        assert_eq!(vector.hello().ja4(), vector.field("ja4"), "{}", vector.name);
    }
}

#[test]
fn no_beginning_of_a_captured_hello_is_refused() {
    for vector in vectors() {
        for length in 0..vector.bytes.len() {
            let outcome = HelloReader::new().read(&vector.bytes[..length]);
            assert_eq!(outcome, Ok(None), "{}, {length} bytes", vector.name);
        }
    }
}

#[test]
fn no_length_within_a_captured_hello_can_be_wrong_by_one() {
    for vector in vectors() {
        for (at, width) in lengths(&vector.bytes) {
            for change in [1, u16::MAX] {
                let mut bytes = vector.bytes.clone();
                let field = &mut bytes[at + width - 1];
                let [_, low] = u16::from(*field).wrapping_add(change).to_be_bytes();
                // A carry would be no change by one.
                if (*field == 0 && change != 1) || (*field == 255 && change == 1) {
                    continue;
                }
                *field = low;
                let outcome = HelloReader::new().read(&bytes);
                assert!(outcome.is_err(), "{}, byte {at}: {outcome:?}", vector.name);
            }
        }
    }
}

/// Where the lengths within a message of one record stand, and how wide they are: those of the hello,
/// of each extension, and the first one within those that are read.
fn lengths(bytes: &[u8]) -> Vec<(usize, usize)> {
    let u16_at = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let session_id = 5 + 4 + 2 + 32;
    let suites = session_id + 1 + usize::from(bytes[session_id]);
    let compression = suites + 2 + u16_at(suites);
    let block = compression + 1 + usize::from(bytes[compression]);
    let mut lengths = vec![(session_id, 1), (suites, 2), (compression, 1)];
    if block == bytes.len() {
        return lengths;
    }
    lengths.push((block, 2));
    let mut at = block + 2;
    while at < bytes.len() {
        let number = u16_at(at);
        lengths.push((at + 2, 2));
        match number {
            0 | 10 | 13 | 16 | 50 | 51 => lengths.push((at + 4, 2)),
            11 | 43 | 45 | 0xff01 => lengths.push((at + 4, 1)),
            _ => {}
        }
        at += 4 + u16_at(at + 2);
    }
    lengths
}
