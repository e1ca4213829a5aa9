//! MariaDB and MySQL.

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

type Conn = MysqlConnection;

const EMPTY: &str = "TRUNCATE TABLE";

/// Whether the lock of two rows can be refused and asked for again. If it is refused while rows are
/// on their way, libmariadb (10.11.19) believes that the statement has more of them to send, and
/// waits for these for ever when the statement is used again.
const NO_WAIT_OF_TWO: bool = false;

pub(super) struct Mysql;

impl Product for Mysql {
    type Conn = Conn;

    const SCHEMA: &'static str = "DATABASE";
    const DROP_ALL: &'static str = "";

    fn describe(conn: &mut Conn) -> Result<Description> {
        let version: String = sql::<Text>("SELECT version()").get_result(conn)?;
        let product = if version.contains("MariaDB") {
            "MariaDB"
        } else {
            "MySQL"
        };
        let number = version.split('-').next().unwrap_or(&version);
        let durability = "SELECT concat('innodb_flush_log_at_trx_commit ', \
             @@innodb_flush_log_at_trx_commit)";
        Ok(Description {
            name: format!("{product} {number}"),
            durability: sql::<Text>(durability).get_result(conn)?,
        })
    }

    fn in_schema(url: &Url) -> Url {
        let mut url = url.clone();
        url.set_path(SCHEMA);
        url
    }

    fn bank(connections: (Pool<ConnectionManager<Conn>>, Usage)) -> Box<dyn Bank> {
        bank::Accounts::boxed(connections)
    }
}
