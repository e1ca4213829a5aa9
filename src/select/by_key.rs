//! [`SelectByKeys`]: the rows of a table with given primary keys, in primary-key order.

use std::marker::PhantomData;

use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_source::Table;
use diesel::result::QueryResult;
use diesel::RunQueryDsl;

use super::key::KeyValue;
use crate::backend::LockBackend;

/// `SELECT … FROM table WHERE pk IN (…) ORDER BY pk`.
///
/// The order is the database's own, not Rust's, so that all callers agree on it whatever the
/// collation of the key. The servers lock rows in the order in which they return them, so two
/// callers can't each hold what the other waits for.
#[derive(Debug)]
pub struct SelectByKeys<'q, T: Table, K, Kind> {
    select: T::Query,
    primary_key: T::PrimaryKey,
    keys: &'q [K],
    kind: PhantomData<Kind>,
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
            kind: PhantomData,
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
        let (open, close) = if K::IS_COMPOSITE {
            ("(", ")")
        } else {
            ("", "")
        };
        self.select.walk_ast(out.reborrow())?;
        out.push_sql(" WHERE ");
        out.push_sql(open);
        self.primary_key.walk_ast(out.reborrow())?;
        out.push_sql(close);
        out.push_sql(" IN (");
        if K::IS_COMPOSITE {
            out.push_sql(DB::ROW_VALUES);
        }
        for (at, key) in self.keys.iter().enumerate() {
            out.push_sql(if at == 0 { "" } else { ", " });
            out.push_sql(open);
            key.push_binds(out.reborrow())?;
            out.push_sql(close);
        }
        out.push_sql(") ORDER BY ");
        self.primary_key.walk_ast(out)
    }
}
