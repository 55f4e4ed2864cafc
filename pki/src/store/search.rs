//! A search among a million: the exact number of matches, and the places of the first few.
//!
//! Neither engine answers every filter in time by one statement and the indexes that there are, so
//! each kind of filter has its way:
//!
//! - state and profile: the numbers are kept (`counts`), and an index for each kind holds its
//!   certificates in order, so that a page is a merge of a few beginnings;
//! - times: the index over notAfter counts; the page comes from it when there are few, else from
//!   the certificates in order, among which the next match is then never far;
//! - names: the names are asked first. When there are few, they are the answer; else they are
//!   counted, and the page comes from the names in order. Where a state or profile is wanted beside
//!   them that most have, those that have it not are counted off.

use std::ops::RangeInclusive;

use jiff::Timestamp;

use super::engine::{Engine, Value};
use super::{AuthorityId, Filter, IdFilter, Status, StatusFilter, StoreError, among};

/// Up to so many matches are taken as they come, and put in order here.
const FEW: usize = 10_000;

/// Up to so many certificates that are not wanted are asked for their names and counted off.
const COUNTED_OFF: u64 = 50_000;

/// How many certificates are asked for their names at once.
const ASKED_AT_ONCE: usize = 500;

/// What is searched for.
#[derive(Debug)]
pub(super) struct Search<'a> {
    scope: &'a [AuthorityId],
    status: Option<Status>,
    profile: Option<&'static str>,
    /// Of those that were issued, those whose notAfter is in this range.
    not_after: Option<RangeInclusive<i64>>,
    name: Option<&'a IdFilter>,
    /// Two filters exclude each other.
    impossible: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Matches {
    /// How many match in all.
    pub(super) total: u64,
    /// The places of the first of them, ascending.
    pub(super) ids: Vec<i64>,
}

/// Certificates of one issuer, profile and state.
#[derive(Debug)]
struct Kind {
    issuer: i64,
    profile: String,
    status: String,
    number: u64,
}

impl<'a> Search<'a> {
    pub(super) fn new(filter: &'a Filter, scope: &'a [AuthorityId], now: Timestamp) -> Self {
        let now = now.as_second();
        let mut status = None;
        let mut not_after = None;
        let mut impossible = false;
        match filter.status {
            None => {}
            Some(StatusFilter::Stored(stored)) => status = Some(stored),
            Some(StatusFilter::Expired) => {
                status = Some(Status::Issued);
                not_after = Some(0..=now.saturating_sub(1));
            }
        }
        if let Some(until) = filter.expires_by {
            // Not expired yet: with the other range nothing is left, and nothing with another state.
            impossible = not_after.is_some() || status.is_some_and(|it| it != Status::Issued);
            status = Some(Status::Issued);
            not_after = Some(now..=until.as_second());
        }
        Self {
            scope,
            status,
            profile: filter.profile.map(|profile| profile.name),
            not_after,
            name: filter.id.as_ref(),
            impossible,
        }
    }

    /// Counts, and gives the places of the first `limit` matches after `after`.
    pub(super) fn run(
        &self,
        engine: &Engine,
        after: i64,
        limit: usize,
    ) -> Result<Matches, StoreError> {
        if self.impossible {
            return Ok(Matches::default());
        }
        match (self.name, &self.not_after) {
            (Some(name), _) => self.by_name(engine, name, after, limit),
            (None, Some(range)) => self.by_time(engine, range, after, limit),
            (None, None) => self.by_kind(engine, after, limit),
        }
    }

    /// The kinds that match by state and profile.
    fn kinds(&self, engine: &Engine) -> Result<Vec<Kind>, StoreError> {
        let mut sql = format!(
            "SELECT issuer, profile, status, number FROM counts WHERE number > 0 AND {}",
            among(self.scope, "issuer")
        );
        let mut values: Vec<Value> = Vec::new();
        for (column, wanted) in [
            ("profile", self.profile),
            ("status", self.status.map(Status::as_str)),
        ] {
            if let Some(wanted) = wanted {
                values.push(wanted.into());
                sql += &[" AND ", column, " = ?", &values.len().to_string()].concat();
            }
        }
        engine
            .query(&sql, &values)?
            .iter()
            .map(|row| {
                Ok(Kind {
                    issuer: row.integer(0)?,
                    profile: row.text(1)?.to_owned(),
                    status: row.text(2)?.to_owned(),
                    number: row.integer(3)?.unsigned_abs(),
                })
            })
            .collect()
    }

    fn by_kind(&self, engine: &Engine, after: i64, limit: usize) -> Result<Matches, StoreError> {
        let mut matches = Matches::default();
        for kind in self.kinds(engine)? {
            matches.total += kind.number;
            let mut values = kind.values();
            values.extend([after.into(), rows(limit)]);
            matches.add(engine, PAGE_OF_KIND, &values)?;
        }
        Ok(matches.first(limit))
    }

