//! [`CommitToken`]: how to find out whether a commit in doubt happened.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error as DieselError, QueryResult};

use crate::backend::{classify, LockBackend, Waiting};
use crate::connection::{depth, LockConnection};
use crate::error::LockError;

/// A row that a transaction leaves behind if, and only if, it commits.
///
/// A connection that is lost at `COMMIT` leaves the call in doubt ([`LockError::CommitUnknown`]):
/// committed or not, and this side can't know. With a token in its transaction
/// ([`RowLock::commit_token`](crate::RowLock::commit_token)) the caller can ask on a new
/// connection: [`resolve`](Self::resolve). The answer is right after cut connections, crashes and
/// failover to a synchronous standby, because it rests on a row and its unique key and not on a
/// transaction id, which a server may use again after a crash.
///
/// The tokens are in the table `row_lock_commits`. [`create_table`](Self::create_table) makes it,
/// or the migration of that name (feature `migrations`), and [`purge`](Self::purge) deletes old
/// tokens.
///
/// # Example
///
/// ```
/// # include!("doctest_setup.rs");
/// use diesel_row_lock::{CommitToken, LockError, Locked, Resolution, RowLock};
///
/// # fn main() -> Result<(), LockError> {
/// # let conn = &mut establish_connection();
/// CommitToken::create_table(conn)?;
///
/// let token = CommitToken::new();
/// let lock = RowLock::for_update().commit_token(token);
/// let result = lock.with(conn, accounts::table.find(1), |conn, mut account: Locked<Account>| {
///     account.balance += 100;
///     let saved: Account = account.save_changes(conn)?;
///     Ok::<_, LockError>(saved.balance)
/// });
/// # let new_conn = conn;
/// # let result: Result<i64, LockError> = result.and(Err(LockError::CommitUnknown {
/// #     source: diesel::result::Error::BrokenTransactionManager.into(),
/// # }));
/// match result {
///     Err(LockError::CommitUnknown { .. }) => match token.resolve(new_conn)? {
///         Resolution::Committed => println!("it happened"),
///         Resolution::NotCommitted => println!("it did not happen, and never will"),
///     },
///     other => println!("{other:?}"),
/// }
/// # assert_eq!(token.resolve(new_conn)?, Resolution::Committed);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommitToken(u128);

/// What became of a commit in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// The transaction committed.
    Committed,
    /// The transaction did not commit, and never can.
    NotCommitted,
}

/// A text that is not a [`CommitToken`]: it takes 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a commit token is 32 hexadecimal digits")]
pub struct ParseCommitTokenError;

