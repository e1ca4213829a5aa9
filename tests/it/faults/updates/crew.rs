//! A crew of threads that call, and write down what they are told.

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use diesel::r2d2::{ConnectionManager, NopErrorHandler, Pool};
use diesel_row_lock::Outcome;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::super::kills::pots::{queue, Change, Pot, Queue, Refused, Saver, Seen, POTS};
use super::super::seed;
use super::super::workload::InDoubt;
use super::day::Day;
use crate::support::wait_until;

const PAUSE: Duration = Duration::from_millis(5);

/// What one thread calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    UpdateRow,
    Queue,
    /// A session of another program: `BEGIN`, lock, change, `COMMIT`.
    Foreign,
    /// A planted bug: reads, changes, writes without a condition.
    Unconditional,
    /// A planted bug: returns `Ok` and then sends the statement.
    AnsweredEarly,
    /// A planted bug: returns the error of a closure for the row of an earlier call.
    StaleErr,
}

impl Call {
    pub(crate) const UPDATE_ROW: [Self; 4] = [
        Self::UpdateRow,
        Self::UpdateRow,
        Self::UpdateRow,
        Self::Foreign,
    ];
    pub(crate) const QUEUE: [Self; 7] = [
        Self::Queue,
        Self::Queue,
        Self::Queue,
        Self::Queue,
        Self::Queue,
        Self::Queue,
        Self::Foreign,
    ];
}

/// What a closure does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Plainly,
    /// Returns an error of its own.
    Regretting,
    Panicking,
    /// Makes a row that the database refuses.
    Forbidden,
}

/// One call, as its thread saw it.
#[derive(Debug)]
pub(crate) struct Deed {
    pub(crate) op: String,
    pub(crate) pot: i32,
    pub(crate) call: Call,
    pub(crate) end: End,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Acked(Seen),
    /// The closure's own error.
    Regretted(Seen),
    /// Nothing was applied.
    Refused(String),
    InDoubt,
    /// No call of the crew ends its transaction itself.
    Escaped(String),
}

impl Deed {
    pub(crate) fn begin(op: &str, pot: i32, call: Call) -> Self {
        let now = Instant::now();
        Self {
            op: op.to_owned(),
            pot,
            call,
            end: End::InDoubt,
            begun: now,
            ended: now,
        }
    }

    pub(crate) fn ends(&mut self, end: impl Into<End>) {
        self.end = end.into();
        self.ended = Instant::now();
    }
}

impl From<Result<Seen, Refused>> for End {
    fn from(result: Result<Seen, Refused>) -> Self {
        match result {
            Ok(seen) => Self::Acked(seen),
            Err(Refused::Own(seen)) => Self::Regretted(seen),
            Err(Refused::Lock(error)) => {
                let why = format!("{error:?}");
                match error.outcome() {
                    Outcome::NotApplied => Self::Refused(why),
                    Outcome::InDoubt => Self::InDoubt,
                    _ => Self::Escaped(why),
                }
            }
        }
    }
}

/// The workers and their server.
pub(crate) struct Crew {
    /// Where the calls go.
    pub(crate) counter: String,
    /// Where the pots are read in the end.
    pub(crate) office: String,
    /// By which the server knows the crew's sessions.
    pub(crate) name: String,
    pub(crate) calls: Vec<Call>,
    pub(crate) in_doubt: InDoubt,
    pub(crate) seed: u64,
}

impl Crew {
    /// A crew on a database that has no pots yet.
    pub(crate) fn at<C: Saver>(url: &str, name: &str, calls: &[Call]) -> Self {
        C::open(url).unwrap().found_pots().unwrap();
        Self {
            counter: url.to_owned(),
            office: url.to_owned(),
            name: name.to_owned(),
            calls: calls.to_vec(),
            in_doubt: InDoubt::Resolves,
            seed: seed(),
        }
    }

    /// Lets the crew work until `faults` is over, which says how many there were.
    pub(crate) fn day<C: Saver>(&self, faults: impl FnOnce(&Progress) -> u64) -> Day {
        let progress = Progress::default();
        let queue = self.queue::<C>();
        let (deeds, faults) = thread::scope(|scope| {
            let hands: Vec<_> = (1..)
                .zip(&self.calls)
                .map(|(number, call)| {
                    let (queue, progress) = (&queue, &progress);
                    scope.spawn(move || Hand::new(self, number, *call, queue).work(progress))
                })
                .collect();
            // Also if it panics, or the crew would never stop.
            let faults = panic::catch_unwind(AssertUnwindSafe(|| faults(&progress)));
            progress.closing.store(true, SeqCst);
            let deeds = hands
                .into_iter()
                .flat_map(|hand| hand.join().unwrap())
                .collect();
            let faults = faults.unwrap_or_else(|panic| panic::resume_unwind(panic));
            (deeds, faults)
        });
        drop(queue);
        Day::closed::<C>(self, deeds, faults)
    }

    pub(crate) fn queue<C: Saver>(&self) -> Queue<C> {
        queue(self.pool())
    }

    pub(crate) fn pool<C: Saver>(&self) -> Pool<ConnectionManager<C>> {
        let pool = Pool::builder()
            .max_size(3)
            .min_idle(Some(0))
            .connection_timeout(Duration::from_secs(2))
            .error_handler(Box::new(NopErrorHandler))
            .build(ConnectionManager::<C>::new(&self.counter));
        pool.unwrap()
    }
}

/// How far the crew is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    closing: AtomicBool,
    acked: AtomicU64,
}

impl Progress {
    /// Waits until this number of further calls of the library is acknowledged.
    pub(crate) fn work_goes_on(&self, more: u64) {
        let enough = self.acked.load(SeqCst) + more;
        wait_until("work goes on", PAUSE, || self.acked.load(SeqCst) >= enough);
    }
}

