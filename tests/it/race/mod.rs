//! The race prover and the schedules, and what they prove of this crate.

mod bank;
mod comparing;
mod hermitage;
mod hostile;
mod isolation;
mod limits;
mod operations;
mod orders;
mod prover;
mod rivals;
mod schedule;
mod unseen;
mod update_row;
