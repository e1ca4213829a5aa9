//! Who waits for whom on MySQL and MariaDB.

use std::time::Duration;

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::mysql::Mysql;
use diesel::result::QueryResult;
use diesel::sql_types::{Nullable, Text};
use diesel::{OptionalExtension, RunQueryDsl};

use super::waits::waits_in_turn;
use crate::race::{Seen, Watch};
use crate::waits::backend::WaitsBackend;

impl Watch for Mysql {
    const PAUSE: Duration = Duration::from_millis(5);

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
        let session = who.session;
        // MySQL's list of processes fails on a statement of another session whose text it can't
        // convert.
        let state = format!(
            "/*M! SELECT state FROM information_schema.processlist WHERE id = {session} */ \
             /*!50700 SELECT processlist_state FROM performance_schema.threads \
             WHERE processlist_id = {session} */"
        );
        let state = sql::<Nullable<Text>>(&state)
            .get_result::<Option<String>>(watcher)
            .optional()?
            .flatten();
        let others = others.iter().map(|other| other.session);
        if state.is_some_and(|state| is_wait_for_table(&state)) {
            // The server does not say for whom.
            return Ok(others.collect());
        }
        // None as long as it can't be told.
        let seen = waits_in_turn(watcher)?;
        let waits = seen.map(|seen| seen.waits).unwrap_or_default();
        let blocks = |other: &i64| {
            let mut waits = waits.iter();
            waits.any(|&(waiter, _, _, blocker, ..)| (waiter, blocker) == (session, *other))
        };
        Ok(others.filter(blocks).collect())
    }

    fn end_session<C>(watcher: &mut C, session: i64) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        Self::terminate(watcher, session).map(drop)
    }
}

/// `Waiting for table metadata lock` and its like; `User lock` is `GET_LOCK`.
fn is_wait_for_table(state: &str) -> bool {
    (state.starts_with("Waiting for ") && state.ends_with(" lock")) || state == "User lock"
}
