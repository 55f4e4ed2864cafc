//! How long what is in a log is kept, judged from what the log itself says.
//!
//! ```text
//! retention     a start says how long each class is kept       from then on
//! epoch_key     a month of a class begins                      is promised the period in force
//! hold          somebody holds months, or lets them go         nothing of them is destroyed meanwhile
//! destruction   the keys of an epoch are destroyed             not before the promise ends
//! ```
//!
//! An epoch is kept from the end of its month for the longest of what was in force when one of its keys
//! was drawn, and what is in force now: a period can be made longer for what is there, and shorter only for
//! what comes. Where the log says nothing it is [`YEARS`].
//!
//! Pure: entries and times come as arguments. Whoever destroys asks [`Keeping::judge`], and `verify` holds
//! each destruction against the same rules. Fails closed: of a log that says more than there is room for,
//! nothing may be destroyed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::event::{By, Destruction, Event, Hold, Retention, Time};
use crate::seal::epoch::{Class, Epoch};

/// How many years a record is kept where nothing says more: 45 CFR 164.316(b)(2)(i).
pub const YEARS: u16 = 6;

/// Whether what was written at `time` may be gone at `now` where nothing was said of periods. Of something
/// younger a report does not take it for granted that its key was destroyed in order.
#[must_use]
pub fn is_old(time: Time, now: Time) -> bool {
    Classes::default()
        .iter()
        .all(|(class, years)| Epoch::at(time, class.clone()).ends_after(years) <= now)
}

/// No period is longer, years.
pub const MOST_YEARS: u16 = 100;

/// The class of whatever has no other.
pub const STANDARD: &str = "standard";

/// No log is written in more classes than this.
pub const MOST_CLASSES: usize = 8;

/// So many epochs, and so many holds, are accounted for.
const MOST: usize = 16 * 1024;

/// How long what is written is kept, and what belongs to which class.
#[derive(Debug, Clone)]
pub struct Classes {
    /// Each class, with its years. The first one is [`STANDARD`].
    kept: Vec<(Class, u16)>,
    /// The class of routes that have another one, as an index.
    routes: HashMap<Box<str>, usize>,
}

impl Default for Classes {
    fn default() -> Classes {
        let standard = STANDARD.parse().expect("the class has the form of one");
        Classes {
            kept: vec![(standard, YEARS)],
            routes: HashMap::new(),
        }
    }
}

impl Classes {
    /// So long for each class; those that are not named among them are kept [`YEARS`]. `routes` are those
    /// that have a class of their own.
    ///
    /// # Errors
    /// [`ClassesError`].
    pub fn new(
        years: impl IntoIterator<Item = (Class, u16)>,
        routes: impl IntoIterator<Item = (Box<str>, Class)>,
    ) -> Result<Classes, ClassesError> {
        let mut classes = Classes::default();
        for (class, years) in years {
            if years == 0 || years > MOST_YEARS {
                return Err(ClassesError::Years { years });
            }
            let at = classes.index(class)?;
            classes.kept[at].1 = years;
        }
        for (route, class) in routes {
            let at = classes.index(class)?;
            classes.routes.insert(route, at);
        }
        Ok(classes)
    }

    /// Each class with its years, [`STANDARD`] first.
    pub fn iter(&self) -> impl Iterator<Item = (&Class, u16)> {
        self.kept.iter().map(|(class, years)| (class, *years))
    }

    /// Which of them an event belongs to.
    pub(crate) fn of(&self, event: &Event<'_>) -> usize {
        if self.routes.is_empty() {
            return 0;
        }
        let route = event.request().and_then(|request| request.route);
        let class = route.and_then(|route| self.routes.get(route));
        class.copied().unwrap_or(0)
    }

    /// The routes of `other`, in our classes. A class that we do not have is the standard one: what is new is
    /// in force from the next start on.
    #[must_use]
    pub(crate) fn with_routes_of(&self, other: &Classes) -> Classes {
        let ours = |at: &usize| {
            let (class, _) = &other.kept[*at];
            self.kept.iter().position(|(own, _)| own == class)
        };
        let routes = other.routes.iter();
        Classes {
            kept: self.kept.clone(),
            routes: routes
                .filter_map(|(route, at)| Some((route.clone(), ours(at)?)))
                .collect(),
        }
    }

