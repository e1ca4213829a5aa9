//! The books that every fault is played against, and the few statements of Diesel that work on
//! them.
//!
//! The database checks nothing here: an operation may stand in the journal twice, two entries of
//! a purse may have one number. Only so does the oracle see what the lock is worth.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_row_lock::{
    CommitToken, LockConnection, LockError, Locked, Retry, RetryCause, Retryable, RowLock,
};

diesel::table! {
    purses (id) {
        id -> Integer,
        balance -> BigInt,
        seq -> BigInt,
    }
}

diesel::table! {
    journal (id) {
        id -> BigInt,
        op -> BigInt,
        purse -> Integer,
        seq -> BigInt,
        amount -> BigInt,
        balance -> BigInt,
    }
}

#[derive(Debug, Clone, Queryable, Identifiable, AsChangeset)]
pub(crate) struct Purse {
    pub(crate) id: i32,
    pub(crate) balance: i64,
    /// The number of its last entry in the journal.
    pub(crate) seq: i64,
}

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = journal)]
pub(crate) struct Entry {
    /// Drawn by lot, and of no other use: some clusters want a primary key.
    pub(crate) id: i64,
    pub(crate) op: i64,
    pub(crate) purse: i32,
    pub(crate) seq: i64,
    pub(crate) amount: i64,
    /// After it.
    pub(crate) balance: i64,
}

/// All that a run has left behind.
#[derive(Debug, Clone)]
pub(crate) struct Books {
    pub(crate) purses: Vec<Purse>,
    pub(crate) journal: Vec<Entry>,
}

/// What every purse begins with.
pub(crate) const OPENING: i64 = 1_000;

/// The tables in SQL that all backends take.
const TABLES: &str = "
    CREATE TABLE purses (id INTEGER PRIMARY KEY, balance BIGINT NOT NULL, seq BIGINT NOT NULL);
    CREATE TABLE journal (
        id BIGINT PRIMARY KEY,
        op BIGINT NOT NULL,
        purse INTEGER NOT NULL,
        seq BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        balance BIGINT NOT NULL
    );
";

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the closure's own error")]
    Own,
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl From<diesel::result::Error> for Refusal {
    fn from(error: diesel::result::Error) -> Self {
        LockError::from(error).into()
    }
}

impl Retryable for Refusal {
    fn retry_cause(&self) -> Option<RetryCause> {
        match self {
            Self::Own => None,
            Self::Lock(error) => error.retry_cause(),
        }
    }
}

/// What is done to two purses, in the order asked for.
pub(crate) type Work<'w, C> = dyn FnMut(&mut C, Vec<Purse>) -> Result<(), Refusal> + 'w;

/// How an operation gets at its purses: the library's call, or a planted bug.
pub(crate) type Call<C> =
    fn(&mut C, [i32; 2], CommitToken, Option<Retry>, &mut Work<'_, C>) -> Result<(), Refusal>;

/// A connection with the statements, the same text for each backend: Diesel's can't be written for
/// all of them at once.
pub(crate) trait Teller: LockConnection {
    fn open(url: &str) -> ConnectionResult<Self>;

    /// One call of the library, or as many as the policy wants. As [`Call`].
    fn locked(
        &mut self,
        purses: [i32; 2],
        token: CommitToken,
        again: Option<Retry>,
        work: &mut Work<'_, Self>,
    ) -> Result<(), Refusal>;

    /// What has become of a purse, and the entry that says so.
    fn write(&mut self, purse: &Purse, entry: &Entry) -> QueryResult<()>;

    /// A statement that fails. (Not a batch: of one Diesel doesn't see why it failed.)
    fn fail(&mut self) -> QueryResult<usize>;

    fn books(&mut self) -> QueryResult<Books>;

    /// Name and version of the server.
    fn server(&mut self) -> QueryResult<String>;

    /// Makes the tables, and that many purses.
    fn found(&mut self, purses: i32) -> QueryResult<()> {
        let rows: Vec<_> = (1..=purses)
            .map(|id| format!("({id}, {OPENING}, 0)"))
            .collect();
        self.batch_execute(TABLES)?;
        self.batch_execute(&format!("INSERT INTO purses VALUES {}", rows.join(", ")))?;
        Ok(CommitToken::create_table(self)?)
    }
}

macro_rules! teller {
    ($conn:ty, setup: $setup:literal, server: $server:literal) => {
        impl Teller for $conn {
            fn open(url: &str) -> ConnectionResult<Self> {
                let mut conn = Self::establish(url)?;
                conn.batch_execute($setup)
                    .map_err(ConnectionError::CouldntSetupConfiguration)?;
                Ok(conn)
            }

            fn locked(
                &mut self,
                ids: [i32; 2],
                token: CommitToken,
                again: Option<Retry>,
                work: &mut Work<'_, Self>,
            ) -> Result<(), Refusal> {
                let lock = RowLock::for_update().commit_token(token);
                let work = |conn: &mut Self, rows: Vec<Locked<'_, Purse>>| {
                    work(conn, rows.into_iter().map(Locked::into_inner).collect())
                };
                match again {
                    Some(policy) => lock.retry(policy).with_many(self, ids, work),
                    None => lock.with_many(self, ids, work),
                }
            }

            fn write(&mut self, purse: &Purse, entry: &Entry) -> QueryResult<()> {
                diesel::update(purse).set(purse).execute(self)?;
                diesel::insert_into(journal::table)
                    .values(entry)
                    .execute(self)?;
                Ok(())
            }

            fn fail(&mut self) -> QueryResult<usize> {
                diesel::sql_query("INSERT INTO nowhere VALUES (1)").execute(self)
            }

            fn books(&mut self) -> QueryResult<Books> {
                Ok(Books {
                    purses: purses::table.order(purses::id).load(self)?,
                    journal: journal::table
                        .order((journal::purse, journal::seq))
                        .load(self)?,
                })
            }

            fn server(&mut self) -> QueryResult<String> {
                sql::<Text>($server).get_result(self)
            }
        }
    };
}

teller! {
    PgConnection,
    // Soon enough where deadlocks are planted.
    setup: "SET deadlock_timeout = '20ms'",
    server: "SELECT 'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1)"
}
teller! {
    MysqlConnection,
    setup: "DO 1",
    server: "SELECT concat(if(version() LIKE '%MariaDB%', 'MariaDB ', 'MySQL '), \
             substring_index(version(), '-', 1))"
}
teller! {
    SqliteConnection,
    setup: "PRAGMA busy_timeout = 20000",
    server: "SELECT 'SQLite ' || sqlite_version()"
}
