//! The audit log as `audit show --json` prints it.

use std::fmt;
use std::path::Path;

use serde_json::Value;

use crate::program::{Program, Ran};
use crate::wait::OrFail;

/// One record.
#[derive(Debug, Clone)]
pub struct Record(Value);

impl Record {
    /// What kind of record it is.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text("type")
    }

    /// A field that holds text; empty when it holds none.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    /// A field that holds a number.
    #[must_use]
    pub fn number(&self, field: &str) -> Option<u64> {
        self.0[field].as_u64()
    }

    /// A field.
    #[must_use]
    pub fn field(&self, field: &str) -> &Value {
        &self.0[field]
    }

    /// Why, where the record says so.
    #[must_use]
    pub fn code(&self) -> &str {
        self.text("code")
    }

    /// Kind and code in two words, `refusal no_route`; the kind alone where there is no code.
    #[must_use]
    pub fn in_short(&self) -> String {
        format!("{} {}", self.kind(), self.code()).trim_end().into()
    }
}

/// A field whose value is a number is compared as one, every other one as text.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Records in the order of the log.
#[derive(Debug, Clone)]
pub struct Records(Vec<Record>);

impl Records {
    /// Those of a log, which a gateway may be writing to. The reader's key is the nearest one above.
    #[track_caller]
    pub fn of(directory: &Path) -> Records {
        // A test looks often, and looks at what the gateway wrote: it leaves no trace itself.
        let mut show = Program::ours("audit")
            .args(["show", "--json", "--unrecorded"])
            .arg(directory);
        let above = directory.ancestors().skip(1);
        if let Some(key) = above
            .map(|above| above.join("reader.key"))
            .find(|key| key.exists())
        {
            show = show.arg("--reader").arg(key);
        }
        let ran = show.run().expect_code(0);
        Records::parse(&ran.stdout)
    }

    /// One record a line.
    #[track_caller]
    pub fn parse(lines: &str) -> Records {
        let parse = |line| serde_json::from_str(line).map(Record);
        let records: Result<_, _> = lines.lines().map(parse).collect();
        Records(records.or_fail("read the records as JSON"))
    }

    /// All of them.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of this kind.
    #[must_use]
    pub fn of_kind(&self, kind: &str) -> Vec<&Record> {
        self.iter().filter(|record| record.kind() == kind).collect()
    }

    /// Those of one request, by the id that its answer carried.
    #[must_use]
    pub fn of_request(&self, id: &str) -> Vec<&Record> {
        self.iter()
            .filter(|record| record.text("request_id") == id)
            .collect()
    }

    /// What is on record of one request, in short: `["intent", "release"]`.
    #[must_use]
    pub fn story_of(&self, id: &str) -> Vec<String> {
        let records = self.of_request(id);
        records.iter().map(|record| record.in_short()).collect()
    }

    /// The first that is as in `in_short`: a kind and a code.
    #[must_use]
    pub fn find(&self, in_short: &str) -> Option<&Record> {
        self.iter().find(|record| record.in_short() == in_short)
    }
}

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|record| writeln!(f, "{record}"))
    }
}

/// `audit keygen` into a directory: audit.keys, reader.key, reader.pem.
#[track_caller]
pub fn keygen(directory: &Path) {
    Program::ours("audit")
        .args(["keygen", "--name", "log.test/audit", "--out"])
        .arg(directory)
        .run()
        .expect_code(0);
}

/// Runs a verb of `audit` on the log in a directory.
#[track_caller]
pub fn audit(verb: &str, directory: &Path, more: &[&str]) -> Ran {
    Program::ours("audit")
        .arg(verb)
        .arg(directory)
        .args(more)
        .run()
}

/// `audit verify --strict` of a log, whose public key lies beside it.
#[track_caller]
pub fn verify(directory: &Path) -> Ran {
    let verify = Program::ours("audit").args(["verify", "--strict"]);
    verify.arg(directory).run()
}

/// `audit verify` of a log whose gateway was killed: its last entries wait for a signature that the next
/// start makes, which `--strict` would mind.
#[track_caller]
pub fn verify_killed(directory: &Path) -> Ran {
    let verify = Program::ours("audit").args(["verify"]);
    verify.arg(directory).run()
}
