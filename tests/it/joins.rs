//! Which tables a statement over several of them locks, and how `.of(table)` narrows it.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, LockError, Locked, RowLock};
use law::law;

use crate::support::calls::while_held;
use crate::support::schema::{accounts, entries, Account};

/// Entry 1 is of account 1, entry 2 of account 2.
const ENTRIES: &str = "INSERT INTO entries VALUES (1, 1, 10), (2, 2, 20)";

#[cfg(feature = "postgres")]
diesel::table! {
    pg_temp.drafts (id) {
        id -> Integer,
    }
}

#[law(postgres, mysql, mariadb)]
fn inner_join_locks_the_rows_of_both_tables(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(ENTRIES).unwrap();
    with_row_lock(
        conn,
        entry_and_account!(1),
        |_, row: Locked<(i64, Account)>| {
            assert_eq!((row.0, row.1.id), (10, 1));
            assert_eq!(db.free("accounts"), [2, 3, 4]);
            assert_eq!(db.free("entries"), [2]);
            Ok::<_, LockError>(())
        },
    )
    .unwrap();
    assert_eq!(
        (db.free("accounts").len(), db.free("entries").len()),
        (4, 2)
    );
}

#[law(postgres, mysql)]
fn of_locks_the_rows_of_the_named_table_only(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(ENTRIES).unwrap();
    let accounts_only = RowLock::for_update().of(accounts::table);
    accounts_only
        .with(
            conn,
            entry_and_account!(1),
            |_, row: Locked<(i64, Account)>| {
                assert_eq!((row.0, row.1.id), (10, 1));
                assert_eq!(db.free("accounts"), [2, 3, 4]);
                assert_eq!(db.free("entries"), [1, 2]);
                Ok::<_, LockError>(())
            },
        )
        .unwrap();
    let entries_only = RowLock::for_update().of(entries::table);
    entries_only
        .with(
            conn,
            entry_and_account!(1),
            |_, _: Locked<(i64, Account)>| {
                assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
                assert_eq!(db.free("entries"), [2]);
                Ok::<_, LockError>(())
            },
        )
        .unwrap();
}

#[law(postgres)]
fn of_goes_with_every_strength_and_wait(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(ENTRIES).unwrap();
    let no_wait = RowLock::for_no_key_update().of(accounts::table).no_wait();
    let skipping = RowLock::for_share().of(accounts::table).skip_locked();
    while_held!(db, 1, RowLock::for_update(), {
        let busy = no_wait.with(
            conn,
            entry_and_account!(1),
            |_, _: Locked<(i64, Account)>| Ok(()),
        );
        assert!(matches!(busy, Err(LockError::Busy { .. })), "{busy:?}");
        let skipped = skipping.with(
            conn,
            entry_and_account!(1),
            |_, _: Locked<(i64, Account)>| Ok(()),
        );
        assert!(
            matches!(skipped, Err(LockError::NotFound { .. })),
            "{skipped:?}"
        );
    });
}

#[law(mysql)]
fn of_goes_with_every_strength_and_wait_of_mysql(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(ENTRIES).unwrap();
    let no_wait = RowLock::for_update().of(accounts::table).no_wait();
    let skipping = RowLock::for_share().of(accounts::table).skip_locked();
    let others = RowLock::for_share().of(entries::table).no_wait();
    while_held!(db, 1, RowLock::for_update(), {
        let busy = no_wait.with(
            conn,
            entry_and_account!(1),
            |_, _: Locked<(i64, Account)>| Ok(()),
        );
        assert!(matches!(busy, Err(LockError::Busy { .. })), "{busy:?}");
        let skipped = skipping.with(
            conn,
            entry_and_account!(1),
            |_, _: Locked<(i64, Account)>| Ok(()),
        );
        assert!(
            matches!(skipped, Err(LockError::NotFound { .. })),
            "{skipped:?}"
        );
        let locked = others.with(
            conn,
            entry_and_account!(1),
            |_, _: Locked<(i64, Account)>| Ok(()),
        );
        locked.unwrap_or_else(|error: LockError| panic!("nobody holds the entry: {error}"));
    });
}

/// Only MySQL itself has it; MariaDB must not lock more than was asked for.
#[law(mariadb)]
fn of_is_unsupported_on_mariadb(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(ENTRIES).unwrap();
    let accounts_only = RowLock::for_update().of(accounts::table);
    let result = accounts_only.with(
        conn,
        entry_and_account!(1),
        |_, _: Locked<(i64, Account)>| Ok(()),
    );
    let Err(error @ LockError::Unsupported { .. }) = &result else {
        panic!("{result:?}")
    };
    assert!(std::error::Error::source(error).is_none_or(|source| !source.to_string().is_empty()));
    conn.batch_execute("UPDATE accounts SET balance = 5 WHERE id = 1")
        .unwrap();
    assert_eq!(
        db.balance(1),
        5,
        "the connection is usable and in no transaction"
    );
}

