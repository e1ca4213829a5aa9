//! [`Batch`]: the changes of one transaction.

use std::time::{Duration, Instant};

use diesel::result::Error as DieselError;

use super::job::Job;
use super::line::Taken;
use crate::error::LockError;
use crate::retry::{Failure, Retry, Retryable};

type Jobs<M> = Box<dyn Job<M>>;

/// The changes of one transaction, in their order. Everybody in it has an answer when it is gone.
pub(super) struct Batch<M> {
    jobs: Vec<Served<M>>,
    /// From now on a panic leaves the transaction in doubt.
    pub(super) is_committing: bool,
}

struct Served<M> {
    job: Jobs<M>,
    /// Tells the caller when it is dropped. The leader needs nobody to tell it.
    taken: Option<Taken<Jobs<M>>>,
}

impl<M> Batch<M> {
    pub(super) fn new(leaders: Jobs<M>) -> Self {
        Self {
            jobs: vec![Served {
                job: leaders,
                taken: None,
            }],
            is_committing: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn add(&mut self, taken: Vec<Taken<Jobs<M>>>) {
        self.jobs.extend(taken.into_iter().filter_map(|mut taken| {
            let job = taken.job.take()?;
            Some(Served {
                job,
                taken: Some(taken),
            })
        }));
    }

    /// Runs one change after the other; those that are not begun within the time are given back.
    /// `None` if no change counts.
    pub(super) fn change(&mut self, row: M, time: Duration) -> (Option<M>, Vec<Taken<Jobs<M>>>) {
        let begin = Instant::now();
        let mut row = row;
        let mut changed = false;
        let mut run = 0;
        for served in &mut self.jobs {
            if run > 0 && begin.elapsed() >= time {
                break;
            }
            run += 1;
            if let Some(next) = served.job.run(&row) {
                row = next;
                changed = true;
            }
        }
        // Of a second attempt all have been begun before; nobody else's time is spent on them.
        let late = self.jobs.split_off(run);
        let late = late.into_iter().filter_map(|served| {
            let mut taken = served.taken?;
            taken.job = Some(served.job);
            Some(taken)
        });
        (changed.then_some(row), late.collect())
    }

    /// Runs the transaction; after a failure that the policy covers once more, with the changes
    /// that can run again.
    pub(super) fn run(
        &mut self,
        retry: Option<&Retry>,
        mut transaction: impl FnMut(&mut Self) -> Result<(), LockError>,
    ) -> Result<(), LockError> {
        let Some(policy) = retry else {
            // A transaction that has returned has said how it ended.
            let result = transaction(self);
            self.is_committing = false;
            return result;
        };
        policy.run(
            |_| {
                let result = transaction(self);
                self.is_committing = false;
                let Err(error) = result else {
                    return Ok(());
                };
                if error.retry_cause().is_none() {
                    return Err(Failure::Lock(error));
                }
                // Before the pause: they have nothing to wait for.
                self.answer_those_who_run_once(&error);
                // `Failure::Own` has no cause, so the policy does not run a transaction without
                // changes.
                Err(if self.jobs.is_empty() {
                    Failure::Own(error)
                } else {
                    Failure::Lock(error)
                })
            },
            |_| None,
            Some,
        )
    }

    fn answer_those_who_run_once(&mut self, error: &LockError) {
        let jobs = std::mem::take(&mut self.jobs);
        let (again, once): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .partition(|served| served.job.can_run_again());
        self.jobs = again;
        for served in once {
            // The answer comes first. To drop `taken` wakes the caller, who then looks for it.
            served.job.answer(Err(error.clone()));
            drop(served.taken);
        }
    }

    /// Answers everybody.
    pub(super) fn answer(mut self, transaction: Result<(), LockError>) {
        let mut jobs = self.jobs.drain(..);
        let leader = jobs.next();
        for served in jobs {
            let result = match &transaction {
                Ok(()) => Ok(()),
                Err(error) => Err(error.clone()),
            };
            // The answer first, then the wake-up.
            served.job.answer(result);
            drop(served.taken);
        }
        // Who asked the server has the error itself.
        if let Some(leader) = leader {
            leader.job.answer(transaction);
        }
    }
}

/// Only a panic of the leader drops a batch with a caller in it. The transaction is rolled back,
/// unless its COMMIT was sent before.
impl<M> Drop for Batch<M> {
    fn drop(&mut self) {
        for served in self.jobs.drain(..) {
            // The answer first, then the wake-up.
            served.job.answer(Err(if self.is_committing {
                let source = DieselError::BrokenTransactionManager.into();
                LockError::CommitUnknown { source }
            } else {
                LockError::Abandoned
            }));
            drop(served.taken);
        }
    }
}
