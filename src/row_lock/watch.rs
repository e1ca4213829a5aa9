//! [`Watch`]: who sees, while a call waits, which session it waits for.

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::RowLock;
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::retry::Failure;
use crate::sql::clause::Timeout;
use crate::waits::backend::WaitsBackend;
use crate::waits::viewpoint::Viewpoint;
use crate::waits::{LockWait, Session, SessionId};

/// Ends the watch when it is dropped: the attempt waits no longer.
#[derive(Debug)]
pub struct Signal(#[expect(dead_code, reason = "dropped, never read")] Option<Sender<()>>);

impl Signal {
    /// For an attempt without a watch.
    pub(crate) const NONE: Self = Self(None);
}

/// Watches the attempts of a call with the lock `L` over the connection `C`.
#[diagnostic::on_unimplemented(
    message = "`.naming_blocker(…)` can't watch this call",
    label = "no watch for this lock on this connection",
    note = "it names the blocker of a lock timeout, so the lock needs `.timeout(…)`",
    note = "the second connection has to be one to the same kind of server, and `Send`; \
            SQLite does not know who waits"
)]
pub trait Watch<C, L> {
    /// Runs `attempt`, whose wait ends after `time`, if it has a limit.
    #[doc(hidden)]
    fn watch<R, E>(
        &self,
        time: Duration,
        attempt: impl FnOnce(Signal) -> Result<R, Failure<E>>,
    ) -> Result<R, Failure<E>>;
}

/// Without a watch. The default.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl<C, L> Watch<C, L> for Unwatched {
    fn watch<R, E>(
        &self,
        _: Duration,
        attempt: impl FnOnce(Signal) -> Result<R, Failure<E>>,
    ) -> Result<R, Failure<E>> {
        attempt(Signal::NONE)
    }
}

/// A second connection that sees who is in the way.
pub struct NamingBlocker<'n, N> {
    // Calls take `&self`, so that one lock serves many. A closure may use the lock that it runs
    // under: that call finds the connection in use and is not watched. A mutex would never return.
    second: RefCell<&'n mut N>,
    waiter: SessionId,
}

impl<N> fmt::Debug for NamingBlocker<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamingBlocker")
            .field("waiter", &self.waiter)
            .finish_non_exhaustive()
    }
}

impl<'n, N> NamingBlocker<'n, N> {
    pub(super) fn new(second: &'n mut N, waiter: SessionId) -> Self {
        Self {
            second: RefCell::new(second),
            waiter,
        }
    }
}

impl<C, S, T, H, N> Watch<C, RowLock<S, Timeout, T, H>> for NamingBlocker<'_, N>
where
    C: LockConnection<Backend: WaitsBackend>,
    N: LockConnection<Backend = C::Backend> + Send,
{
    fn watch<R, E>(
        &self,
        time: Duration,
        attempt: impl FnOnce(Signal) -> Result<R, Failure<E>>,
    ) -> Result<R, Failure<E>> {
        let Ok(mut second) = self.second.try_borrow_mut() else {
            return attempt(Signal::NONE);
        };
        let (second, waiter) = (&mut **second, self.waiter);
        // The sender is the signal: the attempt drops it when it waits no longer, also by a panic.
        let (waiting, over) = mpsc::channel();
        let (result, seen) = thread::scope(|scope| {
            let watch = move || watch(second, waiter, time, &over);
            // A system that has no thread to give can still lock.
            let watch = thread::Builder::new().spawn_scoped(scope, watch);
            let result = attempt(Signal(Some(waiting)));
            (result, watch.ok().and_then(|watch| watch.join().ok()))
        });
        // Only the call's own timeout. The closure's errors are the closure's.
        result.map_err(|failure| match failure {
            Failure::Lock(LockError::Timeout { source, .. }) => Failure::Lock(LockError::Timeout {
                source,
                blocker: seen.flatten().map(Box::new),
            }),
            other => other,
        })
    }
}

