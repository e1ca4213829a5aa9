//! [`KeepAlive`]: threads that renew a lease, and report its loss.
//!
//! Two of them. One talks to the server, and may hang there for as long as the network wants. The
//! other one only looks at the clock, so that the loss is reported in time all the same.

use std::any::Any;
use std::error::Error;
use std::ops::ControlFlow;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use diesel::result::Error as DieselError;

use super::held::HeldLease;
use super::times::Known;
use crate::connection::LockConnection;
use crate::error::LockError;

/// Keeps a lease alive until this is dropped, from [`HeldLease::keep_alive`].
///
/// Dropping it ends the renewals; `on_loss` is not called from then on. The drop waits for a
/// renewal or a call of `on_loss` that is under way, but for at most one second: one that hangs in
/// the server is left to itself, and its thread and connection end when the server or the network
/// lets go of them. It does not release the lease.
#[derive(Debug)]
#[must_use = "the lease is kept alive until this is dropped"]
pub struct KeepAlive {
    shared: Arc<Shared>,
    threads: [ThreadId; 2],
}

/// How long a drop waits.
const PATIENCE: Duration = Duration::from_secs(1);

impl KeepAlive {
    /// Whether the lease is lost as far as this process knows: the server has refused a renewal, or
    /// the time to live is over by the monotonic clock. Only [`guarded`](HeldLease::guarded) can
    /// tell that it is still held.
    pub fn is_lost(&self) -> bool {
        let known = *self.shared.held.times().known();
        if self.shared.is_over(&known) && self.shared.end_as(LOST) {
            // The other thread reports it.
            self.shared.held.times().wake();
        }
        self.shared.state.load(Ordering::SeqCst) == LOST
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        // Before the wake-up: the threads that wake look for it.
        self.shared.end_as(STOPPED);
        let times = self.shared.held.times();
        times.wake();
        // `on_loss` itself may drop it.
        if self.threads.contains(&thread::current().id()) {
            return;
        }
        let until = Instant::now() + PATIENCE;
        times.watch(|_| {
            let is_over = self.shared.running.load(Ordering::SeqCst) == 0;
            if is_over || Instant::now() >= until {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(Some(until))
        });
    }
}

impl HeldLease {
    /// Renews the lease now and three times in each of its [times to live](super::Lease::ttl), on a
    /// thread and a connection of its own, and reports its loss: `on_loss` is called once, on
    /// another thread, with the reason.
    ///
    /// The lease is lost when the server refuses a renewal as
    /// [`StaleToken`](LockError::StaleToken), and at the latest when by this machine's monotonic
    /// clock its time to live is over since the last acquisition or renewal that succeeded was
    /// *sent*, also while a renewal hangs in the server or `connect` does. The reason is then the
    /// last error of a renewal, or `StaleToken`. A loss is final, even if a late renewal succeeds.
    ///
    /// - A [guarded](Self::guarded) write through this value or a clone of it has the lease's row
    ///   locked, so no other session can take the lease, and a renewal waits for it. If the time to
    ///   live is over before the write is, the loss is reported when no renewal succeeds within a
    ///   third of the time to live after its end, or within a whole one after its beginning. So
    ///   guarded writes that are shorter than the time to live do not lose the lease. (On SQLite
    ///   this takes a `busy_timeout` on the connections that `connect` returns: without it a
    ///   renewal fails at once and does not wait.)
    /// - A lease from [`Lease::with_handle`](super::Lease::with_handle) was acquired at an unknown
    ///   time. Until the first renewal succeeds, its time to live counts from this call.
    /// - A connection that fails is replaced by a new one from `connect`, after a twentieth of the
    ///   time to live. A `connect` that panics counts as one that fails.
    /// - The monotonic clock of some systems stands still while the machine sleeps.
    ///
    /// Drop the [`KeepAlive`] before the lease is released, or the release is reported as a loss.
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
        // `running` counts both threads before they run: a drop at once waits for them too.
        let shared = Arc::new(Shared {
            held: self.clone(),
            begun: Instant::now(),
            state: AtomicU8::new(RUNNING),
            running: AtomicUsize::new(2),
            reason: Mutex::default(),
        });
        let [renewing, watching] = [(); 2].map(|()| Running(Arc::clone(&shared)));
        let renewing = thread::spawn(move || renew_again_and_again(&renewing.0, connect));
        let watching = thread::spawn(move || {
            if let Some(reason) = loss(&watching.0) {
                on_loss(reason);
            }
        });
        KeepAlive {
            shared,
            threads: [renewing.thread().id(), watching.thread().id()],
        }
    }
}

