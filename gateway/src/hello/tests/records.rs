//! What gathering the hello from its records promises.

use super::super::{HelloReader, HelloRefusal, MAX_FLIGHT_BYTES, MAX_HELLO_BYTES, MAX_RECORDS};
use super::build::{Build, message, read, record, records};

/// A hello of this many bytes after its header.
fn of_length(length: usize) -> Vec<u8> {
    let bare = Build::tls13().with(21, vec![]).message().len() - 4;
    let message = Build::tls13().with(21, vec![0; length - bare]).message();
    assert_eq!(message.len(), 4 + length);
    message
}

#[test]
fn nothing_is_said_before_all_is_there() {
    let received = Build::tls13().bytes();
    for length in 0..received.len() {
        assert_eq!(HelloReader::new().read(&received[..length]), Ok(None));
    }
    assert!(HelloReader::new().read(&received).unwrap().is_some());
}

#[test]
fn bytes_that_were_looked_at_are_not_looked_at_again() {
    let mut received = records(&Build::tls13().message(), 7);
    let mut reader = HelloReader::new();
    for length in 0..received.len() {
        assert_eq!(reader.read(&received[..length]), Ok(None));
        // The first three decide whether this is TLS; then the header of the record is waited for.
        let settled = if length < 8 { 0 } else { length - 4 };
        received[..settled].fill(0xee);
    }
    let hello = reader.read(&received).unwrap();
    assert_eq!(hello, Some(Build::tls13().hello()));
}

#[test]
fn the_hello_is_returned_once() {
    let received = Build::tls13().bytes();
    let mut reader = HelloReader::new();
    assert!(reader.read(&received).unwrap().is_some());
    assert_eq!(reader.read(&received), Ok(None));
}

#[test]
fn a_refusal_is_final() {
    let mut reader = HelloReader::new();
    let refusal = Err(HelloRefusal::Garbage { first: b'@' });
    assert_eq!(reader.read(b"@"), refusal);
    assert_eq!(reader.read(&Build::tls13().bytes()), refusal);
}

#[test]
fn what_follows_the_last_record_is_not_looked_at() {
    let early_data = record(23, 0x0303, &[1; 100]);
    let received = [Build::tls13().bytes(), early_data, vec![0xff; 9]].concat();
    assert_eq!(read(&received), Build::tls13().read());
}

#[test]
fn a_hello_may_be_cut_into_records_of_any_size() {
    let message = Build::tls13().message();
    for size in 1..=message.len() {
        assert_eq!(
            read(&records(&message, size)),
            Build::tls13().read(),
            "{size}"
        );
    }
}

#[test]
fn a_hello_of_the_greatest_length_is_read() {
    let message = of_length(MAX_HELLO_BYTES);
    assert!(read(&records(&message, 1 << 14)).is_ok());
    assert!(read(&records(&message, 512)).is_ok());
}

#[test]
fn a_longer_hello_is_refused_at_its_header() {
    let message = of_length(MAX_HELLO_BYTES + 1);
    let received = records(&message, 1 << 14);
    let refusal = HelloRefusal::TooLarge {
        length: MAX_HELLO_BYTES + 1,
        limit: MAX_HELLO_BYTES,
    };
    assert_eq!(HelloReader::new().read(&received[..8]), Ok(None));
    assert_eq!(HelloReader::new().read(&received[..9]), Err(refusal));
}

#[test]
fn more_records_than_the_limit_are_refused_with_the_last_that_is_read() {
    let fits = message(1, &Build::tls13().message()[4..]);
    assert!(fits.len() < MAX_RECORDS);
    assert!(read(&records(&fits, 1)).is_ok());

    let received = records(&of_length(MAX_RECORDS), 1);
    let last = MAX_RECORDS * 6;
    assert_eq!(HelloReader::new().read(&received[..last - 1]), Ok(None));
    let refusal = HelloRefusal::TooManyRecords { limit: MAX_RECORDS };
    assert_eq!(HelloReader::new().read(&received[..last]), Err(refusal));
}

#[test]
fn the_limits_are_what_they_are_said_to_be() {
    assert_eq!(
        (MAX_HELLO_BYTES, MAX_RECORDS, MAX_FLIGHT_BYTES),
        (16_384, 1_024, 21_508)
    );
}

#[test]
fn the_reader_never_asks_for_more_than_it_says() {
    // As much as fits: single bytes first, then all but one byte of the longest hello.
    let message = of_length(MAX_HELLO_BYTES);
    let singles = records(&message[..MAX_RECORDS - 1], 1);
    let rest = record(22, 0x0301, &message[MAX_RECORDS - 1..]);
    let received = [singles, rest].concat();
    assert_eq!(received.len(), MAX_FLIGHT_BYTES);
    assert_eq!(
        HelloReader::new().read(&received[..MAX_FLIGHT_BYTES - 1]),
        Ok(None)
    );
    assert!(HelloReader::new().read(&received).unwrap().is_some());
}

