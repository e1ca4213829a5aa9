//! [`Lockable`]: the statements whose rows a locking clause behind them locks.

#[cfg(any(feature = "postgres", feature = "mysql"))]
use diesel::expression::{SqlLiteral, UncheckedBind};
#[cfg(any(feature = "postgres", feature = "mysql"))]
use diesel::internal::table_macro::{BoxedSelectStatement, SelectStatement};
#[cfg(any(feature = "postgres", feature = "mysql"))]
use diesel::query_builder::Query;
#[cfg(feature = "mysql")]
use diesel::query_builder::{QueryBuilder, QueryFragment};
#[cfg(any(feature = "postgres", feature = "mysql"))]
use diesel::sql_types::Untyped;

use crate::error::LockError;

/// Marks Diesel's own `SELECT`.
#[cfg(any(feature = "postgres", feature = "mysql"))]
#[derive(Debug, Clone, Copy)]
pub struct Selected;

/// Marks `sql_query`.
#[cfg(any(feature = "postgres", feature = "mysql"))]
#[derive(Debug, Clone, Copy)]
pub struct Raw;

/// Marks `dsl::sql`.
#[cfg(any(feature = "postgres", feature = "mysql"))]
#[derive(Debug, Clone, Copy)]
pub struct Literal;

/// Marks a [`LockableQuery`].
#[cfg(any(feature = "postgres", feature = "mysql"))]
#[derive(Debug, Clone, Copy)]
pub struct Own;

/// Marks any query, where the transaction is the lock.
#[cfg(feature = "sqlite")]
#[derive(Debug, Clone, Copy)]
pub struct AnyQuery;

/// A query whose rows the backend `DB` locks by a clause behind it: a `SELECT` of Diesel's,
/// `sql_query`, `dsl::sql`, a [`LockableQuery`]; on SQLite every one.
///
/// Not two queries combined by `UNION`, `INTERSECT` or `EXCEPT`: behind these PostgreSQL takes no
/// clause, and MySQL and MariaDB lock the rows of the last `SELECT` only. Where they are in raw
/// SQL, the call fails with [`Unsupported`](LockError::Unsupported).
///
/// `Kind` tells the queries apart; it is inferred.
#[diagnostic::on_unimplemented(
    message = "a locking clause behind this query does not lock all of its rows on `{DB}`",
    note = "behind a UNION, INTERSECT or EXCEPT, MySQL and MariaDB lock the rows of the \
            last `SELECT` only, and PostgreSQL takes no clause: \
            lock each query on its own, or filter by both conditions",
    note = "a query type of your own has to implement `diesel_row_lock::bounds::LockableQuery`"
)]
pub trait Lockable<DB, Kind> {
    /// `Err` if the text shows that the clause would not lock all of its rows.
    #[doc(hidden)]
    fn check(&self) -> Result<(), LockError> {
        Ok(())
    }
}

/// A query type of your own, whose SQL is one `SELECT` that takes a locking clause behind it.
///
/// The implementation is a promise: a clause behind the SQL locks every row that the query returns.
/// [`RowLock::check`](crate::RowLock::check) tests it.
pub trait LockableQuery {}

impl<Q: LockableQuery> LockableQuery for &Q {}

#[cfg(feature = "sqlite")]
impl<Q> Lockable<diesel::sqlite::Sqlite, AnyQuery> for Q {}

#[cfg(any(feature = "postgres", feature = "mysql"))]
macro_rules! lockable_selects {
    ($backend:ty) => {
        impl<F, S, D, W, O, L, G, H, C> Lockable<$backend, Selected>
            for SelectStatement<F, S, D, W, O, L, G, H, C>
        {
        }

        impl<F, S, D, W, O, L, G, H, C> Lockable<$backend, Selected>
            for &SelectStatement<F, S, D, W, O, L, G, H, C>
        {
        }

        impl<ST, QS, DB, GB> Lockable<$backend, Selected>
            for BoxedSelectStatement<'_, ST, QS, DB, GB>
        {
        }

        impl<ST, QS, DB, GB> Lockable<$backend, Selected>
            for &BoxedSelectStatement<'_, ST, QS, DB, GB>
        {
        }

        impl<Q: LockableQuery> Lockable<$backend, Own> for Q {}
    };
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use diesel::pg::Pg;

    lockable_selects!(Pg);

    // The server refuses what it can't lock.
    impl<Q: Query<SqlType = Untyped>> Lockable<Pg, Raw> for Q {}
    impl<ST, T> Lockable<Pg, Literal> for SqlLiteral<ST, T> {}
    impl<Q, V> Lockable<Pg, Literal> for UncheckedBind<Q, V> {}
}

#[cfg(feature = "mysql")]
mod mysql {
    use super::*;
    use diesel::mysql::{Mysql, MysqlQueryBuilder};

    lockable_selects!(Mysql);

