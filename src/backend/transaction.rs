//! [`TransactionBackend`]: how transactions and savepoints begin and end on a backend.

use std::fmt::Debug;
use std::time::Instant;

use diesel::backend::Backend;
use diesel::connection::LoadConnection;
use diesel::result::{Error as DieselError, QueryResult};

use super::settings::{Settings, Waiting};

/// Why the end of a transaction, or of a savepoint, failed.
#[derive(Debug)]
pub enum EndError {
    /// The closure had ended the transaction: its guard is gone.
    Gone(DieselError),
    /// The server did not do it, and this is its answer. Nothing is durable.
    Refused(DieselError),
    /// `COMMIT` was sent, and the answer does not say what became of it.
    Unknown(DieselError),
}

impl EndError {
    pub(crate) fn gone_if(is_gone: bool, error: DieselError) -> Self {
        if is_gone {
            Self::Gone(error)
        } else {
            Self::Refused(error)
        }
    }
}

/// The transactions of a backend.
///
/// It can't be implemented outside of this crate.
pub trait TransactionBackend: Backend {
    /// Whether the victim of a deadlock or a conflict loses its whole transaction, and not only
    /// the innermost savepoint.
    #[doc(hidden)]
    const VICTIM_LOSES_TRANSACTION: bool;

    /// What [`begin`](Self::begin) finds out about the server, for the end of that transaction.
    #[doc(hidden)]
    type Server: Copy + Debug;

    /// Opens the outermost transaction together with [`GUARD`] and the settings of the request,
    /// and runs the statement `first` in it, in no more round trips than a plain `BEGIN`.
    ///
    /// After an error nothing of it is left.
    #[doc(hidden)]
    fn begin<C>(conn: &mut C, settings: Settings, first: Option<&str>) -> QueryResult<Self::Server>
    where
        C: LoadConnection<Backend = Self>;

    /// Commits the outermost transaction if [`GUARD`] is alive, and puts the session's settings
    /// back. `since` is when the transaction began.
    #[doc(hidden)]
    fn commit<C>(
        conn: &mut C,
        server: Self::Server,
        settings: Settings,
        since: Instant,
    ) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>;

    /// Rolls the outermost transaction back if [`GUARD`] is alive, and puts the session's settings
    /// back. `aborted` says that the server waits for a rollback.
    ///
    /// [`EndError::Gone`] means that the closure ended the transaction; an end by the server as
    /// part of a failed statement is [`EndError::Refused`].
    #[doc(hidden)]
    fn roll_back<C>(
        conn: &mut C,
        server: Self::Server,
        settings: Settings,
        aborted: bool,
    ) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>;

    /// Rolls back whatever is open.
    #[doc(hidden)]
    fn roll_back_all<C>(conn: &mut C) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        conn.batch_execute("ROLLBACK")
    }

    /// Rolls back whatever is open and puts the session's settings back.
    #[doc(hidden)]
    fn abandon<C>(conn: &mut C, settings: Settings) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        // Where settings are local to the transaction, they end with it.
        let _ = settings;
        Self::roll_back_all(conn)
    }

    /// Rolls back whatever is open, and puts back what any earlier call has left of its settings.
    #[doc(hidden)]
    fn recover<C>(conn: &mut C) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        Self::roll_back_all(conn)
    }

    /// Opens savepoint `name` with the settings of the request.
    #[doc(hidden)]
    fn savepoint<C>(conn: &mut C, name: &str, waiting: Waiting) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>;

    /// Releases savepoint `name` and puts the outer transaction's settings back.
    #[doc(hidden)]
    fn release<C>(conn: &mut C, name: &str, waiting: Waiting) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>;

    /// Rolls back to savepoint `name`, leaves nothing of it, and puts the outer transaction's
    /// settings back. `aborted` and the errors are those of [`roll_back`](Self::roll_back).
    #[doc(hidden)]
    fn rollback_to<C>(
        conn: &mut C,
        name: &str,
        waiting: Waiting,
        aborted: bool,
    ) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>;

    /// Prepares an outer transaction that the server has ended for what its closure may still do,
    /// after a nested call with this `waiting` found it dead.
    #[doc(hidden)]
    fn lose_outer<C>(conn: &mut C, name: &str, waiting: Waiting)
    where
        C: LoadConnection<Backend = Self>,
    {
        // PostgreSQL refuses each further statement by itself, and turns the COMMIT into a
        // rollback.
        let _ = (conn, name, waiting);
    }

    /// Whether the connection, which Diesel holds to be broken, is still inside an outer
    /// transaction that [`lose_outer`](Self::lose_outer) has marked.
    #[doc(hidden)]
    fn outer_is_lost<C>(conn: &mut C, outermost: bool) -> QueryResult<bool>
    where
        C: LoadConnection<Backend = Self>,
    {
        let _ = (conn, outermost);
        Ok(false)
    }

    /// Removes what tells [`roll_back`](Self::roll_back) of an escape, after it has told.
    #[doc(hidden)]
    fn forget_escape<C>(conn: &mut C)
    where
        C: LoadConnection<Backend = Self>,
    {
        let _ = conn;
    }
}
