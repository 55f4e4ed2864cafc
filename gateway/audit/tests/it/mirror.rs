//! A mirror is the log as C2SP tlog-tiles says it lies on a server, made of what is true and nothing else.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use audit::log::Log;
use audit::merkle::key::Signer;
use tlog_tiles::tile::TileHashReader;
use tlog_tiles::tlog;

use crate::clinic::{audit, text, word};
use crate::signed::{PATIENCE, Theirs, options, run, they_verify};

/// Runs `audit mirror`: its exit code, and what it said.
fn mirror(log: &Path, place: &Path) -> (i32, String) {
    let ran = audit(&["mirror", word(log), "--to", word(place)]);
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.code().unwrap(), text(&said))
}

/// A log's directory, and a place for its mirror.
fn places() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let (log, to) = (place.path().join("log"), place.path().join("mirror"));
    std::fs::create_dir(&log).unwrap();
    (place, log, to)
}

/// Every file below a directory, with its content.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for found in std::fs::read_dir(directory).unwrap() {
        let path = found.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    files
}

/// The entries of a bundle, read by the words of the standard: each behind its length.
fn bundle(place: &Path, index: u64, size: u64) -> Vec<Vec<u8>> {
    let width = (size - index * 256).min(256);
    let full = place.join(format!("tile/entries/{index:03}"));
    let path = match width {
        256 => full,
        width => place.join(format!("tile/entries/{index:03}.p/{width}")),
    };
    let bytes = std::fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut entries = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (entry, behind) = behind.split_at(u16::from_be_bytes(*length).into());
        entries.push(entry.to_vec());
        rest = behind;
    }
    assert_eq!(entries.len() as u64, width);
    entries
}

/// Proves every entry of the mirror by the code of others, which has nothing but the mirror.
#[track_caller]
fn they_prove_every_entry(place: &Path) -> u64 {
    let note = std::fs::read(place.join("checkpoint")).unwrap();
    let note = signed_note::Note::from_bytes(&note).unwrap();
    let checkpoint = tlog_tiles::checkpoint::Checkpoint::from_bytes(note.text()).unwrap();
    let (size, root) = (checkpoint.size(), *checkpoint.hash());
    let tiles = Theirs(place.to_owned());
    let reader = TileHashReader::new(size, root, &tiles);
    let bundles = (0..size.div_ceil(256)).flat_map(|index| bundle(place, index, size));
    for (number, entry) in (0..).zip(bundles) {
        let path = tlog::prove_record(size, number, &reader).unwrap();
        tlog::check_record(&path, size, root, number, tlog::record_hash(&entry)).unwrap();
    }
    size
}

#[test]
fn an_independent_implementation_proves_every_entry_of_a_mirror_that_grew() {
    let (_place, log, to) = places();
    // Partial bundles that grow, one that becomes full, more than one that come at once, nothing new.
    for (from, count) in [(0, 100), (100, 50), (150, 200), (350, 700), (1050, 0)] {
        run(&log, from, count);
        let (code, said) = mirror(&log, &to);
        assert_eq!(code, 0, "{said}");
        let size = they_prove_every_entry(&to);
        assert!(size >= from + count);
        assert!(
            said.starts_with(&format!("mirrored: {size} entries, ")),
            "{said}"
        );
        assert_eq!(
            std::fs::read(to.join("checkpoint")).unwrap(),
            std::fs::read(log.join("checkpoint")).unwrap()
        );
    }
    // Whatever became full has no partial file any more.
    for full in files(&to).keys().filter(|path| !word(path).contains(".p/")) {
        assert!(!full.with_extension("p").exists(), "{full:?}");
    }
    assert!(!to.join("aside.new").exists());
    they_verify(&log, crate::checkpoints::signer(1).verifier());
}

#[test]
fn a_mirror_stays_as_it_was_when_the_log_is_not_the_one_that_it_holds() {
    let (place, log, to) = places();
    run(&log, 0, 300);
    let earlier = place.path().join("earlier");
    copy(&log, &earlier);
    run(&log, 300, 300);
    assert_eq!(mirror(&log, &to).0, 0);
    let held = files(&to);

    let (code, said) = mirror(&earlier, &to);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("more than the log"), "{said}");
    // The earlier one goes on, as large as the other and larger.
    run(&earlier, 9000, 400);
    let (code, said) = mirror(&earlier, &to);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("are not those of the mirror"), "{said}");
    assert_eq!(files(&to), held);
}

#[test]
fn an_entry_that_was_changed_is_mirrored_by_nobody() {
    let (_place, log, to) = places();
    run(&log, 0, 300);
    assert_eq!(mirror(&log, &to).0, 0);
    let held = files(&to);
    run(&log, 300, 300);
    let segment = log.join("wal/0000000000000002.seg");
    let good = std::fs::read(&segment).unwrap();
    let mut changed = good.clone();
    changed[4096 + 200] ^= 1;
    std::fs::write(&segment, changed).unwrap();
    let (code, said) = mirror(&log, &to);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the log does not verify"), "{said}");
    let mut now = files(&to);
    now.retain(|path, _| held.contains_key(path));
    assert_eq!(now, held);
    they_prove_every_entry(&to);
    // What it left behind is no obstacle once the log is itself again.
    std::fs::write(&segment, good).unwrap();
    assert_eq!(mirror(&log, &to).0, 0);
    they_prove_every_entry(&to);
}

