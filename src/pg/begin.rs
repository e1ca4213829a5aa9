//! How a transaction begins and ends on PostgreSQL.
//!
//! Each text is one simple query, hence one round trip.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::result::{DatabaseErrorKind, Error as DieselError, QueryResult};
use diesel::sql_types::BigInt;
use diesel::RunQueryDsl;

use crate::backend::transaction::{EndError, TransactionBackend};
use crate::backend::{cause_in, names, Cause, LockBackend, Settings, Waiting, GUARD};
use crate::connection::status;

impl LockBackend for Pg {
    const SYSTEM: &'static str = "postgresql";
    const CONNECTIONS_PER_ROW: usize = 2;
    const ROW_VALUES: &'static str = "";
    const BINDS: usize = 65_535;
    const CREATE_COMMITS: &'static str =
        include_str!("../../migrations/postgres/2026-11-22-000001_row_lock_commits/up.sql");

    fn seconds_ago(seconds: u32) -> String {
        format!("CURRENT_TIMESTAMP - INTERVAL '{seconds} seconds'")
    }

    /// A timeout is a setting of the transaction (see [`LockBackend::begin`]).
    fn wait_sql(waiting: Waiting) -> Cow<'static, str> {
        match waiting {
            Waiting::Session | Waiting::AtMost(_) => "",
            Waiting::Never => " NOWAIT",
            Waiting::Skip => " SKIP LOCKED",
        }
        .into()
    }
}

/// Lives and dies with the transaction, unless that is committed: then it lives on. So after a
/// rollback it is there only if the closure has committed something.
const WITNESS: &str = "row_lock_witness";

/// The guard is a cursor: it ends with the transaction, as a savepoint does, but costs no
/// subtransaction, and `CLOSE` fails both when the cursor is gone and when the transaction is
/// aborted.
impl TransactionBackend for Pg {
    const VICTIM_LOSES_TRANSACTION: bool = false;

    type Server = ();

    fn begin<C>(conn: &mut C, settings: Settings, first: Option<&str>) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        let mut begin = "BEGIN".to_owned();
        if let Some(isolation) = settings.isolation {
            begin += &format!(" ISOLATION LEVEL {}", isolation.sql());
        }
        begin += "; DECLARE row_lock_guard CURSOR FOR SELECT; \
                  DECLARE row_lock_witness CURSOR WITH HOLD FOR SELECT";
        // `SET LOCAL`: the server puts the session's value back at the end of the transaction,
        // whatever that end is, also behind a pooler.
        if let Waiting::AtMost(time) = settings.waiting {
            begin += &format!("; SET LOCAL lock_timeout = {}", millis(time));
        }
        if let Some(hold) = settings.hold {
            begin += &limit_hold(hold, settings.waiting);
        }
        // Behind the timeout: the insert of a commit token waits for a session that resolves the
        // same token.
        if let Some(first) = first {
            begin += "; ";
            begin += first;
        }
        let mut begun = conn.batch_execute(&begin);
        if begun.as_ref().is_err_and(|error| names(error, WITNESS)) {
            // Behind a pooler, an escape of another client has left it in the server's session.
            // The rollback comes first: in the transaction that the batch has aborted, `CLOSE` is
            // refused.
            Self::roll_back_all(conn)?;
            Self::forget_escape(conn);
            begun = conn.batch_execute(&begin);
        }
        // The batch may have failed behind its BEGIN.
        begun.inspect_err(|_| drop(Self::roll_back_all(conn)))
    }

    /// The server runs a batch up to the first error, so a `COMMIT` behind a `CLOSE` that fails is
    /// never reached.
    fn commit<C>(conn: &mut C, (): (), _: Settings, since: Instant) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>,
    {
        // The witness is closed too: a cursor WITH HOLD would live on in the session.
        let commit = conn.batch_execute("CLOSE row_lock_guard; CLOSE row_lock_witness; COMMIT");
        commit.map_err(|error| {
            let now = status(conn);
            if now.must_roll_back {
                // The transaction is still there, so it was a `CLOSE` that failed.
                EndError::gone_if(names(&error, GUARD) || names(&error, WITNESS), error)
            // libpq has seen the transaction end, so the answer is an error of the COMMIT itself.
            // If its text is not one of the server's own, a session that is older than the
            // transaction shows that no proxy has put another one in its place.
            } else if now.depth == Some(0) && (is_refusal(&error) || is_older(conn, since)) {
                EndError::Refused(error)
            } else {
                EndError::Unknown(error)
            }
        })
    }

    /// In an aborted transaction nothing can be asked, but after it the witness can. Its name is
    /// no number: the error of the cast is the answer.
    fn roll_back<C>(conn: &mut C, (): (), _: Settings, aborted: bool) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>,
    {
        let (rollback, sign) = if aborted {
            let ask = "ROLLBACK; SELECT name::int FROM pg_catalog.pg_cursors \
                       WHERE name = 'row_lock_witness'";
            (ask, WITNESS)
        } else {
            (
                "CLOSE row_lock_guard; CLOSE row_lock_witness; ROLLBACK",
                GUARD,
            )
        };
        conn.batch_execute(rollback)
            .map_err(|error| EndError::gone_if(names(&error, sign), error))
    }

    fn savepoint<C>(conn: &mut C, name: &str, waiting: Waiting) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        conn.batch_execute(&match waiting {
            // `SET LOCAL` lasts to the end of the outermost transaction, so the outer value is
            // kept in a setting of our own.
            Waiting::AtMost(time) => format!(
                "SAVEPOINT {name}; \
                 SELECT set_config('row_lock.{name}', current_setting('lock_timeout'), true); \
                 SET LOCAL lock_timeout = {}",
                millis(time)
            ),
            _ => format!("SAVEPOINT {name}"),
        })
    }

    fn release<C>(conn: &mut C, name: &str, waiting: Waiting) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>,
    {
        // The outer value is set behind the `RELEASE`. If that fails nothing is set, and the
        // rollback to the savepoint takes the inner value back.
        let release = match waiting {
            Waiting::AtMost(_) => format!(
                "RELEASE SAVEPOINT {name}; \
                 SELECT set_config('lock_timeout', current_setting('row_lock.{name}'), true)"
            ),
            _ => format!("RELEASE SAVEPOINT {name}"),
        };
        conn.batch_execute(&release)
            .map_err(|error| EndError::gone_if(names(&error, name), error))
    }

    /// Takes the settings back, too.
    fn rollback_to<C>(conn: &mut C, name: &str, _: Waiting, _: bool) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>,
    {
        conn.batch_execute(&format!(
            "ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}"
        ))
        .map_err(|error| EndError::gone_if(names(&error, name), error))
    }

    fn forget_escape<C>(conn: &mut C)
    where
        C: LoadConnection<Backend = Self>,
    {
        // An error means that nothing was committed.
        let _ = conn.batch_execute("CLOSE row_lock_witness");
    }
}

