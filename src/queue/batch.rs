//! [`Batch`]: the changes of one transaction, and what becomes of them at its end.

use std::fmt::Debug;
use std::mem;
use std::time::Instant;

use diesel::result::Error as DieselError;

use super::builder::Bounds;
use super::job::{Job, Panic};
use super::key::RowKey;
use super::line::Taken;
use super::lines::Turn;
use crate::error::{LockError, Outcome, RetryCause};
use crate::retry::{Retry, Retryable, Tries};

/// A job in the line, with what it remembers from one batch to the next.
pub(super) struct Change<M> {
    job: Box<dyn Job<M>>,
    /// With a retry policy, from the first attempt on.
    tries: Option<Tries>,
    /// A caller that leads begins no earlier.
    pub(super) not_before: Option<Instant>,
    /// In the batch that has it, it has changed the model.
    counts: bool,
}

impl<M> Change<M> {
    pub(super) fn new(job: Box<dyn Job<M>>) -> Self {
        Self {
            job,
            tries: None,
            not_before: None,
            counts: false,
        }
    }

    /// Its attempts. The first one begins now, if none has begun.
    pub(super) fn tries(&mut self, policy: &Retry) -> &mut Tries {
        self.tries.get_or_insert_with(|| policy.begin())
    }

    fn answer(self, transaction: Result<(), LockError>) {
        self.job.answer(transaction);
    }

    /// Runs it on the model.
    fn apply<R: Rules<M>>(&mut self, model: &M, before: &Before<M, R>, rules: &R) -> Applied<M> {
        self.counts = false;
        let Some(changed) = self.job.run(model) else {
            return Applied::Nothing;
        };
        if rules.key(&changed) != before.key {
            self.job.refuse(LockError::key_changed(&before.key));
            return Applied::Nothing;
        }
        self.counts = true;
        if rules.columns(&changed) == before.columns {
            Applied::Same(changed)
        } else {
            Applied::OtherColumns(changed)
        }
    }
}

/// What a change has made of the model.
enum Applied<M> {
    Nothing,
    Same(M),
    /// A save writes other columns than before.
    OtherColumns(M),
}

/// What is compared with the row as it was before the batch.
struct Before<M, R: Rules<M>> {
    key: R::Key,
    columns: Option<String>,
}

impl<M, R: Rules<M>> Before<M, R> {
    fn of(row: &M, rules: &R) -> Self {
        Self {
            key: rules.key(row),
            columns: rules.columns(row),
        }
    }
}

/// Why the transaction of a batch was not committed.
pub(super) enum Fault {
    Error(LockError),
    Panic(Panic),
}

/// What a batch asks of the models.
pub(super) trait Rules<M> {
    type Key: PartialEq + Debug;

    fn key(&self, model: &M) -> Self::Key;

    /// Which columns the model writes, as the text of the statement has them. `None` if it has no
    /// text.
    fn columns(&self, model: &M) -> Option<String>;
}

/// The changes of one transaction, in their order. When it is gone each of them has an answer, or
/// is in the line again.
pub(super) struct Batch<M, T> {
    /// The leader's, which comes first.
    own: Option<Change<M>>,
    others: Vec<Taken<Change<M>, T>>,
    /// How many of them have changed the model.
    counted: usize,
    /// From now on a panic leaves the transaction in doubt.
    pub(super) is_committing: bool,
}

impl<M, T> Batch<M, T> {
    pub(super) fn new(own: Change<M>) -> Self {
        Self {
            own: Some(own),
            others: Vec::new(),
            counted: 0,
            is_committing: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.own.is_some()) + self.others.len()
    }