    fn index(&mut self, class: Class) -> Result<usize, ClassesError> {
        if let Some(at) = self.kept.iter().position(|(known, _)| *known == class) {
            return Ok(at);
        }
        if self.kept.len() >= MOST_CLASSES {
            return Err(ClassesError::TooMany);
        }
        self.kept.push((class, YEARS));
        Ok(self.kept.len() - 1)
    }
}

/// Why there are no such classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassesError {
    /// More than [`MOST_CLASSES`].
    TooMany,
    /// Not from one year to [`MOST_YEARS`].
    Years {
        /// How many.
        years: u16,
    },
}

impl fmt::Display for ClassesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClassesError::TooMany => write!(f, "more than {MOST_CLASSES} classes of retention"),
            ClassesError::Years { years } => {
                write!(f, "{years} years are not from 1 to {MOST_YEARS}")
            }
        }
    }
}

impl std::error::Error for ClassesError {}

/// What a log says of how long it is kept.
#[derive(Debug, Clone, Default)]
pub struct Keeping {
    in_force: BTreeMap<Class, u16>,
    epochs: BTreeMap<Epoch, Life>,
    holds: BTreeMap<String, Held>,
    /// An epoch of the latest month that any key was drawn in.
    latest: Option<Epoch>,
    /// The destruction whose epoch was due last: the entry, the epoch, and when it was due.
    last_due: Option<(u64, Epoch, Time)>,
    /// Whether there was more than there is room for.
    is_too_much: bool,
}

/// What a log says of an epoch.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// The longest period that was in force when one of its keys was drawn, years.
    promised: u16,
    /// The month that it counts from: its own, or a later one that the log had seen before.
    from: Option<Epoch>,
    /// How many keys the log told of.
    pub keys: u64,
    /// How it ended, if it did.
    pub end: Option<End>,
}

impl Life {
    /// Whether its keys are gone.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.done)
    }
}

/// How an epoch ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Whether its keys are gone; else they were about to be.
    pub done: bool,
    /// When that was said.
    pub at: Time,
    /// By whom.
    pub by: By,
    /// Why, in the operator's words.
    pub reason: String,
}

/// A hold that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The first month, `2026-11`.
    pub from: Option<String>,
    /// The last month.
    pub to: Option<String>,
    /// Since when.
    pub since: Time,
    /// By whom.
    pub by: By,
    /// Why, in the operator's words.
    pub reason: String,
}

impl Held {
    fn covers(&self, month: &str) -> bool {
        // Years have four digits, so the order of the letters is that of time.
        self.from.as_deref().is_none_or(|from| from <= month)
            && self.to.as_deref().is_none_or(|to| month <= to)
    }
}

/// Why the keys of an epoch must not be destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forbidden {
    /// Its time is not over.
    Early {
        /// When it is.
        due: Time,
    },
    /// Somebody holds it.
    Held {
        /// The name of the hold.
        name: String,
    },
    /// It was not said before that they are about to be.
    Unannounced,
    /// The log does not know the epoch.
    Unknown,
    /// The log says more of epochs and holds than can be accounted for.
    TooMuch,
}

impl Keeping {
    /// Takes what the entry with this number says. Returns what it does that it must not.
    pub fn take(&mut self, sequence: u64, time: Time, event: &Event<'_>) -> Option<Forbidden> {
        match event {
            Event::Retention(retention) => self.state(retention),
            Event::EpochKey(key) => {
                if let Ok(epoch) = key.epoch.parse() {
                    self.begin(epoch);
                }
            }
            Event::Hold(hold) => self.hold(time, hold),
            Event::Destruction(end) => return self.end(sequence, time, end),
            _ => {}
        }
        None
    }

    /// Holds the time of a later entry against those of destructions: whether one of them went by a clock
    /// that was ahead, so that what was destroyed was not due yet. Each is told once; a day of it is let pass.
    pub fn was_ahead(&mut self, time: Time) -> Option<(u64, Epoch, Time)> {
        const DAY: u64 = 86_400_000_000_000;
        self.last_due
            .take_if(|(_, _, due)| time.0.saturating_add(DAY) < due.0)
    }

