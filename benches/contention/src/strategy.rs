//! The ways of carrying out the same orders.

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
    /// `with_row_lock`; for a transfer `with_row_locks`
    WithRowLock,
    /// `RowLock::no_wait`, tried again until the row is free
    NoWait,
    /// `RowQueue::with_row_lock`
    QueueWithRowLock,
    /// `RowQueue::update`
    QueueUpdate,
    /// `UPDATE … SET balance = balance + 1`, without a look at the row
    SingleUpdate,
    /// `update_versioned`: no lock, and again if somebody else was faster
    Optimistic,
    /// `RowLock::skip_locked`: whichever row is free (workload `jobs`)
    SkipLocked,
}

/// What the others are compared with.
pub(crate) const BY_HAND: &str = "diesel";
/// The one that may lose.
pub(crate) const UNLOCKED: &str = "none";
/// What the goals are about.
pub(crate) const LIBRARY: &str = "with_row_lock";

impl Strategy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => UNLOCKED,
            Self::Diesel => BY_HAND,
            Self::WithRowLock => LIBRARY,
            Self::NoWait => "no_wait + retry",
            Self::QueueWithRowLock => "queue.with_row_lock",
            Self::QueueUpdate => "queue.update",
            Self::SingleUpdate => "single UPDATE",
            Self::Optimistic => "optimistic",
            Self::SkipLocked => "skip_locked",
        }
    }

    /// `None` of a peer.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut all = Self::value_variants().iter().copied();
        all.find(|one| one.name() == name)
    }

    /// Whether it makes sense there. A queue has a line for one row, and a transfer wants two.
    pub(crate) fn serves(self, workload: Workload) -> bool {
        match self {
            Self::Diesel | Self::WithRowLock => true,
            Self::SkipLocked => workload == Workload::Jobs,
            Self::QueueWithRowLock | Self::QueueUpdate => {
                !matches!(workload, Workload::Jobs | Workload::Transfer)
            }
            _ => workload != Workload::Jobs,
        }
    }

    /// Whether each of its operations can write an entry to the journal. The closure of
    /// `RowQueue::update` has the model and no connection.
    pub(crate) fn keeps_a_journal(self) -> bool {
        self != Self::QueueUpdate
    }
}

/// What one operation is to do. The amount is always 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Deposit(i32),
    Transfer { from: i32, to: i32 },
}

impl Order {
    /// What it does to which row, in the order of the rows.
    pub(crate) fn changes(self) -> impl Iterator<Item = (i32, i64)> {
        let changes = match self {
            Self::Deposit(row) => [Some((row, 1)), None],
            Self::Transfer { from, to } if from < to => [Some((from, -1)), Some((to, 1))],
            Self::Transfer { from, to } => [Some((to, 1)), Some((from, -1))],
        };
        changes.into_iter().flatten()
    }

    /// What it does to that row.
    pub(crate) fn change_of(self, row: i32) -> i64 {
        let here = self.changes().filter(|(other, _)| *other == row);
        here.map(|(_, amount)| amount).sum()
    }
}

/// Carries out orders, by one strategy, on any thread.
pub(crate) trait Teller: Sync {
    fn carry_out(&self, order: Order) -> Result<Receipt, LockError>;
}

impl<F: Fn(Order) -> Result<Receipt, LockError> + Sync> Teller for F {
    fn carry_out(&self, order: Order) -> Result<Receipt, LockError> {
        self(order)
    }
}

/// An order that is committed.
pub(crate) struct Receipt {
    /// In the workload `jobs` it is the database that has chosen the row.
    pub(crate) order: Order,
    /// When the row was read; with a lock, when that was had.
    pub(crate) read: Instant,
    pub(crate) retries: u64,
}

impl Receipt {
    pub(crate) fn of(order: Order, read: Instant) -> Self {
        Self {
            order,
            read,
            retries: 0,
        }
    }
}

/// What is done with a row beside changing its balance.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// Between reading and writing.
    pub(crate) thought: Duration,
    /// Whether an entry is written for each change.
    pub(crate) journal: bool,
}

impl Manner {
    /// When it began.
    pub(crate) fn think(self) -> Instant {
        let begin = Instant::now();
        if !self.thought.is_zero() {
            std::thread::sleep(self.thought);
        }
        begin
    }
}
