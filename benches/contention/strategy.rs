//! The ways of making the same deposit.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use diesel_row_lock::LockError;

use crate::workload::Workload;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// Read, then write, without a lock: it loses deposits
    None,
    /// By hand with Diesel: a transaction, `for_update`, an `UPDATE`
    Diesel,
    /// `with_row_lock`
    WithRowLock,
    /// `RowLock::no_wait`, tried again until the row is free
    NoWait,
    /// `RowQueue::with_row_lock`
    QueueWithRowLock,
    /// `RowQueue::update`
    QueueUpdate,
    /// `UPDATE … SET balance = balance + 1`, without a look at the row
    SingleUpdate,
    /// `RowLock::skip_locked`: whichever row is free (workload `jobs`)
    SkipLocked,
}

/// What the others are compared with.
pub(crate) const BY_HAND: &str = "diesel";
/// The one that may lose.
pub(crate) const UNLOCKED: &str = "none";

impl Strategy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => UNLOCKED,
            Self::Diesel => BY_HAND,
            Self::WithRowLock => "with_row_lock",
            Self::NoWait => "no_wait + retry",
            Self::QueueWithRowLock => "queue.with_row_lock",
            Self::QueueUpdate => "queue.update",
            Self::SingleUpdate => "single UPDATE",
            Self::SkipLocked => "skip_locked",
        }
    }

    /// Whether it makes sense there.
    pub(crate) fn serves(self, workload: Workload) -> bool {
        match self {
            Self::Diesel | Self::WithRowLock => true,
            Self::SkipLocked => workload == Workload::Jobs,
            _ => workload != Workload::Jobs,
        }
    }
}

/// Makes deposits of 1, by one strategy, on any thread.
pub(crate) trait Depositor: Sync {
    fn deposit(&self, row: i32) -> Result<Deposit, LockError>;
}

impl<F: Fn(i32) -> Result<Deposit, LockError> + Sync> Depositor for F {
    fn deposit(&self, row: i32) -> Result<Deposit, LockError> {
        self(row)
    }
}

/// A deposit that is committed.
pub(crate) struct Deposit {
    pub(crate) row: i32,
    /// When the row was read; with a lock, when that was had.
    pub(crate) read: Instant,
    pub(crate) retries: u64,
}

impl Deposit {
    pub(crate) fn of(row: i32, read: Instant) -> Self {
        Self {
            row,
            read,
            retries: 0,
        }
    }
}

/// What the program does with a row that it has read.
#[derive(Clone, Copy)]
pub(crate) struct Thought(pub(crate) Duration);

impl Thought {
    /// When it began.
    pub(crate) fn think(self) -> Instant {
        let begin = Instant::now();
        if !self.0.is_zero() {
            std::thread::sleep(self.0);
        }
        begin
    }
}
