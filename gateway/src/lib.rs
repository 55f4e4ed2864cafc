//! The transmission security gateway.
