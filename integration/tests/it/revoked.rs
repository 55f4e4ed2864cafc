//! A revocation list that is replaced comes into force by itself, within seconds and without a signal, for who
//! comes and for who is there; one that does not count changes nothing, and takes nothing back.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use integration::authority::Credentials;
use integration::gateway::Gateway;
use integration::line::{Caller, End};
use integration::streams::Streams;
use integration::wait::{self, OrFail};
use integration::world::{DEVICE, World};

/// So soon after `pki revoke` the gateway refuses.
const SOON: Duration = Duration::from_secs(5);

/// Another device of the same authority.
const OTHER: &str = "urn:example:pump-2";

fn another(world: &World) -> Credentials {
    world.authority.device(&world.place.path("other"), OTHER)
}

/// Waits until this client is turned away as revoked.
#[track_caller]
pub(crate) fn until_revoked(caller: &Caller) {
    wait::until("a revocation in force", || {
        (caller.alert() == Some(44)).then_some(())
    });
}

/// The client is turned away as revoked within the time that is promised.
#[track_caller]
pub(crate) fn is_revoked_soon(caller: &Caller, since: Instant) {
    until_revoked(caller);
    let took = since.elapsed();
    assert!(took < SOON, "it took {took:?}");
}

/// Waits until the gateway has read its lists anew so often, with this outcome.
#[track_caller]
fn await_renewals(gateway: &Gateway, outcome: &str, count: f64) {
    let name =
        format!("phigate_revocation_renewals_total{{trust=\"devices\",outcome=\"{outcome}\"}}");
    wait::until(&format!("renewal {count} that is {outcome}"), || {
        (gateway.metric(&name) >= count).then_some(())
    });
}

/// Waits for words in the gateway's log.
#[track_caller]
pub(crate) fn await_words(gateway: &mut Gateway, words: &str) {
    let mut log = String::new();
    let found = wait::within(wait::PATIENCE, || {
        log = gateway.process().stderr();
        log.contains(words).then_some(())
    });
    assert!(found.is_some(), "{words:?} in {log}");
}

/// The list that names the devices that were revoked.
fn issuing(world: &World) -> PathBuf {
    let folder = fs::read_dir(world.place.path("pki/crl")).or_fail("list the lists");
    let mut paths = folder.map(|item| item.or_fail("list the lists").path());
    let is_issuing = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("issuing") && name.ends_with(".crl")
    };
    paths.find(is_issuing).or_fail("find a list")
}

#[test]
fn a_revocation_ends_what_lives_and_refuses_what_comes_within_seconds_and_without_a_signal() {
    let world = World::new();
    let origin = world.plain_origin();
    let other = another(&world);
    let mut gateway = world.gateway("");
    let mut idle = world.line();
    idle.send("GET /before HTTP/1.1\r\nhost: api.test\r\n\r\n")
        .unwrap();
    assert_eq!(idle.answer().unwrap().status, 200);
    let mut streams = Streams::open(&world.caller()).unwrap();
    assert_eq!(streams.ask("GET", "/before").unwrap().status, 200);
    let untouched = world.nobody().with(&other);
    let mut unaffected = Streams::open(&untouched).unwrap();
    assert_eq!(unaffected.ask("GET", "/other").unwrap().status, 200);
    world.authority.revoke(DEVICE);
    let revoked = Instant::now();
    // Nothing was asked on it, and it ends all the same.
    assert_ne!(idle.rest().1, End::Open, "the connection has ended");
    assert!(revoked.elapsed() < SOON, "{:?}", revoked.elapsed());
    is_revoked_soon(&world.caller(), revoked);
    streams.end();
    for _ in 0..2 {
        gateway.await_short("close certificate_revoked");
    }
    assert_eq!(unaffected.ask("GET", "/other").unwrap().status, 200);
    assert!(!origin.seen().iter().any(|seen| seen.target == "/after"));
    // On record as at a reload, and nothing else was reloaded.
    let record = gateway.await_record("the lists", |record| {
        record.kind() == "revocation" && record.number("serials") == Some(1)
    });
    assert_eq!(record.number("generation"), Some(1), "{record}");
    assert_eq!(gateway.records().of_kind("configuration").len(), 1);
    assert_eq!(gateway.metric("phigate_generation"), 1.0);
    await_renewals(&gateway, "applied", 1.0);
    await_words(&mut gateway, "new revocation lists were put in force");
    gateway.verify();
}

