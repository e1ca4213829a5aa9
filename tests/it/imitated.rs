//! Promise 6: a user's own words, in a value, a name or an error that SQL raises, are not taken for
//! the server's.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_row_lock::{with_row_lock, LockError, Locked, Retry, RetryCause, RowLock};
use law::law;

use crate::support::schema::{accounts, Account};

/// Each begins as a message of one of the servers does, and goes on as only a user's can.
const ALIKE: [&str; 18] = [
    "could not obtain lock on the printer",
    "could not serialize access to the safe",
    "current transaction is aborted, says the teller",
    "terminating connection of the tenant",
    "canceling statement due to user request of the teller",
    "deadlock detected by the teller",
    "konnte Sperre für Relation der Filiale nicht setzen",
    "aktuelle Transaktion wurde abgebrochen, sagt die Kasse",
    "Lock wait timeout exceeded by the teller",
    "Deadlock found when trying to get lock; says the teller",
    "Record has changed since last read by the teller",
    "Statement aborted because lock(s) could not be acquired immediately by the teller",
    "Query execution was interrupted, maximum statement execution time of the teller",
    "Server has gone away for lunch",
    "Lost connection to the vault",
    "The client was disconnected by the server because of inactivity of the teller",
    "database is locked for maintenance",
    "database table is locked for maintenance",
];

/// Makes each update of an account fail with this text.
fn raise(backend: &str, text: &str) -> String {
    match backend {
        "postgres" => format!(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 RAISE EXCEPTION '{text}'; END $$; \
             CREATE OR REPLACE TRIGGER refuse BEFORE UPDATE ON accounts \
                 FOR EACH ROW EXECUTE FUNCTION refuse()"
        ),
        "sqlite" => format!(
            "DROP TRIGGER IF EXISTS refuse; CREATE TRIGGER refuse BEFORE UPDATE ON accounts \
             BEGIN SELECT RAISE(ABORT, '{text}'); END"
        ),
        _ => format!(
            "DROP TRIGGER IF EXISTS refuse; CREATE TRIGGER refuse BEFORE UPDATE ON accounts \
             FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{text}'"
        ),
    }
}

/// The result of a locked call whose closure runs `$sql`, under a policy that retries all it can,
/// and how often the closure ran.
macro_rules! attempts {
    ($conn:ident, $sql:expr) => {{
        let mut attempts = 0;
        let policy = Retry::new().attempts(3).lock_timeouts().sleeper(|_| ());
        let result = RowLock::for_update().retry(policy).with(
            $conn,
            accounts::table.find(1),
            |conn, _: Locked<Account>| {
                attempts += 1;
                diesel::sql_query($sql).execute(conn)?;
                Ok::<(), LockError>(())
            },
        );
        (result, attempts)
    }};
}

const CHANGE: &str = "UPDATE accounts SET balance = 7 WHERE id = 1";

#[law(postgres, mysql, mariadb, sqlite)]
fn error_that_only_begins_like_the_servers_is_the_users_own(db: &Db) {
    let conn = &mut db.connect();
    for text in ALIKE {
        conn.batch_execute(&raise(Db::STAMP, text)).unwrap();
        let (result, attempts) = attempts!(conn, CHANGE);
        let Err(LockError::Database(error)) = &result else {
            panic!("{text}: {result:?}")
        };
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(attempts, 1, "{text}");
    }
}

/// Twin, and what the classification can't know: Diesel keeps only the text of such an error.
/// The work is rolled back either way, so a retry repeats work and loses none.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_error_in_the_servers_own_words_is_taken_for_the_servers(db: &Db) {
    let conn = &mut db.connect();
    let (text, cause) = match Db::STAMP {
        "postgres" => ("deadlock detected", RetryCause::Deadlock),
        "sqlite" => ("database is locked", RetryCause::Timeout),
        _ => (
            "Lock wait timeout exceeded; try restarting transaction",
            RetryCause::Timeout,
        ),
    };
    conn.batch_execute(&raise(Db::STAMP, text)).unwrap();
    let (result, attempts) = attempts!(conn, CHANGE);
    let Err(LockError::RetriesExhausted { first, .. }) = &result else {
        panic!("{result:?}")
    };
    assert_eq!((*first, attempts), (cause, 3));
    assert_eq!(db.balance(1), 1_000);
}

/// A value is quoted in the details of an error, and a deadlock is known by its details.
#[law(postgres)]
fn value_that_is_named_like_a_lock_is_no_deadlock(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(
        "ALTER TABLE accounts ALTER owner TYPE TEXT; \
         CREATE VIEW small AS SELECT * FROM accounts WHERE balance < 0 WITH CHECK OPTION",
    )
    .unwrap();
    let wait = "Process 11 waits for ShareLock on transaction 7; blocked by process 22.";
    let back = "Process 22 waits for ShareLock on transaction 8; blocked by process 11.";
    let statements = [
        "SELECT CAST('ShareLock' AS json)".to_owned(),
        "INSERT INTO small VALUES (9, 'Mr ShareLock', 1)".to_owned(),
        format!("INSERT INTO small VALUES (11, E'{wait}\\n{back}', 1)"),
        format!("INSERT INTO small VALUES (11, E'\\n{wait}\\n{back}\\n', 1)"),
        format!("DO $$ BEGIN RAISE EXCEPTION 'no' USING DETAIL = '{wait}', HINT = 'none'; END $$"),
    ];
    for sql in statements {
        let (result, attempts) = attempts!(conn, &*sql);
        let Err(LockError::Database(error)) = &result else {
            panic!("{sql}: {result:?}")
        };
        // Twin: the rule that looked for the name alone took each of them for a deadlock.
        assert!(details(error).contains("ShareLock"), "{error:?}");
        assert_eq!(attempts, 1, "{sql}");
    }
}

/// Diesel's kind tells a violated constraint.
#[law(postgres, mysql, mariadb, sqlite)]
fn duplicate_of_a_hostile_key_is_a_violated_constraint(db: &Db) {
    let conn = &mut db.connect();
    for text in ALIKE {
        diesel::sql_query(format!("INSERT INTO tokens VALUES ('{text}', 1)"))
            .execute(conn)
            .unwrap();
        let again = format!("INSERT INTO tokens VALUES ('{text}', 1)");
        let (result, attempts) = attempts!(conn, &*again);
        assert!(matches!(result, Err(LockError::Database(_))), "{result:?}");
        assert_eq!(attempts, 1);
    }
}

/// The same error as it leaves a closure by `?`, where nothing is known of the backend.
#[law(postgres, mysql, mariadb, sqlite)]
fn error_of_the_users_own_stays_what_it_is_on_the_way_out(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(&raise(Db::STAMP, ALIKE[0])).unwrap();
    let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        conn.batch_execute(CHANGE)?;
        QueryResult::Ok(())
    });
    let error = LockError::from(result.unwrap_err());
    assert!(matches!(error, LockError::Database(_)), "{error:?}");
}

#[law(mysql, mariadb)]
fn session_that_the_server_ended_for_idling_is_a_lost_connection(db: &Db) {
    let conn = &mut db.connect();
    let session = Db::session(conn);
    conn.batch_execute("SET SESSION wait_timeout = 1").unwrap();
    db.wait_for_end_of(session);
    let result = with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
        Ok::<_, LockError>(())
    });
    assert!(
        matches!(result, Err(LockError::ConnectionLost { .. })),
        "{result:?}"
    );
}

fn details(error: &DieselError) -> &str {
    match error {
        DieselError::DatabaseError(_, info) => info.details().unwrap_or_default(),
        _ => "",
    }
}
