//! Each option combines with each other one and with each kind of target.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{
    all, at_version, keys, CommitToken, Isolation, LockError, Locked, Retry, RetryCause, RowLock,
    Versioned,
};
use law::law;

diesel::table! {
    things (id) {
        id -> Integer,
        uses -> Integer,
        version -> Integer,
    }
}

#[derive(Debug, Queryable, Identifiable)]
struct Thing {
    id: i32,
    uses: i32,
    version: i32,
}

impl Versioned for Thing {
    type Column = things::version;

    fn version(&self) -> i32 {
        self.version
    }
}

const THINGS: &str = "
    CREATE TABLE things (id INTEGER PRIMARY KEY, uses INTEGER NOT NULL, version INTEGER NOT NULL);
    INSERT INTO things VALUES (1, 0, 7), (2, 0, 7)";

const TIME: Duration = Duration::from_secs(5);

/// Adds one use to each of the rows, which are as fresh as that they have `$before` uses.
macro_rules! used {
    ($conn:ident, $before:expr, $ids:expr, $rows:expr) => {{
        let seen: Vec<_> = $rows.map(|thing: &Thing| (thing.id, thing.uses)).collect();
        let expected: Vec<_> = $ids.into_iter().zip($before).collect();
        assert_eq!(seen, expected);
        let changed = diesel::update(things::table.filter(things::id.eq_any($ids)))
            .set(things::uses.eq(things::uses + 1))
            .execute($conn)?;
        assert_eq!(changed, expected.len());
        Ok::<_, LockError>(())
    }};
}

/// Locks each kind of target by `$lock`. Row 1 is used four times, row 2 twice.
macro_rules! through_each_target {
    ($db:ident, $conn:ident, $name:expr, $lock:expr) => {{
        let settings = Db::settings($conn);
        let uses = || -> (i32, i32) {
            let uses = things::table.order(things::id).select(things::uses);
            let uses: Vec<i32> = uses.load(&mut $db.connect()).unwrap();
            (uses[0], uses[1])
        };
        let (one, two) = uses();
        let result = $lock.with(
            $conn,
            things::table.find(1),
            |conn, thing: Locked<Thing>| used!(conn, [one], [1], [&*thing].into_iter()),
        );
        result.unwrap_or_else(|error| panic!("{}, a query: {error:?}", $name));
        let result = $lock.with(
            $conn,
            all(things::table.order(things::id)),
            |conn, rows: Locked<Vec<Thing>>| used!(conn, [one + 1, two], [1, 2], rows.iter()),
        );
        result.unwrap_or_else(|error| panic!("{}, all: {error:?}", $name));
        let result = $lock.with($conn, keys([2, 1]), |conn, rows: Locked<Vec<Thing>>| {
            used!(conn, [two + 1, one + 2], [2, 1], rows.iter())
        });
        result.unwrap_or_else(|error| panic!("{}, keys: {error:?}", $name));
        let result = $lock.with(
            $conn,
            at_version(things::table.find(1), 7),
            |conn, thing: Locked<Thing>| used!(conn, [one + 3], [1], [&*thing].into_iter()),
        );
        result.unwrap_or_else(|error| panic!("{}, at_version: {error:?}", $name));
        assert_eq!(uses(), (one + 4, two + 2), "{}", $name);
        assert_eq!(Db::settings($conn), settings, "{}", $name);
    }};
}

/// `$lock` with the option of this name.
macro_rules! with_option {
    ($second:ident, $session:ident, no_wait, $lock:expr) => {
        $lock.no_wait()
    };
    ($second:ident, $session:ident, skip_locked, $lock:expr) => {
        $lock.skip_locked()
    };
    ($second:ident, $session:ident, timeout, $lock:expr) => {
        $lock.timeout(TIME)
    };
    ($second:ident, $session:ident, of, $lock:expr) => {
        $lock.of(things::table)
    };
    ($second:ident, $session:ident, hold_at_most, $lock:expr) => {
        $lock.hold_at_most(TIME)
    };
    ($second:ident, $session:ident, outermost, $lock:expr) => {
        $lock.outermost()
    };
    ($second:ident, $session:ident, isolation, $lock:expr) => {
        $lock.isolation(Isolation::Serializable)
    };
    ($second:ident, $session:ident, commit_token, $lock:expr) => {
        $lock.commit_token(CommitToken::new())
    };
    ($second:ident, $session:ident, retry, $lock:expr) => {
        $lock.retry(Retry::new().deadline(TIME))
    };
    ($second:ident, $session:ident, when, $lock:expr) => {
        $lock
            .retry(Retry::new())
            .when(|error: &LockError| RetryCause::of(error))
    };
    ($second:ident, $session:ident, naming_blocker, $lock:expr) => {
        $lock.naming_blocker($second, $session)
    };
}

