//! HTTP/1.1 on an established connection: one request after another.
//!
//! Heads, content and answers share the connection through a `wire`. Nothing is kept between requests
//! but what the client sent ahead.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use audit::event::Code;
use http1::connection::{Persistence, expects_continue, persistence};
use http1::encode::Answered;
use http1::framing;
use http1::{Limits, RequestHead, RequestReader, Version};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::wire::{HeadFault, Wire};
use super::{Driver, LEAVE, news, now};
use crate::memory::Memory;
use crate::refusal::Refusal;
use crate::request::{self, Head, Received};
use crate::respond::{self, Sent};
use crate::route::RouteEntry;
use crate::stream::TlsStream;
use crate::timer::{Timer, unless_late};

/// Serves requests until the connection ends.
pub(super) async fn serve(driver: &Driver, stream: TlsStream<TcpStream>) {
    let mut wire = Wire::new(stream);
    match requests(driver, &mut wire).await {
        End::Orderly(code) => {
            driver.record.ends(code);
            wire.close().await;
        }
        End::Broken(code) => {
            driver.record.ends(code);
            wire.abort();
        }
    }
}

/// How a connection ends.
enum End {
    /// All that was said on it was said to its end.
    Orderly(Code),
    /// In the middle of a message, which must not look whole.
    Broken(Code),
}

async fn requests(driver: &Driver, wire: &mut Wire) -> End {
    let limits = driver.head_limits();
    let memory = Memory::default();
    let mut phase = driver.shared.phase.clone();
    phase.mark_unchanged();
    // What came into force while the handshake was under way rang no bell that is heard here.
    if let Err(code) = driver.standing() {
        return End::Orderly(code);
    }
    let mut timer = Timer::default();
    let mut overdue = pin!(sleep_until(driver.oldest() + LEAVE));
    let mut vouched = pin!(driver.no_longer_vouched());
    let tunnel = RefCell::new(None);
    loop {
        if let Some(code) = driver.leaving() {
            return End::Orderly(code);
        }
        if let Err(code) = quiet(driver, wire, &mut phase, &mut timer).await {
            return End::Orderly(code);
        }
        let mut reader = RequestReader::new(limits);
        let head = match unless_late(driver.limits.head, wire.head(&mut reader)).await {
            Ok(Ok(Some(head))) => head,
            Ok(Ok(None)) => return End::Orderly(Code::ClosedByClient),
            Ok(Err(HeadFault::Gone)) => return End::Orderly(Code::ClientGone),
            Ok(Err(HeadFault::Wire(error))) => {
                return Box::pin(refuse(driver, wire, Refusal::Wire(error))).await;
            }
            Err(_) => return Box::pin(refuse(driver, wire, Refusal::HeadTimeout)).await,
        };
        let ended = {
            let mut exchange = pin!(exchange(driver, wire, head, (limits, &memory), &tunnel));
            loop {
                tokio::select! {
                    biased;
                    ended = &mut exchange => break ended,
                    draining = news(&mut phase) => {
                        let carried = carried(driver, tunnel.borrow().as_deref(), draining);
                        match driver.standing().and(carried) {
                            Ok(()) => {}
                            Err(code) => break Err(End::Broken(code)),
                        }
                    }
                    code = &mut vouched => break Err(End::Broken(code)),
                    () = &mut overdue => break Err(End::Broken(Code::AgeLimit)),
                }
            }
            // The exchange, if it is not over, is dropped here, and its record asks the connection's.
            .inspect_err(|end| {
                if let End::Broken(code) = end {
                    driver.record.ends(*code);
                }
            })
        };
        if let Err(end) = ended {
            return end;
        }
        if let Err(code) = wire.after() {
            return End::Orderly(code);
        }
    }
}

/// Whether a WebSocket, if there is one, may go on. It has no end that could be waited for.
fn carried(driver: &Driver, tunnel: Option<&RouteEntry>, draining: bool) -> Result<(), Code> {
    match tunnel {
        None => Ok(()),
        Some(_) if draining => Err(Code::Drained),
        Some(route) => driver
            .pipeline()
            .carries(route, &driver.record)
            .map_err(|refusal| Refusal::Authorize(refusal).code()),
    }
}

