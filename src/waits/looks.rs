//! [`Looks`]: looks at a server that the callers of one process share.
//!
//! Callers that wait at the same time ask the same question at the same time. One of them asks the
//! server, and the others use its answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The looks of callers that get the same answers.
#[derive(Debug)]
pub(crate) struct Looks<A: ?Sized> {
    state: Mutex<State<A>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<A: ?Sized> {
    /// How many looks have begun. Each has its number.
    looks: u64,
    /// The look to wait for.
    under_way: Option<u64>,
    last: Option<(Instant, Arc<A>)>,
}

/// How long to wait for the answer to another caller, whose connection may be broken. It is longer
/// than that one may wait for its turn (`mysql/waits.rs`).
const PATIENCE: Duration = Duration::from_secs(6);

/// How often a caller that waits for an answer checks whether it still needs it.
const CHECK: Duration = Duration::from_millis(20);

impl<A: ?Sized> Default for Looks<A> {
    fn default() -> Self {
        let state = State {
            looks: 0,
            under_way: None,
            last: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }
}

impl<A: ?Sized> Looks<A> {
    /// The answer of a look that is not before `since`, by `ask` or by another caller; `None` if
    /// the caller needs it `no_more`.
    ///
    /// `ask` returns a moment that is no later than the server's look, and the answer.
    pub(crate) fn look<E>(
        &self,
        since: Instant,
        no_more: impl Fn() -> bool,
        ask: impl FnOnce() -> Result<(Instant, Arc<A>), E>,
    ) -> Result<Option<Arc<A>>, E> {
        let impatient = Instant::now() + PATIENCE;
        let mut state = self.state();
        loop {
            match &state.last {
                // An answer from before the call may lack the wait that the caller asks for.
                Some((at, answer)) if *at >= since => return Ok(Some(Arc::clone(answer))),
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
            looks: self,
            number,
        };
        let (at, answer) = ask()?;
        let mut state = self.state();
        // Another caller, without patience, may have asked and heard since.
        if !matches!(state.last, Some((last, _)) if last > at) {
            state.last = Some((at, Arc::clone(&answer)));
        }
        Ok(Some(answer))
    }

    fn state(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the look with this number.
struct Over<'l, A: ?Sized> {
    looks: &'l Looks<A>,
    number: u64,
}

impl<A: ?Sized> Drop for Over<'_, A> {
    fn drop(&mut self) {
        let mut state = self.looks.state();
        // A caller without patience may have begun another one.
        if state.under_way == Some(self.number) {
            state.under_way = None;
        }
        self.looks.changed.notify_all();
    }
}

/// The looks in use, by a name of the server and of all that changes its answer.
#[derive(Debug)]
pub(crate) struct LooksByName<A: ?Sized>(Mutex<BTreeMap<String, Weak<Looks<A>>>>);

impl<A: ?Sized> LooksByName<A> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    pub(crate) fn of(&self, name: String) -> Arc<Looks<A>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The map must not grow with servers that no caller asks any more.
        all.retain(|_, looks| looks.strong_count() > 0);
        if let Some(looks) = all.get(&name).and_then(Weak::upgrade) {
            return looks;
        }
        let looks = Arc::new(Looks::default());
        all.insert(name, Arc::downgrade(&looks));
        looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for an answer that is not before `since`; `number` is a new one.
    fn look(looks: &Looks<u32>, since: Instant, number: u32) -> u32 {
        let ask = || Ok::<_, ()>((Instant::now(), Arc::new(number)));
        *looks.look(since, || false, ask).unwrap().unwrap()
    }

    #[test]
    fn answer_from_before_the_question_is_not_used() {
        let looks = Looks::default();
        let before = Instant::now();
        assert_eq!(look(&looks, before, 1), 1);
        assert_eq!(look(&looks, Instant::now(), 2), 2);
        assert_eq!(look(&looks, before, 3), 2);
    }

    #[test]
    fn look_that_is_under_way_is_waited_for_and_used_if_it_is_late_enough() {
        let looks = &Looks::<u32>::default();
        let (asked, is_asked) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let ask = move || {
                asked.send(()).unwrap();
                // The server looks after this pause, so both questions are older than the answer.
                std::thread::sleep(Duration::from_millis(50));
                Ok::<_, ()>((Instant::now(), Arc::new(1)))
            };
            let first = scope.spawn(move || looks.look(Instant::now(), || false, ask));
            is_asked.recv().unwrap();
            assert_eq!(look(looks, Instant::now(), 2), 1);
            assert_eq!(*first.join().unwrap().unwrap().unwrap(), 1);
        });
    }

    #[test]
    fn failed_look_leaves_the_question_to_the_next_caller() {
        let looks = Looks::<u32>::default();
        let since = Instant::now();
        assert!(looks.look(since, || false, || Err(())).is_err());
        assert_eq!(look(&looks, since, 2), 2);
    }
}
