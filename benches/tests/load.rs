//! The program `load` as a person runs it, against a TLS server in this process that asks for a
//! client certificate: HTTP/1.1 is handed on to `load backend`, HTTP/2 is answered by hyper.
//!
//! What this file does not do: it judges no speed; a busy machine must not fail it.

// Helpers of tests are not within `#[test]`, which is all that clippy.toml lets unwrap.
#![allow(clippy::unwrap_used)]

mod stage;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::Value;
use stage::{Backend, Pki};
use std::collections::HashSet;
use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A server that asks for a certificate of this authority.
fn server(pki: &Pki) -> ServerConfig {
    let certificate = |name| CertificateDer::from_pem_file(pki.path(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate("trust.pem")).unwrap();
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build();
    let key = PrivateKeyDer::from_pem_file(pki.path("server/key.pem")).unwrap();
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(clients.unwrap())
        .with_single_cert(vec![certificate("server/chain.pem")], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// What the server does with a connection on which the handshake is complete.
#[derive(Clone, Copy)]
enum Manner {
    /// Hands HTTP/1.1 on to this backend and answers HTTP/2, as long as the client likes.
    Serve(SocketAddr),
    /// Answers one request and ends the connection in good order: `Connection: close`, GOAWAY.
    OneEach,
    /// Answers a request and closes a moment later, without a word.
    Hasty,
    /// Reads and never answers.
    Silent,
    /// Answers each request after 50 ms.
    Slow,
}

/// The client certificates that a server saw.
type Seen = Arc<Mutex<HashSet<Vec<u8>>>>;

/// The TLS server, on a thread of its own for as long as the test runs.
fn serve(config: ServerConfig, manner: Manner) -> SocketAddr {
    serve_and_see(config, manner).0
}

fn serve_and_see(config: ServerConfig, manner: Manner) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let sees = Arc::clone(&seen);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(converse(
                    acceptor.clone(),
                    stream,
                    manner,
                    Arc::clone(&sees),
                ));
            }
        });
    });
    (address, seen)
}

