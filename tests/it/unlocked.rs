//! A lock that locks nothing says so: comments that would swallow the clause, queries whose rows a
//! clause does not reach.

use diesel::backend::Backend;
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Bool, Integer};
use diesel_row_lock::bounds::LockableQuery;
use diesel_row_lock::{with_row_lock, LockError, Locked, Outcome, Retry, RowLock};
use law::law;

use crate::support::probe::statements_of;
use crate::support::schema::{accounts, entries, Account};

/// A row of raw SQL.
#[derive(Debug, QueryableByName)]
struct Id {
    #[diesel(sql_type = Integer)]
    id: i32,
}

#[cfg(feature = "mysql")]
diesel::table! {
    /// A view, or a table of another engine.
    odd (id) {
        id -> Integer,
        owner -> Text,
        balance -> BigInt,
    }
}

/// A query type of a user's own, around any other.
#[derive(Debug, Clone, QueryId)]
struct Traced<Q>(Q);

impl<Q: Query> Query for Traced<Q> {
    type SqlType = Q::SqlType;
}

impl<Q, C> RunQueryDsl<C> for Traced<Q> {}

impl<Q, DB> QueryFragment<DB> for Traced<Q>
where
    DB: Backend,
    Q: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("/* traced */ ");
        self.0.walk_ast(out)
    }
}

impl<Q> LockableQuery for Traced<Q> {}

#[law(postgres, mysql, mariadb)]
fn query_of_any_form_is_locked(db: &Db) {
    let conn = &mut db.connect();
    let held = |_: &mut Conn, _: Locked<Account>| {
        assert_eq!(db.free("accounts"), [2, 3, 4]);
        Ok::<_, LockError>(())
    };
    let boxed = accounts::table.find(1).into_boxed();
    with_row_lock(conn, &boxed, held).unwrap();
    with_row_lock(conn, boxed, held).unwrap();
    let traced = Traced(accounts::table.find(1));
    with_row_lock(conn, &traced, held).unwrap();
    with_row_lock(conn, traced, held).unwrap();
    with_row_lock(
        conn,
        accounts::table.filter(accounts::id.eq(1)).limit(1),
        held,
    )
    .unwrap();
}

#[law(postgres, mysql, mariadb)]
fn comment_at_the_end_of_raw_sql_swallows_no_clause(db: &Db) {
    let conn = &mut db.connect();
    let query = diesel::sql_query("SELECT id FROM accounts WHERE id = 1 -- the first");
    with_row_lock(conn, query, |_, row: Locked<Id>| {
        assert_eq!((row.id, db.free("accounts")), (1, vec![2, 3, 4]));
        Ok::<_, LockError>(())
    })
    .unwrap();
    let query = sql::<Integer>("SELECT id FROM accounts WHERE id = ")
        .bind::<Integer, _>(2)
        .sql(" -- by key");
    with_row_lock(conn, query, |_, row: Locked<i32>| {
        assert_eq!((*row, db.free("accounts")), (2, vec![1, 3, 4]));
        Ok::<_, LockError>(())
    })
    .unwrap();
    let query = accounts::table
        .filter(accounts::id.eq(3))
        .filter(sql::<Bool>("1 = 1 -- not the end\n AND 1 = 1"));
    RowLock::for_update()
        .no_wait()
        .with_all(conn, query, |_, rows: Vec<Locked<Account>>| {
            assert_eq!((rows.len(), db.free("accounts")), (1, vec![1, 2, 4]));
            Ok::<_, LockError>(())
        })
        .unwrap();
}

#[law(mysql, mariadb)]
fn comment_of_mysql_swallows_no_clause(db: &Db) {
    let query =
        diesel::sql_query("SELECT id FROM accounts WHERE id = ? # the first").bind::<Integer, _>(1);
    with_row_lock(&mut db.connect(), query, |_, row: Locked<Id>| {
        assert_eq!((row.id, db.free("accounts")), (1, vec![2, 3, 4]));
        Ok::<_, LockError>(())
    })
    .unwrap();
}

