//! Who answers what is asked about clients' certificates (`ask`): a thread of its own, with a desk for each responder
//! that asks it so many questions at once and looks up its name. One that hangs, or whose name cannot be looked
//! up, holds up nobody who asks another one.
//!
//! A question ends within seconds, whatever the responder does. What went wrong is told for each trust set once, and
//! each hour as long as nobody mends it; never which certificate it was about.

use std::collections::BTreeMap;
use std::io;
use std::mem::discriminant;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use config::TrustName;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::AGAIN;
use super::exchange;
use super::fault::StatusTrouble;
use crate::ask::{Line, Question};
use crate::dial::Resolver;
use crate::metrics::Metrics;
use crate::timer::unix_now;
use crate::tls::{ChainRefusal, LeafStanding, Statuses};

/// So many questions are asked at once of one responder, a descriptor each.
const AT_ONCE: usize = 16;

/// For so long the addresses of a responder count.
const ADDRESSES: Duration = Duration::from_secs(30);

/// So many names are looked up at once, each by a thread that lives while it is needed: one for each desk.
const LOOKUPS: usize = 64;

/// For a whole exchange.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts the thread; `revoked` is called whenever a certificate turns out to be revoked. It ends when nobody is left
/// who could ask, and is never waited for.
///
/// # Errors
/// The operating system's, when it gives no thread or no runtime.
pub fn answer(
    lines: mpsc::Receiver<Line>,
    metrics: Metrics,
    revoked: impl Fn() + Send + 'static,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(LOOKUPS)
        .build()?;
    std::thread::Builder::new()
        .name("ocsp".to_owned())
        .spawn(move || {
            LocalSet::new().block_on(&runtime, each(lines, &metrics, &Rc::new(revoked)));
            // Whatever still resolves a name is not waited for.
            runtime.shutdown_background();
        })?;
    Ok(())
}

/// Opens a desk for each line, until there can be no more of them.
async fn each<F: Fn()>(mut lines: mpsc::Receiver<Line>, metrics: &Metrics, revoked: &Rc<F>) {
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = open.next(), if !open.is_empty() => {}
            line = lines.recv() => match line {
                Some(line) => {
                    let desk = Desk {
                        metrics: metrics.clone(),
                        told: BTreeMap::new(),
                        revoked: Rc::clone(revoked),
                    };
                    open.push(desk.run(line));
                }
                None => return,
            },
        }
    }
}

/// Asks one responder.
struct Desk<F> {
    metrics: Metrics,
    told: BTreeMap<TrustName, (StatusTrouble, Instant)>,
    revoked: Rc<F>,
}

impl<F: Fn()> Desk<F> {
    async fn run(mut self, Line(mut questions): Line) {
        let resolver = Rc::new(Resolver::keeping(ADDRESSES));
        let mut under_way = FuturesUnordered::new();
        let mut is_open = true;
        loop {
            tokio::select! {
                Some((question, outcome)) = under_way.next(), if !under_way.is_empty() => {
                    self.settle(question, outcome);
                }
                question = questions.recv(), if is_open && under_way.len() < AT_ONCE => match question {
                    Some(question) => under_way.push(ask(question, Rc::clone(&resolver))),
                    None => is_open = false,
                },
                else => return,
            }
        }
    }

    fn settle(&mut self, question: Question, outcome: Result<LeafStanding, StatusTrouble>) {
        let trust = question.trust.as_str();
        let (verdict, name) = match outcome {
            Ok(standing) => {
                if self.told.remove(&question.trust).is_some() {
                    let place = &question.statuses.url().place;
                    tracing::info!("{place}: the responder vouches for clients again");
                }
                match standing {
                    LeafStanding::Good => (Ok(()), "good"),
                    LeafStanding::Refused(refusal) => (Err(refusal), "revoked"),
                    LeafStanding::Open => (Err(ChainRefusal::StatusUnavailable), "failed"),
                }
            }
            Err(trouble) => {
                let refusal = trouble.refusal();
                let now = unix_now().cast_signed();
                question.statuses.failed(&question.link, refusal, now);
                let name = trouble.outcome();
                self.tell(&question, trouble);
                (Err(refusal), name)
            }
        };
        self.metrics.ocsp_question(trust, name);
        question.answered(verdict);
        if verdict == Err(ChainRefusal::Revoked) {
            (self.revoked)();
        }
    }

    fn tell(&mut self, question: &Question, trouble: StatusTrouble) {
        let is_known = self.told.get(&question.trust).is_some_and(|(told, at)| {
            discriminant(told) == discriminant(&trouble) && at.elapsed() < AGAIN
        });
        if is_known {
            return;
        }
        tracing::warn!(
            hint = trouble.hint(),
            "{}: the status of a client's certificate was not had: {trouble}; it is refused",
            question.statuses.url().place,
        );
        self.told
            .insert(question.trust.clone(), (trouble, Instant::now()));
    }
}

/// Asks once.
async fn ask(
    question: Question,
    resolver: Rc<Resolver>,
) -> (Question, Result<LeafStanding, StatusTrouble>) {
    let outcome = exchange(&question, &resolver).await;
    (question, outcome)
}

async fn exchange(question: &Question, resolver: &Resolver) -> Result<LeafStanding, StatusTrouble> {
    let Question {
        statuses,
        issuer,
        link,
        ..
    } = question;
    let Some(words) = Statuses::question(issuer, link) else {
        return Err(StatusTrouble::Unaskable);
    };
    let url = &statuses.url().value;
    let answer = exchange::post(url, Bytes::from(words), PATIENCE, resolver)
        .await
        .map_err(StatusTrouble::Exchange)?;
    statuses
        .put(&answer, issuer, link, Timestamp::now())
        .map_err(StatusTrouble::Answer)
}
