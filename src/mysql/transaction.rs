//! How a transaction begins and ends on MySQL and MariaDB.
//!
//! Diesel does not tell which of the two it speaks to, and they differ in what they can prepare:
//! MariaDB everything, also several statements as one compound statement, MySQL neither a compound
//! statement nor one about savepoints. The first statement finds out.

use std::time::Instant;

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::mysql::Mysql;
use diesel::result::{DatabaseErrorKind, Error as DieselError, QueryResult};
use diesel::sql_types::{BigInt, Nullable};
use diesel::RunQueryDsl;

use super::settings;
use super::statement::{insist, is_interrupted, run, run_once, send};
use crate::backend::transaction::{EndError, TransactionBackend};
use crate::backend::{cause_in, names, Cause, LockBackend, Settings, Waiting, GUARD};
use crate::connection::mark_broken;

/// Which of the two.
#[derive(Debug, Clone, Copy)]
pub enum Server {
    MariaDb,
    MySql,
}

/// Keeps the error of the closure's last statement, which every other statement would make the
/// server forget. Where there was none the variable stays as it is.
const KEEP_ERRNO: &str = "GET DIAGNOSTICS CONDITION 1 @row_lock_errno = MYSQL_ERRNO";

/// The errors by which the server itself ends a transaction: a deadlock, a record that has changed
/// since the snapshot, a lock timeout (with `innodb_rollback_on_timeout`).
const ENDS_TRANSACTION: [i64; 3] = [1213, 1020, 1205];

impl TransactionBackend for Mysql {
    const VICTIM_LOSES_TRANSACTION: bool = true;

    type Server = Server;

    /// `autocommit = 0` is a fence: the server ends the transaction of a deadlock's victim, and
    /// without the fence every later statement of the closure would commit by itself. With it
    /// they land in a new transaction, which is rolled back when the guard is found gone.
    fn begin<C>(conn: &mut C, settings: Settings, first: Option<&str>) -> QueryResult<Server>
    where
        C: LoadConnection<Backend = Self>,
    {
        let begun = start(conn, settings).and_then(|server| {
            if matches!(server, Server::MySql) {
                // By itself: MySQL can't prepare it, and a batch can hang when it is killed.
                send(conn, "SAVEPOINT row_lock_guard")?;
            }
            if let Some(first) = first {
                run_once(conn, first)?;
            }
            Ok(server)
        });
        if begun.is_err() {
            let undone = match Self::roll_back_all(conn) {
                // The transaction may be open still, and `put_back` would commit it: it switches
                // `autocommit` on.
                Err(error) if cause_in::<Self>(&error).is_some() => Err(error),
                // Also in an XA transaction, which refuses: there none of it has happened.
                _ => put_back(conn, settings),
            };
            if undone.is_err() {
                mark_broken(conn);
            }
        }
        begun
    }

    fn commit<C>(
        conn: &mut C,
        server: Server,
        settings: Settings,
        _: Instant,
    ) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>,
    {
        let release = "RELEASE SAVEPOINT row_lock_guard";
        let released = match server {
            Server::MariaDb => run(conn, release).map(drop),
            Server::MySql => send(conn, release),
        };
        // Without its guard the transaction is not the one that was begun, so no COMMIT is sent.
        released.map_err(|error| EndError::gone_if(names(&error, GUARD), error))?;
        // By itself: of a batch nothing would tell whether it was the COMMIT that failed.
        run(conn, "COMMIT").map_err(|error| {
            if is_refusal(&error) {
                EndError::Refused(error)
            } else {
                EndError::Unknown(error)
            }
        })?;
        if put_back(conn, settings).is_err() {
            // It is committed all the same. The session must not be used again.
            mark_broken(conn);
        }
        Ok(())
    }

    fn roll_back<C>(
        conn: &mut C,
        server: Server,
        settings: Settings,
        aborted: bool,
    ) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>,
    {
        let back = "ROLLBACK TO SAVEPOINT row_lock_guard";
        let (mut kept, mut result) = match server {
            Server::MariaDb => {
                let both = format!("BEGIN NOT ATOMIC {KEEP_ERRNO}; {back}; END");
                (true, run(conn, &both).map(drop))
            }
            Server::MySql => (send(conn, KEEP_ERRNO).is_ok(), send(conn, back)),
        };
        if result.as_ref().is_err_and(is_interrupted) {
            kept = false;
            // The kill may have hit either of the two statements, so the errno is not known. The
            // locks have to go all the same.
            result = insist(conn, |conn| send(conn, back));
        }
        result.map_err(|error| rollback_error(conn, error, GUARD, aborted))?;
        forget_after_failure(conn, kept);
        Self::abandon(conn, settings).map_err(EndError::Refused)
    }

