//! Nothing signed is accepted twice: not on another connection, not over another protocol, not after a
//! reload, a kill or a restart; and who is remembered takes nobody else's place.

use integration::gateway::Gateway;
use integration::signer::{Request, Signer, now};
use integration::streams::Streams;
use integration::wait;

use super::{SIGNED, Signing, observation};

#[test]
fn a_request_is_accepted_once_whichever_way_it_comes_again() {
    let signing = Signing::start("");
    let caller = signing.world.caller();
    for request in [observation(), Request::get("/fhir/Patient/17")] {
        let signed = signing.signer.signed(request);
        let mut line = signing.world.line();
        line.send(signed.bytes()).unwrap();
        assert_eq!(line.answer().unwrap().status, 200);
        let refused = |answer| {
            signing.gateway.refused(&answer, 401, "signature_replayed");
            assert_eq!(answer.header("www-authenticate"), Some("Signature"));
        };
        line.send(signed.bytes()).unwrap();
        refused(line.answer().unwrap());
        refused(signed.ask(&caller));
        let mut streams = Streams::open(&caller).unwrap();
        refused(signed.over(&mut streams).unwrap());
        refused(signed.over(&mut streams).unwrap());
        // Sent in other words, it is the same.
        let reordered = signed.field("host").to_owned();
        refused(signed.clone().with("host", &reordered).ask(&caller));
    }
    assert_eq!(signing.reached().len(), 2);
    // Over HTTP/2 first, it is known to HTTP/1.1.
    let mut streams = Streams::open(&caller).unwrap();
    let signed = signing.signer.signed(observation());
    assert_eq!(signed.over(&mut streams).unwrap().status, 200);
    signing.refuses(&signed, 401, "signature_replayed");
    assert_eq!(signing.reached().len(), 3);
}

#[test]
fn of_many_that_come_at_once_one_is_accepted() {
    let signing = Signing::start("");
    for round in 0..if wait::long() { 100 } else { 10 } {
        let signed = signing.signer.signed(observation());
        let caller = signing.world.caller();
        let start = std::sync::Barrier::new(8);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut line = caller.connect().unwrap();
                        start.wait();
                        line.send(signed.bytes()).unwrap();
                        line.answer().unwrap().status
                    })
                })
                .collect();
            let answers = callers.into_iter().map(|caller| caller.join().unwrap());
            answers.collect()
        });
        let of = |status| statuses.iter().filter(|it| **it == status).count();
        assert_eq!((of(200), of(401)), (1, 7), "round {round}: {statuses:?}");
        assert_eq!(signing.reached().len(), round + 1);
    }
}

