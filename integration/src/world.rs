//! All that one request needs: an authority, a server, a device, an upstream's address, and a
//! configuration that lets the device through to it.

use crate::authority::{Authority, Credentials};
use crate::configuration::Configuration;
use crate::curl::Curl;
use crate::gateway::{ADMIN, Gateway, LISTEN};
use crate::line::{Caller, Line};
use crate::origin::{self, Conversation, Origin, Seen};
use crate::place::Place;
use crate::records;
use crate::wait::OrFail;

/// The name of the device.
pub const DEVICE: &str = "urn:example:pump-1";

/// The name of the device with its trust set, as records have it.
pub const CLIENT: &str = "devices:urn:example:pump-1";

/// A place with certificates.
#[derive(Debug)]
pub struct World {
    /// Where it all lies.
    pub place: Place,
    /// Who issued the certificates.
    pub authority: Authority,
    /// What the gateway proves itself with: `api.test`, `other.test`, 127.0.0.1.
    pub server: Credentials,
    /// What the device proves itself with.
    pub device: Credentials,
}

impl World {
    /// A new one.
    #[must_use]
    #[track_caller]
    pub fn new() -> World {
        let place = Place::new();
        let authority = Authority::init(&place, "pki");
        let hosts = ["api.test", "other.test", "127.0.0.1"];
        records::keygen(&place.path(""));
        World {
            server: authority.server(&place.path("server"), &hosts),
            device: authority.device(&place.path("device"), DEVICE),
            authority,
            place,
        }
    }

    /// A configuration with one listener, one role and one route, all to the upstream of this place.
    #[must_use]
    pub fn configuration(&self) -> Configuration {
        let (listen, admin) = (self.place.at(LISTEN), self.place.at(ADMIN));
        let upstream = self.place.at(origin::PORT);
        Configuration::new(&format!(
            r#"
[workers]
count = 2
[audit]
directory = "audit"
keys = "file:audit.keys"
readers = ["reader.pem"]
segment_size = "2MiB"
min_free = "1MiB"
rationale = "a test, wherever its directory lies"
[admin]
listen = "{admin}"
[trust.devices]
roots = ["pki/trust.pem"]
revocation = {{ crls = ["pki/crl/"] }}
[certificates.api]
chain = "server/chain.pem"
key = "file:server/key.pem"
[listeners.devices]
listen = ["{listen}"]
tls = "intermediate"
certificates = ["api"]
clients = {{ certificates = "required", trust = "devices" }}
[roles.pump]
clients = ["urn:example:pump-*"]
[upstreams.origin]
servers = ["http://{upstream}"]
rationale = "the upstream of a test knows nobody"
[[routes]]
name = "all"
listeners = ["devices"]
hosts = ["api.test"]
path = "/"
methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
allow = ["pump"]
upstream = "origin"
"#
        ))
    }

    /// Starts a gateway with the configuration of this place, and `more` laid over it.
    #[must_use]
    #[track_caller]
    pub fn gateway(&self, more: &str) -> Gateway {
        Gateway::start(&self.place, &self.configuration().with(more))
    }

    /// Starts an upstream that answers each request with these bytes.
    #[must_use]
    #[track_caller]
    pub fn answering(&self, answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Origin {
        Origin::answering(self.place.at(origin::PORT), answer)
    }

    /// Starts an upstream that serves each connection by a script.
    #[must_use]
    #[track_caller]
    pub fn origin(
        &self,
        serve: impl Fn(&mut Conversation) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Origin {
        Origin::start(self.place.at(origin::PORT), serve)
    }

    /// Starts an upstream that answers each request with 200 and `ok`.
    #[must_use]
    #[track_caller]
    pub fn plain_origin(&self) -> Origin {
        Origin::plain(self.place.at(origin::PORT))
    }

    /// A client without a certificate.
    #[must_use]
    #[track_caller]
    pub fn nobody(&self) -> Caller {
        Caller::new(self.place.at(LISTEN), &self.server.trust)
    }

    /// The device.
    #[must_use]
    #[track_caller]
    pub fn caller(&self) -> Caller {
        self.nobody().with(&self.device)
    }

    /// A connection of the device.
    #[must_use]
    #[track_caller]
    pub fn line(&self) -> Line {
        self.caller().connect().or_fail("connect as the device")
    }

    /// The device with curl.
    #[must_use]
    #[track_caller]
    pub fn curl(&self) -> Curl {
        Curl::to(self.place.at(LISTEN), &self.server.trust).with(&self.device)
    }

    /// The device reads `/baseline`, and gets 200: what every test of an attack ends with.
    #[track_caller]
    pub fn is_served(&self) {
        let answer = self.caller().ask("GET /baseline").or_fail("be served");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}
