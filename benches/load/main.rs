//! `load`: what a TLS server with client certificates costs, measured from outside on the same
//! machine.
//!
//! ```text
//!  arguments ──► plan ──► run ──► workloads ──► over_h1 │ over_h2 ──► tls ──► the server
//!                          │          │  pace                                    ┆
//!                          │          └──► tally (requests, latency, faults)     ┆
//!                          ├──► meter ──► process (CPU time, memory) ◄┄┄┄┄┄┄┄┄┄┄┄┘
//!                          └──► report ──► summary ──► compare      points ──► plot
//! ```
//!
//! One thread, so that beside a server on a machine of two cores it takes one core at most. The
//! figure that matters is the server's CPU time a request: unlike requests a second it hardly
//! depends on who else runs. What this program does not do: it loads nothing but loopback, without
//! a switch for it; it has no TLS 1.2 and no clients without a certificate.

// The order is the law: a file imports only files above it.

mod loopback;

mod fault;

mod process;

mod tally;

mod tls;

mod plan;

mod arguments;

mod over_h1;

mod over_h2;

mod pace;

mod report;

mod error;

mod meter;

mod workloads;

mod idle;

mod run;

mod backend;

mod summary;

mod compare;

mod points;

mod plot;

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
