//! The race prover, and what it proves of this crate.

mod bank;
mod prover;
mod schedule;
