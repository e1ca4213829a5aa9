//! What locking costs when many want the same row: every way of making the same deposit or
//! transfer, beside each other, on one's own database.
//!
//! `cargo run --release -p contention` runs on an embedded SQLite, `cargo xtask bench` on
//! PostgreSQL and MariaDB as well; `benches/README.md` says how to read what comes out.

#![allow(clippy::print_stdout, reason = "it is a program")]
#![allow(
    clippy::cast_precision_loss,
    reason = "counts become rates, of which three digits are shown"
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
#[cfg(test)]
mod tests;
mod workload;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::HumanDuration;

use crate::machine::Machine;
use crate::measured::Results;
use crate::options::Options;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether no deposit was lost where none may be, and some were where they must be.
fn run(options: &Options) -> Result<bool> {
    if options.estimate {
        println!("{}", estimate::of(options).as_secs());
        return Ok(true);
    }
    let mut results = Results::new(Machine::here());
    for file in &options.merge {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let earlier = serde_json::from_str(&text)
            .with_context(|| format!("{} is no result of this benchmark", file.display()))?;
        results.add(earlier);
    }
    if options.merge.is_empty() {
        println!("this takes about {}", HumanDuration(estimate::of(options)));
        for url in options.databases() {
            let database = database::open(url)?;
            results.databases.push(database.description());
            plan::run(options, database.as_ref(), &mut results)?;
        }
    }
    report::write(&results, &options.out)?;
    let losses = results.forbidden_losses();
    for loss in &losses {
        println!("LOST: {loss}");
    }
    let missing = results.missing_losses();
    for loss in &missing {
        println!("NOT LOST: {loss}");
    }
    Ok(losses.is_empty() && missing.is_empty())
}
