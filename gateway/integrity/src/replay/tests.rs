//! The window against a plain map over random times, and its promises one by one.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::error::SnapshotError;

const NOW: u64 = 1_700_000_000;

fn limits(entries: usize, share: usize, identities: usize) -> Limits {
    Limits {
        entries,
        share,
        identities,
        horizon: Duration::from_mins(1),
    }
}

fn window(entries: usize, share: usize, identities: usize) -> Replay {
    Replay::new(limits(entries, share, identities), 7, NOW)
}

#[test]
fn a_message_is_known_to_the_end_of_its_last_second_and_not_longer() {
    let mut window = window(9, 9, 9);
    window.insert(NOW, b"pump", b"1", NOW + 10).unwrap();
    for now in [NOW, NOW + 9, NOW + 10] {
        let again = window.insert(now, b"pump", b"1", NOW + 10);
        assert_eq!(again.unwrap_err(), ReplayError::Replayed, "{now}");
    }
    let late = window
        .insert(NOW + 11, b"pump", b"1", NOW + 10)
        .unwrap_err();
    assert!(matches!(late, ReplayError::OutOfWindow { .. }));
    assert!(window.is_empty());
    assert_eq!(window.identities(), 0);
    window.insert(NOW + 11, b"pump", b"1", NOW + 20).unwrap();
}

#[test]
fn the_same_nonce_of_another_identity_is_another_message() {
    let mut window = window(9, 9, 9);
    window.insert(NOW, b"pump-1", b"1", NOW).unwrap();
    window.insert(NOW, b"pump-2", b"1", NOW).unwrap();
    window.insert(NOW, b"pump-1", b"2", NOW).unwrap();
    assert_eq!((window.len(), window.identities()), (3, 2));
}

#[test]
fn a_full_window_refuses_and_forgets_nothing() {
    let mut window = window(2, 9, 9);
    window.insert(NOW, b"a", b"1", NOW).unwrap();
    window.insert(NOW, b"a", b"2", NOW + 1).unwrap();
    let full = Err(ReplayError::Full { entries: 2 });
    assert_eq!(window.insert(NOW, b"b", b"3", NOW), full);
    // A replay is called one, full or not.
    let again = window.insert(NOW, b"a", b"1", NOW);
    assert_eq!(again.unwrap_err(), ReplayError::Replayed);
    window.insert(NOW + 1, b"b", b"3", NOW + 1).unwrap();
    assert_eq!(window.insert(NOW + 1, b"b", b"4", NOW + 1), full);
}

#[test]
fn one_identity_cannot_push_out_the_others() {
    let mut window = window(9, 2, 2);
    window.insert(NOW, b"a", b"1", NOW).unwrap();
    window.insert(NOW, b"a", b"2", NOW + 1).unwrap();
    let share = Err(ReplayError::ShareFull { share: 2 });
    assert_eq!(window.insert(NOW, b"a", b"3", NOW), share);
    window.insert(NOW, b"b", b"1", NOW + 1).unwrap();
    let full = Err(ReplayError::Full { entries: 9 });
    assert_eq!(
        window.insert(NOW, b"c", b"1", NOW),
        full,
        "no third identity"
    );
    // Its share comes back as its messages expire.
    window.insert(NOW + 1, b"a", b"3", NOW + 1).unwrap();
    window.insert(NOW + 2, b"c", b"1", NOW + 2).unwrap();
}

#[test]
fn a_time_for_which_nothing_is_remembered_is_refused() {
    let mut window = window(9, 9, 9);
    window.insert(NOW, b"a", b"1", NOW + 60).unwrap();
    let (clock, horizon) = (NOW, 60);
    for until in [NOW - 1, NOW + 61, u64::MAX, 0] {
        let expected = ReplayError::OutOfWindow {
            until,
            clock,
            horizon,
        };
        let refused = window.insert(NOW, b"a", b"2", until).unwrap_err();
        assert_eq!(refused, expected);
    }
    // The clock was set back: what ended in between is forgotten and must not come in again.
    window.insert(NOW, b"a", b"3", NOW + 5).unwrap();
    window.advance(NOW + 30);
    let back = window.insert(NOW + 2, b"a", b"3", NOW + 5).unwrap_err();
    assert!(matches!(back, ReplayError::OutOfWindow { .. }));
    let known = window.insert(NOW + 2, b"a", b"1", NOW + 60);
    assert_eq!(known.unwrap_err(), ReplayError::Replayed);
}