impl CommitToken {
    /// A token that nobody else has: 128 bits, random by the operating system's seed.
    #[allow(clippy::new_without_default, reason = "no two are equal")]
    pub fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // Relaxed: the numbers only have to differ.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let random = || u128::from(RandomState::new().hash_one((count, std::process::id())));
        Self(random() << 64 | random())
    }

    /// Finds out whether the transaction of this token committed, and if it did not, makes sure
    /// that it never can.
    ///
    /// Use a new connection. While the transaction is still open at the server, or its `COMMIT`
    /// still hangs, the call waits for its end, as long as the session's lock timeout allows. It
    /// may be made again, and by anybody: the answer stays the same.
    ///
    /// Executes `INSERT INTO row_lock_commits (token, refused) VALUES (…, TRUE)`, and where that
    /// row is there already, `UPDATE row_lock_commits SET refused = TRUE WHERE token = … AND
    /// refused`, which changes nothing and counts.
    ///
    /// # Errors
    ///
    /// - [`AlreadyInTransaction`](LockError::AlreadyInTransaction): a rollback would take the
    ///   answer back;
    /// - [`Timeout`](LockError::Timeout): it is still open; ask again later;
    /// - [`ConnectionLost`](LockError::ConnectionLost): ask again on another connection;
    /// - those of [any statement](crate::errors#any-statement); [`Database`](LockError::Database)
    ///   if the table is missing.
    pub fn resolve<C: LockConnection>(&self, conn: &mut C) -> Result<Resolution, LockError> {
        // Refused before anything is sent: in an open transaction the row would be gone with its
        // rollback.
        if depth(conn).is_some_and(|depth| depth > 0) {
            return Err(LockError::AlreadyInTransaction {
                reason: "a commit in doubt can't be resolved inside an open transaction",
            });
        }
        // An INSERT and not a look: it waits for the end of an open transaction with this token,
        // and it keeps a later one from committing.
        let refuse =
            format!("INSERT INTO row_lock_commits (token, refused) VALUES ('{self}', TRUE)");
        // Changes nothing; the number of rows is the answer.
        let is_refused = format!(
            "UPDATE row_lock_commits SET refused = TRUE WHERE token = '{self}' AND refused"
        );
        let rows = match conn.execute_returning_count(&Statement(refuse)) {
            Err(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => {
                // The row may be the transaction's own, or that of an earlier `resolve`.
                conn.execute_returning_count(&Statement(is_refused))
            }
            result => result,
        };
        match rows {
            Ok(0) => Ok(Resolution::Committed),
            Ok(_) => Ok(Resolution::NotCommitted),
            Err(error) => Err(classify::<C::Backend>(error, Waiting::Session)),
        }
    }

    /// Creates the table of the tokens unless it is there. The feature `migrations` offers the same
    /// as a migration of Diesel; the two work together.
    ///
    /// Executes `CREATE TABLE IF NOT EXISTS row_lock_commits (…)`, the text of the migration of
    /// that name. On PostgreSQL `SELECT pg_advisory_xact_lock(…)` stands before it, so that
    /// sessions can create the table at the same time.
    ///
    /// # Errors
    ///
    /// Those of [any statement](crate::errors#any-statement).
    pub fn create_table<C: LockConnection>(conn: &mut C) -> Result<(), LockError> {
        conn.batch_execute(C::Backend::CREATE_COMMITS)
            .map_err(|error| classify::<C::Backend>(error, Waiting::Session))
    }

    /// Deletes the tokens that are older than `age` by the server's clock; returns how many.
    ///
    /// A token that is gone resolves as not committed. So `age` must be longer than a transaction
    /// can take, and longer than anybody may wait before resolving one.
    ///
    /// Executes `DELETE FROM row_lock_commits WHERE created_at < …`.
    ///
    /// # Errors
    ///
    /// Those of [any statement](crate::errors#any-statement).
    pub fn purge<C: LockConnection>(conn: &mut C, age: Duration) -> Result<usize, LockError> {
        let seconds = age
            .as_micros()
            .div_ceil(1_000_000)
            .min(u128::from(u32::MAX));
        let before = C::Backend::seconds_ago(u32::try_from(seconds).unwrap_or(u32::MAX));
        let delete = format!("DELETE FROM row_lock_commits WHERE created_at < {before}");
        conn.execute_returning_count(&Statement(delete))
            .map_err(|error| classify::<C::Backend>(error, Waiting::Session))
    }

    /// The statement that the transaction itself runs.
    pub(crate) fn insert_sql(&self) -> String {
        format!("INSERT INTO row_lock_commits (token) VALUES ('{self}')")
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for CommitToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for CommitToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommitToken({self})")
    }
}

impl FromStr for CommitToken {
    type Err = ParseCommitTokenError;

    fn from_str(text: &str) -> Result<Self, ParseCommitTokenError> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseCommitTokenError);
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| ParseCommitTokenError)
    }
}

/// A statement without binds, on any backend. (`diesel::sql_query` can't be used in generic code.)
/// Not a batch: of a failed batch MySQL's kind of error is not known.
#[derive(QueryId)]
struct Statement(String);

impl<DB: Backend> QueryFragment<DB> for Statement {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql(&self.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_tokens_are_equal() {
        let tokens: HashSet<_> = (0..10_000).map(|_| CommitToken::new()).collect();
        assert_eq!(tokens.len(), 10_000);
    }

    #[test]
    fn text_is_32_digits_and_reads_back() {
        let token = CommitToken(0xff);
        assert_eq!(token.to_string(), "000000000000000000000000000000ff");
        assert_eq!(token.to_string().parse(), Ok(token));
        assert_eq!(format!("{token:?}"), format!("CommitToken({token})"));
        for wrong in [
            "",
            "ff",
            "+00000000000000000000000000000ff",
            "'; DROP TABLE row_lock_commits; ",
        ] {
            assert_eq!(wrong.parse::<CommitToken>(), Err(ParseCommitTokenError));
        }
    }
}