/// One thread's.
pub(crate) struct Hand<'c, C: Saver> {
    crew: &'c Crew,
    number: u64,
    call: Call,
    queue: &'c Queue<C>,
    begun: Instant,
    calls: u64,
    rng: StdRng,
    conn: Option<C>,
    /// The rows of earlier calls, for a planted bug.
    kept: HashMap<i32, Pot>,
}

impl<'c, C: Saver> Hand<'c, C> {
    pub(crate) fn new(crew: &'c Crew, number: u64, call: Call, queue: &'c Queue<C>) -> Self {
        Self {
            crew,
            number,
            call,
            queue,
            begun: Instant::now(),
            calls: 0,
            rng: StdRng::seed_from_u64(crew.seed.wrapping_add(number)),
            conn: None,
            kept: HashMap::new(),
        }
    }

    fn work(mut self, progress: &Progress) -> Vec<Deed> {
        let mut deeds = Vec::new();
        while !progress.closing.load(SeqCst) {
            let manner = match self.rng.random_range(0..20) {
                0 => Manner::Regretting,
                1 => Manner::Panicking,
                2 => Manner::Forbidden,
                _ => Manner::Plainly,
            };
            let pot = self.hot_pot();
            let Some(deed) = self.carry_out(pot, manner) else {
                // No connection.
                thread::sleep(PAUSE);
                continue;
            };
            let foreign = deed.call == Call::Foreign;
            if !foreign && matches!(deed.end, End::Acked(_)) {
                progress.acked.fetch_add(1, SeqCst);
            }
            deeds.push(deed);
            if foreign {
                // Without a pause it would leave the others no row that is still what they read.
                thread::sleep(Duration::from_micros(self.rng.random_range(0..2_000)));
            }
        }
        deeds
    }

    /// One of the two pots that all want now. They change, since their logs grow.
    fn hot_pot(&mut self) -> i32 {
        let places = u128::try_from(POTS / 2).unwrap();
        let place = i32::try_from(self.begun.elapsed().as_millis() / 250 % places).unwrap();
        let ours = [2 * place + 1, 2 * place + 2];
        *ours.choose(&mut self.rng).unwrap()
    }

    pub(crate) fn plainly(&mut self, pot: i32) -> Option<Deed> {
        self.carry_out(pot, Manner::Plainly)
    }

    fn carry_out(&mut self, pot: i32, manner: Manner) -> Option<Deed> {
        self.calls += 1;
        // `!` is what the database refuses.
        let mark = if manner == Manner::Forbidden { "!" } else { "" };
        let op = format!("{}-{}{mark}", self.number, self.calls);
        let mut deed = Deed::begin(&op, pot, self.call);
        loop {
            let end = match self.try_once(pot, &op, manner)? {
                Ok(result) => End::from(result),
                Err(panic) if panic.is::<Manner>() => End::Refused("panic".to_owned()),
                Err(panic) => panic::resume_unwind(panic),
            };
            match (&end, self.crew.in_doubt) {
                (End::InDoubt, InDoubt::TriesAgain) => continue,
                (End::InDoubt, InDoubt::CallsItRefused) => deed.ends(End::Refused("?".to_owned())),
                _ => deed.ends(end),
            }
            return Some(deed);
        }
    }

    /// `None` if there is no connection, so that nothing was done.
    fn try_once(
        &mut self,
        pot: i32,
        op: &str,
        manner: Manner,
    ) -> Option<thread::Result<Result<Seen, Refused>>> {
        let change = change(op.to_owned(), manner);
        let work = AssertUnwindSafe(|| {
            if self.call == Call::Queue {
                return Some(C::update_in(self.queue, pot, change));
            }
            let call = self.call;
            let mut kept = std::mem::take(&mut self.kept);
            let result = make(self.connect()?, call, pot, change, &mut kept);
            self.kept = kept;
            if matches!(result, Err(Refused::Lock(_))) {
                // Of no use, or soon replaced.
                self.conn = None;
            }
            Some(result)
        });
        panic::catch_unwind(work).transpose()
    }

    pub(crate) fn connect(&mut self) -> Option<&mut C> {
        if self.conn.is_none() {
            self.conn = C::open(&self.crew.counter).ok();
        }
        self.conn.as_mut()
    }
}

fn change(op: String, manner: Manner) -> Box<Change> {
    Box::new(move |pot: &mut Pot| {
        let seen = Seen::of(&pot.log);
        pot.put(&op);
        match manner {
            Manner::Plainly | Manner::Forbidden => Ok(seen),
            Manner::Regretting => Err(Refused::Own(seen)),
            // Not `panic!`, which would print a message for each.
            Manner::Panicking => panic::resume_unwind(Box::new(manner)),
        }
    })
}

fn make<C: Saver>(
    conn: &mut C,
    call: Call,
    pot: i32,
    mut change: Box<Change>,
    kept: &mut HashMap<i32, Pot>,
) -> Result<Seen, Refused> {
    match call {
        Call::UpdateRow => conn.update_row(pot, &mut *change),
        Call::Foreign => conn.change_under_lock(pot, &mut *change),
        Call::StaleErr => {
            let row = conn.read(pot)?;
            let mut stale = kept.insert(pot, row.clone()).unwrap_or(row);
            change(&mut stale)?;
            conn.update_row(pot, &mut *change)
        }
        Call::Unconditional | Call::AnsweredEarly => {
            let mut row = conn.read(pot)?;
            let seen = change(&mut row)?;
            let written = conn.write_pot(&row);
            if call == Call::Unconditional {
                written?;
            }
            Ok(seen)
        }
        Call::Queue => unreachable!("without a connection"),
    }
}
