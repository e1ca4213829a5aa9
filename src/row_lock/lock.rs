//! [`Lock`] and [`LockOn`]: a [`RowLock`] as its calls and targets see it, whatever its options.

use std::time::Duration;

use diesel::result::QueryResult;

use super::RowLock;
use crate::backend::{classify, unsupported, LockBackend, Settings};
use crate::error::LockError;
use crate::hold::{Hold, LockHold};
use crate::sql::clause::{
    LockStrength, LockTables, LockWait, LockingSelect, Strength, Wait, Within,
};
use crate::transaction::Request;

/// Any [`RowLock`].
pub trait Lock: Copy {
    /// What the strength is called in the telemetry.
    #[doc(hidden)]
    const STRENGTH: &'static str;

    #[doc(hidden)]
    type Within: Lock;

    /// The same lock, which waits no longer than this.
    #[doc(hidden)]
    fn within(self, left: Option<Duration>) -> Self::Within;

    #[doc(hidden)]
    fn request(&self) -> Request;
}

impl<S: Strength, W: Wait, T: Copy, H: Hold> Lock for RowLock<S, W, T, H> {
    const STRENGTH: &'static str = S::NAME;

    type Within = RowLock<S, Within<W>, T, H>;

    fn within(self, left: Option<Duration>) -> Self::Within {
        RowLock {
            strength: self.strength,
            wait: Within {
                wait: self.wait,
                left,
            },
            tables: self.tables,
            hold: self.hold,
            transaction: self.transaction,
        }
    }

    fn request(&self) -> Request {
        Request {
            settings: Settings {
                waiting: self.wait.waiting(),
                hold: self.hold.limit(),
                isolation: self.transaction.isolation,
            },
            outermost: self.transaction.outermost,
            commit_token: self.transaction.commit_token,
        }
    }
}

/// A [`RowLock`] whose options the backend `DB` has.
pub trait LockOn<DB>: Lock {
    /// A query with the locking clause.
    #[doc(hidden)]
    type Select<Q>;

    #[doc(hidden)]
    fn select<Q>(&self, query: Q) -> Self::Select<Q>;

    /// The same as a statement of its own, whatever is in a cache.
    #[doc(hidden)]
    fn select_anew<Q>(&self, query: Q) -> Self::Select<Q>;

    /// The result of the locking statement, with its error by meaning.
    #[doc(hidden)]
    fn acquired<R>(&self, result: QueryResult<R>) -> Result<R, LockError>;
}

impl<DB, S, W, T, H> LockOn<DB> for RowLock<S, W, T, H>
where
    DB: LockBackend,
    S: LockStrength<DB>,
    W: LockWait<DB>,
    T: LockTables<DB>,
    H: LockHold<DB>,
{
    type Select<Q> = LockingSelect<Q, S, W, T>;

    fn select<Q>(&self, query: Q) -> LockingSelect<Q, S, W, T> {
        LockingSelect {
            query,
            strength: self.strength,
            wait: self.wait,
            tables: self.tables,
            anew: false,
        }
    }

    fn select_anew<Q>(&self, query: Q) -> LockingSelect<Q, S, W, T> {
        LockingSelect {
            anew: true,
            ..LockOn::<DB>::select(self, query)
        }
    }

    fn acquired<R>(&self, result: QueryResult<R>) -> Result<R, LockError> {
        // What a server calls a timeout is busy where no wait was asked for.
        let waiting = self.wait.waiting();
        result.map_err(|error| {
            // Only `OF` can be what the server lacks; any other syntax error is the query's own.
            if T::ARE_NAMED {
                unsupported::<DB>(error, waiting)
            } else {
                classify::<DB>(error, waiting)
            }
        })
    }
}
