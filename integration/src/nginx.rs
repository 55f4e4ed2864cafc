//! A real nginx as upstream, with a configuration of the test's own, in the test's directory. The
//! system's service is not touched.

use crate::place::Place;
use crate::program::{Process, Program};
use crate::wait;

/// An nginx that serves until it is dropped.
#[derive(Debug)]
pub struct Nginx {
    _process: Process,
}

impl Nginx {
    /// Starts one with these `server` blocks, and waits until it listens: on the addresses that
    /// they name. Relative paths are those of `place`.
    #[track_caller]
    pub fn start(place: &Place, servers: &str) -> Nginx {
        let root = place.directory().display();
        place.write("nginx/www/hello.txt", "hello from nginx\n");
        place.write(
            "nginx/nginx.conf",
            format!(
                "daemon off;
master_process off;
error_log stderr;
pid {root}/nginx/nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {root}/nginx/body;
    proxy_temp_path {root}/nginx/proxy;
    fastcgi_temp_path {root}/nginx/fastcgi;
    uwsgi_temp_path {root}/nginx/uwsgi;
    scgi_temp_path {root}/nginx/scgi;
    default_type text/plain;
    root {root}/nginx/www;
    client_max_body_size 0;
{servers}
}}
"
            ),
        );
        let mut process = Program::of_the_machine("nginx")
            .args(["-e", "stderr", "-c"])
            .arg(place.path("nginx/nginx.conf"))
            .arg("-p")
            .arg(place.path("nginx"))
            .directory(place.directory())
            .start(place, "nginx");
        // nginx writes its id once all its sockets listen.
        wait::until("an nginx that listens", || {
            if let Some(status) = process.ended() {
                panic!("nginx ended: {status}\n{}", process.stderr());
            }
            std::fs::read_to_string(place.path("nginx/nginx.pid"))
                .is_ok_and(|id| !id.trim().is_empty())
                .then_some(())
        });
        Nginx { _process: process }
    }
}
