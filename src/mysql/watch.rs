//! Who waits for whom on MySQL and MariaDB.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::mysql::Mysql;
use diesel::result::{Error as DieselError, QueryResult};
use diesel::sql_types::{Nullable, Text};
use diesel::RunQueryDsl;

use super::waits::{waits_in_turn, SERVER};
use crate::race::{Seen, Watch};
use crate::waits::backend::WaitsBackend;
use crate::waits::looks::LooksByName;

/// Waiters and their blockers.
type Pairs = [(i64, i64)];

/// A process may play several races at a time, and on MariaDB each look takes 110 ms of the
/// server's time for looks. The waits of a whole server are in each, whatever the database is.
static LOOKS: LooksByName<Pairs> = LooksByName::new();

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
        let others = others.iter().map(|other| other.session);
        let (server, command, state): State =
            sql::<StateTypes>(&state_of(session)).get_result(watcher)?;
        // It has answered, so it waits for no lock. This takes less time than a look at the locks.
        if command.is_some_and(|command| command == "Sleep") {
            return Ok(Vec::new());
        }
        if state.is_some_and(|state| is_wait_for_table(&state)) {
            // The server does not say for whom.
            return Ok(others.collect());
        }
        // None as long as it can't be told.
        let pairs = pairs(watcher, server)?.unwrap_or_default();
        Ok(others
            .filter(|other| pairs.contains(&(session, *other)))
            .collect())
    }

    fn end_session<C>(watcher: &mut C, session: i64) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        Self::terminate(watcher, session).map(drop)
    }
}

/// The name of the server, and what the session does: its command and its state.
type State = (String, Option<String>, Option<String>);

/// [`State`] as SQL.
type StateTypes = (Text, Nullable<Text>, Nullable<Text>);

/// MySQL's list of processes fails on a statement of another session whose text it can't convert.
fn state_of(session: i64) -> String {
    format!(
        "SELECT {SERVER}, p.command, p.state FROM (SELECT 1) one LEFT JOIN \
         /*M! information_schema.processlist p ON p.id = {session} */ \
         /*!80001 (SELECT processlist_id AS id, processlist_command AS command, \
            processlist_state AS state FROM performance_schema.threads) p ON p.id = {session} */"
    )
}

/// The pairs of waiter and blocker after this call began. `None` if no turn to ask came in time.
fn pairs<C>(watcher: &mut C, server: String) -> QueryResult<Option<Arc<Pairs>>>
where
    C: LoadConnection<Backend = Mysql>,
{
    let looks = LOOKS.of(server);
    let pairs = looks.look(
        Instant::now(),
        || false,
        || {
            let seen = waits_in_turn(watcher).map_err(Some)?.ok_or(None)?;
            let pairs = seen.waits.into_iter();
            let pairs = pairs.map(|(waiter, _, _, blocker, ..)| (waiter, blocker));
            Ok((seen.at, pairs.collect()))
        },
    );
    pairs.or_else(|error: Option<DieselError>| error.map_or(Ok(None), Err))
}

/// `Waiting for table metadata lock` and its like; `User lock` is `GET_LOCK`.
fn is_wait_for_table(state: &str) -> bool {
    (state.starts_with("Waiting for ") && state.ends_with(" lock")) || state == "User lock"
}