#[test]
fn an_empty_record_is_refused() {
    let empty = record(22, 0x0301, &[]);
    assert_eq!(read(&empty), Err(HelloRefusal::EmptyRecord { at: 0 }));
    let message = Build::tls13().message();
    let received = [record(22, 0x0301, &message[..9]), empty].concat();
    assert_eq!(read(&received), Err(HelloRefusal::EmptyRecord { at: 14 }));
}

#[test]
fn another_record_in_between_is_refused() {
    let message = Build::tls13().message();
    for content_type in [0, 20, 21, 23, 24, 255] {
        let (first, second) = (
            record(22, 0x0301, &message[..9]),
            record(content_type, 0x0303, &[1]),
        );
        let refusal = HelloRefusal::UnexpectedRecord {
            content_type,
            at: 14,
        };
        assert_eq!(read(&[first, second].concat()), Err(refusal));
        assert_eq!(refusal.alert(), Some(10));
    }
}

#[test]
fn a_later_record_of_another_major_version_is_refused() {
    let message = Build::tls13().message();
    let received = [
        record(22, 0x0301, &message[..9]),
        record(22, 0x0401, &message[9..]),
    ]
    .concat();
    let refusal = HelloRefusal::RecordVersion {
        version: 0x0401,
        at: 14,
    };
    assert_eq!(read(&received), Err(refusal));
}

#[test]
fn the_minor_version_of_records_means_nothing() {
    let message = Build::tls13().message();
    let received = [
        record(22, 0x03ff, &message[..9]),
        record(22, 0x0300, &message[9..]),
    ]
    .concat();
    let hello = read(&received).unwrap();
    assert_eq!(hello.record_version, 0x03ff);
    assert_eq!(hello.suites, Build::tls13().hello().suites);
}

#[test]
fn a_record_longer_than_tls_allows_is_refused_at_its_header() {
    let refusal = |length| Err(HelloRefusal::RecordOverflow { length, at: 0 });
    assert_eq!(HelloReader::new().read(&[22, 3, 1, 0x40, 0x00]), Ok(None));
    assert_eq!(read(&[22, 3, 1, 0x40, 0x01]), refusal(0x4001));
    assert_eq!(read(&[22, 3, 1, 0xff, 0xff]), refusal(0xffff));
}

#[test]
fn another_handshake_message_is_refused_at_its_first_byte() {
    for message_type in [0, 2, 11, 20, 255] {
        let refusal = HelloRefusal::UnexpectedMessage {
            message_type,
            at: 5,
        };
        assert_eq!(read(&[22, 3, 1, 0, 100, message_type]), Err(refusal));
    }
}

#[test]
fn a_record_that_goes_on_after_the_hello_is_refused() {
    let message = Build::tls13().message();
    let longer = [&message[..], &[0]].concat();
    let refusal = HelloRefusal::NotAligned {
        at: 5 + message.len(),
    };
    // As soon as both lengths are there.
    let received = record(22, 0x0301, &longer);
    assert_eq!(HelloReader::new().read(&received[..8]), Ok(None));
    assert_eq!(HelloReader::new().read(&received[..9]), Err(refusal));

    let (first, second) = (
        record(22, 0x0301, &longer[..50]),
        record(22, 0x0301, &longer[50..]),
    );
    let refusal = HelloRefusal::NotAligned {
        at: 10 + message.len(),
    };
    assert_eq!(read(&[first, second].concat()), Err(refusal));
}

#[test]
fn an_empty_message_is_refused() {
    let received = record(22, 0x0301, &message(1, &[]));
    let refusal = HelloRefusal::Malformed {
        what: "legacy_version",
        at: 9,
    };
    assert_eq!(read(&received), Err(refusal));
}

#[test]
fn the_version_for_an_alert_is_the_best_that_is_known() {
    let version = |received: &[u8]| {
        let mut reader = HelloReader::new();
        let _ = reader.read(received);
        reader.version()
    };
    assert_eq!(
        version(b"\x80\x2e\x01\x03\x00"),
        0x0300,
        "of the SSL 2.0 hello"
    );
    assert_eq!(version(&[]), 0x0301, "nothing is known");
    assert_eq!(version(&[22, 3, 0, 0, 0]), 0x0300, "of the record");
    let received = Build::up_to(0x0302).bytes();
    assert_eq!(version(&received[..10]), 0x0301, "of the record");
    assert_eq!(version(&received[..11]), 0x0302, "of the hello");
    let other = record(22, 0x0301, &message(2, &[3, 3]));
    assert_eq!(version(&other), 0x0301, "of the record");
}

#[test]
fn the_bytes_of_a_hello_are_not_printed() {
    let build = Build::tls13().with(35, b"ticket".to_vec());
    let mut reader = HelloReader::new();
    let hello = reader.read(&build.bytes()).unwrap();
    let printed = format!("{reader:?} {hello:?}");
    let ticket = format!("{:?}", b"ticket");
    assert!(
        !printed.contains(ticket.trim_matches(['[', ']'])),
        "{printed}"
    );
}
