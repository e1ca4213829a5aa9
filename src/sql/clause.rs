//! [`LockingSelect`]: any `SELECT` with a locking clause, whose strength, tables and waiting are
//! types.
//!
//! Diesel's own markers for locking clauses are private, so these are ours. They stand in the
//! type of the statement, so that Diesel's cache of prepared statements goes on working by type.

use std::marker::PhantomData;
use std::time::Duration;

use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::RunQueryDsl;

use super::ablation::are_locks_taken_out;
use crate::backend::{LockBackend, Waiting};

/// `FOR UPDATE`: nobody else can lock, change or delete the row.
///
/// On SQLite, which has no row locks, the whole database is locked for writing
/// (`BEGIN IMMEDIATE`).
#[derive(Debug, Clone, Copy, QueryId)]
pub struct ForUpdate;

/// `FOR NO KEY UPDATE` (PostgreSQL): as [`ForUpdate`], but rows that reference this one by a
/// foreign key can still be inserted.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct ForNoKeyUpdate;

/// `FOR SHARE` (PostgreSQL, MySQL, MariaDB): others may hold the same lock, nobody can change or
/// delete the row.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct ForShare;

/// `FOR KEY SHARE` (PostgreSQL): others may change the row, but not delete it nor change its key.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct ForKeyShare;

/// Wait for the lock as long as the session allows. The default.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct Block;

/// `NOWAIT`: fail with [`LockError::Busy`](crate::LockError::Busy) instead of waiting.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct NoWait;

/// `SKIP LOCKED`: leave out the rows that somebody else holds.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct SkipLocked;

/// Wait at most this long. Zero is [`NoWait`].
#[derive(Debug, Clone, Copy)]
pub struct Timeout(pub(crate) Duration);

/// The SQL may carry the time, so statements are told apart by their text.
impl QueryId for Timeout {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// As `W`, but no longer than the deadline of a [`Retry`](crate::Retry) leaves.
#[derive(Debug, Clone, Copy)]
pub struct Within<W> {
    pub(crate) wait: W,
    pub(crate) left: Option<Duration>,
}

/// See [`Timeout`].
impl<W> QueryId for Within<W> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// The rows of every table of the statement are locked. The default.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct EveryTable;

/// `OF table`: only the rows of this table are locked.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct Of<T>(pub(crate) T);

/// A lock strength.
pub trait Strength: Copy + QueryId {
    /// What it is called in the [telemetry](crate::telemetry).
    #[doc(hidden)]
    const NAME: &'static str;
}

impl Strength for ForUpdate {
    const NAME: &'static str = "for_update";
}

impl Strength for ForNoKeyUpdate {
    const NAME: &'static str = "for_no_key_update";
}

impl Strength for ForShare {
    const NAME: &'static str = "for_share";
}

impl Strength for ForKeyShare {
    const NAME: &'static str = "for_key_share";
}

/// A lock strength that at most one transaction holds on a row: what a
/// [`RowQueue`](crate::queue::RowQueue) needs.
///
/// It can't be implemented outside of this crate.
#[diagnostic::on_unimplemented(
    message = "a queue can't lock rows by the shared strength `{Self}`",
    note = "two callers may hold a shared lock at once, and a change of one of them is lost; \
            use `RowLock::for_update()`, or `RowLock::for_no_key_update()` on PostgreSQL"
)]
pub trait Exclusive: Strength {}

impl Exclusive for ForUpdate {}

impl Exclusive for ForNoKeyUpdate {}

/// A lock strength that the backend `DB` has.
#[diagnostic::on_unimplemented(
    message = "`{DB}` has no row lock of strength `{Self}`",
    note = "PostgreSQL has `for_update`, `for_no_key_update`, `for_share` and \
            `for_key_share`; MySQL and MariaDB have `for_update` and `for_share`",
    note = "SQLite locks the whole database and has only `RowLock::for_update()`"
)]
pub trait LockStrength<DB>: Strength {
    /// The clause; empty where the backend has none.
    #[doc(hidden)]
    const SQL: &'static str;

    /// The same where `NOWAIT`, `SKIP LOCKED` or `OF` follows.
    #[doc(hidden)]
    const SQL_BEFORE_OPTION: &'static str = Self::SQL;
}

/// A way to wait for a lock.
pub trait Wait: Copy + QueryId {
    /// The same as a value.
    #[doc(hidden)]
    fn waiting(&self) -> Waiting;
}

impl Wait for Block {
    fn waiting(&self) -> Waiting {
        Waiting::Session
    }
}

impl Wait for NoWait {
    fn waiting(&self) -> Waiting {
        Waiting::Never
    }
}

impl Wait for SkipLocked {
    fn waiting(&self) -> Waiting {
        Waiting::Skip
    }
}

