//! [`Retryable`], and [`RetryCause::of`]: which errors may be tried again.

use diesel::result::Error as DieselError;

use crate::backend::{cause_of, Cause};
use crate::error::{LockError, RetryCause};

impl RetryCause {
    /// Looks for a cause in an error and the errors behind it.
    ///
    /// [`RetriesExhausted`](LockError::RetriesExhausted) is no cause, and hides that of the last
    /// attempt. An error that wraps it with `#[error(transparent)]` hides it itself: of that one
    /// this function finds the cause of the last attempt.
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
/// one that is not yours there is [`LockedCall::when`](crate::LockedCall::when).
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
///
///     fn into_lock_error(self) -> Option<LockError> {
///         match self {
///             Self::Lock(error) => Some(error),
///             Self::Database(error) => Some(error.into()),
///             Self::InsufficientFunds => None,
///         }
///     }
/// }
/// # assert_eq!(BankError::InsufficientFunds.retry_cause(), None);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which of its errors may be retried",
    label = "`.retry(…)` needs `{Self}: Retryable`, or `.when(…)` behind it",
    note = "implement `Retryable` for it, or pass a closure to `.when(…)`"
)]
pub trait Retryable {
    /// The cause, if an attempt that ended with this error may be made again.
    fn retry_cause(&self) -> Option<RetryCause>;

    /// The error as a [`LockError`], if it is or holds one: then
    /// [`RetriesExhausted`](LockError::RetriesExhausted) has it as its source. `None` by default.
    fn into_lock_error(self) -> Option<LockError>
    where
        Self: Sized,
    {
        None
    }
}

impl Retryable for LockError {
    fn retry_cause(&self) -> Option<RetryCause> {
        match self {
            Self::Deadlock { .. } => Some(RetryCause::Deadlock),
            Self::SerializationFailure { .. } => Some(RetryCause::SerializationFailure),
            Self::Timeout { .. } => Some(RetryCause::Timeout),
            Self::Busy { .. } => Some(RetryCause::Busy),
            Self::StaleRow { .. } => Some(RetryCause::StaleRow),
            _ => None,
        }
    }

    fn into_lock_error(self) -> Option<LockError> {
        Some(self)
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

    fn into_lock_error(self) -> Option<LockError> {
        Some(self.into())
    }
}
