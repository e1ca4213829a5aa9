//! SQLite implementation of the backend traits.

mod begin;
mod classify;
mod clause;
mod lease;
#[cfg(feature = "race")]
mod watch;

crate::backend::stamp::without_stamps!(diesel::sqlite::Sqlite);