/// Twin: the clause behind a blank.
#[law(postgres, mysql, mariadb)]
fn twin_comment_swallows_a_clause_on_its_line(db: &Db) {
    db.connect()
        .transaction(|conn| {
            let by_hand = "SELECT id FROM accounts WHERE id = 1 -- the first FOR UPDATE";
            let row: Id = diesel::sql_query(by_hand).get_result(conn)?;
            assert_eq!((row.id, db.free("accounts")), (1, vec![1, 2, 3, 4]));
            QueryResult::Ok(())
        })
        .unwrap();
}

/// SQL with an open comment or string is refused by the server.
#[law(postgres, mysql, mariadb)]
fn raw_sql_that_leaves_something_open_is_refused(db: &Db) {
    let conn = &mut db.connect();
    for open in ["/* the first", "AND owner <> 'Ada", "; -- the first"] {
        let query = diesel::sql_query(format!("SELECT id FROM accounts WHERE id = 1 {open}"));
        let result = with_row_lock(conn, query, |_, _: Locked<Id>| Ok(()));
        assert!(
            matches!(result, Err(LockError::Database(_))),
            "{open}: {result:?}"
        );
    }
}

/// Where no type shows it: two queries in raw SQL.
#[law(mysql, mariadb)]
fn combined_queries_in_raw_sql_are_refused_before_any_sql(db: &Db) {
    let conn = &mut db.connect();
    let statements = statements_of(conn);
    for text in [
        "SELECT id FROM accounts WHERE id = 1 UNION SELECT id FROM accounts WHERE id = 2",
        "(SELECT id FROM accounts) EXCEPT (SELECT id FROM accounts WHERE id = 2)",
        "SELECT id FROM accounts intersect SELECT id FROM accounts",
    ] {
        let query = diesel::sql_query(text);
        let one = with_row_lock(conn, query.clone(), |_, _: Locked<Id>| Ok(()));
        let all =
            RowLock::for_update().with_all(conn, query.clone(), |_, _: Vec<Locked<Id>>| Ok(()));
        let retried = RowLock::for_update().retry(Retry::new());
        let retried = retried.with_all(conn, query, |_, _: Vec<Locked<Id>>| Ok(()));
        let literal =
            RowLock::for_update()
                .with_all(conn, sql::<Integer>(text), |_, _: Vec<Locked<i32>>| Ok(()));
        for result in [one, all, retried, literal] {
            let Err(error @ LockError::Unsupported { .. }) = result else {
                panic!("{text}: {result:?}")
            };
            assert_eq!(error.outcome(), Outcome::NotApplied);
        }
    }
    assert_eq!(*statements.lock().unwrap(), [""; 0]);
    // Twin: a subquery may well be one.
    let query = diesel::sql_query("SELECT id FROM accounts WHERE id IN (SELECT 1 UNION SELECT 2)");
    RowLock::for_update()
        .with_all(conn, query, |_, rows: Vec<Locked<Id>>| {
            let free = db.free("accounts");
            assert_eq!(
                (rows.len(), free.contains(&1), free.contains(&2)),
                (2, false, false)
            );
            Ok::<_, LockError>(())
        })
        .unwrap();
}

/// Twin: the same by hand, where the first half is not locked.
#[law(mysql, mariadb)]
fn twin_clause_behind_a_union_locks_the_last_query_only(db: &Db) {
    db.connect()
        .transaction(|conn| {
            let by_hand = "SELECT id FROM accounts WHERE id = 1 UNION \
                       SELECT id FROM accounts WHERE id = 2 FOR UPDATE";
            let rows: Vec<Id> = diesel::sql_query(by_hand).load(conn)?;
            assert_eq!((rows.len(), db.free("accounts")), (2, vec![1, 3, 4]));
            QueryResult::Ok(())
        })
        .unwrap();
}

/// PostgreSQL refuses them itself.
#[law(postgres)]
fn combined_queries_in_raw_sql_are_refused_by_postgresql(db: &Db) {
    let query = diesel::sql_query("SELECT id FROM accounts UNION SELECT id FROM accounts");
    let result = with_row_lock(&mut db.connect(), query, |_, _: Locked<Id>| Ok(()));
    assert!(matches!(result, Err(LockError::Database(_))), "{result:?}");
}

