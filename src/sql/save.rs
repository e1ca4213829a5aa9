//! [`Savable`]: writes a model to the row with a given primary key.

use std::marker::PhantomData;

use diesel::associations::HasTable;
use diesel::connection::LoadConnection;
use diesel::query_builder::{AsChangeset, AstPass, QueryFragment, QueryId};
use diesel::query_source::{QuerySource, Table};
use diesel::result::QueryResult;

use super::key::{walk_equals_key, KeyValue};
use crate::backend::LockBackend;

/// A model that can be written to the row with a primary key `K`: every one that is `AsChangeset`.
///
/// `Kind` is that of [`KeyValue`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be saved",
    note = "derive `AsChangeset` and `Identifiable` for it"
)]
pub trait Savable<K, Kind, DB> {
    /// Whether the model sets no column: all of its fields are optional, and none is set.
    #[doc(hidden)]
    fn is_noop(&self) -> QueryResult<bool>;

    /// Executes `UPDATE table SET … WHERE pk = …`. `false` if there was no such row.
    #[doc(hidden)]
    fn save<C>(&self, key: &K, conn: &mut C) -> QueryResult<bool>
    where
        C: LoadConnection<Backend = DB>;
}

impl<M, K, Kind, DB> Savable<K, Kind, DB> for M
where
    DB: LockBackend + Default,
    M: HasTable<Table: Table>,
    <M::Table as QuerySource>::FromClause: QueryFragment<DB>,
    <M::Table as Table>::PrimaryKey: QueryFragment<DB>,
    for<'m> &'m M: AsChangeset<Target = M::Table, Changeset: QueryFragment<DB>>,
    K: KeyValue<<M::Table as Table>::PrimaryKey, DB, Kind>,
{
    fn is_noop(&self) -> QueryResult<bool> {
        self.as_changeset().is_noop(&DB::default())
    }

    fn save<C>(&self, key: &K, conn: &mut C) -> QueryResult<bool>
    where
        C: LoadConnection<Backend = DB>,
    {
        let table = M::table();
        let values = self.as_changeset();
        if values.is_noop(&DB::default())? {
            return Ok(true);
        }
        let update = UpdateByKey::<_, _, _, _, Kind>::of(&table, values, key);
        let rows = conn.execute_returning_count(&update)?;
        Ok(rows > 0)
    }
}

/// Diesel's own statement is parsed anew each time; this one is prepared once for each text.
pub(super) struct UpdateByKey<'q, F, P, V, K, Kind> {
    from: F,
    primary_key: P,
    values: V,
    key: &'q K,
    kind: PhantomData<Kind>,
}

impl<'q, F, P, V, K, Kind> UpdateByKey<'q, F, P, V, K, Kind> {
    pub(super) fn of<T>(table: &T, values: V, key: &'q K) -> Self
    where
        T: Table<FromClause = F, PrimaryKey = P>,
    {
        Self {
            from: table.from_clause(),
            primary_key: table.primary_key(),
            values,
            key,
            kind: PhantomData,
        }
    }
}

/// The text depends on which optional fields are set.
impl<F, P, V, K, Kind> QueryId for UpdateByKey<'_, F, P, V, K, Kind> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<F, P, V, K, Kind, DB> QueryFragment<DB> for UpdateByKey<'_, F, P, V, K, Kind>
where
    DB: LockBackend,
    F: QueryFragment<DB>,
    P: QueryFragment<DB>,
    V: QueryFragment<DB>,
    K: KeyValue<P, DB, Kind>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("UPDATE ");
        self.from.walk_ast(out.reborrow())?;
        out.push_sql(" SET ");
        self.values.walk_ast(out.reborrow())?;
        out.push_sql(" WHERE ");
        walk_equals_key(&self.primary_key, self.key, out)
    }
}
