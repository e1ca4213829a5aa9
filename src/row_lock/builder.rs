//! [`RowLock`]: the strength and the options.

use std::marker::PhantomData;
use std::time::Duration;

use crate::commit_token::CommitToken;
use crate::hold::{HoldAtMost, Unlimited};
use crate::isolation::Isolation;
use crate::sql::clause::{
    Block, EveryTable, ForKeyShare, ForNoKeyUpdate, ForShare, ForUpdate, NoWait, Of, SkipLocked,
    Timeout,
};

/// How to lock: how strong, and how long to wait.
///
/// It begins with the strength ([`for_update`](Self::for_update) and its weaker sisters), goes on
/// with options in any order, and ends in [`with`](Self::with), which takes any
/// [target](crate::bounds::Target): a query, all rows of a query, rows by primary key. It is `Copy`
/// and may be a constant, whose type is one of `diesel_row_lock::options`
/// ([`for_update`](Self::for_update) has an example). What a backend does not have does not compile
/// there.
///
/// | | PostgreSQL | MySQL | MariaDB | SQLite |
/// |---|---|---|---|---|
/// | `for_update` | yes | yes | yes | the whole database |
/// | `for_share` | yes | yes | yes | |
/// | `for_no_key_update`, `for_key_share` | yes | | | |
/// | `no_wait` | yes | 8.0 | yes | yes |
/// | `skip_locked` | yes | 8.0 | 10.6 | |
/// | `timeout` | 1 ms | 1 s | 1 s | 1 ms |
/// | `of` | yes | 8.0 | `Unsupported` | |
/// | `hold_at_most` | 1 ms | 1 s | 1 s | |
/// | `isolation` | yes | yes | yes | always serializable |
///
/// # Example
///
/// A queue of jobs, from which each worker claims what no other holds:
///
/// ```no_run
/// # #[cfg(feature = "postgres")] mod with_server {
/// # use diesel::prelude::*;
/// use diesel_row_lock::{all, LockError, Locked, RowLock};
///
/// # diesel::table! { jobs { id -> Integer, done -> Bool } }
/// # #[derive(Queryable)] struct Job { id: i32, done: bool }
/// # fn work(_: &Job) {}
/// # fn run(conn: &mut PgConnection) -> Result<(), LockError> {
/// let open_jobs = jobs::table.filter(jobs::done.eq(false)).order(jobs::id).limit(10);
/// let lock = RowLock::for_update().skip_locked();
/// lock.with(conn, all(open_jobs), |conn, claimed: Locked<Vec<Job>>| {
///     for job in claimed.iter() {
///         work(job);
///         diesel::update(jobs::table.find(job.id)).set(jobs::done.eq(true)).execute(conn)?;
///     }
///     Ok::<_, LockError>(())
/// })
/// # }
/// # }
/// # fn main() {}
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "a `RowLock` locks nothing until `with`"]
pub struct RowLock<S, W = Block, T = EveryTable, H = Unlimited> {
    pub(super) strength: PhantomData<S>,
    pub(super) wait: W,
    pub(super) tables: T,
    pub(super) hold: H,
    pub(super) transaction: TransactionOptions,
}

/// What is asked of the transaction, and not of the locking statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransactionOptions {
    pub(super) outermost: bool,
    pub(super) isolation: Option<Isolation>,
    pub(super) commit_token: Option<CommitToken>,
}

impl TransactionOptions {
    pub(super) const DEFAULT: Self = Self {
        outermost: false,
        isolation: None,
        commit_token: None,
    };
}

impl<S> RowLock<S> {
    const fn new() -> Self {
        Self {
            strength: PhantomData,
            wait: Block,
            tables: EveryTable,
            hold: Unlimited,
            transaction: TransactionOptions::DEFAULT,
        }
    }
}

impl RowLock<ForUpdate> {
    /// `FOR UPDATE`: nobody else can lock, change or delete the row. On SQLite, the write lock of
    /// the whole database (`BEGIN IMMEDIATE`).
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use diesel_row_lock::options::{ForUpdate, Timeout};
    /// use diesel_row_lock::RowLock;
    ///
    /// const PATIENT: RowLock<ForUpdate, Timeout> =
    ///     RowLock::for_update().timeout(Duration::from_secs(10)).outermost();
    /// # let _ = PATIENT;
    /// ```
    pub const fn for_update() -> Self {
        Self::new()
    }
}