#[test]
fn a_list_that_is_damaged_keeps_no_other_revocation_out_and_is_told_once() {
    let world = World::new();
    let _origin = world.plain_origin();
    let other = another(&world);
    let mut gateway = world.gateway("");
    let strange = world.place.path("pki/crl/strange.crl");
    fs::write(&strange, "not a list").unwrap();
    await_renewals(&gateway, "refused", 1.0);
    world.is_served();
    world.authority.revoke(OTHER);
    let other = world.nobody().with(&other);
    until_revoked(&other);
    world.is_served();
    await_renewals(&gateway, "refused", 2.0);
    let log = gateway.process().stderr();
    assert_eq!(log.matches("strange.crl").count(), 1, "{log}");
    fs::remove_file(&strange).unwrap();
    await_renewals(&gateway, "applied", 1.0);
    assert_eq!(other.alert(), Some(44));
    world.is_served();
}

#[test]
fn the_last_good_list_stands_for_one_that_is_damaged_or_gone() {
    let world = World::new();
    let _origin = world.plain_origin();
    let lost = another(&world);
    world.authority.revoke(OTHER);
    let gateway = world.gateway("");
    let lost = world.nobody().with(&lost);
    let (issuing, mut refused) = (issuing(&world), 0.0);
    let whole = fs::read(&issuing).unwrap();
    for half in [&whole[..whole.len() / 2], b""] {
        fs::write(&issuing, half).unwrap();
        refused += 1.0;
        await_renewals(&gateway, "refused", refused);
        assert_eq!(lost.alert(), Some(44));
        world.is_served();
    }
    // A folder in which nothing is left is a mistake too.
    let folder = world.place.path("pki/crl");
    fs::rename(&folder, world.place.path("aside")).unwrap();
    await_renewals(&gateway, "refused", refused + 1.0);
    assert_eq!(lost.alert(), Some(44));
    world.is_served();
}

#[test]
fn an_older_list_that_is_put_back_takes_no_revocation_back() {
    let world = World::new();
    let _origin = world.plain_origin();
    let other = another(&world);
    let mut gateway = world.gateway("");
    let issuing = issuing(&world);
    let old = fs::read(&issuing).unwrap();
    world.authority.revoke(OTHER);
    let other = world.nobody().with(&other);
    until_revoked(&other);
    fs::write(&issuing, old).unwrap();
    await_renewals(&gateway, "refused", 1.0);
    await_words(&mut gateway, "is older than the list in force");
    assert_eq!(other.alert(), Some(44));
    world.is_served();
}

#[test]
fn lists_that_are_swapped_behind_a_symlink_are_noticed() {
    let world = World::new();
    let _origin = world.plain_origin();
    let copy = |to: &str| {
        fs::create_dir_all(world.place.path(to)).unwrap();
        for item in fs::read_dir(world.place.path("pki/crl")).unwrap() {
            let item = item.unwrap();
            fs::copy(item.path(), world.place.path(to).join(item.file_name())).unwrap();
        }
    };
    // As Kubernetes mounts a secret: a folder leads to ..data, which leads to a dated folder.
    let link = |to: &str| {
        let fresh = world.place.path("mounted/..data_tmp");
        std::os::unix::fs::symlink(to, &fresh).unwrap();
        fs::rename(fresh, world.place.path("mounted/..data")).unwrap();
    };
    copy("mounted/..1");
    link("..1");
    let more = "[trust.devices]\nrevocation = { crls = [\"mounted/..data\"] }";
    let _gateway = world.gateway(more);
    world.is_served();
    world.authority.revoke(DEVICE);
    copy("mounted/..2");
    world.is_served();
    link("..2");
    is_revoked_soon(&world.caller(), Instant::now());
}
