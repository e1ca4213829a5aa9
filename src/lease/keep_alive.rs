//! [`KeepAlive`]: a thread that renews a lease, and says when it is lost.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use diesel::result::Error as DieselError;

use super::held::HeldLease;
use crate::connection::LockConnection;
use crate::error::LockError;

/// A thread that renews a lease until this is dropped, from [`HeldLease::keep_alive`].
///
/// To drop it waits for the renewal that is on its way, if one is. It does not release the lease.
#[derive(Debug)]
#[must_use = "the lease is kept alive until this is dropped"]
pub struct KeepAlive {
    /// `None` once it is dropped.
    stop: Option<Sender<()>>,
    lost: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl KeepAlive {
    /// Whether the lease is lost, as far as is known. Whether it is still held only
    /// [`guarded`](HeldLease::guarded) says for sure.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in `on_loss` was told on its own thread.
            let _ = thread.join();
        }
    }
}

impl HeldLease {
    /// Renews the lease now and three times in each of its [times to live](super::Lease::ttl), on a
    /// thread and a connection of its own. If the server refuses, or does not answer until by this
    /// machine's monotonic clock the lease is over, `on_loss` is called once, on that thread, with the
    /// reason.
    ///
    /// A connection that fails is made anew by `connect`. Drop the [`KeepAlive`] before the lease is
    /// released, or the release is told as a loss.
    ///
    /// Executes the SQL of [`renew`](Self::renew).
    ///
    /// # Example
    ///
    /// ```
    /// # include!("../doctest_setup.rs");
    /// use diesel_row_lock::{Lease, LockError};
    ///
    /// # fn main() -> Result<(), LockError> {
    /// # let folder = tempfile::tempdir().expect("a folder");
    /// # let (conn, _) = &mut establish_two_connections(folder.path());
    /// # let url = folder.path().join("bank.db").display().to_string();
    /// # Lease::create_tables(conn)?;
    /// let held = Lease::named("month's end").try_acquire(conn, "Ada")?;
    /// let alive = held.keep_alive(
    ///     move || SqliteConnection::establish(&url),
    ///     |reason| eprintln!("the lease is lost: {reason}"),
    /// );
    /// // … long work …
    /// assert!(!alive.is_lost());
    /// drop(alive);
    /// held.release(conn)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn keep_alive<C, X>(
        &self,
        connect: impl FnMut() -> Result<C, X> + Send + 'static,
        on_loss: impl FnOnce(LockError) + Send + 'static,
    ) -> KeepAlive
    where
        C: LockConnection,
        X: Error + Send + Sync + 'static,
    {
        let (stop, stopped) = mpsc::channel();
        let lost = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&lost);
        let held = self.clone();
        let thread = thread::spawn(move || {
            let pause = |part| stopped.recv_timeout(held.ttl() / part);
            if let Some(reason) = renew_until(&held, connect, pause) {
                told.store(true, Ordering::SeqCst);
                on_loss(reason);
            }
        });
        KeepAlive {
            stop: Some(stop),
            lost,
            thread: Some(thread),
        }
    }
}

/// Why it was lost; `None` if somebody wanted it to stop. `pause` takes a part of the time to live.
fn renew_until<C, X>(
    held: &HeldLease,
    mut connect: impl FnMut() -> Result<C, X>,
    pause: impl Fn(u32) -> Result<(), RecvTimeoutError>,
) -> Option<LockError>
where
    C: LockConnection,
    X: Error + Send + Sync + 'static,
{
    let mut conn = None;
    // Before the server is asked: it may be later there, but not earlier.
    let mut renewed = Instant::now();
    loop {
        let asked = Instant::now();
        let part = match renew(held, &mut conn, &mut connect) {
            Ok(()) => {
                renewed = asked;
                3
            }
            Err(error @ (LockError::StaleToken { .. } | LockError::InvalidLease { .. })) => {
                return Some(error)
            }
            Err(error) if renewed.elapsed() >= held.ttl() => return Some(error),
            Err(_) => {
                conn = None;
                20
            }
        };
        if pause(part) != Err(RecvTimeoutError::Timeout) {
            return None;
        }
    }
}

fn renew<C, X>(
    held: &HeldLease,
    conn: &mut Option<C>,
    connect: &mut impl FnMut() -> Result<C, X>,
) -> Result<(), LockError>
where
    C: LockConnection,
    X: Error + Send + Sync + 'static,
{
    let conn = match conn {
        Some(conn) => conn,
        None => conn.insert(connect().map_err(|error| LockError::ConnectionLost {
            source: DieselError::QueryBuilderError(Box::new(error)),
        })?),
    };
    held.renew(conn)
}