impl RowLock<ForNoKeyUpdate> {
    /// `FOR NO KEY UPDATE`: as `FOR UPDATE`, but rows that reference this one by a foreign key can
    /// still be inserted. Right for every change that leaves the key alone. Only PostgreSQL.
    pub const fn for_no_key_update() -> Self {
        Self::new()
    }
}

impl RowLock<ForShare> {
    /// `FOR SHARE`: others may hold the same lock, nobody can change or delete the row. Not
    /// available on SQLite. On MariaDB it reads `LOCK IN SHARE MODE`.
    pub const fn for_share() -> Self {
        Self::new()
    }
}

impl RowLock<ForKeyShare> {
    /// `FOR KEY SHARE`: others may change the row, but not delete it nor change its key. So of the
    /// model only the key is sure; the rest is what was committed when the statement began. Only
    /// PostgreSQL.
    pub const fn for_key_share() -> Self {
        Self::new()
    }
}

impl<S, T: Copy, H: Copy> RowLock<S, Block, T, H> {
    const fn wait<W>(self, wait: W) -> RowLock<S, W, T, H> {
        RowLock {
            strength: self.strength,
            wait,
            tables: self.tables,
            hold: self.hold,
            transaction: self.transaction,
        }
    }

    /// Fail with [`LockError::Busy`](crate::LockError::Busy) instead of waiting: `NOWAIT`; on
    /// SQLite a `busy_timeout` of zero, for the `BEGIN` only.
    ///
    /// # Example
    ///
    /// ```
    /// # include!("../doctest_setup.rs");
    /// use diesel_row_lock::{LockError, Locked, RowLock};
    ///
    /// # fn main() {
    /// # let folder = tempfile::tempdir().expect("a folder");
    /// # let (conn, somebody_else) = &mut establish_two_connections(folder.path());
    /// # use diesel::connection::SimpleConnection;
    /// # somebody_else.batch_execute("BEGIN IMMEDIATE").expect("the lock");
    /// // Somebody else holds the lock.
    /// let result = RowLock::for_update().no_wait().with(
    ///     conn,
    ///     accounts::table.find(1),
    ///     |_, account: Locked<Account>| Ok::<_, LockError>(account.balance),
    /// );
    /// assert!(matches!(result, Err(LockError::Busy { .. })));
    /// # }
    /// ```
    pub const fn no_wait(self) -> RowLock<S, NoWait, T, H> {
        self.wait(NoWait)
    }

    /// Leave out the rows that somebody else holds: `SKIP LOCKED`. Not available on SQLite.
    ///
    /// A single row that is skipped is [`LockError::NotFound`](crate::LockError::NotFound).
    pub const fn skip_locked(self) -> RowLock<S, SkipLocked, T, H> {
        self.wait(SkipLocked)
    }

    /// Wait for the lock at most this long, then fail with
    /// [`LockError::Timeout`](crate::LockError::Timeout).
    ///
    /// Zero is [`no_wait`](Self::no_wait) everywhere. Rounded up to whole milliseconds on
    /// PostgreSQL and SQLite, to whole seconds on MySQL and MariaDB; longer than the server can
    /// count is as long as it can.
    ///
    /// PostgreSQL: `SET LOCAL lock_timeout`, in the round trip of the `BEGIN`; it applies to all
    /// lock waits of the transaction, and so does MySQL's `innodb_lock_wait_timeout`. MariaDB's
    /// `WAIT n` applies to this lock only, and SQLite's `busy_timeout` is set for the `BEGIN` only.
    /// After the call the session's settings are what they were.
    ///
    /// The time is for one wait. A transaction that waits for several rows waits so long for each.
    /// [`naming_blocker`](RowLock::naming_blocker) tells who was in the way.
    ///
    /// # Example
    ///
    /// ```
    /// # include!("../doctest_setup.rs");
    /// use std::time::Duration;
    /// use diesel_row_lock::{LockError, Locked, RowLock};
    ///
    /// # fn main() {
    /// # let folder = tempfile::tempdir().expect("a folder");
    /// # let (conn, somebody_else) = &mut establish_two_connections(folder.path());
    /// # use diesel::connection::SimpleConnection;
    /// # somebody_else.batch_execute("BEGIN IMMEDIATE").expect("the lock");
    /// // Somebody else holds the lock, and does not let go.
    /// let result = RowLock::for_update().timeout(Duration::from_millis(20)).with(
    ///     conn,
    ///     accounts::table.find(1),
    ///     |_, account: Locked<Account>| Ok::<_, LockError>(account.balance),
    /// );
    /// assert!(matches!(result, Err(LockError::Timeout { .. })));
    /// # }
    /// ```
    pub const fn timeout(self, time: Duration) -> RowLock<S, Timeout, T, H> {
        self.wait(Timeout(time))
    }
}

