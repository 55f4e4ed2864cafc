//! The device certificate authority: profiles, requests, lints, files and keys.

pub mod serial;

pub mod name;

pub mod public_key;

pub mod profile;

pub mod reason;

pub mod request;

pub mod lint;

pub mod files;

pub mod key;
