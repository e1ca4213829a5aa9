//! What one attempt of a call does. A call without a [`Retry`](crate::Retry) has one.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use diesel::associations::HasTable;
use diesel::dsl::Find;
use diesel::query_builder::AsQuery;
use diesel::query_dsl::methods::{FindDsl, LoadQuery};
use diesel::query_source::Table;
use diesel::result::QueryResult;
use diesel::RunQueryDsl;

use super::keys::{in_order_of, refuse_duplicates};
use super::RowLock;
use crate::backend::{classify, unsupported, LockBackend, Settings};
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::hold::{Hold, LockHold};
use crate::locked::Locked;
use crate::sql::by_key::SelectByKeys;
use crate::sql::clause::{LockStrength, LockTables, LockWait, LockingSelect, Wait};
use crate::sql::key::{KeyValue, KeyedBy};
use crate::sql::lockable::Lockable;
use crate::telemetry::{table_in, Call};
use crate::transaction::{run, Request};

/// The query for the row of a model with a key.
pub(crate) type QueryByKey<M, K> = <Find<<M as HasTable>::Table, K> as AsQuery>::Query;

impl<S, W: Copy, T: Copy, H: Hold> RowLock<S, W, T, H> {
    /// The call that begins now, of rows of the query or the table `Q`.
    #[track_caller]
    pub(crate) fn call<C, Q>(&self) -> Call
    where
        C: LockConnection,
        S: LockStrength<C::Backend>,
    {
        Call::begin(C::Backend::SYSTEM, S::NAME, table_in::<Q>)
    }

