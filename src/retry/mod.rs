//! [`Retry`]: how often to try again, and how long to wait before. Knows errors and time, nothing
//! about locks.

mod cause;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

pub use self::cause::Retryable;
use crate::error::{LockError, RetryCause};

/// An attempt that failed and will be made again, as [`Retry::on_retry`] is told of it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// Which one, from 1.
    pub number: u32,
    /// Why it failed.
    pub cause: RetryCause,
    /// How long until the next one.
    pub pause: Duration,
}

/// When to give up, and how long to wait before each further attempt.
///
/// Deadlocks and serialization failures are retried; lock timeouts and busy rows only
/// [on demand](Self::lock_timeouts); nothing else, and never a commit in doubt. Between attempts no
/// transaction is open and no lock is held.
///
/// # Default
///
/// 5 attempts, no deadline. The pauses begin at 10 ms and double up to 1 s, each with a random part
/// of up to its own length on top, so that those who met once don't meet again.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use diesel_row_lock::Retry;
///
/// let policy = Retry::new()
///     .attempts(10)
///     .deadline(Duration::from_secs(5))
///     .on_retry(|failed| eprintln!("attempt {} failed: {}", failed.number, failed.cause));
/// # let _ = policy;
/// ```
#[derive(Clone)]
#[must_use = "a policy does nothing until it is given to `RowLock::retry`"]
pub struct Retry {
    attempts: u32,
    deadline: Option<Duration>,
    lock_timeouts: bool,
    stale_rows: bool,
    pauses: ExponentialBuilder,
    sleeper: Arc<dyn Fn(Duration) + Send + Sync>,
    hook: Arc<dyn Fn(&FailedAttempt) + Send + Sync>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            deadline: None,
            lock_timeouts: false,
            stale_rows: false,
            pauses: ExponentialBuilder::new()
                .with_min_delay(Duration::from_millis(10))
                .with_max_delay(Duration::from_secs(1))
                .with_factor(2.0)
                .with_jitter()
                .without_max_times(),
            sleeper: Arc::new(thread::sleep),
            hook: Arc::new(|_| {}),
        }
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("attempts", &self.attempts)
            .field("deadline", &self.deadline)
            .field("lock_timeouts", &self.lock_timeouts)
            .field("pauses", &self.pauses)
            .finish_non_exhaustive()
    }
}

impl Retry {
    /// The default policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many attempts there are in all, the first one included. Zero counts as one.
    pub fn attempts(self, attempts: u32) -> Self {
        Self {
            attempts: attempts.max(1),
            ..self
        }
    }

    /// How long the call may take in all: lock waits, attempts and pauses. No lock is waited for
    /// longer than what is left (rounded up as [`RowLock::timeout`](crate::RowLock::timeout) does),
    /// and no pause is begun that would end later. The closure itself is not interrupted.
    pub fn deadline(self, deadline: Duration) -> Self {
        Self {
            deadline: Some(deadline),
            ..self
        }
    }

    /// Retry lock timeouts and busy rows too.
    pub fn lock_timeouts(self) -> Self {
        Self {
            lock_timeouts: true,
            ..self
        }
    }

    /// Retry stale rows too: for attempts that begin by reading the row.
    pub(crate) fn stale_rows(self) -> Self {
        Self {
            stale_rows: true,
            ..self
        }
    }

    /// The shortest pause (before its random part), and the longest.
    pub fn pauses(self, shortest: Duration, longest: Duration) -> Self {
        Self {
            pauses: self.pauses.with_min_delay(shortest).with_max_delay(longest),
            ..self
        }
    }

    /// Makes the random part of the pauses the same in every run.
    pub fn jitter_seed(self, seed: u64) -> Self {
        Self {
            pauses: self.pauses.with_jitter_seed(seed),
            ..self
        }
    }

    /// What pauses, instead of [`std::thread::sleep`].
    pub fn sleeper(self, sleeper: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self {
            sleeper: Arc::new(sleeper),
            ..self
        }
    }

    /// Called after each failed attempt that will be made again, before the pause.
    pub fn on_retry(self, hook: impl Fn(&FailedAttempt) + Send + Sync + 'static) -> Self {
        Self {
            hook: Arc::new(hook),
            ..self
        }
    }

