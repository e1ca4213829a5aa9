//! PostgreSQL.

#[path = "bank.rs"]
mod bank;
#[path = "jobs.rs"]
mod jobs;

use anyhow::{Context, Result};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::r2d2::NopConnectionCustomizer;
use diesel::sql_types::Text;
use diesel_row_lock::LockError;
use url::Url;

use self::bank::{accounts, pay_in, Account, Accounts, Job};
use super::{at, pool, Bank, Database, Description, SCHEMA};
use crate::strategy::{Deposit, Thought};

type Conn = PgConnection;

const EMPTY: &str = "TRUNCATE TABLE accounts";

const JOB_BY_HAND: Job = Some(jobs::by_hand);
const JOB_SKIP_LOCKED: Job = Some(jobs::skip_locked);
const JOB_WAITING: Job = Some(jobs::waiting);

pub(super) struct Server {
    /// As it was given, to make the schema with.
    given: Url,
    /// With the schema.
    url: Url,
    description: Description,
}

impl Server {
    pub(super) fn new(given: Url) -> Result<Self> {
        let mut conn = Conn::establish(given.as_str())?;
        let description = Description {
            name: name(&mut conn)?,
            durability: durability(&mut conn)?,
        };
        let mut url = given.clone();
        url.query_pairs_mut()
            .append_pair("options", &format!("-csearch_path={SCHEMA}"));
        let server = Self {
            given,
            url,
            description,
        };
        server.drop_schema()?;
        conn.batch_execute(&format!("CREATE SCHEMA {SCHEMA}"))?;
        Conn::establish(server.url.as_str())?.batch_execute(
            "CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance BIGINT NOT NULL)",
        )?;
        Ok(server)
    }

    fn drop_schema(&self) -> Result<()> {
        let mut conn = Conn::establish(self.given.as_str())?;
        conn.batch_execute(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone, which is what somebody has been told then.
        let _ = self.drop_schema();
    }
}

impl Database for Server {
    fn description(&self) -> Description {
        self.description.clone()
    }

    fn url(&self) -> Option<&Url> {
        Some(&self.url)
    }

    fn open(&self, address: Option<&str>, size: u32) -> Result<Box<dyn Bank>> {
        let url = at(&self.url, address)?;
        let setup = Box::new(NopConnectionCustomizer);
        let (pool, usage) = pool::pool(url.as_str(), size, setup)
            .with_context(|| format!("{} connections to {url}", size))?;
        Ok(Box::new(Accounts { pool, usage }))
    }
}

fn name(conn: &mut Conn) -> Result<String> {
    let version: String =
        sql::<Text>("SELECT current_setting('server_version')").get_result(conn)?;
    let number = version.split(' ').next().unwrap_or(&version);
    Ok(format!("PostgreSQL {number}"))
}

fn durability(conn: &mut Conn) -> Result<String> {
    let text = "SELECT format('fsync %s, synchronous_commit %s', \
         current_setting('fsync'), current_setting('synchronous_commit'))";
    Ok(sql::<Text>(text).get_result(conn)?)
}

fn by_hand(conn: &mut Conn, row: i32, thought: Thought) -> Result<Deposit, LockError> {
    conn.transaction(|conn| {
        let account: Account = accounts::table.find(row).for_update().first(conn)?;
        pay_in(conn, &account, thought)
    })
}
