//! How the statements around a transaction are sent: one by one.
//!
//! Never several in one batch. `KILL QUERY` between two of them makes the server drop the rest of
//! the batch after it has announced more results, and the client library then waits for ever.

use diesel::connection::LoadConnection;
use diesel::mysql::Mysql;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::{Error as DieselError, QueryResult};

use crate::backend::{cause_in, Cause};

/// Runs a statement that the server prepares once for each text: one round trip from then on.
/// Returns the number of rows.
pub(super) fn run<C>(conn: &mut C, sql: &str) -> QueryResult<usize>
where
    C: LoadConnection<Backend = Mysql>,
{
    conn.execute_returning_count(&Statement { sql, once: false })
}

/// Runs a statement whose text does not come again.
pub(super) fn run_once<C>(conn: &mut C, sql: &str) -> QueryResult<usize>
where
    C: LoadConnection<Backend = Mysql>,
{
    conn.execute_returning_count(&Statement { sql, once: true })
}

/// Sends a statement that MySQL can't prepare. Diesel's client sends two messages around it.
pub(super) fn send<C>(conn: &mut C, sql: &str) -> QueryResult<()>
where
    C: LoadConnection<Backend = Mysql>,
{
    conn.batch_execute(sql)
}

/// How often a statement that may not be missed is sent again after it was cancelled.
const TRIES: u32 = 100;

/// Runs a statement that ends something until it is not cancelled any more: the `KILL QUERY` was
/// meant for another one. It must do no harm when it runs twice.
pub(super) fn insist<C, T>(
    conn: &mut C,
    statement: impl Fn(&mut C) -> QueryResult<T>,
) -> QueryResult<T>
where
    C: LoadConnection<Backend = Mysql>,
{
    let mut result = statement(conn);
    // Bounded: a session that kills without end must not keep the call for ever.
    for _ in 1..TRIES {
        match &result {
            Err(error) if is_interrupted(error) => result = statement(conn),
            _ => break,
        }
    }
    result
}

/// Whether the statement was cancelled, or took too long.
pub(super) fn is_interrupted(error: &DieselError) -> bool {
    matches!(
        cause_in::<Mysql>(error),
        Some(Cause::Cancelled | Cause::StatementTimeout)
    )
}

struct Statement<'s> {
    sql: &'s str,
    once: bool,
}

/// Told apart by its text.
impl QueryId for Statement<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Mysql> for Statement<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        // In the cache it would stay as long as the connection, one more for each call.
        if self.once {
            out.unsafe_to_cache_prepared();
        }
        out.push_sql(self.sql);
        Ok(())
    }
}
