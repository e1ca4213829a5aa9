//! SQLite, embedded: a file in a temporary folder.

#[path = "bank.rs"]
mod bank;

use anyhow::Result;
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::r2d2::{CustomizeConnection, Error};
use diesel::sql_types::Text;
use diesel_row_lock::LockError;
use tempfile::TempDir;
use url::Url;

use self::bank::{accounts, pay_in, Account, Accounts, Job};
use super::{pool, Bank, Database, Description};
use crate::strategy::{Deposit, Thought};

type Conn = SqliteConnection;

const EMPTY: &str = "DELETE FROM accounts";

// It has one lock, so no row is free while another one is not.
const JOB_BY_HAND: Job = None;
const JOB_SKIP_LOCKED: Job = None;
const JOB_WAITING: Job = None;

pub(super) struct File {
    folder: TempDir,
    description: Description,
}

impl File {
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut conn = Conn::establish(&file(&folder))?;
        conn.batch_execute(
            "PRAGMA journal_mode = WAL; \
             CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance BIGINT NOT NULL)",
        )?;
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
        let (pool, usage) = pool::pool(&file(&self.folder), size, Box::new(Patient))?;
        Ok(Box::new(Accounts { pool, usage }))
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

fn by_hand(conn: &mut Conn, row: i32, thought: Thought) -> Result<Deposit, LockError> {
    conn.immediate_transaction(|conn| {
        let account: Account = accounts::table.find(row).first(conn)?;
        pay_in(conn, &account, thought)
    })
}
