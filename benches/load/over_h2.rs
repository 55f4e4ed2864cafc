//! Requests side by side on an HTTP/2 connection (RFC 9113), by the h2 crate itself: hyper's client
//! on top of it would cost the generator a channel for each request.
//!
//! Windows for flow control are wide enough that the client never makes the server wait. What this
//! file does not do: no push, no bodies of requests.

use crate::fault::Fault;
use bytes::Bytes;
use h2::Reason;
use h2::client::{Builder, SendRequest};
use http::Request;
use std::future::{Future, poll_fn};
use tokio::io::{AsyncRead, AsyncWrite};

/// What the server may send ahead on a stream, and on a connection, in bytes.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// The requests of one connection; a clone for each stream.
pub(crate) type Requests = SendRequest<Bytes>;

/// Begins HTTP/2 on a connection. The future that is returned drives it and must be polled until
/// it ends.
pub(crate) async fn begin<S>(
    stream: S,
) -> Result<(Requests, impl Future<Output = Result<(), h2::Error>>), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(stream)
        .await
        .map_err(Fault::Http2)
}

/// Sends a request without a body, reads its answer, and returns how many bytes its body had.
pub(crate) async fn exchange(
    requests: &mut Requests,
    request: &Request<()>,
    passed: impl Fn(u64),
) -> Result<u64, Fault> {
    poll_fn(|context| requests.poll_ready(context))
        .await
        .map_err(Fault::Http2)?;
    let (answer, _) = requests
        .send_request(request.clone(), true)
        .map_err(Fault::Http2)?;
    let answer = answer.await.map_err(Fault::Http2)?;
    if !answer.status().is_success() {
        return Err(Fault::Status(answer.status()));
    }
    let mut body = answer.into_body();
    let mut received = 0;
    while let Some(data) = body.data().await {
        let data = data.map_err(Fault::Http2)?;
        received += data.len() as u64;
        passed(data.len() as u64);
        body.flow_control()
            .release_capacity(data.len())
            .map_err(Fault::Http2)?;
    }
    Ok(received)
}

/// Whether this is a server that ends a connection in good order: GOAWAY without an error (RFC
/// 9113 6.8). What it did not answer may be asked again on another connection.
pub(crate) fn is_goodbye(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Http2(error)
            if error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Response, StatusCode};
    use std::cell::Cell;
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::{LocalSet, spawn_local};

    /// Answers this many requests, then says goodbye.
    async fn serve(stream: DuplexStream, status: StatusCode, requests: usize) {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        for _ in 0..requests {
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            let answer = Response::builder().status(status).body(()).unwrap();
            let mut body = respond.send_response(answer, false).unwrap();
            body.send_data(Bytes::from_static(&[7; 1000]), true)
                .unwrap();
        }
        connection.graceful_shutdown();
        while connection.accept().await.is_some() {}
    }

    fn request() -> Request<()> {
        Request::get("https://localhost/").body(()).unwrap()
    }

    #[test]
    fn a_goodbye_after_answers_is_no_error_of_the_server() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async {
            let (server, client) = duplex(1 << 16);
            spawn_local(serve(server, StatusCode::OK, 2));
            let (mut requests, driver) = begin(client).await.unwrap();
            spawn_local(driver);
            let passed = Cell::new(0);
            for _ in 0..2 {
                let count = |bytes| passed.set(passed.get() + bytes);
                let body = exchange(&mut requests, &request(), count).await.unwrap();
                assert_eq!(body, 1000);
            }
            assert_eq!(passed.get(), 2000);
            let fault = exchange(&mut requests, &request(), |_| ())
                .await
                .unwrap_err();
            assert!(is_goodbye(&fault), "{fault}");
        });
    }

    #[test]
    fn an_answer_that_is_no_2xx_is_a_fault() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async {
            let (server, client) = duplex(1 << 16);
            spawn_local(serve(server, StatusCode::SERVICE_UNAVAILABLE, 1));
            let (mut requests, driver) = begin(client).await.unwrap();
            spawn_local(driver);
            let fault = exchange(&mut requests, &request(), |_| ())
                .await
                .unwrap_err();
            assert!(matches!(fault, Fault::Status(_)));
            assert!(!is_goodbye(&fault));
        });
    }
}
