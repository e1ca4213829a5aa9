//! What the list says.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::waits::{lock_waits, root_blockers, SessionId};
use diesel_row_lock::with_row_lock;
use law::law;

use super::{hold, spawn_waiter, take, wait_of, wait_until_nobody_waits_for};
use crate::support::calls::nothing;
use crate::support::schema::accounts;

/// A thread that waits for account 1 in a statement with such a character, and its session.
macro_rules! spawn_emoji_waiter {
    ($db:ident, $scope:ident) => {{
        let mut conn = $db.connect();
        let session = SessionId::of(&mut conn).unwrap();
        let update = "UPDATE accounts SET balance = 5 WHERE id = 1 /* \u{1F600} */";
        (session, $scope.spawn(move || conn.batch_execute(update)))
    }};
}

#[law(postgres, mysql, mariadb)]
fn list_says_who_waits_for_whom_on_which_table(db: &Db) {
    thread::scope(|scope| {
        let (holder, watcher) = (&mut db.connect(), &mut db.connect());
        hold(holder, 1);
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        let wait = wait_of(watcher, waiter);
        assert_eq!(wait.waiter.id, waiter);
        assert_eq!(wait.blocker.id, SessionId::of(holder).unwrap());
        let table = wait.table.unwrap();
        assert!(table.ends_with("accounts"), "{table}");
        holder.batch_execute("COMMIT").unwrap();
        call.join().unwrap().unwrap();
        wait_until_nobody_waits_for(watcher, wait.blocker.id);
    });
}

#[law(postgres)]
fn list_says_what_both_do(db: &Db) {
    thread::scope(|scope| {
        let (holder, watcher) = (&mut db.connect(), &mut db.connect());
        hold(holder, 1);
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        let wait = wait_of(watcher, waiter);
        assert!(wait.waiter.query.unwrap().contains("FOR UPDATE") && !wait.waiter.idle);
        assert!(wait.blocker.query.unwrap().starts_with("UPDATE accounts") && wait.blocker.idle);
        let names = [wait.waiter.application, wait.blocker.application];
        assert_eq!(
            names,
            [Some(db.name().to_owned()), Some(db.name().to_owned())]
        );
        holder.batch_execute("COMMIT").unwrap();
        call.join().unwrap().unwrap();
    });
}

/// MariaDB forgets the last statement of who is idle, and knows no names.
#[law(mysql, mariadb)]
fn list_says_what_it_knows_of_both(db: &Db) {
    thread::scope(|scope| {
        let (holder, watcher) = (&mut db.connect(), &mut db.connect());
        hold(holder, 1);
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        let wait = wait_of(watcher, waiter);
        assert!(wait.waiter.query.unwrap().contains("FOR UPDATE") && !wait.waiter.idle);
        assert!(wait.blocker.query.is_none() && wait.blocker.idle);
        assert_eq!(
            [wait.waiter.application, wait.blocker.application],
            [None, None]
        );
        holder.batch_execute("COMMIT").unwrap();
        call.join().unwrap().unwrap();
    });
}

#[law(postgres, mysql, mariadb)]
fn blocker_in_a_statement_is_shown_with_it(db: &Db) {
    thread::scope(|scope| {
        let (first, watcher) = (&mut db.connect(), &mut db.connect());
        let mut second = db.connect();
        hold(first, 1);
        hold(&mut second, 2);
        let blocker = SessionId::of(&mut second).unwrap();
        // It has account 2 and is in a statement of its own, which waits for account 1.
        let busy = scope.spawn(move || take(&mut second, 1));
        wait_of(watcher, blocker);
        let (waiter, call) = spawn_waiter!(db, scope, 2);
        let wait = wait_of(watcher, waiter);
        assert_eq!(wait.blocker.id, blocker);
        assert!(wait.blocker.query.unwrap().ends_with("WHERE id = 1") && !wait.blocker.idle);
        first.batch_execute("COMMIT").unwrap();
        busy.join().unwrap();
        call.join().unwrap().unwrap();
    });
}

/// MariaDB has a question mark for the character.
#[law(postgres, mysql, mariadb)]
fn statement_with_a_character_of_four_bytes_is_listed(db: &Db) {
    thread::scope(|scope| {
        let (holder, watcher) = (&mut db.connect(), &mut db.connect());
        hold(holder, 1);
        let (waiter, call) = spawn_emoji_waiter!(db, scope);
        let query = wait_of(watcher, waiter).waiter.query.unwrap();
        assert!(query.contains("WHERE id = 1"), "{query}");
        holder.batch_execute("COMMIT").unwrap();
        call.join().unwrap().unwrap();
    });
}

/// Twin: the list of transactions that MySQL has had for longer fails as a whole.
#[law(mysql)]
fn twin_innodb_trx_fails_for_a_statement_with_a_character_of_four_bytes(db: &Db) {
    thread::scope(|scope| {
        let (holder, watcher) = (&mut db.connect(), &mut db.connect());
        hold(holder, 1);
        let (waiter, call) = spawn_emoji_waiter!(db, scope);
        wait_of(watcher, waiter);
        // Its answer may be an old one.
        let pause = Duration::from_millis(120);
        crate::support::wait_until("it fails", pause, || {
            let look = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_query = ''";
            diesel::dsl::sql::<diesel::sql_types::BigInt>(look)
                .get_result::<i64>(watcher)
                .is_err()
        });
        holder.batch_execute("COMMIT").unwrap();
        call.join().unwrap().unwrap();
    });
}

