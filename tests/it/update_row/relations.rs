//! Rows that are not simply those of a table: of partitions, children, views, foreign tables, and
//! tables with rules or policies.

use std::sync::mpsc::{self, TryRecvError};
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{update_row, LockError, Outcome};
use law::law;

use super::deposit;
use crate::support::calls::assert_error;
use crate::support::calls::{open_account, set_balance};
use crate::support::probe::statements_of;
use crate::support::schema::{accounts, Account};

/// Runs SQL in the schema of the test.
macro_rules! run {
    ($db:ident, $sql:expr) => {
        $db.connect().batch_execute($sql).unwrap()
    };
}

/// Whether `$what` locks the row first, and its result.
macro_rules! locks {
    ($conn:ident, $what:expr) => {{
        let sent = statements_of($conn);
        let result = $what;
        let sent = sent.lock().unwrap().join("; ");
        (sent.contains("FOR UPDATE"), result)
    }};
}

/// One partition for each of two owners, and one for all others.
const PARTITIONED: &str = "DROP TABLE entries, accounts; \
    CREATE TABLE accounts (id INTEGER, owner TEXT, balance BIGINT) PARTITION BY LIST (owner); \
    CREATE TABLE accounts_ada PARTITION OF accounts FOR VALUES IN ('Ada'); \
    CREATE TABLE accounts_grace PARTITION OF accounts FOR VALUES IN ('Grace'); \
    CREATE TABLE accounts_more PARTITION OF accounts DEFAULT";

/// A change that moves the row to the partition of `$owner`.
macro_rules! give_to {
    ($conn:expr, $id:expr, $owner:expr) => {
        update_row($conn, $id, |account: &mut Account| {
            account.owner = $owner.to_owned();
            account.balance += 1;
            Ok::<_, LockError>(account.balance)
        })
    };
}

#[law(postgres)]
fn row_of_a_partition_is_changed_without_a_lock_and_moved(db: &Db) {
    run!(db, PARTITIONED);
    open_account!(db, 301);
    let conn = &mut db.connect();
    let (locked, moved) = locks!(conn, give_to!(conn, 301, "Grace"));
    assert_eq!((locked, moved.unwrap()), (false, 1_001));
    assert_eq!(deposit!(conn, 301).unwrap(), 1_002);
    let rows = accounts::table.load::<Account>(conn).unwrap();
    let expected = Account {
        id: 301,
        owner: "Grace".to_owned(),
        balance: 1_002,
    };
    assert_eq!(rows, [expected]);
}

#[law(postgres)]
fn move_to_another_partition_in_between_is_seen(db: &Db) {
    run!(db, PARTITIONED);
    open_account!(db, 302);
    let mut seen = Vec::new();
    update_row(&mut db.connect(), 302, |account: &mut Account| {
        if seen.is_empty() {
            give_to!(&mut db.connect(), 302, "Grace")?;
        }
        seen.push(account.owner.clone());
        account.balance += 1;
        Ok::<_, LockError>(())
    })
    .unwrap();
    assert_eq!(seen, ["Ada", "Grace"]);
    assert_eq!(db.balance(302), 1_002);
}

/// Changes account `$id` while another session has moved it to another partition, and commits only
/// when the call waits.
macro_rules! deposit_while_moved {
    ($db:ident, $id:expr, $deposit:expr) => {{
        let mover = &mut $db.connect();
        mover
            .batch_execute(&format!(
                "BEGIN; UPDATE accounts SET owner = 'Grace', balance = 50 WHERE id = {}",
                $id
            ))
            .unwrap();
        thread::scope(|scope| {
            let deposit = scope.spawn(|| $deposit(&mut $db.connect()));
            $db.wait_for_waiters(1);
            mover.batch_execute("COMMIT").unwrap();
            deposit.join().unwrap()
        })
    }};
}

/// The server can't follow the row there: it fails the statement, and the row is locked.
#[law(postgres)]
fn row_that_is_being_moved_to_another_partition_is_changed_there(db: &Db) {
    run!(db, PARTITIONED);
    open_account!(db, 303);
    let deposited = deposit_while_moved!(db, 303, |conn: &mut Conn| deposit!(conn, 303));
    assert_eq!((deposited.unwrap(), db.balance(303)), (51, 51));
}

#[law(postgres)]
fn twin_conditional_update_fails_on_a_row_that_is_being_moved(db: &Db) {
    run!(db, PARTITIONED);
    open_account!(db, 304);
    let written = deposit_while_moved!(db, 304, |conn: &mut Conn| {
        let update = "UPDATE accounts SET balance = balance + 1 WHERE id = 304 \
             AND xmin = (SELECT xmin FROM accounts WHERE id = 304)";
        diesel::sql_query(update).execute(conn)
    });
    let error = written.unwrap_err().to_string();
    assert!(error.contains("moved to another partition"), "{error}");
}

