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
        // Relaxed: the numbers only have to differ.
        Ok(COUNT.fetch_add(1, Ordering::Relaxed))
    }

    fn waits_for<C>(watcher: &mut C, who: &Seen, others: &[Seen]) -> QueryResult<Vec<i64>>
    where
        C: LoadConnection<Backend = Self>,
    {
        // The statement that waits is left out: what it adds is what it waits for.
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
    fn after<'s>(batches: impl IntoIterator<Item = &'s String>) -> Self {
        let mut transaction = Self::default();
        for batch in batches {
            for statement in statements(batch) {
                transaction.then(&statement);
            }
        }
        transaction
    }

    fn then(&mut self, statement: &str) {
        let words = statement.split(|char: char| !char.is_alphanumeric() && char != '_');
        let mut words = words.filter(|word| !word.is_empty());
        match (words.next(), words.next()) {
            (Some("BEGIN"), Some("IMMEDIATE" | "EXCLUSIVE")) => {
                self.open = true;
                self.write();
            }
            (Some("BEGIN" | "SAVEPOINT"), _) => self.open = true,
            (Some("ROLLBACK"), Some("TO")) => {}
            (Some("COMMIT" | "END" | "ROLLBACK"), _) => self.end(),
            (Some("SELECT" | "PRAGMA" | "EXPLAIN" | "VALUES"), _) => self.reads |= self.open,
            (Some("WITH"), _) if !words.any(is_write) => self.reads |= self.open,
            (Some("RELEASE") | None, _) => {}
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

fn is_write(word: &str) -> bool {
    matches!(word, "INSERT" | "UPDATE" | "DELETE" | "REPLACE")
}

/// What begins and ends a piece of SQL that is no statement.
const QUOTES: [(&str, &str); 6] = [
    ("'", "'"),
    ("\"", "\""),
    ("`", "`"),
    ("[", "]"),
    ("--", "\n"),
    ("/*", "*/"),
];

/// The statements of a batch in capitals, without what stands in quotes and comments: a user's
/// value may look like SQL. Diesel shows bound values in a comment.
fn statements(batch: &str) -> Vec<String> {
    let mut statements = vec![];
    let mut statement = String::new();
    let mut rest = batch;
    while let Some(char) = rest.chars().next() {
        let quote = QUOTES.iter().find(|(begin, _)| rest.starts_with(begin));
        if let Some((begin, end)) = quote {
            let quoted = &rest[begin.len()..];
            rest = quoted.split_once(end).map_or("", |(_, behind)| behind);
            statement.push(' ');
            continue;
        }
        match char {
            ';' => statements.push(std::mem::take(&mut statement)),
            _ => statement.extend(char.to_uppercase()),
        }
        rest = &rest[char.len_utf8()..];
    }
    statements.push(statement);
    statements
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

    #[test]
    fn value_that_looks_like_sql_is_a_value() {
        let quoted = "UPDATE t SET a = 'it''s; COMMIT', [b;] = \"c;\" /* ; COMMIT */";
        let bound = "UPDATE t SET a = ? -- binds: [\"it's; COMMIT \"]";
        for update in [quoted, bound] {
            assert!(after(&["BEGIN", update]).writes, "{update}");
            assert!(!after(&["BEGIN", update, "COMMIT"]).writes, "{update}");
        }
        assert!(!after(&["BEGIN", "SELECT '; DELETE FROM t'"]).writes);
    }

    #[test]
    fn read_may_begin_with_a_table_expression() {
        let read = "WITH u AS (SELECT 'UPDATE ') SELECT * FROM u";
        assert!(!after(&["BEGIN", read]).writes && after(&["BEGIN", read]).reads);
        assert!(after(&["BEGIN", "WITH u AS (SELECT 1) DELETE FROM t"]).writes);
        assert!(after(&["BEGIN", "-- first\nDELETE FROM t"]).writes);
    }
}
