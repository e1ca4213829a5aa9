//! The race prover, and what it proves of this crate.

mod prover;
mod schedule;