#[law(postgres)]
fn row_of_a_child_table_is_changed_without_a_lock(db: &Db) {
    run!(
        db,
        "CREATE TABLE rich (CHECK (id > 300)) INHERITS (accounts); \
         INSERT INTO rich VALUES (305, 'Ada', 1000)"
    );
    let conn = &mut db.connect();
    // Not each of them: rows that share a place share their misses.
    let unlocked = (0..8).any(|_| !locks!(conn, deposit!(conn, 305).unwrap()).0);
    assert!(unlocked);
}

/// No key of the parent's keeps a child from having the same.
#[law(postgres)]
fn key_of_two_rows_is_ambiguous_and_changes_neither(db: &Db) {
    open_account!(db, 306);
    run!(
        db,
        "CREATE TABLE rich () INHERITS (accounts); \
         INSERT INTO rich VALUES (306, 'Ada', 1000)"
    );
    let changed = deposit!(&mut db.connect(), 306);
    assert_error!(changed, AmbiguousKey, NotApplied, lasting, no_contention);
    let rows = accounts::table.filter(accounts::id.eq(306));
    let balances: Vec<i64> = rows
        .select(accounts::balance)
        .load(&mut db.connect())
        .unwrap();
    assert_eq!(balances, [1_000, 1_000]);
}

/// A view of its own type, since a type whose rows have no stamps is remembered.
mod viewed {
    use diesel::prelude::*;

    diesel::table! {
        viewed_accounts (id) { id -> Integer, owner -> Text, balance -> BigInt }
    }

    #[derive(Debug, Queryable, Selectable, Identifiable, AsChangeset)]
    pub(super) struct ViewedAccount {
        pub(super) id: i32,
        pub(super) owner: String,
        pub(super) balance: i64,
    }
}

#[law(postgres)]
fn row_of_a_view_is_locked(db: &Db) {
    run!(db, "CREATE VIEW viewed_accounts AS SELECT * FROM accounts");
    let conn = &mut db.connect();
    for balance in [1_001, 1_002] {
        let (locked, changed) = locks!(
            conn,
            update_row(conn, 1, |account: &mut viewed::ViewedAccount| {
                assert_eq!((account.id, account.owner.as_str()), (1, "Ada"));
                account.balance += 1;
                Ok::<_, LockError>(account.balance)
            })
        );
        assert_eq!((locked, changed.unwrap()), (true, balance));
    }
    assert_eq!(db.balance(1), 1_002);
}

/// Makes `accounts` a foreign table of this server, and `local_accounts` what is behind it.
macro_rules! make_foreign {
    ($db:ident) => {
        let server = $db.server();
        let (host, port) = server.split_once(':').unwrap();
        let name = $db.name();
        run!(
            $db,
            &format!(
                "CREATE EXTENSION IF NOT EXISTS postgres_fdw WITH SCHEMA pg_catalog; \
                 DROP SERVER IF EXISTS {name} CASCADE; \
                 DO $$ BEGIN EXECUTE format('CREATE SERVER {name} \
                     FOREIGN DATA WRAPPER postgres_fdw \
                     OPTIONS (host ''{host}'', port ''{port}'', dbname %L)', current_database()); \
                 END $$; \
                 CREATE USER MAPPING FOR CURRENT_USER SERVER {name}; \
                 ALTER TABLE accounts RENAME TO local_accounts; \
                 CREATE FOREIGN TABLE accounts (id INTEGER, owner TEXT, balance BIGINT) \
                     SERVER {name} OPTIONS (schema_name '{name}', table_name 'local_accounts')"
            )
        );
    };
}

/// The server is no part of the schema.
macro_rules! drop_foreign {
    ($db:ident) => {
        run!($db, &format!("DROP SERVER {} CASCADE", $db.name()))
    };
}

mod foreign {
    use diesel::prelude::*;

    diesel::table! {
        #[sql_name = "accounts"]
        foreign_accounts (id) { id -> Integer, owner -> Text, balance -> BigInt }
    }

    #[derive(Debug, Queryable, Selectable, Identifiable, AsChangeset)]
    pub(super) struct ForeignAccount {
        pub(super) id: i32,
        pub(super) owner: String,
        pub(super) balance: i64,
    }
}

macro_rules! deposit_abroad {
    ($conn:expr, $id:expr) => {
        update_row($conn, $id, |account: &mut foreign::ForeignAccount| {
            assert_eq!(account.id, $id);
            account.owner.push('!');
            account.balance += 1;
            Ok::<_, LockError>(account.balance)
        })
    };
}

