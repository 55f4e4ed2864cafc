//! The project's own files, for tests that hold its promises against its words.

use std::path::{Path, PathBuf};

use crate::wait::OrFail;

/// The root of the checkout.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("/"))
}

/// The text of a file, named from the root.
#[must_use]
#[track_caller]
pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).or_fail(&format!("read {}", path.display()))
}

/// All files below a directory with this extension, named from the root, in order. What is built and
/// what git does not track on purpose is left out.
#[must_use]
#[track_caller]
pub fn files(below: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&root().join(below), extension, &mut found);
    found.sort();
    found
}

fn walk(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let items = std::fs::read_dir(directory).or_fail(&format!("list {}", directory.display()));
    for item in items {
        let path = item.or_fail("list a directory").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "target" || name == "phigate-demo" {
            continue;
        }
        if path.is_dir() {
            walk(&path, extension, found);
        } else if path.extension().is_some_and(|known| known == extension) {
            found.push(path.strip_prefix(root()).unwrap_or(&path).to_owned());
        }
    }
}
