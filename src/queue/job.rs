//! [`Job`]: a change that another caller may make for the caller that waits for it.

use std::any::Any;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::LockError;

/// A change to a model, with its answer for the caller that waits.
pub(super) trait Job<M>: Send {
    /// The changed model. `None` if the closure refused or panicked: then the model is as it was.
    fn run(&mut self, model: &M) -> Option<M>;

    /// The change does not count, and its caller has this error if the transaction commits.
    fn refuse(&mut self, error: LockError);

    /// The change does not count, and its caller has this panic.
    fn panic(&mut self, panic: Panic);

    /// Whether the caller has a panic, whatever becomes of the transaction.
    fn has_panicked(&self) -> bool;

    /// Answers the caller, with what the closure returned, or with the error of the transaction.
    ///
    /// Runs no code of the user's: the closure and its result go back to the caller, and are
    /// dropped there.
    fn answer(self: Box<Self>, transaction: Result<(), LockError>);
}

pub(super) type Panic = Box<dyn Any + Send>;

/// A closure with what has become of it so far.
struct Task<F, R, E> {
    change: F,
    ran: Option<Ran<R, E>>,
}

enum Ran<R, E> {
    Returned(Result<R, E>),
    Refused(LockError),
    Panicked(Panic),
}

/// Where the answer is put.
type Slot<F, R, E> = Arc<Mutex<Option<(Task<F, R, E>, Result<(), LockError>)>>>;

/// A [`Job`] that runs a closure.
struct Posted<F, R, E> {
    task: Task<F, R, E>,
    slot: Slot<F, R, E>,
}

/// Where a caller finds the answer to its job.
pub(super) struct Answer<F, R, E>(Slot<F, R, E>);

/// A job, and its answer.
pub(super) fn post<M, F, R, E>(change: F) -> (Box<dyn Job<M>>, Answer<F, R, E>)
where
    M: Clone,
    F: FnMut(&mut M) -> Result<R, E> + Send + 'static,
    R: Send + 'static,
    E: Send + 'static,
{
    let slot: Slot<F, R, E> = Arc::default();
    let job = Posted {
        task: Task { change, ran: None },
        slot: Arc::clone(&slot),
    };
    (Box::new(job), Answer(slot))
}

impl<F, R, E: From<LockError>> Answer<F, R, E> {
    /// The answer, which the job has by now.
    ///
    /// # Panics
    ///
    /// If the closure has.
    pub(super) fn take(self) -> Result<R, E> {
        let answer = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((task, transaction)) = answer else {
            // The job was dropped unrun, by a panic between the line and the batch.
            return Err(LockError::Abandoned.into());
        };
        match (task.ran, transaction) {
            // Not `panic!`: the hook has reported it already, on the thread where it happened.
            (Some(Ran::Panicked(panic)), _) => resume_unwind(panic),
            // An error of the closure's is no answer then: it may come from a state that was rolled
            // back.
            (_, Err(error)) => Err(error.into()),
            (Some(Ran::Refused(error)), Ok(())) => Err(error.into()),
            (Some(Ran::Returned(result)), Ok(())) => result,
            (None, Ok(())) => Err(LockError::Abandoned.into()),
        }
    }
}

impl<M, F, R, E> Job<M> for Posted<F, R, E>
where
    M: Clone,
    F: FnMut(&mut M) -> Result<R, E> + Send,
    R: Send,
    E: Send,
{
    fn run(&mut self, model: &M) -> Option<M> {
        let task = &mut self.task;
        let before = task.ran.take();
        // The closure is another caller's. Its panic must not end the transaction of all, so it is
        // caught and goes on in its own caller. What it leaves half done is dropped: it changes a
        // clone.
        let result = catch_unwind(AssertUnwindSafe(|| {
            // Of an attempt that was rolled back.
            drop(before);
            let mut model = model.clone();
            let result = (task.change)(&mut model);
            // After an `Err` the model may be changed in part.
            let model = result.is_ok().then_some(model);
            (result, model)
        }));
        let (ran, model) = match result {
            Ok((result, model)) => (Ran::Returned(result), model),
            Err(panic) => (Ran::Panicked(panic), None),
        };
        task.ran = Some(ran);
        model
    }

    fn refuse(&mut self, error: LockError) {
        self.end_by(Ran::Refused(error));
    }

    fn panic(&mut self, panic: Panic) {
        self.end_by(Ran::Panicked(panic));
    }

    fn has_panicked(&self) -> bool {
        matches!(self.task.ran, Some(Ran::Panicked(_)))
    }

    fn answer(self: Box<Self>, transaction: Result<(), LockError>) {
        let Self { task, slot } = *self;
        let answer = Some((task, transaction));
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

impl<F, R, E> Posted<F, R, E> {
    fn end_by(&mut self, end: Ran<R, E>) {
        let before = self.task.ran.replace(end);
        // A value of the user's.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(before))) {
            self.task.ran = Some(Ran::Panicked(panic));
        }
    }
}
