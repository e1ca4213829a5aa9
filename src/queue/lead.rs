//! How a caller leads: it runs one transaction after the other, until its own change has an answer.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Instant;

use diesel::query_source::Table;
use diesel::r2d2::{ConnectionManager, PooledConnection, R2D2Connection};

use super::batch::{Batch, Change, Ended, Fault, Rules};
use super::{Kept, QueueTurn, RowQueue};
use crate::backend::LockBackend;
use crate::connection::{mark_broken, LockConnection};
use crate::error::LockError;
use crate::hold::LockHold;
use crate::locked::Locked;
use crate::retry::Failure;
use crate::row_lock::{attempt, Lock, OneByKey, RowLock, Signal, Target};
use crate::sql::clause::{EveryTable, LockStrength, LockWait, Within};
use crate::sql::key::{KeyValue, KeyedBy};
use crate::sql::save::Savable;
use crate::telemetry::Call;

type Pooled<C> = PooledConnection<ConnectionManager<C>>;

impl<C, M, S, W, H> RowQueue<C, M, S, W, H>
where
    C: R2D2Connection + LockConnection + 'static,
    S: LockStrength<C::Backend>,
    W: LockWait<C::Backend>,
    H: LockHold<C::Backend>,
{
    /// Runs the transaction for this change and for those that come meanwhile. If the change has to
    /// run again, its caller goes on leading; the others go back to the line, and don't keep it.
    #[track_caller]
    pub(super) fn lead<K, Kind>(&self, id: &K, mut turn: QueueTurn<'_, M>, own: Change<M>)
    where
        M: KeyedBy<K> + Savable<K, Kind, C::Backend> + Clone + 'static,
        K: KeyValue<<M::Table as Table>::PrimaryKey, C::Backend, Kind> + Send + Sync + 'static,
        for<'k> OneByKey<'k, K>: Target<'k, C, RowLock<S, Within<W>, EveryTable, H>, M, ()>,
    {
        let call = Self::call();
        let mut next = Some(own);
        while let Some(own) = next.take() {
            self.pause_before(&own);
            let mut ended = self.lead_once(id, &call, &mut turn, own);
            next = ended.again.take();
            if next.is_none() {
                // A caller that comes again with its next change is to be in the line before the
                // next batch begins. A server's round trips leave time for that; without them the
                // next one is called last.
                let turn = (C::Backend::CONNECTIONS_PER_ROW == 1).then_some(turn);
                drop(ended);
                drop(turn);
                return;
            }
        }
    }

    /// The policy's pause, if an attempt of this change has failed.
    fn pause_before(&self, change: &Change<M>) {
        if let (Some(policy), Some(not_before)) = (&self.shared.bounds.retry, change.not_before) {
            let pause = not_before.saturating_duration_since(Instant::now());
            if !pause.is_zero() {
                policy.pause(pause);
            }
        }
    }

    /// One attempt.
    fn lead_once<K, Kind>(
        &self,
        id: &K,
        call: &Call,
        turn: &mut QueueTurn<'_, M>,
        mut own: Change<M>,
    ) -> Ended<M, Kept>
    where
        M: KeyedBy<K> + Savable<K, Kind, C::Backend> + Clone + 'static,
        K: KeyValue<<M::Table as Table>::PrimaryKey, C::Backend, Kind> + Send + Sync + 'static,
        for<'k> OneByKey<'k, K>: Target<'k, C, RowLock<S, Within<W>, EveryTable, H>, M, ()>,
    {
        let policy = self.shared.bounds.retry.as_ref();
        // The deadline of the policy bounds the wait for the lock, too.
        let left = policy.and_then(|policy| policy.left(own.tries(policy)));
        let lock = self.shared.lock.within(left);
        let mut batch = Batch::new(own);
        let mut held = None;
        let end = self.connection(call).map_err(Fault::Error);
        let end = end.and_then(|mut conn| {
            let end = self.transact(id, call, turn, lock, &mut conn, &mut batch, &mut held);
            check_in(conn, end.is_err());
            match end {
                Ok(end) => end.map_err(|error| Fault::Error(self.or_expired(error, held))),
                Err(panic) => Err(Fault::Panic(panic)),
            }
        });
        if let Some(since) = held {
            self.shared.counter.held(since.elapsed());
            self.shared.counter.batch(batch.len());
        }
        batch.end(end, policy, turn)
    }

    /// The transaction; `Err` if it panicked.
    #[expect(clippy::too_many_arguments, reason = "the parts of one attempt")]
    fn transact<K, Kind>(
        &self,
        id: &K,
        call: &Call,
        turn: &mut QueueTurn<'_, M>,
        lock: RowLock<S, Within<W>, EveryTable, H>,
        conn: &mut Pooled<C>,
        batch: &mut Batch<M, Kept>,
        held: &mut Option<Instant>,
    ) -> Result<Result<(), LockError>, Box<dyn Any + Send>>
    where
        M: KeyedBy<K> + Savable<K, Kind, C::Backend> + Clone + 'static,
        K: KeyValue<<M::Table as Table>::PrimaryKey, C::Backend, Kind> + Send + Sync + 'static,
        for<'k> OneByKey<'k, K>: Target<'k, C, RowLock<S, Within<W>, EveryTable, H>, M, ()>,
    {
        let bounds = &self.shared.bounds;
        loop {
            let was_wide = self.shared.lines.is_wide();
            let work = |conn: &mut C, row: Locked<'_, M>| {
                turn.acquired(true);
                *held = Some(Instant::now());
                let rules = RowRules::<K, Kind, C::Backend>(PhantomData);
                if let Some(row) = batch.run(row.into_inner(), turn, bounds, &rules) {
                    if !row.save(id, conn)? {
                        // A trigger skips the row, or MariaDB 11.8 answers so because the UPDATE was
                        // cancelled.
                        return Err(LockError::Aborted { source: None });
                    }
                }
                // From here on the COMMIT may be on its way.
                batch.is_committing = true;
                Ok(())
            };
            let end = catch_unwind(AssertUnwindSafe(|| {
                attempt(lock, call, &mut **conn, OneByKey(id), Signal::NONE, work)
                    .map_err(Failure::into_error)
                    .inspect_err(|error| call.closure_failed(error))
            }));
            if let (Ok(Err(error)), None) = (&end, &held) {
                if was_wide && self.is_too_wide(error) {
                    continue;
                }
            }
            return end;
        }
    }
}