async fn converse(acceptor: TlsAcceptor, stream: TcpStream, manner: Manner, seen: Seen) {
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let connection = stream.get_ref().1;
    let is_http2 = connection.alpn_protocol() == Some(b"h2");
    if let Some(chain) = connection.peer_certificates() {
        seen.lock().unwrap().insert(chain[0].to_vec());
    }
    match manner {
        Manner::Serve(backend) if !is_http2 => {
            let mut upstream = TcpStream::connect(backend).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
        }
        Manner::Serve(_) => answer(stream, None).await,
        Manner::OneEach if is_http2 => answer(stream, Some(Duration::from_millis(20))).await,
        Manner::OneEach => {
            let _ = stream.read(&mut [0; 1024]).await;
            let close = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(close.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Manner::Hasty => {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Manner::Slow => {
            while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        }
        Manner::Silent => {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    }
}

/// Answers over HTTP/2; if there is an end to it, then in good order.
async fn answer(stream: TlsStream<TcpStream>, goodbye: Option<Duration>) {
    let answer = service_fn(async |_| {
        let body = Full::new(Bytes::from_static(&[b'.'; 1024]));
        Ok::<_, Infallible>(hyper::Response::new(body))
    });
    let server = http2::Builder::new(TokioExecutor::new());
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), answer));
    if let Some(goodbye) = goodbye {
        if timeout(goodbye, connection.as_mut()).await.is_ok() {
            return;
        }
        connection.as_mut().graceful_shutdown();
    }
    let _ = connection.await;
}

/// Runs a workload for a short while against `to`, as client `a` unless told otherwise.
fn load(pki: &Pki, to: SocketAddr, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args(line.split_ascii_whitespace()).args([
        "--to",
        &to.to_string(),
        "--ca",
        &pki.path("trust.pem"),
        "--warm-up",
        "0.1",
    ]);
    if !line.contains("--seconds") {
        command.args(["--seconds", "0.3"]);
    }
    if !line.contains("--cert") && !line.contains("--clients") {
        let (chain, key) = (
            pki.path("clients/a/chain.pem"),
            pki.path("clients/a/key.pem"),
        );
        command.args(["--cert", &chain, "--key", &key]);
    }
    command.output().unwrap()
}

/// The report of a run that must be good.
fn report(pki: &Pki, to: SocketAddr, line: &str) -> Value {
    let own = std::process::id();
    let output = load(pki, to, &format!("{line} --json --server-pid {own}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{line}: {words}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A server with everything behind it.
fn stage() -> (Pki, Backend, SocketAddr) {
    let (pki, backend) = (Pki::new(), Backend::start());
    let to = serve(server(&pki), Manner::Serve(backend.address));
    (pki, backend, to)
}

#[test]
fn every_workload_is_driven_through_tls_without_an_error() {
    let (pki, _backend, to) = stage();
    for line in [
        "h1 --connections 8",
        "h2 --connections 2 --streams 8",
        "handshake --connections 4",
        "handshake --connections 4 --group x25519mlkem768 --suite aes256",
        "handshake --connections 4 --resumed",
        "rate --connections 8 --rate 500",
        "download --connections 2 --bytes 300000",
        "upload --connections 2 --bytes 300000",
        "idle --connections 20",
    ] {
        let report = report(&pki, to, line);
        assert_eq!(report["errors"], serde_json::json!({}), "{line}");
        let server = &report["server"];
        assert!(server["rss_kib"].as_u64().unwrap() > 0, "{line}");
        assert!(report["seconds"].as_f64().unwrap() >= 0.3, "{line}");
        if !line.starts_with("idle") {
            assert!(report["requests"].as_u64().unwrap() > 0, "{line}: {report}");
            assert!(
                report["latency_us"]["p50"].as_f64().unwrap() > 0.0,
                "{line}"
            );
            assert!(server["cores"].as_f64().unwrap() > 0.0, "{line}");
        }
    }
}

#[test]
fn each_workload_reports_the_figure_it_is_for() {
    let (pki, _backend, to) = stage();
    for (line, figure) in [
        ("h1 --connections 4", "/server/cpu_us_per_request"),
        ("upload --connections 2", "/server/cpu_s_per_gb"),
        ("download --connections 2", "/server/cpu_s_per_gb"),
        ("rate --connections 4 --rate 300", "/start_delay_us/p99"),
    ] {
        let report = report(&pki, to, line);
        let figure = report.pointer(figure).and_then(Value::as_f64);
        assert!(
            figure.is_some_and(|figure| figure > 0.0),
            "{line}: {report}"
        );
    }
    let report = report(&pki, to, "idle --connections 20");
    let growth = report.pointer("/server/rss_kib_per_connection");
    assert!(growth.is_some_and(Value::is_number), "{report}");
}

#[test]
fn handshakes_are_full_unless_they_are_to_be_resumed() {
    let (pki, _backend, to) = stage();
    let full = report(&pki, to, "handshake --connections 4");
    assert_eq!(full["handshakes"]["resumed"], 0);
    assert!(full["handshakes"]["full"].as_u64() > Some(0), "{full}");
    let resumed = report(&pki, to, "handshake --connections 4 --resumed");
    assert_eq!(resumed["handshakes"]["full"], 0);
    assert!(
        resumed["handshakes"]["resumed"].as_u64() > Some(0),
        "{resumed}"
    );
}

#[test]
fn a_server_that_resumes_nothing_fails_a_resumed_run() {
    let (pki, backend) = (Pki::new(), Backend::start());
    let mut config = server(&pki);
    config.send_tls13_tickets = 0;
    let to = serve(config, Manner::Serve(backend.address));
    let output = load(&pki, to, "handshake --connections 2 --resumed --json");
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        report["errors"]["not_resumed"].as_u64() > Some(0),
        "{report}"
    );
}

#[test]
fn many_clients_take_turns() {
    let (pki, backend) = (Pki::new(), Backend::start());
    let (to, seen) = serve_and_see(server(&pki), Manner::Serve(backend.address));
    let line = format!(
        "handshake --connections 2 --clients {}",
        pki.path("clients")
    );
    assert_eq!(report(&pki, to, &line)["identities"], 3);
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[test]
fn a_slow_server_cannot_hide_the_requests_that_waited_for_it() {
    let pki = Pki::new();
    let to = serve(server(&pki), Manner::Slow);
    // twenty a second are all that it can do on one connection
    let report = report(&pki, to, "rate --connections 1 --rate 100");
    let latency = report["latency_us"]["p50"].as_f64().unwrap();
    let delay = report["start_delay_us"]["p50"].as_f64().unwrap();
    assert!(latency > 300_000.0, "{report}");
    assert!((40_000.0..latency).contains(&(latency - delay)), "{report}");
}

#[test]
fn a_server_without_http2_fails_a_run_over_http2_and_no_other() {
    let (pki, backend) = (Pki::new(), Backend::start());
    let mut config = server(&pki);
    config.alpn_protocols.clear();
    let to = serve(config, Manner::Serve(backend.address));
    report(&pki, to, "h1 --connections 2");
    let output = load(&pki, to, "h2");
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("does not speak h2"), "{words}");
}

#[test]
fn a_body_of_another_length_than_was_asked_for_is_an_error() {
    let (pki, _backend, to) = stage();
    let output = load(&pki, to, "download --connections 1 --bytes 5 --path /");
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("1024 bytes instead of 5"), "{words}");
}

#[test]
fn what_the_machine_cannot_give_is_told_before_anything_is_sent() {
    let (pki, _backend, to) = stage();
    let output = load(&pki, to, "h1 --pin 1023");
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("cannot run on CPU 1023"), "{words}");

    let few = format!(
        "ulimit -n 100 && exec {} \"$@\"",
        env!("CARGO_BIN_EXE_load")
    );
    let (trust, chain, key) = (
        pki.path("trust.pem"),
        pki.path("clients/a/chain.pem"),
        pki.path("clients/a/key.pem"),
    );
    let output = Command::new("sh")
        .args(["-c", &few, "load", "h1", "--connections", "100"])
        .args(["--to", &to.to_string(), "--ca", &trust])
        .args(["--cert", &chain, "--key", &key])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("164 descriptors are needed"), "{words}");
}