    /// Makes attempts until one succeeds, fails for good, or the policy says enough. `attempt` gets
    /// what is left of the deadline. Of the closure's own errors `cause_of_own` says whether to try
    /// again, and `last_of_own` what of the last one is kept.
    pub(crate) fn run<R, E>(
        &self,
        mut attempt: impl FnMut(Option<Duration>) -> Result<R, Failure<E>>,
        cause_of_own: impl Fn(&E) -> Option<RetryCause>,
        last_of_own: impl Fn(E) -> Option<LockError>,
    ) -> Result<R, E>
    where
        E: From<LockError>,
    {
        let mut tries = self.begin();
        loop {
            let failure = match attempt(self.left(&tries)) {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let cause = match &failure {
                Failure::Lock(error) => error.retry_cause(),
                Failure::Own(error) => cause_of_own(error),
            };
            let Some(cause) = cause.filter(|cause| self.covers(*cause)) else {
                return Err(failure.into_error());
            };
            match self.failed(&mut tries, cause) {
                // The transaction of the attempt is over, so no lock is held meanwhile.
                Ok(pause) => self.pause(pause),
                Err(exhausted) => {
                    let last = match failure {
                        Failure::Lock(error) => Some(error),
                        Failure::Own(error) => last_of_own(error),
                    };
                    return Err(exhausted.error(last).into());
                }
            }
        }
    }

    /// The first attempt of a call begins now.
    pub(crate) fn begin(&self) -> Tries {
        Tries {
            begin: Instant::now(),
            failed: 0,
            first: None,
            pauses: None,
        }
    }

    /// What is left of the deadline.
    pub(crate) fn left(&self, tries: &Tries) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_sub(tries.begin.elapsed()))
    }

    /// An attempt has failed by a cause that the policy covers. The pause before the next one, if
    /// there is one.
    pub(crate) fn failed(
        &self,
        tries: &mut Tries,
        cause: RetryCause,
    ) -> Result<Duration, Exhausted> {
        tries.failed += 1;
        // What went wrong first says more than what followed from it.
        let first = *tries.first.get_or_insert(cause);
        let pauses = tries.pauses.get_or_insert_with(|| self.pauses.build());
        let pause = pauses.next().unwrap_or_default();
        // A pause that ends behind the deadline would be waited for in vain.
        let too_late = self
            .deadline
            .is_some_and(|deadline| tries.begin.elapsed().saturating_add(pause) >= deadline);
        if tries.failed >= self.attempts || too_late {
            return Err(Exhausted {
                attempts: tries.failed,
                first,
                last: cause,
            });
        }
        (self.hook)(&FailedAttempt {
            number: tries.failed,
            cause,
            pause,
        });
        Ok(pause)
    }

    pub(crate) fn pause(&self, time: Duration) {
        (self.sleeper)(time);
    }

    pub(crate) fn covers(&self, cause: RetryCause) -> bool {
        match cause {
            RetryCause::Deadlock | RetryCause::SerializationFailure => true,
            RetryCause::Timeout | RetryCause::Busy => self.lock_timeouts,
            RetryCause::StaleRow => self.stale_rows,
        }
    }
}

/// The attempts of a call so far.
pub(crate) struct Tries {
    begin: Instant,
    failed: u32,
    first: Option<RetryCause>,
    /// From the first failure on.
    pauses: Option<ExponentialBackoff>,
}

/// No further attempt is made.
pub(crate) struct Exhausted {
    attempts: u32,
    first: RetryCause,
    last: RetryCause,
}

impl Exhausted {
    /// With the error of the last attempt, if there is one to show.
    pub(crate) fn error(self, last: Option<LockError>) -> LockError {
        LockError::RetriesExhausted {
            attempts: self.attempts,
            first: self.first,
            last: self.last,
            source: last.map(Box::new),
        }
    }
}

/// How an attempt failed: in this crate's hands, or by the closure's own error.
#[derive(Debug)]
pub enum Failure<E> {
    Lock(LockError),
    Own(E),
}

impl<E> From<LockError> for Failure<E> {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

impl<E: From<LockError>> Failure<E> {
    pub(crate) fn into_error(self) -> E {
        match self {
            Self::Lock(error) => error.into(),
            Self::Own(error) => error,
        }
    }
}
