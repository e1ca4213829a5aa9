//! Many want one lease, and most of them hold it for longer than it lasts.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use diesel_row_lock::{Lease, LockError};
use rand::Rng;

use super::set_up;
use crate::support::laws;

const TTL: Duration = Duration::from_millis(20);

/// The tokens of all writes, in the order in which they were made.
macro_rules! history {
    ($db:ident, |$conn:ident, $held:ident, $writes:ident| $write:expr) => {{
        drop(set_up!($db));
        let history = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for number in 0..4 {
                let $writes = &history;
                scope.spawn(move || {
                    let $conn = &mut $db.connect();
                    for _ in 0..15 {
                        let $held = Lease::named("books")
                            .ttl(TTL)
                            .acquire($conn, &number.to_string())
                            .unwrap();
                        thread::sleep(TTL.mul_f64(rand::rng().random_range(0.0..3.0)));
                        $write;
                    }
                });
            }
        });
        history.into_inner().unwrap()
    }};
}

laws! {
    [postgres, mysql, mariadb, sqlite] fn holders_never_overlap_by_token(db) {
        let history = history!(db, |conn, held, writes| {
            let result = held.guarded(conn, |_| {
                writes.lock().unwrap().push(held.token());
                Ok::<_, LockError>(())
            });
            assert!(matches!(result, Ok(()) | Err(LockError::StaleToken { .. })), "{result:?}");
        });
        assert!(history.len() > 1, "some were in time");
        assert!(history.is_sorted_by(|a, b| a < b), "{history:?}");
    }

    /// Twin: the same without asking for the token.
    [postgres, mysql, mariadb, sqlite] fn twin_holders_that_only_believe_to_hold_it_overlap(db) {
        let history = history!(db, |conn, held, writes| writes.lock().unwrap().push(held.token()));
        assert!(!history.is_sorted_by(|a, b| a < b), "{history:?}");
    }
}