/// Gives the connection back to the pool.
///
/// That runs code of the user's, a customizer's. A panic of it says nothing of the transaction, and
/// must not keep the callers of the batch from their answers.
fn check_in<C>(mut conn: Pooled<C>, has_panicked: bool)
where
    C: R2D2Connection + LockConnection + 'static,
{
    let _ = catch_unwind(AssertUnwindSafe(move || {
        if has_panicked {
            // As r2d2 does while a thread panics: the pool must not lend it again.
            mark_broken(&mut *conn);
        }
        drop(conn);
    }));
}

/// The rules of a model with the key `K`.
struct RowRules<K, Kind, DB>(PhantomData<(K, Kind, DB)>);

impl<M, K, Kind, DB> Rules<M> for RowRules<K, Kind, DB>
where
    DB: LockBackend,
    M: KeyedBy<K> + Savable<K, Kind, DB>,
    K: KeyValue<<M::Table as Table>::PrimaryKey, DB, Kind>,
{
    type Key = K;

    fn key(&self, model: &M) -> K {
        model.key()
    }

    fn key_changed(&self, key: &K) -> LockError {
        LockError::KeyChanged {
            key: format!("{key:?}"),
        }
    }

    fn columns(&self, model: &M) -> Option<String> {
        model.set_clause()
    }
}
