//! [`Stamped`]: reads a row with its stamp, and writes it if it is still of that stamp.

use std::marker::PhantomData;

use diesel::associations::HasTable;
use diesel::backend::Backend;
use diesel::connection::LoadConnection;
use diesel::deserialize::FromSqlRow;
use diesel::expression::{Expression, QueryMetadata};
use diesel::query_builder::{AsChangeset, AstPass, Query, QueryFragment, QueryId};
use diesel::query_source::{QuerySource, Table};
use diesel::result::{Error as DieselError, QueryResult};
use diesel::row::Row;

use super::ablation::are_locks_taken_out;
use super::key::{walk_equals_key, KeyValue};
use super::save::UpdateByKey;
use crate::backend::stamp::StampBackend;
use crate::backend::LockBackend;

/// A row and its stamp.
pub(crate) type WithStamp<M, DB> = (M, <DB as StampBackend>::Stamp);

/// A model whose row can be written if it is still what was read: every one that is `Queryable`
/// and `AsChangeset`.
///
/// `Kind` is that of [`KeyValue`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be read and saved by its key",
    note = "derive `Queryable`, `AsChangeset` and `Identifiable` for it"
)]
pub trait Stamped<K, Kind, DB: LockBackend>: Sized {
    /// Executes `SELECT …, stamp FROM table WHERE pk = …`.
    #[doc(hidden)]
    fn read<C>(key: &K, conn: &mut C) -> QueryResult<Vec<WithStamp<Self, DB>>>
    where
        C: LoadConnection<Backend = DB>;

    /// Executes `UPDATE table SET … WHERE pk = … AND stamp = …`. How many rows it has written.
    #[doc(hidden)]
    fn write<C>(&self, key: &K, stamp: &DB::Stamp, conn: &mut C) -> QueryResult<usize>
    where
        C: LoadConnection<Backend = DB>;

    /// The same with `RETURNING …, stamp`.
    #[doc(hidden)]
    fn rewrite<C>(
        &self,
        key: &K,
        stamp: &DB::Stamp,
        conn: &mut C,
    ) -> QueryResult<Rewritten<Self, DB>>
    where
        C: LoadConnection<Backend = DB>;
}

/// What an `UPDATE … RETURNING` has written.
#[derive(Debug)]
pub struct Rewritten<M, DB: LockBackend> {
    pub(crate) rows: usize,
    /// The row, if it is one, and has a stamp, and can be read as the model.
    pub(crate) row: Option<WithStamp<M, DB>>,
}

/// The columns of a table.
type Columns<M> =
    <<<M as HasTable>::Table as QuerySource>::DefaultSelection as Expression>::SqlType;

impl<M, K, Kind, DB> Stamped<K, Kind, DB> for M
where
    DB: LockBackend + Default + QueryMetadata<(Columns<M>, DB::StampSql)>,
    M: HasTable<Table: Table>,
    (M, DB::Stamp): FromSqlRow<(Columns<M>, DB::StampSql), DB>,
    <M::Table as QuerySource>::FromClause: QueryFragment<DB>,
    <M::Table as QuerySource>::DefaultSelection: QueryFragment<DB>,
    <M::Table as Table>::PrimaryKey: QueryFragment<DB>,
    for<'m> &'m M: AsChangeset<Target = M::Table, Changeset: QueryFragment<DB>>,
    K: KeyValue<<M::Table as Table>::PrimaryKey, DB, Kind>,
{
    fn read<C>(key: &K, conn: &mut C) -> QueryResult<Vec<WithStamp<M, DB>>>
    where
        C: LoadConnection<Backend = DB>,
    {
        let table = M::table();
        let rows = conn.load(SelectStamped {
            columns: ColumnsAndStamp::<_, _, Columns<M>, DB>::of(&table),
            primary_key: table.primary_key(),
            key,
            kind: PhantomData::<Kind>,
        })?;
        rows.map(|row| read_as(&row?)).collect()
    }

    fn write<C>(&self, key: &K, stamp: &DB::Stamp, conn: &mut C) -> QueryResult<usize>
    where
        C: LoadConnection<Backend = DB>,
    {
        let table = M::table();
        conn.execute_returning_count(&UpdateStamped {
            update: UpdateByKey::<_, _, _, _, Kind>::of(&table, self.as_changeset(), key),
            from: QuerySource::from_clause(&table),
            stamp,
        })
    }

    fn rewrite<C>(&self, key: &K, stamp: &DB::Stamp, conn: &mut C) -> QueryResult<Rewritten<M, DB>>
    where
        C: LoadConnection<Backend = DB>,
    {
        let table = M::table();
        let mut rows = conn.load(Returning {
            update: UpdateStamped {
                update: UpdateByKey::<_, _, _, _, Kind>::of(&table, self.as_changeset(), key),
                from: QuerySource::from_clause(&table),
                stamp,
            },
            columns: ColumnsAndStamp::<_, _, Columns<M>, DB>::of(&table),
        })?;
        let Some(first) = rows.next().transpose()? else {
            return Ok(Rewritten { rows: 0, row: None });
        };
        let rows = 1 + rows.count();
        // The server has written the row by now. That it can't be read as the model is no error of
        // the statement.
        let row = read_as(&first).ok();
        Ok(Rewritten {
            rows,
            row: row.filter(|(_, stamp)| rows == 1 && DB::is_valid(stamp)),
        })
    }
}

