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
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod server;
mod sqlite;

use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::check::Books;
use crate::strategy::{Manner, Strategy, Teller};
use crate::workload::Workload;

/// The schema, or database, for the tables.
#[cfg(any(feature = "postgres", feature = "mysql"))]
const SCHEMA: &str = "row_lock_bench";

/// In SQL that all of them take. The database refuses a balance of `REFUSED`. It checks nothing of
/// the journal: an entry may stand there twice, or the check would never see one.
const TABLES: &str = "
    CREATE TABLE accounts (
        id INTEGER PRIMARY KEY,
        balance BIGINT NOT NULL CHECK (balance > -1000000000000),
        version BIGINT NOT NULL
    );
    CREATE TABLE journal (
        account INTEGER NOT NULL,
        seq BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        balance BIGINT NOT NULL
    );
";

/// So far below what is refused that no deposits of the same batch make it good.
const REFUSED: i64 = -2_000_000_000_000;

/// As an address, instead of a URL.
pub(crate) const EMBEDDED: &str = "sqlite";

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

/// The accounts and their journal, and the pool before them.
pub(crate) trait Bank {
    /// As many accounts as `rows`, all of them empty, and no entry.
    fn reset(&self, rows: i32) -> Result<()>;

    /// What the accounts and the journal say.
    fn books(&self) -> Result<Books>;

    /// `None` if the database has no such thing.
    fn teller(
        &self,
        strategy: Strategy,
        workload: Workload,
        manner: Manner,
    ) -> Option<Box<dyn Teller>>;

    /// The most connections that were out of the pool since this was asked last.
    fn most_connections(&self) -> usize;

    /// What a round trip takes, in milliseconds.
    fn round_trip(&self) -> Result<f64>;
}

/// Without a network, and with one lock for all rows.
pub(crate) fn is_embedded(url: &str) -> bool {
    url == EMBEDDED
}

pub(crate) fn open(url: &str) -> Result<Box<dyn Database>> {
    if is_embedded(url) {
        return Ok(Box::new(sqlite::File::new()?));
    }
    let url = Url::parse(url).with_context(|| format!("no URL: {url}"))?;
    match url.scheme() {
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(Box::new(server::Server::<postgres::Postgres>::new(url)?)),
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => bail!("add `--features postgres`"),
        #[cfg(feature = "mysql")]
        "mysql" => Ok(Box::new(server::Server::<mysql::Mysql>::new(url)?)),
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
