//! Names of leases: of a row, by its table and its primary key; and what can't be one.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::error::LockError;

/// A primary key that can be part of a lease's name: of values that have a `Display`, alone or in a
/// tuple.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a primary key that can be written into the name of a lease",
    note = "the columns of the key must be `Display`; \
            otherwise name the lease yourself: `Lease::named(…)`"
)]
pub trait RowName {
    /// A slash and the value, for each column.
    #[doc(hidden)]
    fn push_to(self, name: &mut String);
}

impl<K: Display> RowName for &K {
    fn push_to(self, name: &mut String) {
        name.push('/');
        // The slash of a value is none that stands between two.
        *name += &self.to_string().replace('\\', "\\\\").replace('/', "\\/");
    }
}

macro_rules! composite_names {
    ($(($($value:ident $index:tt),+))+) => {$(
        impl<$($value: Display),+> RowName for ($(&$value,)+) {
            fn push_to(self, name: &mut String) {
                $(self.$index.push_to(name);)+
            }
        }
    )+};
}

composite_names! {
    (V0 0, V1 1)
    (V0 0, V1 1, V2 2)
    (V0 0, V1 1, V2 2, V3 3)
    (V0 0, V1 1, V2 2, V3 3, V4 4)
    (V0 0, V1 1, V2 2, V3 3, V4 4, V5 5)
}

#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod row {
    use diesel::associations::{HasTable, Identifiable};
    use diesel::backend::Backend;
    use diesel::query_builder::{QueryBuilder, QueryFragment};
    use diesel::query_source::QuerySource;

    use super::super::Lease;
    use super::RowName;

    /// Only a backend writes the name of a table; any will do.
    #[cfg(feature = "postgres")]
    type Writer = diesel::pg::Pg;
    #[cfg(all(feature = "mysql", not(feature = "postgres")))]
    type Writer = diesel::mysql::Mysql;
    #[cfg(not(any(feature = "postgres", feature = "mysql")))]
    type Writer = diesel::sqlite::Sqlite;

    impl Lease {
        /// The lease of the row that this model came from.
        ///
        /// Its name is that of the table and the primary key, with slashes between them:
        /// `accounts/1`, `seats/blue/2`. Sends no SQL; the row need not exist (any more).
        ///
        /// # Example
        ///
        /// ```
        /// # include!("../doctest_setup.rs");
        /// use diesel_row_lock::Lease;
        ///
        /// # fn main() {
        /// # let conn = &mut establish_connection();
        /// let account: Account = accounts::table.find(1).first(conn).expect("Ada's account");
        /// assert_eq!(Lease::on(&account).name(), "accounts/1");
        /// # }
        /// ```
        pub fn on<'m, M>(model: &'m M) -> Self
        where
            &'m M: Identifiable<Id: RowName>,
            <<&'m M as HasTable>::Table as QuerySource>::FromClause: QueryFragment<Writer>,
        {
            let table = <&'m M as HasTable>::table();
            let mut name = table_name(&QuerySource::from_clause(&table));
            model.id().push_to(&mut name);
            Self::named(name)
        }
    }

    /// The same by every writer: each has its own quotes, and `"a"."b"` is `a.b` here.
    fn table_name<F: QueryFragment<Writer>>(from: &F) -> String {
        let mut sql = <Writer as Backend>::QueryBuilder::default();
        if let Err(error) = from.to_sql(&mut sql, &Writer::default()) {
            unreachable!("the name of a table takes no connection: {error}");
        }
        let sql = sql.finish();
        let quote = sql.chars().next().unwrap_or('"');
        let inner = sql.trim_start_matches(quote).trim_end_matches(quote);
        inner.replace(&format!("{quote}.{quote}"), ".")
    }
}

/// What the databases take, and take for the same, is not the same.
pub(super) fn check(
    what: &'static str,
    text: &str,
    bytes: RangeInclusive<usize>,
) -> Result<(), LockError> {
    let why = if text.len() < *bytes.start() {
        "is empty"
    } else if text.len() > *bytes.end() {
        "is too long"
    } else if text.contains('\0') {
        "has a NUL in it"
    } else {
        return Ok(());
    };
    Err(LockError::InvalidLease { what, why })
}

/// A century: what is added to a clock must not overflow.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Rounded up.
pub(super) fn micros(ttl: Duration) -> Result<i64, LockError> {
    let invalid = |why| LockError::InvalidLease { what: "ttl", why };
    if ttl.is_zero() {
        return Err(invalid("is zero"));
    }
    if ttl > LONGEST {
        return Err(invalid("is longer than a century"));
    }
    i64::try_from(ttl.as_nanos().div_ceil(1_000)).map_err(|_| invalid("is longer than a century"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_to_live_is_at_most_a_century() {
        assert_eq!(micros(LONGEST).unwrap(), 100 * 366 * 86_400 * 1_000_000);
        let too_long = micros(LONGEST + Duration::from_nanos(1));
        assert!(
            matches!(too_long, Err(LockError::InvalidLease { what: "ttl", .. })),
            "{too_long:?}"
        );
    }

    #[test]
    fn time_to_live_is_rounded_up() {
        assert_eq!(micros(Duration::from_nanos(1)).unwrap(), 1);
        assert_eq!(micros(Duration::from_nanos(1_001)).unwrap(), 2);
        assert!(micros(Duration::ZERO).is_err());
    }
}