    fn roll_back_all<C>(conn: &mut C) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        // A ROLLBACK that is cancelled leaves the locks where they are.
        insist(conn, |conn| run(conn, "ROLLBACK").map(drop))
    }

    fn abandon<C>(conn: &mut C, settings: Settings) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        // If it fails, what is open would be committed by the settings of before.
        Self::roll_back_all(conn)?;
        put_back(conn, settings)
    }

    fn recover<C>(conn: &mut C) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        Self::roll_back_all(conn)?;
        let back = settings::all_back();
        insist(conn, |conn| run(conn, &back).map(drop))
    }

    fn savepoint<C>(conn: &mut C, name: &str, waiting: Waiting) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        send(conn, &format!("SAVEPOINT {name}"))?;
        // Behind the savepoint: if that fails, no setting has to be put back.
        set(conn, settings::limit_wait(waiting, name))
    }

    fn release<C>(conn: &mut C, name: &str, waiting: Waiting) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>,
    {
        let released = send(conn, &format!("RELEASE SAVEPOINT {name}"));
        // Also if the RELEASE has failed: no later statement puts the outer timeout back.
        set(conn, settings::wait_back(waiting, name)).map_err(EndError::Refused)?;
        released.map_err(|error| EndError::gone_if(names(&error, name), error))
    }

    /// Does not release the savepoint: the next one of its name takes its place.
    fn rollback_to<C>(
        conn: &mut C,
        name: &str,
        waiting: Waiting,
        aborted: bool,
    ) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>,
    {
        let kept = send(conn, KEEP_ERRNO).is_ok();
        let result = insist(conn, |conn| {
            send(conn, &format!("ROLLBACK TO SAVEPOINT {name}"))
        })
        .map_err(|error| rollback_error(conn, error, name, aborted));
        forget_after_failure(conn, kept);
        let forget = format!(
            ", @row_lock_errno = NULL{}",
            settings::wait_back(waiting, name)
        );
        // Also if the rollback has failed. The errno is forgotten, or the next savepoint would read
        // it.
        set(conn, forget).map_err(EndError::Refused)?;
        result
    }

    /// A fence here, too: what the outer closure does from now on must not commit by itself.
    fn lose_outer<C>(conn: &mut C, name: &str, waiting: Waiting)
    where
        C: LoadConnection<Backend = Self>,
    {
        // 1: the outer transaction is Diesel's. 2: it is a locked call, which puts the settings
        // back at its end. The first value stays: it belongs to the outermost transaction.
        let fence = format!(
            "SET @row_lock_broken = \
             COALESCE(CAST(@row_lock_broken AS UNSIGNED), IF(@row_lock_autocommit IS NULL, 1, 2)), \
             @row_lock_autocommit = COALESCE(CAST(@row_lock_autocommit AS SIGNED), @@autocommit), \
             autocommit = 0{}",
            settings::wait_back(waiting, name)
        );
        // If the connection is lost there is nothing to keep.
        drop(insist(conn, |conn| run(conn, &fence)));
    }

    /// Nothing tells whether a transaction of Diesel's that was lost is still open: the one that
    /// asks to be the outermost says that it is not. One of ours puts the settings back at its end.
    fn outer_is_lost<C>(conn: &mut C, outermost: bool) -> QueryResult<bool>
    where
        C: LoadConnection<Backend = Self>,
    {
        let broken = variable(conn, "@row_lock_broken")?;
        Ok(match broken {
            None => false,
            Some(1) => !outermost,
            Some(_) => true,
        })
    }
}

/// Begins the transaction and switches the fence on. MariaDB runs all of it as one statement, and
/// reports the one row of its `SELECT … INTO`; MySQL reports none.
fn start<C>(conn: &mut C, settings: Settings) -> QueryResult<Server>
where
    C: LoadConnection<Backend = Mysql>,
{
    let on = settings::on(settings);
    let isolation = settings::isolation_on_mariadb(settings.isolation);
    let start = format!(
        "/*M! BEGIN NOT ATOMIC {isolation}START TRANSACTION; */ {on} \
         /*M! ; SAVEPOINT row_lock_guard; SELECT 1 INTO @row_lock_is_mariadb; END */"
    );
    let rows = run(conn, &start).or_else(|error| {
        if cause_in::<Mysql>(&error).is_some() {
            return Err(error);
        }
        // MySQL, where the user's own `autocommit = 0` has opened a transaction. `BEGIN` would
        // commit it, too. XA refuses it.
        run(conn, "COMMIT")?;
        run(conn, &start)
    })?;
    Ok(if rows == 0 {
        Server::MySql
    } else {
        Server::MariaDb
    })
}

