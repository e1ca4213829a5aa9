//! [`Retry`]: what to try again, how often, and how long to wait before. Knows errors and time,
//! nothing about locks.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use diesel::result::Error as DieselError;

use crate::backend::{cause_of, Cause};
use crate::error::LockError;

/// Why an attempt failed that may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryCause {
    /// The transaction was the victim of a deadlock.
    Deadlock,
    /// The transaction can't be put in order with a concurrent one.
    SerializationFailure,
    /// The lock did not come free in time. Retried only [on demand](Retry::lock_timeouts).
    Timeout,
    /// Somebody else holds the lock. Retried only [on demand](Retry::lock_timeouts).
    Busy,
}

impl fmt::Display for RetryCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadlock => "a deadlock",
            Self::SerializationFailure => "a serialization failure",
            Self::Timeout => "a lock timeout",
            Self::Busy => "a busy row",
        })
    }
}

impl RetryCause {
    /// Looks for a cause in an error and the errors behind it.
    ///
    /// # Example
    ///
    /// ```
    /// use diesel_row_lock::{LockError, RetryCause};
    ///
    /// let error: anyhow::Error = LockError::NotFound { key: None }.into();
    /// assert_eq!(RetryCause::of(error.as_ref()), None);
    /// ```
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut error = Some(error);
        while let Some(this) = error {
            let cause = match this.downcast_ref::<LockError>() {
                Some(lock) => return lock.retry_cause(),
                None => this
                    .downcast_ref::<DieselError>()
                    .and_then(Retryable::retry_cause),
            };
            if cause.is_some() {
                return cause;
            }
            error = this.source();
        }
        None
    }
}

/// An error that can say whether the attempt that it ended may be made again.
///
/// [`LockError`] and [`diesel::result::Error`] can. An error of your own hands the question on; for
/// one that is not yours there is [`RetryingRowLock::when`](crate::RetryingRowLock::when).
///
/// # Example
///
/// ```
/// use diesel_row_lock::{LockError, RetryCause, Retryable};
///
/// enum BankError {
///     InsufficientFunds,
///     Lock(LockError),
///     Database(diesel::result::Error),
/// }
///
/// impl Retryable for BankError {
///     fn retry_cause(&self) -> Option<RetryCause> {
///         match self {
///             Self::Lock(error) => error.retry_cause(),
///             Self::Database(error) => error.retry_cause(),
///             Self::InsufficientFunds => None,
///         }
///     }
/// }
/// # assert_eq!(BankError::InsufficientFunds.retry_cause(), None);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which of its errors may be retried",
    note = "implement `Retryable` for it, or pass a closure to `.when(…)`"
)]
pub trait Retryable {
    /// The cause, if an attempt that ended with this error may be made again.
    fn retry_cause(&self) -> Option<RetryCause>;
}

impl Retryable for LockError {
    fn retry_cause(&self) -> Option<RetryCause> {
        match self {
            Self::Deadlock { .. } => Some(RetryCause::Deadlock),
            Self::SerializationFailure { .. } => Some(RetryCause::SerializationFailure),
            Self::Timeout { .. } => Some(RetryCause::Timeout),
            Self::Busy { .. } => Some(RetryCause::Busy),
            _ => None,
        }
    }
}

impl Retryable for DieselError {
    fn retry_cause(&self) -> Option<RetryCause> {
        if let Self::QueryBuilderError(inner) = self {
            return inner.downcast_ref::<LockError>()?.retry_cause();
        }
        match cause_of(self)? {
            Cause::Deadlock => Some(RetryCause::Deadlock),
            Cause::SerializationFailure => Some(RetryCause::SerializationFailure),
            Cause::Timeout => Some(RetryCause::Timeout),
            Cause::Busy => Some(RetryCause::Busy),
            _ => None,
        }
    }
}

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

    /// Makes attempts until one succeeds, fails for good, or the policy says enough. `attempt` is
    /// told how much of the deadline is left.
    pub(crate) fn run<R, E>(
        &self,
        mut attempt: impl FnMut(Option<Duration>) -> Result<R, Failure<E>>,
        cause_of_own: impl Fn(&E) -> Option<RetryCause>,
    ) -> Result<R, E>
    where
        E: From<LockError>,
    {
        let begin = Instant::now();
        let mut pauses = self.pauses.build();
        let mut first = None;
        for number in 1.. {
            let left = self.deadline.map(|all| all.saturating_sub(begin.elapsed()));
            let failure = match attempt(left) {
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
            let first = *first.get_or_insert(cause);
            let pause = pauses.next().unwrap_or_default();
            let too_late = self
                .deadline
                .is_some_and(|deadline| begin.elapsed() + pause >= deadline);
            if number >= self.attempts || too_late {
                return Err(LockError::RetriesExhausted {
                    attempts: number,
                    first,
                    last: cause,
                }
                .into());
            }
            (self.hook)(&FailedAttempt {
                number,
                cause,
                pause,
            });
            (self.sleeper)(pause);
        }
        unreachable!("the attempts are limited")
    }

    fn covers(&self, cause: RetryCause) -> bool {
        match cause {
            RetryCause::Deadlock | RetryCause::SerializationFailure => true,
            RetryCause::Timeout | RetryCause::Busy => self.lock_timeouts,
        }
    }
}

