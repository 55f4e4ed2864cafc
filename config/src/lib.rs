//! The operator's words: a TOML file becomes a resolved configuration.