/// Restores the session's settings, behind the end of the transaction.
fn put_back<C>(conn: &mut C, settings: Settings) -> QueryResult<()>
where
    C: LoadConnection<Backend = Mysql>,
{
    let back = settings::back(settings);
    insist(conn, |conn| run(conn, &back).map(drop))
}

/// Changes settings inside a transaction: those that stand behind a comma, if any.
fn set<C>(conn: &mut C, settings: String) -> QueryResult<()>
where
    C: LoadConnection<Backend = Mysql>,
{
    if settings.is_empty() {
        return Ok(());
    }
    let set = format!("SET @row_lock_nested = NULL{settings}");
    insist(conn, |conn| run(conn, &set).map(drop))
}

/// The error of a `ROLLBACK TO`. `aborted` says that Diesel has seen the deadlock.
fn rollback_error<C>(conn: &mut C, error: DieselError, savepoint: &str, aborted: bool) -> EndError
where
    C: LoadConnection<Backend = Mysql>,
{
    let is_gone = names(&error, savepoint) && !aborted && !ended_by_the_server(conn);
    EndError::gone_if(is_gone, error)
}

/// Whether the closure's last statement failed, and thereby ended the transaction.
fn ended_by_the_server<C>(conn: &mut C) -> bool
where
    C: LoadConnection<Backend = Mysql>,
{
    variable(conn, "@row_lock_errno")
        .is_ok_and(|errno| errno.is_some_and(|errno| ENDS_TRANSACTION.contains(&errno)))
}

/// The closure's last statement may be one that failed and must not be used again. The number of
/// rows is the answer, so that the question is prepared once. `kept` is false where the error is
/// not known.
fn forget_after_failure<C>(conn: &mut C, kept: bool)
where
    C: LoadConnection<Backend = Mysql>,
{
    let failed = "SELECT 1 INTO @row_lock_failed FROM DUAL WHERE @row_lock_errno IS NOT NULL";
    if !kept || run(conn, failed).map_or(true, |rows| rows > 0) {
        Mysql::forget_statements(conn);
    }
}

fn variable<C>(conn: &mut C, name: &str) -> QueryResult<Option<i64>>
where
    C: LoadConnection<Backend = Mysql>,
{
    insist(conn, |conn| {
        sql::<Nullable<BigInt>>(&format!("SELECT CAST({name} AS SIGNED)")).get_result(conn)
    })
}

/// Whether the error of a `COMMIT` is one by which the server says that it did not commit. Of all
/// others, such as those of a proxy that has lost its server, nothing is known.
fn is_refusal(error: &DieselError) -> bool {
    match cause_in::<Mysql>(error) {
        Some(Cause::ConnectionLost) => false,
        Some(_) => true,
        None => match error {
            DieselError::DatabaseError(DatabaseErrorKind::Unknown, info) => {
                let message = info.message();
                REFUSALS.iter().any(|begin| message.starts_with(begin))
            }
            DieselError::DatabaseError(..) => true,
            _ => false,
        },
    }
}

/// How the messages begin, in English.
const REFUSALS: [&str; 6] = [
    "Got error ",                                                       // 1180
    "The MySQL server is running with the ",                            // 1290
    "The MariaDB server is running with the ",                          // 1290
    "XAER_",                                                            // 1399
    "Running in read-only mode",                                        // 1836
    "Plugin instructed the server to rollback the current transaction", // 3101
];

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: DatabaseErrorKind, message: &str) -> DieselError {
        DieselError::DatabaseError(kind, Box::new(message.to_owned()))
    }

    #[test]
    fn refused_commit_is_known_by_its_error() {
        for message in [
            "Got error 28 \"No space left on device\" during COMMIT",
            "The MySQL server is running with the --read-only option",
            "The MariaDB server is running with the --read-only option",
            "XAER_RMFAIL: The command cannot be executed",
            "Running in read-only mode",
            "Plugin instructed the server to rollback the current transaction.",
            "Query execution was interrupted",
            "Deadlock found when trying to get lock; try restarting transaction",
        ] {
            assert!(
                is_refusal(&error(DatabaseErrorKind::Unknown, message)),
                "{message}"
            );
        }
        let kind = DatabaseErrorKind::ForeignKeyViolation;
        assert!(is_refusal(&error(kind, "a foreign key constraint fails")));
    }

    #[test]
    fn any_other_error_of_a_commit_says_nothing() {
        for message in [
            "Lost connection to server during query",
            "target: shop.0.primary: vttablet: rpc error",
            "The server says: Got error ",
            "",
        ] {
            assert!(
                !is_refusal(&error(DatabaseErrorKind::Unknown, message)),
                "{message}"
            );
        }
        assert!(!is_refusal(&DieselError::BrokenTransactionManager));
    }
}
