//! MySQL and MariaDB's words.

mod begin;
mod cache;
mod classify;
mod clause;
mod lease;
mod messages;
mod waits;
#[cfg(feature = "race")]
mod watch;
