//! MySQL and MariaDB's words.

mod begin;
mod clause;
mod classify;
