//! [`Attempt`]: writes the row by its stamp if that is enough, and locks it otherwise.

use std::marker::PhantomData;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::time::Instant;

use diesel::r2d2::R2D2Connection;

use super::batch::Rules;
use super::job::Panic;
use super::kept::Kept;
use super::lead::{Attempt, LockOf};
use super::Stamp;
use crate::backend::stamp::StampBackend;
use crate::backend::Waiting;
use crate::connection::{depth, LockConnection};
use crate::error::LockError;
use crate::hold::LockHold;
use crate::locked::Locked;
use crate::retry::Failure;
use crate::row_lock::{attempt, Lock, Signal};
use crate::sql::clause::{LockStrength, LockWait};
use crate::transaction::run_single;
use crate::update_row::{read, Read, RowMisses, UpdateTarget};

/// What an attempt without a lock came to.
enum Unlocked<S> {
    Written,
    /// Nothing is written.
    LockIt,
    /// The same. It may be that no row of this table has a stamp.
    NoStamps,
    /// The answer to the statement that asked for this stamp was lost.
    InDoubt(S, LockError),
    /// That statement panicked, on its way or behind its answer.
    Panicked(S, Panic),
}

/// The row that a statement without an answer wanted to write.
struct Unchanged<'s, S> {
    stamp: &'s S,
    /// The statement may still be executed.
    can_come_late: bool,
    /// It was not executed, and it can't come late.
    is_known: bool,
}

