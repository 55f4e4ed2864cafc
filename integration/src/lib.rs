//! Black-box tests against the shipped binaries.