    fn by_time(
        &self,
        engine: &Engine,
        range: &RangeInclusive<i64>,
        after: i64,
        limit: usize,
    ) -> Result<Matches, StoreError> {
        let kinds = self.kinds(engine)?;
        let mut matches = Matches::default();
        for kind in &kinds {
            let values = [
                kind.issuer.into(),
                kind.profile.as_str().into(),
                (*range.start()).into(),
                (*range.end()).into(),
            ];
            matches.total += engine.number(COUNT_BY_TIME, &values)?.unsigned_abs();
        }
        let few = matches.total <= FEW as u64;
        for kind in &kinds {
            let mut values = kind.values();
            values.extend([
                after.into(),
                rows(limit),
                (*range.start()).into(),
                (*range.end()).into(),
            ]);
            if few {
                values.remove(2);
            }
            matches.add(
                engine,
                if few { FEW_BY_TIME } else { MANY_BY_TIME },
                &values,
            )?;
        }
        Ok(matches.first(limit))
    }

    fn by_name(
        &self,
        engine: &Engine,
        name: &IdFilter,
        after: i64,
        limit: usize,
    ) -> Result<Matches, StoreError> {
        let (by_index, in_order, values) = conditions(name);
        let others = self.others(engine)?;
        if self.status.is_some() || self.profile.is_some() {
            let kinds = self.kinds(engine)?;
            if kinds.iter().map(|kind| kind.number).sum::<u64>() <= FEW as u64 {
                let condition = format!("{in_order} AND {others}");
                return of_few(engine, &kinds, &condition, &values, (after, limit));
            }
        }
        let sql = format!(
            "SELECT n.certificate FROM names AS n WHERE {by_index} AND {others} LIMIT {}",
            FEW + 1
        );
        let mut matches = Matches::default();
        matches.add(engine, &sql, &values)?;
        if matches.ids.len() <= FEW {
            matches.ids.sort_unstable();
            matches.ids.dedup();
            matches.total = matches.ids.len() as u64;
            matches.ids.retain(|&id| id > after);
            return Ok(matches.first(limit));
        }
        // To ask a million certificates for their state takes longer than to count off the others.
        let unwanted = self.unwanted(engine)?;
        let counted = match &unwanted {
            Some(_) => self.in_scope(engine)?,
            None => others.clone(),
        };
        // A certificate counts once: by its first name, or by another if that does not match.
        let counts = [
            format!(
                "SELECT count(*) FROM names AS n WHERE n.position = 0 AND {by_index} AND {counted}"
            ),
            format!(
                "SELECT count(DISTINCT n.certificate) FROM names AS n
                  WHERE n.position > 0 AND {by_index} AND {counted}
                    AND NOT EXISTS (SELECT 1 FROM names AS f WHERE f.certificate = n.certificate
                                       AND f.position = 0 AND {})",
                in_order.replace("n.value", "f.value")
            ),
        ];
        matches = Matches::default();
        for sql in counts {
            matches.total += engine.number(&sql, &values)?.unsigned_abs();
        }
        for kind in unwanted.into_iter().flatten() {
            let number = kind.number_named(engine, &in_order, &values)?;
            matches.total = matches.total.saturating_sub(number);
        }
        let sql = format!(
            "SELECT DISTINCT n.certificate FROM names AS n
              WHERE {in_order} AND {others} AND n.certificate > {after}
              ORDER BY n.certificate LIMIT {limit}"
        );
        matches.add(engine, &sql, &values)?;
        Ok(matches)
    }

    /// The kinds that do not match by state and profile, if they are few, and nothing else is wanted.
    fn unwanted(&self, engine: &Engine) -> Result<Option<Vec<Kind>>, StoreError> {
        if self.not_after.is_some() || (self.status.is_none() && self.profile.is_none()) {
            return Ok(None);
        }
        let any = Search {
            status: None,
            profile: None,
            not_after: None,
            ..*self
        };
        let mut kinds = any.kinds(engine)?;
        kinds.retain(|kind| {
            let has_status = self.status.is_none_or(|it| it.as_str() == kind.status);
            let has_profile = self.profile.is_none_or(|it| it == kind.profile);
            !(has_status && has_profile)
        });
        let number: u64 = kinds.iter().map(|kind| kind.number).sum();
        Ok((number <= COUNTED_OFF).then_some(kinds))
    }

    /// Whose certificates are wanted, as a condition on `n.certificate`.
    fn in_scope(&self, engine: &Engine) -> Result<String, StoreError> {
        let any = Search {
            status: None,
            profile: None,
            not_after: None,
            ..*self
        };
        any.others(engine)
    }

    /// What is wanted beside the name, as a condition on `n.certificate`.
    fn others(&self, engine: &Engine) -> Result<String, StoreError> {
        let mut terms = Vec::new();
        if !self.scope.is_empty() {
            let not_ours = format!("NOT ({})", among(self.scope, "id"));
            let sql = format!("SELECT count(*) FROM authorities WHERE {not_ours}");
            if engine.number(&sql, &[])? > 0 {
                terms.push(among(self.scope, "c.issuer"));
            }
        }
        // Words and numbers of ours, never of whoever asks.
        if let Some(profile) = self.profile {
            terms.push(format!("c.profile = '{profile}'"));
        }
        if let Some(status) = self.status {
            terms.push(format!("c.status = '{}'", status.as_str()));
        }
        if let Some(range) = &self.not_after {
            terms.push(format!(
                "c.not_after BETWEEN {} AND {}",
                range.start(),
                range.end()
            ));
        }
        if terms.is_empty() {
            return Ok("1 = 1".to_owned());
        }
        Ok(format!(
            "EXISTS (SELECT 1 FROM certificates AS c WHERE c.id = n.certificate AND {})",
            terms.join(" AND ")
        ))
    }
}