#[law(postgres, mysql, mariadb)]
fn query_that_locks_its_rows_passes_the_check(db: &Db) {
    let [conn, other] = &mut [db.connect(), db.connect()];
    conn.batch_execute("INSERT INTO entries VALUES (1, 1, 10)")
        .unwrap();
    let some = accounts::table
        .filter(accounts::id.lt(3))
        .order(accounts::id);
    let rows: Vec<Account> = RowLock::for_update().check(conn, other, some).unwrap();
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 2]);
    let joined = entries::table
        .inner_join(accounts::table)
        .select((entries::id, accounts::id));
    let rows: Vec<(i32, i32)> = RowLock::for_share().check(conn, other, joined).unwrap();
    assert_eq!(rows, [(1, 1)]);
    let raw = diesel::sql_query("SELECT id FROM accounts WHERE id = 4");
    let rows: Vec<Id> = RowLock::for_update()
        .no_wait()
        .check(conn, other, raw)
        .unwrap();
    assert_eq!(rows.len(), 1);
    let none: Result<Vec<Account>, _> =
        RowLock::for_update().check(conn, other, accounts::table.find(77));
    assert!(matches!(none, Err(LockError::NotFound { .. })), "{none:?}");
    assert_eq!(db.free("accounts"), [1, 2, 3, 4], "nothing stays locked");
}

#[law(mysql, mariadb)]
fn query_that_locks_nothing_fails_the_check(db: &Db) {
    let [conn, other] = &mut [db.connect(), db.connect()];
    for (kind, odd) in ODD {
        conn.batch_execute(odd).unwrap();
        let result: Result<Vec<Account>, _> = RowLock::for_update().check(conn, other, odd::table);
        let Err(error @ LockError::Unsupported { .. }) = result else {
            panic!("{kind}: {result:?}")
        };
        assert_eq!(error.outcome(), Outcome::NotApplied);
        conn.batch_execute(&format!("DROP {kind} odd")).unwrap();
    }
    let grouped = "WITH x AS (SELECT id FROM accounts GROUP BY id) SELECT id FROM x";
    let result: Result<Vec<Id>, _> =
        RowLock::for_update().check(conn, other, diesel::sql_query(grouped));
    assert!(
        matches!(result, Err(LockError::Unsupported { .. })),
        "{result:?}"
    );
}

/// Twin, and the reason for the check: the call itself sees nothing of it.
#[law(mysql, mariadb)]
fn twin_call_does_not_see_that_it_locks_nothing(db: &Db) {
    let conn = &mut db.connect();
    for (kind, odd) in ODD {
        conn.batch_execute(odd).unwrap();
        with_row_lock(conn, odd::table.find(1), |_, row: Locked<Account>| {
            assert_eq!(
                (row.id, db.free("accounts")),
                (1, vec![1, 2, 3, 4]),
                "{kind}: {odd}"
            );
            let rival = &mut db.connect();
            let rival = RowLock::for_update().no_wait().with(
                rival,
                odd::table.find(1),
                |_, _: Locked<Account>| Ok::<_, LockError>(()),
            );
            rival.expect("two hold it");
            Ok::<_, LockError>(())
        })
        .unwrap();
        conn.batch_execute(&format!("DROP {kind} odd")).unwrap();
    }
}

/// What a clause does not reach, and how it is dropped.
#[cfg(feature = "mysql")]
const ODD: [(&str, &str); 6] = [
    ("VIEW", "CREATE VIEW odd AS SELECT DISTINCT * FROM accounts"),
    (
        "VIEW",
        "CREATE VIEW odd AS SELECT id, max(owner) AS owner, max(balance) AS balance \
         FROM accounts GROUP BY id",
    ),
    (
        "VIEW",
        "CREATE VIEW odd AS SELECT * FROM accounts WHERE id < 3 \
         UNION SELECT * FROM accounts WHERE id >= 3",
    ),
    (
        "VIEW",
        "CREATE ALGORITHM = TEMPTABLE VIEW odd AS SELECT * FROM accounts",
    ),
    (
        "TABLE",
        "CREATE TABLE odd (id INTEGER PRIMARY KEY, owner VARCHAR(100), balance BIGINT) \
         ENGINE = MyISAM; INSERT INTO odd SELECT * FROM accounts",
    ),
    (
        "TABLE",
        "CREATE TABLE odd (id INTEGER PRIMARY KEY, owner VARCHAR(100), balance BIGINT) \
         ENGINE = MEMORY; INSERT INTO odd SELECT * FROM accounts",
    ),
];