#[test]
fn a_clock_that_leaps_costs_no_more_than_the_window() {
    let mut window = window(9, 9, 9);
    window.insert(NOW, b"a", b"1", NOW + 60).unwrap();
    window.advance(u64::MAX);
    assert!(window.is_empty());
    let refused = window.insert(u64::MAX, b"a", b"1", u64::MAX);
    assert!(matches!(refused, Err(ReplayError::OutOfWindow { .. })));
    assert_eq!(window.snapshot().len(), 64);
}

#[test]
fn a_horizon_beyond_a_day_is_a_day() {
    let mut limits = limits(9, 9, 9);
    limits.horizon = Duration::MAX;
    let mut window = Replay::new(limits, 7, NOW);
    let day = 24 * 60 * 60;
    window.insert(NOW, b"a", b"1", NOW + day).unwrap();
    let far = window.insert(NOW, b"a", b"2", NOW + day + 1);
    assert!(matches!(far, Err(ReplayError::OutOfWindow { .. })));
    assert!(Replay::restore(&window.snapshot(), limits, 7, NOW).is_ok());
    assert!(window.bytes() < 400_000);
}

#[test]
fn a_million_messages_have_the_size_that_is_written_down() {
    let limits = Limits {
        entries: 1_000_000,
        share: 10_000,
        identities: 100_000,
        horizon: Duration::from_secs(390),
    };
    let window = Replay::new(limits, 7, NOW);
    let bytes = window.bytes();
    assert!((35_000_000..35_200_000).contains(&bytes), "{bytes} bytes");
    assert_eq!(size_of::<Held>(), 8);
}

#[test]
fn a_snapshot_that_is_not_whole_is_not_used() {
    let mut window = window(9, 9, 9);
    window.insert(NOW, b"a", b"1", NOW + 10).unwrap();
    let whole = window.snapshot();
    let restore = |bytes: &[u8]| Replay::restore(bytes, limits(9, 9, 9), 8, NOW);
    assert_eq!(restore(&whole).unwrap().len(), 1);
    for length in 0..whole.len() {
        let error = restore(&whole[..length]).unwrap_err();
        assert_ne!(error, SnapshotError::Content, "{length}");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        let expected = match at {
            0..16 => SnapshotError::Version,
            _ => SnapshotError::Checksum,
        };
        assert_eq!(restore(&damaged).unwrap_err(), expected, "{at}");
    }
    let longer = [&whole[..], &[0]].concat();
    assert_eq!(restore(&longer).unwrap_err(), SnapshotError::Checksum);
}

#[test]
fn a_smaller_window_does_not_silently_lose_what_a_larger_one_held() {
    let mut window = window(9, 9, 9);
    window.insert(NOW, b"a", b"1", NOW + 10).unwrap();
    window.insert(NOW, b"a", b"2", NOW + 20).unwrap();
    let bytes = window.snapshot();
    let restore = |limits, now| Replay::restore(&bytes, limits, 8, now);
    for small in [limits(1, 9, 9), limits(9, 1, 9), limits(9, 9, 0)] {
        assert_eq!(restore(small, NOW).unwrap_err(), SnapshotError::Content);
    }
    assert_eq!(restore(limits(1, 1, 1), NOW + 11).unwrap().len(), 1);
    // A shorter horizon keeps what a longer one let in, and lets nothing new so far.
    let mut shorter = limits(9, 9, 9);
    shorter.horizon = Duration::from_secs(5);
    let mut restored = restore(shorter, NOW).unwrap();
    let known = restored.insert(NOW + 20, b"a", b"2", NOW + 20);
    assert_eq!(known.unwrap_err(), ReplayError::Replayed);
    let far = restored.insert(NOW + 20, b"a", b"3", NOW + 26);
    assert!(matches!(far, Err(ReplayError::OutOfWindow { .. })));
    restored.insert(NOW + 20, b"a", b"3", NOW + 25).unwrap();
}

#[test]
fn a_clock_that_was_set_back_over_a_restart_stays_where_it_was() {
    let mut window = window(9, 9, 9);
    window.insert(NOW, b"a", b"1", NOW + 5).unwrap();
    window.advance(NOW + 10);
    let mut restored = Replay::restore(&window.snapshot(), window.limits(), 8, NOW).unwrap();
    let again = restored.insert(NOW, b"a", b"1", NOW + 5);
    assert!(matches!(again, Err(ReplayError::OutOfWindow { .. })));
}

