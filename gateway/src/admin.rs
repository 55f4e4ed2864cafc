//! The private listener: is the process alive, is it ready, what are its figures.
//!
//! Plain HTTP/1.1 on loopback, one request a connection, nothing that names a client. Never on the
//! path of a request.

use std::sync::Arc;
use std::time::Duration;

use audit::ship::witnesses::Stands;
use bytes::BytesMut;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http1::connection::Persistence;
use http1::encode::{self, Answered, Hop};
use http1::framing::Framing;
use http1::{Limits, RequestHead, RequestReader, TargetForm};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::connection::Phase;
use crate::freshness;
use crate::server::Common;
use crate::tls::{StapleStanding, Staples};
use crate::witnesses;

/// Connections at once.
const CONNECTIONS: usize = 16;

/// For a whole exchange.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the listener tells about.
#[derive(Debug, Clone)]
pub struct Told {
    /// The workers' common ground.
    pub common: Common,
    /// What the process is up to.
    pub phase: watch::Receiver<Phase>,
    /// Whether every worker lives.
    pub whole: watch::Receiver<bool>,
    /// How the witnesses of the audit log stand.
    pub witnesses: Stands,
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, told: Told) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let told = told.clone();
        tokio::task::spawn_local(async move {
            // A visitor that stalls or breaks off is nobody's loss.
            let _ = timeout(PATIENCE, exchange(stream, &told)).await;
            drop(permit);
        });
    }
}

async fn exchange(mut stream: TcpStream, told: &Told) -> std::io::Result<()> {
    let mut buffer = BytesMut::with_capacity(1024);
    let mut reader = RequestReader::new(Limits {
        head_bytes: 8192,
        ..Limits::default()
    });
    let (answered, status, content_type, content) = loop {
        match reader.read(&mut buffer) {
            Ok(Some(head)) => {
                let (status, content_type, content) = answer(&head, told);
                break (Answered::of(&head), status, content_type, content);
            }
            Ok(None) if stream.read_buf(&mut buffer).await? > 0 => {}
            Ok(None) => return Ok(()),
            Err(_) => {
                let answered = Answered {
                    version: http1::Version::Http11,
                    is_head: false,
                };
                break (
                    answered,
                    StatusCode::BAD_REQUEST,
                    "text/plain",
                    "bad request\n".to_owned(),
                );
            }
        }
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let mut out = BytesMut::new();
    let framing = Framing::Length(content.len() as u64);
    if encode::response(
        &mut out,
        status,
        &headers,
        framing,
        answered,
        Hop::from(Persistence::Close),
    )
    .is_ok()
        && !answered.is_head
    {
        out.extend_from_slice(content.as_bytes());
    }
    stream.write_all(&out).await?;
    stream.shutdown().await
}

fn answer(head: &RequestHead, told: &Told) -> (StatusCode, &'static str, String) {
    const TEXT: &str = "text/plain; charset=utf-8";
    if head.method != Method::GET && head.method != Method::HEAD {
        return (
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "only GET and HEAD\n".to_owned(),
        );
    }
    let TargetForm::Origin { path, .. } = head.target.form() else {
        return (StatusCode::BAD_REQUEST, TEXT, "bad request\n".to_owned());
    };
    match path {
        "/livez" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => match unready(told) {
            None => (StatusCode::OK, TEXT, "ok\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        "/metrics" => {
            let metrics = &told.common.recording.metrics;
            told.witnesses
                .iter()
                .for_each(|stand| metrics.witness(&stand));
            let text = metrics.render(&told.common.log.status());
            (
                StatusCode::OK,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                text,
            )
        }
        "/status" => (StatusCode::OK, "application/json", status(told)),
        _ => (
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /livez, /readyz, /metrics and /status\n".to_owned(),
        ),
    }
}

/// Why nothing should be sent here at the moment.
fn unready(told: &Told) -> Option<&'static str> {
    if told.phase.borrow().draining {
        Some("stopping")
    } else if !*told.whole.borrow() {
        Some("a worker has ended")
    } else if !told.common.log.status().available {
        Some("the audit log cannot be written")
    } else {
        None
    }
}

fn status(told: &Told) -> String {
    let site = told.common.site.load();
    let log = told.common.log.status();
    let digest = audit::event::Digest::new(site.digest);
    let now = Timestamp::now().as_second();
    let document = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": unready(told).is_none(),
        "configuration": { "file": site.config.path, "sha256": digest, "generation": site.generation },
        "listeners": site.config.listeners.iter().map(|(name, listener)| serde_json::json!({
            "name": name.as_str(),
            "listen": listener.listen.iter().map(|placed| placed.value.to_string()).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "certificates": site.certificates.iter().map(|entry| serde_json::json!({
            "name": entry.name().as_str(),
            "not_after": audit::event::Time::from_unix_seconds(entry.not_after()),
            "staple": entry.staples().map(|staples| staple(staples, now)),
        })).collect::<Vec<_>>(),
        "revocation": freshness::lists(&site).map(|(trust, index)| serde_json::json!({
            "trust": trust.as_str(),
            "lists": index.lists(),
            "next_update": index.next_update().map(audit::event::Time::from_unix_seconds),
            "due": index.due(now).map_or(0, |due| due.lists),
        })).collect::<Vec<_>>(),
        "decisions": site.decisions.iter().map(|decision| serde_json::json!({
            "control": decision.control.id(),
            "paragraph": decision.paragraph,
            "key": decision.place.key,
            "rationale": decision.rationale.value.as_str(),
        })).collect::<Vec<_>>(),
        "audit": { "available": log.available, "entries": log.durable, "queued": log.queued, "free_bytes": log.free,
            "signed": log.signed, "signed_at": log.signed_at,
            "clock": log.clock.map(|clock| serde_json::json!({
                "state": clock.name(),
                "max_error_us": clock.max_error_us(),
                "steps": log.clock_steps,
            })),
            "witnesses": told.witnesses.iter().map(|stand| serde_json::json!({
                "name": stand.name,
                "witnessed": stand.witnessed,
                "witnessed_at": witnesses::succeeded_at(stand.succeeded),
                "failures": stand.failures,
                "lost": stand.is_lost,
                "conflict": stand.is_conflict,
            })).collect::<Vec<_>>() },
    });
    format!("{document}\n")
}

/// The OCSP answer that is stapled to a certificate of ours, or why none is.
fn staple(staples: &Staples, now: i64) -> serde_json::Value {
    let date = audit::event::Time::from_unix_seconds;
    let Some(newest) = staples.newest() else {
        return serde_json::json!({ "state": "missing" });
    };
    let state = match newest.standing {
        StapleStanding::Revoked { .. } => "revoked",
        StapleStanding::Good if staples.in_force(now).is_some() => "good",
        StapleStanding::Good => "stale",
    };
    serde_json::json!({
        "state": state,
        "this_update": date(newest.this_update),
        "next_update": date(newest.next_update),
    })
}
