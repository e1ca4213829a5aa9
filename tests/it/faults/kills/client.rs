//! A client of the storm: a process that makes calls, and says of each that it begins and how it
//! has ended.
//!
//! It is a process because a call that never returns can't be ended otherwise.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use diesel::r2d2::{ConnectionManager, NopErrorHandler, Pool};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_row_lock::{CommitToken, LockError, Outcome, Resolution};
use law::part;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::super::workload::resolve;
use super::pots::{queue, How, Saver, POTS};
use crate::support::child::{self, say};

/// What a client is told: its number and what it draws lots by.
pub(crate) const NUMBER: &str = "PART_NUMBER";
pub(crate) const SEED: &str = "PART_SEED";

#[part(postgres, mysql, mariadb)]
fn caller(url: String) {
    Client::<Conn>::told(&url).call(&How::OF_ONE_CONNECTION);
}

#[part(postgres, mysql, mariadb)]
fn planted(url: String) {
    Client::<Conn>::told(&url).call(&[How::Planted]);
}

#[part(mysql, mariadb)]
fn reader(url: String) {
    Client::<Conn>::told(&url).call(&[How::Reading]);
}

#[part(postgres, mysql, mariadb)]
fn queuer(url: String) {
    Client::<Conn>::told(&url).call_in_a_queue();
}

/// Set when the storm is over.
static OVER: AtomicBool = AtomicBool::new(false);

fn storm_lasts() -> bool {
    !OVER.load(Ordering::SeqCst)
}

struct Client<'u, C> {
    url: &'u str,
    number: u64,
    rng: StdRng,
    begun: Instant,
    conn: C,
    /// How the session was set when it began.
    settings: String,
}

impl<'u, C: Saver> Client<'u, C> {
    fn told(url: &'u str) -> Self {
        // Nothing is joined: at the end of the part the process ends.
        thread::spawn(|| {
            child::listen();
            OVER.store(true, Ordering::SeqCst);
        });
        let number: u64 = child::told(NUMBER);
        let seed: u64 = child::told(SEED);
        let (conn, settings) = open(url);
        Self {
            url,
            number,
            rng: StdRng::seed_from_u64(seed.wrapping_add(number)),
            begun: Instant::now(),
            conn,
            settings,
        }
    }

    fn call(mut self, hows: &[How]) {
        let mut calls = 0;
        while storm_lasts() {
            calls += 1;
            let op = format!("{}-{calls}", self.number);
            let how = *hows.choose(&mut self.rng).unwrap();
            let pots = hot_pots(&mut self.rng, self.begun);
            let token = CommitToken::new();
            begins(&op, how, pots);
            let result = match how {
                How::Planted => self.planted(pots[0], &op),
                _ => self.conn.call(how, pots, &op, token),
            };
            let told = result.is_ok();
            let resolve = || (how == How::Token).then(|| resolve::<C>(self.url, token));
            ended(&op, result, resolve);
            if !told {
                self.check(&op);
            }
        }
        say("done");
    }

    /// The session is as it was, if it is there.
    fn check(&mut self, op: &str) {
        for _ in 0..20 {
            // A look may be cancelled as well.
            if let Ok(settings) = self.conn.settings() {
                if settings != self.settings {
                    say(format_args!("{op} leaked {settings} not {}", self.settings));
                    (self.conn, self.settings) = open(self.url);
                }
                return;
            }
        }
        (self.conn, self.settings) = open(self.url);
    }

    /// By the rule that an error which is not a lost connection means that nothing was applied.
    fn planted(&mut self, pot: i32, op: &str) -> Result<(), LockError> {
        let work = self.conn.put_by_hand(pot, op);
        let result = work.and_then(|()| self.conn.batch_execute(C::END));
        result.map_err(|error| {
            (self.conn, self.settings) = open(self.url);
            match error {
                DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, _) => {
                    let source = error.into();
                    LockError::CommitUnknown { source }
                }
                error => LockError::Cancelled {
                    source: error.into(),
                },
            }
        })
    }

    fn call_in_a_queue(mut self) {
        let pool = Pool::builder()
            .max_size(3)
            .min_idle(Some(0))
            .error_handler(Box::new(NopErrorHandler))
            .build(ConnectionManager::<C>::new(self.url))
            .unwrap();
        let queue = &queue::<C>(pool);
        let calls = &AtomicU64::new(0);
        let (number, begun) = (self.number, self.begun);
        thread::scope(|scope| {
            for _ in 0..4 {
                let mut rng = StdRng::seed_from_u64(self.rng.random());
                scope.spawn(move || {
                    while storm_lasts() {
                        let op = format!("{number}-{}", calls.fetch_add(1, Ordering::SeqCst));
                        let pots = hot_pots(&mut rng, begun);
                        begins(&op, How::Queue, pots);
                        let result = C::update(queue, pots[0], op.clone());
                        ended(&op, result, || None);
                    }
                });
            }
        });
        say("done");
    }
}

/// A session that is set in its own way.
fn open<C: Saver>(url: &str) -> (C, String) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let opened = C::open(url).map_err(|error| error.to_string());
        let opened = opened.and_then(|mut conn| {
            let settings = conn.batch_execute(C::SETUP).and_then(|()| conn.settings());
            settings
                .map(|settings| (conn, settings))
                .map_err(|error| error.to_string())
        });
        match opened {
            Ok(opened) => return opened,
            Err(error) => assert!(Instant::now() < deadline, "no connection: {error}"),
        }
    }
}

/// Two of the four pots that all clients want now; the lower one first, so that nested calls do not
/// deadlock. They change, since their logs grow.
fn hot_pots(rng: &mut StdRng, begun: Instant) -> [i32; 2] {
    let places = POTS / 4;
    let quarter_seconds = i32::try_from(begun.elapsed().as_millis() / 250 % 1_000_000).unwrap();
    let first = quarter_seconds % places * 4 + 1;
    let lower = rng.random_range(0..3);
    [first + lower, first + rng.random_range(lower + 1..4)]
}

fn begins(op: &str, how: How, [pot, other]: [i32; 2]) {
    match how {
        How::Nested => say(format_args!("{op} begins {how:?} {pot} {other}")),
        How::Reading => say(format_args!("{op} begins {how:?}")),
        _ => say(format_args!("{op} begins {how:?} {pot}")),
    }
}

fn ended(op: &str, result: Result<(), LockError>, resolve: impl FnOnce() -> Option<Resolution>) {
    let Err(error) = result else {
        return say(format_args!("{op} ok"));
    };
    let why = format!("{error:?}").replace('\n', " ");
    match error.outcome() {
        Outcome::NotApplied => say(format_args!("{op} refused {why}")),
        Outcome::InDoubt => match resolve() {
            Some(Resolution::Committed) => say(format_args!("{op} doubt committed {why}")),
            Some(Resolution::NotCommitted) => say(format_args!("{op} doubt not {why}")),
            None => say(format_args!("{op} doubt unresolved {why}")),
        },
        _ => say(format_args!("{op} escaped {why}")),
    }
}
