//! Pots that calls put their names into, and what the servers are asked in a storm of kills.
//!
//! An operation appends its name to the log of a pot. So the log says how often each operation is
//! durable, whether it was one call's own transaction or part of a batch.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool, R2D2Connection};
use diesel::sql_types::Text;
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{update_row, with_row_lock, CommitToken, LockError, Locked, Retry, RowLock};

use super::super::ledger::Teller;

diesel::table! {
    pots (id) {
        id -> Integer,
        log -> Text,
    }
}

#[derive(Debug, Clone, Queryable, Identifiable, AsChangeset)]
pub(crate) struct Pot {
    pub(crate) id: i32,
    /// The names of the operations, each with a space behind it.
    pub(crate) log: String,
}

impl Pot {
    pub(crate) fn put(&mut self, op: &str) {
        self.log.push_str(op);
        self.log.push(' ');
    }
}

/// The log as a closure saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) length: usize,
    hash: u64,
}

impl Seen {
    pub(crate) fn of(log: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        log.hash(&mut hasher);
        Self {
            length: log.len(),
            hash: hasher.finish(),
        }
    }

    /// The rest of this log behind what was seen; `None` if it does not begin with that.
    pub(crate) fn rest_of(self, log: &str) -> Option<&str> {
        let (seen, rest) = log.split_at_checked(self.length)?;
        (Self::of(seen) == self).then_some(rest)
    }
}

/// Why a closure's change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the closure's own error")]
    Own(Seen),
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl From<diesel::result::Error> for Refused {
    fn from(error: diesel::result::Error) -> Self {
        LockError::from(error).into()
    }
}

/// A closure that changes a pot.
pub(crate) type Change = dyn FnMut(&mut Pot) -> Result<Seen, Refused> + Send;

pub(crate) const POTS: i32 = 64;

/// How many operations of each name a pot has.
pub(crate) type Logs = BTreeMap<i32, BTreeMap<String, usize>>;

/// How a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Plain,
    /// A call within a call: both pots have the operation, or neither.
    Nested,
    Timeout,
    Retry,
    Token,
    UpdateRow,
    Queue,
    /// By hand, as the library once ended its transactions.
    Planted,
    /// No lock and no transaction: plain Diesel reads rows.
    Reading,
}

impl How {
    pub(crate) const OF_ONE_CONNECTION: [Self; 6] = [
        Self::Plain,
        Self::Nested,
        Self::Timeout,
        Self::Retry,
        Self::Token,
        Self::UpdateRow,
    ];
}

/// A connection whose session is killed at.
pub(crate) trait Saver: Teller + R2D2Connection + 'static {
    /// What a session may leave as it was: unusual values, so that a default is seen as a change.
    const SETUP: &'static str;
    const SETTINGS: &'static str;
    /// The sessions of a database but for this one, and the statement that cancels what one does.
    fn sessions(name: &str) -> String;
    fn cancel(session: &str) -> String;

    /// One call; it puts `op` into the first pot, or nested into both.
    fn call(
        &mut self,
        how: How,
        pots: [i32; 2],
        op: &str,
        token: CommitToken,
    ) -> Result<(), LockError>;

    /// As the calls of a queue do it.
    fn update(queue: &Queue<Self>, pot: i32, op: String) -> Result<(), LockError>;

    fn update_in(queue: &Queue<Self>, pot: i32, change: Box<Change>) -> Result<Seen, Refused>;

    /// As a call without a queue does it.
    fn update_row(&mut self, pot: i32, change: &mut Change) -> Result<Seen, Refused>;

    /// As a program without this library does it.
    fn change_under_lock(&mut self, pot: i32, change: &mut Change) -> Result<Seen, Refused>;

    fn read(&mut self, pot: i32) -> QueryResult<Pot>;

    /// Without any condition.
    fn write_pot(&mut self, pot: &Pot) -> QueryResult<()>;

    fn pots(&mut self) -> QueryResult<Vec<Pot>>;

    /// By hand, up to the end of the transaction.
    fn put_by_hand(&mut self, pot: i32, op: &str) -> QueryResult<()>;
    /// The end of it: a batch that does more than `COMMIT`.
    const END: &'static str;

    fn logs(&mut self) -> QueryResult<Logs> {
        let log = |pot: &Pot| {
            let mut counts = BTreeMap::new();
            for op in pot.log.split_whitespace() {
                *counts.entry(op.to_owned()).or_default() += 1;
            }
            counts
        };
        let pots = self.pots()?;
        Ok(pots.iter().map(|pot| (pot.id, log(pot))).collect())
    }

    fn found_pots(&mut self) -> QueryResult<()> {
        let rows: Vec<_> = (1..=POTS).map(|id| format!("({id}, '')")).collect();
        self.batch_execute("DROP TABLE IF EXISTS pots")?;
        self.batch_execute(Self::TABLE)?;
        self.batch_execute(&format!("INSERT INTO pots VALUES {}", rows.join(", ")))?;
        Ok(CommitToken::create_table(self)?)
    }
    const TABLE: &'static str;

    fn settings(&mut self) -> QueryResult<String>;
    fn list(&mut self, name: &str) -> QueryResult<Vec<String>>;
}

