//! [`SelectByKeys`]: the rows of a table with given primary keys, in primary-key order.

use std::marker::PhantomData;

use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_source::Table;
use diesel::result::QueryResult;
use diesel::RunQueryDsl;

use super::key::{walk_equals_key, KeyValue};
use crate::backend::LockBackend;

/// `SELECT … FROM table WHERE pk IN (…) ORDER BY pk`.
///
/// The order is the database's own, not Rust's, so that all callers agree on it whatever the
/// collation of the key. The servers lock rows in the order in which they return them, so two
/// callers can't each hold what the other waits for.
///
/// The last key is repeated up to a power of two. So there are 17 texts at most, each prepared once
/// for a connection. A text for each number of keys would fill the cache and the server's memory,
/// and a statement that is not cached takes a round trip more.
#[derive(Debug)]
pub struct SelectByKeys<'q, T: Table, K, Kind> {
    select: T::Query,
    primary_key: T::PrimaryKey,
    keys: &'q [K],
    order: Order,
    kind: PhantomData<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// That in which all callers lock rows.
    OfTheTable,
    /// That of the keys; for rows that are locked already.
    OfTheKeys,
}

impl<'q, T, K, Kind> SelectByKeys<'q, T, K, Kind>
where
    T: Table,
{
    pub(crate) fn new(table: T, keys: &'q [K]) -> Self {
        Self {
            primary_key: table.primary_key(),
            select: table.as_query(),
            keys,
            order: Order::OfTheTable,
            kind: PhantomData,
        }
    }

    /// The rows in the order of the keys.
    pub(crate) fn in_order(table: T, keys: &'q [K]) -> Self {
        Self {
            order: Order::OfTheKeys,
            ..Self::new(table, keys)
        }
    }
}

impl<T, K, Kind> Query for SelectByKeys<'_, T, K, Kind>
where
    T: Table,
{
    type SqlType = <T::Query as Query>::SqlType;
}

/// The text depends on the number of keys.
impl<T: Table, K, Kind> QueryId for SelectByKeys<'_, T, K, Kind> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T: Table, K, Kind, C> RunQueryDsl<C> for SelectByKeys<'_, T, K, Kind> {}

impl<T, K, Kind, DB> QueryFragment<DB> for SelectByKeys<'_, T, K, Kind>
where
    DB: LockBackend,
    T: Table,
    T::Query: QueryFragment<DB>,
    T::PrimaryKey: QueryFragment<DB>,
    K: KeyValue<T::PrimaryKey, DB, Kind>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        let (open, close) = if K::COLUMNS > 1 { ("(", ")") } else { ("", "") };
        self.select.walk_ast(out.reborrow())?;
        out.push_sql(" WHERE ");
        out.push_sql(open);
        self.primary_key.walk_ast(out.reborrow())?;
        out.push_sql(close);
        out.push_sql(" IN (");
        if K::COLUMNS > 1 {
            out.push_sql(DB::ROW_VALUES);
        }
        // To lock a row twice in one statement is to lock it once, so the repeated key is harmless.
        let repeated = padded(self.keys.len(), DB::BINDS / K::COLUMNS) - self.keys.len();
        let repeated = self.keys.last().into_iter().cycle().take(repeated);
        for (at, key) in self.keys.iter().chain(repeated).enumerate() {
            out.push_sql(if at == 0 { "" } else { ", " });
            out.push_sql(open);
            key.push_binds(out.reborrow())?;
            out.push_sql(close);
        }
        // The lock order. Without it a server locks in the order of its plan, and two callers with
        // the same keys can deadlock.
        out.push_sql(") ORDER BY ");
        if self.order == Order::OfTheTable {
            return self.primary_key.walk_ast(out);
        }
        out.push_sql("CASE");
        for (at, key) in self.keys.iter().enumerate() {
            out.push_sql(" WHEN ");
            walk_equals_key(&self.primary_key, key, out.reborrow())?;
            out.push_sql(" THEN ");
            out.push_sql(&at.to_string());
        }
        out.push_sql(" END");
        Ok(())
    }
}

/// How many keys the statement has, where at most `most` can be bound.
fn padded(keys: usize, most: usize) -> usize {
    keys.next_power_of_two().min(most).max(keys)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::padded;

    #[test]
    fn any_number_of_keys_has_one_of_seventeen_lengths() {
        let lengths: HashSet<_> = (1..=65_535).map(|keys| padded(keys, 65_535)).collect();
        assert_eq!(lengths.len(), 17);
        for (keys, most, length) in [
            (1, 65_535, 1),
            (2, 65_535, 2),
            (3, 65_535, 4),
            (40_000, 65_535, 65_535),
            (20_000, 32_766, 32_766),
            (32_766, 32_766, 32_766),
            // Too many: the server says so.
            (40_000, 32_766, 40_000),
        ] {
            assert_eq!(padded(keys, most), length, "{keys} of {most}");
        }
    }
}