    impl<Q> Lockable<Mysql, Raw> for Q
    where
        Q: Query<SqlType = Untyped> + QueryFragment<Mysql>,
    {
        fn check(&self) -> Result<(), LockError> {
            refuse_combination(self)
        }
    }

    impl<ST, T> Lockable<Mysql, Literal> for SqlLiteral<ST, T>
    where
        Self: QueryFragment<Mysql>,
    {
        fn check(&self) -> Result<(), LockError> {
            refuse_combination(self)
        }
    }

    impl<Q, V> Lockable<Mysql, Literal> for UncheckedBind<Q, V>
    where
        Self: QueryFragment<Mysql>,
    {
        fn check(&self) -> Result<(), LockError> {
            refuse_combination(self)
        }
    }

    fn refuse_combination(query: &impl QueryFragment<Mysql>) -> Result<(), LockError> {
        let mut sql = MysqlQueryBuilder::new();
        query.to_sql(&mut sql, &Mysql)?;
        if is_combination(&sql.finish()) {
            return Err(LockError::Unsupported {
                what: "behind a UNION, INTERSECT or EXCEPT a locking clause locks the rows of the \
                       last `SELECT` only; lock each query on its own"
                    .to_owned(),
                source: None,
            });
        }
        Ok(())
    }
}

/// Whether the statement itself, and not a subquery of it, is a `UNION`, `INTERSECT` or `EXCEPT`.
#[cfg(feature = "mysql")]
fn is_combination(sql: &str) -> bool {
    let mut rest = sql.trim_start();
    // The statement as a whole, or its first part, may stand in parentheses.
    let outer = rest.chars().take_while(|c| *c == '(' || c.is_whitespace());
    let outer = outer.filter(|c| *c == '(').count();
    let mut depth = 0;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\'' | '"' | '`' => quoted(rest, c),
            '#' => line(rest),
            '-' if is_comment(rest) => line(rest),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ if c.is_alphanumeric() || c == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && !"_$.".contains(c));
                let word = &rest[..end.unwrap_or(rest.len())];
                let combines = |with: &&str| word.eq_ignore_ascii_case(with);
                if depth <= outer
                    && ["UNION", "INTERSECT", "EXCEPT", "MINUS"]
                        .iter()
                        .any(combines)
                {
                    return true;
                }
                word.len()
            }
            _ => {
                match c {
                    '(' => depth += 1,
                    ')' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    false
}

/// The length of a string or a name. A quote that is doubled ends one and begins the next.
#[cfg(feature = "mysql")]
fn quoted(sql: &str, quote: char) -> usize {
    let mut chars = sql.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return at + 1;
        }
        if c == '\\' && quote != '`' {
            chars.next();
        }
    }
    sql.len()
}

/// `--` begins a comment only with a blank behind it.
#[cfg(feature = "mysql")]
fn is_comment(sql: &str) -> bool {
    let rest = sql.strip_prefix("--");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

#[cfg(feature = "mysql")]
fn line(sql: &str) -> usize {
    sql.find('\n').unwrap_or(sql.len())
}

#[cfg(all(test, feature = "mysql"))]
mod tests {
    use super::is_combination;

    #[test]
    fn statement_that_combines_queries_is_told_from_one_that_names_them() {
        for sql in [
            "SELECT 1 UNION SELECT 2",
            "(SELECT 1) UNION ALL (SELECT 2)",
            "(SELECT 1 UNION SELECT 2)",
            "select 1\nexcept\nselect 2",
            "( (SELECT 1) INTERSECT (SELECT 2) )",
            "SELECT 'a''b' UNION SELECT 2",
            "SELECT 'a\\' UNION' UNION SELECT 2",
            "SELECT 1 -- UNION\n UNION SELECT 2",
            "SELECT 1 - -1 UNION SELECT 2",
            "SELECT id FROM t WHERE (a = 1)UNION(SELECT 2)",
            "WITH x AS (SELECT 1) SELECT * FROM x UNION SELECT 2",
        ] {
            assert!(is_combination(sql), "{sql}");
        }
        for sql in [
            "SELECT 1",
            "SELECT 'UNION' FROM t",
            "SELECT \"a UNION b\", `UNION` FROM t",
            "SELECT 1 -- UNION",
            "SELECT 1 # UNION",
            "SELECT 1 /* UNION */ FROM t",
            "SELECT * FROM t WHERE id IN (SELECT 1 UNION SELECT 2)",
            "(SELECT * FROM t WHERE id IN (SELECT 1 UNION SELECT 2))",
            "SELECT reunion, union_id, t.union FROM t",
            "WITH x AS (SELECT 1 UNION SELECT 2) SELECT * FROM x",
            "SELECT 'never closed UNION",
            "",
        ] {
            assert!(!is_combination(sql), "{sql}");
        }
    }
}
