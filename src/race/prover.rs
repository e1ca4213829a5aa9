//! [`Race`]: the operations, and how they are played against each other.

use std::fmt::{Debug, Display};
use std::time::Duration;

use diesel::result::ConnectionResult;

use super::limits::{Deadline, Limits};
use super::pair::{Pair, Rival};
use super::player::{ended, Ended};
use super::proof::Proof;
use super::{RaceError, Watch};
use crate::connection::LockConnection;

pub(super) type Operation<'a, C> = Box<dyn Fn(&mut C) -> Ended + Send + Sync + 'a>;
type Comparing<'a> = Box<dyn Fn(&Ended) -> String + Send + Sync + 'a>;

/// An operation, and what may happen at the same time.
///
/// [`prove`](Self::prove) runs both serial orders, and then every interleaving in which one of two
/// operations happens between two statements of the other one: with the locking clauses of the
/// operation under test in, and once more with them taken out. See the [module](super) for a guide.
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
///     .setup(|conn| {
///         diesel::update(accounts::table).set(accounts::balance.eq(1_000)).execute(conn)
///     })
///     .prove(connect, |conn| accounts::table.select(accounts::balance).load::<i64>(conn))
///     .expect("a server")
///     .assert_cured();
/// # }
/// ```
#[must_use = "nothing is proven until `prove`"]
pub struct Race<'a, C> {
    pub(super) name: &'a str,
    pub(super) operation: Operation<'a, C>,
    pub(super) by_hand: Option<Operation<'a, C>>,
    rivals: Vec<(&'a str, Operation<'a, C>)>,
    pub(super) setup: Operation<'a, C>,
    pub(super) compared: Comparing<'a>,
    pub(super) limits: Limits,
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
    /// The operation under test: any code that uses this library, or Diesel alone, on the
    /// connection that it is given. It must not set an `Instrumentation` of its own, nor work on
    /// another connection.
    ///
    /// What it returns counts too: an interleaving in which it returns something else than in both
    /// serial orders, an error for instance, is not serial. [`comparing`](Self::comparing) says
    /// what of it counts.
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
            compared: Box::new(|result| format!("{result:?}")),
            limits: Limits::default(),
        }
    }

    /// What happens at the same time. May be called more than once: each is tried by itself, and
    /// has a verdict of its own ([`Proof::rivals`]). Without any, the operation races against
    /// itself.
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
    /// clause that could be taken out. One after the other it must do what the operation does.
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

    /// What is compared of a result: the value that `compared` makes of it, instead of all of it.
    /// `compared` is given the `Debug` of the returned value, or the `Display` of the error.
    ///
    /// For results that differ between orders that are equally right: a generated id, a time, a
    /// random token. The state is always compared whole, so `observe` must leave such values out.
    ///
    /// - `|result| result.is_ok()`: only whether an operation succeeds.
    /// - `|_| ()`: nothing, so only the state counts.
    /// - To compare a part of a value, let the operation return that part:
    ///   `|conn| place_order(conn).map(|order| order.amount)`.
    ///
    /// Compare as much as you can: an operation that may fail without being noticed can hide a
    /// race.
    ///
    /// # Example
    ///
    /// A transfer that returns the id of the entry it has written. Which of two transfers gets the
    /// smaller id does not depend on which of them gets the lock first.
    ///
    /// ```no_run
    /// # use diesel_row_lock::race::{Race, RaceError};
    /// # use diesel_row_lock::LockError;
    /// # type Conn = diesel::SqliteConnection;
    /// # fn transfer(_: &mut Conn) -> Result<i64, LockError> { Ok(1) }
    /// # fn reset(_: &mut Conn) -> Result<(), LockError> { Ok(()) }
    /// # fn balances(_: &mut Conn) -> Result<Vec<i64>, LockError> { Ok(Vec::new()) }
    /// # fn run(connect: impl Fn() -> diesel::ConnectionResult<Conn>) -> Result<(), RaceError> {
    /// Race::of("transfer", transfer)
    ///     .comparing(|result| result.is_ok())
    ///     .setup(reset)
    ///     .prove(connect, balances)?
    ///     .assert_cured();
    /// # Ok(())
    /// # }
    /// ```
    pub fn comparing<K, F>(self, compared: F) -> Self
    where
        K: Debug,
        F: Fn(Result<&str, &str>) -> K + Send + Sync + 'a,
    {
        let compared = move |result: &Ended| {
            let result = result.as_deref().map_err(String::as_str);
            format!("{:?}", compared(result))
        };
        Self {
            compared: Box::new(compared),
            ..self
        }
    }

    /// How long a session may neither go on nor be seen to wait for another one. 20 s unless set.
    pub fn deadline(mut self, patience: Duration) -> Self {
        self.limits.patience = patience;
        self
    }

    /// How long [`prove`](Self::prove) may take, all runs together. 5 minutes unless set.
    ///
    /// What `setup` and `observe` do is not interrupted.
    pub fn time_limit(mut self, time: Duration) -> Self {
        self.limits.time = time;
        self
    }

    /// How many statements an operation may send in one run. 1000 unless set.
    ///
    /// An operation that repeats a query until another session has changed something would
    /// otherwise go on for ever: the other one does not move meanwhile.
    pub fn statement_limit(mut self, statements: usize) -> Self {
        self.limits.statements = statements;
        self
    }

    /// Runs all of it.
    ///
    /// `connect` makes the connections, three at a time; on SQLite they need a file and a
    /// `busy_timeout`. `observe` reads the final state: all that must not depend on chance.
    ///
    /// # Errors
    ///
    /// [`RaceError`], if a run could not be brought to its end, or if the runs can't be compared.
    /// An operation that fails is part of the outcome, and no error.
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
        let end = Deadline::after(self.limits.time);
        let prove = |rival, proof: &mut Proof<O>| {
            let pair = Pair {
                race: &self,
                rival,
                end,
                connect: &connect,
                observe: &observe,
            };
            pair.prove(proof)
        };
        let name = format!("{} (2)", self.name);
        let mut proof = Proof::default();
        if self.rivals.is_empty() {
            prove(Rival::itself(&name), &mut proof)?;
        }
        for (name, operation) in &self.rivals {
            prove(Rival::other(name, operation), &mut proof)?;
        }
        Ok(proof)
    }
}
