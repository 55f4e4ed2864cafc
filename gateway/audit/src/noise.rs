//! Bounds on what peers can write into the log who proved nothing: anybody who reaches the port
//! must not be able to fill the disk or to keep a device waiting.
//!
//! Of each source prefix (/24 of IPv4, /48 of IPv6) and code the first ten in a minute stand alone;
//! the rest becomes one summary with count, first and last time and a sample. Prefixes that are
//! tracked are capped, and so is what stands alone over all prefixes; what is beyond both is counted
//! under the prefix `*`. No count is lost.
//!
//! Pure: time comes as an argument.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::event::{Code, Noise, Time};

/// What to do with a refusal of a peer that proved nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Record it.
    Alone,
    /// It was counted and will be part of a summary.
    Counted,
}

/// The counts of the current minute.
#[derive(Debug, Default)]
pub struct NoiseTable {
    counts: HashMap<Key, Count>,
    /// What stood alone in the current minute, over all prefixes.
    alone: u64,
    minute: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    prefix: Option<Prefix>,
    code: Code,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Prefix {
    V4([u8; 3]),
    V6([u16; 3]),
}

#[derive(Debug)]
struct Count {
    seen: u64,
    counted: u64,
    began: Time,
    first: Time,
    last: Time,
    sample: SocketAddr,
}

impl NoiseTable {
    /// Of a prefix and code, so many stand alone in a minute.
    pub const ALONE: u64 = 10;
    /// Over all prefixes, so many stand alone in a minute.
    pub const ALONE_IN_ALL: u64 = 600;
    /// So many pairs of prefix and code are tracked.
    pub const TRACKED: usize = 4096;

    const MINUTE: u64 = 60_000_000_000;

    /// Counts a refusal of `address` for `code` and says whether it stands alone. `only_count` is
    /// set when the disk runs low.
    pub fn judge(
        &mut self,
        address: SocketAddr,
        code: Code,
        now: Time,
        only_count: bool,
    ) -> Verdict {
        let minute = now.0 / Self::MINUTE;
        if minute != self.minute {
            self.minute = minute;
            self.alone = 0;
        }
        let mut key = Key {
            prefix: Some(Prefix::of(address.ip())),
            code,
        };
        if self.counts.len() >= Self::TRACKED && !self.counts.contains_key(&key) {
            key.prefix = None;
        }
        let count = self.counts.entry(key).or_insert(Count {
            seen: 0,
            counted: 0,
            began: now,
            first: now,
            last: now,
            sample: address,
        });
        count.seen += 1;
        let alone = !only_count
            && key.prefix.is_some()
            && count.seen <= Self::ALONE
            && self.alone < Self::ALONE_IN_ALL;
        if alone {
            self.alone += 1;
            return Verdict::Alone;
        }
        if count.counted == 0 {
            count.first = now;
            count.sample = address;
        }
        count.counted += 1;
        count.last = now;
        Verdict::Counted
    }

    /// Counts a refusal that was to stand alone and found no room.
    pub fn count(&mut self, address: SocketAddr, code: Code, now: Time) {
        self.judge(address, code, now, true);
    }

    /// Hands out the summaries of all minutes that are over, or of all when `all` is set, and starts
    /// their counts anew. `write` says whether a summary found room; one that did not is kept.
    pub fn sweep(&mut self, now: Time, all: bool, mut write: impl FnMut(&Noise<'_>) -> bool) {
        self.counts.retain(|key, count| {
            let over =
                all || now.0.saturating_sub(count.began.0) >= Self::MINUTE || now < count.began;
            if !over {
                return true;
            }
            if count.counted == 0 {
                return false;
            }
            let prefix = key
                .prefix
                .map_or_else(|| "*".to_owned(), |prefix| prefix.to_string());
            let noise = Noise {
                prefix: &prefix,
                code: key.code,
                count: count.counted,
                first: count.first,
                last: count.last,
                sample: Some(count.sample),
            };
            !write(&noise)
        });
    }
}

impl Prefix {
    fn of(address: IpAddr) -> Prefix {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Prefix::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                Prefix::V6([a, b, c])
            }
        }
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Prefix::V4([a, b, c]) => write!(f, "{}/24", Ipv4Addr::new(a, b, c, 0)),
            Prefix::V6([a, b, c]) => write!(f, "{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn peer(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 40_000))
    }

