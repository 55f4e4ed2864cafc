//! The promises of the audit log, each a test.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may stop, and may wait"
)]

mod backup;
mod checkpoints;
mod cli;
mod clinic;
mod clock;
mod directory;
mod disclose;
mod disk;
mod exported;
mod faults;
mod indexed;
mod keeping;
mod loss;
mod meaning;
mod merkle;
mod mirror;
mod order;
mod recorded;
mod reports;
mod rotation;
mod seal;
mod sealed;
mod selected;
#[cfg(feature = "net")]
mod shipped;
mod signed;
mod tamper;
#[cfg(feature = "net")]
mod witness;
mod workers;

use audit::event::{Close, Code, Entry, Event, Id, Time};

/// An entry that says `number`, so that it can be found again.
pub(crate) fn entry(number: u64) -> Entry<'static> {
    Entry {
        time: Time(1_700_000_000_000_000_000 + number),
        event: Event::Close(Close {
            connection_id: Id::new([1; 16]),
            code: Code::Complete,
            requests: number,
            milliseconds: 0,
        }),
    }
}

/// The numbers of all entries made by [`entry`] in the log of `directory`, in order.
pub(crate) fn numbers(directory: &std::path::Path) -> Vec<u64> {
    use audit::read::{Reader, Step, entries};
    let mut reader = Reader::new(directory);
    let mut found = Vec::new();
    loop {
        match reader.step().expect("readable") {
            Step::Segment(_) => {}
            Step::Batch {
                sequence, records, ..
            } => {
                for (_, bytes) in entries(sequence, &records) {
                    if let Event::Close(close) =
                        audit::entry::decode(bytes).expect("an entry").event
                    {
                        found.push(close.requests);
                    }
                }
            }
            Step::End => return found,
            Step::Fault(fault) => panic!("{fault} at {:?}", reader.position()),
        }
    }
}