#[test]
fn a_fixed_rate_is_not_exceeded_by_a_server_that_could_do_more() {
    let (pki, _backend, to) = stage();
    let report = report(&pki, to, "rate --connections 8 --rate 300");
    let rate = report["requests_per_second"].as_f64().unwrap();
    // What fell behind in the warm-up may end within the window.
    assert!(rate < 450.0, "{rate}");
}

#[test]
fn a_connection_that_ends_in_good_order_is_opened_anew_without_an_error() {
    let pki = Pki::new();
    let to = serve(server(&pki), Manner::OneEach);
    for line in [
        "h1 --connections 2",
        "h2 --connections 2 --streams 4",
        "rate --connections 2 --rate 100",
    ] {
        let report = report(&pki, to, line);
        assert!(report["requests"].as_u64() > Some(0), "{line}: {report}");
        assert!(report["reconnects"].as_u64() > Some(0), "{line}: {report}");
    }
}

#[test]
fn an_idle_connection_that_the_server_closed_is_an_error() {
    let pki = Pki::new();
    let to = serve(server(&pki), Manner::Hasty);
    let line = format!(
        "idle --connections 3 --json --server-pid {}",
        std::process::id()
    );
    let output = load(&pki, to, &line);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let errors: u64 = ["broken", "closed"]
        .iter()
        .filter_map(|kind| report["errors"][kind].as_u64())
        .sum();
    assert_eq!(errors, 3, "{report}");
}

#[test]
fn requests_that_are_never_answered_are_errors_and_the_run_ends() {
    let pki = Pki::new();
    let to = serve(server(&pki), Manner::Silent);
    let begun = Instant::now();
    let output = load(&pki, to, "rate --connections 3 --rate 100 --json");
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // three are under way, and those that fell due behind them are not forgotten
    assert!(report["errors"]["stalled"].as_u64() > Some(20), "{report}");
    assert_eq!(report["requests"], 0);
}

#[test]
fn an_answer_that_is_no_2xx_makes_the_run_fail_and_is_named() {
    let (pki, _backend, to) = stage();
    let output = load(&pki, to, "h1 --path /bytes/none --seconds 30 --json");
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.starts_with("error: the answer is 404\n"), "{words}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["errors"]["status"].as_u64() >= Some(100), "{report}");
    assert!(
        report["seconds"].as_f64() < Some(15.0),
        "not given up: {report}"
    );
}

#[test]
fn a_client_that_the_server_does_not_know_makes_the_run_fail() {
    let (pki, _backend, to) = stage();
    let stranger = Pki::new();
    let line = format!(
        "h1 --connections 2 --cert {} --key {}",
        stranger.path("clients/a/chain.pem"),
        stranger.path("clients/a/key.pem")
    );
    let output = load(&pki, to, &line);
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("alert"), "{words}");
}

#[test]
fn a_server_that_nobody_vouches_for_makes_the_run_fail() {
    let (_pki, _backend, to) = stage();
    let output = load(&Pki::new(), to, "h1 --connections 2");
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("certificate"), "{words}");
}

#[test]
fn a_port_where_nobody_listens_makes_the_run_fail_at_once() {
    let pki = Pki::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = free.local_addr().unwrap();
    drop(free);
    for workload in ["h1", "h2", "handshake", "rate", "upload"] {
        let output = load(&pki, to, workload);
        assert_eq!(output.status.code(), Some(1), "{workload}");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(words.starts_with("error: cannot connect"), "{words}");
    }
}

#[test]
fn a_process_that_does_not_exist_is_an_error_of_its_own() {
    let (pki, _backend, to) = stage();
    let output = load(&pki, to, "h1 --server-pid 4294967295");
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("there is no process 4294967295"), "{words}");
    assert!(output.stdout.is_empty());
}

#[test]
fn what_is_not_loopback_is_wrong_usage() {
    let pki = Pki::new();
    for to in ["192.0.2.1:443", "0.0.0.0:8443", "[2001:db8::1]:443"] {
        let output = load(&pki, to.parse().unwrap(), "h1");
        assert_eq!(output.status.code(), Some(64), "{to}");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(words.contains("is not on loopback"), "{words}");
    }
}

#[test]
fn reports_are_summarized_in_one_table() {
    let (pki, _backend, to) = stage();
    let mut lines = String::new();
    for _ in 0..2 {
        lines += &report(&pki, to, "h1 --connections 2 --label here").to_string();
        lines.push('\n');
    }
    let file = Path::new(&pki.path("rounds.jsonl")).to_owned();
    fs::write(&file, lines).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .arg("summary")
        .arg(&file)
        .output()
        .unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("| here: h1, 2, x25519 | 2 |"), "{table}");
}
