//! What has been revoked: an index from issuer key to serial numbers, built once when revocation
//! lists are loaded and asked at constant cost at each handshake and each request.
//!
//! A list counts when the authority that issued it signed it, may sign lists, and its dates hold.
//! Whole lists and shards by distribution point are understood; delta, indirect, attribute and
//! reason-partitioned lists are refused, since each leaves something unsaid. Standard: RFC 5280 5.
//! No file, no clock.
//!
//! An index that follows another remembers what was in force: an older list does not take the place
//! of a newer one, and what was revoked stays revoked while the list that said so is missing. Nothing
//! is remembered over a restart but by who fetches lists (`fetch`), which keeps the last good ones.
//!
//! Fails closed: a certificate whose issuer has no list is `Unknown`, and one under a stale list is
//! `Stale`; neither is good.

mod fault;

mod edition;

mod scope;

mod list;

mod index;

mod seen;

#[cfg(test)]
pub(crate) mod testing;

pub use edition::Edition;
pub use fault::ListFault;
pub use index::{Due, Gone, Index, Setback, Standing, Succession};
pub use list::{List, MAX_LIST_BYTES};
pub use seen::Seen;
