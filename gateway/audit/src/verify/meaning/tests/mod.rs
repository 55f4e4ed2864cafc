//! Stories of requests, honest ones and others.

use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

fn fact(kind: Kind, request: u8, owes: bool) -> Fact {
    Fact {
        kind,
        time: Time(0),
        request: Some([request; 16]),
        owes,
        step_us: None,
    }
}

fn start(seconds: u64) -> Fact {
    Fact {
        kind: Kind::START,
        time: Time(seconds * SECOND),
        request: None,
        owes: false,
        step_us: None,
    }
}

/// What a watched clock leaves, which was set by so many seconds.
fn clock(seconds: u64, step: Option<i64>) -> Fact {
    Fact {
        kind: Kind::CLOCK,
        step_us: step.map(|step| step * 1_000_000),
        ..start(seconds)
    }
}

fn stop(seconds: u64) -> Fact {
    Fact {
        kind: Kind::STOP,
        ..start(seconds)
    }
}

fn intent(request: u8) -> Fact {
    fact(Kind::INTENT, request, false)
}

/// The release of a GET.
fn release(request: u8) -> Fact {
    fact(Kind::RELEASE, request, false)
}

/// The release of a POST.
fn effect(request: u8) -> Fact {
    fact(Kind::RELEASE, request, true)
}

fn passage(request: u8) -> Fact {
    fact(Kind::PASSAGE, request, false)
}

/// How an answer ended.
fn end(request: u8) -> Fact {
    fact(Kind::COMPLETION, request, true)
}

/// How a request ended that got no answer.
fn gone(request: u8) -> Fact {
    fact(Kind::COMPLETION, request, false)
}

fn refusal(request: u8) -> Fact {
    fact(Kind::REFUSAL, request, false)
}

fn judged(limit: usize, facts: &[Fact]) -> Report {
    let (mut meaning, mut report) = (Meaning::remembering(limit), Report::default());
    for (sequence, fact) in (0..).zip(facts) {
        meaning.judge(sequence, fact, &mut report);
    }
    meaning.end(&mut report);
    report
}

fn breaches(facts: &[Fact]) -> Vec<(u64, Breach)> {
    let of = |finding: &Finding| match finding {
        Finding::Meaning {
            sequence, breach, ..
        } => (*sequence, *breach),
        other => panic!("{other}"),
    };
    judged(100, facts).findings.iter().map(of).collect()
}

fn oddities(facts: &[Fact]) -> Vec<(Oddity, u64, u64)> {
    let of = |note: &Note| match note {
        Note::Odd {
            oddity,
            first,
            times,
            ..
        } => (*oddity, *first, *times),
        other => panic!("{other}"),
    };
    judged(100, facts).notes.iter().map(of).collect()
}

#[test]
fn each_rule_finds_what_breaks_it_at_its_place() {
    let nameless = |kind| Fact {
        request: None,
        ..fact(kind, 0, false)
    };
    const OF_REQUESTS: [Kind; 5] = [
        Kind::INTENT,
        Kind::RELEASE,
        Kind::PASSAGE,
        Kind::COMPLETION,
        Kind::REFUSAL,
    ];
    type Case<'a> = (&'a str, &'a [Fact], &'a [(u64, Breach)]);
    let cases: [Case<'_>; 12] = [
        (
            "a POST without its intent",
            &[effect(1)],
            &[(0, Breach::Unintended)],
        ),
        (
            "with that of another",
            &[intent(2), effect(1)],
            &[(1, Breach::Unintended)],
        ),
        (
            "with one that comes later",
            &[effect(1), intent(1)],
            &[(0, Breach::Unintended)],
        ),
        (
            "with one of the run before",
            &[intent(1), start(1), effect(1)],
            &[(2, Breach::Unintended)],
        ),
        (
            "with one that was refused",
            &[intent(1), refusal(1), effect(1)],
            &[(2, Breach::Unintended)],
        ),
        (
            "a second release",
            &[release(1), release(1)],
            &[(1, Breach::SecondRelease)],
        ),
        (
            "even of what has ended",
            &[release(1), end(1), release(1)],
            &[(2, Breach::SecondRelease)],
        ),
        (
            "a window of nothing",
            &[release(2), passage(1)],
            &[(1, Breach::Unreleased)],
        ),
        (
            "a window behind the end",
            &[release(1), end(1), passage(1)],
            &[(2, Breach::Unreleased)],
        ),
        (
            "an end of nothing",
            &[intent(1), end(1)],
            &[(1, Breach::EndUnreleased)],
        ),
        (
            "a second end",
            &[release(1), end(1), end(1)],
            &[(2, Breach::EndUnreleased)],
        ),
        (
            "records of no request",
            &OF_REQUESTS.map(nameless),
            &[0, 1, 2, 3, 4].map(|at| (at, Breach::Nameless)),
        ),
    ];
    for (name, facts, expected) in cases {
        assert_eq!(breaches(facts), expected, "{name}");
    }
}

#[test]
fn a_run_that_died_is_a_note_and_so_is_what_it_left_open() {
    assert_eq!(oddities(&[start(1), stop(2), start(3), stop(4)]), []);
    let died = [
        start(1),
        intent(1),
        intent(2),
        refusal(2),
        start(3),
        start(4),
    ];
    let expected = [(Oddity::Died, 4, 2), (Oddity::Unanswered, 4, 1)];
    assert_eq!(oddities(&died), expected);
}

