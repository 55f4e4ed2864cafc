//! Every request that concerns a patient, each once, with all its records.
//!
//! The index leads to the records that it knows, the log itself tells what came behind it. Without an index
//! that can be used the whole log is read. Either way the records themselves are what is told. A request
//! is in when one of its records, within the window, names the patient; all its records are then told.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use crate::event::{Id, Time};
use crate::exchange::Exchange;
use crate::index::{self, FindError, Index, Unusable};
use crate::keeping::is_old;
use crate::opened::{Content, Item, Walk, WalkError, take_links};
use crate::read::Reader;
use crate::select::{Facts, Filter, Names, SelectError};
use crate::unseal::Unsealer;

/// No report holds more requests.
pub const MOST: usize = 200_000;

/// So often what came behind the index is read for links that lead on.
const ROUNDS: usize = 64;

/// Of whom, and when.
#[derive(Debug)]
pub struct Asked {
    /// The patient.
    pub names: Names,
    /// Not before.
    pub since: Option<Time>,
    /// Before.
    pub until: Option<Time>,
    /// Whether an index may be used.
    pub index: bool,
}

/// What was found.
#[derive(Debug)]
pub struct Exchanges {
    /// The patient's names, those that are linked included.
    pub names: Names,
    /// In the order of the log.
    pub list: Vec<Exchange>,
    /// How many entries the log has.
    pub entries: u64,
    /// Entries that are sealed to others: they may be about the patient.
    pub closed: u64,
    /// Entries that are not what an entry is.
    pub wrong: u64,
    /// How the log was read.
    pub read: Read,
}

/// How the log was read.
#[derive(Debug)]
pub enum Read {
    /// With the index, and from its end on.
    Index {
        /// Entries that were read behind it.
        behind: u64,
    },
    /// As a whole.
    Whole {
        /// Why the index was not used, unless nobody wanted it to be.
        why: Option<WhyNot>,
    },
}

/// Why an index was not used.
#[derive(Debug)]
pub enum WhyNot {
    /// It is not to be used.
    Unusable(Unusable),
    /// It did not lead to what it says.
    Find(FindError),
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhyNot::Unusable(error) => error.fmt(f),
            WhyNot::Find(error) => error.fmt(f),
        }
    }
}

/// Collects the requests of the log in `directory`, which may be written to meanwhile.
///
/// # Errors
/// [`CollectError`]; nothing is told then.
pub fn collect(
    directory: &Path,
    unsealer: Unsealer,
    asked: &Asked,
) -> Result<Exchanges, CollectError> {
    let mut why = None;
    let mut walk = if asked.index {
        match Index::open(directory, &unsealer) {
            Ok(index) => {
                let walk = Walk::new(directory, unsealer);
                let mut gather = Gather::new(directory, asked, Some(&index), walk);
                match gather.run() {
                    Ok(()) => return Ok(gather.end()),
                    // Too much is too much with any index, and a log that cannot be read stays so.
                    Err(CollectError::Find(error)) => why = Some(WhyNot::Find(error)),
                    Err(error) => return Err(error),
                }
                gather.walk
            }
            Err(unusable) => {
                why = Some(WhyNot::Unusable(unusable));
                Walk::new(directory, unsealer)
            }
        }
    } else {
        Walk::new(directory, unsealer)
    };
    walk.stand(Reader::new(directory), 0);
    let mut gather = Gather::new(directory, asked, None, walk);
    gather.run()?;
    let mut found = gather.end();
    found.read = Read::Whole { why };
    Ok(found)
}

struct Gather<'a> {
    directory: &'a Path,
    index: Option<&'a Index>,
    walk: Walk,
    gathered: Gathered,
}

/// What came of it so far.
struct Gathered {
    names: Names,
    /// The window alone.
    window: Filter,
    found: BTreeMap<Id, Told>,
    behind: u64,
    closed: u64,
    wrong: u64,
}

/// A request that is asked for.
#[derive(Default)]
struct Told {
    exchange: Option<Exchange>,
    /// Whether one of its records is what brought it in.
    is_asked_for: bool,
}

