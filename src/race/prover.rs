//! [`Race`]: the same two operations in every order of their steps.

use std::fmt::{Debug, Display};
use std::time::Duration;

use diesel::result::ConnectionResult;

use super::player::{ended, Ended, Part, Stops};
use super::report::{Interleaving, Outcome, Proof, Serial};
use super::stage::play;
use super::{RaceError, Script, Watch};
use crate::connection::LockConnection;
use crate::select::ablation::without_locks;

type Operation<'a, C> = Box<dyn Fn(&mut C) -> Ended + Send + Sync + 'a>;

/// An operation, and what may happen at the same time.
///
/// [`prove`](Self::prove) runs both serial orders, and then every interleaving in which the other
/// operation happens between two statements of this one: with its locking clauses in, and once more
/// with them taken out. See the [module](super) for a guide.
///
/// # Example
///
/// ```
/// # include!("../doctest_setup.rs");
/// use diesel_row_lock::race::Race;
/// use diesel_row_lock::{with_row_lock, LockError, Locked};
///
/// fn add(conn: &mut SqliteConnection, amount: i64) -> Result<(), LockError> {
///     with_row_lock(conn, accounts::table.find(1), |conn, mut account: Locked<Account>| {
///         account.balance += amount;
///         account.save_changes::<Account>(conn)?;
///         Ok(())
///     })
/// }
///
/// # fn main() {
/// # let folder = tempfile::tempdir().expect("a folder");
/// # let _tables = establish_two_connections(folder.path());
/// # let file = folder.path().join("bank.db").display().to_string();
/// # let connect = || {
/// #     use diesel::connection::SimpleConnection;
/// #     let mut conn = SqliteConnection::establish(&file)?;
/// #     conn.batch_execute("PRAGMA busy_timeout = 5000").expect("a timeout");
/// #     Ok(conn)
/// # };
/// Race::of("deposit", |conn| add(conn, 100))
///     .against("withdrawal", |conn| add(conn, -100))
///     .setup(|conn| diesel::update(accounts::table).set(accounts::balance.eq(1_000)).execute(conn))
///     .prove(connect, |conn| accounts::table.select(accounts::balance).load::<i64>(conn))
///     .expect("a server")
///     .assert_cured();
/// # }
/// ```
#[must_use = "nothing is proven until `prove`"]
pub struct Race<'a, C> {
    name: &'a str,
    operation: Operation<'a, C>,
    by_hand: Option<Operation<'a, C>>,
    rivals: Vec<(&'a str, Operation<'a, C>)>,
    setup: Operation<'a, C>,
    patience: Duration,
}

impl<C> Debug for Race<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rivals: Vec<_> = self.rivals.iter().map(|(name, _)| name).collect();
        f.debug_struct("Race")
            .field("operation", &self.name)
            .field("rivals", &rivals)
            .finish_non_exhaustive()
    }
}

