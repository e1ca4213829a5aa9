//! The thread that renews a lease, and says when it is lost.

use std::sync::mpsc;
use std::time::Duration;

use diesel::prelude::*;
use diesel_row_lock::{Lease, LockError};

use super::{assert_held_by, set_up};
use crate::support::{laws, wait_until};

const TTL: Duration = Duration::from_millis(600);
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);

fn books() -> Lease {
    Lease::named("books").ttl(TTL)
}

fn lost(reason: LockError) {
    panic!("lost: {reason:?}");
}

/// How the thread connects: by URL alone. On SQLite it then finds the database busy, and asks again.
macro_rules! connector {
    ($db:ident) => {{
        let url = $db.url();
        move || Conn::establish(&url)
    }};
}

laws! {
    [postgres, mysql, mariadb, sqlite] fn lease_is_kept_alive_beyond_its_time(db) {
        let conn = &mut set_up!(db);
        let held = books().try_acquire(conn, "Ada").unwrap();
        let alive = held.keep_alive(connector!(db), lost);
        let begin = books().holder(conn).unwrap().unwrap().acquired;
        wait_until("it lasts three times as long", PAUSE, || {
            let holder = books().holder(conn).unwrap().unwrap();
            assert!(!holder.expired);
            assert_held_by!(books().try_acquire(conn, "Charles"), "Ada");
            holder.expires.duration_since(begin).unwrap() > 3 * TTL
        });
        held.guarded(conn, |_| Ok::<_, LockError>(())).unwrap();
        assert!(!alive.is_lost());
        drop(alive);
        held.release(conn).unwrap();
    }

    [postgres, mysql, mariadb, sqlite] fn lease_ends_when_it_is_no_longer_kept_alive(db) {
        let conn = &mut set_up!(db);
        let held = books().try_acquire(conn, "Ada").unwrap();
        drop(held.keep_alive(connector!(db), lost));
        wait_until("it is over", PAUSE, || books().holder(conn).unwrap().unwrap().expired);
    }

    [postgres, mysql, mariadb, sqlite] fn loss_is_told_once_with_its_reason(db) {
        let conn = &mut set_up!(db);
        let held = books().try_acquire(conn, "Ada").unwrap();
        let (tell, told) = mpsc::channel();
        let alive = held.keep_alive(connector!(db), move |reason| tell.send(reason).unwrap());
        assert!(!alive.is_lost());
        let boss = books().override_by(conn, "boss", "").unwrap();
        let reason = told.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(reason, LockError::StaleToken { token, .. } if token == held.token()), "{reason:?}");
        assert!(alive.is_lost());
        assert!(told.recv().is_err(), "never again");
        assert!(boss.token() > held.token());
    }

    [postgres, mysql, mariadb, sqlite] fn server_that_can_not_be_reached_is_a_loss_when_the_time_is_over(db) {
        let conn = &mut set_up!(db);
        let held = books().try_acquire(conn, "Ada").unwrap();
        let (tell, told) = mpsc::channel();
        let since = std::time::Instant::now();
        let alive = held.keep_alive(
            || Conn::establish("/no/such/place"),
            move |reason| tell.send(reason).unwrap(),
        );
        let reason = told.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(reason, LockError::ConnectionLost { .. }), "{reason:?}");
        assert!(since.elapsed() >= TTL);
        assert!(alive.is_lost());
    }

    [postgres, mysql, mariadb] fn connection_that_is_lost_is_made_anew(db) {
        let conn = &mut set_up!(db);
        let long = books().ttl(3 * TTL);
        let held = long.try_acquire(conn, "Ada").unwrap();
        let (tell, told) = mpsc::channel();
        let url = db.url();
        let connect = move || {
            let mut conn = Conn::establish(&url)?;
            tell.send(Db::session(&mut conn)).unwrap();
            Ok::<_, ConnectionError>(conn)
        };
        let alive = held.keep_alive(connect, lost);
        for _ in 0..2 {
            db.kill(told.recv_timeout(PATIENCE).unwrap());
        }
        told.recv_timeout(PATIENCE).unwrap();
        let before = long.holder(conn).unwrap().unwrap().expires;
        wait_until("it is renewed", PAUSE, || long.holder(conn).unwrap().unwrap().expires > before);
        assert!(!alive.is_lost());
    }
}
