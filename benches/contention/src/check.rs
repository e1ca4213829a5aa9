//! Whether the books are what was acknowledged.

use std::collections::HashMap;

use crate::strategy::Order;

/// What a run has left behind.
pub(crate) struct Books {
    /// By account, of which the first is number 1.
    pub(crate) balances: Vec<i64>,
    /// By account and number.
    pub(crate) journal: Vec<Entry>,
}

/// One change of one account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) account: i32,
    /// Counts the entries of its account.
    pub(crate) seq: i64,
    pub(crate) amount: i64,
    /// After it.
    pub(crate) balance: i64,
}

/// What was acknowledged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Vec<Acknowledged>);

/// Of one account.
#[derive(Debug, Clone, Copy, Default)]
struct Acknowledged {
    changes: u64,
    /// Of all changes together.
    amount: i64,
}

/// What is wrong with the books.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Acknowledged, but not in the balance.
    pub(crate) lost: u64,
    /// In a balance, but not acknowledged. (Money that nobody took off is that, too.)
    pub(crate) surplus: u64,
    /// Entries that don't follow from the one before, chains that don't end in the balance, and
    /// changes with no entry, or more than one; `None` without a journal.
    pub(crate) broken: Option<u64>,
}

impl Ledger {
    /// Of so many accounts.
    pub(crate) fn of(accounts: i32) -> Self {
        let accounts = usize::try_from(accounts).unwrap_or(0);
        Self(vec![Acknowledged::default(); accounts])
    }

    pub(crate) fn book(&mut self, order: Order) {
        for (account, amount) in order.changes() {
            let place = usize::try_from(account - 1).ok();
            if let Some(account) = place.and_then(|place| self.0.get_mut(place)) {
                account.changes += 1;
                account.amount += amount;
            }
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, one) in self.0.iter_mut().zip(&other.0) {
            sum.changes += one.changes;
            sum.amount += one.amount;
        }
    }

    pub(crate) fn changes(&self) -> u64 {
        self.0.iter().map(|account| account.changes).sum()
    }

    pub(crate) fn faults(&self, books: &Books, journal: bool) -> Faults {
        let mut faults = Faults::default();
        for (account, balance) in self.0.iter().zip(&books.balances) {
            let difference = (account.amount - balance).unsigned_abs();
            if account.amount > *balance {
                faults.lost += difference;
            } else {
                faults.surplus += difference;
            }
        }
        faults.broken = journal.then(|| self.broken_links(books));
        faults
    }

    fn broken_links(&self, books: &Books) -> u64 {
        let mut chains: HashMap<i32, Vec<&Entry>> = HashMap::new();
        for entry in &books.journal {
            chains.entry(entry.account).or_default().push(entry);
        }
        let mut broken = 0;
        for ((id, account), end) in (1..).zip(&self.0).zip(&books.balances) {
            let chain = chains.remove(&id).unwrap_or_default();
            let (mut seq, mut balance) = (0, 0);
            for entry in &chain {
                let follows = (entry.seq, entry.balance) == (seq + 1, balance + entry.amount);
                broken += u64::from(!follows);
                (seq, balance) = (entry.seq, entry.balance);
            }
            broken += u64::from(balance != *end);
            broken += account.changes.abs_diff(chain.len() as u64);
        }
        broken
    }
}
