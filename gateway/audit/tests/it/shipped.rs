//! What is sent to a receiver: also of a log that lost its end, and then used the numbers again.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use audit::event::Time;
use audit::export::Source;
use audit::log::Options;
use audit::ship::cursor::{Cursor, CursorError};
use audit::ship::feed::{Feed, FeedError};
use audit::storage::Durability;
use audit::unseal::Unsealer;

use crate::clinic::{Clinic, Exchange, audit, text, whom, word};

const PUMP: &str = "devices:urn:example:pump-1";

/// A clinic whose log is not signed, as far as it was written before a power loss.
struct Ward {
    clinic: Clinic,
    at: u64,
}

impl Ward {
    fn new() -> Ward {
        Ward {
            clinic: Clinic::new(),
            at: 0,
        }
    }

    /// A run of a writer, which refuses so many requests, each in a batch of its own. Returns their ids.
    fn run(&mut self, count: u64) -> Vec<String> {
        let options = Options {
            signer: None,
            durability: Durability::Buffered,
            ..self.clinic.options()
        };
        let mut ids = Vec::new();
        for _ in 0..count {
            self.at += 1;
            let mut writer = Clinic::write_with(&options);
            ids.push(writer.refuse(&Exchange::of(self.at, PUMP, whom(&[], false))));
            writer.end();
        }
        ids
    }

    fn segments(&self) -> Vec<PathBuf> {
        let all = (1..1000).map(|number| self.clinic.log().join(format!("wal/{number:016}.seg")));
        all.take_while(|path| path.exists()).collect()
    }

    /// The last segments are gone, as if they had never been written.
    fn lose(&self, segments: usize) {
        for path in self.segments().iter().rev().take(segments) {
            std::fs::remove_file(path).unwrap();
        }
    }

    fn feed(&self, cursor: Option<&Cursor>, from: u64) -> Feed {
        let pem = std::fs::read(self.clinic.path("reader.key")).unwrap();
        let key = audit::seal::reader::parse_secret(&pem).unwrap();
        let log = self.clinic.log();
        let unsealer = Unsealer::new(&log, Some(key)).unwrap();
        Feed::open(&log, unsealer, cursor, from, &Source::default()).unwrap()
    }

    /// What is sent from a cursor on, and the cursor behind it.
    fn ship(&self, cursor: Option<&Cursor>) -> (String, Cursor) {
        let mut feed = self.feed(cursor, 0);
        let sent = read(&mut feed);
        (sent, feed.cursor().unwrap())
    }
}

/// All that a feed has.
fn read(feed: &mut Feed) -> String {
    let mut sent = Vec::new();
    while feed.step(Time(0), &mut sent).unwrap() {}
    text(&sent)
}

fn go_back(cursor: &mut Cursor, log: &Path) -> Option<u64> {
    cursor.go_back(log).unwrap()
}

#[track_caller]
fn assert_sent(sent: &str, ids: &[String]) {
    for id in ids {
        assert!(sent.contains(id), "{id} in {sent}");
    }
}

#[test]
fn numbers_that_a_log_uses_again_are_sent_again_and_nothing_is_passed_over() {
    for lost in [1, 3, 11] {
        let mut ward = Ward::new();
        let log = ward.clinic.log();
        let before = ward.run(12);
        let (sent, mut cursor) = ward.ship(None);
        assert_sent(&sent, &before);
        assert_eq!(go_back(&mut cursor, &log), None, "nothing is lost");
        let sent_up_to = cursor.send_from;
        ward.lose(lost);
        // Not as many as were lost: a log that is shorter than the cursor says no gap either.
        let after = ward.run(1);
        let again = go_back(&mut cursor, &log).expect("something is lost");
        assert!(again < sent_up_to, "{again} {sent_up_to}");
        let (sent, mut cursor) = ward.ship(Some(&cursor));
        assert_sent(&sent, &after);
        assert!(
            lost > 6 || !sent.contains(&before[0]),
            "not all is sent again"
        );
        // And then as ever.
        assert_eq!(go_back(&mut cursor, &log), None);
        let more = ward.run(2);
        let (sent, _) = ward.ship(Some(&cursor));
        assert_sent(&sent, &more);
        assert!(!sent.contains(&after[0]), "once is enough");
    }
}

#[test]
fn a_loss_that_is_accepted_while_the_log_is_sent_ends_the_feed_and_hides_nothing() {
    let mut ward = Ward::new();
    let log = ward.clinic.log();
    ward.run(4);
    let mut feed = ward.feed(None, 0);
    read(&mut feed);
    let mut cursor = feed.cursor().unwrap();
    // The last batch is damaged after it was read.
    let last = ward.segments().pop().unwrap();
    let file = OpenOptions::new().write(true).open(&last).unwrap();
    file.write_all_at(b"damage", 4096 + 90).unwrap();
    let reason = ["--accept-loss", "--reason", "a block of the disk"];
    let accepted = audit(&[&["recover", word(&log)], &reason[..]].concat());
    assert_eq!(
        accepted.status.code(),
        Some(0),
        "{}",
        text(&accepted.stderr)
    );
    let after = ward.run(3);
    let mut sent = Vec::new();
    let ended = (0..1000).find_map(|_| feed.step(Time(0), &mut sent).err());
    assert!(matches!(ended, Some(FeedError::Gone)), "{ended:?}");
    assert!(go_back(&mut cursor, &log).is_some());
    let (sent, _) = ward.ship(Some(&cursor));
    assert_sent(&sent, &after);
}

#[test]
fn of_a_log_with_nothing_that_was_sent_nothing_is_sent_until_an_operator_says_from_where() {
    let mut ward = Ward::new();
    let log = ward.clinic.log();
    ward.run(2);
    let (_, mut cursor) = ward.ship(None);
    ward.lose(2);
    let after = ward.run(3);
    let refused = cursor.go_back(&log);
    assert!(
        matches!(refused, Err(CursorError::OtherHistory { .. })),
        "{refused:?}"
    );
    let (all, cursor) = ward.ship(None);
    assert_sent(&all, &after);
    let some = read(&mut ward.feed(None, cursor.send_from - 1));
    assert!(
        some.contains(&after[2]) && !some.contains(&after[0]),
        "{some}"
    );
    let mut ended = ward.feed(None, 1000);
    let refused = (0..1000).find_map(|_| ended.step(Time(0), &mut Vec::new()).err());
    assert!(
        matches!(refused, Some(FeedError::Cursor(CursorError::Ahead { .. }))),
        "{refused:?}"
    );
}