    fn summaries(table: &mut NoiseTable, now: Time, all: bool) -> Vec<(String, Code, u64)> {
        let mut found = Vec::new();
        table.sweep(now, all, |noise| {
            found.push((noise.prefix.to_owned(), noise.code, noise.count));
            true
        });
        found
    }

    #[test]
    fn the_first_ten_of_a_prefix_and_code_stand_alone_and_the_rest_is_one_summary() {
        let mut table = NoiseTable::default();
        let verdicts: Vec<_> = (0..100)
            .map(|i| table.judge(peer(i), Code::NotTls, Time(SECOND), false))
            .collect();
        assert_eq!(
            verdicts.iter().filter(|v| **v == Verdict::Alone).count(),
            10
        );
        assert_eq!(
            table.judge(peer(1), Code::PlainHttp, Time(SECOND), false),
            Verdict::Alone
        );
        assert_eq!(summaries(&mut table, Time(2 * SECOND), false), []);
        assert_eq!(
            summaries(&mut table, Time(62 * SECOND), false),
            [("192.0.2.0/24".to_owned(), Code::NotTls, 90)]
        );
        assert_eq!(
            table.judge(peer(1), Code::NotTls, Time(63 * SECOND), false),
            Verdict::Alone
        );
    }

    #[test]
    fn no_count_is_lost_when_there_are_more_prefixes_than_are_tracked() {
        let mut table = NoiseTable::default();
        let mut alone = 0;
        for i in 0..20_000_u32 {
            let [_, a, b, c] = i.to_be_bytes();
            let address = SocketAddr::from(([10 + a, b, c, 1], 1));
            alone += u64::from(
                table.judge(address, Code::NotTls, Time(SECOND), false) == Verdict::Alone,
            );
        }
        assert_eq!(alone, NoiseTable::ALONE_IN_ALL);
        assert!(table.counts.len() <= NoiseTable::TRACKED + 1);
        let counted: u64 = summaries(&mut table, Time(SECOND), true)
            .iter()
            .map(|(_, _, count)| count)
            .sum();
        assert_eq!(alone + counted, 20_000);
    }

    #[test]
    fn a_summary_that_finds_no_room_is_kept() {
        let mut table = NoiseTable::default();
        for _ in 0..15 {
            table.judge(peer(1), Code::NotTls, Time(SECOND), false);
        }
        table.sweep(Time(100 * SECOND), false, |_| false);
        assert_eq!(
            summaries(&mut table, Time(100 * SECOND), false),
            [("192.0.2.0/24".to_owned(), Code::NotTls, 5)]
        );
    }

    #[test]
    fn nothing_stands_alone_when_the_disk_runs_low() {
        let mut table = NoiseTable::default();
        assert_eq!(
            table.judge(peer(1), Code::NotTls, Time(SECOND), true),
            Verdict::Counted
        );
        assert_eq!(summaries(&mut table, Time(SECOND), true).len(), 1);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_a_count_forever() {
        let mut table = NoiseTable::default();
        table.judge(peer(1), Code::NotTls, Time(100 * SECOND), true);
        assert_eq!(summaries(&mut table, Time(SECOND), false).len(), 1);
    }

    #[test]
    fn ipv6_peers_are_grouped_by_48_bits() {
        let mut table = NoiseTable::default();
        for i in 0..20u16 {
            table.judge(
                SocketAddr::from(([0x2001, 0xdb8, 1, i, 0, 0, 0, 1], 1)),
                Code::NotTls,
                Time(SECOND),
                false,
            );
        }
        assert_eq!(
            summaries(&mut table, Time(SECOND), true),
            [("2001:db8:1::/48".to_owned(), Code::NotTls, 10)]
        );
    }
}
