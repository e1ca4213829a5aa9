//! The statements about leases, with names in braces where values stand.

use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::RunQueryDsl;

use super::LeaseBackend;

/// The lease can be acquired: it was released, it has expired, or the server's clock was set back.
/// In the last case its end is further away than its time to live. By more than a second: MySQL's
/// clock is that of the statement's beginning, and the row may have been written since.
pub(crate) const FREE: &str = "(owner IS NULL OR expires_at <= {now} \
     OR expires_at > {now} + ttl + 1000000)";

/// Of this holder.
const OWN: &str = "name = {name} AND token = {token} AND nonce = {nonce} AND owner IS NOT NULL";

/// Of this holder, and not expired when the call was made. The wait for the row does not count:
/// another session that takes the lease meanwhile changes its token.
const MINE: &str = "{own} AND expires_at > {when_asked}";

/// The next token. The clock keeps tokens rising after a restore from a backup, the other two keep
/// them rising after the clock was set back, also for a row that was purged and is new.
const NEXT: &str = "{greatest}(token, \
     COALESCE((SELECT f.token FROM row_lock_lease_floor AS f WHERE f.id = 1), 0), {now}) + 1";

pub(crate) const LOOK: &str = "SELECT name, owner, note, token, acquired_at, expires_at, {free} \
     FROM row_lock_leases WHERE name = {name}";

pub(crate) const LOCK: &str = "SELECT name, owner, note, token, acquired_at, expires_at, {free} \
     FROM row_lock_leases WHERE name = {name}{for_update}";

pub(crate) const LOCK_NO_WAIT: &str =
    "SELECT name, owner, note, token, acquired_at, expires_at, {free} \
     FROM row_lock_leases WHERE name = {name}{for_update}{no_wait}";

pub(crate) const TAKE: &str = "{take}";

pub(crate) const TAKE_FREE: &str = "{take} AND {free}";

/// The next token reads the floor in a statement behind the lock of the row, and so behind a purge
/// of that name.
const TAKE_ROW: &str = "UPDATE row_lock_leases SET owner = {owner}, note = {note}, \
     token = {next}, nonce = {nonce}, \
     acquired_at = {now}, expires_at = {now} + {ttl}, ttl = {ttl} WHERE name = {name}";

pub(crate) const AUDIT: &str = "INSERT INTO row_lock_overrides \
     (name, admin, reason, token, ousted, ousted_token, overridden_at) \
     SELECT name, owner, {reason}, token, {ousted}, {ousted_token}, acquired_at \
     FROM row_lock_leases WHERE name = {name}";

pub(crate) const RENEW: &str =
    "UPDATE row_lock_leases SET expires_at = {now} + {ttl}, ttl = {ttl} WHERE {own}";

pub(crate) const RELEASE: &str = "UPDATE row_lock_leases SET owner = NULL, note = '', \
     expires_at = {now} WHERE {own}";

pub(crate) const GUARD: &str = "SELECT name, owner, note, token, acquired_at, expires_at, {free} \
     FROM row_lock_leases WHERE {mine}{for_update}";

pub(crate) const HOLDERS: &str =
    "SELECT name, owner, note, token, acquired_at, expires_at, {free} \
     FROM row_lock_leases WHERE owner IS NOT NULL ORDER BY acquired_at, name";

pub(crate) const EXPIRED: &str =
    "SELECT name, owner, note, token, acquired_at, expires_at, {free} \
     FROM row_lock_leases WHERE owner IS NOT NULL AND {free} ORDER BY expires_at, name";

pub(crate) const PURGE: &str = "DELETE FROM row_lock_leases WHERE name IN ({names})";

pub(crate) const RAISE_FLOOR: &str = "UPDATE row_lock_lease_floor \
     SET token = {greatest}(token, {token}) WHERE id = 1";

pub(crate) const OVERRIDES: &str =
    "SELECT name, admin, reason, token, ousted, ousted_token, overridden_at \
     FROM row_lock_overrides WHERE name = {name} ORDER BY id";

/// Name, owner, note, token, acquired, expires, and whether it is free (or, after an attempt to
/// acquire it, whether that succeeded).
pub(crate) type LeaseRow = (String, Option<String>, String, i64, i64, i64, bool);
pub(crate) type LeaseTypes = (Text, Nullable<Text>, Text, BigInt, BigInt, BigInt, Bool);

/// Name, admin, reason, token, ousted, ousted token, when.
pub(crate) type OverrideRow = (
    String,
    String,
    String,
    i64,
    Option<String>,
    Option<i64>,
    i64,
);
pub(crate) type OverrideTypes = (
    Text,
    Text,
    Text,
    BigInt,
    Nullable<Text>,
    Nullable<BigInt>,
    BigInt,
);

