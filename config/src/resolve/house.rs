//! The gateway's own house: threads, audit log, admin listener.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use super::{Context, rationale};
use crate::collect::{Named, Optional, Rows};
use crate::file;
use crate::model::{Admin, Audit, Class, Witness, WorkerCount, Workers};
use crate::name::ClassName;
use crate::place::Placed;
use crate::server::AdminWord;

pub(super) fn workers(table: file::Workers) -> Workers {
    let count = match table.count {
        Optional::Given(count) => {
            let count = NonZeroUsize::try_from(count.value).unwrap_or(NonZeroUsize::MAX);
            WorkerCount::Fixed(count)
        }
        Optional::Absent | Optional::Wrong => WorkerCount::PerCore,
    };
    Workers {
        count,
        pin: table.pin.value,
    }
}

pub(super) fn audit(table: file::Audit, context: &mut Context<'_>) -> Audit {
    let segment = &table.segment_size;
    if !segment.value.get().is_multiple_of(SECTOR_BYTES) {
        let message = format!("{} is not a multiple of {SECTOR_BYTES}B", segment.value);
        context.report.error(
            &segment.place,
            message,
            "segments are written in whole blocks of the disk",
        );
    }
    let alone = match (&table.keys, &table.passphrase) {
        (Optional::Absent, Optional::Given(passphrase)) => Some(passphrase.place.clone()),
        _ => None,
    };
    let secret = |secret| match secret {
        Optional::Absent => None,
        Optional::Given(secret) => Some(context.required_secret(Some(secret), &table.place)),
        Optional::Wrong => Some(context.required_secret(None, &table.place)),
    };
    let (keys, passphrase) = (secret(table.keys), secret(table.passphrase));
    if let Some(place) = alone {
        context.report.error(
            &place,
            "there are no keys that it could open",
            "name the keys as well: keys = \"file:audit.keys\"",
        );
    }
    let readers = match table.readers {
        Optional::Absent => Vec::new(),
        Optional::Given(readers) => context.files(readers.value.0),
        Optional::Wrong => vec![context.required_file(None, &table.place)],
    };
    let witnesses = witnesses(table.witnesses, keys.is_some(), context);
    let classes = classes(table.classes, context);
    Audit {
        keys,
        passphrase,
        readers,
        witnesses,
        classes,
        directory: context.required_file(table.directory, &table.place),
        durability: table.durability,
        queue_entries: table.queue_entries.value,
        queue_bytes: table.queue_bytes.value,
        min_free: table.min_free.value,
        segment_size: table.segment_size.value,
        rationale: rationale(table.rationale, &table.place),
        place: table.place,
    }
}

const SECTOR_BYTES: u64 = 4096;

/// The class of whatever has no other.
const STANDARD: &str = "standard";

/// No log is written in more classes than this, `standard` among them.
const MOST_CLASSES: usize = 8;

/// The classes that a route can name.
pub(super) fn class_names(table: Option<&file::Audit>) -> Option<BTreeSet<ClassName>> {
    let classes = table?.classes.as_ref()?;
    let mut names = classes.names.clone();
    names.extend(ClassName::parse(STANDARD));
    Some(names)
}

fn classes(
    tables: Option<Named<ClassName, file::Class>>,
    context: &mut Context<'_>,
) -> BTreeMap<ClassName, Class> {
    let tables = tables.map(|tables| tables.tables).unwrap_or_default();
    let others = tables.iter().filter(|(name, _)| name.as_str() != STANDARD);
    if others.count() >= MOST_CLASSES
        && let Some(table) = tables.last().map(|(_, table)| table)
    {
        let message = format!("more than {MOST_CLASSES} classes, with \"{STANDARD}\"");
        let hint = "each month has a key for each of them: a few do";
        context.report.error(&table.place, message, hint);
    }
    let class = |(name, table): (ClassName, file::Class)| {
        let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase());
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let text = name.as_str();
        // It is the name of a folder too.
        if !begins(text) || !text.chars().all(known) || text.len() > 32 {
            context.report.error(
                &table.place,
                "this is not the name of a class",
                "write a to z, digits and -, beginning with a letter, at most 32 of them",
            );
        }
        let class = Class {
            keep_years: table.keep_years,
            rationale: rationale(table.rationale, &table.place),
            place: table.place,
        };
        (name, class)
    };
    tables.into_iter().map(class).collect()
}

/// No log has more witnesses than this.
const MOST_WITNESSES: usize = 16;

fn witnesses(
    rows: Optional<Rows<file::Witness>>,
    is_signed: bool,
    context: &mut Context<'_>,
) -> Vec<Witness> {
    let Some(rows) = rows.into_given() else {
        return Vec::new();
    };
    let (place, rows) = (rows.place, rows.value.0);
    if rows.len() > MOST_WITNESSES {
        let message = format!("more than {MOST_WITNESSES} witnesses");
        let hint = "each is asked again and again: a few under different administrations do";
        context.report.error(&place, message, hint);
    }
    if !is_signed && !rows.is_empty() {
        let message = "witnesses cosign checkpoints, and without keys there are none";
        let hint = "make keys with `audit keygen` and name them: keys = \"file:audit.keys\"";
        context.report.error(&place, message, hint);
    }
    rows.into_iter()
        .filter_map(|row| witness(row, context))
        .collect()
}

/// `None`: it is not known where it is, and that is noted.
fn witness(table: file::Witness, context: &mut Context<'_>) -> Option<Witness> {
    let (url, key) = (table.url, table.key);
    let authority = match (table.authority, url.as_ref().map(|url| url.value.parts().0)) {
        (Optional::Given(path), Some(false)) => {
            let message = "without TLS there is nothing that it could vouch for";
            let hint = "write the url as https://, or leave authority out";
            context.report.error(&path.place, message, hint);
            None
        }
        (Optional::Given(path), _) => Some(context.file(path)),
        (Optional::Absent, Some(true)) => {
            let hint = "write authority = \"witness-root.pem\", the file with the roots that vouch for \
                        this witness; those of the system are never used";
            let place = table.place.child("authority");
            context.report.error(&place, "missing", hint);
            None
        }
        (Optional::Absent | Optional::Wrong, _) => None,
    };
    Some(Witness {
        url: url?,
        key: context.required_file(key, &table.place),
        authority,
        every: table.every.value,
        alarm: table.alarm.value,
    })
}

pub(super) fn admin(table: file::Admin) -> Admin {
    let Placed { value, place } = table.listen;
    match value {
        AdminWord::Off => Admin::Off,
        AdminWord::At(address) => Admin::Listen(Placed {
            value: address,
            place,
        }),
    }
}
