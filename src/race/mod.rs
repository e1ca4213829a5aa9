#![doc = include_str!("guide.md")]

mod player;
mod prover;
mod report;
mod schedule;
mod script;
mod stage;
mod watch;

use std::time::Duration;

use diesel::result::{ConnectionError, Error as DieselError};

pub use self::player::{Ended, Steps};
pub use self::prover::Race;
pub use self::report::{Interleaving, Outcome, Proof, Verdict};
pub use self::schedule::{Played, Schedule};
pub use self::script::Script;
pub use self::watch::{Seen, Watch};

/// Why a race could not be played to its end.
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

    /// The server could not be asked who waits for whom. MySQL and MariaDB tell it only to users with
    /// the privilege `PROCESS`.
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
