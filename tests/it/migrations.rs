//! The tables of leases and commit tokens come by the crate's migrations, by `create_table`, or by
//! both.

use std::fs;
use std::path::Path;
#[cfg(feature = "postgres")]
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::migration::MigrationSource;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_migrations::{
    EmbeddedMigrations, FileBasedMigrations, MigrationError, MigrationHarness,
};
use diesel_row_lock::{migrations, CommitToken, Lease, LockError, Outcome, Resolution, RowLock};
use law::law;

use crate::support::calls::{assert_error, nothing};
use crate::support::schema::accounts;

/// What the crate offers for a connection.
trait Migrates {
    const SET: EmbeddedMigrations;
    /// Of the crate's tables, as the server describes them.
    const DEFINITIONS: &str;
    /// The files of the set.
    const UP: [&str; 2];
}

#[cfg(feature = "postgres")]
impl Migrates for PgConnection {
    const SET: EmbeddedMigrations = migrations::POSTGRES;
    const DEFINITIONS: &str = "SELECT CONCAT_WS(' ', table_name, column_name, data_type, \
            is_nullable, column_default, collation_name) \
        FROM information_schema.columns \
        WHERE table_schema = CURRENT_SCHEMA() AND table_name LIKE 'row_lock%' \
        ORDER BY table_name, ordinal_position";
    const UP: [&str; 2] = [
        include_str!("../../migrations/postgres/2026-11-22-000001_row_lock_commits/up.sql"),
        include_str!("../../migrations/postgres/2026-11-22-000002_row_lock_leases/up.sql"),
    ];
}

#[cfg(feature = "mysql")]
impl Migrates for MysqlConnection {
    const SET: EmbeddedMigrations = migrations::MYSQL;
    const DEFINITIONS: &str = "SELECT CONCAT_WS(' ', table_name, column_name, column_type, \
            is_nullable, column_default, collation_name) \
        FROM information_schema.columns \
        WHERE table_schema = DATABASE() AND table_name LIKE 'row_lock%' \
        ORDER BY table_name, ordinal_position";
    const UP: [&str; 2] = [
        include_str!("../../migrations/mysql/2026-11-22-000001_row_lock_commits/up.sql"),
        include_str!("../../migrations/mysql/2026-11-22-000002_row_lock_leases/up.sql"),
    ];
}

impl Migrates for SqliteConnection {
    const SET: EmbeddedMigrations = migrations::SQLITE;
    const DEFINITIONS: &str = "SELECT sql FROM sqlite_master \
        WHERE tbl_name LIKE 'row_lock%' AND sql IS NOT NULL ORDER BY name";
    const UP: [&str; 2] = [
        include_str!("../../migrations/sqlite/2026-11-22-000001_row_lock_commits/up.sql"),
        include_str!("../../migrations/sqlite/2026-11-22-000002_row_lock_leases/up.sql"),
    ];
}

/// A locked call that leaves a token.
macro_rules! leave_token {
    ($conn:ident) => {{
        let token = CommitToken::new();
        let lock = RowLock::for_update().commit_token(token);
        let left = lock.with($conn, accounts::table.find(1), nothing);
        left.map(|()| token)
    }};
}

macro_rules! assert_tables_work {
    ($conn:ident) => {
        let lease = Lease::named("invoice 7").try_acquire($conn, "Ada").unwrap();
        lease.release($conn).unwrap();
        let token = leave_token!($conn).unwrap();
        assert_eq!(token.resolve($conn).unwrap(), Resolution::Committed);
    };
}

macro_rules! assert_tables_are_missing {
    ($conn:ident) => {
        let lease = Lease::named("invoice 7").try_acquire($conn, "Ada");
        assert_error!(lease, Database, NotApplied, lasting, no_contention);
        let token = leave_token!($conn);
        assert_error!(token, Database, NotApplied, lasting, no_contention);
    };
}

macro_rules! create_tables {
    ($conn:ident) => {
        CommitToken::create_table($conn).unwrap();
        Lease::create_tables($conn).unwrap();
    };
}

macro_rules! run {
    ($conn:ident, $set:expr) => {
        $conn.run_pending_migrations($set).unwrap().len()
    };
}