impl<'a, C> Race<'a, C>
where
    C: LockConnection<Backend: Watch> + Send + 'a,
{
    /// The operation under test: any code that uses this library, or Diesel alone, on the connection
    /// that it is given. It must not set an `Instrumentation` of its own.
    ///
    /// What it returns counts too: an interleaving in which it returns something else than in both
    /// serial orders, an error for instance, is not serial.
    pub fn of<T, E, F>(name: &'a str, operation: F) -> Self
    where
        T: Debug,
        E: Display,
        F: Fn(&mut C) -> Result<T, E> + Send + Sync + 'a,
    {
        Self {
            name,
            operation: Box::new(move |conn| ended(operation(conn))),
            by_hand: None,
            rivals: Vec::new(),
            setup: Box::new(|_| Ok(String::new())),
            patience: Duration::from_secs(20),
        }
    }

    /// What happens at the same time. May be called more than once: each is tried by itself. Without
    /// any, the operation races against itself.
    pub fn against<T, E, F>(mut self, name: &'a str, operation: F) -> Self
    where
        T: Debug,
        E: Display,
        F: Fn(&mut C) -> Result<T, E> + Send + Sync + 'a,
    {
        self.rivals
            .push((name, Box::new(move |conn| ended(operation(conn)))));
        self
    }

    /// Makes the initial state, before each run.
    pub fn setup<T, E, F>(self, setup: F) -> Self
    where
        T: Debug,
        E: Display,
        F: Fn(&mut C) -> Result<T, E> + Send + Sync + 'a,
    {
        Self {
            setup: Box::new(move |conn| ended(setup(conn))),
            ..self
        }
    }

    /// The operation without its lock, for one that does not lock by this library: there is then no
    /// clause that could be taken out.
    pub fn without_lock<T, E, F>(self, operation: F) -> Self
    where
        T: Debug,
        E: Display,
        F: Fn(&mut C) -> Result<T, E> + Send + Sync + 'a,
    {
        Self {
            by_hand: Some(Box::new(move |conn| ended(operation(conn)))),
            ..self
        }
    }

    /// How long a session may neither go on nor be seen to wait for another one. 20 s unless set.
    pub fn deadline(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Runs all of it.
    ///
    /// `connect` makes the connections, three at a time; on SQLite they need a file and a
    /// `busy_timeout`. `observe` reads the final state: whatever must not depend on luck.
    ///
    /// # Errors
    ///
    /// [`RaceError`], if a run could not be brought to its end. An operation that fails is part of the
    /// outcome, and no error.
    pub fn prove<O, E>(
        self,
        connect: impl Fn() -> ConnectionResult<C>,
        observe: impl Fn(&mut C) -> Result<O, E>,
    ) -> Result<Proof<O>, RaceError>
    where
        O: Eq + Debug,
        E: Display,
    {
        let observe =
            |conn: &mut C| observe(conn).map_err(|error| RaceError::Observe(error.to_string()));
        let itself = [(self.name, &self.operation)];
        let rivals: Vec<_> = match &*self.rivals {
            [] => itself.into_iter().collect(),
            rivals => rivals.iter().map(|(name, rival)| (*name, rival)).collect(),
        };
        let mut proof = Proof::default();
        for (name, rival) in rivals {
            let pair = Pair {
                race: &self,
                rival: Rival {
                    name,
                    operation: rival,
                },
                connect: &connect,
                observe: &observe,
            };
            pair.prove(&mut proof)?;
        }
        Ok(proof)
    }
}

struct Rival<'p, 'a, C> {
    name: &'p str,
    operation: &'p Operation<'a, C>,
}

/// The operation and one of its rivals.
struct Pair<'p, 'a, C, O> {
    race: &'p Race<'a, C>,
    rival: Rival<'p, 'a, C>,
    connect: &'p dyn Fn() -> ConnectionResult<C>,
    observe: &'p dyn Fn(&mut C) -> Result<O, RaceError>,
}

/// When the rival comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comes {
    First,
    /// After so many statements of the operation.
    After(usize),
    Last,
}

/// The players by number.
const OPERATION: usize = 0;
const RIVAL: usize = 1;

struct Run<O> {
    outcome: Outcome<O>,
    script: Script,
    /// The operation's statement that the rival came before; `None` if it had ended by then.
    before: Option<String>,
}

impl<C, O> Pair<'_, '_, C, O>
where
    C: LockConnection<Backend: Watch> + Send,
    O: Eq + Debug,
{
    fn prove(&self, proof: &mut Proof<O>) -> Result<(), RaceError> {
        let names = [self.race.name.to_owned(), self.rival.name.to_owned()];
        let serial = Serial {
            names: names.clone(),
            outcomes: [
                self.run(Comes::Last, true)?.outcome,
                self.run(Comes::First, true)?.outcome,
            ],
        };
        let number = proof.add_serial(serial);
        for locked in [true, false] {
            // Before its first statement, and after its last one, would be serial.
            for statements in 1.. {
                let run = self.run(Comes::After(statements), locked)?;
                let Some(before) = run.before else { break };
                proof.add(Interleaving {
                    pair: number,
                    before,
                    locked,
                    outcome: run.outcome,
                    script: run.script,
                });
            }
        }
        Ok(())
    }

    fn run(&self, comes: Comes, locked: bool) -> Result<Run<O>, RaceError> {
        let mut watcher = (self.connect)().map_err(RaceError::Connect)?;
        (self.race.setup)(&mut watcher).map_err(RaceError::Setup)?;
        let mut before = None;
        let (script, ended) = play(
            self.connect,
            &mut watcher,
            self.race.patience,
            self.parts(locked),
            |director| {
                if comes == Comes::First {
                    return director.go(RIVAL);
                }
                director.go(OPERATION)?;
                let mut sent = 0;
                while director.stands(OPERATION).is_some() && comes != Comes::After(sent) {
                    director.go(OPERATION)?;
                    sent += 1;
                }
                before = director.stands(OPERATION).map(str::to_owned);
                director.go(RIVAL)
            },
        )?;
        Ok(Run {
            outcome: Outcome {
                state: (self.observe)(&mut watcher)?,
                results: ended,
            },
            script,
            before,
        })
    }

    fn parts(&self, locked: bool) -> Vec<Part<'_, C>> {
        let operation = match &self.race.by_hand {
            Some(by_hand) if !locked => by_hand,
            _ => &self.race.operation,
        };
        let rival = self.rival.operation;
        vec![
            Part {
                name: self.race.name,
                stops: Stops::BeforeEveryStatement,
                play: Box::new(move |conn, _| {
                    if locked {
                        operation(conn)
                    } else {
                        without_locks(|| operation(conn))
                    }
                }),
            },
            Part {
                name: self.rival.name,
                stops: Stops::Nowhere,
                play: Box::new(move |conn, _| rival(conn)),
            },
        ]
    }
}
