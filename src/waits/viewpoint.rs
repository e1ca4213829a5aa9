//! [`Viewpoint`]: looks at a server that the callers of one process share.
//!
//! Calls that time out together ask the same question at the same time. One of them asks the
//! server, and the others use its answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::backend::WaitsBackend;
use super::{meaning, LockWait};
use crate::connection::LockConnection;
use crate::error::LockError;

/// Connections that get the same answers: they have one server, one user and one database.
#[derive(Debug, Default)]
pub(crate) struct Viewpoint {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How many looks have begun. Each has its number.
    looks: u64,
    /// The look to wait for.
    under_way: Option<u64>,
    last: Option<(Instant, Arc<[LockWait]>)>,
}

/// How long to wait for the answer to another caller, whose connection may be broken. It is longer
/// than that one may wait for its turn (`mysql/waits.rs`).
const PATIENCE: Duration = Duration::from_secs(6);

/// How often a caller that waits for an answer checks whether it still needs it.
const CHECK: Duration = Duration::from_millis(20);

/// The viewpoints in use.
static VIEWPOINTS: Mutex<BTreeMap<String, Weak<Viewpoint>>> = Mutex::new(BTreeMap::new());

impl Viewpoint {
    /// That of this connection.
    pub(crate) fn of<C>(conn: &mut C) -> Result<Arc<Self>, LockError>
    where
        C: LockConnection<Backend: WaitsBackend>,
    {
        // Before the lock is taken, which is one for all servers: this one may be slow to answer.
        let name = C::Backend::viewpoint(conn).map_err(meaning::<C>)?;
        let mut all = VIEWPOINTS.lock().unwrap_or_else(PoisonError::into_inner);
        // The map must not grow with servers that no caller asks any more.
        all.retain(|_, viewpoint| viewpoint.strong_count() > 0);
        if let Some(viewpoint) = all.get(&name).and_then(Weak::upgrade) {
            return Ok(viewpoint);
        }
        let viewpoint = Arc::new(Self::default());
        all.insert(name, Arc::downgrade(&viewpoint));
        Ok(viewpoint)
    }

    /// The waits at a moment that is not before `since`, from `conn` or from another caller;
    /// `None` if the caller needs them `no_more`.
    pub(crate) fn look<C>(
        &self,
        conn: &mut C,
        since: Instant,
        no_more: impl Fn() -> bool,
    ) -> Result<Option<Arc<[LockWait]>>, LockError>
    where
        C: LockConnection<Backend: WaitsBackend>,
    {
        let impatient = Instant::now() + PATIENCE;
        let mut state = self.state();
        loop {
            match &state.last {
                // An answer from before the call may lack the wait that the caller asks for.
                Some((at, waits)) if *at >= since => return Ok(Some(Arc::clone(waits))),
                _ if state.under_way.is_none() || Instant::now() >= impatient => break,
                _ if no_more() => return Ok(None),
                _ => {}
            }
            // In short pieces: no notification comes when `no_more` becomes true.
            let waited = self.changed.wait_timeout(state, CHECK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.looks += 1;
        let number = state.looks;
        state.under_way = Some(number);
        // Free while the server is asked: the others wait for the notification with a limit, and
        // that is worth nothing if they wait for the lock.
        drop(state);
        // Also on an error or a panic: then the next caller asks on its own connection.
        let _over = Over {
            viewpoint: self,
            number,
        };
        let seen = C::Backend::waits(conn).map_err(meaning::<C>)?;
        let mut waits: Vec<_> = seen.waits.into_iter().map(LockWait::of).collect();
        waits.sort_by_key(|wait| std::cmp::Reverse(wait.waited));
        let waits: Arc<[_]> = waits.into();
        let mut state = self.state();
        // Another caller, without patience, may have asked and heard since.
        if !matches!(state.last, Some((at, _)) if at > seen.at) {
            state.last = Some((seen.at, Arc::clone(&waits)));
        }
        Ok(Some(waits))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the look with this number.
struct Over<'v> {
    viewpoint: &'v Viewpoint,
    number: u64,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut state = self.viewpoint.state();
        // A caller without patience may have begun another one.
        if state.under_way == Some(self.number) {
            state.under_way = None;
        }
        self.viewpoint.changed.notify_all();
    }
}