/// How an attempt failed: in this crate's hands, or by the closure's own error.
pub(crate) enum Failure<E> {
    Lock(LockError),
    Own(E),
}

impl<E> From<LockError> for Failure<E> {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

impl<E: From<LockError>> Failure<E> {
    fn into_error(self) -> E {
        match self {
            Self::Lock(error) => error.into(),
            Self::Own(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn deadlock() -> LockError {
        LockError::Deadlock {
            source: DieselError::RollbackTransaction,
        }
    }

    /// A policy that pauses in no time, and the pauses that it made.
    fn recorded(policy: Retry) -> (Retry, Arc<Mutex<Vec<Duration>>>) {
        let pauses = Arc::<Mutex<Vec<Duration>>>::default();
        let record = Arc::clone(&pauses);
        let policy = policy.sleeper(move |pause| record.lock().unwrap().push(pause));
        (policy, pauses)
    }

    fn run(policy: &Retry, results: Vec<Result<u32, LockError>>) -> Result<u32, LockError> {
        let mut results = results.into_iter();
        policy.run(
            |_| {
                results
                    .next()
                    .expect("an attempt too many")
                    .map_err(Failure::Own)
            },
            LockError::retry_cause,
        )
    }

    #[test]
    fn pauses_double_and_carry_a_random_part_of_up_to_their_length() {
        let (policy, pauses) = recorded(Retry::new().attempts(9).jitter_seed(7));
        let result = run(&policy, (0..9).map(|_| Err(deadlock())).collect());
        assert!(matches!(
            result,
            Err(LockError::RetriesExhausted {
                attempts: 9,
                first: RetryCause::Deadlock,
                ..
            })
        ));
        let pauses = pauses.lock().unwrap();
        assert_eq!(pauses.len(), 8);
        for (at, pause) in pauses.iter().enumerate() {
            let base = Duration::from_millis(10 * (1 << at)).min(Duration::from_secs(1));
            assert!((base..=2 * base).contains(pause), "{at}: {pause:?}");
        }
    }

    #[test]
    fn seeded_pauses_are_the_same_in_every_run() {
        let pauses = |seed| {
            let (policy, pauses) = recorded(Retry::new().jitter_seed(seed));
            let _ = run(&policy, (0..5).map(|_| Err(deadlock())).collect());
            let pauses = pauses.lock().unwrap().clone();
            pauses
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
    }

    #[test]
    fn only_what_is_safe_is_tried_again() {
        let source = || DieselError::RollbackTransaction;
        for final_error in [
            LockError::CommitUnknown { source: source() },
            LockError::ConnectionLost { source: source() },
            LockError::Escaped { source: None },
            LockError::Aborted { source: None },
            LockError::NotFound { key: None },
            LockError::Timeout { source: source() },
            LockError::Busy { source: source() },
        ] {
            let variant = std::mem::discriminant(&final_error);
            let error = run(&Retry::new(), vec![Err(final_error)]).unwrap_err();
            assert_eq!(std::mem::discriminant(&error), variant);
        }
    }

    #[test]
    fn lock_timeouts_are_tried_again_on_demand() {
        let (policy, _) = recorded(Retry::new().lock_timeouts());
        let source = DieselError::RollbackTransaction;
        assert_eq!(
            run(&policy, vec![Err(LockError::Timeout { source }), Ok(3)]).unwrap(),
            3
        );
    }

    #[test]
    fn no_pause_ends_behind_the_deadline() {
        let (policy, pauses) = recorded(Retry::new().deadline(Duration::from_millis(5)));
        let error = run(&policy, vec![Err(deadlock())]).unwrap_err();
        assert!(
            matches!(error, LockError::RetriesExhausted { attempts: 1, .. }),
            "{error:?}"
        );
        assert!(pauses.lock().unwrap().is_empty());
    }

    #[test]
    fn hook_hears_of_each_failed_attempt_but_the_last() {
        let heard = Arc::<Mutex<Vec<u32>>>::default();
        let hear = Arc::clone(&heard);
        let (policy, _) = recorded(Retry::new().attempts(3));
        let policy = policy.on_retry(move |failed| hear.lock().unwrap().push(failed.number));
        let _ = run(&policy, (0..3).map(|_| Err(deadlock())).collect());
        assert_eq!(*heard.lock().unwrap(), [1, 2]);
    }
}
