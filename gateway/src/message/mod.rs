//! What was sent is what arrived, once: the content of a request under the limits of its route, its
//! digest (RFC 9530) and its signature (RFC 9421).
//!
//! ```text
//! Permitted --> limited     length, pauses, rate
//!           --> signature   head judged, key found, verified; the nonce is new
//!           --> checked     content up to the route's buffer is read and compared before any of it is
//!                           forwarded; of larger content the last part is withheld until it was
//!           --> Verified
//! ```
//!
//! Fails closed: what is stated of a message and wrong refuses it, also where nothing was asked for. An
//! upstream that acts on a request that has not ended can act on content that turns out to be altered:
//! a route that must not allow that asks for signatures without `stream`.

mod checked;

mod limited;

mod signature;

use std::sync::Arc;

use audit::event::Content as Outcome;
use config::Demand;
use http::HeaderMap;
use http::header::CONTENT_RANGE;
use integrity::DigestError;
use integrity::digest::{CONTENT_DIGEST, REPR_DIGEST};

use crate::authorize::{Permitted, Rule};
use crate::demands::{Demands, SignatureDemand};
use crate::replays::ReplayRefusal;
use crate::request::{Content, ContentFault, Received};
use crate::route::RouteEntry;
use crate::withheld::Expected;
use checked::{Beginning, Gathered};

pub use limited::ContentLimits;
pub use signature::Signer;

/// A permitted request whose message is what was sent, as far as that was stated or asked for, and whose
/// content is held to the limits of its route.
#[derive(Debug)]
pub struct Verified {
    received: Received,
    route: Arc<RouteEntry>,
    rule: Rule,
    proof: Proof,
}

/// What was proved of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// Whether its content is what its digest says.
    pub content: Option<Outcome>,
    /// Who signed it.
    pub signer: Option<Signer>,
}

/// Why the message is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageRefusal {
    /// It declares more content than the route allows.
    TooLarge {
        /// What it declares, bytes.
        declared: u64,
        /// The limit, bytes.
        limit: u64,
    },
    /// It is signed, and has more content than is checked before it is forwarded.
    Unbuffered {
        /// The limit, bytes.
        limit: usize,
    },
    /// The connection holds so much content already that there is no room for more.
    NoRoom,
    /// Its content did not come to its end.
    Content(ContentFault),
    /// Its digest.
    Digest(DigestError),
    /// Its signature; `asks` is what one must cover.
    Signature {
        /// What is wrong.
        error: integrity::Error,
        /// What the route asks for, as a value of `Accept-Signature` (RFC 9421 5.1).
        asks: Box<str>,
    },
    /// It was accepted before, or nobody can know.
    Replay(ReplayRefusal),
}

/// Verifies the message of a permitted request, and holds its content to the limits of its route.
///
/// # Errors
/// [`MessageRefusal`]: nothing of it was forwarded.
pub async fn verify(permitted: Permitted) -> Result<Verified, MessageRefusal> {
    let (mut received, route, rule) = permitted.into_parts();
    limit(&mut received, &route)?;
    let demands = &route.demands;
    if let Some(demand) = &demands.signature {
        signature::look(&received, demand)?;
    }
    let expected = expected(&received, demands)?;
    let mut proof = Proof::default();
    if let Some(demand) = &demands.signature {
        // Whoever sends it again because there was no room needs its nonce.
        if !demand.stream && has_content(&received) && !received.memory.of_requests().has_room() {
            return Err(MessageRefusal::NoRoom);
        }
        // Last of what its head decides: from here on its nonce is used up.
        proof.signer = signature::verify(&received, demand)?;
    }
    if let Some(expected) = expected {
        // Boxed: few requests need it.
        let must_fit = match &demands.signature {
            Some(SignatureDemand { stream: false, .. }) => proof.signer.is_some(),
            Some(_) | None => false,
        };
        let checking = check(&mut received, expected, demands, must_fit);
        proof.content = Some(Box::pin(checking).await?);
    } else if demands.states_digest {
        Box::pin(state(&mut received, demands.buffer)).await?;
    }
    Ok(Verified {
        received,
        route,
        rule,
        proof,
    })
}

fn limit(received: &mut Received, route: &RouteEntry) -> Result<(), MessageRefusal> {
    let limit = route.route.body_limit.get();
    if let Content::Stream { length, body } =
        std::mem::replace(&mut received.content, Content::None)
    {
        if let Some(declared) = length
            && declared > limit
        {
            return Err(MessageRefusal::TooLarge { declared, limit });
        }
        let limits = ContentLimits {
            limit,
            idle: route.route.body_idle,
            rate: route.route.body_rate.get(),
        };
        received.content = Content::Stream {
            length,
            body: Box::pin(limited::Limited::new(body, limits)),
        };
    }
    Ok(())
}

