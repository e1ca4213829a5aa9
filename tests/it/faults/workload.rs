//! A day at the bank: tellers in parallel who carry money from purse to purse through locked
//! calls, while the world around them fails, and who write down how each call ended.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use diesel_row_lock::{CommitToken, LockError, Outcome, Resolution, Retry, RetryCause, Retryable};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::day::Day;
use super::ledger::{Call, Entry, Purse, Refusal, Teller};
use super::seed;
use crate::support::wait_until;

/// So long a teller waits before it asks again a server that doesn't answer.
const PAUSE: Duration = Duration::from_millis(5);

/// One transfer, as the teller was told to do it.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) op: i64,
    pub(crate) from: i32,
    pub(crate) to: i32,
    pub(crate) amount: i64,
    pub(crate) manner: Manner,
    pub(crate) again: bool,
}

/// What the closure does beside its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Plainly,
    /// Holds the lock a little.
    Slowly,
    /// Returns an error of its own at the end.
    Regretting,
    Panicking,
    /// Ignores that a statement failed, and returns `Ok`.
    Swallowing,
}

impl Manner {
    const ALL: [Self; 4] = [
        Self::Slowly,
        Self::Regretting,
        Self::Panicking,
        Self::Swallowing,
    ];
}

/// How an operation ended, by the library's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Acked,
    /// Nothing was applied.
    Refused(String),
    /// And what its token said; nothing if nobody asked.
    InDoubt(Option<Resolution>),
    Escaped(String),
}

/// An operation that is over.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    pub(crate) order: Order,
    pub(crate) end: End,
    /// From the first to the last moment of the closure's last run.
    pub(crate) held: Option<(Instant, Instant)>,
    /// How often the server ended it to break a deadlock.
    pub(crate) deadlocks: u64,
}

/// What a teller does who is told that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InDoubt {
    /// Asks the token.
    Resolves,
    /// A planted bug: does it once more.
    TriesAgain,
    /// A planted bug: says that it was not done.
    CallsItRefused,
}

/// Who works in which way, and where.
pub(crate) struct Bank<C> {
    /// Where a commit in doubt is resolved, and where the books are read in the end.
    pub(crate) office: String,
    /// Where the tellers work, by turns.
    pub(crate) counters: Vec<String>,
    pub(crate) tellers: u64,
    pub(crate) purses: i32,
    pub(crate) seed: u64,
    /// What one operation in five does beside its work; drawn by lot.
    pub(crate) manners: Vec<Manner>,
    pub(crate) call: Call<C>,
    pub(crate) in_doubt: InDoubt,
}

impl<C: Teller> Bank<C> {
    /// A bank in an empty database.
    pub(crate) fn at(url: &str) -> Self {
        let bank = Self::in_process(url, seed());
        let mut conn = C::open(url).unwrap();
        conn.found(bank.purses).unwrap();
        bank
    }

    /// A bank whose tables are there.
    pub(crate) fn in_process(url: &str, seed: u64) -> Self {
        Self {
            office: url.to_owned(),
            counters: vec![url.to_owned()],
            tellers: 4,
            purses: 4,
            seed,
            manners: Manner::ALL.to_vec(),
            call: C::locked,
            in_doubt: InDoubt::Resolves,
        }
    }

    /// Lets the tellers work until `faults` is over, which says how many there were.
    pub(crate) fn day(&self, faults: impl FnOnce(&Progress) -> u64) -> Day {
        let (deeds, faults) = self.work_while(faults);
        Day::closed(self, deeds, faults)
    }

    fn work_while<R>(&self, faults: impl FnOnce(&Progress) -> R) -> (Vec<Deed>, R) {
        let progress = Progress::default();
        thread::scope(|scope| {
            let tellers: Vec<_> = (0..self.tellers)
                .zip(self.counters.iter().cycle())
                .map(|(number, counter)| {
                    let progress = &progress;
                    scope.spawn(move || self.serve(number, counter, progress))
                })
                .collect();
            // Also if it panics, or nobody would ever go home.
            let faults = panic::catch_unwind(AssertUnwindSafe(|| faults(&progress)));
            progress.closing.store(true, Ordering::SeqCst);
            let deeds = tellers
                .into_iter()
                .flat_map(|teller| teller.join().unwrap())
                .collect();
            (
                deeds,
                faults.unwrap_or_else(|panic| panic::resume_unwind(panic)),
            )
        })
    }

