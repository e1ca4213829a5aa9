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
    /// `update_row`
    UpdateRow,
    /// `RowQueue::update`
    QueueUpdate,
    /// `RowQueue::update` with a lock option, so that each batch locks the row first
    QueueUpdateLocking,
    /// `RowQueue::update`, with one change in a hundred that the database refuses
    QueueUpdateRefused,
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
/// The strategies that the goals are about.
pub(crate) const LIBRARY: &str = "with_row_lock";
pub(crate) const UPDATE_ROW: &str = "update_row";
pub(crate) const QUEUE_WITH_ROW_LOCK: &str = "queue.with_row_lock";
pub(crate) const QUEUE_UPDATE: &str = "queue.update";
pub(crate) const QUEUE_UPDATE_LOCKING: &str = "queue.update, locking";
pub(crate) const QUEUE_UPDATE_REFUSED: &str = "queue.update, 1 % refused";

impl Strategy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => UNLOCKED,
            Self::Diesel => BY_HAND,
            Self::WithRowLock => LIBRARY,
            Self::NoWait => "no_wait + retry",
            Self::QueueWithRowLock => QUEUE_WITH_ROW_LOCK,
            Self::UpdateRow => UPDATE_ROW,
            Self::QueueUpdate => QUEUE_UPDATE,
            Self::QueueUpdateLocking => QUEUE_UPDATE_LOCKING,
            Self::QueueUpdateRefused => QUEUE_UPDATE_REFUSED,
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

    /// Whether it makes sense there. A closure that changes one model makes no transfer.
    pub(crate) fn serves(self, workload: Workload) -> bool {
        let some: &[Self] = match workload {
            Workload::Hot | Workload::Uniform | Workload::Zipf | Workload::Cold => &[
                Self::None,
                Self::Diesel,
                Self::WithRowLock,
                Self::NoWait,
                Self::QueueWithRowLock,
                Self::UpdateRow,
                Self::QueueUpdate,
                Self::SingleUpdate,
                Self::Optimistic,
            ],
            Workload::Transfer => &[
                Self::None,
                Self::Diesel,
                Self::WithRowLock,
                Self::NoWait,
                Self::SingleUpdate,
                Self::Optimistic,
            ],
            Workload::Jobs => &[Self::Diesel, Self::WithRowLock, Self::SkipLocked],
            Workload::Crowd => &[Self::Diesel, Self::QueueWithRowLock, Self::QueueUpdate],
            Workload::Foreign => &[
                Self::Diesel,
                Self::UpdateRow,
                Self::QueueUpdate,
                Self::QueueUpdateLocking,
            ],
            Workload::Queues => &[Self::Diesel, Self::QueueUpdate, Self::QueueUpdateLocking],
            Workload::Refused => &[Self::Diesel, Self::QueueUpdate, Self::QueueUpdateRefused],
            Workload::Waiters => &[Self::QueueUpdate],
        };
        some.contains(&self)
    }

    /// Whether each of its operations can write an entry to the journal. A closure that changes the
    /// model alone has no connection.
    pub(crate) fn keeps_a_journal(self) -> bool {
        !matches!(
            self,
            Self::UpdateRow
                | Self::QueueUpdate
                | Self::QueueUpdateLocking
                | Self::QueueUpdateRefused
        )
    }
}

/// What one operation is to do. The amount is always 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Deposit(i32),
    Transfer {
        from: i32,
        to: i32,
    },
    /// A deposit that the database has refused, as it must.
    Refused,
}

impl Order {
    /// What it does to which row, in the order of the rows.
    pub(crate) fn changes(self) -> impl Iterator<Item = (i32, i64)> {
        let changes = match self {
            Self::Deposit(row) => [Some((row, 1)), None],
            Self::Transfer { from, to } if from < to => [Some((from, -1)), Some((to, 1))],
            Self::Transfer { from, to } => [Some((to, 1)), Some((from, -1))],
            Self::Refused => [None, None],
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
    /// As carried out: in the workload `jobs` the database chooses the row, in `refused` it refuses
    /// some.
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