pub(crate) type Queue<C> = RowQueue<C, Pot>;

pub(crate) fn queue<C: Saver>(pool: Pool<ConnectionManager<C>>) -> Queue<C> {
    RowQueue::new(pool)
}

macro_rules! saver {
    (
        $conn:ty, table: $table:literal, setup: $setup:literal, settings: $settings:literal,
        sessions: $sessions:expr, cancel: $cancel:expr,
        begin: $begin:literal, mark: $mark:literal, end: $end:literal
    ) => {
        impl Saver for $conn {
            const TABLE: &'static str = $table;
            const SETUP: &'static str = $setup;
            const SETTINGS: &'static str = $settings;
            const END: &'static str = $end;

            fn sessions(name: &str) -> String {
                let sessions: fn(&str) -> String = $sessions;
                sessions(name)
            }

            fn cancel(session: &str) -> String {
                let cancel: fn(&str) -> String = $cancel;
                cancel(session)
            }

            fn call(
                &mut self,
                how: How,
                [pot, other]: [i32; 2],
                op: &str,
                token: CommitToken,
            ) -> Result<(), LockError> {
                let put = |conn: &mut Self, mut pot: Locked<'_, Pot>| {
                    pot.put(op);
                    // Not `save_changes`, which does not count the rows: MariaDB 11.8 may answer an
                    // UPDATE that was cancelled by a success without a row.
                    if diesel::update(&*pot).set(&*pot).execute(conn)? == 0 {
                        return Err(LockError::from(diesel::result::Error::RollbackTransaction));
                    }
                    // As it does: a `SELECT` that may be cancelled behind its row.
                    pots::table.find(pot.id).first::<Pot>(conn)?;
                    Ok(())
                };
                let row = pots::table.find(pot);
                let lock = RowLock::for_update();
                match how {
                    How::Plain => with_row_lock(self, row, put),
                    How::Nested => with_row_lock(self, row, |conn, pot: Locked<'_, Pot>| {
                        put(conn, pot)?;
                        with_row_lock(conn, pots::table.find(other), put)
                    }),
                    How::Timeout => lock.timeout(Duration::from_secs(5)).with(self, row, put),
                    How::Retry => lock.retry(Retry::new()).with(self, row, put),
                    How::UpdateRow => update_row(self, pot, |pot: &mut Pot| {
                        pot.put(op);
                        Ok(())
                    }),
                    How::Token => lock.commit_token(token).with(self, row, put),
                    How::Reading => {
                        pots::table.load::<Pot>(self)?;
                        Ok(())
                    }
                    How::Queue | How::Planted => unreachable!("{how:?}"),
                }
            }

            fn update(queue: &Queue<Self>, pot: i32, op: String) -> Result<(), LockError> {
                queue.update(pot, move |pot| {
                    pot.put(&op);
                    Ok::<_, LockError>(())
                })
            }

            fn update_in(
                queue: &Queue<Self>,
                pot: i32,
                mut change: Box<Change>,
            ) -> Result<Seen, Refused> {
                queue.update(pot, move |pot| change(pot))
            }

            fn update_row(&mut self, pot: i32, change: &mut Change) -> Result<Seen, Refused> {
                update_row(self, pot, |pot: &mut Pot| change(pot))
            }

            fn change_under_lock(
                &mut self,
                pot: i32,
                change: &mut Change,
            ) -> Result<Seen, Refused> {
                with_row_lock(self, pots::table.find(pot), |conn, pot: Locked<'_, Pot>| {
                    let mut pot = pot.into_inner();
                    let seen = change(&mut pot)?;
                    conn.write_pot(&pot)?;
                    Ok(seen)
                })
            }

            fn read(&mut self, pot: i32) -> QueryResult<Pot> {
                pots::table.find(pot).first(self)
            }

            fn write_pot(&mut self, pot: &Pot) -> QueryResult<()> {
                diesel::update(pot).set(pot).execute(self).map(drop)
            }

            fn pots(&mut self) -> QueryResult<Vec<Pot>> {
                pots::table.order(pots::id).load(self)
            }

            fn put_by_hand(&mut self, pot: i32, op: &str) -> QueryResult<()> {
                self.batch_execute($begin)?;
                let mut row: Pot = pots::table.find(pot).for_update().first(self)?;
                self.batch_execute($mark)?;
                row.put(op);
                diesel::update(&row).set(&row).execute(self)?;
                Ok(())
            }

            fn settings(&mut self) -> QueryResult<String> {
                sql::<Text>(Self::SETTINGS).get_result(self)
            }

            fn list(&mut self, name: &str) -> QueryResult<Vec<String>> {
                sql::<Text>(&Self::sessions(name)).load(self)
            }
        }
    };
}

