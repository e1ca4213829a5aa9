//! Saves by version: one `UPDATE` that asks for the version that was read.

mod at_version;
mod save;

use diesel::query_builder::AsQuery;
use diesel::query_dsl::methods::{LimitDsl, LoadQuery};
use diesel::query_source::Column;
use diesel::sql_types::{BigInt, Integer, SmallInt};
use diesel::{Expression, RunQueryDsl};

pub use self::at_version::{at_version, AtVersion};
pub use self::save::SaveVersioned;
use crate::backend::{classify, Waiting};
use crate::connection::{depth, LockConnection};
use crate::error::LockError;
use crate::retry::{Failure, Retry};
use crate::transaction::run_alone;

/// A model whose row has a version column, for saves without a lock.
///
/// A column of the table counts the row's versions. [`save_versioned`] is one `UPDATE` that asks
/// for the version that was read and counts it up. If another transaction was faster, it changes
/// nothing and returns [`LockError::StaleRow`]. To look first and save then would leave room for
/// another change between the two.
///
/// Right where collisions are rare, where a user thinks between reading and saving, or where no
/// transaction may stay open. Where collisions are the rule, a [row lock](crate::with_row_lock)
/// lets callers wait instead of doing their work again.
///
/// It guards only against code that counts, too. A write that leaves the version column alone is
/// not noticed.
///
/// The column is a `SmallInt`, an `Integer` or a `BigInt`. Only [`save_versioned`] writes it, so
/// the model's `AsChangeset` must leave it out: `#[diesel(skip_update)]`.
///
/// # Example
///
/// ```
/// # include!("../doctest_setup.rs");
/// use diesel_row_lock::Versioned;
///
/// diesel::table! {
///     pages {
///         id -> Integer,
///         text -> Text,
///         version -> Integer,
///     }
/// }
///
/// #[derive(Queryable, Identifiable, AsChangeset)]
/// struct Page {
///     id: i32,
///     text: String,
///     #[diesel(skip_update)]
///     version: i32,
/// }
///
/// impl Versioned for Page {
///     type Column = pages::version;
///     fn version(&self) -> i32 { self.version }
/// }
/// # fn main() {}
/// ```
pub trait Versioned {
    /// The column that counts.
    type Column: Column<SqlType: VersionType>;

    /// The version that was read.
    fn version(&self) -> VersionOf<Self>;
}

/// The number in the version column of the model `M`.
pub(crate) type VersionOf<M> =
    <<<M as Versioned>::Column as Expression>::SqlType as VersionType>::Number;

/// The type of a column that can count versions.
#[diagnostic::on_unimplemented(
    message = "a column of type `{Self}` can't count versions",
    note = "the version column is `SmallInt`, `Integer` or `BigInt`, and not nullable"
)]
pub trait VersionType {
    /// The same in Rust.
    type Number: VersionNumber;
}

impl VersionType for SmallInt {
    type Number = i16;
}

impl VersionType for Integer {
    type Number = i32;
}

impl VersionType for BigInt {
    type Number = i64;
}

/// A number that can count versions: `i16`, `i32`, `i64`.
pub trait VersionNumber: Copy + Into<i64> {
    /// The version after this one, if there can be one.
    #[doc(hidden)]
    fn next(self) -> Option<Self>;
}

macro_rules! version_numbers {
    ($($number:ty)+) => {$(
        impl VersionNumber for $number {
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
        }
    )+};
}

version_numbers! { i16 i32 i64 }

/// Saves the model if its row is still of the version that was read, and returns the new version.
///
/// The model itself is left as it is: whether its new version is there to stay is not known before
/// the transaction commits, if one is open. Saved a second time without being read again it is
/// stale, by the hand of its own first save. Without a change the version counts up all the same.
///
/// Executes, as one statement:
/// `UPDATE pages SET text = $1, version = version + 1 WHERE pages.id = $2 AND version = $3`.
///
/// # Errors
///
/// - [`StaleRow`](LockError::StaleRow): somebody has saved or deleted it since;
/// - [`VersionOverflow`](LockError::VersionOverflow): the column can't count any further;
/// - [`CommitUnknown`](LockError::CommitUnknown): the connection was lost, and no transaction was
///   open: the statement is a transaction of its own;
/// - [`ConnectionLost`](LockError::ConnectionLost): it was lost in an open transaction;
/// - those of [any statement](crate::errors#any-statement): to write a row is to lock it.
///
/// # Example
///
/// ```
/// # include!("../doctest_setup.rs");
/// use diesel_row_lock::{save_versioned, LockError, Versioned};
///
/// # diesel::table! { pages { id -> Integer, text -> Text, version -> Integer } }
/// # #[derive(Queryable, Identifiable, AsChangeset)]
/// # struct Page {
/// #     id: i32,
/// #     text: String,
/// #     #[diesel(skip_update)]
/// #     version: i32,
/// # }
/// # impl Versioned for Page {
/// #     type Column = pages::version;
/// #     fn version(&self) -> i32 { self.version }
/// # }
/// # fn main() -> Result<(), LockError> {
/// # use diesel::connection::SimpleConnection;
/// # let conn = &mut establish_connection();
/// # conn.batch_execute(
/// #     "CREATE TABLE pages (
/// #          id INTEGER PRIMARY KEY, text TEXT NOT NULL, version INTEGER NOT NULL);
/// #      INSERT INTO pages VALUES (1, '', 1)",
/// # )?;
/// let mut hers: Page = pages::table.find(1).first(conn)?;
/// let mut his: Page = pages::table.find(1).first(conn)?;
///
/// hers.text = "Ada".to_owned();
/// hers.version = save_versioned(conn, &hers)?;
///
/// his.text = "Charles".to_owned();
/// let late = save_versioned(conn, &his);
/// assert!(matches!(late, Err(LockError::StaleRow { expected: 1, .. })));
/// # Ok(())
/// # }
/// ```
pub fn save_versioned<C, M, K, Kind>(conn: &mut C, model: &M) -> Result<VersionOf<M>, LockError>
where
    C: LockConnection,
    M: SaveVersioned<K, Kind, C::Backend>,
{
    let version = model.version();
    // Before the statement: a counter that wraps would make an old version valid again.
    let next = version.next().ok_or_else(|| LockError::VersionOverflow {
        key: model.shown_key(),
        version: version.into(),
    })?;
    // One statement that compares and writes: between two there would be room for another session.
    match run_alone(conn, |conn| model.save(version, conn))? {
        0 => Err(LockError::StaleRow {
            key: model.shown_key(),
            expected: version.into(),
        }),
        _ => Ok(next),
    }
}