    fn serve(&self, number: u64, counter: &str, progress: &Progress) -> Vec<Deed> {
        let mut desk = Desk::new(self, counter, number);
        let mut deeds = Vec::new();
        while !progress.closing.load(Ordering::SeqCst) {
            let order = desk.next_order();
            if let Some(deed) = desk.carry_out(order) {
                progress.count(&deed);
                deeds.push(deed);
            } else {
                progress.unconnected.fetch_add(1, Ordering::SeqCst);
            }
        }
        deeds
    }
}

/// How far the tellers are.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    closing: AtomicBool,
    acked: AtomicU64,
    refused: AtomicU64,
    unconnected: AtomicU64,
    deadlocks: AtomicU64,
}

impl Progress {
    pub(crate) fn deadlocks(&self) -> u64 {
        self.deadlocks.load(Ordering::SeqCst)
    }

    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Ordering::SeqCst)
    }

    /// Waits until so many more are acknowledged.
    pub(crate) fn work_goes_on(&self, more: u64) {
        let enough = self.acked() + more;
        wait_until("work goes on", PAUSE, || self.acked() >= enough);
    }

    /// How often a server did not take a connection.
    pub(crate) fn unconnected(&self) -> u64 {
        self.unconnected.load(Ordering::SeqCst)
    }

    /// How often a call did not do what it was to do.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    fn count(&self, deed: &Deed) {
        self.deadlocks.fetch_add(deed.deadlocks, Ordering::SeqCst);
        match deed.end {
            End::Acked => self.acked.fetch_add(1, Ordering::SeqCst),
            End::Refused(_) | End::Escaped(_) => self.refused.fetch_add(1, Ordering::SeqCst),
            End::InDoubt(_) => 0,
        };
    }
}

/// One teller's.
pub(crate) struct Desk<'b, C> {
    bank: &'b Bank<C>,
    counter: &'b str,
    number: u64,
    orders: i64,
    rng: StdRng,
    conn: Option<C>,
}

impl<'b, C: Teller> Desk<'b, C> {
    pub(crate) fn new(bank: &'b Bank<C>, counter: &'b str, number: u64) -> Self {
        Self {
            bank,
            counter,
            number,
            orders: 0,
            rng: StdRng::seed_from_u64(bank.seed.wrapping_add(number)),
            conn: None,
        }
    }

    pub(crate) fn next_order(&mut self) -> Order {
        self.orders += 1;
        let rng = &mut self.rng;
        let from = rng.random_range(1..=self.bank.purses);
        let step = rng.random_range(1..self.bank.purses);
        Order {
            op: i64::try_from(self.number).unwrap() * 10_000_000 + self.orders,
            from,
            to: (from + step - 1) % self.bank.purses + 1,
            amount: rng.random_range(1..100),
            manner: match rng.random_ratio(1, 5) {
                true => self.bank.manners.choose(rng).copied(),
                false => None,
            }
            .unwrap_or(Manner::Plainly),
            again: rng.random(),
        }
    }

    pub(crate) fn connect(&mut self) -> Option<&mut C> {
        if self.conn.is_none() {
            self.conn = C::open(self.counter).ok();
        }
        self.conn.as_mut()
    }

    /// `None` if there is no connection to be had, so that nothing was done.
    pub(crate) fn carry_out(&mut self, order: Order) -> Option<Deed> {
        self.carry_out_with(order, CommitToken::new())
    }

