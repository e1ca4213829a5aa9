//! Who waits for whom on PostgreSQL.

use std::time::Duration;

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Integer};
use diesel::RunQueryDsl;

use crate::race::{Seen, Watch};
use crate::waits::backend::WaitsBackend;

impl Watch for Pg {
    const PAUSE: Duration = Duration::from_millis(3);

    fn session<C>(conn: &mut C) -> QueryResult<i64>
    where
        C: LoadConnection<Backend = Self>,
    {
        <Self as WaitsBackend>::session(conn)
    }

    fn waits_for<C>(watcher: &mut C, who: &Seen, others: &[Seen]) -> QueryResult<Vec<i64>>
    where
        C: LoadConnection<Backend = Self>,
    {
        // The second function knows of those whom a DEFERRABLE transaction waits for.
        let session = who.session;
        let blockers = format!(
            "SELECT pg_blocking_pids({session}) || pg_safe_snapshot_blocking_pids({session})"
        );
        let blockers = sql::<Array<Integer>>(&blockers).get_result::<Vec<i32>>(watcher)?;
        let blocks = |other: &i64| blockers.iter().any(|&blocker| i64::from(blocker) == *other);
        let others = others.iter().map(|other| other.session);
        Ok(others.filter(blocks).collect())
    }

    fn end_session<C>(watcher: &mut C, session: i64) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        Self::terminate(watcher, session).map(drop)
    }
}
