//! `audit`: every account against its journal.

use std::process::ExitCode;

use crate::bank::Bank;
use crate::error::BankError;

pub(crate) fn command(bank: &mut dyn Bank) -> Result<ExitCode, BankError> {
    let (mut accounts, mut entries, mut broken) = (0_u64, 0, 0_u64);
    for id in bank.accounts()? {
        let books = bank.books(id)?;
        accounts += 1;
        entries += books.entries;
        if !books.are_in_order() {
            broken += 1;
            println!(
                "account {id} is broken: its balance is {}, its journal adds up to {}, \
                 {} of its entries overwrote another one",
                books.balance, books.journal, books.breaks
            );
        }
    }
    println!("{accounts} accounts, {entries} journal entries, {broken} broken");
    Ok(if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
