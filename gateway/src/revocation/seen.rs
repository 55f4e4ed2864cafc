//! How the places looked that lists are read from, so that a change of them shows.

/// What was seen just before lists were read. It holds no list, and says nothing of what they are worth:
/// who sees something else looks at the lists again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// SHA-256 of names and metadata of files and folders that others write.
    pub files: [u8; 32],
    /// The same of the files that the gateway keeps of what it fetched.
    pub fetched: [u8; 32],
}
