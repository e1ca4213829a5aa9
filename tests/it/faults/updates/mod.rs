//! `update_row` and `RowQueue::update` under real faults.
//!
//! A [`crew`] of threads writes the names of its calls into the logs of [pots](super::kills::pots)
//! while connections are cut and servers killed. Each closure also returns the log that it saw.
//! Afterwards the [`day`] compares the results of the calls with the logs: each name must be there
//! as often as its call says, and behind the log that its closure has seen.

mod batches;
mod crew;
mod day;
mod planted;
mod servers;
mod steps;
mod storms;