    /// Runs one change after the other, those of other callers as it takes them from the line, up
    /// to the bounds. The changed model; `None` if no change counts.
    pub(super) fn run(
        &mut self,
        row: M,
        turn: &Turn<'_, RowKey, Change<M>, T>,
        bounds: &Bounds,
        rules: &impl Rules<M>,
    ) -> Option<M> {
        let begin = Instant::now();
        let before = Before::of(&row, rules);
        let mut model = row;
        let mut counted = 0;
        let mut len = self.len();
        let mut next = self.own.as_mut();
        while let Some(change) = next.take() {
            if let Some(policy) = &bounds.retry {
                change.tries(policy);
            }
            match change.apply(&model, &before, rules) {
                Applied::Nothing => {}
                Applied::Same(changed) => {
                    counted += 1;
                    model = changed;
                }
                // `AsChangeset` leaves out the fields that are `None`. A batch that writes other
                // columns than each of its changes would lose some of what they have set. The
                // leader's own is the first, so this one is another caller's.
                Applied::OtherColumns(_) if counted > 0 => {
                    turn.give_back(self.others.pop().into_iter().collect());
                    break;
                }
                Applied::OtherColumns(changed) => {
                    counted += 1;
                    model = changed;
                    break;
                }
            }
            if len >= bounds.largest_batch || begin.elapsed() >= bounds.longest_batch {
                break;
            }
            let Some(taken) = turn.take_next(len) else {
                break;
            };
            self.others.push(taken);
            len += 1;
            next = self.others.last_mut().and_then(Taken::job);
        }
        self.counted = counted;
        (counted > 0).then_some(model)
    }

    /// Runs the same changes once more on another row. `None` if they can't be one batch there.
    pub(super) fn run_again(&mut self, row: M, rules: &impl Rules<M>) -> Option<M> {
        let before = Before::of(&row, rules);
        let mut model = row;
        let mut counted = 0;
        let others = self.others.iter_mut().filter_map(Taken::job);
        for change in self.own.iter_mut().chain(others) {
            match change.apply(&model, &before, rules) {
                Applied::Nothing => {}
                Applied::Same(changed) => {
                    counted += 1;
                    model = changed;
                }
                Applied::OtherColumns(_) => return None,
            }
        }
        self.counted = counted;
        Some(model)
    }

    /// Nothing is written, and the changes are to run on a row that is locked: those of others go
    /// back to the line. `false` if the leader's own has panicked, and with it its answer.
    pub(super) fn restart(&mut self, turn: &Turn<'_, RowKey, Change<M>, T>) -> bool {
        self.is_committing = false;
        let mut back = Vec::new();
        for mut taken in mem::take(&mut self.others) {
            // A panic is the caller's own, and its closure is not run once more.
            if taken.job().is_some_and(|change| change.job.has_panicked()) {
                taken.finish(|change| change.answer(Ok(())));
            } else {
                back.push(taken);
            }
        }
        turn.give_back(back);
        !self.own.as_ref().is_some_and(|own| own.job.has_panicked())
    }

    /// How many changes count.
    pub(super) fn counted(&self) -> usize {
        self.counted
    }

    /// Decides what becomes of each change, now that the end of the transaction is known: an
    /// answer, or another attempt. A change of another caller that needs one goes back to the line.
    pub(super) fn end(
        mut self,
        end: Result<(), Fault>,
        policy: Option<&Retry>,
        turn: &mut Turn<'_, RowKey, Change<M>, T>,
    ) -> Ended<M, T> {
        let all = self.len();
        let mut verdict = self.verdict(end, policy);
        // The transaction has said how it ended. Below, code of the user's (a hook of the policy)
        // may still panic: then `Drop` answers.
        self.is_committing = false;
        let own = self.own.as_mut();
        let own = own.map(|own| verdict.of(own, true));
        let others = self.others.iter_mut();
        let others: Vec<_> = others
            .map(|taken| taken.job().and_then(|change| verdict.of(change, false)))
            .collect();
        let mut ended = Ended {
            own: None,
            again: None,
            others: Vec::new(),
        };
        match own {
            Some(Some(answer)) => ended.own = self.own.take().map(|own| (own, answer)),
            _ => ended.again = self.own.take(),
        }
        let mut back = Vec::new();
        for (taken, answer) in mem::take(&mut self.others).into_iter().zip(others) {
            match answer {
                Some(answer) => ended.others.push((taken, answer)),
                None => back.push(taken),
            }
        }
        let answered = all - back.len() - usize::from(ended.again.is_some());
        if !back.is_empty() {
            turn.give_back(back);
        }
        match verdict {
            Verdict::Suspects => turn.refused(all),
            Verdict::Guilty(_) => turn.refused(1),
            _ => turn.passed(answered),
        }
        ended
    }

