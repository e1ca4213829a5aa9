//! Many want one lease, and some of them let its time run out before they write.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel_row_lock::{Lease, LockError};
use law::law;

use super::{set_up, EXPIRE};
use crate::support::wait_until;

const PAUSE: Duration = Duration::from_millis(2);
const ROUNDS: usize = 6;

/// The tokens of all writes, in the order in which they were made.
///
/// Two holders are in time. The two others let their own time run out, by the server's clock, and
/// write when one who has acquired the lease since has written.
macro_rules! history {
    ($db:ident, |$conn:ident, $held:ident, $writes:ident| $write:expr) => {{
        drop(set_up!($db));
        let history = Mutex::new(Vec::new());
        let late = AtomicUsize::new(2);
        let acquire = |conn: &mut Conn| {
            let lease = Lease::named("books").ttl(Duration::from_secs(600));
            lease.acquire(conn, "one of many").unwrap()
        };
        thread::scope(|scope| {
            let $writes = &history;
            for _ in 0..2 {
                scope.spawn(|| {
                    let $conn = &mut $db.connect();
                    while late.load(Ordering::SeqCst) > 0 {
                        let $held = acquire($conn);
                        $write;
                        // One that is late has perhaps ended it, and another one has it by now.
                        let _ = $held.release($conn);
                        thread::sleep(PAUSE);
                    }
                });
                scope.spawn(|| {
                    let $conn = &mut $db.connect();
                    for _ in 0..ROUNDS {
                        let $held = acquire($conn);
                        let token = $held.token();
                        let mine = format!("{EXPIRE} WHERE token = {token}");
                        $conn.batch_execute(&mine).unwrap();
                        wait_until("a later holder writes", PAUSE, || {
                            $writes.lock().unwrap().iter().any(|write| *write > token)
                        });
                        $write;
                    }
                    late.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        history.into_inner().unwrap()
    }};
}

#[law(postgres, mysql, mariadb, sqlite)]
fn holders_never_overlap_by_token(db: &Db) {
    let history = history!(db, |conn, held, writes| {
        let result = held.guarded(conn, |_| {
            writes.lock().unwrap().push(held.token());
            Ok::<_, LockError>(())
        });
        assert!(
            matches!(result, Ok(()) | Err(LockError::StaleToken { .. })),
            "{result:?}"
        );
    });
    assert!(history.len() >= ROUNDS, "some were in time");
    assert!(history.is_sorted_by(|a, b| a < b), "{history:?}");
}

/// Twin: the same without asking for the token.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_holders_that_only_believe_to_hold_it_overlap(db: &Db) {
    let history = history!(db, |conn, held, writes| writes
        .lock()
        .unwrap()
        .push(held.token()));
    assert!(!history.is_sorted_by(|a, b| a < b), "{history:?}");
}
