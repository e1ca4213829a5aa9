//! One file per promise; each test is a law.

#![allow(clippy::unwrap_used)]
// What only some backends' laws use.
#![cfg_attr(
    not(all(feature = "postgres", feature = "mysql")),
    allow(dead_code, unused_imports, unused_macros)
)]

mod support;

mod bank;
mod clauses;
mod composed;
mod conversions;
mod durable;
mod durations;
mod error_table;
mod errors;
mod escaped;
// Once, and not again for each backend alone: they take their time.
#[cfg(all(feature = "postgres", feature = "mysql"))]
mod faults;
mod first_cause;
mod fresh;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod holds;
mod imitated;
mod in_doubt;
mod isolation;
mod joins;
mod key_forms;
mod keys;
mod languages;
mod lease;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod lost;
mod many;
mod migrations;
mod nesting;
mod optimistic;
mod outer;
mod panics;
#[cfg(feature = "postgres")]
mod poolers;
mod pools;
mod queue;
#[cfg(feature = "race")]
mod race;
mod retry;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod round_trips;
mod session;
mod sqlite;
mod statements;
mod strengths;
mod swallowed;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod telemetry;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod unlocked;
mod update_row;
mod wait_options;
mod waits;