fn read_as<'r, U, ST, DB>(row: &impl Row<'r, DB>) -> QueryResult<U>
where
    DB: Backend,
    U: FromSqlRow<ST, DB>,
{
    U::build_from_row(row).map_err(DieselError::DeserializationError)
}

/// The columns of a table, and those of the stamp.
struct ColumnsAndStamp<S, F, ST, DB> {
    columns: S,
    from: F,
    types: PhantomData<(ST, DB)>,
}

impl<S, F, ST, DB> ColumnsAndStamp<S, F, ST, DB> {
    fn of<T>(table: &T) -> Self
    where
        T: QuerySource<DefaultSelection = S, FromClause = F>,
    {
        Self {
            columns: table.default_selection(),
            from: table.from_clause(),
            types: PhantomData,
        }
    }
}

impl<S, F, ST, DB> QueryFragment<DB> for ColumnsAndStamp<S, F, ST, DB>
where
    DB: LockBackend,
    S: QueryFragment<DB>,
    F: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.columns.walk_ast(out.reborrow())?;
        out.push_sql(", ");
        DB::push_stamp(&self.from, out)
    }
}

/// `SELECT …, stamp FROM table WHERE pk = …`.
struct SelectStamped<'q, S, F, ST, DB, P, K, Kind> {
    columns: ColumnsAndStamp<S, F, ST, DB>,
    primary_key: P,
    key: &'q K,
    kind: PhantomData<Kind>,
}

impl<S, F, ST, DB: StampBackend, P, K, Kind> Query for SelectStamped<'_, S, F, ST, DB, P, K, Kind> {
    type SqlType = (ST, DB::StampSql);
}

impl<S, F, ST, DB, P, K, Kind> QueryId for SelectStamped<'_, S, F, ST, DB, P, K, Kind> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<S, F, ST, DB, P, K, Kind> QueryFragment<DB> for SelectStamped<'_, S, F, ST, DB, P, K, Kind>
where
    DB: LockBackend,
    S: QueryFragment<DB>,
    F: QueryFragment<DB>,
    P: QueryFragment<DB>,
    K: KeyValue<P, DB, Kind>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        self.columns.walk_ast(out.reborrow())?;
        out.push_sql(" FROM ");
        self.columns.from.walk_ast(out.reborrow())?;
        out.push_sql(" WHERE ");
        walk_equals_key(&self.primary_key, self.key, out)
    }
}

/// `UPDATE table SET … WHERE pk = … AND stamp = …`.
struct UpdateStamped<'q, U, F, DB: StampBackend> {
    update: U,
    from: F,
    stamp: &'q DB::Stamp,
}

impl<U, F, DB: StampBackend> QueryId for UpdateStamped<'_, U, F, DB> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<U, F, DB> QueryFragment<DB> for UpdateStamped<'_, U, F, DB>
where
    DB: LockBackend,
    U: QueryFragment<DB>,
    F: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.update.walk_ast(out.reborrow())?;
        // One statement that compares and writes: between two there is room for another session.
        if are_locks_taken_out() {
            return Ok(());
        }
        out.push_sql(" AND ");
        DB::push_unchanged(&self.from, self.stamp, out)
    }
}

/// The same with `RETURNING …, stamp`.
struct Returning<'q, U, S, F, ST, DB: StampBackend> {
    update: UpdateStamped<'q, U, F, DB>,
    columns: ColumnsAndStamp<S, F, ST, DB>,
}

impl<U, S, F, ST, DB: StampBackend> Query for Returning<'_, U, S, F, ST, DB> {
    type SqlType = (ST, DB::StampSql);
}

impl<U, S, F, ST, DB: StampBackend> QueryId for Returning<'_, U, S, F, ST, DB> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<U, S, F, ST, DB> QueryFragment<DB> for Returning<'_, U, S, F, ST, DB>
where
    DB: LockBackend,
    U: QueryFragment<DB>,
    S: QueryFragment<DB>,
    F: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.update.walk_ast(out.reborrow())?;
        out.push_sql(" RETURNING ");
        self.columns.walk_ast(out)
    }
}
