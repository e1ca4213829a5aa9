//! The MariaDB server at `MARIADB_URL`.

use super::mysql_family::{self, Server};

pub(crate) use super::mysql_family::Conn;

pub(crate) type Db = mysql_family::Db<MariaDb>;

pub(crate) struct MariaDb;

impl Server for MariaDb {
    const STAMP: &str = "mariadb";
    const VARIABLE: &str = "MARIADB_URL";
    const SETTINGS: &str =
        "SELECT concat_ws(' ', @@autocommit, @@innodb_lock_wait_timeout, @@tx_isolation, \
         @@in_transaction, @@idle_transaction_timeout)";
    const SESSIONS_OF_DATABASE: &str = "SELECT id FROM information_schema.processlist WHERE db";
    /// The default before MariaDB 11.6.2.
    const LOOSE_SNAPSHOTS: &str = "SET innodb_snapshot_isolation = OFF";
}