/// E14: PostgreSQL refuses to lock what may not be there, unless told what to lock.
#[law(postgres)]
fn outer_join_is_refused_without_of(db: &Db) {
    let conn = &mut db.connect();
    let query = accounts::table
        .left_join(entries::table)
        .filter(accounts::id.eq(3))
        .select((Account::as_select(), entries::amount.nullable()));
    let refused = with_row_lock(conn, query, |_, _: Locked<(Account, Option<i64>)>| {
        Ok::<_, LockError>(())
    });
    assert!(
        matches!(refused, Err(LockError::Database(_))),
        "{refused:?}"
    );
    let accounts_only = RowLock::for_update().of(accounts::table);
    accounts_only
        .with(conn, query, |_, row: Locked<(Account, Option<i64>)>| {
            assert_eq!((row.0.id, row.1), (3, None));
            assert_eq!(db.free("accounts"), [1, 2, 4]);
            Ok::<_, LockError>(())
        })
        .unwrap();
}

#[law(mysql, mariadb)]
fn outer_join_locks_the_rows_that_are_there(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(ENTRIES).unwrap();
    let query = accounts::table
        .left_join(entries::table)
        .filter(accounts::id.eq(3))
        .select((Account::as_select(), entries::amount.nullable()));
    with_row_lock(conn, query, |_, row: Locked<(Account, Option<i64>)>| {
        assert_eq!((row.0.id, row.1), (3, None));
        assert_eq!(db.free("accounts"), [1, 2, 4]);
        Ok::<_, LockError>(())
    })
    .unwrap();
}

/// PostgreSQL's eval-plan-qual partiallock: one side of a self-join.
#[law(postgres)]
fn of_names_a_table_by_its_alias(db: &Db) {
    let (poor, rich) = diesel::alias!(accounts as poor, accounts as rich);
    let pair = poor
        .inner_join(rich.on(rich.field(accounts::id).gt(poor.field(accounts::id))))
        .filter(
            poor.field(accounts::id)
                .eq(1)
                .and(rich.field(accounts::id).eq(2)),
        )
        .select((poor.field(accounts::id), rich.field(accounts::id)));
    RowLock::for_update()
        .of(rich)
        .with(&mut db.connect(), pair, |_, ids: Locked<(i32, i32)>| {
            assert_eq!(*ids, (1, 2));
            assert_eq!(db.free("accounts"), [1, 3, 4]);
            Ok::<_, LockError>(())
        })
        .unwrap();
}

/// `OF` takes no schema. The table is one that only this session sees, so the server's word
/// for the lock is its own list of them.
#[law(postgres)]
fn of_names_a_table_without_its_schema(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("CREATE TEMPORARY TABLE drafts (id INTEGER PRIMARY KEY)")
        .unwrap();
    conn.batch_execute("INSERT INTO drafts VALUES (1)").unwrap();
    let drafts_only = RowLock::for_update().of(drafts::table);
    let locked = drafts_only.with(conn, drafts::table.find(1), |conn, _: Locked<(i32,)>| {
        diesel::dsl::sql::<diesel::sql_types::BigInt>(
            "SELECT count(*) FROM pg_locks \
             WHERE relation = 'drafts'::regclass AND mode = 'RowShareLock'",
        )
        .get_result::<i64>(conn)
        .map_err(LockError::from)
    });
    assert_eq!(locked.unwrap(), 1);
}

/// SQLAlchemy's test_joined_lock_subquery: a subquery is read, not locked.
#[law(postgres, mysql, mariadb)]
fn rows_of_a_subquery_are_not_locked(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(ENTRIES).unwrap();
    let largest = accounts::table.filter(
        accounts::id.nullable().eq(entries::table
            .filter(entries::amount.eq(20))
            .select(entries::account_id)
            .single_value()),
    );
    with_row_lock(conn, largest, |_, account: Locked<Account>| {
        assert_eq!(account.id, 2);
        assert_eq!(db.free("accounts"), [1, 3, 4]);
        assert_eq!(db.free("entries"), [1, 2]);
        Ok::<_, LockError>(())
    })
    .unwrap();
}

#[law(sqlite)]
fn join_can_be_locked(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(ENTRIES).unwrap();
    with_row_lock(
        conn,
        entry_and_account!(1),
        |_, row: Locked<(i64, Account)>| {
            assert_eq!((row.0, row.1.id), (10, 1));
            assert!(db.free("entries").is_empty());
            Ok::<_, LockError>(())
        },
    )
    .unwrap();
}

/// Entry `$id` with its account.
macro_rules! entry_and_account {
    ($id:expr) => {
        entries::table
            .inner_join(accounts::table)
            .filter(entries::id.eq($id))
            .select((entries::amount, Account::as_select()))
    };
}
use entry_and_account;