/// Both orders of two options, where they do not exclude each other.
macro_rules! pair {
    ($context:tt no_wait skip_locked) => {};
    ($context:tt no_wait timeout) => {};
    ($context:tt skip_locked timeout) => {};
    ($context:tt no_wait naming_blocker) => {};
    ($context:tt skip_locked naming_blocker) => {};
    ($context:tt retry when) => {};
    ($context:tt timeout naming_blocker) => {
        pair!(@both $context timeout naming_blocker);
    };
    // It names the blocker of a timeout, so there is one.
    (($db:ident, $conn:ident, $second:ident, $session:ident) $first:ident naming_blocker) => {
        let name = concat!(stringify!($first), " and naming_blocker");
        through_each_target!(
            $db, $conn, name,
            with_option!($second, $session, naming_blocker,
                with_option!($second, $session, $first, RowLock::for_update().timeout(TIME)))
        );
        through_each_target!(
            $db, $conn, name,
            with_option!($second, $session, $first,
                with_option!($second, $session, naming_blocker, RowLock::for_update()))
            .timeout(TIME)
        );
    };
    ($context:tt $first:ident $second:ident) => {
        pair!(@both $context $first $second);
    };
    (@both ($db:ident, $conn:ident, $other:ident, $session:ident) $first:ident $second:ident) => {
        let name = concat!(stringify!($first), " and ", stringify!($second));
        through_each_target!(
            $db, $conn, name,
            with_option!($other, $session, $second,
                with_option!($other, $session, $first, RowLock::for_update()))
        );
        through_each_target!(
            $db, $conn, name,
            with_option!($other, $session, $first,
                with_option!($other, $session, $second, RowLock::for_update()))
        );
    };
}

macro_rules! each_pair {
    ($context:tt $last:ident) => {};
    ($context:tt $first:ident $($rest:ident)+) => {
        each_pair!(@with $context $first $($rest)+);
        each_pair!($context $($rest)+);
    };
    (@with $context:tt $first:ident $($rest:ident)+) => {
        $(pair!($context $first $rest);)+
    };
}

macro_rules! set_up {
    ($db:ident, $conn:ident) => {
        let $conn = &mut $db.connect();
        $conn.batch_execute(THINGS).unwrap();
        CommitToken::create_table($conn).unwrap();
    };
}

#[law(postgres, mysql)]
fn each_pair_of_options_locks_each_kind_of_target(db: &Db) {
    set_up!(db, conn);
    let second = &mut db.connect();
    let session = diesel_row_lock::waits::SessionId::of(conn).unwrap();
    each_pair!((db, conn, second, session)
        no_wait skip_locked timeout of hold_at_most outermost isolation commit_token retry when
        naming_blocker);
}

/// Without `of`, which MariaDB lacks.
#[law(mariadb)]
fn each_pair_of_options_locks_each_kind_of_target_without_of(db: &Db) {
    set_up!(db, conn);
    let second = &mut db.connect();
    let session = diesel_row_lock::waits::SessionId::of(conn).unwrap();
    each_pair!((db, conn, second, session)
        no_wait skip_locked timeout hold_at_most outermost isolation commit_token retry when
        naming_blocker);
}

#[law(sqlite)]
fn each_pair_of_the_options_of_sqlite_locks_each_kind_of_target(db: &Db) {
    set_up!(db, conn);
    each_pair!((db, conn, second, session)
        no_wait timeout outermost isolation commit_token retry when);
}

/// Two rows of `accounts` and `seats`, whose keys are of different kinds, by each strength.
macro_rules! each_strength {
    ($db:ident, $conn:ident: $($strength:ident)+) => {$(
        through_each_target!(
            $db,
            $conn,
            stringify!($strength),
            RowLock::$strength()
                .timeout(TIME)
                .retry(Retry::new())
                .isolation(Isolation::ReadCommitted)
        );
    )+};
}

#[law(postgres)]
fn each_strength_of_postgresql_takes_options_and_targets(db: &Db) {
    set_up!(db, conn);
    each_strength!(db, conn: for_update for_no_key_update for_share for_key_share);
}

#[law(mysql, mariadb)]
fn each_strength_of_mysql_takes_options_and_targets(db: &Db) {
    set_up!(db, conn);
    each_strength!(db, conn: for_update for_share);
}
