//! PostgreSQL implementation of the backend traits.

mod begin;
mod classify;
mod clause;
mod lease;
mod messages;
mod stamp;
mod waits;
#[cfg(feature = "race")]
mod watch;
