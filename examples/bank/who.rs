//! `who`: who edits, and who waits.

use humantime::format_rfc3339_seconds;

use crate::bank::Bank;
use crate::error::BankError;

pub(crate) fn command(bank: &mut dyn Bank) -> Result<(), BankError> {
    let editors = bank.editors()?;
    for holder in &editors {
        println!(
            "{} is held by {} ({}) since {}, {} {}",
            holder.lease,
            holder.owner,
            holder.note,
            format_rfc3339_seconds(holder.acquired),
            if holder.expired { "expired" } else { "expires" },
            format_rfc3339_seconds(holder.expires),
        );
    }
    if editors.is_empty() {
        println!("nobody holds a lease");
    }
    match bank.waits()? {
        Some(waits) if waits.is_empty() => println!("nobody waits for a lock"),
        Some(waits) => waits.iter().for_each(|wait| println!("{wait}")),
        None => {}
    }
    Ok(())
}
