//! MySQL and MariaDB's words.

mod begin;
mod classify;
mod clause;
mod lease;
mod messages;
#[cfg(feature = "race")]
mod watch;
