//! The names of the patients who are asked for (decision 013).

use std::collections::BTreeSet;

use super::SelectError;
use crate::event::{Pseudonym, Subjects};

/// The names of the patients who are asked for: those that were given, and those that the log links
/// with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    names: BTreeSet<Pseudonym>,
    linked: bool,
}

impl Names {
    /// No search is for more names. A patient has a handful; links that go on and on say that
    /// somebody's word on them is not to be believed.
    pub const MOST: usize = 1024;

    /// These, and all that are linked with them once [`Names::take_in`] was told.
    ///
    /// # Errors
    /// [`SelectError::TooManyNames`].
    pub fn linked(asked: impl IntoIterator<Item = Pseudonym>) -> Result<Names, SelectError> {
        Names::new(asked, true)
    }

    /// These alone.
    ///
    /// # Errors
    /// [`SelectError::TooManyNames`].
    pub fn alone(asked: impl IntoIterator<Item = Pseudonym>) -> Result<Names, SelectError> {
        Names::new(asked, false)
    }

    fn new(asked: impl IntoIterator<Item = Pseudonym>, linked: bool) -> Result<Names, SelectError> {
        let names: BTreeSet<_> = asked.into_iter().take(Self::MOST + 1).collect();
        if names.len() > Self::MOST {
            return Err(SelectError::TooManyNames);
        }
        Ok(Names { names, linked })
    }

    /// Takes in the names that a record links with one of these. Says whether there were new ones.
    ///
    /// # Errors
    /// [`SelectError::TooManyNames`]: the search would not be complete.
    pub fn take_in(&mut self, subjects: &Subjects) -> Result<bool, SelectError> {
        let mut is_new = false;
        if self.linked {
            for group in subjects.links() {
                is_new |= self.take_group(&group)?;
            }
        }
        Ok(is_new)
    }

    /// The same for one group of names that are one patient.
    ///
    /// # Errors
    /// [`SelectError::TooManyNames`].
    pub fn take_group(&mut self, group: &[Pseudonym]) -> Result<bool, SelectError> {
        if !self.linked || !group.iter().any(|name| self.names.contains(name)) {
            return Ok(false);
        }
        let before = self.names.len();
        self.names.extend(group);
        if self.names.len() > Self::MOST {
            return Err(SelectError::TooManyNames);
        }
        Ok(self.names.len() > before)
    }

    /// Whether links are followed.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.linked
    }

    /// Whether a record names one of them.
    #[must_use]
    pub fn touches(&self, subjects: &Subjects) -> bool {
        let patients = subjects.patients();
        patients.iter().any(|patient| self.names.contains(patient))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Pseudonym> + '_ {
        self.names.iter().copied()
    }
}
