//! Promise 12: a locked call takes no more round trips than the same by hand with Diesel: as many
//! on PostgreSQL, fewer on MariaDB. MySQL can prepare less, and takes more.

use std::time::Duration;

use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, with_row_locks, Isolation, LockError, Locked, RowLock};
use law::law;

use crate::support::schema::{accounts, Account};
use crate::support::wire::Wire;

/// The round trips of `$call` on a connection that has run it before, so that its statements are
/// prepared.
macro_rules! round_trips {
    ($db:ident, $call:expr) => {{
        let wire = Wire::to(&$db.server());
        let conn = &mut Conn::establish(&$db.url_at(&wire.address.to_string())).unwrap();
        $call(conn).unwrap();
        wire.round_trips(|| {
            $call(conn).unwrap();
        })
    }};
}

macro_rules! by_hand {
    ($db:ident) => {
        round_trips!($db, |conn: &mut Conn| {
            conn.transaction(|conn| {
                let account = &accounts::table
                    .find(1)
                    .for_update()
                    .first::<Account>(conn)?;
                deposit!(conn, account)
            })
        })
    };
}

/// One UPDATE.
macro_rules! deposit {
    ($conn:ident, $account:ident) => {
        diesel::update(accounts::table.find($account.id))
            .set(accounts::balance.eq($account.balance + 1))
            .execute($conn)
    };
}

/// A deposit through `$lock` takes what every locked call takes, and nothing for the option.
macro_rules! assert_about_as_by_hand {
    ($db:ident, $lock:expr) => {
        let locked = round_trips!($db, |conn: &mut Conn| {
            $lock.with(
                conn,
                accounts::table.find(1),
                |conn, account: Locked<Account>| deposit!(conn, account),
            )
        });
        assert_eq!(
            locked,
            by_hand!($db) + Db::MORE_ROUND_TRIPS - Db::FEWER_ROUND_TRIPS
        );
    };
}

#[law(postgres, mysql, mariadb)]
fn locked_call_takes_about_as_many_round_trips_as_by_hand(db: &Db) {
    let locked = round_trips!(db, |conn: &mut Conn| {
        with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, account: Locked<Account>| deposit!(conn, account),
        )
    });
    assert_eq!(
        locked,
        by_hand!(db) + Db::MORE_ROUND_TRIPS - Db::FEWER_ROUND_TRIPS
    );
}

#[law(postgres, mysql, mariadb)]
fn timeout_takes_no_round_trip_of_its_own(db: &Db) {
    let lock = RowLock::for_update().timeout(Duration::from_secs(5));
    assert_about_as_by_hand!(db, lock);
}

#[law(postgres, mysql, mariadb)]
fn limit_to_the_hold_takes_no_round_trip_of_its_own(db: &Db) {
    let lock = RowLock::for_update()
        .timeout(Duration::from_secs(5))
        .hold_at_most(Duration::from_secs(5));
    assert_about_as_by_hand!(db, lock);
}

#[law(postgres, mysql, mariadb)]
fn isolation_level_takes_no_round_trip_of_its_own(db: &Db) {
    let lock = RowLock::for_update().isolation(Isolation::Serializable);
    assert_about_as_by_hand!(db, lock);
}

#[law(postgres, mysql, mariadb)]
fn rollback_takes_about_as_many_round_trips_as_by_hand(db: &Db) {
    let by_hand = round_trips!(db, |conn: &mut Conn| {
        let result = conn.transaction(|conn| {
            let _: Account = accounts::table.find(1).for_update().first(conn)?;
            Err::<(), _>(diesel::result::Error::RollbackTransaction)
        });
        result.or(QueryResult::Ok(()))
    });
    let locked = round_trips!(db, |conn: &mut Conn| {
        let result = with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
            Err::<(), _>(diesel::result::Error::RollbackTransaction)
        });
        result.or(QueryResult::Ok(()))
    });
    assert_eq!(
        locked,
        by_hand + Db::MORE_IN_A_ROLLBACK - Db::FEWER_IN_A_ROLLBACK
    );
}

/// Also where the server has given up the transaction already.
#[law(postgres)]
fn rollback_after_a_failed_statement_takes_no_more_round_trips_than_by_hand(db: &Db) {
    let fail = |conn: &mut Conn| diesel::sql_query("SELECT 1/0").execute(conn).map(|_| ());
    let by_hand = round_trips!(db, |conn: &mut Conn| {
        let result = conn.transaction(|conn| {
            let _: Account = accounts::table.find(1).for_update().first(conn)?;
            fail(conn)
        });
        result.or(QueryResult::Ok(()))
    });
    let locked = round_trips!(db, |conn: &mut Conn| {
        let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            fail(conn)
        });
        result.or(QueryResult::Ok(()))
    });
    assert_eq!(locked, by_hand);
}

/// Each: begin, the locking statement, commit.
#[law(postgres)]
fn many_rows_take_one_locking_statement(db: &Db) {
    let many = round_trips!(db, |conn: &mut Conn| {
        with_row_locks(conn, [3, 1, 2], |_, _: [Locked<Account>; 3]| {
            Ok::<_, LockError>(())
        })
    });
    assert_eq!(many, 3);
}

/// Twin: what a timeout as a statement of its own costs, so that the counter is seen to count.
#[law(postgres)]
fn twin_timeout_as_a_statement_takes_one_more(db: &Db) {
    let twin = round_trips!(db, |conn: &mut Conn| {
        conn.transaction(|conn| {
            diesel::sql_query("SET LOCAL lock_timeout = '5s'").execute(conn)?;
            let account = &accounts::table
                .find(1)
                .for_update()
                .first::<Account>(conn)?;
            deposit!(conn, account)
        })
    });
    assert_eq!(twin, by_hand!(db) + 1);
}
