//! MySQL and MariaDB implementation of the backend traits.

mod begin;
mod cache;
mod classify;
mod clause;
mod lease;
mod messages;
mod settings;
mod statement;
mod transaction;
mod waits;
#[cfg(feature = "race")]
mod watch;

crate::backend::stamp::without_stamps!(diesel::mysql::Mysql);
