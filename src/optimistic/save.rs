//! [`SaveVersioned`]: writes a model to its row if that is still of the model's version.

use std::marker::PhantomData;

use diesel::associations::HasTable;
use diesel::connection::LoadConnection;
use diesel::expression::Expression;
use diesel::query_builder::{AsChangeset, AstPass, QueryFragment, QueryId};
use diesel::query_source::{Column, QuerySource, Table};
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::HasSqlType;

use super::{VersionOf, Versioned};
use crate::backend::LockBackend;
use crate::sql::key::{walk_equals_key, KeyValue, KeyedBy};

/// A model that can be saved by its version: every one that is [`Versioned`], `Identifiable` and
/// `AsChangeset`.
///
/// `K` is its primary key and `Kind` that of [`KeyValue`]; both are inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be saved by its version",
    note = "implement `Versioned` for it, and derive `AsChangeset` and `Identifiable`"
)]
pub trait SaveVersioned<K, Kind, DB>: Versioned + KeyedBy<K> {
    /// Executes `UPDATE table SET …, version = version + 1 WHERE pk = … AND version = …`.
    #[doc(hidden)]
    fn save<C>(&self, version: VersionOf<Self>, conn: &mut C) -> QueryResult<usize>
    where
        C: LoadConnection<Backend = DB>;

    /// The primary key, to be shown.
    #[doc(hidden)]
    fn shown_key(&self) -> String;
}

impl<M, K, Kind, DB> SaveVersioned<K, Kind, DB> for M
where
    DB: LockBackend + Default + HasSqlType<<M::Column as Expression>::SqlType>,
    M: Versioned<Column: Column<Table = M::Table>> + KeyedBy<K> + HasTable<Table: Table>,
    VersionOf<M>: ToSql<<M::Column as Expression>::SqlType, DB>,
    <M::Table as QuerySource>::FromClause: QueryFragment<DB>,
    <M::Table as Table>::PrimaryKey: QueryFragment<DB>,
    for<'m> &'m M: AsChangeset<Target = M::Table, Changeset: QueryFragment<DB>>,
    K: KeyValue<<M::Table as Table>::PrimaryKey, DB, Kind>,
{
    fn save<C>(&self, version: VersionOf<M>, conn: &mut C) -> QueryResult<usize>
    where
        C: LoadConnection<Backend = DB>,
    {
        let table = M::table();
        let values = self.as_changeset();
        let has_values = !values.is_noop(&DB::default())?;
        conn.execute_returning_count(&UpdateVersion::<_, _, _, _, _, M::Column, Kind> {
            from: QuerySource::from_clause(&table),
            primary_key: table.primary_key(),
            values: has_values.then_some(values),
            key: self.key(),
            version,
            types: PhantomData,
        })
    }

    fn shown_key(&self) -> String {
        format!("{:?}", self.key())
    }
}

struct UpdateVersion<F, P, V, K, N, Col, Kind> {
    from: F,
    primary_key: P,
    /// `None`: nothing but the version changes.
    values: Option<V>,
    key: K,
    version: N,
    types: PhantomData<(Col, Kind)>,
}

/// The text depends on which optional fields are set.
impl<F, P, V, K, N, Col, Kind> QueryId for UpdateVersion<F, P, V, K, N, Col, Kind> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<F, P, V, K, N, Col, Kind, DB> QueryFragment<DB> for UpdateVersion<F, P, V, K, N, Col, Kind>
where
    DB: LockBackend + HasSqlType<<Col as Expression>::SqlType>,
    F: QueryFragment<DB>,
    P: QueryFragment<DB>,
    V: QueryFragment<DB>,
    K: KeyValue<P, DB, Kind>,
    N: ToSql<<Col as Expression>::SqlType, DB>,
    Col: Column,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("UPDATE ");
        self.from.walk_ast(out.reborrow())?;
        out.push_sql(" SET ");
        if let Some(values) = &self.values {
            values.walk_ast(out.reborrow())?;
            out.push_sql(", ");
        }
        out.push_identifier(Col::NAME)?;
        out.push_sql(" = ");
        out.push_identifier(Col::NAME)?;
        // Counted by the database from the value that the `WHERE` compares, so both are of one
        // moment.
        out.push_sql(" + 1 WHERE ");
        walk_equals_key(&self.primary_key, &self.key, out.reborrow())?;
        out.push_sql(" AND ");
        out.push_identifier(Col::NAME)?;
        out.push_sql(" = ");
        out.push_bind_param::<<Col as Expression>::SqlType, N>(&self.version)
    }
}
