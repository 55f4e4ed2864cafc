//! What was sent is what arrived, once: requests that are signed, by somebody else's hand too, what is
//! refused of them, and what of altered content ever reaches the upstream.

mod peers;

mod refusals;

mod replays;

mod flips;

mod content;

mod journal;

use integration::gateway::Gateway;
use integration::origin::Origin;
use integration::signer::{Request, Signer};
use integration::world::World;

/// All but `/baseline` is signed, and states the digest of its content.
const SIGNED: &str = r#"
[signatures]
replay = "replay"
[[routes]]
name = "all"
digest = "required"
signature = "required"
[[routes]]
name = "baseline"
listeners = ["devices"]
hosts = ["api.test"]
path = "/baseline"
methods = ["GET"]
allow = ["pump"]
upstream = "origin"
"#;

/// A gateway that asks for signatures, an upstream that answers `ok`, and the device that signs.
struct Signing {
    signer: Signer,
    gateway: Gateway,
    origin: Origin,
    world: World,
}

impl Signing {
    /// With `more` laid over [`SIGNED`].
    #[track_caller]
    fn start(more: &str) -> Signing {
        let world = World::new();
        let origin = world.plain_origin();
        let configuration = world.configuration().with(SIGNED).with(more);
        Signing {
            signer: Signer::of(&world.device),
            gateway: Gateway::start(&world.place, &configuration),
            origin,
            world,
        }
    }

    /// The request passes.
    #[track_caller]
    fn accepts(&self, request: &Request) {
        let answer = request.ask(&self.world.caller());
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// The request is refused so.
    #[track_caller]
    fn refuses(&self, request: &Request, status: u16, code: &str) {
        let answer = request.ask(&self.world.caller());
        self.gateway.refused(&answer, status, code);
    }

    /// What reached the upstream, the baseline aside.
    fn reached(&self) -> Vec<String> {
        let seen = self.origin.seen().into_iter().map(|seen| seen.target);
        seen.filter(|target| target != "/baseline").collect()
    }
}

/// Something to send, with a query.
fn observation() -> Request {
    Request::post("/fhir/Observation?_format=json", "{\"valueQuantity\":7}")
}
