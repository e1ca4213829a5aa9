//! The demonstration: the same storm without a lock and with one.

use std::num::NonZeroU16;
use std::process::ExitCode;
use std::time::Duration;

use crate::backend;
use crate::cli::Strategy;
use crate::error::BankError;
use crate::report::Report;
use crate::storm::Storm;
use crate::OPENING_BALANCE;

const THREADS: NonZeroU16 = NonZeroU16::new(4).expect("4 is not zero");
const TIME: Duration = Duration::from_millis(800);

/// How often to try to lose something by hand.
const ROUNDS: usize = 3;

/// In a temporary SQLite file unless a database is given.
pub(crate) fn run(database: Option<&str>) -> Result<ExitCode, BankError> {
    // Dropped, and with it deleted, at the end.
    let folder = tempfile::tempdir()?;
    let file = format!("sqlite://{}", folder.path().join("bank.db").display());
    let url = database.unwrap_or(&file);

    println!("Four threads book on one account: two pay money in, two take money out.");
    println!();
    println!("1. By hand: read the balance, compute, write it back.");
    let by_hand = lose_by_hand(url)?;
    println!("{by_hand}");
    if by_hand.nothing_is_lost() {
        println!("  Nothing was lost this time: no two threads met between read and write.");
    }
    println!();
    println!("2. With `with_row_lock`: lock the row, read it fresh, change it, commit.");
    let locked = storm(url, Strategy::Row)?.run(backend::connect(url)?.as_mut())?;
    println!("{locked}");
    println!();
    println!(
        "Next: accounts of your own (`-- open Ada --balance 1000`, then see `-- --help`), or a"
    );
    println!(
        "server: `cargo run --example bank --features postgres -- --database-url postgres://…`"
    );

    Ok(if locked.nothing_is_lost() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Goes on until money was lost.
fn lose_by_hand(url: &str) -> Result<Report, BankError> {
    let storm = storm(url, Strategy::None)?;
    let mut bank = backend::connect(url)?;
    let mut report = storm.run(bank.as_mut())?;
    for _ in 1..ROUNDS {
        if report.lost() > 0 {
            break;
        }
        report.extend(&storm.run(bank.as_mut())?);
    }
    Ok(report)
}

/// A storm on a fresh account.
fn storm(url: &str, strategy: Strategy) -> Result<Storm<'_>, BankError> {
    let account = backend::open(url)?.open("demonstration", OPENING_BALANCE)?;
    Ok(Storm::new(url, account, THREADS, TIME, strategy))
}
