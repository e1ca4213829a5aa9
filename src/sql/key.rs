//! Primary keys as values: single ones and tuples.

use std::fmt::Debug;
use std::hash::Hash;

use diesel::associations::{HasTable, Identifiable};
use diesel::expression::Expression;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::query_source::{Column, Table};
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::HasSqlType;

use crate::backend::LockBackend;

/// Marks a primary key of one column.
#[derive(Debug, Clone, Copy)]
pub struct Single;

/// Marks a primary key of several columns.
#[derive(Debug, Clone, Copy)]
pub struct Composite;

/// A value of the primary key `PK`, of one column or of a tuple of them.
///
/// `Kind` tells the two apart; it is inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a value of this table's primary key",
    note = "pass the key as the model has it (`i32`, `String`, …), or a tuple for a composite key"
)]
pub trait KeyValue<PK, DB, Kind>: Clone + Eq + Hash + Debug {
    /// How many columns the key has.
    #[doc(hidden)]
    const COLUMNS: usize;

    /// Binds the values, with commas between them.
    #[doc(hidden)]
    fn push_binds<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()>
    where
        DB: LockBackend;
}

// So that a key of a wrong type is called that, and not one that lacks a trait of Diesel's.
#[diagnostic::do_not_recommend]
impl<PK, DB, K> KeyValue<PK, DB, Single> for K
where
    PK: Column,
    DB: LockBackend + HasSqlType<<PK as Expression>::SqlType>,
    K: ToSql<<PK as Expression>::SqlType, DB> + Clone + Eq + Hash + Debug,
{
    const COLUMNS: usize = 1;

    fn push_binds<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_bind_param::<<PK as Expression>::SqlType, K>(self)
    }
}

/// `pk = ?`, or `(a, b) = (?, ?)`.
pub(crate) fn walk_equals_key<'b, PK, K, Kind, DB>(
    primary_key: &'b PK,
    key: &'b K,
    mut out: AstPass<'_, 'b, DB>,
) -> QueryResult<()>
where
    DB: LockBackend,
    PK: QueryFragment<DB>,
    K: KeyValue<PK, DB, Kind>,
{
    let (open, close) = if K::COLUMNS > 1 { ("(", ")") } else { ("", "") };
    out.push_sql(open);
    primary_key.walk_ast(out.reborrow())?;
    out.push_sql(close);
    out.push_sql(" = ");
    out.push_sql(open);
    key.push_binds(out.reborrow())?;
    out.push_sql(close);
    Ok(())
}

/// What Diesel's `Identifiable` returns for a model whose key is a `K`: `&K`, or a tuple of
/// references.
pub trait KeyRef<K> {
    /// The key as a value of its own.
    #[doc(hidden)]
    fn to_key(self) -> K;
}

/// A model that knows its own primary key: every `Identifiable` one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no primary key of type `{K}`",
    note = "derive `Identifiable` for the model, and pass keys of the type of its key field"
)]
pub trait KeyedBy<K>: HasTable<Table: Table> {
    /// The model's key.
    #[doc(hidden)]
    fn key(&self) -> K;
}

// As above: the message of this trait says what the model needs.
#[diagnostic::do_not_recommend]
impl<M, K> KeyedBy<K> for M
where
    M: HasTable<Table: Table>,
    for<'m> &'m M: Identifiable<Id: KeyRef<K>>,
{
    fn key(&self) -> K {
        self.id().to_key()
    }
}

impl<K: Clone> KeyRef<K> for &K {
    fn to_key(self) -> K {
        self.clone()
    }
}

macro_rules! composite_keys {
    ($(($($column:ident $value:ident $index:tt),+))+) => {$(
        impl<DB, $($column, $value),+> KeyValue<($($column,)+), DB, Composite> for ($($value,)+)
        where
            $($column: Column, $value: KeyValue<$column, DB, Single>,)+
        {
            const COLUMNS: usize = [$($index),+].len();

            fn push_binds<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()>
            where
                DB: LockBackend,
            {
                $(
                    if $index > 0 {
                        out.push_sql(", ");
                    }
                    self.$index.push_binds(out.reborrow())?;
                )+
                Ok(())
            }
        }

        impl<$($value: Clone),+> KeyRef<($($value,)+)> for ($(&$value,)+) {
            fn to_key(self) -> ($($value,)+) {
                ($(self.$index.clone(),)+)
            }
        }
    )+};
}

composite_keys! {
    (C0 V0 0, C1 V1 1)
    (C0 V0 0, C1 V1 1, C2 V2 2)
    (C0 V0 0, C1 V1 1, C2 V2 2, C3 V3 3)
    (C0 V0 0, C1 V1 1, C2 V2 2, C3 V3 3, C4 V4 4)
    (C0 V0 0, C1 V1 1, C2 V2 2, C3 V3 3, C4 V4 4, C5 V5 5)
}
