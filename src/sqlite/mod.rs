//! SQLite's words.

mod begin;
mod clause;
mod classify;
