//! PostgreSQL implementation of the backend traits.

mod begin;
mod classify;
mod clause;
mod lease;
mod messages;
mod waits;
#[cfg(feature = "race")]
mod watch;
