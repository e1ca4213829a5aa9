//! How a caller leads: it runs one batch after the other, until its own change has an answer.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Instant;

use diesel::associations::HasTable;
use diesel::query_source::Table;
use diesel::r2d2::R2D2Connection;

use super::batch::{Batch, Change, Ended, Fault};
use super::kept::Kept;
use super::{QueueTurn, RowQueue};
use crate::backend::LockBackend;
use crate::connection::{depth, LockConnection};
use crate::error::LockError;
use crate::hold::LockHold;
use crate::row_lock::{Lock, RowLock};
use crate::sql::clause::{EveryTable, LockStrength, LockWait, Within};
use crate::telemetry::Call;
use crate::update_row::UpdateTarget;

/// The lock of a queue, for one attempt.
pub(super) type LockOf<S, W, H> = RowLock<S, Within<W>, EveryTable, H>;

impl<C, M, S, W, H> RowQueue<C, M, S, W, H>
where
    C: R2D2Connection + LockConnection + 'static,
    S: LockStrength<C::Backend>,
    W: LockWait<C::Backend>,
    H: LockHold<C::Backend>,
{
    /// Runs the batch of this change and of those that come meanwhile. If the change has to run
    /// again, its caller goes on leading; the others go back to the line, and don't keep it.
    #[track_caller]
    pub(super) fn lead<K, Kind>(&self, id: &K, mut turn: QueueTurn<'_, C, M>, own: Change<M>)
    where
        M: HasTable<Table: Table> + Clone + Send + 'static,
        K: UpdateTarget<C, LockOf<S, W, H>, M, Kind>,
    {
        let call = Self::call();
        let mut kept = self.kept_for(&mut turn);
        let mut next = Some(own);
        while let Some(own) = next.take() {
            self.pause_before(&own, &mut kept);
            let mut ended = self.lead_once(id, &call, &mut turn, own, &mut kept);
            next = ended.again.take();
            if next.is_none() {
                // A caller that comes again with its next change is to be in the line before the
                // next batch begins. The round trips of a lock leave time for that; without them
                // the next one is called last.
                if C::Backend::CONNECTIONS_PER_ROW == 1 || turn.is_alone() {
                    drop(ended);
                    self.hand_on(turn, kept);
                } else {
                    self.hand_on(turn, kept);
                    drop(ended);
                }
                return;
            }
        }
    }

    /// Ends the turn. The connection goes to the next one, if a caller waits, or to the pool.
    fn hand_on(&self, turn: QueueTurn<'_, C, M>, kept: Option<Kept<C, M>>)
    where
        M: Send + 'static,
    {
        match kept {
            Some(kept) if kept.is_overdue(&self.shared.pool) => {
                // The connection first: the next caller of this row may wait for one, too.
                kept.check_in(false);
                drop(turn);
            }
            Some(kept) => {
                let key = turn.key().clone();
                if let Some(kept) = turn.leave(kept) {
                    self.shared.resting.put(&key, kept, &self.shared.pool);
                }
            }
            None => drop(turn),
        }
    }

    /// The policy's pause, if an attempt of this change has failed. No connection is held
    /// meanwhile.
    fn pause_before(&self, change: &Change<M>, kept: &mut Option<Kept<C, M>>) {
        if let (Some(policy), Some(not_before)) = (&self.shared.bounds.retry, change.not_before) {
            let pause = not_before.saturating_duration_since(Instant::now());
            if !pause.is_zero() {
                if let Some(kept) = kept.take() {
                    kept.check_in(false);
                }
                policy.pause(pause);
            }
        }
    }

    /// One attempt.
    fn lead_once<K, Kind>(
        &self,
        id: &K,
        call: &Call,
        turn: &mut QueueTurn<'_, C, M>,
        mut own: Change<M>,
        kept: &mut Option<Kept<C, M>>,
    ) -> Ended<M, Kept<C, M>>
    where
        M: Clone + Send + 'static,
        K: UpdateTarget<C, LockOf<S, W, H>, M, Kind>,
    {
        let policy = self.shared.bounds.retry.as_ref();
        // The deadline of the policy bounds the wait for the lock, too.
        let left = policy.and_then(|policy| policy.left(own.tries(policy)));
        let mut attempt = Attempt {
            queue: self,
            id,
            call,
            lock: self.shared.lock.within(left),
            turn,
            batch: Batch::new(own),
            held: None,
        };
        let end = if kept.is_some() {
            Ok(())
        } else {
            let conn = self.connection(call).map_err(Fault::Error);
            conn.map(|conn| *kept = Some(Kept::new(conn)))
        };
        let end = end.and_then(|()| {
            let end = catch_unwind(AssertUnwindSafe(|| attempt.run(kept)));
            let is_over = match &end {
                Ok(Ok(())) => false,
                Ok(Err(error)) => !stays_usable(error, kept),
                Err(_) => true,
            };
            if let Some(kept) = kept.take_if(|_| is_over) {
                kept.check_in(end.is_err());
            }
            match end {
                Ok(end) => end.map_err(|error| Fault::Error(self.or_expired(error, attempt.held))),
                Err(panic) => Err(Fault::Panic(panic)),
            }
        });
        if let Some(since) = attempt.held {
            self.shared.counter.held(since.elapsed());
            self.shared.counter.batch(attempt.batch.len());
        }
        let Attempt { batch, turn, .. } = attempt;
        batch.end(end, policy, turn)
    }
}

/// Whether the session is as it was before the server refused a change.
fn stays_usable<C, M>(error: &LockError, kept: &mut Option<Kept<C, M>>) -> bool
where
    C: R2D2Connection + LockConnection + 'static,
{
    let Some(kept) = kept else { return false };
    matches!(error, LockError::Database(_)) && depth(&mut *kept.conn) == Some(0)
}

/// One attempt at a batch.
pub(super) struct Attempt<'a, 't, C, M, S, W, H, K>
where
    C: R2D2Connection + LockConnection + 'static,
{
    pub(super) queue: &'a RowQueue<C, M, S, W, H>,
    pub(super) id: &'a K,
    pub(super) call: &'a Call,
    pub(super) lock: LockOf<S, W, H>,
    pub(super) turn: &'a mut QueueTurn<'t, C, M>,
    pub(super) batch: Batch<M, Kept<C, M>>,
    /// Since when the changes run.
    pub(super) held: Option<Instant>,
}
