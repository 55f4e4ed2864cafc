//! P2 of the audit log: nothing that can have an effect reaches an upstream before its intent is
//! durable.
//!
//! GET, HEAD and OPTIONS without content pass at once, unless the route asks for an intent on them
//! too. Every other method, and every request with content, waits for its record. Fails closed: no
//! record, no forwarding.

use std::sync::Arc;

use audit::error::AppendError;
use http::Method;

use crate::message::Verified;
use crate::record::Record;
use crate::request::{Content, Received};
use crate::route::RouteEntry;
use crate::upgrade;

/// A request that may be forwarded: the only argument of `upstream::forward`.
#[derive(Debug)]
pub struct Admitted {
    received: Received,
    route: Arc<RouteEntry>,
}

/// Records the intent of a request that needs one, and waits until it is durable.
///
/// # Errors
/// [`AppendError`]: the request must not be forwarded. Its intent may be on record all the same;
/// the refusal that follows says how it ended.
pub async fn admit(verified: Verified, record: &mut Record) -> Result<Admitted, AppendError> {
    record.proved(verified.proof());
    let needs_intent = needs_intent(verified.received(), verified.route());
    let (mut received, route) = verified.into_parts();
    received.content = record.read_along(received.content, &received.head.headers);
    if needs_intent {
        let _receipt = record.intent(received.content.length())?.await?;
    }
    Ok(Admitted { received, route })
}

/// Whether a request can have an effect, or its route says that it has (AUDIT.md, P2).
fn needs_intent(received: &Received, route: &RouteEntry) -> bool {
    let method = &received.head.method;
    let safe = *method == Method::GET || *method == Method::HEAD || *method == Method::OPTIONS;
    let empty = match &received.content {
        Content::None => true,
        Content::Stream { length, .. } => *length == Some(0),
    };
    !(safe && empty) || upgrade::is_asked(&received.head) || route.route.intent
}

impl Admitted {
    /// The route.
    pub fn route(&self) -> &Arc<RouteEntry> {
        &self.route
    }

    /// The request.
    pub fn received(&self) -> &Received {
        &self.received
    }

    pub(crate) fn into_received(self) -> Received {
        self.received
    }
}
