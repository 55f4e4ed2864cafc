//! The gateway's own house: threads, audit log, admin listener.

use std::num::NonZeroUsize;

use super::{Context, rationale};
use crate::collect::Optional;
use crate::file;
use crate::model::{Admin, Audit, WorkerCount, Workers};
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
    Audit {
        keys,
        passphrase,
        readers,
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
