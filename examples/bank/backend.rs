//! Which database: by the scheme of the URL.

#![allow(
    clippy::duplicate_mod,
    reason = "each backend includes operations.rs with its own connection type"
)]

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;

use crate::bank::Bank;
use crate::error::BankError;

/// Connects, and creates the tables if they are missing.
pub(crate) fn open(url: &str) -> Result<Box<dyn Bank>, BankError> {
    let mut bank = connect(url)?;
    bank.migrate()?;
    Ok(bank)
}

/// Connects to a database that has the tables already.
pub(crate) fn connect(url: &str) -> Result<Box<dyn Bank>, BankError> {
    let (scheme, rest) = url.split_once("://").ok_or(BankError::UnknownScheme)?;
    match scheme {
        // SQLite would open a database that nobody else can see.
        "sqlite" if rest.is_empty() => Err(BankError::NoFile),
        "sqlite" => Ok(Box::new(sqlite::connect(rest)?)),

        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(Box::new(postgres::connect(url)?)),
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => Err(BankError::NotCompiledIn {
            database: "PostgreSQL",
            feature: "postgres",
        }),

        #[cfg(feature = "mysql")]
        "mysql" => Ok(Box::new(mysql::connect(url)?)),
        #[cfg(not(feature = "mysql"))]
        "mysql" => Err(BankError::NotCompiledIn {
            database: "MySQL",
            feature: "mysql",
        }),

        _ => Err(BankError::UnknownScheme),
    }
}