    /// The epochs, in their order.
    pub fn epochs(&self) -> impl Iterator<Item = (&Epoch, &Life)> {
        self.epochs.iter()
    }

    /// The holds that stand, in the order of their names.
    pub fn holds(&self) -> impl Iterator<Item = (&str, &Held)> {
        self.holds.iter().map(|(name, held)| (name.as_str(), held))
    }

    /// From when on the keys of an epoch may be destroyed, holds aside.
    #[must_use]
    pub fn due(&self, epoch: &Epoch) -> Time {
        let life = self.epochs.get(epoch);
        let promised = life.map(|life| life.promised);
        let in_force = self.in_force.get(epoch.class()).copied();
        let years = promised.max(in_force).unwrap_or(YEARS);
        let from = life.and_then(|life| life.from.as_ref());
        from.unwrap_or(epoch).ends_after(years)
    }

    /// The hold that covers an epoch, if one does.
    #[must_use]
    pub fn held(&self, epoch: &Epoch) -> Option<&str> {
        let month = epoch.month();
        let mut holds = self.holds.iter();
        let found = holds.find(|(_, held)| held.covers(&month));
        found.map(|(name, _)| name.as_str())
    }

    /// Whether the keys of an epoch may be destroyed at `now`.
    ///
    /// # Errors
    /// [`Forbidden`].
    pub fn judge(&self, epoch: &Epoch, now: Time) -> Result<(), Forbidden> {
        if self.is_too_much {
            return Err(Forbidden::TooMuch);
        }
        if !self.epochs.contains_key(epoch) {
            return Err(Forbidden::Unknown);
        }
        let due = self.due(epoch);
        if now < due {
            return Err(Forbidden::Early { due });
        }
        match self.held(epoch) {
            Some(name) => Err(Forbidden::Held {
                name: name.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// The classes that are written to, with their years.
    pub fn in_force(&self) -> impl Iterator<Item = (&Class, u16)> {
        self.in_force.iter().map(|(class, years)| (class, *years))
    }

    /// How an epoch ended, or was about to.
    #[must_use]
    pub fn end_of(&self, epoch: &Epoch) -> Option<&End> {
        self.epochs.get(epoch)?.end.as_ref()
    }

    fn state(&mut self, retention: &Retention<'_>) {
        self.in_force.clear();
        for kept in retention.classes.iter().take(MOST_CLASSES) {
            if let Ok(class) = kept.class.parse() {
                self.in_force.insert(class, kept.years.max(1));
            }
        }
        self.is_too_much |= retention.classes.len() > MOST_CLASSES;
    }

    fn begin(&mut self, epoch: Epoch) {
        if self.epochs.len() >= MOST && !self.epochs.contains_key(&epoch) {
            self.is_too_much = true;
            return;
        }
        let in_force = self.in_force.get(epoch.class()).copied().unwrap_or(YEARS);
        // Who sets the clock back does not make what is written now due: it counts from the latest month.
        let latest = match &self.latest {
            Some(latest) => epoch.clone().not_before(latest),
            None => epoch.clone(),
        };
        self.latest = Some(latest.clone());
        let life = self.epochs.entry(epoch).or_default();
        life.from = Some(match life.from.take() {
            Some(from) => from.not_before(&latest),
            None => latest,
        });
        life.promised = life.promised.max(in_force);
        life.keys += 1;
        // A clock that was set back begins a month anew.
        life.end = None;
    }

    fn hold(&mut self, since: Time, hold: &Hold<'_>) {
        if !hold.placed {
            self.holds.remove(hold.name);
            return;
        }
        if self.holds.len() >= MOST && !self.holds.contains_key(hold.name) {
            self.is_too_much = true;
            return;
        }
        let mut held = Held {
            from: hold.from.map(str::to_owned),
            to: hold.to.map(str::to_owned),
            since,
            by: hold.by,
            reason: hold.reason.to_owned(),
        };
        // A name that is given twice covers both: nothing is released in passing.
        if let Some(before) = self.holds.get(hold.name) {
            held.from = before.from.clone().min(held.from);
            held.to = match (before.to.clone(), held.to) {
                (Some(before), Some(to)) => Some(before.max(to)),
                _ => None,
            };
        }
        self.holds.insert(hold.name.to_owned(), held);
    }

    fn end(&mut self, sequence: u64, at: Time, end: &Destruction<'_>) -> Option<Forbidden> {
        let Ok(epoch) = end.epoch.parse() else {
            return Some(Forbidden::Unknown);
        };
        // What was announced in order may be carried out, whatever is promised or held since.
        let forbidden = match self.end_of(&epoch) {
            Some(_) if end.done => None,
            None if end.done && self.epochs.contains_key(&epoch) => Some(Forbidden::Unannounced),
            _ => self.judge(&epoch, at).err(),
        };
        let due = self.due(&epoch);
        if forbidden.is_none()
            && self
                .last_due
                .as_ref()
                .is_none_or(|(_, _, last)| *last < due)
        {
            self.last_due = Some((sequence, epoch.clone(), due));
        }
        // It happened, whether it may or not.
        if let Some(life) = self.epochs.get_mut(&epoch) {
            life.end = Some(End {
                done: end.done,
                at,
                by: end.by,
                reason: end.reason.to_owned(),
            });
        }
        forbidden
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Forbidden::Early { due } => write!(f, "it is to be kept until {due}"),
            Forbidden::Held { name } => write!(f, "it is held by {}", name.escape_debug()),
            Forbidden::Unannounced => f.write_str("it was not said before that it is about to be"),
            Forbidden::Unknown => f.write_str("the log knows no such month and class"),
            Forbidden::TooMuch => {
                f.write_str("the log tells of more epochs and holds than can be accounted for")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{self, Digest, EpochKey};
    use proptest::prelude::*;

    const BY: By = By {
        uid: 1000,
        login_uid: None,
        served: false,
    };

    fn stated(classes: &[(&'static str, u16)]) -> Event<'static> {
        let kept = |(class, years): &(&'static str, u16)| event::Kept {
            class,
            years: *years,
        };
        let classes = classes.iter().map(kept).collect();
        Event::Retention(Retention { classes })
    }

    fn key(epoch: &str) -> Event<'_> {
        Event::EpochKey(EpochKey {
            epoch,
            key: "5d0c7f3a9b21e604",
            record: Digest::of(b""),
            readers: Vec::new(),
        })
    }

    fn hold<'a>(name: &'a str, from: Option<&'a str>, to: Option<&'a str>) -> Event<'a> {
        Event::Hold(Hold {
            name,
            placed: true,
            from,
            to,
            reason: "a case",
            by: BY,
        })
    }

    fn released(name: &str) -> Event<'_> {
        Event::Hold(Hold {
            name,
            placed: false,
            from: None,
            to: None,
            reason: "over",
            by: BY,
        })
    }

    fn end(epoch: &str, done: bool) -> Event<'_> {
        Event::Destruction(Destruction {
            epoch,
            done,
            keys: 1,
            digest: Digest::of(b""),
            reason: "due",
            by: BY,
        })
    }

    fn keeping(events: &[Event<'_>]) -> Keeping {
        let mut keeping = Keeping::default();
        for event in events {
            assert_eq!(keeping.take(0, Time(0), event), None);
        }
        keeping
    }

    fn at(text: &str) -> Time {
        let at: jiff::Timestamp = text.parse().unwrap();
        Time(u64::try_from(at.as_nanosecond()).unwrap())
    }

    fn epoch(text: &str) -> Epoch {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_is_kept_six_years_from_its_end_where_nothing_says_more() {
        let keeping = keeping(&[key("2020-02/standard")]);
        let epoch = epoch("2020-02/standard");
        assert_eq!(keeping.due(&epoch), at("2026-03-01T00:00:00Z"));
        let early = keeping.judge(&epoch, at("2026-02-28T23:59:59Z"));
        assert!(matches!(early, Err(Forbidden::Early { .. })));
        assert_eq!(keeping.judge(&epoch, at("2026-03-01T00:00:00Z")), Ok(()));
    }

    #[test]
    fn what_was_promised_is_not_made_shorter_and_can_be_made_longer() {
        let longer = keeping(&[
            stated(&[("standard", 6)]),
            key("2020-02/standard"),
            stated(&[("standard", 10)]),
            key("2020-03/standard"),
            stated(&[("standard", 3)]),
            key("2020-04/standard"),
        ]);
        let due = |text| longer.due(&epoch(text));
        assert_eq!(due("2020-02/standard"), at("2026-03-01T00:00:00Z"));
        assert_eq!(due("2020-03/standard"), at("2030-04-01T00:00:00Z"));
        assert_eq!(due("2020-04/standard"), at("2023-05-01T00:00:00Z"));
        let now = keeping(&[key("2020-02/standard"), stated(&[("standard", 10)])]);
        let due = now.due(&epoch("2020-02/standard"));
        assert_eq!(due, at("2030-03-01T00:00:00Z"));
    }

    #[test]
    fn a_month_in_which_the_period_changed_is_kept_for_the_longest() {
        let keeping = keeping(&[
            stated(&[("standard", 9)]),
            key("2020-02/standard"),
            stated(&[("standard", 2)]),
            key("2020-02/standard"),
        ]);
        let due = keeping.due(&epoch("2020-02/standard"));
        assert_eq!(due, at("2029-03-01T00:00:00Z"));
    }

    #[test]
    fn classes_of_a_month_end_each_at_its_own_time() {
        let keeping = keeping(&[
            stated(&[("standard", 6), ("research", 15)]),
            key("2020-02/standard"),
            key("2020-02/research"),
        ]);
        let now = at("2026-03-01T00:00:00Z");
        assert_eq!(keeping.judge(&epoch("2020-02/standard"), now), Ok(()));
        assert!(keeping.judge(&epoch("2020-02/research"), now).is_err());
        let other = keeping.judge(&epoch("2020-02/other"), now);
        assert_eq!(other, Err(Forbidden::Unknown));
    }

    #[test]
    fn what_is_held_is_not_destroyed_until_every_hold_on_it_is_released() {
        let now = at("2040-01-01T00:00:00Z");
        let mut keeping = keeping(&[
            key("2020-02/standard"),
            key("2020-05/standard"),
            hold("one", Some("2020-01"), Some("2020-03")),
            hold("two", None, Some("2020-02")),
        ]);
        let (early, late) = (epoch("2020-02/standard"), epoch("2020-05/standard"));
        assert_eq!(keeping.judge(&late, now), Ok(()));
        for name in ["one", "two"] {
            let held = keeping.judge(&early, now);
            assert_eq!(held, Err(Forbidden::Held { name: name.into() }));
            keeping.take(0, now, &released(name));
        }
        assert_eq!(keeping.judge(&early, now), Ok(()));
        keeping.take(0, now, &hold("all", None, None));
        assert!(keeping.judge(&late, now).is_err());
    }

    #[test]
    fn a_hold_that_is_placed_again_under_its_name_covers_what_it_did() {
        let both = keeping(&[
            hold("case", Some("2020-03"), Some("2020-05")),
            hold("case", Some("2020-08"), Some("2020-09")),
        ]);
        let held = |month: &str| both.held(&epoch(&format!("{month}/standard"))).is_some();
        assert!(!held("2020-02") && held("2020-03") && held("2020-09") && !held("2020-10"));
        let open = keeping(&[
            hold("case", None, None),
            hold("case", Some("2020-08"), None),
        ]);
        assert!(open.held(&epoch("1999-01/standard")).is_some());
    }

    #[test]
    fn a_destruction_that_must_not_be_is_told() {
        let now = at("2040-01-01T00:00:00Z");
        let epoch = "2020-02/standard";
        let taken =
            |events: &[Event<'_>], at: Time, event: &Event<'_>| keeping(events).take(0, at, event);
        assert_eq!(taken(&[key(epoch)], now, &end(epoch, false)), None);
        let early = taken(
            &[key(epoch)],
            at("2021-01-01T00:00:00Z"),
            &end(epoch, false),
        );
        assert!(matches!(early, Some(Forbidden::Early { .. })));
        let held = [key(epoch), hold("case", None, None)];
        let held = taken(&held, now, &end(epoch, false));
        assert!(matches!(held, Some(Forbidden::Held { .. })));
        let sudden = taken(&[key(epoch)], now, &end(epoch, true));
        assert_eq!(sudden, Some(Forbidden::Unannounced));
        let unknown = taken(&[], now, &end(epoch, false));
        assert_eq!(unknown, Some(Forbidden::Unknown));
        let mut told = keeping(&[key(epoch)]);
        assert_eq!(told.take(0, now, &end(epoch, false)), None);
        assert_eq!(told.take(0, now, &end(epoch, true)), None);
        assert!(told.end_of(&epoch.parse().unwrap()).unwrap().done);
    }

    #[test]
    fn a_clock_that_was_ahead_when_keys_were_destroyed_shows_by_what_comes_behind() {
        let epoch = "2024-02/standard";
        let mut keeping = keeping(&[key(epoch)]);
        let ahead = at("2040-01-01T00:00:00Z");
        assert_eq!(keeping.take(7, ahead, &end(epoch, false)), None);
        assert_eq!(keeping.take(8, ahead, &end(epoch, true)), None);
        assert_eq!(keeping.was_ahead(at("2030-03-01T00:00:00Z")), None);
        let told = keeping.was_ahead(at("2026-01-01T00:00:00Z"));
        assert!(matches!(told, Some((7, of, _)) if of.to_string() == epoch));
        assert_eq!(
            keeping.was_ahead(at("2026-01-01T00:00:00Z")),
            None,
            "told once"
        );
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_due() {
        let back = keeping(&[key("2026-11/standard"), key("2019-05/standard")]);
        let due = back.due(&epoch("2019-05/standard"));
        assert_eq!(due, at("2032-12-01T00:00:00Z"));
        let forth = keeping(&[key("2019-05/standard"), key("2026-11/standard")]);
        let due = forth.due(&epoch("2019-05/standard"));
        assert_eq!(due, at("2025-06-01T00:00:00Z"));
    }

    #[test]
    fn what_was_announced_in_order_may_be_carried_out() {
        let now = at("2040-01-01T00:00:00Z");
        let mut told = keeping(&[key("2020-02/standard")]);
        assert_eq!(told.take(0, now, &end("2020-02/standard", false)), None);
        told.take(0, now, &stated(&[("standard", 100)]));
        told.take(0, now, &hold("case", None, None));
        assert_eq!(told.take(0, now, &end("2020-02/standard", true)), None);
    }

    #[test]
    fn of_a_log_with_too_many_holds_nothing_is_destroyed() {
        let mut keeping = keeping(&[key("2020-02/standard")]);
        let names: Vec<_> = (0..=MOST).map(|number| number.to_string()).collect();
        for name in &names {
            keeping.take(0, Time(0), &hold(name, Some("2025-01"), None));
        }
        let judged = keeping.judge(&epoch("2020-02/standard"), Time(u64::MAX));
        assert_eq!(judged, Err(Forbidden::TooMuch));
    }

    #[test]
    fn an_event_is_of_the_class_of_its_route() {
        let research: Class = "research".parse().unwrap();
        let classes = Classes::new(
            [(research.clone(), 15)],
            [("studies".into(), research.clone())],
        )
        .unwrap();
        let years: Vec<_> = classes
            .iter()
            .map(|(class, years)| (class.to_string(), years))
            .collect();
        assert_eq!(
            years,
            [("standard".to_owned(), 6), ("research".to_owned(), 15)]
        );
        assert_eq!(classes.of(&key("2020-02/standard")), 0);
        let none = Classes::new([(research, 0)], []);
        assert_eq!(none.unwrap_err(), ClassesError::Years { years: 0 });
        let many = (0..MOST_CLASSES).map(|n| (format!("c{n}").parse().unwrap(), 6));
        assert_eq!(Classes::new(many, []).unwrap_err(), ClassesError::TooMany);
    }

    proptest! {
        /// Whatever a log says, later words never bring an end nearer than a promise.
        #[test]
        fn a_promise_holds(first in 1..=100u16, later in prop::collection::vec(1..=100u16, 0..6)) {
            let mut keeping = keeping(&[stated(&[("standard", first)]), key("2020-02/standard")]);
            let epoch = epoch("2020-02/standard");
            let promised = keeping.due(&epoch);
            for years in later {
                keeping.take(0, Time(0), &stated(&[("standard", years)]));
                prop_assert!(keeping.due(&epoch) >= promised);
            }
        }
    }
}
