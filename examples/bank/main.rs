//! A bank that many threads and processes use at once: what happens to money without a row lock,
//! and with one.
//!
//! `cargo run --example bank` shows both in a temporary SQLite file. The operations, where the
//! library is used, are in `operations.rs`.
#![allow(clippy::print_stdout, reason = "it is a program")]

mod audit;
mod backend;
mod bank;
mod cli;
mod demo;
mod edit;
mod error;
mod model;
mod report;
mod storm;
mod who;

use std::process::ExitCode;
use std::time::Duration;

use crate::cli::{Cli, Command};
use crate::error::BankError;
use crate::storm::Storm;

/// What a fresh account of a storm or of the demonstration begins with, in cents.
const OPENING_BALANCE: i64 = 1_000_000;

fn main() -> ExitCode {
    let cli = Cli::from_command_line();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", error.in_one_line());
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, BankError> {
    let Some(command) = &cli.command else {
        return demo::run(cli.demo_database());
    };
    let url = cli.database();
    let mut bank = backend::open(url)?;
    match command {
        Command::Open { owner, balance } => println!("{}", bank.open(owner, *balance)?),
        Command::Deposit { id, amount } => println!("{}", bank.deposit(*id, *amount)?),
        Command::Withdraw { id, amount } => println!("{}", bank.withdraw(*id, *amount)?),
        Command::Balance { id } => println!("{}", bank.balance(*id)?),
        Command::Transfer { from, to, amount } => {
            println!("{}", bank.transfer(*from, *to, *amount)?);
        }
        Command::Storm {
            threads,
            seconds,
            strategy,
            account,
        } => {
            let account = match account {
                Some(id) => *id,
                None => bank.open("storm", OPENING_BALANCE)?,
            };
            let time = Duration::from_secs(seconds.get().into());
            let storm = Storm::new(url, account, *threads, time, *strategy);
            return storm::command(&storm, bank.as_mut());
        }
        Command::Edit {
            id,
            owner,
            hold,
            operator,
        } => edit::command(bank.as_mut(), *id, operator, owner.as_deref(), *hold)?,
        Command::Who => who::command(bank.as_mut())?,
        Command::Audit => return audit::command(bank.as_mut()),
    }
    Ok(ExitCode::SUCCESS)
}
