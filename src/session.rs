//! [`Session`]: what a server says of one of its connections. Plain data, for errors and for
//! `waits/`, where the questions to a server stand.

use std::fmt;

/// By what a server knows a session: the process id on PostgreSQL, the connection id (or thread id)
/// on MySQL and MariaDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(i64);

impl SessionId {
    /// The id that somebody has read elsewhere. Sends no SQL.
    pub const fn new(id: i64) -> Self {
        Self(id)
    }

    /// The number. Sends no SQL.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One of those who wait, or are waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// Who. A [prepared transaction](Self::is_prepared_transaction) has no session; its id is 0.
    pub id: SessionId,
    /// By what name it has introduced itself: `application_name` on PostgreSQL. MySQL and MariaDB
    /// don't tell.
    pub application: Option<String>,
    /// The statement that it is in. Of who is [idle](Self::idle) the last one, on PostgreSQL; there
    /// MySQL and MariaDB don't tell.
    pub query: Option<String>,
    /// It is in no statement now: it holds its locks and waits for its client.
    pub idle: bool,
}

impl Session {
    /// Whether this is a transaction that was prepared for two-phase commit. No session holds its
    /// locks, so none can be cancelled or terminated; they last until somebody sends `COMMIT
    /// PREPARED` or `ROLLBACK PREPARED` (`XA COMMIT`, `XA ROLLBACK`). On PostgreSQL the query names
    /// it, where the lock is a row's.
    pub fn is_prepared_transaction(&self) -> bool {
        self.id.0 == 0
    }

    /// `, which last ran: SELECT …`
    pub(crate) fn doing(&self) -> String {
        match &self.query {
            Some(query) if self.idle => format!(", which last ran: {}", in_one_line(query)),
            Some(query) => format!(", which runs: {}", in_one_line(query)),
            None if self.idle => ", which is idle".to_owned(),
            None => String::new(),
        }
    }
}

/// `session 4711 (bank)`.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_prepared_transaction() {
            return f.write_str("a prepared transaction");
        }
        write!(f, "session {}", self.id)?;
        match &self.application {
            Some(application) => write!(f, " ({application})"),
            None => Ok(()),
        }
    }
}

pub(crate) fn in_one_line(query: &str) -> String {
    query.split_whitespace().collect::<Vec<_>>().join(" ")
}
