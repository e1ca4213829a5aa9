//! Schedules in all the orders that their steps can come in.

use diesel_row_lock::bounds::LockBackend;
use diesel_row_lock::race::{Played, RaceError, Schedule, Steps, Watch};
use diesel_row_lock::LockConnection;

/// A schedule that was played in one of its orders.
pub(crate) struct InOrder<'s> {
    pub(crate) order: Vec<&'s str>,
    pub(crate) played: Played,
}

impl InOrder<'_> {
    /// Whether the steps come in this order.
    pub(crate) fn comes(&self, steps: &[&str]) -> bool {
        let places = steps.iter().map(|step| {
            let place = self.order.iter().position(|other| other == step);
            place.unwrap_or_else(|| panic!("no step {step:?} in {:?}", self.order))
        });
        places.is_sorted()
    }

    pub(crate) fn waited(&self, step: &str) -> bool {
        self.played.waited(step)
    }

    pub(crate) fn anyone_waited(&self) -> bool {
        self.order.iter().any(|step| self.waited(step))
    }

    pub(crate) fn ended(&self, session: &str) -> Result<&str, &str> {
        self.played.ended(session)
    }
}

impl std::fmt::Display for InOrder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}\n{}", self.order, self.played)
    }
}

/// Plays every order in which each session's own steps keep theirs, but for those that ask for a
/// step of a session which waits: they can't be.
pub(crate) fn in_every_order<'s, C>(
    schedule: &Schedule<'_, C>,
    connect: impl Fn() -> C,
    sessions: &[&[&'s str]],
) -> Vec<InOrder<'s>>
where
    C: LockConnection<Backend: Watch + LockBackend> + Send,
{
    let mut all = Vec::new();
    let mut dead_ends: Vec<Vec<&str>> = Vec::new();
    for order in orders_of(sessions) {
        if dead_ends.iter().any(|end| order.starts_with(end)) {
            continue;
        }
        match schedule.play(|| Ok(connect()), &order) {
            Ok(played) => all.push(InOrder { order, played }),
            Err(RaceError::OutOfTurn { asked, instead, .. }) if instead.contains("waits") => {
                let place = order.iter().position(|step| *step == asked).unwrap();
                dead_ends.push(order[..=place].to_vec());
            }
            Err(other) => panic!("{order:?}: {other}"),
        }
    }
    all
}

fn orders_of<'s>(sessions: &[&[&'s str]]) -> Vec<Vec<&'s str>> {
    if sessions.iter().all(|steps| steps.is_empty()) {
        return vec![Vec::new()];
    }
    let mut orders = Vec::new();
    for (who, steps) in sessions.iter().enumerate() {
        let [first, later @ ..] = steps else { continue };
        let mut left = sessions.to_vec();
        left[who] = later;
        for rest in orders_of(&left) {
            orders.push([&[*first], &*rest].concat());
        }
    }
    orders
}

/// A call that failed does not come to the step at its end. This takes it, so that the order is the
/// same.
pub(crate) fn or_step<T, E>(result: Result<T, E>, steps: &Steps, name: &str) -> Result<T, E> {
    if result.is_err() {
        steps.next(name);
    }
    result
}

#[test]
fn every_order_comes_once() {
    let orders = orders_of(&[&["a1", "a2"], &["b1", "b2"]]);
    let mut different = orders.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!((orders.len(), different.len()), (6, 6), "{orders:?}");
    assert!(orders.contains(&vec!["a1", "b1", "a2", "b2"]), "{orders:?}");
}

/// Puts the tables back to what they are at the start of a law.
macro_rules! reset {
    () => {
        |conn: &mut Conn| {
            diesel::connection::SimpleConnection::batch_execute(
                conn,
                "DELETE FROM entries; DELETE FROM accounts; \
                 INSERT INTO accounts VALUES \
                 (1, 'Ada', 1000), (2, 'Grace', 1000), (3, 'Barbara', 1000), (4, 'Radia', 1000)",
            )
        }
    };
}
pub(crate) use reset;

/// A session of the steps `lock` and `commit`: holds account 1 by `$lock` between the two, and
/// returns its balance.
macro_rules! holder {
    ($lock:expr) => {
        |conn: &mut Conn, steps: &Steps| {
            steps.next("lock");
            let held = $lock.with(
                conn,
                accounts::table.find(1),
                |_, account: Locked<Account>| {
                    steps.next("commit");
                    Ok::<_, LockError>(account.balance)
                },
            );
            or_step(held, steps, "commit")
        }
    };
}
pub(crate) use holder;

/// Locks account 1 by `$lock`, and lets it go with the transaction.
macro_rules! locks {
    ($conn:expr, $lock:expr) => {
        $lock.with(
            $conn,
            accounts::table.find(1),
            |_, account: Locked<Account>| Ok::<_, LockError>(account.balance),
        )
    };
}
pub(crate) use locks;
