//! What the server does to a row between the read and the write, though no session changes it.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{update_row, LockError};
use law::law;

use crate::support::calls::{open_account, set_balance};
use crate::support::schema::{accounts, Account};

/// Each rewrites the table or its rows.
const REWRITES: [&str; 6] = [
    "VACUUM FULL accounts",
    "VACUUM FREEZE accounts",
    "CLUSTER accounts USING accounts_pkey",
    "ALTER TABLE accounts ALTER balance TYPE BIGINT USING balance + 0",
    "ALTER TABLE accounts SET UNLOGGED",
    "ALTER TABLE accounts ADD more INTEGER DEFAULT 7",
];

/// A deposit to account `$id`, at whose first run the server executes `$between`.
macro_rules! deposit_while {
    ($db:ident, $id:expr, $between:expr) => {{
        let mut runs = 0;
        let deposited = update_row(&mut $db.connect(), $id, |account: &mut Account| {
            runs += 1;
            if runs == 1 {
                $between;
            }
            account.balance += 1;
            Ok::<_, LockError>(account.balance)
        });
        (deposited.unwrap(), runs)
    }};
}

#[law(postgres)]
fn rewrite_in_between_loses_no_deposit(db: &Db) {
    db.connect().batch_execute("DROP TABLE entries").unwrap();
    for (id, rewrite) in (341..).zip(REWRITES) {
        open_account!(db, id);
        let (balance, _) = deposit_while!(db, id, db.connect().batch_execute(rewrite).unwrap());
        assert_eq!((balance, db.balance(id)), (1_001, 1_001), "{rewrite}");
    }
}

/// Nor does a rewrite hide a change that came before it.
#[law(postgres)]
fn change_is_seen_behind_a_rewrite(db: &Db) {
    db.connect().batch_execute("DROP TABLE entries").unwrap();
    for (id, rewrite) in (351..).zip(REWRITES) {
        open_account!(db, id);
        let (balance, runs) = deposit_while!(db, id, {
            set_balance!(db, id, 50);
            db.connect().batch_execute(rewrite).unwrap();
        });
        assert_eq!((balance, runs, db.balance(id)), (51, 2, 51), "{rewrite}");
    }
}

/// The row is another one, with the same key and the same values.
#[law(postgres)]
fn row_that_was_deleted_and_inserted_again_is_another_one(db: &Db) {
    open_account!(db, 361);
    let again = "DELETE FROM accounts WHERE id = 361; \
        INSERT INTO accounts VALUES (361, 'Ada', 1000)";
    let (balance, runs) = deposit_while!(db, 361, db.connect().batch_execute(again).unwrap());
    assert_eq!((balance, runs), (1_001, 2));
}

/// A table of the same name that has taken the place of the one that was read.
#[law(postgres)]
fn row_of_a_table_that_has_taken_the_place_is_another_one(db: &Db) {
    open_account!(db, 362);
    let swap = "BEGIN; CREATE TABLE other AS SELECT id, owner, balance + 49 AS balance \
        FROM accounts; DROP TABLE entries, accounts; \
        ALTER TABLE other RENAME TO accounts; COMMIT";
    let (balance, runs) = deposit_while!(db, 362, db.connect().batch_execute(swap).unwrap());
    assert_eq!((balance, runs, db.balance(362)), (1_050, 2, 1_050));
}