saver! {
    PgConnection,
    table: "CREATE TABLE pots (id INTEGER PRIMARY KEY, \
        log TEXT NOT NULL CHECK (log NOT LIKE '%!%'))",
    setup: "SET lock_timeout = '7s'",
    settings: "SELECT concat_ws(' ', current_setting('lock_timeout'), \
        current_setting('statement_timeout'), current_setting('transaction_isolation'), \
        (SELECT count(*) FROM pg_cursors WHERE name <> ''), \
        now() = statement_timestamp())",
    sessions: |name| format!(
        "SELECT CAST(pid AS TEXT) FROM pg_stat_activity \
         WHERE application_name = '{name}' AND pid <> pg_backend_pid()"
    ),
    cancel: |session| format!("SELECT pg_cancel_backend({session})"),
    begin: "BEGIN",
    mark: "SAVEPOINT g",
    end: "RELEASE SAVEPOINT g; COMMIT; SELECT pg_sleep(0.002)"
}

saver! {
    MysqlConnection,
    table: "CREATE TABLE pots (id INTEGER PRIMARY KEY, \
        log MEDIUMTEXT NOT NULL CHECK (log NOT LIKE '%!%'))",
    setup: "SET innodb_lock_wait_timeout = 7",
    settings: "SELECT CAST(CONCAT_WS(' ', @@autocommit, @@innodb_lock_wait_timeout, \
        @@session.sql_mode /*M! , @@in_transaction, @@tx_isolation */ \
        /*!80001 , @@transaction_isolation */) AS CHAR)",
    sessions: |name| format!(
        "SELECT /*M! CAST(id AS CHAR) FROM information_schema.processlist \
             WHERE db = '{name}' AND id <> connection_id() */ \
         /*!80001 CAST(processlist_id AS CHAR) FROM performance_schema.threads \
             WHERE processlist_db = '{name}' AND processlist_id <> connection_id() */"
    ),
    cancel: |session| format!("KILL QUERY {session}"),
    begin: "SET autocommit = 0",
    mark: "SAVEPOINT g",
    // MySQL needs a little longer to be hit.
    end: "RELEASE SAVEPOINT g; COMMIT; /*!80001 DO SLEEP(0.001); */ SET autocommit = 1"
}
