//! `edit`: an operator thinks about the name of an owner, and nobody else edits it meanwhile.

use std::io::{stdin, stdout, BufRead, Write};
use std::thread::sleep;
use std::time::Duration;

use crate::bank::Bank;
use crate::error::BankError;

/// The new `owner` after the time `hold`, or what is typed.
pub(crate) fn command(
    bank: &mut dyn Bank,
    id: i32,
    operator: &str,
    owner: Option<&str>,
    hold: Duration,
) -> Result<(), BankError> {
    bank.edit_owner(id, operator, &mut |present| match owner {
        Some(owner) => {
            sleep(hold);
            Ok(Some(owner.to_owned()))
        }
        None => ask(id, present).map_err(BankError::Input),
    })
}

/// `None` if nothing is typed.
fn ask(id: i32, present: &str) -> std::io::Result<Option<String>> {
    print!("New owner of account {id}, which is {present}'s (nothing: no change): ");
    stdout().flush()?;
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    let owner = line.trim();
    Ok((!owner.is_empty()).then(|| owner.to_owned()))
}
