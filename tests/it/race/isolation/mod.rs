//! PostgreSQL's isolation specs
//! (<https://github.com/postgres/postgres/tree/master/src/test/isolation/specs>), by way of this
//! crate.
//!
//! Their cases only. Ada, Grace and Barbara are the specs' sessions s1, s2 and s3.

#[cfg(feature = "postgres")]
mod committed_update;
mod eval_plan_qual;
mod foreign_keys;
#[cfg(feature = "postgres")]
mod gate;
mod nowait;
#[cfg(feature = "postgres")]
mod savepoints;
mod skip_locked;
#[cfg(feature = "postgres")]
mod timeouts;
#[cfg(feature = "postgres")]
mod upgrade;