/// What the content is compared with; nothing where nothing is stated and nothing asked for.
fn expected(received: &Received, demands: &Demands) -> Result<Option<Expected>, MessageRefusal> {
    if demands.digest == Demand::Off && demands.signature.is_none() {
        return Ok(None);
    }
    let headers = &received.head.headers;
    let content = read(headers, &CONTENT_DIGEST)?;
    // The content of a request is the representation, unless it says that it is a part of one
    // (RFC 9110 14.5); content codings belong to both.
    let representation = if headers.contains_key(CONTENT_RANGE) {
        None
    } else {
        read(headers, &REPR_DIGEST)?
    };
    let has_content = has_content(received);
    let is_missing = content.is_none() && has_content && demands.digest == Demand::Required;
    if is_missing {
        return Err(MessageRefusal::Digest(DigestError::Missing));
    }
    Ok(Expected::of(content, representation))
}

fn read(
    headers: &HeaderMap,
    field: &http::HeaderName,
) -> Result<Option<integrity::Digests>, MessageRefusal> {
    if !headers.contains_key(field) {
        return Ok(None);
    }
    integrity::Digests::read(headers, field).map_err(MessageRefusal::Digest)
}

/// Whether any content was announced.
fn has_content(received: &Received) -> bool {
    received.content.length() != Some(0)
}

/// Compares the content with what is expected: before it is forwarded, or while.
async fn check(
    received: &mut Received,
    expected: Expected,
    demands: &Demands,
    must_fit: bool,
) -> Result<Outcome, MessageRefusal> {
    let (length, mut body) = match std::mem::replace(&mut received.content, Content::None) {
        Content::None => {
            expected.check_nothing().map_err(MessageRefusal::Digest)?;
            return Ok(Outcome::Verified);
        }
        Content::Stream { length, body } => (length, body),
    };
    let buffer = demands.buffer;
    let unbuffered = || MessageRefusal::Unbuffered { limit: buffer };
    if must_fit && length.is_some_and(|length| length > buffer as u64) {
        return Err(unbuffered());
    }
    let gathered = checked::gather(&mut body, buffer, &received.memory.of_requests()).await;
    let (outcome, body) = match gathered.map_err(MessageRefusal::Content)? {
        Gathered::Whole(whole) => {
            whole.check(expected).map_err(MessageRefusal::Digest)?;
            let headers = &mut received.head.headers;
            // `Repr-Digest` alone says it in another field than the one that is signed.
            if demands.states_digest && !headers.contains_key(CONTENT_DIGEST) {
                headers.insert(CONTENT_DIGEST, whole.digest());
            }
            (Outcome::Verified, whole.into_body())
        }
        Gathered::NoRoom(_) if must_fit => return Err(MessageRefusal::NoRoom),
        Gathered::Beginning(_) if must_fit => return Err(unbuffered()),
        Gathered::NoRoom(beginning) | Gathered::Beginning(beginning) => (
            Outcome::Awaited,
            checked::withhold(beginning, body, expected),
        ),
    };
    received.content = Content::Stream { length, body };
    Ok(outcome)
}

/// States the digest of content that nobody stated, for an upstream that gets signed requests: as far as
/// the content fits the buffer.
async fn state(received: &mut Received, buffer: usize) -> Result<(), MessageRefusal> {
    let content = std::mem::replace(&mut received.content, Content::None);
    let Content::Stream { length, mut body } = content else {
        return Ok(());
    };
    let room = received.memory.of_requests();
    let gathered = match length {
        Some(length) if length > buffer as u64 => Gathered::Beginning(Beginning::default()),
        _ => checked::gather(&mut body, buffer, &room)
            .await
            .map_err(MessageRefusal::Content)?,
    };
    let body = match gathered {
        Gathered::Whole(whole) => {
            let headers = &mut received.head.headers;
            headers.insert(CONTENT_DIGEST, whole.digest());
            whole.into_body()
        }
        Gathered::Beginning(beginning) | Gathered::NoRoom(beginning) => {
            // One that nobody compared is not ours to sign.
            received.head.headers.remove(CONTENT_DIGEST);
            checked::follow(beginning, body)
        }
    };
    received.content = Content::Stream { length, body };
    Ok(())
}

impl Verified {
    /// The request.
    pub fn received(&self) -> &Received {
        &self.received
    }

    /// Its route.
    pub fn route(&self) -> &Arc<RouteEntry> {
        &self.route
    }

    /// What permitted it.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// What was proved of its message.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    pub(crate) fn into_parts(self) -> (Received, Arc<RouteEntry>) {
        (self.received, self.route)
    }
}