impl<S, W: Copy, H: Copy> RowLock<S, W, EveryTable, H> {
    /// Lock only the rows of this table of a join: `FOR UPDATE OF table`.
    ///
    /// On PostgreSQL and MySQL. MariaDB has no such thing; there the call returns
    /// [`LockError::Unsupported`](crate::LockError::Unsupported). Not available on SQLite.
    pub const fn of<T>(self, table: T) -> RowLock<S, W, Of<T>, H> {
        RowLock {
            strength: self.strength,
            wait: self.wait,
            tables: Of(table),
            hold: self.hold,
            transaction: self.transaction,
        }
    }
}

impl<S, W: Copy, T: Copy> RowLock<S, W, T, Unlimited> {
    /// Limits how long the lock may be held. If the holder's process is frozen, or its network is
    /// dead, the server ends the session and the rows are free. A holder that is late does not
    /// commit ([`LockError::HoldExpired`](crate::LockError::HoldExpired)).
    ///
    /// The time runs from the acquisition of the lock. Choose it long for a closure: the server
    /// also ends a session that pauses that long anywhere else in the transaction. The server
    /// counts how long the session is idle in the transaction: `SET LOCAL
    /// idle_in_transaction_session_timeout` on PostgreSQL (rounded up to a millisecond),
    /// `idle_transaction_timeout` on MariaDB and `wait_timeout` on MySQL (to a second), in the
    /// round trip of the `BEGIN`. A closure that goes on sending statements is refused only at its
    /// end; but on PostgreSQL 17 and later, where the wait for the lock has a limit too
    /// ([`no_wait`](RowLock::no_wait), [`skip_locked`](RowLock::skip_locked),
    /// [`timeout`](RowLock::timeout)), `transaction_timeout` ends it after the sum of the two. A
    /// statement that finds its session ended fails as
    /// [`LockError::ConnectionLost`](crate::LockError::ConnectionLost).
    ///
    /// Implies [`outermost`](Self::outermost). Not available on SQLite.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")] mod with_server {
    /// # include!("../doctest_setup.rs");
    /// use std::time::Duration;
    /// use diesel_row_lock::{LockError, Locked, RowLock};
    ///
    /// # fn run(conn: &mut PgConnection) -> Result<(), LockError> {
    /// let lock = RowLock::for_update().hold_at_most(Duration::from_secs(5));
    /// lock.with(conn, accounts::table.find(1), |conn, mut account: Locked<Account>| {
    ///     account.balance += 100;
    ///     account.save_changes::<Account>(conn)?;
    ///     Ok(())
    /// })
    /// # }
    /// # }
    /// # fn main() {}
    /// ```
    pub const fn hold_at_most(self, time: Duration) -> RowLock<S, W, T, HoldAtMost> {
        RowLock {
            strength: self.strength,
            wait: self.wait,
            tables: self.tables,
            hold: HoldAtMost(time),
            transaction: self.transaction,
        }
        .outermost()
    }
}