impl<'a> Gather<'a> {
    fn new(directory: &'a Path, asked: &Asked, index: Option<&'a Index>, walk: Walk) -> Gather<'a> {
        Gather {
            directory,
            index,
            walk,
            gathered: Gathered {
                names: asked.names.clone(),
                window: Filter {
                    since: asked.since,
                    until: asked.until,
                    ..Filter::default()
                },
                found: BTreeMap::new(),
                behind: 0,
                closed: 0,
                wrong: 0,
            },
        }
    }

    fn run(&mut self) -> Result<(), CollectError> {
        self.follow()?;
        self.find()?;
        if let Some(index) = self.index {
            let requests: Vec<Id> = self.gathered.found.keys().copied().collect();
            for sequence in index.sequences(&requests)? {
                index.stand(self.directory, sequence, &mut self.walk)?;
                let item = index::found(&mut self.walk, sequence)?;
                self.gathered.tell(&item);
            }
        }
        self.pass_behind(|gather, item| {
            gather.tell(item);
            match &item.content {
                Content::Entry(_) => {}
                Content::Closed(_) => gather.closed += 1,
                Content::Gone(header)
                    if is_old(header.time, Time::from_system(SystemTime::now())) => {}
                Content::Gone(_) => gather.closed += 1,
                Content::Wrong(_) => gather.wrong += 1,
            }
            gather.behind += 1;
            Ok(())
        })?;
        // What the index said of a request has to stand in its records.
        let is_true = |told: &Told| told.exchange.is_some() && told.is_asked_for;
        if self.gathered.found.values().all(is_true) {
            Ok(())
        } else {
            Err(FindError::Untrue.into())
        }
    }

    /// Finds all names of the patient.
    fn follow(&mut self) -> Result<(), CollectError> {
        if !self.gathered.names.is_linked() {
            return Ok(());
        }
        for _ in 0..ROUNDS {
            if let Some(index) = self.index {
                index.follow(&mut self.gathered.names)?;
            }
            let before = self.gathered.names.iter().len();
            self.pass_behind(|gather, item| {
                take_links(&mut gather.names, item).map_err(CollectError::Names)?;
                Ok(())
            })?;
            if self.gathered.names.iter().len() == before {
                return Ok(());
            }
        }
        Err(CollectError::Names(SelectError::TooManyNames))
    }

    /// Finds all requests that concern the patient.
    fn find(&mut self) -> Result<(), CollectError> {
        let (since, until) = (self.gathered.window.since, self.gathered.window.until);
        if let Some(index) = self.index {
            let found = &mut self.gathered.found;
            index.requests(&self.gathered.names, since, until, &mut |request| {
                found.insert(request, Told::default());
                found.len() <= MOST
            })?;
        }
        self.pass_behind(|gather, item| {
            if let Content::Entry(entry) = &item.content {
                let facts = Facts::of(&entry.event);
                if let (Some(request), Some(subjects)) = (facts.request, facts.subjects)
                    && gather.names.touches(subjects)
                    && gather.window.is_within(entry.time)
                    && gather.found.len() <= MOST
                {
                    gather.found.entry(request).or_default();
                }
            }
            Ok(())
        })?;
        if self.gathered.found.len() > MOST {
            return Err(CollectError::TooMany);
        }
        Ok(())
    }

    /// Hands on each item behind the index; without one, each item of the log.
    fn pass_behind(
        &mut self,
        mut each: impl FnMut(&mut Gathered, &Item<'_>) -> Result<(), CollectError>,
    ) -> Result<(), CollectError> {
        let (reader, from) = match self.index {
            Some(index) => {
                let reader = index.behind(self.directory)?.ok_or(FindError::Untrue)?;
                (reader, index.next())
            }
            None => (Reader::new(self.directory), 0),
        };
        self.walk.stand(reader, from);
        while let Some(item) = self.walk.step()? {
            each(&mut self.gathered, &item)?;
        }
        Ok(())
    }

    fn end(self) -> Exchanges {
        let (closed, wrong) = self.index.map_or((0, 0), Index::untold);
        let told = self.gathered.found.into_values();
        let mut list: Vec<_> = told.filter_map(|told| told.exchange).collect();
        list.sort_by_key(|exchange| exchange.first);
        Exchanges {
            names: self.gathered.names,
            list,
            entries: self.walk.sequence(),
            closed: closed + self.gathered.closed,
            wrong: wrong + self.gathered.wrong,
            read: Read::Index {
                behind: self.gathered.behind,
            },
        }
    }
}

impl Gathered {
    /// Takes in an item, if it is of a request that is asked for.
    fn tell(&mut self, item: &Item<'_>) {
        let Content::Entry(entry) = &item.content else {
            return;
        };
        let Some(request) = entry.event.request() else {
            return;
        };
        let Some(told) = self.found.get_mut(&request.request_id) else {
            return;
        };
        let subjects = request.subjects.as_ref();
        let names_them = subjects.is_some_and(|subjects| self.names.touches(subjects));
        told.is_asked_for |= names_them && self.window.is_within(entry.time);
        told.exchange
            .get_or_insert_with(|| Exchange::new(item.sequence, entry.time, request))
            .take(item.sequence, entry.time, request, &entry.event);
    }
}

/// Why requests were not collected.
#[derive(Debug)]
pub enum CollectError {
    /// The log cannot be read to its end.
    Walk(WalkError),
    /// Too many names.
    Names(SelectError),
    /// Too many requests.
    TooMany,
    /// The index did not lead there.
    Find(FindError),
}

impl From<WalkError> for CollectError {
    fn from(error: WalkError) -> CollectError {
        CollectError::Walk(error)
    }
}

impl From<std::io::Error> for CollectError {
    fn from(error: std::io::Error) -> CollectError {
        CollectError::Walk(WalkError::Read(error))
    }
}

impl From<FindError> for CollectError {
    fn from(error: FindError) -> CollectError {
        match error {
            FindError::Names(error) => CollectError::Names(error),
            FindError::Read(error) => error.into(),
            FindError::Untrue | FindError::Sqlite(_) => CollectError::Find(error),
        }
    }
}