#[test]
fn a_mirror_that_somebody_changed_and_a_place_that_is_none_are_told_apart() {
    let (place, log, to) = places();
    let (code, said) = mirror(&log, &to);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("not signed"), "{said}");
    run(&log, 0, 300);
    let strange = place.path().join("strange");
    std::fs::create_dir(&strange).unwrap();
    std::fs::write(strange.join("letter"), "dear").unwrap();
    let (code, said) = mirror(&log, &strange);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("holds letter"), "{said}");
    assert_eq!(files(&strange).len(), 1);

    assert_eq!(mirror(&log, &to).0, 0);
    run(&log, 300, 10);
    let edge = files(&to)
        .into_keys()
        .find(|path| word(path).contains("tile/0/001.p/"));
    let edge = edge.unwrap();
    let mut bytes = std::fs::read(&edge).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&edge, bytes).unwrap();
    let (code, said) = mirror(&log, &to);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("does not hold what its checkpoint says"),
        "{said}"
    );
}

#[test]
fn a_place_that_is_the_logs_a_backups_or_open_to_others_is_refused_and_left_as_it_is() {
    let (place, log, to) = places();
    run(&log, 0, 300);
    let backup = place.path().join("backup");
    let made = audit(&["backup", word(&log), "--to", word(&backup)]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let open = place.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let link = place.path().join("link");
    std::fs::create_dir(&to).unwrap();
    std::os::unix::fs::symlink(&to, &link).unwrap();
    let before = files(place.path());
    for (wrong, why) in [
        (&log, "in the log"),
        (&log.join("mirror"), "in the log"),
        (&backup, "so is no mirror"),
        (&open, "this user alone may write to"),
        (&link, "this user alone may write to"),
    ] {
        let (code, said) = mirror(&log, wrong);
        assert_eq!(code, 1, "{wrong:?}: {said}");
        assert!(said.contains(why), "{wrong:?}: {said}");
        assert_eq!(files(place.path()), before, "{wrong:?}");
    }
}

#[test]
fn a_mirror_of_another_log_and_one_that_somebody_writes_are_left_alone() {
    let (place, log, to) = places();
    run(&log, 0, 10);
    assert_eq!(mirror(&log, &to).0, 0);
    let other = place.path().join("other");
    let named = Signer::new("example.com/other".parse().unwrap(), &[1; 32]).unwrap();
    let (_, committer) = Log::open(&options(&other, Some(Arc::new(named)))).unwrap();
    committer.close(PATIENCE).unwrap();
    let held = files(&to);
    let (code, said) = mirror(&other, &to);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("a mirror of example.com/log"), "{said}");

    run(&log, 10, 10);
    let busy = std::fs::File::open(&to).unwrap();
    busy.lock().unwrap();
    let (code, said) = mirror(&log, &to);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("somebody else writes"), "{said}");
    assert_eq!(files(&to), held);
    drop(busy);
    assert_eq!(mirror(&log, &to).0, 0);
}

#[test]
fn a_mirror_goes_on_after_a_crash_and_harms_nothing_that_it_finds() {
    let (place, log, to) = places();
    run(&log, 0, 100);
    assert_eq!(mirror(&log, &to).0, 0);
    let precious = place.path().join("precious");
    std::fs::write(&precious, "precious").unwrap();
    // What is left of a file in the making, and two directories that lead elsewhere.
    let aside = to.join("aside.new");
    let elsewhere = place.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("3"), "precious").unwrap();
    std::os::unix::fs::symlink(&elsewhere, to.join("tile/0/001.p")).unwrap();
    run(&log, 100, 600);
    for left in ["", "link", "pipe"] {
        std::fs::remove_file(&aside).ok();
        match left {
            "link" => std::os::unix::fs::symlink(&precious, &aside).unwrap(),
            "pipe" => {
                let made = std::process::Command::new("mkfifo").arg(&aside).status();
                assert!(made.unwrap().success());
            }
            _ => std::fs::write(&aside, "half a tile").unwrap(),
        }
        let (code, said) = mirror(&log, &to);
        assert_eq!(code, 0, "{left}: {said}");
        they_prove_every_entry(&to);
        run(&log, 700, 10);
    }
    assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
    assert_eq!(std::fs::read(elsewhere.join("3")).unwrap(), b"precious");
}

#[test]
fn a_mirror_is_for_whoever_its_directory_is_for() {
    let (_place, log, to) = places();
    run(&log, 0, 300);
    std::fs::create_dir(&to).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o750)).unwrap();
    assert_eq!(mirror(&log, &to).0, 0);
    assert_eq!(mode(&to.join("tile")), 0o750);
    assert_eq!(mode(&to.join("tile/entries/000")), 0o640);
    // One that it makes itself is its user's alone.
    let private = to.with_extension("private");
    assert_eq!(mirror(&log, &private).0, 0);
    assert_eq!(mode(&private), 0o700);
    assert_eq!(mode(&private.join("checkpoint")), 0o600);
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status()
        .unwrap();
    assert!(copied.success());
}
