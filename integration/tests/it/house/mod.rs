//! The rules of the house, held by tests: how the code is laid out, what it is made of, and that the
//! documents say what is so.

mod layout;

mod absences;

mod dependencies;

mod documents;
