//! PostgreSQL.

#[path = "bank/mod.rs"]
mod bank;
#[path = "by_hand.rs"]
mod by_hand;
#[path = "jobs.rs"]
mod jobs;

use anyhow::Result;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::sql_types::Text;
use url::Url;

use super::pool::Usage;
use super::server::Product;
use super::{Bank, Description, SCHEMA};

type Conn = PgConnection;

const EMPTY: &str = "TRUNCATE TABLE";

/// Whether the lock of two rows can be refused and asked for again.
const NO_WAIT_OF_TWO: bool = true;

pub(super) struct Postgres;

impl Product for Postgres {
    type Conn = Conn;

    const SCHEMA: &'static str = "SCHEMA";
    const DROP_ALL: &'static str = "CASCADE";

    fn describe(conn: &mut Conn) -> Result<Description> {
        let version: String =
            sql::<Text>("SELECT current_setting('server_version')").get_result(conn)?;
        let number = version.split(' ').next().unwrap_or(&version);
        let durability = "SELECT format('fsync %s, synchronous_commit %s', \
             current_setting('fsync'), current_setting('synchronous_commit'))";
        Ok(Description {
            name: format!("PostgreSQL {number}"),
            durability: sql::<Text>(durability).get_result(conn)?,
        })
    }

    fn in_schema(url: &Url) -> Url {
        let mut url = url.clone();
        url.query_pairs_mut()
            .append_pair("options", &format!("-csearch_path={SCHEMA}"));
        url
    }

    fn bank(connections: (Pool<ConnectionManager<Conn>>, Usage)) -> Box<dyn Bank> {
        bank::Accounts::boxed(connections)
    }
}
