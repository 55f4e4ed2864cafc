//! The path of a request, on one screen. Each stage takes the value of the stage before it.

use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use audit::event::Time;
use http::Method;
use tokio::time::Instant;

use crate::admission;
use crate::ask::Asker;
use crate::authorize::{self, AuthorizeRefusal};
use crate::checks;
use crate::message;
use crate::peer::Client;
use crate::record::{ConnectionRecord, Record, Recorder};
use crate::refusal::Refusal;
use crate::release::{self, Prepared, Released, Vouch};
use crate::request::Received;
use crate::route::{RouteEntry, RouteRefusal};
use crate::signing::DIRECTORY;
use crate::site::Site;
use crate::upgrade;
use crate::upstream::{self, Pools};

/// What the requests of one worker share.
#[derive(Debug)]
pub struct Pipeline {
    /// The configuration in force, which can change between two requests of one connection.
    pub site: Arc<ArcSwap<Site>>,
    /// What is recorded, and where.
    pub recorder: Recorder,
    /// Connections to upstreams.
    pub pools: Pools,
    /// Asks for the status of clients' certificates.
    pub asker: Asker,
}

impl Pipeline {
    /// Serves a request: from the bytes that were received to an answer that may leave.
    pub async fn serve(&self, received: Received, connection: &Rc<ConnectionRecord>) -> Released {
        let id = received.id.clone();
        connection.count();
        let mut record =
            match Record::open(&self.recorder, connection, id.id(), Some(&received.head)) {
                Ok(record) => record,
                Err(error) => return release::unavailable(error, &self.recorder, &id),
            };
        match self.answer(received, &mut record).await {
            Ok(prepared) => prepared.with(record, &id),
            Err(refusal) => Box::pin(release::refuse(&refusal, record, &self.recorder, &id)).await,
        }
    }

    async fn answer(&self, received: Received, record: &mut Record) -> Result<Prepared, Refusal> {
        let site = self.site.load_full();
        let (method, memory) = (received.head.method.clone(), received.memory.clone());

        checks::check(&received).map_err(Refusal::Check)?;

        if let Some(signer) = site.signer.as_ref().filter(|_| asks_for_key(&received)) {
            return release::directory(signer, record).await;
        }

        let listener = site
            .listeners
            .get(&received.peer.listener)
            .ok_or(Refusal::Route(RouteRefusal::ListenerGone))?;
        let route = site
            .routes
            .choose(&received, |host| listener.side.selected(host))
            .map_err(Refusal::Route)?;
        record.routed(&route, &received.head);

        let patience = Instant::now() + listener.limits.handshake;
        self.asker
            .settle(&received.peer.client, listener.side.clients(), patience)
            .await
            .map_err(|refusal| Refusal::Authorize(AuthorizeRefusal::Standing(refusal)))?;

        let now = seconds(received.at);
        let permitted =
            authorize::permit(received, route, listener.side.clients(), &site.roles, now)
                .map_err(Refusal::Authorize)?;
        if let Some(rates) = &permitted.route().rates {
            rates
                .check(&permitted.received().peer)
                .map_err(Refusal::Rate)?;
        }

        // What is refused from here on is the doing of a client that a rule permits, and on record.
        record.permitted(permitted.rule()).map_err(Refusal::Audit)?;
        let websocket = permitted.route().route.websocket.as_ref();
        upgrade::judge(&permitted.received().head, websocket).map_err(Refusal::Upgrade)?;
        let verified = message::verify(permitted).await.map_err(Refusal::Message)?;

        let admitted = admission::admit(verified, record)
            .await
            .map_err(Refusal::Audit)?;
        let route = admitted.route();
        let ephi = route.route.ephi.value;
        let vouch = Vouch::of(admitted.received(), route, site.signer.as_ref());

        let answered = upstream::forward(admitted, &self.pools, record)
            .await
            .map_err(Refusal::Upstream)?;

        release::answer(answered, record, ephi, &method, &memory, vouch).await
    }

    /// Records and releases a refusal of something that did not become a request.
    pub async fn refuse(
        &self,
        refusal: Refusal,
        id: &crate::request::RequestId,
        connection: &Rc<ConnectionRecord>,
    ) -> Released {
        connection.count();
        match Record::open(&self.recorder, connection, id.id(), None) {
            Ok(record) => release::refuse(&refusal, record, &self.recorder, id).await,
            Err(error) => release::unavailable(error, &self.recorder, id),
        }
    }

    /// Whether what a peer proved still counts, under the configuration in force now.
    pub fn standing(
        &self,
        connection: &ConnectionRecord,
        now: Time,
    ) -> Result<(), AuthorizeRefusal> {
        let site = self.site.load();
        let peer = connection.peer();
        let listener = site
            .listeners
            .get(&peer.listener)
            .ok_or(AuthorizeRefusal::TrustGone)?;
        authorize::standing(&peer.client, listener.side.clients(), seconds(now))
    }
}

impl Pipeline {
    /// Whether a client is still vouched for, where somebody is asked for its status (OCSP).
    pub async fn vouched(&self, connection: &ConnectionRecord) -> Result<(), AuthorizeRefusal> {
        let site = self.site.load_full();
        let peer = connection.peer();
        let listener = site
            .listeners
            .get(&peer.listener)
            .ok_or(AuthorizeRefusal::TrustGone)?;
        let patience = Instant::now() + listener.limits.handshake;
        let settled = self
            .asker
            .settle(&peer.client, listener.side.clients(), patience);
        settled.await.map_err(AuthorizeRefusal::Standing)
    }

    /// Whether the configuration in force would still open a WebSocket of this route for this client.
    pub fn carries(
        &self,
        opened: &RouteEntry,
        connection: &ConnectionRecord,
    ) -> Result<(), AuthorizeRefusal> {
        let site = self.site.load();
        let (peer, opened) = (connection.peer(), &opened.route);
        let mut routes = site.config.routes.iter();
        let same = routes.find(|route| {
            let mut listeners = route.listeners.iter();
            route.name.value == opened.name.value
                && route.path.value == opened.path.value
                && route.upstream.value == opened.upstream.value
                && route.websocket == opened.websocket
                && listeners.any(|listener| listener.value == peer.listener)
        });
        let route = same.ok_or(AuthorizeRefusal::NotPermitted)?;
        let client = match &peer.client {
            Client::Anonymous => None,
            Client::Known(identity) => Some((identity.trust(), identity.name())),
        };
        authorize::rule(client, &route.allow.value, &site.roles).map(drop)
    }
}

/// Whether the gateway's public key is asked for, which is no upstream's to give.
fn asks_for_key(received: &Received) -> bool {
    let head = &received.head;
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    reads && checks::path_of(head) == Some(DIRECTORY)
}

fn seconds(time: Time) -> i64 {
    i64::try_from(time.0 / 1_000_000_000).unwrap_or(i64::MAX)
}
