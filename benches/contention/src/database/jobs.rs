//! Claims of a queue of jobs, with the connection type `Conn` of the module that includes this
//! file: a job is an account that nobody else has, and the work is a deposit on it.

use diesel::prelude::*;
use diesel_row_lock::{LockError, Locked, RowLock};

use super::bank::{accounts, pay_in, Account};
use super::Conn;
use crate::strategy::{Manner, Receipt, Strategy};

pub(super) type Job = fn(&mut Conn, Manner) -> Result<Receipt, LockError>;

pub(super) fn by(strategy: Strategy) -> Option<Job> {
    match strategy {
        Strategy::Diesel => Some(by_hand),
        Strategy::SkipLocked => Some(skip_locked),
        Strategy::WithRowLock => Some(waiting),
        _ => None,
    }
}

fn by_hand(conn: &mut Conn, manner: Manner) -> Result<Receipt, LockError> {
    conn.transaction(|conn| {
        let job: Account = accounts::table
            .limit(1)
            .for_update()
            .skip_locked()
            .first(conn)?;
        pay_in(conn, &job, manner)
    })
}

fn skip_locked(conn: &mut Conn, manner: Manner) -> Result<Receipt, LockError> {
    RowLock::for_update().skip_locked().with(
        conn,
        accounts::table.limit(1),
        |conn, job: Locked<'_, Account>| pay_in(conn, &job, manner),
    )
}

/// What happens without it: everybody waits for the first job.
fn waiting(conn: &mut Conn, manner: Manner) -> Result<Receipt, LockError> {
    RowLock::for_update().with(
        conn,
        accounts::table.limit(1),
        |conn, job: Locked<'_, Account>| pay_in(conn, &job, manner),
    )
}
