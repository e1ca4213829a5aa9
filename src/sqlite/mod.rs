//! SQLite's words.

mod begin;
mod classify;
mod clause;
#[cfg(feature = "race")]
mod watch;