/// Waits for the first byte of a request. Between requests a connection can end for many reasons,
/// and none of them is an error.
async fn quiet(
    driver: &Driver,
    wire: &mut Wire,
    phase: &mut tokio::sync::watch::Receiver<super::Phase>,
    timer: &mut Timer,
) -> Result<(), Code> {
    if wire.has_begun() {
        return Ok(());
    }
    let idle = Instant::now() + driver.limits.idle;
    let limit = idle.min(driver.oldest());
    loop {
        tokio::select! {
            biased;
            filled = wire.fill() => return match filled {
                Ok(0) => Err(Code::ClosedByClient),
                Ok(_) => Ok(()),
                Err(_) => Err(Code::ClientGone),
            },
            () = poll_fn(|context| timer.poll_until(limit, context)) => {
                let is_idle = idle <= driver.oldest();
                return Err(if is_idle { Code::Idle } else { Code::AgeLimit });
            }
            draining = news(phase) => {
                if draining {
                    return Err(Code::Drained);
                }
                driver.standing()?;
            }
        }
    }
}

/// One request and its answer. An error is why the connection does not go on.
async fn exchange(
    driver: &Driver,
    wire: &mut Wire,
    head: RequestHead,
    (limits, memory): (Limits, &Memory),
    tunnel: &RefCell<Option<Arc<RouteEntry>>>,
) -> Result<(), End> {
    let answered = Answered::of(&head);
    let keep = persistence(head.version, &head.headers) == Persistence::KeepAlive;
    let framing = match framing::request(&head) {
        Ok(framing) => framing,
        Err(error) => return Err(Box::pin(refuse(driver, wire, Refusal::Wire(error))).await),
    };
    let expects = match expects_continue(&head) {
        Ok(expects) => expects,
        Err(error) => return Err(Box::pin(refuse(driver, wire, Refusal::Wire(error))).await),
    };
    let Some(id) = driver.request_id() else {
        return Err(End::Broken(Code::Internal));
    };
    let received = Received {
        head: Head {
            method: head.method,
            target: head.target,
            headers: head.headers,
            version: match head.version {
                Version::Http10 => request::Version::Http10,
                Version::Http11 => request::Version::Http11,
            },
        },
        peer: Rc::clone(driver.record.peer()),
        content: wire.content(framing, limits, expects),
        memory: memory.clone(),
        id,
        at: now(),
    };
    let released = driver.pipeline().serve(received, &driver.record).await;
    // Content that nobody will read any more stands before the next request; only what is here
    // already can be skipped without waiting for it.
    let keep = keep && (wire.is_shared() || wire.skip_content());
    let leaving = driver.leaving();
    if let Some(route) = released.tunnel() {
        *tunnel.borrow_mut() = Some(Arc::clone(route));
        // What came into force meanwhile rang before there was a tunnel.
        let draining = leaving == Some(Code::Drained);
        carried(driver, Some(route), draining).map_err(End::Broken)?;
    }
    match respond::http1(released, answered, keep && leaving.is_none(), wire).await {
        Sent::Whole => Ok(()),
        Sent::Last => Err(End::Orderly(leaving.unwrap_or(Code::ClosedAfterAnswer))),
        Sent::Broken(code) => Err(End::Broken(code)),
    }
}

/// Answers something that did not become a request, and ends the connection.
async fn refuse(driver: &Driver, wire: &mut Wire, refusal: Refusal) -> End {
    let Some(id) = driver.request_id() else {
        return End::Broken(Code::Internal);
    };
    let released = driver.pipeline().refuse(refusal, &id, &driver.record).await;
    let answered = Answered {
        version: Version::Http11,
        is_head: false,
    };
    match respond::http1(released, answered, false, wire).await {
        Sent::Whole | Sent::Last => End::Orderly(Code::PeerProtocol),
        Sent::Broken(code) => End::Broken(code),
    }
}
