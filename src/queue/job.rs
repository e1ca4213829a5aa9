//! [`Job`]: a change that anybody may make for the caller who waits for it.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::LockError;

/// A change to a model, with its answer for the caller who waits.
pub(super) trait Job<M>: Send {
    /// The changed model. `None` if the closure refused or panicked: then the model is as it was.
    fn run(&mut self, model: &M) -> Option<M>;

    /// Whether it can be run once more, after the transaction was rolled back.
    fn can_run_again(&self) -> bool;

    /// Answers the caller, with what the closure returned, or with the error of the transaction.
    fn answer(self: Box<Self>, transaction: Result<(), LockError>);
}

/// What a caller gets: the closure's result or its panic; or the transaction's error.
pub(super) type Answer<R, E> = Result<Result<Result<R, E>, Panic>, LockError>;

pub(super) type Panic = Box<dyn Any + Send>;

/// Where the answer is put.
pub(super) type Slot<R, E> = Arc<Mutex<Option<Answer<R, E>>>>;

/// A closure that changes a model: one that runs once, or one that may run again.
pub(super) trait Change<M, R, E>: Send {
    const CAN_RUN_AGAIN: bool;

    fn change(&mut self, model: &mut M) -> Result<R, E>;
}

pub(super) struct Once<F>(pub(super) Option<F>);

impl<M, R, E, F> Change<M, R, E> for Once<F>
where
    F: FnOnce(&mut M) -> Result<R, E> + Send,
{
    const CAN_RUN_AGAIN: bool = false;

    fn change(&mut self, model: &mut M) -> Result<R, E> {
        match self.0.take() {
            Some(change) => change(model),
            None => unreachable!("it runs once"),
        }
    }
}

pub(super) struct Again<F>(pub(super) F);

impl<M, R, E, F> Change<M, R, E> for Again<F>
where
    F: FnMut(&mut M) -> Result<R, E> + Send,
{
    const CAN_RUN_AGAIN: bool = true;

    fn change(&mut self, model: &mut M) -> Result<R, E> {
        (self.0)(model)
    }
}

/// A closure, its result so far, and where that goes.
pub(super) struct Task<F, R, E> {
    change: F,
    result: Option<Result<Result<R, E>, Panic>>,
    slot: Slot<R, E>,
}

impl<F, R, E> Task<F, R, E> {
    pub(super) fn new(change: F, slot: &Slot<R, E>) -> Self {
        Self {
            change,
            result: None,
            slot: Arc::clone(slot),
        }
    }
}

impl<M, F, R, E> Job<M> for Task<F, R, E>
where
    M: Clone,
    F: Change<M, R, E>,
    R: Send,
    E: Send,
{
    fn run(&mut self, model: &M) -> Option<M> {
        // The closure is another caller's. Its panic must not end the transaction of all, so it is
        // caught and goes on in its own caller. What it leaves half done is dropped: it changes a
        // clone.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut model = model.clone();
            let result = self.change.change(&mut model);
            (result, model)
        }));
        let (result, model) = match result {
            Ok((result, model)) => (Ok(result), Some(model)),
            Err(panic) => (Err(panic), None),
        };
        let counts = matches!(result, Ok(Ok(_)));
        self.result = Some(result);
        // After an `Err` the model may be changed in part.
        model.filter(|_| counts)
    }

    fn can_run_again(&self) -> bool {
        F::CAN_RUN_AGAIN
    }

    /// A panic is the caller's own, whatever became of the transaction. An error of the closure is
    /// not: it may have come from a state that was rolled back.
    fn answer(self: Box<Self>, transaction: Result<(), LockError>) {
        let answer = match (self.result, transaction) {
            (Some(Err(panic)), _) => Some(Ok(Err(panic))),
            (_, Err(error)) => Some(Err(error)),
            (result, Ok(())) => result.map(Ok),
        };
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}
