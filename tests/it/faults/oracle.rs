//! What must be true after any run, whatever has failed in it: the word of the library about each
//! operation against the books.

use std::collections::HashMap;

use diesel_row_lock::Resolution;

use super::ledger::{Books, Entry, OPENING};
use super::workload::{Deed, End, Manner};

/// A sentence that is not true of the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Acknowledged, and not there.
    Lost,
    /// Acknowledged though its closure had swallowed an error, and not there.
    FalseOk,
    /// There, though it was said that nothing was applied, or by nobody's order.
    NotRefused,
    /// There, but not exactly once in each of its purses.
    NotOnce,
    /// Said to have broken out of its transaction, which no closure here does.
    Escape,
    /// Its token said something else.
    WrongResolution,
    /// The sum of all purses has changed.
    Money,
    /// A purse's entries do not follow from each other, or it is not what the last one says.
    BrokenChain,
    /// An error of a closure comes from a row that had changed before the call began.
    Stale,
    /// Two closures had the same purse at the same time, and both were committed.
    TwoHolders,
    /// Our own calls have run into each other, which an order of locking excludes.
    Deadlock,
    /// A call did not return.
    Hang,
    /// A session was not set as before.
    Leak,
}

#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    #[allow(dead_code, reason = "for whoever reads of it")]
    pub(crate) what: String,
}

/// Whether locks exclude each other. They do on one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Servers {
    One,
    /// Each with locks of its own; who loses is told so at `COMMIT`, by a deadlock.
    SeveralThatWrite,
}

pub(crate) fn violations(deeds: &[Deed], books: &Books, servers: Servers) -> Vec<Violation> {
    let mut found = Found::default();
    let mut present: HashMap<i64, Vec<&Entry>> = HashMap::new();
    for entry in &books.journal {
        present.entry(entry.op).or_default().push(entry);
    }
    for deed in deeds {
        found.ends(deed, present.contains_key(&deed.order.op));
    }
    found.operations(deeds, &present);
    found.purses(books);
    found.holders(deeds, &present);
    if servers == Servers::One {
        for deed in deeds.iter().filter(|deed| deed.deadlocks > 0) {
            found.add(Kind::Deadlock, format!("{deed:?}"));
        }
    }
    found.0
}

#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, kind: Kind, what: String) {
        self.0.push(Violation { kind, what });
    }

    /// The library's word about one operation.
    fn ends(&mut self, deed: &Deed, present: bool) {
        let kind = match (&deed.end, present) {
            (End::Acked, false) if deed.order.manner == Manner::Swallowing => Kind::FalseOk,
            (End::Acked, false) => Kind::Lost,
            (End::Refused(_), true) => Kind::NotRefused,
            (End::InDoubt(Some(Resolution::Committed)), false)
            | (End::InDoubt(Some(Resolution::NotCommitted)), true) => Kind::WrongResolution,
            (End::Escaped(_), _) => Kind::Escape,
            _ => return,
        };
        self.add(kind, format!("{deed:?}"));
    }

    fn operations(&mut self, deeds: &[Deed], present: &HashMap<i64, Vec<&Entry>>) {
        let orders: HashMap<_, _> = deeds.iter().map(|deed| (deed.order.op, deed)).collect();
        for (op, entries) in present {
            let Some(order) = orders.get(op).map(|deed| &deed.order) else {
                self.add(Kind::NotRefused, format!("nobody ordered {entries:?}"));
                continue;
            };
            let mut done: Vec<_> = entries
                .iter()
                .map(|entry| (entry.purse, entry.amount))
                .collect();
            let mut ordered = [(order.from, -order.amount), (order.to, order.amount)];
            done.sort_unstable();
            ordered.sort_unstable();
            if done != ordered {
                self.add(Kind::NotOnce, format!("{order:?}: {entries:?}"));
            }
        }
    }

    fn purses(&mut self, books: &Books) {
        let sum: i64 = books.purses.iter().map(|purse| purse.balance).sum();
        let opening = OPENING * i64::try_from(books.purses.len()).unwrap();
        if sum != opening {
            self.add(Kind::Money, format!("{opening} have become {sum}"));
        }
        for purse in &books.purses {
            let (mut seq, mut balance) = (0, OPENING);
            for entry in books.journal.iter().filter(|entry| entry.purse == purse.id) {
                if (entry.seq, entry.balance) != (seq + 1, balance + entry.amount) {
                    self.add(
                        Kind::BrokenChain,
                        format!("{seq}: {balance}, then {entry:?}"),
                    );
                }
                (seq, balance) = (entry.seq, entry.balance);
            }
            if (purse.seq, purse.balance) != (seq, balance) {
                self.add(
                    Kind::BrokenChain,
                    format!("{seq}: {balance}, but {purse:?}"),
                );
            }
        }
    }

    fn holders(&mut self, deeds: &[Deed], present: &HashMap<i64, Vec<&Entry>>) {
        let mut held: HashMap<i32, Vec<_>> = HashMap::new();
        for deed in deeds {
            let Some(interval) = deed.held.filter(|_| present.contains_key(&deed.order.op)) else {
                continue;
            };
            for purse in [deed.order.from, deed.order.to] {
                held.entry(purse).or_default().push((interval, deed));
            }
        }
        for (purse, mut holders) in held {
            holders.sort_unstable_by_key(|((start, _), _)| *start);
            for pair in holders.windows(2) {
                let [((_, end), first), ((start, _), second)] = pair else {
                    unreachable!("two at a time");
                };
                if start < end {
                    self.add(
                        Kind::TwoHolders,
                        format!("{purse}: {first:?} and {second:?}"),
                    );
                }
            }
        }
    }
}