    fn verdict<'p>(&self, end: Result<(), Fault>, policy: Option<&'p Retry>) -> Verdict<'p> {
        let fault = match end {
            Ok(()) => return Verdict::All(Ok(())),
            Err(fault) => fault,
        };
        let error = match fault {
            Fault::Panic(panic) if self.is_committing => {
                let source = DieselError::BrokenTransactionManager.into();
                return Verdict::Leader(Some(panic), Some(LockError::CommitUnknown { source }));
            }
            Fault::Panic(panic) if self.counted == 0 => {
                return Verdict::Leader(Some(panic), None);
            }
            Fault::Panic(_) if self.counted > 1 => return Verdict::Suspects,
            Fault::Panic(_) => return Verdict::Guilty(Some(fault)),
            Fault::Error(error) => error,
        };
        match (error.retry_cause(), policy) {
            (Some(cause), Some(policy)) if policy.covers(cause) => {
                Verdict::Again(error, cause, policy)
            }
            _ if self.counted > 1 && is_refusal(&error) => Verdict::Suspects,
            _ if self.counted == 1 && is_refusal(&error) => {
                Verdict::Guilty(Some(Fault::Error(error)))
            }
            _ => Verdict::All(Err(error)),
        }
    }
}

/// The database refuses what a change has written, so the batch may succeed without that change.
/// Nothing is committed.
fn is_refusal(error: &LockError) -> bool {
    let by_the_session = matches!(
        error,
        LockError::Cancelled { .. } | LockError::StatementTimeout { .. }
    );
    error.outcome() == Outcome::NotApplied
        && !error.is_transient()
        && error.retry_cause().is_none()
        && !by_the_session
}

/// How a batch ended, for each of its changes.
enum Verdict<'p> {
    /// They all have this answer.
    All(Result<(), LockError>),
    /// They are run again, as far as the policy allows.
    Again(LockError, RetryCause, &'p Retry),
    /// The only one that counts has the fault, and the others are run again: they may have seen its
    /// change.
    Guilty(Option<Fault>),
    /// One of them is to blame, and is not known. All are run again.
    Suspects,
    /// The leader has the panic, and the others this error. Without one they are run again.
    Leader(Option<Panic>, Option<LockError>),
}

impl Verdict<'_> {
    /// The answer of one change. `None` if it is run again.
    fn of<M>(&mut self, change: &mut Change<M>, is_own: bool) -> Option<Result<(), LockError>> {
        if change.job.has_panicked() {
            // A panic is the caller's own, and its closure is not run once more.
            return Some(Ok(()));
        }
        match self {
            Self::All(answer) => Some(answer.clone()),
            Self::Again(error, cause, policy) => {
                match policy.failed(change.tries(policy), *cause) {
                    Ok(pause) => {
                        change.not_before = Instant::now().checked_add(pause);
                        None
                    }
                    Err(exhausted) => Some(Err(exhausted.error(Some(error.clone())))),
                }
            }
            Self::Guilty(fault) if change.counts => match fault.take()? {
                Fault::Error(error) => Some(Err(error)),
                Fault::Panic(panic) => {
                    change.job.panic(panic);
                    Some(Ok(()))
                }
            },
            Self::Guilty(_) | Self::Suspects => None,
            Self::Leader(panic, _) if is_own => {
                change.job.panic(panic.take()?);
                Some(Ok(()))
            }
            Self::Leader(_, error) => error.clone().map(Err),
        }
    }
}

/// Only a panic in [`Batch::end`] drops a batch with a change in it. The transaction is rolled
/// back, unless its COMMIT was sent before.
impl<M, T> Drop for Batch<M, T> {
    fn drop(&mut self) {
        let error = if self.is_committing {
            let source = DieselError::BrokenTransactionManager.into();
            LockError::CommitUnknown { source }
        } else {
            LockError::Abandoned
        };
        for taken in self.others.drain(..) {
            taken.finish(|change| change.answer(Err(error.clone())));
        }
        if let Some(own) = self.own.take() {
            own.answer(Err(error));
        }
    }
}

/// With its answer.
type Answered<Change> = (Change, Result<(), LockError>);

/// A batch that has ended. To drop it answers the callers.
pub(super) struct Ended<M, T> {
    own: Option<Answered<Change<M>>>,
    others: Vec<Answered<Taken<Change<M>, T>>>,
    /// The leader's own change, if it must be run again.
    pub(super) again: Option<Change<M>>,
}

impl<M, T> Drop for Ended<M, T> {
    fn drop(&mut self) {
        for (taken, answer) in self.others.drain(..) {
            // The answer first, then the wake-up.
            taken.finish(|change| change.answer(answer));
        }
        if let Some((own, answer)) = self.own.take() {
            own.answer(answer);
        }
    }
}