#[law(postgres, mysql, mariadb)]
fn wait_grows_longer(db: &Db) {
    thread::scope(|scope| {
        let (holder, watcher) = (&mut db.connect(), &mut db.connect());
        hold(holder, 1);
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        let first = wait_of(watcher, waiter).waited;
        crate::support::wait_until("the wait is longer", Duration::from_millis(5), || {
            wait_of(watcher, waiter).waited > first
        });
        assert!(wait_of(watcher, waiter).waited < Duration::from_secs(30));
        holder.batch_execute("COMMIT").unwrap();
        call.join().unwrap().unwrap();
    });
}

/// The list can't say which of two it is that the third waits for but by the chain.
#[law(postgres, mysql, mariadb)]
fn root_of_a_chain_is_who_waits_for_nobody(db: &Db) {
    thread::scope(|scope| {
        let (a, watcher) = (&mut db.connect(), &mut db.connect());
        let mut b = db.connect();
        hold(a, 1);
        hold(&mut b, 2);
        let (a_id, b_id) = (SessionId::of(a).unwrap(), SessionId::of(&mut b).unwrap());
        let b = scope.spawn(move || take(&mut b, 1));
        wait_of(watcher, b_id);
        let (c_id, c) = spawn_waiter!(db, scope, 2);
        let last = wait_of(watcher, c_id);
        let waits = lock_waits(watcher).unwrap();
        assert_eq!(last.blocker.id, b_id);
        assert_eq!(last.root(&waits).id, a_id);
        let roots: Vec<_> = root_blockers(&waits).iter().map(|root| root.id).collect();
        assert!(roots.contains(&a_id) && !roots.contains(&b_id) && !roots.contains(&c_id));
        a.batch_execute("COMMIT").unwrap();
        b.join().unwrap();
        c.join().unwrap().unwrap();
    });
}

/// Of a line for one row PostgreSQL tells whom each stands behind.
#[law(postgres, mysql, mariadb)]
fn root_of_a_line_for_one_row_is_who_has_it(db: &Db) {
    thread::scope(|scope| {
        let (holder, watcher) = (&mut db.connect(), &mut db.connect());
        hold(holder, 1);
        let (first, first_call) = spawn_waiter!(db, scope, 1);
        wait_of(watcher, first);
        let (second, second_call) = spawn_waiter!(db, scope, 1);
        let wait = wait_of(watcher, second);
        let waits = lock_waits(watcher).unwrap();
        assert_eq!(wait.root(&waits).id, SessionId::of(holder).unwrap());
        holder.batch_execute("COMMIT").unwrap();
        first_call.join().unwrap().unwrap();
        second_call.join().unwrap().unwrap();
    });
}

#[law(mysql, mariadb)]
fn prepared_transaction_is_nobodys_session(db: &Db) {
    thread::scope(|scope| {
        let watcher = &mut db.connect();
        let prepare = |conn: &mut Conn| {
            let name = db.name();
            conn.batch_execute(&format!("XA START '{name}'")).unwrap();
            take(conn, 1);
            conn.batch_execute(&format!("XA END '{name}'; XA PREPARE '{name}'"))
                .unwrap();
        };
        prepare(&mut db.connect());
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        let wait = wait_of(watcher, waiter);
        assert!(wait.blocker.is_prepared_transaction(), "{wait}");
        assert!(!diesel_row_lock::waits::terminate(watcher, wait.blocker.id).unwrap());
        watcher
            .batch_execute(&format!("XA COMMIT '{}'", db.name()))
            .unwrap();
        call.join().unwrap().unwrap();
    });
}

/// On a server of its own: PostgreSQL has to be told at its start that it may prepare transactions.
#[cfg(feature = "postgres")]
mod prepared_transaction_is_named {
    use super::*;

    #[test]
    fn postgres() {
        let server = servers::Postgres::new(&["max_prepared_transactions=1"]).unwrap();
        let connect = || PgConnection::establish(&server.url()).unwrap();
        connect()
            .batch_execute(crate::support::schema::TABLES)
            .unwrap();
        let (preparer, watcher) = (&mut connect(), &mut connect());
        hold(preparer, 1);
        preparer
            .batch_execute("LOCK TABLE seats; PREPARE TRANSACTION 'half done'")
            .unwrap();
        thread::scope(|scope| {
            let mut conn = connect();
            let waiter = SessionId::of(&mut conn).unwrap();
            let call =
                scope.spawn(move || with_row_lock(&mut conn, accounts::table.find(1), nothing));
            let blocker = wait_of(watcher, waiter).blocker;
            assert!(blocker.is_prepared_transaction(), "{blocker}");
            assert_eq!(
                blocker.query.as_deref(),
                Some("PREPARE TRANSACTION 'half done'")
            );
            assert!(!diesel_row_lock::waits::terminate(watcher, blocker.id).unwrap());
            let mut reader = connect();
            let reads = SessionId::of(&mut reader).unwrap();
            let read = scope.spawn(move || reader.batch_execute("SELECT 1 FROM seats"));
            assert_eq!(wait_of(watcher, reads).blocker, blocker);
            preparer
                .batch_execute("COMMIT PREPARED 'half done'")
                .unwrap();
            call.join().unwrap().unwrap();
            read.join().unwrap().unwrap();
        });
    }
}
