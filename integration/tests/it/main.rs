//! The promises of the shipped binaries, each tested from outside: one module a promise.

#![allow(
    clippy::unwrap_used, // a test fails by it
    clippy::float_cmp    // figures of metrics are whole numbers
)]

mod channel;

mod downgrade;

mod identity;

mod headers;

mod requests;

mod bodies;

mod upstreams;

mod nginx;

mod audit_gate;

mod sealed;

mod reads;
mod targets;
mod tunnels;
mod witness;

mod clock;

mod backup;

mod exports;

mod crash;

mod keeping;
mod limits;

mod noise;

mod reload;

mod revoked;

mod fetched;

mod stapled;

mod asked;

mod enrolment;

mod operation;

mod cuts;

mod patients;

mod windows;

mod strangers;

mod spelling;

mod appetite;

mod signed;

mod vouched;

mod supply;

mod demo;

mod cli;

mod by_hand;

mod house;
