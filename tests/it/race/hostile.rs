//! Operations that fail, panic, block each other or bring a protection of their own: no false
//! `Cured`, no false `Racy`, and nothing is left behind.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::race::{Interleaving, Race, Verdict};
use diesel_row_lock::{
    save_versioned, update_versioned, with_row_lock, with_row_locks, LockError, Locked, Retry,
    RowLock, Versioned,
};
use law::law;

use super::operations::{add, deposit, observe, prove, reset};
use crate::support::schema::{accounts, Account};

/// In both roles; a panic of the rival between two statements of the operation is one outcome of
/// two.
#[law(postgres, mysql, mariadb, sqlite)]
fn operation_that_always_panics_proves_nothing(db: &Db) {
    let proof = prove!(
        db,
        |conn: &mut Conn| with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance += 1;
                account.save_changes::<Account>(conn)?;
                panic!("as ever");
                #[allow(unreachable_code)]
                Ok::<_, LockError>(())
            }
        ),
        |conn| deposit!(conn, 1, 100)
    );
    assert_eq!(proof.races(true).count(), 0, "{proof}");
    assert!(
        proof
            .to_string()
            .contains("operation failed: panicked: as ever"),
        "{proof}"
    );
    assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn operation_that_always_fails_proves_nothing(db: &Db) {
    let proof = prove!(
        db,
        |conn: &mut Conn| with_row_lock(
            conn,
            accounts::table.find(77),
            |_, _: Locked<Account>| Ok::<_, LockError>(())
        ),
        |conn| deposit!(conn, 1, 100)
    );
    assert_eq!(proof.verdict(), Verdict::NoRaceToCure, "{proof}");
    assert!(
        proof
            .to_string()
            .contains("operation failed: no row to lock"),
        "{proof}"
    );
}

#[law(postgres, mysql, mariadb)]
fn deadlock_is_found_in_both_roles_and_leaves_no_lock(db: &Db) {
    macro_rules! crossing {
        ($first:literal, $second:literal) => {
            |conn: &mut Conn| {
                with_row_lock(
                    conn,
                    accounts::table.find($first),
                    |conn, _: Locked<Account>| {
                        with_row_lock(
                            conn,
                            accounts::table.find($second),
                            |conn, _: Locked<Account>| {
                                add!(conn, $first, 1)?;
                                add!(conn, $second, -1)?;
                                Ok::<_, LockError>(())
                            },
                        )
                    },
                )
            }
        };
    }
    let proof = prove!(db, crossing!(1, 2), crossing!(2, 1));
    assert_eq!(proof.verdict(), Verdict::Racy, "{proof}");
    for name in ["operation", "rival"] {
        let deadlock = |run: &&Interleaving<Vec<i64>>| {
            run.stepped == name
                && run.outcome.results.iter().any(|result| {
                    result
                        .as_ref()
                        .is_err_and(|error| error.contains("deadlock"))
                })
        };
        assert!(
            proof.races(true).any(|run| deadlock(&run)),
            "no deadlock while {name} is stepped: {proof}"
        );
    }
    assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
}

