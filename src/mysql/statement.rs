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
) -> QueryResult<T> {
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use diesel::result::DatabaseErrorKind;

    use super::*;

    fn error(message: &str) -> DieselError {
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned()))
    }

    /// How often a statement is sent that fails with `message` for the first `failures` times, and
    /// whether it succeeds.
    fn sent(message: &str, failures: u32) -> (u32, bool) {
        let sent = Cell::new(0);
        let result = insist(&mut (), |()| {
            sent.set(sent.get() + 1);
            if sent.get() > failures {
                Ok(())
            } else {
                Err(error(message))
            }
        });
        (sent.get(), result.is_ok())
    }

    #[test]
    fn statement_that_is_cancelled_is_sent_until_it_succeeds() {
        let too_long = "Query execution was interrupted (max_statement_time exceeded)";
        for message in ["Query execution was interrupted", too_long] {
            assert_eq!(sent(message, 0), (1, true));
            assert_eq!(sent(message, 1), (2, true));
            assert_eq!(sent(message, TRIES - 1), (TRIES, true));
            assert_eq!(sent(message, TRIES), (TRIES, false));
        }
    }

    #[test]
    fn statement_that_fails_by_itself_is_sent_once() {
        for message in [
            "XAER_RMFAIL: The command cannot be executed",
            "Lost connection to server during query",
            "Lock wait timeout exceeded; try restarting transaction",
        ] {
            assert_eq!(sent(message, 1), (1, false), "{message}");
        }
    }
}