    pub(crate) fn carry_out_with(&mut self, order: Order, token: CommitToken) -> Option<Deed> {
        let call = self.bank.call;
        let Some(conn) = self.connect() else {
            thread::sleep(PAUSE);
            return None;
        };
        let mut held = None;
        let deadlocks = Arc::new(AtomicU64::new(0));
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            let again = order.again.then(|| policy(&deadlocks));
            let mut work = |conn: &mut C, purses: Vec<Purse>| {
                let start = Instant::now();
                let result = transfer(conn, &order, purses);
                held = Some((start, Instant::now()));
                result
            };
            call(conn, [order.from, order.to], token, again, &mut work)
        }));
        if let Ok(Err(refusal)) = &result {
            let retries_ended = matches!(
                refusal,
                Refusal::Lock(LockError::RetriesExhausted {
                    last: RetryCause::Deadlock,
                    ..
                })
            );
            if retries_ended || refusal.retry_cause() == Some(RetryCause::Deadlock) {
                deadlocks.fetch_add(1, Ordering::SeqCst);
            }
        }
        let end = match result {
            Ok(Ok(())) => End::Acked,
            Ok(Err(refusal)) => self.told(refusal, &order, token),
            Err(panic) if panic.is::<Manner>() => End::Refused("panic".to_owned()),
            Err(panic) => panic::resume_unwind(panic),
        };
        Some(Deed {
            order,
            end,
            held,
            deadlocks: deadlocks.load(Ordering::SeqCst),
        })
    }

    /// What the teller makes of a refusal.
    fn told(&mut self, refusal: Refusal, order: &Order, token: CommitToken) -> End {
        let why = format!("{refusal:?}");
        let Refusal::Lock(error) = refusal else {
            return End::Refused(why);
        };
        if matches!(
            error,
            LockError::ConnectionLost { .. } | LockError::CommitUnknown { .. }
        ) {
            self.conn = None;
        }
        match (error.outcome(), self.bank.in_doubt) {
            (Outcome::NotApplied, _) => End::Refused(why),
            (Outcome::InDoubt, InDoubt::Resolves) => {
                End::InDoubt(Some(resolve::<C>(&self.bank.office, token)))
            }
            (Outcome::InDoubt, InDoubt::CallsItRefused) => End::Refused(why),
            (Outcome::InDoubt, InDoubt::TriesAgain) => loop {
                if let Some(deed) = self.carry_out(order.clone()) {
                    return deed.end;
                }
            },
            (_, _) => End::Escaped(why),
        }
    }
}

/// Tries often: on a cluster of servers that take writes each, deadlocks are in the nature of it.
fn policy(deadlocks: &Arc<AtomicU64>) -> Retry {
    let deadlocks = Arc::clone(deadlocks);
    Retry::new()
        .attempts(20)
        .pauses(Duration::from_millis(1), Duration::from_millis(50))
        .on_retry(move |failed| {
            if failed.cause == RetryCause::Deadlock {
                deadlocks.fetch_add(1, Ordering::SeqCst);
            }
        })
}

/// Asks until there is an answer.
pub(crate) fn resolve<C: Teller>(office: &str, token: CommitToken) -> Resolution {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = C::open(office)
            .map_err(|error| error.to_string())
            .and_then(|mut conn| token.resolve(&mut conn).map_err(|error| error.to_string()));
        match answer {
            Ok(resolution) => return resolution,
            Err(error) => assert!(Instant::now() < deadline, "no resolution: {error}"),
        }
        thread::sleep(PAUSE);
    }
}

/// The closure.
fn transfer<C: Teller>(conn: &mut C, order: &Order, purses: Vec<Purse>) -> Result<(), Refusal> {
    for (mut purse, amount) in purses.into_iter().zip([-order.amount, order.amount]) {
        purse.balance += amount;
        purse.seq += 1;
        let entry = Entry {
            id: rand::random(),
            op: order.op,
            purse: purse.id,
            seq: purse.seq,
            amount,
            balance: purse.balance,
        };
        conn.write(&purse, &entry)?;
    }
    match order.manner {
        Manner::Plainly => Ok(()),
        Manner::Slowly => {
            thread::sleep(Duration::from_millis(2));
            Ok(())
        }
        Manner::Regretting => Err(Refusal::Own),
        // Not `panic!`, which would print a message for each.
        Manner::Panicking => panic::resume_unwind(Box::new(order.manner)),
        Manner::Swallowing => {
            let _ = conn.fail();
            Ok(())
        }
    }
}
