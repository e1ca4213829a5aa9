//! Calls and questions that many laws make, beside the one that is under test.

use diesel_row_lock::{LockError, Locked};

use super::schema::Account;

/// The closure of a call that only wants the lock.
pub(crate) fn nothing<C>(_: &mut C, _: Locked<'_, Account>) -> Result<(), LockError> {
    Ok(())
}

/// The variant of the error, what became of the work, and whether to try again. Shows the server's
/// own words.
macro_rules! assert_error {
    ($result:expr, $variant:ident, $outcome:ident, $transient:ident, $contention:ident) => {
        let result = $result;
        let Err(error) = &result else {
            panic!("{result:?}")
        };
        let seen = (
            matches!(error, LockError::$variant { .. }),
            error.outcome(),
            if error.is_transient() {
                "transient"
            } else {
                "lasting"
            },
            if error.is_contention() {
                "contention"
            } else {
                "no_contention"
            },
        );
        let expected = (
            true,
            Outcome::$outcome,
            stringify!($transient),
            stringify!($contention),
        );
        assert_eq!(seen, expected, "not {}: {error:?}", stringify!($variant));
    };
}
pub(crate) use assert_error;

/// Runs `$then` while another connection holds account `$id`.
macro_rules! while_held {
    ($db:ident, $id:expr, $lock:expr, $then:block) => {
        $lock
            .with(
                &mut $db.connect(),
                accounts::table.find($id),
                |_, _: Locked<Account>| Ok::<_, LockError>($then),
            )
            .unwrap()
    };
}
pub(crate) use while_held;

/// Asks for account `$id` from a fresh connection, without waiting.
macro_rules! ask {
    ($db:ident, $id:expr, $lock:expr) => {
        $lock.no_wait().with(
            &mut $db.connect(),
            accounts::table.find($id),
            |_, _: Locked<Account>| Ok::<_, LockError>(()),
        )
    };
}
pub(crate) use ask;

macro_rules! assert_busy {
    ($result:expr) => {
        match $result {
            Err(LockError::Busy { .. }) => {}
            other => panic!("not busy: {other:?}"),
        }
    };
}
pub(crate) use assert_busy;

/// The result of a call that waits for account 1 when `$interrupt` happens.
macro_rules! interrupted_wait {
    ($db:ident, $conn:ident, $interrupt:expr) => {
        thread::scope(|scope| {
            crate::support::calls::while_held!($db, 1, RowLock::for_update(), {
                let waiter = scope.spawn(|| with_row_lock($conn, accounts::table.find(1), nothing));
                $db.wait_for_waiters(1);
                $interrupt;
                waiter.join().unwrap()
            })
        })
    };
}
pub(crate) use interrupted_wait;

/// Two threads, each of which locks one account and then adds 1 to the other by a statement of the
/// closure. On their first attempt they meet between the two steps, so one of them is the victim of
/// a deadlock. `$call` is `|conn, own id, closure|`; the results come as an array.
macro_rules! cross {
    ($db:ident, $error:ty, $call:expr) => {{
        let meet = &Barrier::new(2);
        thread::scope(|scope| {
            let threads = [(1, 2), (2, 1)].map(|(own, other)| {
                scope.spawn(move || {
                    let mut first = true;
                    $call(
                        &mut $db.connect(),
                        own,
                        |conn: &mut Conn, _: Locked<Account>| {
                            if std::mem::take(&mut first) {
                                meet.wait();
                            }
                            diesel::update(accounts::table.find(other))
                                .set(accounts::balance.eq(accounts::balance + 1))
                                .execute(conn)?;
                            Ok::<(), $error>(())
                        },
                    )
                })
            });
            threads.map(|thread| thread.join().unwrap())
        })
    }};
}
pub(crate) use cross;

/// An account with a number of its own, which `update_row` tries to change without a lock: which
/// rows were missed is remembered by table and key, for the whole process, and other rows may share
/// the place in that memory.
#[cfg(feature = "postgres")]
macro_rules! open_account {
    ($db:ident, $id:expr) => {{
        let conn = &mut $db.connect();
        diesel::insert_into(accounts::table)
            .values((
                accounts::id.eq($id),
                accounts::owner.eq("Ada"),
                accounts::balance.eq(1_000),
            ))
            .execute(conn)
            .unwrap();
        // A miss lasts for 64 calls at most.
        for _ in 0..=64 {
            let nothing =
                |_: &mut Account| Err::<(), _>(diesel::result::Error::RollbackTransaction);
            diesel_row_lock::update_row(&mut *conn, $id, nothing).unwrap_err();
        }
    }};
}
#[cfg(feature = "postgres")]
pub(crate) use open_account;

/// Writes the balance by hand.
#[cfg(feature = "postgres")]
macro_rules! set_balance {
    ($db:ident, $id:expr, $balance:expr) => {
        diesel::update(accounts::table.find($id))
            .set(accounts::balance.eq($balance))
            .execute(&mut $db.connect())
            .unwrap()
    };
}
#[cfg(feature = "postgres")]
pub(crate) use set_balance;
