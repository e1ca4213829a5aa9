//! The tests of the benchmark's own arithmetic. A benchmark without cargo's harness has no place for
//! them, so they are a binary of their own, of the same modules.

#![allow(dead_code, reason = "the program that uses it all is the benchmark")]
#![allow(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "as in main.rs"
)]

mod check;
mod database;
mod estimate;
mod machine;
mod measured;
mod options;
mod peer;
mod plan;
mod proxy;
mod report;
mod storm;
mod strategy;
mod summary;
mod workload;

mod tests {
    mod check;
    mod estimate;
    mod summary;
}
