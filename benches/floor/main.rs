//! `floor`: the request that the gateway serves, through hyper and tokio-rustls with nothing of
//! ours. What it costs is what these libraries cost.
//!
//! ```text
//!  arguments ──► tls ──► proxy ──► pool ──► the backend
//! ```
//!
//! One thread. Clients need a certificate; HTTP/1.1 or HTTP/2 by ALPN; HTTP/1.1 on kept connections
//! to the backend; bodies are handed on as they come. What this program does not do: no log, no
//! policy, no deadline, no limit, and so it listens on loopback alone, without a switch for it.

// The order is the law: a file imports only files above it.

#[path = "../load/loopback.rs"]
mod loopback;

mod tls;

mod pool;

mod proxy;

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
