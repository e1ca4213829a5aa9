//! [`Watch`]: asking a server who waits for whom.

use std::time::Duration;

use diesel::connection::LoadConnection;
use diesel::result::QueryResult;

use crate::backend::LockBackend;

/// A connection that is watched.
#[derive(Debug, Clone)]
pub struct Seen {
    /// By what the server knows it.
    pub(crate) session: i64,
    /// The statements that it has had answers to, but for those that failed.
    pub(crate) answered: Vec<String>,
    /// The statement that it waits for the answer to.
    pub(crate) statement: Option<String>,
}

/// A backend that can be asked who waits for whom.
pub trait Watch: LockBackend {
    /// How long to leave the server alone before it is asked (again).
    #[doc(hidden)]
    const PAUSE: Duration;

    /// By what the server knows the connection.
    #[doc(hidden)]
    fn session<C>(conn: &mut C) -> QueryResult<i64>
    where
        C: LoadConnection<Backend = Self>;

    /// Which of the `others`, all of whom stand or wait too, `who` waits for, by their sessions.
    #[doc(hidden)]
    fn waits_for<C>(watcher: &mut C, who: &Seen, others: &[Seen]) -> QueryResult<Vec<i64>>
    where
        C: LoadConnection<Backend = Self>;

    /// Ends a session, and what it waits for.
    #[doc(hidden)]
    fn end_session<C>(watcher: &mut C, session: i64) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>;
}