/// Whether the error of a `COMMIT`, or of a statement that is a transaction of its own, is one by
/// which PostgreSQL says that it has rolled back: a constraint, a conflict, a cancelled statement.
pub(super) fn is_refusal(error: &DieselError) -> bool {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, _) => {
            cause_in::<Pg>(error).is_some_and(|cause| cause != Cause::ConnectionLost)
        }
        DieselError::DatabaseError(kind, _) => !matches!(kind, DatabaseErrorKind::ClosedConnection),
        _ => false,
    }
}

/// Whether the server's session is older than this moment. An error of a deferred trigger can be
/// any text. A proxy that answers for a server it has lost has another session afterwards.
pub(super) fn is_older<C>(conn: &mut C, since: Instant) -> bool
where
    C: LoadConnection<Backend = Pg>,
{
    let age = "SELECT (extract(epoch FROM clock_timestamp() - backend_start) * 1000000)::bigint \
               FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()";
    let age = sql::<BigInt>(age).get_result::<i64>(conn);
    let elapsed = since.elapsed().as_micros();
    age.is_ok_and(|age| u128::try_from(age).is_ok_and(|age| age >= elapsed))
}

/// Behind the `BEGIN`: the server ends a session whose transaction idles too long, and from
/// PostgreSQL 17 on one whose transaction takes too long. The latter counts the wait for the lock
/// too, so it can be had only where that has a limit of its own.
fn limit_hold(hold: Duration, waiting: Waiting) -> String {
    let idle = format!(
        "; SET LOCAL idle_in_transaction_session_timeout = {}",
        millis(hold)
    );
    let wait = match waiting {
        Waiting::Session => return idle,
        Waiting::Never | Waiting::Skip => Duration::ZERO,
        Waiting::AtMost(time) => time,
    };
    let all = millis(hold.saturating_add(wait));
    idle + &format!(
        "; SELECT set_config('transaction_timeout', '{all}', true) \
         WHERE current_setting('server_version_num')::int >= 170000"
    )
}

/// Whole milliseconds, rounded up: rounded down, the shortest times would be zero, which means
/// for ever here.
fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_micros().div_ceil(1000))
        .unwrap_or(i32::MAX)
        .max(1)
}
