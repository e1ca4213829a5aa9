//! Proves the bank's operations, the code of the example `bank` itself: a withdrawal that reads
//! outside of the lock, the interleaving that loses money, and the withdrawal, deposit and transfer
//! that are right in every interleaving.
//!
//! `cargo run --example prove_race --features race` runs in a temporary SQLite file.
#![allow(clippy::print_stdout, reason = "it is a program")]

#[path = "../bank/bank.rs"]
#[allow(dead_code)]
mod bank;
#[path = "../bank/error.rs"]
#[allow(dead_code)]
mod error;
#[path = "../bank/model.rs"]
#[allow(dead_code)]
mod model;
mod proofs;

#[cfg(feature = "mysql")]
#[path = "../bank/backend/mysql.rs"]
mod mysql;
#[cfg(feature = "postgres")]
#[path = "../bank/backend/postgres.rs"]
#[allow(clippy::duplicate_mod)]
mod postgres;
#[path = "../bank/backend/sqlite.rs"]
#[allow(clippy::duplicate_mod)]
mod sqlite;

use std::process::ExitCode;

use clap::Parser;
use diesel_row_lock::race::RaceError;

/// Proves that the bank's operations are right in every interleaving
#[derive(Parser)]
struct Cli {
    /// Where to prove it: sqlite://FILE, postgres://… or mysql://…; a temporary SQLite file if not
    /// given
    #[arg(long)]
    database_url: Option<String>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether all is as it should be.
fn run(cli: &Cli) -> Result<bool, RaceError> {
    let folder;
    let url = match &cli.database_url {
        Some(url) => url.clone(),
        None => {
            folder = tempfile::tempdir().map_err(|error| RaceError::Setup(error.to_string()))?;
            format!("sqlite://{}", folder.path().join("bank.db").display())
        }
    };
    match url.split_once("://") {
        Some(("sqlite", file)) if !file.is_empty() => proofs::run(|| sqlite::connect(file)),
        #[cfg(feature = "postgres")]
        Some(("postgres" | "postgresql", _)) => proofs::run(|| postgres::connect(&url)),
        #[cfg(feature = "mysql")]
        Some(("mysql", _)) => proofs::run(|| mysql::connect(&url)),
        _ => Err(RaceError::Setup(format!(
            "no database of this build is at {url}; \
             add `--features postgres` or `--features mysql` for a server"
        ))),
    }
}