#[test]
fn a_nonce_is_used_up_by_what_it_was_accepted_for_and_not_by_what_was_refused() {
    let signing = Signing::start("");
    let signer = &signing.signer;
    let first = signer.signature(&observation());
    let bad = signer
        .sign(observation(), &first)
        .with("content-type", "x/y");
    signing.refuses(&bad, 401, "signature_invalid");
    signing.accepts(&signer.sign(observation(), &first));
    // The same nonce for something else.
    let mut second = signer.signature(&Request::get("/x"));
    second.nonce = first.nonce;
    signing.refuses(
        &signer.sign(Request::get("/x"), &second),
        401,
        "signature_replayed",
    );
    // Another client may have hit on the same one.
    let world = &signing.world;
    let other = world
        .authority
        .device(&world.place.path("other"), "urn:example:pump-2");
    let theirs = Signer::of(&other);
    second.keyid = Some(theirs.keyid().to_owned());
    let answer = theirs
        .sign(Request::get("/x"), &second)
        .ask(&world.nobody().with(&other));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn what_was_accepted_is_known_after_a_reload_a_kill_and_a_restart() {
    let mut signing = Signing::start("");
    let configuration = signing.world.configuration().with(SIGNED);
    let mut accepted = Vec::new();
    let accept_one_more = |signing: &Signing, accepted: &mut Vec<Request>| {
        for known in accepted.iter() {
            signing.refuses(known, 401, "signature_replayed");
        }
        let signed = signing.signer.signed(observation());
        signing.accepts(&signed);
        accepted.push(signed);
    };
    accept_one_more(&signing, &mut accepted);
    assert!(signing.gateway.reload());
    accept_one_more(&signing, &mut accepted);
    // With a connection that lives on, and a file that says something else elsewhere.
    let mut line = signing.world.line();
    line.send(signing.signer.signed(observation()).bytes())
        .unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    let longer = "[[routes]]\nname = \"all\"\nbody_idle = \"20s\"";
    assert!(
        signing
            .gateway
            .reload_with(&configuration.clone().with(longer))
    );
    accept_one_more(&signing, &mut accepted);
    for ending in [Gateway::kill, |gateway: Gateway| {
        assert!(gateway.stop().status.success());
    }] {
        for _ in 0..2 {
            ending(signing.gateway);
            signing.gateway = Gateway::start(&signing.world.place, &configuration);
            accept_one_more(&signing, &mut accepted);
        }
    }
    assert_eq!(signing.reached().len(), accepted.len() + 1);
}

#[test]
fn signatures_that_are_off_for_a_while_forget_nothing() {
    let signing = Signing::start("");
    let signed = signing.signer.signed(observation());
    signing.accepts(&signed);
    let mut line = signing.world.line();
    line.send(signing.signer.signed(observation()).bytes())
        .unwrap();
    assert_eq!(line.answer().unwrap().status, 200);
    assert!(signing.gateway.reload_with(&signing.world.configuration()));
    signing.accepts(&observation());
    assert!(
        signing
            .gateway
            .reload_with(&signing.world.configuration().with(SIGNED))
    );
    signing.refuses(&signed, 401, "signature_replayed");
    signing.accepts(&signing.signer.signed(observation()));
}

#[test]
fn another_window_does_not_come_into_force_while_the_gateway_runs() {
    let signing = Signing::start("");
    for other in ["replay = \"elsewhere\"", "window = 2000"] {
        let other = format!("[signatures]\n{other}");
        let configuration = signing.world.configuration().with(SIGNED).with(&other);
        assert!(!signing.gateway.reload_with(&configuration), "{other}");
    }
    assert!(!signing.world.place.path("elsewhere").exists());
    signing.accepts(&signing.signer.signed(observation()));
}

#[test]
fn an_age_that_grows_brings_nothing_back() {
    let short = "[[routes]]\nname = \"all\"\nsignature_age = \"1s\"\nsignature_skew = \"0s\"";
    let long = "[[routes]]\nname = \"all\"\nsignature_age = \"300s\"\nsignature_skew = \"0s\"";
    let mut signing = Signing::start(short);
    let signed = signing.signer.signed(observation());
    let made = now();
    signing.accepts(&signed);
    wait::until("a signature that is too old", || {
        (now() > made + 2).then_some(())
    });
    signing.refuses(&signed, 401, "signature_time");
    // Whatever the window lets go of, by this or by the next one that it takes.
    signing.accepts(&signing.signer.signed(observation()));
    let configuration = signing.world.configuration().with(SIGNED).with(long);
    assert!(signing.gateway.reload_with(&configuration));
    let again = signed.ask(&signing.world.caller());
    assert_eq!(again.status, 401, "after a reload: {again:?}");
    signing.gateway.kill();
    signing.gateway = Gateway::start(&signing.world.place, &configuration);
    let again = signed.ask(&signing.world.caller());
    assert_eq!(again.status, 401, "after a restart: {again:?}");
    signing.accepts(&signing.signer.signed(observation()));
}

#[test]
fn a_client_has_its_share_of_the_window_and_the_others_have_the_rest() {
    let signing = Signing::start("[signatures]\nwindow = 2000");
    let world = &signing.world;
    let mut line = world.line();
    let mut ask = || {
        let signed = signing.signer.signed(Request::get("/fhir/Patient/17"));
        line.send(signed.bytes()).unwrap();
        (line.answer().unwrap(), signed)
    };
    let (_, first) = ask();
    for number in 2..=200 {
        let (answer, _) = ask();
        assert_eq!(answer.status, 200, "{number}: {answer:?}");
    }
    let (answer, _) = ask();
    signing.gateway.refused(&answer, 429, "replay_window_full");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let records = signing.gateway.records();
    let record = records.of_request(answer.id())[0];
    assert!(record.text("detail").contains("share"), "{record}");
    // What it has in the window is still known, and the others are in nobody's way.
    signing.refuses(&first, 401, "signature_replayed");
    let other = world
        .authority
        .device(&world.place.path("other"), "urn:example:pump-2");
    let answer = Signer::of(&other)
        .signed(observation())
        .ask(&world.nobody().with(&other));
    assert_eq!(answer.status, 200, "{answer:?}");
    world.is_served();
}