/// How long to leave the server alone at least: less where the whole wait is not much longer.
const PAUSES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(50);

/// The last blocker that was seen before the wait was `over`. Most waits are short, and cost the
/// server nothing.
fn watch<N>(
    second: &mut N,
    waiter: SessionId,
    time: Duration,
    over: &Receiver<()>,
) -> Option<Session>
where
    N: LockConnection<Backend: WaitsBackend>,
{
    let begun = Instant::now();
    let shortest = (time / 2).clamp(*PAUSES.start(), *PAUSES.end());
    let mut viewpoint = None;
    let mut blocker = Blocker::default();
    loop {
        let left = time.saturating_sub(begun.elapsed());
        let pause = shortest.max(left / 2);
        if over.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return blocker.seen;
        }
        if viewpoint.is_none() {
            viewpoint = Viewpoint::of(second).ok();
        }
        let Some(viewpoint) = &viewpoint else {
            return blocker.seen;
        };
        let now = Instant::now();
        // An answer to another caller is new enough if it is younger than half of the pause and
        // knows this wait already.
        let recent = now.checked_sub(pause / 2).map_or(now, |at| at.max(begun));
        for since in [recent, now] {
            let known = blocker.seen.is_some();
            let no_more = || known && over.try_recv() == Err(TryRecvError::Disconnected);
            let Ok(Some(waits)) = viewpoint.look(second, since, no_more) else {
                return blocker.seen;
            };
            if blocker.look(waiter, waits) || known {
                break;
            }
        }
    }
}

/// What the looks have shown so far.
#[derive(Default)]
struct Blocker {
    seen: Option<Session>,
    /// Of the last look: the root, and all waits.
    last: Option<(SessionId, Arc<[LockWait]>)>,
}

impl Blocker {
    /// Returns whether this waiter is among the waits.
    ///
    /// A session that waited beside it in the last look is not named at once. Where calls time out
    /// together, it may just have timed out itself, and not have left the line yet.
    fn look(&mut self, waiter: SessionId, waits: Arc<[LockWait]>) -> bool {
        let Some(wait) = waits.iter().find(|wait| wait.waiter.id == waiter) else {
            return false;
        };
        let root = wait.root(&waits).clone();
        let id = root.id;
        let doubtful = self.last.as_ref().is_some_and(|(before, waits)| {
            *before != id && waits.iter().any(|wait| wait.waiter.id == id)
        });
        if self.seen.is_none() || !doubtful {
            self.seen = Some(root);
        }
        self.last = Some((id, waits));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(waiter: i64, blocker: i64) -> LockWait {
        LockWait::of((waiter, None, None, blocker, None, None, true, None, 0))
    }

    /// Who waiter 3 names after looks with these waits, each of one session for another.
    fn named(looks: &[&[(i64, i64)]]) -> Option<i64> {
        let mut blocker = Blocker::default();
        for look in looks {
            let waits = look.iter().map(|(waiter, blocker)| wait(*waiter, *blocker));
            blocker.look(SessionId::new(3), waits.collect());
        }
        blocker.seen.map(|session| session.id.get())
    }

    #[test]
    fn last_root_is_named() {
        assert_eq!(named(&[]), None);
        assert_eq!(named(&[&[(4, 1)]]), None);
        assert_eq!(named(&[&[(3, 2), (2, 1)]]), Some(1));
        assert_eq!(named(&[&[(3, 2), (2, 1)], &[(3, 5)]]), Some(5));
        assert_eq!(named(&[&[(3, 2), (2, 1)], &[(4, 1)]]), Some(1));
    }

    #[test]
    fn waiter_ahead_that_waits_no_longer_is_named_when_it_is_seen_again() {
        let (line, gone) = ([(3, 2), (2, 1)], [(3, 2)]);
        assert_eq!(named(&[&line, &gone]), Some(1));
        assert_eq!(named(&[&line, &gone, &gone]), Some(2));
        assert_eq!(named(&[&gone]), Some(2));
    }
}