    /// One row.
    pub(crate) fn attempt<'q, C, Q, M, R, E, F, Form>(
        self,
        call: &Call,
        conn: &mut C,
        query: Q,
        f: F,
    ) -> Result<R, E>
    where
        C: LockConnection,
        S: LockStrength<C::Backend>,
        W: LockWait<C::Backend>,
        T: LockTables<C::Backend>,
        H: LockHold<C::Backend>,
        Q: AsQuery<Query: Lockable<C::Backend, Form>>,
        LockingSelect<Q::Query, S, W, T>: LoadQuery<'q, C, M>,
        F: for<'tx> FnOnce(&mut C, Locked<'tx, M>) -> Result<R, E>,
        E: From<LockError>,
    {
        let query = query.as_query();
        query.check().inspect_err(|error| call.failed(error))?;
        let select = self.select(query);
        run(
            conn,
            self.request(),
            call,
            |conn| self.acquired::<C, _>(select.get_result(conn)),
            |conn, row| f(conn, Locked::new(row)),
        )
    }

    /// Every row of a query.
    pub(super) fn attempt_all<'q, C, Q, M, R, E, F, Form>(
        self,
        call: &Call,
        conn: &mut C,
        query: Q,
        f: F,
    ) -> Result<R, E>
    where
        C: LockConnection,
        S: LockStrength<C::Backend>,
        W: LockWait<C::Backend>,
        T: LockTables<C::Backend>,
        H: LockHold<C::Backend>,
        Q: AsQuery<Query: Lockable<C::Backend, Form>>,
        LockingSelect<Q::Query, S, W, T>: LoadQuery<'q, C, M>,
        F: for<'tx> FnOnce(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
    {
        let query = query.as_query();
        query.check().inspect_err(|error| call.failed(error))?;
        let select = self.select(query);
        run(
            conn,
            self.request(),
            call,
            |conn| self.acquired::<C, _>(select.load(conn)),
            |conn, rows| f(conn, rows.into_iter().map(Locked::new).collect()),
        )
    }

    /// The rows with these keys.
    pub(super) fn attempt_many<C, M, I, K, Kind, R, E, F>(
        self,
        call: &Call,
        conn: &mut C,
        keys: I,
        f: F,
    ) -> Result<R, E>
    where
        C: LockConnection,
        S: LockStrength<C::Backend>,
        W: LockWait<C::Backend>,
        T: LockTables<C::Backend>,
        H: LockHold<C::Backend>,
        I: IntoIterator<Item = K>,
        M: KeyedBy<K>,
        K: KeyValue<<M::Table as Table>::PrimaryKey, C::Backend, Kind>,
        for<'q> LockingSelect<SelectByKeys<'q, M::Table, K, Kind>, S, W, T>: LoadQuery<'q, C, M>,
        F: for<'tx> FnOnce(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
    {
        let keys: Vec<K> = keys.into_iter().collect();
        refuse_duplicates(&keys).inspect_err(|error| call.failed(error))?;
        run(
            conn,
            self.request(),
            call,
            |conn| {
                if keys.is_empty() {
                    return Ok(Vec::new());
                }
                let select = self.select(SelectByKeys::new(M::table(), &keys));
                let rows = self.acquired::<C, _>(select.load(conn))?;
                in_order_of(&keys, rows, |keys| {
                    let again = self.select_anew(SelectByKeys::in_order(M::table(), keys));
                    self.acquired::<C, _>(again.load(conn))
                })
            },
            |conn, rows| f(conn, rows.into_iter().map(Locked::new).collect()),
        )
    }

    /// The row of a model whose key is known.
    pub(crate) fn attempt_key<C, M, K, R, E, F>(
        self,
        call: &Call,
        conn: &mut C,
        key: &K,
        f: F,
    ) -> Result<R, E>
    where
        C: LockConnection,
        S: LockStrength<C::Backend>,
        W: LockWait<C::Backend>,
        T: LockTables<C::Backend>,
        H: LockHold<C::Backend>,
        M: KeyedBy<K>,
        K: Clone + Eq + Hash + Debug,
        M::Table: FindDsl<K, Output: AsQuery>,
        for<'q> LockingSelect<QueryByKey<M, K>, S, W, T>: LoadQuery<'q, C, M>,
        F: for<'tx> FnOnce(&mut C, Locked<'tx, M>) -> Result<R, E>,
        E: From<LockError>,
    {
        let find = || M::table().find(key.clone()).as_query();
        run(
            conn,
            self.request(),
            call,
            |conn| {
                let rows = self.acquired::<C, _>(self.select(find()).load(conn))?;
                let keys = std::slice::from_ref(key);
                let rows = in_order_of(keys, rows, |_| {
                    self.acquired::<C, _>(self.select_anew(find()).load(conn))
                })?;
                rows.into_iter()
                    .next()
                    .ok_or(LockError::NotFound { key: None })
            },
            |conn, row| f(conn, Locked::new(row)),
        )
    }

    pub(crate) fn hold_limit(&self) -> Option<Duration> {
        self.hold.limit()
    }

    fn request(&self) -> Request
    where
        W: Wait,
    {
        Request {
            settings: Settings {
                waiting: self.wait.waiting(),
                hold: self.hold.limit(),
            },
            outermost: self.outermost,
            commit_token: self.commit_token,
        }
    }

    pub(crate) fn select<Q>(self, query: Q) -> LockingSelect<Q, S, W, T> {
        LockingSelect {
            query,
            strength: self.strength,
            wait: self.wait,
            tables: self.tables,
            anew: false,
        }
    }

    /// The same as a statement of its own, whatever is in a cache.
    fn select_anew<Q>(self, query: Q) -> LockingSelect<Q, S, W, T> {
        LockingSelect {
            anew: true,
            ..self.select(query)
        }
    }

    /// The result of the locking statement, with its error by meaning.
    fn acquired<C, R>(&self, result: QueryResult<R>) -> Result<R, LockError>
    where
        C: LockConnection,
        W: LockWait<C::Backend>,
        T: LockTables<C::Backend>,
    {
        let waiting = self.wait.waiting();
        result.map_err(|error| {
            if T::ARE_NAMED {
                unsupported::<C::Backend>(error, waiting)
            } else {
                classify::<C::Backend>(error, waiting)
            }
        })
    }
}