impl<C, M, S, W, H, K> Attempt<'_, '_, C, M, S, W, H, K>
where
    C: R2D2Connection + LockConnection + 'static,
    M: Clone + Send + 'static,
    S: LockStrength<C::Backend>,
    W: LockWait<C::Backend>,
    H: LockHold<C::Backend>,
{
    /// The connection is the one that is kept afterwards. There is one, and after a panic it may be
    /// gone.
    pub(super) fn run<Kind>(&mut self, place: &mut Option<Kept<C, M>>) -> Result<(), LockError>
    where
        K: UpdateTarget<C, LockOf<S, W, H>, M, Kind>,
    {
        let Some(kept) = place else {
            unreachable!("an attempt has a connection")
        };
        let queue = self.queue;
        let misses = RowMisses::among::<M, K>(self.id, &queue.shared.misses);
        let row = kept.row.take();
        if !self.may_be_unlocked(kept) || misses.lock_first() {
            return self.locked(kept, None);
        }
        match self.unlocked(kept, row, misses)? {
            Unlocked::Written => Ok(()),
            Unlocked::InDoubt(stamp, error) => {
                let result = self.resolve(place, &stamp, false);
                result.unwrap_or(Err(error))
            }
            Unlocked::Panicked(stamp, panic) => {
                let result = self.resolve(place, &stamp, true);
                result.unwrap_or_else(|| resume_unwind(panic))
            }
            Unlocked::LockIt if self.restart() => self.locked(kept, None),
            Unlocked::NoStamps if self.restart() => {
                self.locked(kept, None)?;
                misses.table_has_no_stamps();
                Ok(())
            }
            Unlocked::LockIt | Unlocked::NoStamps => Ok(()),
        }
    }

    /// Whether the row may be written without a lock: no option of the lock asks for one, and no
    /// other turn holds it.
    fn may_be_unlocked(&self, kept: &mut Kept<C, M>) -> bool {
        let request = self.lock.request();
        let settings = request.settings;
        let is_plain = settings.waiting == Waiting::Session
            && settings.hold.is_none()
            && settings.isolation.is_none()
            && request.commit_token.is_none();
        C::Backend::HAS_STAMPS
            && is_plain
            && depth(&mut *kept.conn) == Some(0)
            && self.turn.is_free()
    }

    /// Whether there is anything to write: a model may set no column.
    fn sets_columns<Kind>(row: &M) -> bool
    where
        K: UpdateTarget<C, LockOf<S, W, H>, M, Kind>,
    {
        K::is_noop(row).is_ok_and(|is_noop| !is_noop)
    }

    fn restart(&mut self) -> bool {
        self.held = None;
        self.batch.restart(self.turn)
    }

    /// Runs the changes on the row as it was last read, and writes it if it is still that.
    fn unlocked<Kind>(
        &mut self,
        kept: &mut Kept<C, M>,
        row: Option<(M, Stamp<C>)>,
        misses: RowMisses<'_>,
    ) -> Result<Unlocked<Stamp<C>>, LockError>
    where
        K: UpdateTarget<C, LockOf<S, W, H>, M, Kind>,
    {
        let conn = &mut *kept.conn;
        let (row, stamp) = match row {
            Some(row) => row,
            None => match read(conn, self.id).inspect_err(|error| self.call.failed(error))? {
                Read::Row(row, stamp) => (row, stamp),
                Read::LockIt => return Ok(Unlocked::LockIt),
                Read::NoStamps => return Ok(Unlocked::NoStamps),
            },
        };
        self.turn.holds_alone();
        self.held = Some(Instant::now());
        let mut told = self.call.attempt();
        told.locked();
        let rules = RowRules::<C, LockOf<S, W, H>, K, Kind>(PhantomData);
        let bounds = &self.queue.shared.bounds;
        let changed = self.batch.run(row, self.turn, bounds, &rules);
        let changed = changed.filter(Self::sets_columns);
        let Some(row) = changed else {
            // Answers that write nothing may be untrue by now. They are given of a row that is
            // locked.
            told.end::<_, LockError>(&Ok(()));
            return Ok(Unlocked::LockIt);
        };
        // From here on the row may be written.
        self.batch.is_committing = true;
        let result = catch_unwind(AssertUnwindSafe(|| {
            run_single(conn, |conn| self.id.rewrite(&row, &stamp, conn))
        }));
        let result = match result {
            Ok(result) => result,
            Err(panic) => return Ok(Unlocked::Panicked(stamp, panic)),
        };
        let result = result.map_err(Failure::<LockError>::Lock);
        told.end(&result);
        match result.map_err(Failure::into_error) {
            Ok(written) if written.rows > 0 => {
                misses.hit();
                kept.row = written.row;
                Ok(Unlocked::Written)
            }
            Ok(_) | Err(LockError::SerializationFailure { .. }) => {
                misses.missed();
                Ok(Unlocked::LockIt)
            }
            Err(error @ LockError::CommitUnknown { .. }) => Ok(Unlocked::InDoubt(stamp, error)),
            // One change alone: whether it is refused is said of a row that is locked.
            Err(LockError::Database(_)) if self.batch.counted() == 1 => Ok(Unlocked::LockIt),
            Err(error) => Err(error),
        }
    }

    /// Runs the same changes again if it can be shown that their statement was not executed. `None`
    /// if it can't.
    ///
    /// The row is locked on another session. If it still has the stamp that the statement asked
    /// for, the statement is not part of this server's history: it would come after the transaction
    /// of that stamp, and a history contains the id of a transaction only once. Neither can it come
    /// late: this transaction writes the row, and gives it another stamp.
    ///
    /// If this transaction fails, the statement may still come, and nothing is known. After a panic
    /// it can't: it was answered, or never sent. If the row has another stamp, nothing is known,
    /// either: the stamp that the statement wrote proves nothing, since a crash may assign its id
    /// again. `tests/model` explores this.
    fn resolve<Kind>(
        &mut self,
        place: &mut Option<Kept<C, M>>,
        stamp: &Stamp<C>,
        has_panicked: bool,
    ) -> Option<Result<(), LockError>>
    where
        K: UpdateTarget<C, LockOf<S, W, H>, M, Kind>,
    {
        // First: the pool may have no other one.
        if let Some(lost) = place.take() {
            lost.check_in(has_panicked);
        }
        let conn = self.queue.connection(self.call).ok()?;
        let kept = place.insert(Kept::new(conn));
        let mut unchanged = Unchanged {
            stamp,
            can_come_late: !has_panicked,
            is_known: false,
        };
        let result = self.locked(kept, Some(&mut unchanged));
        (unchanged.is_known || result.is_ok()).then_some(result)
    }

    /// Locks the row, runs the changes on it and writes it. With a stamp, only if the row has that
    /// one, and only the changes that the batch has.
    fn locked<Kind>(
        &mut self,
        kept: &mut Kept<C, M>,
        mut unchanged: Option<&mut Unchanged<'_, Stamp<C>>>,
    ) -> Result<(), LockError>
    where
        K: UpdateTarget<C, LockOf<S, W, H>, M, Kind>,
    {
        let queue = self.queue;
        loop {
            let was_wide = queue.shared.lines.is_wide();
            let (id, turn, batch, held) =
                (self.id, &mut *self.turn, &mut self.batch, &mut self.held);
            let work = |conn: &mut C, row: Locked<'_, M>| {
                let rules = RowRules::<C, LockOf<S, W, H>, K, Kind>(PhantomData);
                let row = row.into_inner();
                let changed = if let Some(unchanged) = &mut unchanged {
                    // Written in any case, also if no change counts any more: only another stamp
                    // keeps the lost statement out. A row that sets no column can't be written.
                    match read(conn, id)? {
                        Read::Row(row, now) if C::Backend::is_same_row(&now, unchanged.stamp) => {
                            if !unchanged.can_come_late {
                                // From here on a failure is one of this transaction only.
                                unchanged.is_known = true;
                                batch.is_committing = false;
                            }
                            let row = batch.run_again(row, &rules);
                            row.filter(Self::sets_columns)
                        }
                        _ => None,
                    }
                    .map(Some)
                    .ok_or(LockError::Abandoned)?
                } else {
                    turn.acquired(true);
                    *held = Some(Instant::now());
                    batch.run(row, turn, &queue.shared.bounds, &rules)
                };
                if let Some(row) = changed {
                    id.save(&row, conn)?;
                }
                // From here on the COMMIT may be on its way.
                batch.is_committing = true;
                Ok(())
            };
            let end = attempt(
                self.lock,
                self.call,
                &mut *kept.conn,
                id.locked(),
                Signal::NONE,
                work,
            )
            .map_err(Failure::into_error)
            .inspect_err(|error| self.call.closure_failed(error));
            // The closure has not run: the second connection's snapshot was too old.
            match end {
                Err(error) if self.held.is_none() && was_wide && queue.is_too_wide(&error) => {}
                end => return end,
            }
        }
    }
}

/// The rules of a model with the key `K`.
struct RowRules<C, L, K, Kind>(PhantomData<(C, L, K, Kind)>);

impl<C, L, M, K, Kind> Rules<M> for RowRules<C, L, K, Kind>
where
    C: LockConnection,
    K: UpdateTarget<C, L, M, Kind>,
{
    type Key = K;

    fn key(&self, model: &M) -> K {
        K::of(model)
    }

    fn columns(&self, model: &M) -> Option<String> {
        K::set_clause(model)
    }
}
