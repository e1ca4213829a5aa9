//! The locking clause that a statement carries on each backend.

use std::time::Duration;

use diesel::prelude::*;
use diesel_row_lock::{LockError, Locked, RowLock};
use law::law;

use crate::support::probe::statements_of;
use crate::support::schema::{accounts, Account};

const SHORT: Duration = Duration::from_millis(500);

#[law(postgres)]
fn statement_carries_the_clause_of_postgresql(db: &Db) {
    let conn = &mut db.connect();
    assert_clause!(conn, RowLock::for_update(), "FOR UPDATE");
    assert_clause!(conn, RowLock::for_no_key_update(), "FOR NO KEY UPDATE");
    assert_clause!(conn, RowLock::for_share(), "FOR SHARE");
    assert_clause!(conn, RowLock::for_key_share(), "FOR KEY SHARE");
    assert_clause!(conn, RowLock::for_update().no_wait(), "FOR UPDATE NOWAIT");
    assert_clause!(
        conn,
        RowLock::for_no_key_update().no_wait(),
        "FOR NO KEY UPDATE NOWAIT"
    );
    assert_clause!(
        conn,
        RowLock::for_share().skip_locked(),
        "FOR SHARE SKIP LOCKED"
    );
    assert_clause!(conn, RowLock::for_update().timeout(SHORT), "FOR UPDATE");
    assert_clause!(
        conn,
        RowLock::for_update().timeout(Duration::ZERO),
        "FOR UPDATE NOWAIT"
    );
    assert_clause!(
        conn,
        RowLock::for_update().of(accounts::table),
        r#"FOR UPDATE OF "accounts""#
    );
    let all = RowLock::for_key_share().of(accounts::table).skip_locked();
    assert_clause!(conn, all, r#"FOR KEY SHARE OF "accounts" SKIP LOCKED"#);
}

/// E20, E21.
#[law(mysql, mariadb)]
fn statement_carries_the_clause_of_mysql_and_mariadb(db: &Db) {
    let conn = &mut db.connect();
    assert_clause!(conn, RowLock::for_update(), "FOR UPDATE");
    assert_clause!(conn, RowLock::for_share(), "LOCK IN SHARE MODE");
    assert_clause!(conn, RowLock::for_update().no_wait(), "FOR UPDATE NOWAIT");
    assert_clause!(
        conn,
        RowLock::for_update().skip_locked(),
        "FOR UPDATE SKIP LOCKED"
    );
    assert_clause!(
        conn,
        RowLock::for_update().timeout(SHORT),
        "FOR UPDATE /*M! WAIT 1 */"
    );
    assert_clause!(
        conn,
        RowLock::for_update().timeout(3 * SHORT),
        "FOR UPDATE /*M! WAIT 2 */"
    );
    assert_clause!(
        conn,
        RowLock::for_update().timeout(Duration::ZERO),
        "FOR UPDATE NOWAIT"
    );
    let share = "/*M! LOCK IN SHARE MODE */ /*!80001 FOR SHARE */";
    assert_clause!(
        conn,
        RowLock::for_share().no_wait(),
        &format!("{share} NOWAIT")
    );
}

#[law(sqlite)]
fn statement_carries_no_clause_on_sqlite(db: &Db) {
    let conn = &mut db.connect();
    assert_clause!(conn, RowLock::for_update(), "");
    assert_clause!(conn, RowLock::for_update().no_wait(), "");
    assert_clause!(conn, RowLock::for_update().timeout(SHORT), "");
}

/// Behind the key of the row stands `$clause`, and nothing else.
macro_rules! assert_clause {
    ($conn:ident, $lock:expr, $clause:expr) => {
        let statements = statements_of($conn);
        $lock
            .with($conn, accounts::table.find(1), |_, _: Locked<Account>| Ok::<_, LockError>(()))
            .unwrap();
        let statements = statements.lock().unwrap();
        let select = statements.iter().find(|sql| sql.contains("WHERE")).expect("no SELECT");
        let (select, _) = select.split_once("-- binds").expect("no binds");
        let (_, behind_where) = select.split_once("WHERE").expect("no WHERE");
        let (_, clause) = behind_where.split_once(['$', '?']).expect("no key");
        assert_eq!(clause.trim_start_matches(['1', ')']).trim(), $clause);
    };
}
use assert_clause;