/// `xmin` is zero in every row, so no condition on it sees a change.
#[law(postgres)]
fn row_of_a_foreign_table_is_locked(db: &Db) {
    make_foreign!(db);
    let conn = &mut db.connect();
    for balance in [1_001, 1_002] {
        let (locked, changed) = locks!(conn, deposit_abroad!(conn, 1));
        assert_eq!((locked, changed.unwrap()), (true, balance));
    }
    assert_eq!(db.balance(1), 1_002);
    drop_foreign!(db);
}

#[law(postgres)]
fn twin_stamp_of_a_foreign_row_is_always_the_same(db: &Db) {
    make_foreign!(db);
    let conn = &mut db.connect();
    let is_zero = "SELECT FROM accounts WHERE id = 1 AND xmin = '0'";
    for _ in 0..2 {
        let seen = diesel::sql_query(is_zero).execute(conn).unwrap();
        assert_eq!(seen, 1);
        set_balance!(db, 1, 50);
    }
    drop_foreign!(db);
}

#[law(postgres)]
fn write_that_a_rule_replaces_by_nothing_is_no_success(db: &Db) {
    open_account!(db, 307);
    run!(
        db,
        "CREATE RULE never AS ON UPDATE TO accounts DO INSTEAD NOTHING"
    );
    let conn = &mut db.connect();
    for _ in 0..2 {
        let refused = deposit!(conn, 307);
        assert_error!(refused, Aborted, NotApplied, lasting, no_contention);
    }
    assert_eq!(db.balance(307), 1_000);
}

/// A role that a policy lets see the row, and not change it, finds none to lock.
#[law(postgres)]
fn row_that_a_policy_keeps_from_being_changed_is_not_found(db: &Db) {
    open_account!(db, 308);
    run!(
        db,
        &format!(
            "ALTER TABLE accounts ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY seen ON accounts FOR SELECT USING (TRUE); \
             CREATE POLICY changed ON accounts FOR UPDATE USING (id < 300); \
             GRANT USAGE ON SCHEMA {} TO pg_monitor; \
             GRANT SELECT, UPDATE ON accounts TO pg_monitor",
            db.name()
        )
    );
    let conn = &mut db.connect();
    conn.batch_execute("SET ROLE pg_monitor").unwrap();
    for _ in 0..2 {
        let hidden = deposit!(conn, 308);
        assert_error!(hidden, NotFound, NotApplied, lasting, no_contention);
    }
    assert_eq!(deposit!(conn, 2).unwrap(), 1_001);
    assert_eq!(db.balance(308), 1_000);
}

/// How many of the deposits count. The others fail by a conflict, which a lock does not keep away:
/// where a move meets a move, and in `postgres_fdw`, whose transactions are `REPEATABLE READ`.
macro_rules! count_deposits {
    ($deposits:expr) => {{
        let mut count = 0_i64;
        for deposited in $deposits {
            match deposited {
                Ok(_) => count += 1,
                Err(LockError::SerializationFailure { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        count
    }};
}

#[law(postgres)]
fn deposits_of_a_storm_on_a_partition_all_count(db: &Db) {
    run!(db, PARTITIONED);
    open_account!(db, 309);
    let (stop, is_over) = mpsc::channel::<()>();
    thread::scope(|scope| {
        // Moves the row to and fro meanwhile.
        scope.spawn(move || {
            let conn = &mut db.connect();
            let mut owners = ["Grace", "Ada"].into_iter().cycle();
            while is_over.try_recv() == Err(TryRecvError::Empty) {
                let owner = owners.next().unwrap();
                let _ = conn.batch_execute(&format!(
                    "UPDATE accounts SET owner = '{owner}' WHERE id = 309"
                ));
            }
        });
        let tellers = [(); 4].map(|()| {
            scope.spawn(move || {
                let conn = &mut db.connect();
                count_deposits!((0..20).map(|_| deposit!(conn, 309)))
            })
        });
        let deposits: i64 = tellers.map(|teller| teller.join().unwrap()).iter().sum();
        drop(stop);
        assert!(deposits > 0);
        assert_eq!(db.balance(309), 1_000 + deposits);
    });
}

#[law(postgres)]
fn deposits_of_a_storm_on_a_foreign_table_all_count(db: &Db) {
    make_foreign!(db);
    let deposits: i64 = thread::scope(|scope| {
        let tellers = [(); 4].map(|()| {
            scope.spawn(|| {
                let conn = &mut db.connect();
                count_deposits!((0..10).map(|_| deposit_abroad!(conn, 2)))
            })
        });
        tellers.map(|teller| teller.join().unwrap()).iter().sum()
    });
    assert!(deposits > 0);
    assert_eq!(db.balance(2), 1_000 + deposits);
    drop_foreign!(db);
}
