#![doc = include_str!("guide.md")]

mod limits;
mod pair;
mod player;
mod proof;
mod prover;
mod report;
mod schedule;
mod script;
mod stage;
mod unseen;
mod watch;

use std::time::Duration;

use diesel::result::{ConnectionError, Error as DieselError};

pub use self::player::Steps;
pub use self::proof::{Interleaving, Outcome, Proof, RivalProof, Verdict};
pub use self::prover::Race;
pub use self::schedule::{Played, Schedule};
pub use self::script::Script;
#[doc(hidden)]
pub use self::watch::{Seen, Watch};

/// Why a race could not be played to its end, or why its runs can't be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RaceError {
    /// No connection could be made.
    #[error("no connection: {0}")]
    Connect(#[source] ConnectionError),

    /// The set-up failed.
    #[error("the set-up failed: {0}")]
    Setup(String),

    /// The observation of the final state failed.
    #[error("the observation failed: {0}")]
    Observe(String),

    /// The server could not be asked who waits for whom. MySQL and MariaDB tell it only to users
    /// with the privilege `PROCESS`.
    #[error("the server does not say who waits for whom: {0}")]
    Watch(#[source] DieselError),

    /// A session neither went on nor waited for another one of the race.
    #[error("{player} did not go on within {after:?}; it was in: {step}\n{script}")]
    Stuck {
        /// The session.
        player: String,
        /// The statement that it was in.
        step: String,
        /// The deadline.
        after: Duration,
        /// What had been played by then.
        script: Script,
    },

    /// The time for all runs is over ([`Race::time_limit`], [`Schedule::time_limit`]).
    #[error("the time limit of {after:?} for all runs is over; {player} was in: {step}\n{script}")]
    TimeLimit {
        /// A session of the last run that had not ended.
        player: String,
        /// The statement that it was in.
        step: String,
        /// The limit.
        after: Duration,
        /// What had been played of the last run by then.
        script: Script,
    },

    /// A session sent too many statements in one run: perhaps it repeats a query until another one
    /// has changed something ([`Race::statement_limit`], [`Schedule::statement_limit`]).
    #[error(
        "{player} sent more than {limit} statements in one run; \
         does it poll for a change by the other session, which does not move meanwhile?\n{script}"
    )]
    StatementLimit {
        /// The session.
        player: String,
        /// The limit.
        limit: usize,
        /// What had been played by then.
        script: Script,
    },

    /// A session does work outside of the connection that it is given, which can't be played
    /// statement by statement.
    #[error(
        "{player} {work}, and only the statements of the connection that it is given \
         can be played; \
         give it that connection for all of its work\n{script}"
    )]
    HiddenWork {
        /// The session.
        player: String,
        /// What it does.
        work: &'static str,
        /// What had been played by then.
        script: Script,
    },

    /// The same serial order came to two outcomes, so nothing can be compared: the state or a
    /// result has a generated id, a time or a random value.
    #[error(
        "{first}, then {second} comes to two outcomes when it is run twice: \
         leave generated ids and times out of the observation, and out of the results \
         (`Race::comparing`), or reset them in the set-up\n  {}\n  {}", outcomes[0], outcomes[1]
    )]
    NotRepeatable {
        /// The operation that ran first.
        first: String,
        /// The other one.
        second: String,
        /// Both outcomes.
        outcomes: Box<[String; 2]>,
    },

    /// A serial order came to another outcome when the lock of the operation under test was taken
    /// out. Without its lock it is another operation, so its runs prove nothing of the lock.
    #[error(
        "{first}, then {second} comes to something else without the lock of the operation \
         under test, \
         although no session interferes\n  with it: {}\n  without it: {}", outcomes[0], outcomes[1]
    )]
    NotTheSameWithoutLock {
        /// The operation that ran first.
        first: String,
        /// The other one.
        second: String,
        /// The outcome with the lock, and without it.
        outcomes: Box<[String; 2]>,
    },

    /// A schedule names a step whose turn it was not.
    #[error("it is not the turn of step {asked:?}: {instead}\n{script}")]
    OutOfTurn {
        /// The step, with its session.
        asked: String,
        /// What the session did instead.
        instead: String,
        /// What had been played by then.
        script: Script,
    },
}
