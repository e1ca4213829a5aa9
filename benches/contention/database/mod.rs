//! The databases: each is a pool, with the strategies on its own type of connection.

#![allow(
    clippy::duplicate_mod,
    reason = "each backend includes bank.rs with its own connection type"
)]

#[cfg(feature = "mysql")]
mod mysql;
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;

use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::strategy::{Depositor, Strategy, Thought};
use crate::workload::Workload;

/// The schema, or database, for the tables.
const SCHEMA: &str = "row_lock_bench";

/// A server, or a file.
pub(crate) trait Database {
    /// Product and version, and how safe its commits are.
    fn description(&self) -> Description;

    /// `None` without a network.
    fn url(&self) -> Option<&Url>;

    /// A pool of connections, all of them open; by way of a proxy if there is an address.
    fn open(&self, address: Option<&str>, pool: u32) -> Result<Box<dyn Bank>>;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) durability: String,
}

/// The table of accounts, and the pool before it.
pub(crate) trait Bank {
    /// So many accounts, all of them empty.
    fn reset(&self, rows: i32) -> Result<()>;

    /// Of all accounts, by id, which begins with 1.
    fn balances(&self) -> Result<Vec<i64>>;

    /// `None` if the database has no such thing.
    fn depositor(
        &self,
        strategy: Strategy,
        workload: Workload,
        thought: Thought,
    ) -> Option<Box<dyn Depositor>>;

    /// The most connections that were out of the pool since this was asked last.
    fn most_connections(&self) -> usize;

    /// What a round trip takes, in milliseconds.
    fn round_trip(&self) -> Result<f64>;
}

pub(crate) fn open(url: &str) -> Result<Box<dyn Database>> {
    if url == "sqlite" {
        return Ok(Box::new(sqlite::File::new()?));
    }
    let url = Url::parse(url).with_context(|| format!("no URL: {url}"))?;
    match url.scheme() {
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(Box::new(postgres::Server::new(url)?)),
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => bail!("add `--features postgres`"),
        #[cfg(feature = "mysql")]
        "mysql" => Ok(Box::new(mysql::Server::new(url)?)),
        #[cfg(not(feature = "mysql"))]
        "mysql" => bail!("add `--features mysql`"),
        other => bail!("what is {other}://? It is sqlite, postgres://… or mysql://…"),
    }
}

/// The same with another `host:port`.
pub(crate) fn at(url: &Url, address: Option<&str>) -> Result<Url> {
    let mut url = url.clone();
    if let Some((host, port)) = address.and_then(|address| address.rsplit_once(':')) {
        url.set_host(Some(host))?;
        if url.set_port(Some(port.parse()?)).is_err() {
            bail!("{url} can have no port");
        }
    }
    Ok(url)
}
