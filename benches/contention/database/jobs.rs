//! Claims of a queue of jobs, with the connection type `Conn` of the module that includes this file:
//! a job is an account that nobody else has, and the work is a deposit on it.

use diesel::prelude::*;
use diesel_row_lock::{LockError, Locked, RowLock};

use super::bank::{accounts, pay_in, Account};
use super::Conn;
use crate::strategy::{Deposit, Thought};

pub(super) fn by_hand(conn: &mut Conn, thought: Thought) -> Result<Deposit, LockError> {
    conn.transaction(|conn| {
        let job: Account = accounts::table
            .limit(1)
            .for_update()
            .skip_locked()
            .first(conn)?;
        pay_in(conn, &job, thought)
    })
}

pub(super) fn skip_locked(conn: &mut Conn, thought: Thought) -> Result<Deposit, LockError> {
    RowLock::for_update().skip_locked().with(
        conn,
        accounts::table.limit(1),
        |conn, job: Locked<'_, Account>| pay_in(conn, &job, thought),
    )
}

/// What happens without it: everybody waits for the first job.
pub(super) fn waiting(conn: &mut Conn, thought: Thought) -> Result<Deposit, LockError> {
    RowLock::for_update().with(
        conn,
        accounts::table.limit(1),
        |conn, job: Locked<'_, Account>| pay_in(conn, &job, thought),
    )
}
