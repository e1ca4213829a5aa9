//! Whether a connection caches its prepared statements. Diesel has no getter for that.

use std::cell::Cell;
use std::io;

use diesel::connection::LoadConnection;
use diesel::mysql::Mysql;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Integer;

/// Whether Diesel caches the statements of this connection, which is its default.
///
/// Diesel's cache finds a statement with a static id by its type, not by its text. So this asks for
/// the same one twice, the second time with a text that can't be prepared. Only a connection that
/// has cached the first one does not prepare the second, and binds its value, which refuses. No
/// statement is executed. Where the cache is on, this takes one round trip.
pub(super) fn is_on<C>(conn: &mut C) -> bool
where
    C: LoadConnection<Backend = Mysql>,
{
    // Unknown if the first one can't be prepared. A statement that hangs is worse than a cache.
    !is_bound(conn, "DO ") || is_bound(conn, "row_lock asks for its own statement ")
}

/// Whether Diesel has bound the value of the statement.
fn is_bound<C>(conn: &mut C, sql: &'static str) -> bool
where
    C: LoadConnection<Backend = Mysql>,
{
    let probe = Probe {
        sql,
        value: Value(Cell::new(false)),
    };
    // It always fails.
    // `execute`, not `batch_execute`: only that one goes through the cache.
    let _ = conn.execute_returning_count(&probe);
    probe.value.0.get()
}

struct Probe {
    sql: &'static str,
    value: Value,
}

impl QueryId for Probe {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Mysql> for Probe {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        out.push_sql(self.sql);
        out.push_bind_param::<Integer, _>(&self.value)
    }
}

/// Notes that Diesel binds it, and refuses.
#[derive(Debug)]
struct Value(Cell<bool>);

impl ToSql<Integer, Mysql> for Value {
    fn to_sql<'b>(&'b self, _: &mut Output<'b, '_, Mysql>) -> serialize::Result {
        self.0.set(true);
        Err(
            io::Error::other("diesel-row-lock asks whether this connection caches its statements")
                .into(),
        )
    }
}