impl Wait for Timeout {
    fn waiting(&self) -> Waiting {
        if self.0.is_zero() {
            Waiting::Never
        } else {
            Waiting::AtMost(self.0)
        }
    }
}

impl<W: Wait> Wait for Within<W> {
    fn waiting(&self) -> Waiting {
        match self.left {
            Some(left) => self.wait.waiting().within(left),
            None => self.wait.waiting(),
        }
    }
}

/// A way to wait that the backend `DB` has.
#[diagnostic::on_unimplemented(
    message = "`{DB}` can't wait for a row lock by `{Self}`",
    note = "SQLite locks the whole database, so it has no locked rows to skip; \
            use `.no_wait()` or `.timeout(d)`"
)]
pub trait LockWait<DB>: Wait {}

impl<DB, W: LockWait<DB>> LockWait<DB> for Within<W> {}

/// The tables to lock, as the backend `DB` can name them.
#[diagnostic::on_unimplemented(
    message = "`{DB}` can't lock the rows of `{Self}` only",
    note = "`.of(table)` takes a table of the query, on PostgreSQL and MySQL; \
            SQLite locks the whole database"
)]
pub trait LockTables<DB>: Copy + QueryId {
    /// Whether one is named.
    #[doc(hidden)]
    const ARE_NAMED: bool = true;

    /// The table to name, quoted.
    #[doc(hidden)]
    fn name(&self) -> QueryResult<Option<String>>;
}

impl<DB: LockBackend> LockTables<DB> for EveryTable {
    const ARE_NAMED: bool = false;

    fn name(&self) -> QueryResult<Option<String>> {
        Ok(None)
    }
}

/// The name by which a locking clause knows a table: `OF` takes neither a schema nor the table
/// behind an alias, only the last identifier of `"schema"."table"` or `"table" AS "alias"`.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) fn last_identifier(sql: &str, quote: char) -> String {
    let dot = format!("{quote}.{quote}");
    let alias = format!("{quote} AS {quote}");
    let start = [dot, alias]
        .iter()
        .filter_map(|separator| Some(sql.rfind(separator.as_str())? + separator.len() - 1))
        .max()
        .unwrap_or(0);
    sql[start..].to_owned()
}

/// `query` with a locking clause.
#[derive(Debug, Clone, Copy)]
pub struct LockingSelect<Q, S, W, T> {
    pub(crate) query: Q,
    pub(crate) strength: PhantomData<S>,
    pub(crate) wait: W,
    pub(crate) tables: T,
    /// Prepared for this one time, under no name: it can't be taken for another statement, not even
    /// behind a pooler.
    pub(crate) anew: bool,
}

impl<Q: QueryId, S: QueryId, W: QueryId, T: QueryId> QueryId for LockingSelect<Q, S, W, T> {
    type QueryId = LockingSelect<Q::QueryId, S::QueryId, W::QueryId, T::QueryId>;
    const HAS_STATIC_QUERY_ID: bool = Q::HAS_STATIC_QUERY_ID
        && S::HAS_STATIC_QUERY_ID
        && W::HAS_STATIC_QUERY_ID
        && T::HAS_STATIC_QUERY_ID;
}

impl<Q: Query, S, W, T> Query for LockingSelect<Q, S, W, T> {
    type SqlType = Q::SqlType;
}

impl<Q, S, W, T, C> RunQueryDsl<C> for LockingSelect<Q, S, W, T> {}

/// Walks a [`LockingSelect`]. Each backend calls it from a `QueryFragment` of its own; there is no
/// blanket one, so that what a backend does not have is refused where its `impl`s stand.
pub(crate) fn walk_locking_select<'b, DB, Q, S, W, T>(
    select: &'b LockingSelect<Q, S, W, T>,
    mut out: AstPass<'_, 'b, DB>,
) -> QueryResult<()>
where
    DB: LockBackend,
    Q: QueryFragment<DB>,
    S: LockStrength<DB>,
    W: LockWait<DB>,
    T: LockTables<DB>,
{
    select.query.walk_ast(out.reborrow())?;
    if select.anew {
        out.unsafe_to_cache_prepared();
    }
    if are_locks_taken_out() {
        // Diesel's cache finds a statement by its type, and with the clause this is another text.
        out.unsafe_to_cache_prepared();
        return Ok(());
    }
    let table = select.tables.name()?;
    let wait = DB::wait_sql(select.wait.waiting());
    let strength = if table.is_none() && wait.is_empty() {
        S::SQL
    } else {
        S::SQL_BEFORE_OPTION
    };
    if !strength.is_empty() {
        // On a line of its own: SQL of the caller's own may end in a comment.
        out.push_sql("\n");
        out.push_sql(strength);
    }
    if let Some(table) = table {
        out.push_sql(" OF ");
        out.push_sql(&table);
    }
    out.push_sql(&wait);
    Ok(())
}
