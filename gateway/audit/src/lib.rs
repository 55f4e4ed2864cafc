//! The audit log: a durable record of every request before its answer leaves.
//!
//! ```text
//! event --> encoder --> queue --> log (one committer thread) --> segments --> storage
//! words     sealed      bounded   batches, group commit          files        disk
//!             |           |           |
//!          keyring   appender <-------+   woken once a batch
//!
//! checkpoints: what is durable, as a signed tree, beside the segments
//! clock:   what the kernel says of the time that all of it bears
//!
//! recover: where the log ends after a crash      verify: is what is there whole and unchanged
//! loss:    what an operator lets it go on without
//! read:    entries in order, also of a live log  unseal: what a reader's key opens of them
//! opened:  both in one walk                      select: which of them are asked for
//! reading: who reads is on record
//! index:   where the entries of a patient stand  report: what is told of a patient
//! exchange: the records of a request as one
//! prove:   proofs for others to check              disclose: one entry, opened for others to check
//! export:  the log in the words of others
//! noise:   bounds for peers that proved nothing  keygen: the log's keys and a reader's pair
//! rotate:  the next keys of a log
//! keeping: how long what is there is kept           destroy: how that ends
//! backup:  the signed part of a log, elsewhere     restore: the drill, and the way back
//! mirror:  the same for tools of C2SP tlog-tiles
//! witness: cosigns logs of others                ship: what talks to the network (feature `net`)
//! ```
//!
//! An append returns a [`Receipt`](log::Receipt) when its batch is durable, and only then may go on
//! what waited for it. But for `ship` (feature `net`) the crate knows neither tokio, rustls nor hyper:
//! futures are plain, and the program `audit` verifies a log without the gateway.

pub mod digest;

pub mod code;

pub mod event;

pub mod entry;

pub mod clock;

pub mod merkle;

pub mod seal;

pub mod keeping;

pub mod locked;

pub mod keys;

pub mod frame;

pub mod error;

pub mod queue;

pub mod storage;

pub mod files;

mod extent;

mod key_records;

mod keyring;

mod encoder;

mod shared;

mod recover;

pub mod read;

pub mod checkpoints;

mod segments;

mod commit;

pub mod lock;

pub mod log;

pub mod appender;

pub mod loss;

pub mod noise;

pub mod medium;

pub mod unseal;

pub mod select;

pub mod opened;

pub mod reading;

pub mod index;

pub mod exchange;

pub mod report;

pub mod verify;

pub mod backup;

pub mod restore;

pub mod show;

pub mod destroy;

pub mod export;

pub mod keygen;

pub mod rotate;

pub mod public_key;

pub mod prove;

pub mod mirror;

pub mod disclosure;

pub mod disclose;

pub mod witness;

#[cfg(feature = "net")]
pub mod ship;

pub mod cli;
