//! Who waits for whom on SQLite.
//!
//! There is no server to ask, and a connection that stands in the middle of a transaction can't be
//! asked either. But there is only one lock to wait for, and what a connection has sent tells
//! whether it has that.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::result::QueryResult;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use diesel::RunQueryDsl;

use crate::race::{Seen, Watch};

impl Watch for Sqlite {
    const PAUSE: Duration = Duration::from_millis(2);

    /// Sessions have no numbers, so they get one.
    fn session<C>(_: &mut C) -> QueryResult<i64>
    where
        C: LoadConnection<Backend = Self>,
    {
        static COUNT: AtomicI64 = AtomicI64::new(0);
        Ok(COUNT.fetch_add(1, Ordering::Relaxed))
    }

    fn waits_for<C>(watcher: &mut C, who: &Seen, others: &[Seen]) -> QueryResult<Vec<i64>>
    where
        C: LoadConnection<Backend = Self>,
    {
        let before = Transaction::after(&who.answered);
        let wanted = Transaction::after(who.answered.iter().chain(&who.statement));
        // A commit waits for readers, but not where they read an older version of the file.
        let commits = wanted.committed > before.committed
            && sql::<Text>("PRAGMA journal_mode").get_result::<String>(watcher)? != "wal";
        let wants_lock = wanted.asked > before.asked;
        let blocks = |other: &&Seen| {
            let other = Transaction::after(&other.answered);
            (wants_lock && other.writes) || (commits && other.reads)
        };
        let blockers = others.iter().filter(blocks);
        Ok(blockers.map(|other| other.session).collect())
    }

    /// Nobody can end a session but its owner; its `busy_timeout` ends the wait.
    fn end_session<C>(_: &mut C, _: i64) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        Ok(())
    }
}

/// Where some statements leave a connection.
#[derive(Debug, Default, PartialEq, Eq)]
struct Transaction {
    open: bool,
    /// It has a read lock.
    reads: bool,
    /// It has the write lock.
    writes: bool,
    /// How often it has asked for the write lock.
    asked: usize,
    /// How often it has written and let go.
    committed: usize,
}

impl Transaction {
    fn after<'s>(statements: impl IntoIterator<Item = &'s String>) -> Self {
        let mut transaction = Self::default();
        let statements = statements.into_iter().flat_map(|batch| batch.split(';'));
        for statement in statements {
            transaction.then(&statement.trim().to_uppercase());
        }
        transaction
    }

    fn then(&mut self, statement: &str) {
        let mut words = statement.split_whitespace();
        match (words.next(), words.next()) {
            (Some("BEGIN"), Some("IMMEDIATE" | "EXCLUSIVE")) => {
                self.open = true;
                self.write();
            }
            (Some("BEGIN" | "SAVEPOINT"), _) => self.open = true,
            (Some("ROLLBACK"), Some("TO")) => {}
            (Some("COMMIT" | "END" | "ROLLBACK"), _) => self.end(),
            (Some("SELECT" | "PRAGMA" | "EXPLAIN" | "VALUES"), _) => self.reads |= self.open,
            (Some("RELEASE" | "--") | None, _) => {}
            _ => {
                self.write();
                if !self.open {
                    self.end();
                }
            }
        }
    }

    fn write(&mut self) {
        self.asked += usize::from(!self.writes);
        self.writes = true;
    }

    fn end(&mut self) {
        self.committed += usize::from(self.writes);
        (self.open, self.reads, self.writes) = (false, false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(statements: &[&str]) -> Transaction {
        let statements: Vec<_> = statements.iter().map(|&sql| sql.to_owned()).collect();
        Transaction::after(&statements)
    }

    #[test]
    fn write_lock_is_had_from_the_first_write_to_the_end() {
        assert!(!after(&["BEGIN", "SELECT 1"]).writes);
        assert!(after(&["BEGIN", "SELECT 1"]).reads);
        assert!(after(&["BEGIN", "UPDATE t SET a = 1"]).writes);
        assert!(after(&["BEGIN IMMEDIATE; SAVEPOINT guard"]).writes);
        let committed = after(&["BEGIN IMMEDIATE; SAVEPOINT guard", "RELEASE guard; COMMIT"]);
        assert!(!committed.writes && committed.committed == 1);
        assert!(after(&["BEGIN IMMEDIATE", "ROLLBACK TO SAVEPOINT guard"]).writes);
    }

    #[test]
    fn single_write_is_over_at_once() {
        let single = after(&["DELETE FROM t"]);
        assert!(!single.writes && single.asked == 1 && single.committed == 1);
    }
}
