//! Reports: what is told of a patient to who may ask.
//!
//! ```text
//! collect      every request that concerns the patient, from the index and what came behind it, or from
//!              the whole log                                                       --> Exchanges
//! disclosures  which of them went to a recipient outside (45 CFR 164.528)          --> Accounting
//! page         either as text or as one printable page
//! ```
//!
//! Not here: the words on the command line, and whether this reading is on record (`cli`).

pub mod collect;

pub mod disclosures;

mod exchange;

pub mod page;
