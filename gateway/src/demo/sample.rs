//! The sample API that the demo stands in front of: a few FHIR resources, and paths to try things on.
//!
//! Plain HTTP/1.1 by hyper, on a thread of its own, so that it is a stranger to the gateway. The data
//! is made up.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// No answer of `/bytes` is longer than this.
const MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// No answer of `/slow` takes longer than this, milliseconds.
const MAX_SLOW: u64 = 10 * 60 * 1000;

/// No message to `/echo` is larger than this, bytes.
const MAX_ECHO: usize = 16 * 1024 * 1024;

/// Serves the sample API on `listener` until the process ends.
///
/// # Errors
/// The operating system's, when there can be no thread.
pub(super) fn start(listener: StdListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("sample-api".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else {
                    return;
                };
                loop {
                    let Ok((stream, _)) = listener.accept().await else {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    };
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(async move {
                        let service = service_fn(move |request| async move {
                            Ok::<_, Infallible>(answer(request).await)
                        });
                        let connection = hyper::server::conn::http1::Builder::new()
                            .timer(TokioTimer::new())
                            .serve_connection(TokioIo::new(stream), service);
                        // A connection that breaks off is the gateway's to notice.
                        let _ = connection.with_upgrades().await;
                    });
                }
            });
        })?;
    Ok(())
}

async fn answer(request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let path = path
        .strip_prefix("/signed")
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(&path);
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let get = request.method() == Method::GET || request.method() == Method::HEAD;
    match (get, segments.as_slice()) {
        (true, [""]) => text(StatusCode::OK, "The sample API. Try /fhir/Patient/1.\n"),
        (true, ["fhir", "metadata"]) => fhir(StatusCode::OK, &metadata()),
        (true, ["fhir", "Patient", id]) => match id.parse::<u32>() {
            Ok(number @ 1..=999) => fhir(StatusCode::OK, &patient(number)),
            _ => fhir(StatusCode::NOT_FOUND, &outcome("not-found")),
        },
        (true, ["fhir", "Observation"]) => fhir(StatusCode::OK, &observations()),
        (false, ["fhir", "Observation"]) if request.method() == Method::POST => {
            observe(request).await
        }
        (true, ["bytes", count]) => bytes(count),
        (false, ["echo"]) if request.method() == Method::POST => echo(request).await,
        (true, ["slow", millis]) => slow(millis).await,
        (true, ["events"]) => events(),
        (true, ["ws"]) => websocket(request),
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn metadata() -> Value {
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{ "mode": "server", "resource": [
            { "type": "Patient", "interaction": [{ "code": "read" }] },
            { "type": "Observation", "interaction": [{ "code": "search-type" }, { "code": "create" }] },
        ] }],
    })
}

fn patient(number: u32) -> Value {
    json!({
        "resourceType": "Patient",
        "id": number.to_string(),
        "identifier": [{ "system": "urn:example:mrn", "value": format!("MRN-{number:06}") }],
        "name": [{ "family": "Sample", "given": ["Pat"] }],
        "birthDate": "1980-01-01",
    })
}

fn observations() -> Value {
    json!({
        "resourceType": "Bundle",
        "type": "searchset",
        "total": 1,
        "entry": [{ "resource": {
            "resourceType": "Observation",
            "id": "1",
            "status": "final",
            "code": { "coding": [{ "system": "http://loinc.org", "code": "8867-4", "display": "Heart rate" }] },
            "subject": { "reference": "Patient/1" },
            "valueQuantity": { "value": 62, "unit": "/min" },
        } }],
    })
}

fn outcome(code: &str) -> Value {
    json!({ "resourceType": "OperationOutcome", "issue": [{ "severity": "error", "code": code }] })
}

async fn observe(request: Request<Incoming>) -> Answer {
    let Some(content) = collect(request.into_body()).await else {
        return fhir(StatusCode::PAYLOAD_TOO_LARGE, &outcome("too-long"));
    };
    match serde_json::from_slice::<Value>(&content) {
        Ok(mut resource) if resource["resourceType"] == "Observation" => {
            resource["id"] = json!("2");
            fhir(StatusCode::CREATED, &resource)
        }
        _ => fhir(StatusCode::BAD_REQUEST, &outcome("invalid")),
    }
}

async fn echo(request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let Some(content) = collect(body).await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "too large\n");
    };
    let mut headers = serde_json::Map::new();
    for (name, value) in &parts.headers {
        let values = headers.entry(name.as_str()).or_insert_with(|| json!([]));
        if let Some(values) = values.as_array_mut() {
            values.push(json!(String::from_utf8_lossy(value.as_bytes())));
        }
    }
    let document = json!({
        "method": parts.method.as_str(),
        "target": parts.uri.to_string(),
        "version": format!("{:?}", parts.version),
        "headers": headers,
        "body": String::from_utf8_lossy(&content),
    });
    with_type(StatusCode::OK, "application/json", document.to_string())
}

async fn collect(body: Incoming) -> Option<Bytes> {
    http_body_util::Limited::new(body, MAX_ECHO)
        .collect()
        .await
        .ok()
        .map(http_body_util::Collected::to_bytes)
}

fn bytes(count: &str) -> Answer {
    let Ok(count @ 0..=MAX_BYTES) = count.parse::<u64>() else {
        return text(StatusCode::BAD_REQUEST, "how many?\n");
    };
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    let pieces = stream::unfold(count, move |left| {
        let size = left.min(piece.len() as u64);
        let next = (left > 0).then(|| {
            (
                data(piece.slice(..usize::try_from(size).unwrap_or(0))),
                left - size,
            )
        });
        std::future::ready(next)
    });
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    response
        .headers_mut()
        .insert(http::header::CONTENT_LENGTH, count.into());
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    response
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "an item of a stream that cannot fail"
)]
fn data(bytes: Bytes) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(bytes))
}

async fn slow(millis: &str) -> Answer {
    let Ok(millis @ 0..=MAX_SLOW) = millis.parse::<u64>() else {
        return text(StatusCode::BAD_REQUEST, "how long?\n");
    };
    tokio::time::sleep(Duration::from_millis(millis)).await;
    text(StatusCode::OK, "done\n")
}

/// One event a second, until nobody listens.
fn events() -> Answer {
    let events = stream::unfold(1_u64, |number| async move {
        if number > 1 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let event = format!("id: {number}\nevent: tick\ndata: {{\"number\":{number}}}\n\n");
        Some((data(Bytes::from(event)), number + 1))
    });
    let mut response = Response::new(StreamBody::new(events).boxed_unsync());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    );
    response
}

/// Echoes what it is sent (RFC 6455).
fn websocket(mut request: Request<Incoming>) -> Answer {
    let Some(key) = request.headers().get("sec-websocket-key").cloned() else {
        return text(StatusCode::UPGRADE_REQUIRED, "this path speaks WebSocket\n");
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(Full::default().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(
        http::header::CONNECTION,
        HeaderValue::from_static("upgrade"),
    );
    response
        .headers_mut()
        .insert(http::header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        response
            .headers_mut()
            .insert("sec-websocket-accept", accept);
    }
    response
}

fn fhir(status: StatusCode, resource: &Value) -> Answer {
    with_type(status, "application/fhir+json", resource.to_string())
}

fn text(status: StatusCode, content: &str) -> Answer {
    with_type(status, "text/plain; charset=utf-8", content.to_owned())
}

fn with_type(status: StatusCode, content_type: &'static str, content: String) -> Answer {
    let mut response = Response::new(Full::from(content).boxed_unsync());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
