//! The options of a [`RowLock`] on a [`LockedCall`], so that their order does not matter.

use std::time::Duration;

use super::LockedCall;
use crate::commit_token::CommitToken;
use crate::hold::{HoldAtMost, Unlimited};
use crate::isolation::Isolation;
use crate::row_lock::RowLock;
use crate::sql::clause::{Block, EveryTable, NoWait, Of, SkipLocked, Timeout};

impl<L, A, V> LockedCall<L, A, V> {
    fn map<L2>(self, option: impl FnOnce(L) -> L2) -> LockedCall<L2, A, V> {
        LockedCall {
            lock: option(self.lock),
            attempts: self.attempts,
            watch: self.watch,
        }
    }
}

impl<S, T: Copy, H: Copy, A, V> LockedCall<RowLock<S, Block, T, H>, A, V> {
    /// As [`RowLock::no_wait`].
    pub fn no_wait(self) -> LockedCall<RowLock<S, NoWait, T, H>, A, V> {
        self.map(RowLock::no_wait)
    }

    /// As [`RowLock::skip_locked`].
    pub fn skip_locked(self) -> LockedCall<RowLock<S, SkipLocked, T, H>, A, V> {
        self.map(RowLock::skip_locked)
    }

    /// As [`RowLock::timeout`].
    pub fn timeout(self, time: Duration) -> LockedCall<RowLock<S, Timeout, T, H>, A, V> {
        self.map(|lock| lock.timeout(time))
    }
}

impl<S, W: Copy, H: Copy, A, V> LockedCall<RowLock<S, W, EveryTable, H>, A, V> {
    /// As [`RowLock::of`].
    pub fn of<T>(self, table: T) -> LockedCall<RowLock<S, W, Of<T>, H>, A, V> {
        self.map(|lock| lock.of(table))
    }
}

impl<S, W: Copy, T: Copy, A, V> LockedCall<RowLock<S, W, T, Unlimited>, A, V> {
    /// As [`RowLock::hold_at_most`].
    pub fn hold_at_most(self, time: Duration) -> LockedCall<RowLock<S, W, T, HoldAtMost>, A, V> {
        self.map(|lock| lock.hold_at_most(time))
    }
}

impl<S, W: Copy, T: Copy, H: Copy, A, V> LockedCall<RowLock<S, W, T, H>, A, V> {
    /// As [`RowLock::outermost`].
    pub fn outermost(self) -> Self {
        self.map(RowLock::outermost)
    }

    /// As [`RowLock::isolation`].
    pub fn isolation(self, level: Isolation) -> Self {
        self.map(|lock| lock.isolation(level))
    }

    /// As [`RowLock::commit_token`].
    pub fn commit_token(self, token: CommitToken) -> Self {
        self.map(|lock| lock.commit_token(token))
    }
}