/// The matches among a few certificates, asked one by one for their names.
fn of_few(
    engine: &Engine,
    kinds: &[Kind],
    condition: &str,
    values: &[Value],
    (after, limit): (i64, usize),
) -> Result<Matches, StoreError> {
    let mut few = Matches::default();
    for kind in kinds {
        let mut values = kind.values();
        values.extend([0_i64.into(), rows(FEW)]);
        few.add(engine, PAGE_OF_KIND, &values)?;
    }
    let mut matches = Matches::default();
    for ids in few.ids.chunks(ASKED_AT_ONCE) {
        let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
        let sql = format!(
            "SELECT DISTINCT n.certificate FROM names AS n
              WHERE n.certificate IN ({}) AND {condition}",
            ids.join(", ")
        );
        matches.add(engine, &sql, values)?;
    }
    matches.total = matches.ids.len() as u64;
    matches.ids.retain(|&id| id > after);
    Ok(matches.first(limit))
}

/// The condition on a name twice: as an index serves it, and as it is seen on the names in order.
fn conditions(name: &IdFilter) -> (String, String, Vec<Value>) {
    match name {
        IdFilter::Contains(part) => (
            "instr(n.value, ?1) > 0".to_owned(),
            "instr(n.value, ?1) > 0".to_owned(),
            vec![part.as_str().into()],
        ),
        // Names are ASCII below DEL, so this range holds all that begin so.
        IdFilter::Prefix(prefix) => (
            "n.value >= ?1 AND n.value < ?2".to_owned(),
            "n.value || '' >= ?1 AND n.value || '' < ?2".to_owned(),
            vec![
                prefix.as_str().into(),
                [prefix.as_str(), "\x7f"].concat().into(),
            ],
        ),
    }
}

/// Served by `certificates_by_kind`, in order.
const PAGE_OF_KIND: &str = "SELECT id FROM certificates
      WHERE issuer = ?1 AND profile = ?2 AND status = ?3 AND id > ?4 ORDER BY id LIMIT ?5";

/// Served by `certificates_by_expiry`.
const COUNT_BY_TIME: &str = "SELECT count(*) FROM certificates
      WHERE issuer = ?1 AND profile = ?2 AND status = 'issued' AND not_after BETWEEN ?3 AND ?4";

/// Served by `certificates_by_expiry`, and sorted. The signs keep other indexes out.
const FEW_BY_TIME: &str = "SELECT id FROM certificates
      WHERE issuer = ?1 AND profile = ?2 AND status = 'issued' AND not_after BETWEEN ?5 AND ?6
        AND +id > ?3 ORDER BY +id LIMIT ?4";

/// Served by `certificates_by_kind`, in order: a state that comes as a parameter does not open the
/// index that holds one state.
const MANY_BY_TIME: &str = "SELECT id FROM certificates
      WHERE issuer = ?1 AND profile = ?2 AND status = ?3 AND id > ?4
        AND not_after BETWEEN ?6 AND ?7 ORDER BY id LIMIT ?5";

fn rows(limit: usize) -> Value {
    i64::try_from(limit).unwrap_or(i64::MAX).into()
}

impl Kind {
    /// How many of them have a name like this. `values` are those of the condition, and come first.
    fn number_named(
        &self,
        engine: &Engine,
        condition: &str,
        values: &[Value],
    ) -> Result<u64, StoreError> {
        let first = values.len() + 1;
        let sql = format!(
            "SELECT count(DISTINCT n.certificate)
               FROM certificates AS c JOIN names AS n ON n.certificate = c.id
              WHERE c.issuer = ?{first} AND c.profile = ?{} AND c.status = ?{} AND {condition}",
            first + 1,
            first + 2
        );
        let values: Vec<Value> = values.iter().cloned().chain(self.values()).collect();
        Ok(engine.number(&sql, &values)?.unsigned_abs())
    }

    fn values(&self) -> Vec<Value> {
        vec![
            self.issuer.into(),
            self.profile.as_str().into(),
            self.status.as_str().into(),
        ]
    }
}

impl Matches {
    fn add(&mut self, engine: &Engine, sql: &str, values: &[Value]) -> Result<(), StoreError> {
        engine.each(sql, values, &mut |row| {
            self.ids.push(row.integer(0)?);
            Ok(())
        })
    }

    /// In order, and no more than asked for.
    fn first(mut self, limit: usize) -> Self {
        self.ids.sort_unstable();
        self.ids.truncate(limit);
        self
    }
}
