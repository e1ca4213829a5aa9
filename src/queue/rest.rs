//! [`Resting`]: what the last turns of rows have left that no caller waits for, for a short time.
//!
//! A single caller that changes a row again and again leaves its line empty in between. For the
//! blink until it comes again, the connection stays here with the row, and not in the pool. One
//! thread for the whole process gives back what is not fetched.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::thread;
use std::time::Instant;

use diesel::r2d2::{ConnectionManager, Pool, R2D2Connection};

use super::kept::{is_exhausted, Kept, LONGEST_LOAN};
use super::key::RowKey;
use super::line::lock;
use crate::connection::LockConnection;

/// The rows of a queue that rest. The number of places bounds that of connections.
pub(super) struct Resting<C, M>
where
    C: R2D2Connection + LockConnection + 'static,
{
    places: [Mutex<Option<Rest<C, M>>>; 4],
    /// The thread looks after them.
    is_watched: AtomicBool,
}

struct Rest<C, M>
where
    C: R2D2Connection + LockConnection + 'static,
{
    key: RowKey,
    since: Instant,
    kept: Kept<C, M>,
}

impl<C, M> Resting<C, M>
where
    C: R2D2Connection + LockConnection + 'static,
{
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            places: Default::default(),
            is_watched: AtomicBool::new(false),
        })
    }

    fn place(&self, key: &RowKey) -> MutexGuard<'_, Option<Rest<C, M>>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        // The remainder is smaller than the number of places.
        let at = usize::try_from(hasher.finish() % self.places.len() as u64).unwrap_or_default();
        lock(&self.places[at])
    }

    pub(super) fn take(&self, key: &RowKey) -> Option<Kept<C, M>> {
        let rest = self.place(key).take_if(|rest| rest.key == *key);
        rest.map(|rest| rest.kept)
    }

    /// Keeps it unless a caller may be waiting for the connection.
    pub(super) fn put(
        self: &Arc<Self>,
        key: &RowKey,
        kept: Kept<C, M>,
        pool: &Pool<ConnectionManager<C>>,
    ) where
        M: Send + 'static,
    {
        if kept.row.is_none() || is_exhausted(pool) {
            return kept.check_in(false);
        }
        let rest = Rest {
            key: key.clone(),
            since: Instant::now(),
            kept,
        };
        let before = self.place(key).replace(rest);
        if let Some(before) = before {
            before.kept.check_in(false);
        }
        if !self.is_watched.swap(true, Relaxed) {
            let this = Arc::downgrade(self);
            watch(this);
        }
    }
}

/// A queue ends with its last clone, or behind a call on a thread of the user's: a panic at the
/// check-in must not take that one's result.
impl<C, M> Drop for Resting<C, M>
where
    C: R2D2Connection + LockConnection + 'static,
{
    fn drop(&mut self) {
        for place in &self.places {
            if let Some(rest) = lock(place).take() {
                rest.kept.check_in(false);
            }
        }
    }
}

/// What the thread looks after.
trait Watched: Send + Sync {
    /// Gives back what has rested too long, or all. Whether anything is left.
    fn give_back(&self, all: bool) -> bool;
}

impl<C, M> Watched for Resting<C, M>
where
    C: R2D2Connection + LockConnection + 'static,
    M: Send,
{
    fn give_back(&self, all: bool) -> bool {
        // Before it looks: what is put there later calls the thread again.
        self.is_watched.store(false, Relaxed);
        let mut is_left = false;
        for place in &self.places {
            let over = lock(place).take_if(|rest| all || rest.since.elapsed() >= LONGEST_LOAN);
            if let Some(over) = over {
                over.kept.check_in(false);
            }
            is_left |= lock(place).is_some();
        }
        is_left && !self.is_watched.swap(true, Relaxed)
    }
}

/// Has the thread look after it.
fn watch(resting: Weak<dyn Watched>) {
    static THREAD: OnceLock<Sender<Weak<dyn Watched>>> = OnceLock::new();

    let thread = THREAD.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        // Without the thread the receiver is gone, and nothing is left to rest.
        let _ = thread::Builder::new()
            .name("diesel-row-lock".to_owned())
            .spawn(move || look_after(&receiver));
        sender
    });
    if let Err(mpsc::SendError(resting)) = thread.send(resting) {
        if let Some(resting) = resting.upgrade() {
            resting.give_back(true);
        }
    }
}

fn look_after(resting: &Receiver<Weak<dyn Watched>>) {
    let mut watched = Vec::new();
    while let Ok(first) = resting.recv() {
        watched.push(first);
        while !watched.is_empty() {
            thread::sleep(LONGEST_LOAN);
            watched.extend(resting.try_iter());
            // A queue that is gone has given back its connections itself.
            watched.retain(gives_back_later);
        }
    }
}

fn gives_back_later(resting: &Weak<dyn Watched>) -> bool {
    // The pool may be the user's last, and its end run code of the user's.
    let is_left = catch_unwind(AssertUnwindSafe(|| {
        resting
            .upgrade()
            .is_some_and(|resting| resting.give_back(false))
    }));
    is_left.unwrap_or(false)
}
