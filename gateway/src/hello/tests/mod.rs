//! What is promised of the whole module, by hand-built hellos, captured ones, laws, and the TLS
//! library as an oracle.

mod build;

mod grammar;

mod records;

mod judged;

mod vectors;

mod laws;

mod oracle;
