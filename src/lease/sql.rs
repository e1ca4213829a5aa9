//! The statements about leases, with names in braces where values stand.

use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::RunQueryDsl;

use super::backend::LeaseBackend;

/// Whoever wants it may have it: it was released, it has expired, or the clock was set back: then its
/// end is further away than it has ever been, and nobody shall wait for that.
pub(crate) const FREE: &str = "(owner IS NULL OR expires_at <= {now} OR expires_at > {now} + ttl)";

/// Of the token, and in time.
const MINE: &str = "name = {name} AND token = {token} AND owner IS NOT NULL AND expires_at > {now}";

pub(super) const LOOK: &str = "SELECT name, owner, note, token, acquired_at, expires_at, {free} \
     FROM row_lock_leases WHERE name = {name}";

pub(super) const LOCK: &str = "SELECT name, owner, note, token, acquired_at, expires_at, {free} \
     FROM row_lock_leases WHERE name = {name}{for_update}";

pub(super) const LOCK_NO_WAIT: &str =
    "SELECT name, owner, note, token, acquired_at, expires_at, {free} \
     FROM row_lock_leases WHERE name = {name}{for_update}{no_wait}";

pub(super) const NEXT_TOKEN: &str = "UPDATE row_lock_lease_tokens SET last = last + 1";

pub(super) const TAKE: &str = "UPDATE row_lock_leases SET owner = {owner}, note = {note}, \
     token = (SELECT last FROM row_lock_lease_tokens), \
     acquired_at = {now}, expires_at = {now} + {ttl}, ttl = {ttl} WHERE name = {name}";

pub(super) const AUDIT: &str = "INSERT INTO row_lock_overrides \
     (name, admin, reason, token, ousted, ousted_token, overridden_at) \
     SELECT name, owner, {reason}, token, {ousted}, {ousted_token}, acquired_at \
     FROM row_lock_leases WHERE name = {name}";

pub(super) const RENEW: &str =
    "UPDATE row_lock_leases SET expires_at = {now} + {ttl}, ttl = {ttl} WHERE {mine}";

pub(super) const RELEASE: &str = "UPDATE row_lock_leases SET owner = NULL, note = '', \
     expires_at = {now} WHERE name = {name} AND token = {token} AND owner IS NOT NULL";

pub(super) const GUARD: &str = "SELECT name, owner, note, token, acquired_at, expires_at, {free} \
     FROM row_lock_leases WHERE {mine}{for_update}";

pub(super) const HOLDERS: &str =
    "SELECT name, owner, note, token, acquired_at, expires_at, {free} \
     FROM row_lock_leases WHERE owner IS NOT NULL ORDER BY acquired_at, name";

pub(super) const EXPIRED: &str =
    "SELECT name, owner, note, token, acquired_at, expires_at, {free} \
     FROM row_lock_leases WHERE owner IS NOT NULL AND {free} ORDER BY expires_at, name";

pub(super) const PURGE: &str = "DELETE FROM row_lock_leases WHERE expires_at < {now} - {ttl}";

pub(super) const OVERRIDES: &str =
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
pub(super) struct Values<'v> {
    pub(super) name: &'v str,
    pub(super) owner: &'v str,
    pub(super) note: &'v str,
    pub(super) reason: &'v str,
    /// In microseconds.
    pub(super) ttl: i64,
    pub(super) token: i64,
    pub(super) ousted: Option<&'v str>,
    pub(super) ousted_token: Option<i64>,
}

/// One of the texts above with its values.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'v> {
    pub(super) sql: &'static str,
    pub(super) values: Values<'v>,
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
                Some("token") => out.push_bind_param::<BigInt, i64>(&values.token)?,
                Some("ousted") => out.push_bind_param::<Nullable<Text>, _>(&values.ousted)?,
                Some("ousted_token") => {
                    out.push_bind_param::<Nullable<BigInt>, _>(&values.ousted_token)?;
                }
                Some("now") => out.push_sql(DB::NOW),
                Some("for_update") => out.push_sql(DB::FOR_UPDATE),
                Some("no_wait") => out.push_sql(DB::NO_WAIT),
                Some("free") => self.walk(FREE, out)?,
                Some("mine") => self.walk(MINE, out)?,
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