#[law(postgres, mysql, mariadb, sqlite)]
fn migrations_make_the_tables_and_drop_them(db: &Db) {
    let conn = &mut db.connect();
    assert_tables_are_missing!(conn);
    assert_eq!(run!(conn, Conn::SET), 2);
    assert_tables_work!(conn);
    assert_eq!(run!(conn, Conn::SET), 0);
    assert_eq!(conn.revert_all_migrations(Conn::SET).unwrap().len(), 2);
    assert_tables_are_missing!(conn);
    assert_eq!(run!(conn, Conn::SET), 2);
    assert_tables_work!(conn);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn migrations_and_create_table_make_the_same_tables_and_keep_each_others_rows(db: &Db) {
    let conn = &mut db.connect();
    let definitions =
        |conn: &mut Conn| -> Vec<String> { sql::<Text>(Conn::DEFINITIONS).load(conn).unwrap() };
    create_tables!(conn);
    let created = definitions(conn);
    assert!(created.len() >= 4, "{created:?}");
    let held = Lease::named("a form").try_acquire(conn, "Ada").unwrap();
    let token = leave_token!(conn).unwrap();
    assert_eq!(run!(conn, Conn::SET), 2);
    held.renew(conn).unwrap();
    assert_eq!(token.resolve(conn).unwrap(), Resolution::Committed);
    assert_eq!(definitions(conn), created);

    conn.revert_all_migrations(Conn::SET).unwrap();
    assert_eq!(definitions(conn), [""; 0]);

    assert_eq!(run!(conn, Conn::SET), 2);
    assert_eq!(definitions(conn), created);
    let held = Lease::named("a form").try_acquire(conn, "Ada").unwrap();
    let token = leave_token!(conn).unwrap();
    create_tables!(conn);
    held.renew(conn).unwrap();
    assert_eq!(token.resolve(conn).unwrap(), Resolution::Committed);
    assert_eq!(definitions(conn), created);
}

/// The twin.
#[law(postgres, mysql, mariadb, sqlite)]
fn migration_without_if_not_exists_fails_behind_create_table(db: &Db) {
    let conn = &mut db.connect();
    create_tables!(conn);
    for up in Conn::UP {
        let hard = up.replace("IF NOT EXISTS ", "");
        assert_ne!(hard, up);
        assert!(conn.batch_execute(&hard).is_err(), "{hard}");
        conn.batch_execute(up).unwrap();
    }
}

/// Runs `$create` in an open transaction of one session, and once more in another one, which waits
/// until the first commits; returns the second's answer.
#[cfg(feature = "postgres")]
macro_rules! at_the_same_time {
    ($db:ident, $create:expr) => {{
        let create: fn(&mut Conn) -> Result<(), LockError> = $create;
        let first = &mut $db.connect();
        first.batch_execute("BEGIN").unwrap();
        create(first).unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| create(&mut $db.connect()));
            $db.wait_for_waiters(1);
            first.batch_execute("COMMIT").unwrap();
            second.join().unwrap()
        })
    }};
}

#[law(postgres)]
fn sessions_can_create_the_tables_at_the_same_time(db: &Db) {
    at_the_same_time!(db, CommitToken::create_table).unwrap();
    at_the_same_time!(db, Lease::create_tables).unwrap();
    let conn = &mut db.connect();
    assert_tables_work!(conn);
}

/// The twin: the same statement without the lock before it.
#[law(postgres)]
fn if_not_exists_alone_fails_behind_a_session_that_creates_the_table(db: &Db) {
    let second = at_the_same_time!(db, |conn| {
        let create = Conn::UP[0].replace("SELECT pg_advisory", "-- SELECT pg_advisory");
        assert_ne!(create, Conn::UP[0]);
        Ok(conn.batch_execute(&create)?)
    });
    let error = second.unwrap_err();
    assert!(error.to_string().contains("pg_type"), "{error:?}");
}

/// A program's own migrations: one from before the crate's, one from after.
fn own(folder: &Path) -> FileBasedMigrations {
    for (version, table) in [("2020-01-01-000000", "pets"), ("2030-01-01-000000", "toys")] {
        let migration = folder.join(format!("{version}_{table}"));
        fs::create_dir_all(&migration).unwrap();
        let up = format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY);");
        fs::write(migration.join("up.sql"), up).unwrap();
        fs::write(migration.join("down.sql"), format!("DROP TABLE {table};")).unwrap();
    }
    FileBasedMigrations::from_path(folder).unwrap()
}

#[law(postgres, mysql, mariadb, sqlite)]
fn migrations_are_run_and_reverted_beside_a_programs_own(db: &Db) {
    let conn = &mut db.connect();
    let folder = tempfile::tempdir().unwrap();
    let own = own(folder.path());
    for own_first in [true, false] {
        if own_first {
            assert_eq!(run!(conn, own.clone()), 2);
        }
        assert_eq!(run!(conn, Conn::SET), 2);
        if !own_first {
            assert_eq!(run!(conn, own.clone()), 2);
        }
        assert_tables_work!(conn);

        // Diesel's short way fails before it has reverted anything, as the documentation says.
        let refused = conn.revert_all_migrations(Conn::SET).unwrap_err();
        assert!(
            matches!(
                refused.downcast_ref(),
                Some(MigrationError::UnknownMigrationVersion(_))
            ),
            "{refused}"
        );
        assert_tables_work!(conn);

        let set = MigrationSource::<<Conn as Connection>::Backend>::migrations(&Conn::SET).unwrap();
        for migration in set.iter().rev() {
            conn.revert_migration(migration).unwrap();
        }
        assert_tables_are_missing!(conn);
        conn.batch_execute("INSERT INTO pets VALUES (1); INSERT INTO toys VALUES (1)")
            .unwrap();
        assert_eq!(conn.revert_all_migrations(own.clone()).unwrap().len(), 2);
    }
}
