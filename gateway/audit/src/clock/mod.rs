//! The system's clock: what the kernel says of it, and what became of it (IHE ITI TF-1 7, Consistent
//! Time; 45 CFR 170.210(g)).
//!
//! ```text
//! state   what the kernel says, and how a checkpoint says it      watch   lost, back, stepped
//! kernel  the only file here that asks it (adjtimex(2))
//! ```
//!
//! Nothing waits for a clock and nothing is refused because of one: what is known of it is on record,
//! so that whoever reads a time knows how far to trust it. Not here: setting a clock.

mod state;

mod watch;

mod kernel;

pub use kernel::Kernel;
pub use state::{Clock, Moment, Reading, Stamp, StampError, State, Unknown, seconds};
pub use watch::{Change, Told, Watch};