impl<S, W: Copy, T: Copy, H: Copy> RowLock<S, W, T, H> {
    /// Refuse to run inside an open transaction
    /// ([`LockError::AlreadyInTransaction`](crate::LockError::AlreadyInTransaction)), where the
    /// lock would last longer than the call and `Ok` would not mean committed.
    ///
    /// # Example
    ///
    /// ```
    /// # include!("../doctest_setup.rs");
    /// use diesel_row_lock::{LockError, Locked, RowLock};
    ///
    /// # fn main() {
    /// # let conn = &mut establish_connection();
    /// let result = conn.transaction(|conn| {
    ///     RowLock::for_update().outermost().with(
    ///         conn,
    ///         accounts::table.find(1),
    ///         |_, account: Locked<Account>| Ok::<_, LockError>(account.balance),
    ///     )
    /// });
    /// assert!(matches!(result, Err(LockError::AlreadyInTransaction { .. })));
    /// # }
    /// ```
    pub const fn outermost(self) -> Self {
        Self {
            transaction: TransactionOptions {
                outermost: true,
                ..self.transaction
            },
            ..self
        }
    }

    /// Run the transaction at this isolation level, whatever the session's default is.
    ///
    /// Implies [`outermost`](Self::outermost): the level of an open transaction can't be changed.
    /// On SQLite each transaction is serializable, so that every level is satisfied and nothing is
    /// sent.
    ///
    /// On MariaDB 11.6 and later, under the default level `REPEATABLE READ`, a nested lock of a row
    /// that has changed since the transaction began fails as
    /// [`SerializationFailure`](crate::LockError::SerializationFailure). Under
    /// [`ReadCommitted`](Isolation::ReadCommitted) it does not.
    ///
    /// [`Serializable`](Isolation::Serializable) also guards the rows that the closure only reads.
    /// Add [`retry`](Self::retry): the server may choose this transaction to lose.
    ///
    /// Executes `BEGIN ISOLATION LEVEL …` on PostgreSQL, `SET TRANSACTION ISOLATION LEVEL …` for
    /// the next transaction on MariaDB and `SET @@transaction_isolation = …` for the next one on
    /// MySQL, in the round trip of the `BEGIN`. Nothing of it stays in the session.
    ///
    /// # Example
    ///
    /// ```
    /// # include!("../doctest_setup.rs");
    /// use diesel_row_lock::{Isolation, LockError, Locked, Retry, RowLock};
    ///
    /// # fn main() -> Result<(), LockError> {
    /// # let conn = &mut establish_connection();
    /// let lock = RowLock::for_update().isolation(Isolation::Serializable).retry(Retry::new());
    /// let total = lock.with(conn, accounts::table.find(1), |conn, mut account: Locked<Account>| {
    ///     // No other transaction can change this sum before the commit.
    ///     let balances: Vec<i64> = accounts::table.select(accounts::balance).load(conn)?;
    ///     account.balance += 100;
    ///     account.save_changes::<Account>(conn)?;
    ///     Ok::<_, LockError>(balances.iter().sum::<i64>() + 100)
    /// })?;
    /// assert_eq!(total, 1_600);
    /// # Ok(())
    /// # }
    /// ```
    pub const fn isolation(self, level: Isolation) -> Self {
        Self {
            transaction: TransactionOptions {
                outermost: true,
                isolation: Some(level),
                ..self.transaction
            },
            ..self
        }
    }

    /// Leave this token behind if, and only if, the transaction commits, so that a commit in doubt
    /// can be [resolved](CommitToken::resolve).
    ///
    /// Implies [`outermost`](Self::outermost). The table must be there
    /// ([`CommitToken::create_table`]). A token is for one call; used a second time the call
    /// returns [`LockError::Database`](crate::LockError::Database) with a unique violation, and
    /// applies nothing.
    ///
    /// Executes `INSERT INTO row_lock_commits (token) VALUES (…)`, in the round trip of the
    /// `BEGIN`; on MySQL and MariaDB as a statement of its own.
    pub const fn commit_token(self, token: CommitToken) -> Self {
        Self {
            transaction: TransactionOptions {
                outermost: true,
                commit_token: Some(token),
                ..self.transaction
            },
            ..self
        }
    }
}
