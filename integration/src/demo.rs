//! `gateway demo`: the gateway with its sample API, in one process, on addresses of the test's own.

use std::net::SocketAddr;

use crate::authority::Credentials;
use crate::gateway::{ADMIN, LISTEN};
use crate::origin;
use crate::place::Place;
use crate::program::{Process, Program};
use crate::records::Records;
use crate::wait;

/// A demo that serves. Its files are in `demo/` of its place.
#[derive(Debug)]
pub struct Demo {
    process: Process,
    listen: SocketAddr,
    /// The device that may.
    pub device: Credentials,
    /// The device that no longer may.
    pub revoked: Credentials,
    /// What the gateway proves itself with.
    pub server: Credentials,
}

impl Demo {
    /// Starts one, and waits until it serves.
    ///
    /// The file that it would write is written ahead, with the addresses of `place`: several demos
    /// can then start at once.
    #[track_caller]
    pub fn start(place: &Place) -> Demo {
        Demo::start_in(place, "demo")
    }

    /// Starts one in a directory of this name.
    #[track_caller]
    pub fn start_in(place: &Place, name: &str) -> Demo {
        let directory = place.path(name);
        if !directory.join("gateway.toml").exists() {
            place.write(directory.join("gateway.toml"), configuration(place));
        }
        let printed = std::fs::read_to_string(place.path("demo.stdout")).unwrap_or_default();
        let served = printed.matches("Ctrl-C ends it.").count();
        let process = Program::ours("gateway")
            .args(["demo", "--dir"])
            .arg(&directory)
            .start(place, "demo");
        let credentials = |name: &str| Credentials::in_directory(&directory.join(name));
        let mut demo = Demo {
            process,
            listen: place.at(LISTEN),
            device: credentials("device"),
            revoked: credentials("revoked"),
            server: credentials("server"),
        };
        wait::until("a demo that serves", || {
            if let Some(status) = demo.process.ended() {
                panic!("the demo ended: {status}\n{}", demo.process.stderr());
            }
            // What an earlier one printed stands before it.
            let serves = demo.process.stdout().matches("Ctrl-C ends it.").count();
            (serves > served).then_some(())
        });
        demo
    }

    /// Where clients connect. The certificate is for `localhost` and 127.0.0.1.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The records of its log so far.
    #[must_use]
    #[track_caller]
    pub fn records(&self, place: &Place) -> Records {
        Records::of(&place.path("demo/audit"))
    }
}

/// The demo's own file, with the addresses of a place.
#[must_use]
pub fn configuration(place: &Place) -> String {
    include_str!("../../gateway/src/demo/gateway.toml")
        .replace("@LISTEN@", &place.at(LISTEN).to_string())
        .replace("@ADMIN@", &place.at(ADMIN).to_string())
        .replace("@UPSTREAM@", &place.at(origin::PORT).to_string())
}
