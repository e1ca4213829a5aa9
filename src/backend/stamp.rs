//! [`StampBackend`]: how a backend tells that a row is still the one that was read.

use std::fmt::Debug;
use std::time::Instant;

use diesel::backend::Backend;
use diesel::connection::LoadConnection;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::result::{Error as DieselError, QueryResult};

/// The stamps of a backend. A stamp belongs to one version of a row: a statement that asks for it
/// finds the row only if it is still that version.
///
/// A stamp is valid on the session that read it, and outside of a transaction. The server checks
/// both, as part of the statement.
pub trait StampBackend: Backend {
    /// Whether there are any. Without them a row is locked before it is written.
    #[doc(hidden)]
    const HAS_STAMPS: bool;

    /// The SQL type of the columns that a stamp is read from.
    #[doc(hidden)]
    type StampSql;

    #[doc(hidden)]
    type Stamp: Clone + Debug + Send;

    /// The columns, of the table that `from` names.
    #[doc(hidden)]
    fn push_stamp<'b, F>(from: &'b F, out: AstPass<'_, 'b, Self>) -> QueryResult<()>
    where
        F: QueryFragment<Self>;

    /// The condition that the row is of this stamp.
    #[doc(hidden)]
    fn push_unchanged<'b, F>(
        from: &'b F,
        stamp: &'b Self::Stamp,
        out: AstPass<'_, 'b, Self>,
    ) -> QueryResult<()>
    where
        F: QueryFragment<Self>;

    /// Whether this is the server's own answer to a statement that was a transaction of its own,
    /// sent at this time: it was rolled back.
    #[doc(hidden)]
    fn was_refused<C>(conn: &mut C, error: &DieselError, since: Instant) -> bool
    where
        C: LoadConnection<Backend = Self>;

    /// Whether the stamp is one of a row whose versions the server tells apart.
    #[doc(hidden)]
    fn is_valid(stamp: &Self::Stamp) -> bool;

    /// Whether both are stamps of the same version of a row, whatever the session.
    #[doc(hidden)]
    fn is_same_row(one: &Self::Stamp, other: &Self::Stamp) -> bool;
}

/// For a backend without stamps.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
macro_rules! without_stamps {
    ($backend:ty) => {
        impl $crate::backend::stamp::StampBackend for $backend {
            const HAS_STAMPS: bool = false;

            type StampSql = diesel::sql_types::Integer;
            type Stamp = i32;

            fn push_stamp<'b, F>(
                _: &'b F,
                mut out: diesel::query_builder::AstPass<'_, 'b, Self>,
            ) -> diesel::result::QueryResult<()>
            where
                F: diesel::query_builder::QueryFragment<Self>,
            {
                out.push_sql("0");
                Ok(())
            }

            fn push_unchanged<'b, F>(
                _: &'b F,
                _: &'b i32,
                mut out: diesel::query_builder::AstPass<'_, 'b, Self>,
            ) -> diesel::result::QueryResult<()>
            where
                F: diesel::query_builder::QueryFragment<Self>,
            {
                out.push_sql("1 = 0");
                Ok(())
            }

            fn was_refused<C>(_: &mut C, _: &diesel::result::Error, _: std::time::Instant) -> bool {
                false
            }

            fn is_valid(_: &i32) -> bool {
                false
            }

            fn is_same_row(_: &i32, _: &i32) -> bool {
                false
            }
        }
    };
}
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(crate) use without_stamps;