#[test]
fn of_a_run_whose_end_was_lost_nothing_is_said() {
    let loss = Fact {
        kind: Kind::DISCONTINUITY,
        ..start(2)
    };
    assert_eq!(oddities(&[start(1), intent(1), loss, start(3)]), []);
}

#[test]
fn a_clock_that_went_back_between_runs_by_more_than_a_second_is_a_note() {
    assert_eq!(oddities(&[start(9), stop(10), start(9)]), []);
    let back = [(Oddity::ClockBack, 2, 1)];
    assert_eq!(oddities(&[start(9), stop(10), start(8)]), back);
    assert_eq!(
        oddities(&[start(5), stop(u64::MAX / SECOND), start(8)]),
        back
    );
}

#[test]
fn a_clock_that_was_set_back_within_a_run_is_noted_once() {
    let back = |at, times| (Oddity::ClockBack, at, times);
    let died = |at| (Oddity::Died, at, 1);
    let begun = clock(99, None);
    assert_eq!(oddities(&[begun, start(99), stop(100)]), []);
    let (set_back, set_ahead) = (|| clock(50, Some(-50)), || clock(200, Some(90)));
    let stopped = [start(99), set_back(), stop(51), start(52)];
    assert_eq!(oddities(&stopped), [back(1, 1)]);
    // The next run begins behind the step, and not behind what was before it.
    let killed = [start(99), set_back(), start(52)];
    assert_eq!(oddities(&killed), [back(1, 1), died(2)]);
    let twice = [start(99), set_back(), stop(51), start(40)];
    assert_eq!(oddities(&twice), [back(1, 2)]);
    // What was set ahead, and back while nobody looked.
    let ahead = [start(99), set_ahead(), stop(201), start(120), stop(121)];
    assert_eq!(oddities(&ahead), [back(3, 1)]);
}

#[test]
fn a_clock_that_was_set_back_behind_a_killed_run_is_seen_by_any_of_its_records() {
    let late = Fact {
        time: Time(500 * SECOND),
        ..refusal(1)
    };
    let begun = clock(300, None);
    let expected = [(Oddity::Died, 3, 1), (Oddity::ClockBack, 3, 1)];
    assert_eq!(oddities(&[start(99), late, begun, start(300)]), expected);
}

#[test]
fn what_may_have_been_forgotten_is_counted_and_never_found() {
    let mut facts: Vec<_> = (0..9).flat_map(|n| [intent(n), release(100 + n)]).collect();
    facts.extend([effect(0), passage(100), end(101)]);
    let report = judged(3, &facts);
    assert_eq!(report.findings, []);
    assert_eq!(
        report.notes,
        [Note::Unjudged {
            first: 18,
            records: 3
        }]
    );
    // A start forgets everything, and knows it: what comes behind it has no excuse.
    facts.extend([start(1), passage(200)]);
    assert_eq!(judged(3, &facts).findings.len(), 1);
}

#[test]
fn a_stream_that_goes_on_is_not_forgotten() {
    let mut facts = vec![release(200)];
    for n in 0..100 {
        facts.extend([release(n), passage(200)]);
    }
    facts.push(end(200));
    let report = judged(3, &facts);
    assert_eq!((report.findings, report.notes), (Vec::new(), Vec::new()));
}

/// What an honest gateway leaves of a request, whatever the client, the upstream and the disk do.
fn story(request: u8) -> impl Strategy<Value = Vec<Fact>> {
    let ending = prop_oneof![
        Just(0_u8), // it ends with what stands there
        Just(1),    // a completion with its status
        Just(2),    // a refusal
        Just(3),    // a refusal that was not durable in time, and the word for it
        Just(4),    // nothing was answered
    ];
    (any::<bool>(), any::<bool>(), 0..4_usize, ending).prop_map(
        move |(intended, released, passages, ending)| {
            let mut facts = Vec::new();
            if intended {
                facts.push(intent(request));
            }
            if released {
                facts.push(fact(Kind::RELEASE, request, intended));
                facts.extend((0..passages).map(|_| passage(request)));
            }
            match ending {
                1 if released => facts.push(end(request)),
                2 => facts.push(refusal(request)),
                3 => facts.extend([refusal(request), gone(request)]),
                4 if !released => facts.push(gone(request)),
                _ => {}
            }
            facts
        },
    )
}

proptest! {
    #[test]
    fn an_honest_log_has_no_finding_however_its_requests_lie_beside_each_other(
        runs in prop::collection::vec((0..30_u8).prop_map(|n| (0..n).map(story).collect::<Vec<_>>()).prop_flat_map(|stories| stories), 1..4),
        order in prop::collection::vec(any::<prop::sample::Index>(), 400),
        killed in prop::collection::vec(0..200_usize, 4),
        limit in 1..40_usize,
    ) {
        let mut facts = Vec::new();
        let mut order = order.into_iter().cycle();
        for (mut stories, killed) in runs.into_iter().zip(killed) {
            facts.push(start(1));
            for story in &mut stories {
                story.reverse();
            }
            for _ in 0..killed {
                stories.retain(|story| !story.is_empty());
                let Some(at) = order.next().filter(|_| !stories.is_empty()) else { break };
                let at = at.index(stories.len());
                facts.extend(stories[at].pop());
            }
            if stories.iter().all(Vec::is_empty) {
                facts.push(stop(1));
            }
        }
        prop_assert_eq!(judged(limit, &facts).findings, []);
    }
}
