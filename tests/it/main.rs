//! One file per promise; each test is a law.

mod support;

mod bank;
mod escaped;
mod first_cause;
mod fresh;
mod nesting;
mod panics;
mod round_trips;
mod sqlite;
mod swallowed;
