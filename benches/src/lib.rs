//! What the criterion benches share. Each bench is one file in `benches/benches/` that answers one
//! question about one part; the load generator, which measures the whole from outside, is the
//! binary in `load/` and imports nothing from here.
