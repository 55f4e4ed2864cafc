//! `audit export`: the log in the words of others, opened for a reader.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::source::{self, Select, Source, Untold};
use crate::checkpoints::store::CHECKPOINT;
use crate::event::Id;
use crate::export::{self, Exporter, Format};
use crate::opened::{Content, Walk};
use crate::read::{Reader, Step};

/// Print a log in the words of others, oldest first.
///
/// Requests are told with what became of them: their records are joined, and a request is told when one of
/// them is asked for. Patients are pseudonyms. A request that is still open where the log ends is told as
/// it is known, and says so.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  audit export /var/lib/phigate/audit --format csv > requests.csv\n  audit export /var/lib/phigate/audit --format balp --patient 'https://fhir.example/fhir|17'"
)]
pub(super) struct Export {
    #[command(flatten)]
    source: Source,
    /// Into which words: balp (FHIR AuditEvent of IHE BALP, one a line), ocsf (API Activity, one a line),
    /// csv (a table, RFC 4180), dicom (audit messages by syslog, RFC 5424, counted in octets).
    #[arg(long, value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    select: Select,
}

impl Export {
    /// Fails in the end when an entry could not be opened, and exports all others.
    pub(super) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failure> {
        let source = &self.source;
        source.look()?;
        let mut filter = self.select.filter(&source.directory)?;
        // The key first: whoever has none has not read anything.
        let unsealer = source.unsealer()?;
        source.record("export", &filter)?;
        let unsealer = source::follow_links(source, unsealer, &mut filter)?;
        let of = source_of(&source.directory).map_err(|error| source.failed(error))?;
        let mut exporter = Exporter::new(self.format, of);
        if let Some(names) = &filter.patients {
            exporter = exporter.about(names.iter().collect());
        }
        let mut walk = Walk::new(&source.directory, unsealer);
        let mut untold = Untold::default();
        let mut documents = Vec::new();
        exporter.head(&mut documents);
        while let Some(item) = walk.step().map_err(|error| source.stuck(error))? {
            // What does not open is missing from whatever it belongs to.
            untold.count(&item);
            if let Content::Entry(entry) = &item.content {
                let is_asked = filter.admits(entry);
                exporter.take(item.sequence, entry, is_asked, &mut documents);
            }
            if documents.len() > CHUNK {
                out.write_all(&documents).map_err(Failure::Output)?;
                documents.clear();
            }
        }
        exporter.end(&mut documents);
        out.write_all(&documents)
            .and_then(|()| out.flush())
            .map_err(Failure::Output)?;
        untold.tell();
        Ok(if untold.is_some() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// So much is written at once, bytes.
const CHUNK: usize = 64 * 1024;

/// Who wrote a log, and this machine, as far as both say: the name of a log that is signed, else its id.
pub(super) fn source_of(directory: &Path) -> io::Result<export::Source> {
    /// Of a syslog message (RFC 5424 6.2.4), and more than Linux gives a machine.
    const LONGEST: u64 = 255;
    let first_line = |path: &Path| {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
        // What is behind the line may be cut within a character.
        let text = String::from_utf8_lossy(&bytes);
        let line = read.ok().and_then(|_| text.lines().next());
        line.unwrap_or_default().trim().to_owned()
    };
    let mut source = export::Source {
        host: first_line(Path::new("/proc/sys/kernel/hostname")),
        // A checkpoint begins with the name of its log (C2SP tlog-checkpoint).
        log: first_line(&directory.join(CHECKPOINT)),
        ..export::Source::default()
    };
    if source.log.is_empty()
        && let Step::Segment(header) = Reader::new(directory).step()?
    {
        source.log = Id::new(header.log).to_string();
    }
    Ok(source)
}
