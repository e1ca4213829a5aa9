//! How often a call is attempted: [`Once`], or [`Again`] as a [`Retry`] allows.

use crate::error::{LockError, RetryCause};
use crate::retry::{Retry, Retryable};

/// One attempt. The default.
#[derive(Debug, Clone, Copy)]
pub struct Once;

/// As many attempts as a [`Retry`] allows.
#[derive(Debug, Clone)]
pub struct Again<D = ByTrait> {
    pub(super) policy: Retry,
    pub(super) decide: D,
}

/// The closure's error says itself whether to retry.
#[derive(Debug, Clone, Copy)]
pub struct ByTrait;

/// Decides whether an attempt that ended with the error `E` of the closure may be made again:
/// a closure, or the error itself.
#[diagnostic::on_unimplemented(
    message = "nothing says which errors `{E}` may be retried",
    label = "`.retry(…)` needs `{E}: Retryable`, or `.when(…)` behind it",
    note = "implement `Retryable` for `{E}`, or pass a closure to `.when(…)`"
)]
pub trait Decide<E> {
    #[doc(hidden)]
    fn cause(&self, error: &E) -> Option<RetryCause>;

    /// The source of [`LockError::RetriesExhausted`].
    #[doc(hidden)]
    fn last(&self, error: E) -> Option<LockError>;
}

impl<E: Retryable> Decide<E> for ByTrait {
    fn cause(&self, error: &E) -> Option<RetryCause> {
        error.retry_cause()
    }

    fn last(&self, error: E) -> Option<LockError> {
        error.into_lock_error()
    }
}

impl<E, D: Fn(&E) -> Option<RetryCause>> Decide<E> for D {
    fn cause(&self, error: &E) -> Option<RetryCause> {
        self(error)
    }

    fn last(&self, _: E) -> Option<LockError> {
        None
    }
}