/// Reads the row of `query`, lets `f` change it, saves it with [`save_versioned`], and begins anew
/// when somebody else was faster, as often as the policy allows.
///
/// `f` may run more than once, each time with the row read anew. Deadlocks and serialization
/// failures of the save are retried, too, and lock timeouts [on demand](Retry::lock_timeouts).
///
/// Executes the query with `LIMIT 1` and the SQL of [`save_versioned`].
///
/// # Errors
///
/// Those of [`save_versioned`], but for `StaleRow`, and
///
/// - [`RetriesExhausted`](LockError::RetriesExhausted): the policy gave up;
/// - [`NotFound`](LockError::NotFound): no row matches (any more);
/// - [`AlreadyInTransaction`](LockError::AlreadyInTransaction): a transaction is open, in which the
///   row may never look new, and whose work would not be repeated;
/// - any error of `f` itself, as it is; nothing is then saved.
///
/// # Example
///
/// ```
/// # include!("../doctest_setup.rs");
/// use diesel_row_lock::{update_versioned, LockError, Retry, Versioned};
///
/// # diesel::table! { pages { id -> Integer, text -> Text, version -> Integer } }
/// # #[derive(Queryable, Identifiable, AsChangeset)]
/// # struct Page {
/// #     id: i32,
/// #     text: String,
/// #     #[diesel(skip_update)]
/// #     version: i32,
/// # }
/// # impl Versioned for Page {
/// #     type Column = pages::version;
/// #     fn version(&self) -> i32 { self.version }
/// # }
/// # fn main() -> Result<(), LockError> {
/// # use diesel::connection::SimpleConnection;
/// # let conn = &mut establish_connection();
/// # conn.batch_execute(
/// #     "CREATE TABLE pages (
/// #          id INTEGER PRIMARY KEY, text TEXT NOT NULL, version INTEGER NOT NULL);
/// #      INSERT INTO pages VALUES (1, '', 1)",
/// # )?;
/// let length = update_versioned(conn, pages::table.find(1), &Retry::new(), |page: &mut Page| {
///     page.text += "One more line.\n";
///     Ok::<_, LockError>(page.text.len())
/// })?;
/// assert_eq!(length, 15);
/// # Ok(())
/// # }
/// ```
pub fn update_versioned<'q, C, Q, M, K, Kind, R, E, F>(
    conn: &mut C,
    query: Q,
    retry: &Retry,
    mut f: F,
) -> Result<R, E>
where
    C: LockConnection,
    Q: AsQuery<Query: LimitDsl> + Clone,
    <Q::Query as LimitDsl>::Output: LoadQuery<'q, C, M>,
    M: SaveVersioned<K, Kind, C::Backend>,
    F: FnMut(&mut M) -> Result<R, E>,
    E: From<LockError>,
{
    // Under REPEATABLE READ each attempt would read the same version again.
    if depth(conn).is_some_and(|depth| depth > 0) {
        return Err(E::from(LockError::AlreadyInTransaction {
            reason: "a row can't be read anew inside an open transaction",
        }));
    }
    let attempt = |_| {
        // Read by each attempt: what the last one has read is stale.
        let read = LimitDsl::limit(query.clone().as_query(), 1).get_result::<M>(conn);
        let mut model = read.map_err(|error| classify::<C::Backend>(error, Waiting::Session))?;
        let value = f(&mut model).map_err(Failure::Own)?;
        save_versioned(conn, &model)?;
        Ok(value)
    };
    retry
        .clone()
        .stale_rows()
        .run(attempt, |_: &E| None, |_| None)
}