/// Of a deadlock only the victim's attempt is lost.
#[law(postgres, mysql, mariadb)]
fn twin_deadlock_that_is_retried_in_both_operations_is_not_racy(db: &Db) {
    macro_rules! crossing {
        ($first:literal, $second:literal) => {
            |conn: &mut Conn| {
                let lock = RowLock::for_update().retry(Retry::new());
                lock.with(
                    conn,
                    accounts::table.find($first),
                    |conn, _: Locked<Account>| {
                        with_row_lock(
                            conn,
                            accounts::table.find($second),
                            |conn, _: Locked<Account>| {
                                add!(conn, $first, 1)?;
                                add!(conn, $second, -1)?;
                                Ok::<_, LockError>(())
                            },
                        )
                    },
                )
            }
        };
    }
    let proof = prove!(db, crossing!(1, 2), crossing!(2, 1));
    assert_ne!(proof.verdict(), Verdict::Racy, "{proof}");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn nested_calls_are_cured_by_the_outer_lock(db: &Db) {
    macro_rules! nested {
        ($amount:literal) => {
            |conn: &mut Conn| {
                with_row_lock(
                    conn,
                    accounts::table.find(1),
                    |conn, mut one: Locked<Account>| {
                        one.balance += $amount;
                        with_row_lock(
                            conn,
                            accounts::table.find(2),
                            |conn, mut two: Locked<Account>| {
                                two.balance -= $amount;
                                two.save_changes::<Account>(conn)
                                    .map(drop)
                                    .map_err(LockError::from)
                            },
                        )?;
                        one.save_changes::<Account>(conn)
                            .map(drop)
                            .map_err(LockError::from)
                    },
                )
            }
        };
    }
    prove!(db, nested!(100), nested!(7)).assert_cured();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn rows_locked_in_key_order_are_cured_in_both_roles(db: &Db) {
    macro_rules! transfer {
        ($from:literal, $to:literal) => {
            |conn: &mut Conn| {
                with_row_locks(
                    conn,
                    [$from, $to],
                    |conn, [mut from, mut to]: [Locked<Account>; 2]| {
                        from.balance -= 1;
                        to.balance += 1;
                        from.save_changes::<Account>(conn)?;
                        to.save_changes::<Account>(conn)?;
                        Ok::<_, LockError>((from.balance, to.balance))
                    },
                )
            }
        };
    }
    prove!(db, transfer!(1, 2), transfer!(2, 1)).assert_cured();
}

/// There is no clause to take out: the form without the version has to be given.
#[law(postgres, mysql, mariadb, sqlite)]
fn saves_by_version_need_their_form_without_it(db: &Db) {
    db.connect()
        .batch_execute(
            "CREATE TABLE pages \
             (id INTEGER PRIMARY KEY, views INTEGER NOT NULL, version INTEGER NOT NULL); \
             INSERT INTO pages VALUES (1, 0, 1)",
        )
        .unwrap();
    let setup = |conn: &mut Conn| {
        diesel::update(pages::table)
            .set((pages::views.eq(0), pages::version.eq(1)))
            .execute(conn)
    };
    let observe = |conn: &mut Conn| pages::table.select(pages::views).first::<i32>(conn);
    let race = || {
        Race::of("view", |conn: &mut Conn| {
            let view = |page: &mut Page| {
                page.views += 1;
                Ok::<_, LockError>(())
            };
            update_versioned(conn, pages::table.find(1), &Retry::new(), view)
        })
        .setup(setup)
    };
    let blind = race().prove(|| Ok(db.connect()), observe).unwrap();
    assert_eq!(blind.verdict(), Verdict::NoRaceToCure, "{blind}");
    let seeing = race().without_lock(|conn| {
        let page: Page = pages::table.find(1).first(conn)?;
        diesel::update(&page)
            .set(pages::views.eq(page.views + 1))
            .execute(conn)?;
        Ok::<_, LockError>(())
    });
    seeing
        .prove(|| Ok(db.connect()), observe)
        .unwrap()
        .assert_cured();

    let once = Race::of("view", |conn: &mut Conn| {
        let mut page: Page = pages::table.find(1).first(conn)?;
        page.views += 1;
        save_versioned(conn, &page).map(drop)
    });
    let once = once
        .setup(setup)
        .prove(|| Ok(db.connect()), observe)
        .unwrap();
    assert_eq!(
        once.verdict(),
        Verdict::Racy,
        "a stale row is an error that no serial order has: {once}"
    );
}

/// An isolation level is no clause either. Without a retry its refusals are errors that no serial
/// order has.
#[law(postgres, mysql, mariadb)]
fn serializable_isolation_needs_a_retry_and_its_form_without_it(db: &Db) {
    let racy = Race::of("deposit", |conn: &mut Conn| {
        serializable!(conn, "SERIALIZABLE")
    })
    .setup(reset!())
    .prove(|| Ok(db.connect()), observe!())
    .unwrap();
    assert_eq!(racy.verdict(), Verdict::Racy, "{racy}");

    macro_rules! retried {
        ($conn:ident, $level:literal) => {{
            let mut attempts = 0;
            loop {
                attempts += 1;
                match serializable!($conn, $level) {
                    Err(_) if attempts < 5 => {}
                    result => break result,
                }
            }
        }};
    }
    let race =
        || Race::of("deposit", |conn: &mut Conn| retried!(conn, "SERIALIZABLE")).setup(reset!());
    let blind = race().prove(|| Ok(db.connect()), observe!()).unwrap();
    assert_eq!(blind.verdict(), Verdict::NoRaceToCure, "{blind}");
    race()
        .without_lock(|conn| retried!(conn, "READ COMMITTED"))
        .prove(|| Ok(db.connect()), observe!())
        .unwrap()
        .assert_cured();
}

/// A read that waits for its safe snapshot waits for those who write meanwhile.
#[law(postgres)]
fn deferrable_read_waits_for_the_operation(db: &Db) {
    let proof = prove!(
        db,
        |conn: &mut Conn| serializable!(conn, "SERIALIZABLE"),
        |conn: &mut Conn| conn
            .build_transaction()
            .serializable()
            .read_only()
            .deferrable()
            .run(|conn| {
                accounts::table
                    .find(1)
                    .select(accounts::balance)
                    .first::<i64>(conn)
            })
    );
    assert_eq!(proof.races(true).count(), 0, "{proof}");
    assert!(
        proof
            .interleavings()
            .iter()
            .any(|run| { run.script.to_string().contains("<waits for operation>") }),
        "{proof}"
    );
}

/// On SQLite the prover reads from the statements who holds the lock, and a value stands among
/// them.
#[law(postgres, mysql, mariadb, sqlite)]
fn value_that_looks_like_sql_does_not_mislead_the_prover(db: &Db) {
    let operation = |conn: &mut Conn| {
        with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, mut one: Locked<Account>| {
                one.owner = "it's; COMMIT ; ROLLBACK".to_owned();
                one.balance += 1;
                one.save_changes::<Account>(conn)?;
                one.save_changes::<Account>(conn)?;
                Ok::<_, LockError>(())
            },
        )
    };
    prove!(db, operation, |conn| deposit!(conn, 1, 10)).assert_cured();
}

/// An operation that leaves its transaction open.
#[law(postgres, mysql, mariadb, sqlite)]
fn transaction_left_open_is_rolled_back_and_leaves_no_lock(db: &Db) {
    let proof = prove!(
        db,
        |conn: &mut Conn| {
            conn.batch_execute("BEGIN")?;
            add!(conn, 1, 1)
        },
        |conn| deposit!(conn, 1, 100)
    );
    assert!(
        proof
            .interleavings()
            .iter()
            .all(|run| run.outcome.state[0] == 1_100),
        "{proof}"
    );
    assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
}

diesel::table! {
    pages {
        id -> Integer,
        views -> Integer,
        version -> Integer,
    }
}

#[derive(Debug, Queryable, Identifiable, AsChangeset)]
struct Page {
    id: i32,
    views: i32,
    #[diesel(skip_update)]
    version: i32,
}

impl Versioned for Page {
    type Column = pages::version;
    fn version(&self) -> i32 {
        self.version
    }
}

/// Reads and writes at this level.
macro_rules! serializable {
    ($conn:expr, $level:literal) => {{
        // For one transaction, by the server's own way.
        let begin = match std::any::type_name::<Conn>() {
            name if name.contains("Pg") => concat!("BEGIN ISOLATION LEVEL ", $level),
            _ => concat!("SET TRANSACTION ISOLATION LEVEL ", $level, "; BEGIN"),
        };
        let deposit = |conn: &mut Conn| {
            conn.batch_execute(begin)?;
            let account: Account = accounts::table.find(1).first(conn)?;
            let more = accounts::balance.eq(account.balance + 1);
            diesel::update(&account).set(more).execute(conn)?;
            conn.batch_execute("COMMIT")
        };
        let conn: &mut Conn = $conn;
        let result = deposit(conn);
        if result.is_err() {
            conn.batch_execute("ROLLBACK")?;
        }
        result
    }};
}
use serializable;
