//! SQLite, embedded: a file in a temporary folder.

#[path = "bank/mod.rs"]
mod bank;

use anyhow::Result;
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::r2d2::{CustomizeConnection, Error};
use diesel::sql_types::Text;
use tempfile::TempDir;
use url::Url;

use super::{pool, Bank, Database, Description, TABLES};

type Conn = SqliteConnection;

const EMPTY: &str = "DELETE FROM";

/// Whether the lock of two rows can be refused and asked for again.
const NO_WAIT_OF_TWO: bool = true;

pub(super) struct File {
    folder: TempDir,
    description: Description,
}

impl File {
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut conn = Conn::establish(&file(&folder))?;
        conn.batch_execute("PRAGMA journal_mode = WAL")?;
        conn.batch_execute(TABLES)?;
        let version: String = sql::<Text>("SELECT sqlite_version()").get_result(&mut conn)?;
        let description = Description {
            name: format!("SQLite {version}"),
            durability: "WAL, synchronous FULL".to_owned(),
        };
        Ok(Self {
            folder,
            description,
        })
    }
}

fn file(folder: &TempDir) -> String {
    folder.path().join("bank.db").display().to_string()
}

impl Database for File {
    fn description(&self) -> Description {
        self.description.clone()
    }

    fn url(&self) -> Option<&Url> {
        None
    }

    fn open(&self, _: Option<&str>, size: u32) -> Result<Box<dyn Bank>> {
        let connections = pool::pool(&file(&self.folder), size, Box::new(Patient))?;
        Ok(bank::Accounts::boxed(connections))
    }
}

/// SQLite's own default is not to wait at all.
#[derive(Debug)]
struct Patient;

impl CustomizeConnection<Conn, Error> for Patient {
    fn on_acquire(&self, conn: &mut Conn) -> Result<(), Error> {
        conn.batch_execute("PRAGMA busy_timeout = 60000; PRAGMA synchronous = FULL")
            .map_err(Error::QueryError)
    }
}

/// It has one lock, and `BEGIN IMMEDIATE` takes it.
mod by_hand {
    use diesel::prelude::*;
    use diesel_row_lock::LockError;

    use super::bank::{accounts, carry_over, pay_in, Account};
    use super::Conn;
    use crate::strategy::{Manner, Order, Receipt};

    pub(super) fn deposit(conn: &mut Conn, row: i32, manner: Manner) -> Result<Receipt, LockError> {
        conn.immediate_transaction(|conn| {
            let account: Account = accounts::table.find(row).first(conn)?;
            pay_in(conn, &account, manner)
        })
    }

    pub(super) fn transfer(
        conn: &mut Conn,
        rows: [i32; 2],
        order: Order,
        manner: Manner,
    ) -> Result<Receipt, LockError> {
        conn.immediate_transaction(|conn| {
            let both: Vec<Account> = accounts::table
                .filter(accounts::id.eq_any(rows))
                .load(conn)?;
            carry_over(conn, &both, order, manner)
        })
    }
}

/// No row is free while another one is not.
mod jobs {
    use diesel_row_lock::LockError;

    use super::Conn;
    use crate::strategy::{Manner, Receipt, Strategy};

    pub(super) type Job = fn(&mut Conn, Manner) -> Result<Receipt, LockError>;

    pub(super) fn by(_: Strategy) -> Option<Job> {
        None
    }
}