/// What the names in braces stand for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Values<'v> {
    pub(crate) name: &'v str,
    pub(crate) owner: &'v str,
    pub(crate) note: &'v str,
    pub(crate) reason: &'v str,
    /// The names of several leases; a statement with them is not kept in Diesel's cache, or each
    /// number of them would stay there.
    pub(crate) names: &'v [&'v str],
    /// In microseconds.
    pub(crate) ttl: i64,
    pub(crate) token: i64,
    pub(crate) nonce: i64,
    /// By this process's clock, in microseconds since 1970.
    pub(crate) asked: i64,
    pub(crate) ousted: Option<&'v str>,
    pub(crate) ousted_token: Option<i64>,
}

/// One of the texts above with its values.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'v> {
    pub(crate) sql: &'static str,
    pub(crate) values: Values<'v>,
}

impl Statement<'_> {
    /// The same with rows of these types.
    pub(crate) fn returning<ST>(&self) -> Returning<'_, ST> {
        Returning(self, PhantomData)
    }
}

/// Told apart by its text.
impl QueryId for Statement<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB> QueryFragment<DB> for Statement<'_>
where
    DB: LeaseBackend,
    str: ToSql<Text, DB>,
    i64: ToSql<BigInt, DB>,
    for<'t> Option<&'t str>: ToSql<Nullable<Text>, DB>,
    Option<i64>: ToSql<Nullable<BigInt>, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.walk(self.sql, &mut out)
    }
}

impl Statement<'_> {
    fn walk<'b, DB>(&'b self, sql: &'static str, out: &mut AstPass<'_, 'b, DB>) -> QueryResult<()>
    where
        DB: LeaseBackend,
        str: ToSql<Text, DB>,
        i64: ToSql<BigInt, DB>,
        for<'t> Option<&'t str>: ToSql<Nullable<Text>, DB>,
        Option<i64>: ToSql<Nullable<BigInt>, DB>,
    {
        let values = &self.values;
        let mut parts = sql.split(['{', '}']);
        // Text and names take turns.
        while let Some(text) = parts.next() {
            out.push_sql(text);
            match parts.next() {
                None => break,
                Some("name") => out.push_bind_param::<Text, str>(values.name)?,
                Some("owner") => out.push_bind_param::<Text, str>(values.owner)?,
                Some("note") => out.push_bind_param::<Text, str>(values.note)?,
                Some("reason") => out.push_bind_param::<Text, str>(values.reason)?,
                Some("ttl") => out.push_bind_param::<BigInt, i64>(&values.ttl)?,
                Some("names") => {
                    out.unsafe_to_cache_prepared();
                    for (at, name) in values.names.iter().enumerate() {
                        if at > 0 {
                            out.push_sql(", ");
                        }
                        out.push_bind_param::<Text, str>(name)?;
                    }
                }
                Some("nonce") => out.push_bind_param::<BigInt, i64>(&values.nonce)?,
                Some("asked") => out.push_bind_param::<BigInt, i64>(&values.asked)?,
                Some("token") => out.push_bind_param::<BigInt, i64>(&values.token)?,
                Some("ousted") => out.push_bind_param::<Nullable<Text>, _>(&values.ousted)?,
                Some("ousted_token") => {
                    out.push_bind_param::<Nullable<BigInt>, _>(&values.ousted_token)?;
                }
                Some("now") => out.push_sql(DB::NOW),
                Some("for_update") => out.push_sql(DB::FOR_UPDATE),
                Some("no_wait") => out.push_sql(DB::NO_WAIT),
                Some("free") => self.walk(FREE, out)?,
                Some("own") => self.walk(OWN, out)?,
                Some("mine") => self.walk(MINE, out)?,
                Some("take") => self.walk(TAKE_ROW, out)?,
                Some("next") => self.walk(NEXT, out)?,
                Some("when_asked") => self.walk(DB::ASKED, out)?,
                Some("greatest") => out.push_sql(DB::GREATEST),
                Some(other) => unreachable!("{other} stands for nothing"),
            }
        }
        Ok(())
    }
}

/// A [`Statement`] with rows of the types `ST`.
pub(crate) struct Returning<'s, ST>(&'s Statement<'s>, PhantomData<ST>);

impl<ST> Query for Returning<'_, ST> {
    type SqlType = ST;
}

impl<ST> QueryId for Returning<'_, ST> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST, C> RunQueryDsl<C> for Returning<'_, ST> {}

impl<ST, DB> QueryFragment<DB> for Returning<'_, ST>
where
    DB: Backend,
    for<'v> Statement<'v>: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }
}
