//! SQLite's words.

mod begin;
mod classify;
mod clause;
mod lease;
#[cfg(feature = "race")]
mod watch;