#[test]
fn a_journal_over_a_snapshot_is_the_window_again() {
    let mut window = window(9, 9, 9);
    let first = window.insert(NOW, b"a", b"1", NOW + 10).unwrap();
    let bytes = window.snapshot();
    let second = window.insert(NOW, b"b", b"2", NOW + 10).unwrap();
    let mut restored = Replay::restore(&bytes, window.limits(), 8, NOW).unwrap();
    let journal = [first.encode(), second.encode()].concat();
    for bytes in journal.chunks(Entry::LENGTH) {
        let applied = restored.apply(NOW, &Entry::decode(bytes).unwrap());
        assert!(matches!(applied, Ok(()) | Err(ReplayError::Replayed)));
    }
    for (identity, key) in [(b"a", b"1"), (b"b", b"2")] {
        let again = restored.insert(NOW, identity, key, NOW + 10);
        assert_eq!(again.unwrap_err(), ReplayError::Replayed);
    }
}

#[test]
fn a_window_prints_no_identity() {
    let mut window = window(9, 9, 9);
    let entry = window.insert(NOW, b"a", b"1", NOW + 10).unwrap();
    let text = format!("{window:?} {entry:?}");
    assert!(
        text.contains("entries: 1") && text.ends_with("Entry(until 1700000010)"),
        "{text}"
    );
}

/// What the window is, told plainly.
struct Model {
    limits: Limits,
    clock: u64,
    held: HashMap<(u8, u8), u64>,
}

impl Model {
    fn insert(&mut self, now: u64, identity: u8, key: u8, until: u64) -> Result<(), &'static str> {
        self.clock = self.clock.max(now);
        self.held.retain(|_, until| *until >= self.clock);
        let of_identity = self.held.keys().filter(|(known, _)| *known == identity);
        let of_identity = of_identity.count();
        let mut identities: Vec<_> = self.held.keys().map(|(known, _)| known).collect();
        identities.sort_unstable();
        identities.dedup();
        if until < self.clock || until > self.clock + self.limits.horizon.as_secs() {
            return Err("replay_out_of_window");
        }
        if self.held.contains_key(&(identity, key)) {
            return Err("replayed");
        }
        if self.held.len() >= self.limits.entries {
            return Err("replay_window_full");
        }
        if of_identity >= self.limits.share {
            return Err("replay_share_full");
        }
        if of_identity == 0 && identities.len() >= self.limits.identities {
            return Err("replay_window_full");
        }
        self.held.insert((identity, key), until);
        Ok(())
    }
}

proptest! {
    #[test]
    fn the_window_is_exactly_a_map_that_forgets_in_time(
        limits in (0..30_usize, 0..9_usize, 0..6_usize, 0..40_u64),
        steps in proptest::collection::vec((-3..9_i64, 0..6_u8, 0..12_u8, -2..45_i64, 0..25_u8), 0..200),
    ) {
        let limits = Limits {
            entries: limits.0,
            share: limits.1,
            identities: limits.2,
            horizon: Duration::from_secs(limits.3),
        };
        let mut window = Replay::new(limits, 7, NOW);
        let mut model = Model { limits, clock: NOW, held: HashMap::new() };
        let mut now = NOW;
        for (step, identity, key, ahead, restart) in steps {
            now = now.checked_add_signed(step).unwrap();
            let until = now.checked_add_signed(ahead).unwrap();
            if restart == 0 {
                window = Replay::restore(&window.snapshot(), limits, step.unsigned_abs(), now).unwrap();
            }
            let expected = model.insert(now, identity, key, until);
            let got = window.insert(now, &[identity], &[key], until);
            prop_assert_eq!(got.map(|_| ()).map_err(|error| error.code()), expected);
            prop_assert_eq!(window.len(), model.held.len());
        }
    }

    #[test]
    fn no_bytes_make_restoring_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Replay::restore(&bytes, limits(9, 9, 9), 7, NOW);
        let whole = [&b"phigate replay 1"[..], &bytes].concat();
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &whole);
        let whole = [&whole[..], sum.as_ref()].concat();
        let _ = Replay::restore(&whole, limits(9, 9, 9), 7, NOW);
    }
}
