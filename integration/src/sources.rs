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

/// The last by name of the files below a directory with this extension.
#[must_use]
#[track_caller]
pub fn newest(below: &Path, extension: &str) -> PathBuf {
    let mut found = Vec::new();
    walk(below, extension, &mut found);
    found.sort();
    found
        .pop()
        .or_fail(&format!("find a .{extension} below {}", below.display()))
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

/// The folders of the workspace's crates.
#[must_use]
#[track_caller]
pub fn members() -> Vec<String> {
    let manifest: toml::Table = read("Cargo.toml").parse().or_fail("read the manifest");
    let members = manifest["workspace"]["members"].as_array();
    let members = members.or_fail("find the members").iter();
    members
        .filter_map(|member| member.as_str().map(str::to_owned))
        .collect()
}

/// A file of Rust, taken apart: the product's lines, the comments, the tests at its end.
#[derive(Debug)]
pub struct Source {
    /// Where it is, from the root.
    pub path: PathBuf,
    /// Its lines, without comments and without the tests at its end.
    pub code: String,
    /// All of it.
    pub text: String,
}

impl Source {
    /// Reads one.
    #[must_use]
    #[track_caller]
    pub fn read(path: &Path) -> Source {
        let text = read(path);
        let product = match text.find("\n#[cfg(test)]\nmod ") {
            Some(tests) => &text[..tests],
            None => &text,
        };
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let code: Vec<&str> = product.lines().filter(is_code).collect();
        Source {
            path: path.to_owned(),
            code: code.join("\n"),
            text,
        }
    }

    /// All below a directory, but for folders that are named `tests`.
    #[must_use]
    #[track_caller]
    pub fn all(below: &str) -> Vec<Source> {
        let files = files(below, "rs");
        let product = files.iter().filter(|path| {
            let inner = path.strip_prefix(below).unwrap_or(path);
            !inner.iter().any(|part| part == "tests")
        });
        product.map(|path| Source::read(path)).collect()
    }

    /// The lines of code that hold one of these words, each as `path: line`.
    #[must_use]
    pub fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let lines = self.code.lines();
        lines
            .filter(|line| words.iter().any(|word| line.contains(word)))
            .map(|line| format!("{}: {}", self.path.display(), line.trim()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_tests_are_not_the_product() {
        let source = Source::read(Path::new("integration/src/sources.rs"));
        assert!(source.code.contains("fn walk("));
        assert!(!source.code.contains("for tests that hold its promises"));
        assert!(!source.code.contains("fn comments_and_tests"));
        assert!(source.text.contains("fn comments_and_tests"));
        assert_eq!(source.lines_with(&["fn walk("]).len(), 1);
    }
}