const RUNNING: u8 = 0;
const LOST: u8 = 1;
const STOPPED: u8 = 2;

/// What the threads and their owner share. Changes are announced through the
/// [`Times`](super::times::Times) of the lease.
#[derive(Debug)]
struct Shared {
    held: HeldLease,
    begun: Instant,
    state: AtomicU8,
    /// How many of the threads are.
    running: AtomicUsize,
    /// The last error, if no renewal has succeeded since.
    reason: Mutex<Option<LockError>>,
}

impl Shared {
    /// Whether it was this call that ended it.
    fn end_as(&self, state: u8) -> bool {
        // Only the first end counts: `on_loss` does not run after a stop, nor twice.
        let ended = self
            .state
            .compare_exchange(RUNNING, state, Ordering::SeqCst, Ordering::SeqCst);
        ended.is_ok()
    }

    fn is_running(&self) -> bool {
        self.state.load(Ordering::SeqCst) == RUNNING
    }

    fn end(&self, known: &Known) -> Option<Instant> {
        known.end(self.held.ttl(), self.begun)
    }

    fn is_over(&self, known: &Known) -> bool {
        self.end(known).is_some_and(|end| Instant::now() >= end)
    }

    fn set_reason(&self, reason: Option<LockError>) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    fn reason(&self) -> LockError {
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.take().unwrap_or_else(|| self.held.stale())
    }
}

/// A thread that runs, also when it panics.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        // Also when `on_loss` panics, or `KeepAlive` would wait for this thread. It is counted
        // before the wake-up that tells of it.
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.held.times().wake();
    }
}

/// Waits until the lease is lost, and returns the reason; `None` if it is to stop.
fn loss(shared: &Shared) -> Option<LockError> {
    if let Err(error) = shared.held.values() {
        return shared.end_as(LOST).then_some(error);
    }
    shared.held.times().watch(|known| {
        if !shared.is_running() {
            return ControlFlow::Break(());
        }
        if shared.is_over(known) {
            shared.end_as(LOST);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(shared.end(known))
    });
    let is_lost = shared.state.load(Ordering::SeqCst) == LOST;
    is_lost.then(|| shared.reason())
}

fn renew_again_and_again<C, X>(shared: &Shared, mut connect: impl FnMut() -> Result<C, X>)
where
    C: LockConnection,
    X: Error + Send + Sync + 'static,
{
    let held = &shared.held;
    let mut conn = None;
    // The other thread reports a lease that can't exist.
    while held.values().is_ok() && shared.is_running() {
        let sent = Instant::now();
        let next = match renew(held, &mut conn, &mut connect) {
            Ok(()) => {
                shared.set_reason(None);
                // Not from the answer: it may have waited for a guarded write.
                sent.checked_add(held.ttl() / 3)
            }
            Err(error @ LockError::StaleToken { .. }) => {
                // The reason first: the other thread takes it as soon as it sees the end.
                shared.set_reason(Some(error));
                shared.end_as(LOST);
                held.times().wake();
                return;
            }
            Err(error) => {
                // The state of the connection is not known; the next attempt opens another one.
                conn = None;
                shared.set_reason(Some(error));
                Instant::now().checked_add(held.ttl() / 20)
            }
        };
        held.times().watch(|_| {
            let is_time = next.is_some_and(|next| Instant::now() >= next);
            if is_time || !shared.is_running() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(next)
        });
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
        None => conn.insert(connected(connect)?),
    };
    held.renew(conn)
}

/// The closure is the user's and may `unwrap` what a server that restarts does not give. The next
/// call is its own chance to go on from the state that the panic left.
fn connected<C, X>(connect: &mut impl FnMut() -> Result<C, X>) -> Result<C, LockError>
where
    X: Error + Send + Sync + 'static,
{
    // A panic of the user's `connect` is a failed attempt. If it ended this thread, the lease would
    // run out although the next attempt could have renewed it.
    let error: Box<dyn Error + Send + Sync> = match catch_unwind(AssertUnwindSafe(connect)) {
        Ok(Ok(conn)) => return Ok(conn),
        Ok(Err(error)) => Box::new(error),
        Err(panic) => format!("`connect` panicked: {}", message(&*panic)).into(),
    };
    Err(LockError::ConnectionLost {
        source: DieselError::QueryBuilderError(error).into(),
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
