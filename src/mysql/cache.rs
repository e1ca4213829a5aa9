//! Whether a connection keeps its prepared statements. Diesel lets nobody read that.

use std::cell::Cell;
use std::io;

use diesel::connection::LoadConnection;
use diesel::mysql::Mysql;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Integer;

/// Whether Diesel keeps the statements of this connection, as it does unless told otherwise.
///
/// A statement with a static id is known by its type alone. So the same one is asked for twice: the
/// second time, its text can't be prepared. Only a connection that has kept the first one does not
/// notice, and comes as far as the value, which refuses to be bound. Nothing is executed. It is one
/// round trip where statements are kept.
pub(super) fn is_on<C>(conn: &mut C) -> bool
where
    C: LoadConnection<Backend = Mysql>,
{
    // If it can't even be prepared, nobody can know: a statement that hangs is worse than a cache.
    !is_bound(conn, "DO ") || is_bound(conn, "row_lock asks for its own statement ")
}

/// Whether the value of the statement was asked for.
fn is_bound<C>(conn: &mut C, sql: &'static str) -> bool
where
    C: LoadConnection<Backend = Mysql>,
{
    let probe = Probe {
        sql,
        value: Value(Cell::new(false)),
    };
    // It always fails.
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

/// Notes that it was asked for, and refuses.
#[derive(Debug)]
struct Value(Cell<bool>);

impl ToSql<Integer, Mysql> for Value {
    fn to_sql<'b>(&'b self, _: &mut Output<'b, '_, Mysql>) -> serialize::Result {
        self.0.set(true);
        Err(
            io::Error::other("diesel-row-lock asks whether this connection keeps its statements")
                .into(),
        )
    }
}
