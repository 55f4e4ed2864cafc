//! The gateway: what stands between a device and a health API.
//!
//! ```text
//! bytes    --> server       accept, permit                                          TcpStream
//!          --> hello        read and judge the ClientHello                 (pure)   Inspected
//!          --> handshake    rustls finishes; identity reads the leaf                Established
//! request  --> connection   HTTP/1.1 (our codec) or HTTP/2 (hyper), by ALPN         Received
//!          --> checks       refusals that prove nothing further            (pure)
//!          --> route        host, path, method; SNI = Host or 421          (pure)   RouteEntry
//!          --> authorize    a rule for this client on this route, now      (pure)   Permitted
//!          --> message      content under the limits of its route                   Verified
//!          --> admission    what can have an effect: intent durable first           Admitted
//!          --> upstream     the only function that takes Admitted                   Answered
//!          --> release      record durable before the first byte of each window     Released
//!          --> respond      the only function that takes Released
//! any no   --> refusal      one enum -> alert | status | code, then release
//! ```
//!
//! One file, one stage, one proof: a stage takes the value of the stage before it and returns its
//! own, so that the request that was permitted is the very request that is forwarded, and an answer
//! that leaves is one whose record is durable. A file imports only files above it in this list.

// Words: what the stages speak of.

pub mod digest;

pub mod headers;

pub mod hosts;

pub mod identity;

pub mod peer;

pub mod path;

pub mod metrics;

pub mod access;

pub mod ids;

pub mod memory;

pub mod timer;

pub mod withheld;

pub mod runtime;

pub mod dial;

pub mod buffers;

// The stages of a connection.

pub mod hello;

pub mod ca;

pub mod revocation;

pub mod tls;

pub mod signing;

pub mod endpoint;

pub mod stream;

pub mod ask;

pub mod handshake;

pub mod limit;

pub mod replays;

pub mod demands;

// The stages of a request.

pub mod request;

pub mod upgrade;

pub mod checks;

pub mod route;

pub mod authorize;

pub mod message;

pub mod reading;

pub mod record;

pub mod admission;

pub mod upstream;

pub mod refusal;

pub mod release;

pub mod tunnel;

pub mod respond;

// What drives them.

pub mod site;

pub mod retention;

pub mod freshness;

pub mod witnesses;

pub mod descriptors;

pub mod pipeline;

pub mod connection;

pub mod load;

pub mod fetch;

pub mod staples;

pub mod refresh;

pub mod server;

pub mod reload;

pub mod admin;

pub mod log_reads;

pub mod run;

pub mod explain;

pub mod capture;

pub mod demo;

pub mod cli;
