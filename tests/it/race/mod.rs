//! The race prover and the schedules, and what they prove of this crate.

mod bank;
mod hermitage;
mod isolation;
mod orders;
mod prover;
mod schedule;
