//! The MySQL server at `MYSQL_URL`.

use super::mysql_family::{self, Server};

pub(crate) use super::mysql_family::Conn;

pub(crate) type Db = mysql_family::Db<MySql>;

pub(crate) struct MySql;

impl Server for MySql {
    const STAMP: &str = "mysql";
    const VARIABLE: &str = "MYSQL_URL";
    /// The last one is whether the session is in a transaction, which MySQL has no variable for.
    const SETTINGS: &str =
        "SELECT concat_ws(' ', @@autocommit, @@innodb_lock_wait_timeout, @@transaction_isolation, \
         @@wait_timeout, (SELECT count(*) FROM performance_schema.events_transactions_current \
             WHERE state = 'ACTIVE' AND autocommit = 'NO' AND thread_id = ps_current_thread_id()))";
    /// Not `information_schema.processlist`: that fails as a whole while any session of the server
    /// runs a statement with a crab in it (error 3854).
    const SESSIONS_OF_DATABASE: &str =
        "SELECT processlist_id FROM performance_schema.threads WHERE processlist_db";
    /// MySQL knows no other way.
    const LOOSE_SNAPSHOTS: &str = "DO 1";
}
