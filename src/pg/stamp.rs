//! Stamps on PostgreSQL: `xmin`, the id of the transaction that wrote the version of a row.
//!
//! Every row has one, and no two versions of a row have the same, as long as these hold. A
//! statement asks for them together with `xmin`:
//!
//! - **The version is the one that was read** (`ctid`, its place). An `AFTER` trigger may write the
//!   row once more in the same transaction, and `RETURNING` shows what was there before that.
//! - **The session is the one that read the stamp** (`pg_backend_pid()` and
//!   `pg_postmaster_start_time()`). After a failover, or after a crash with
//!   `synchronous_commit = off`, the id of a lost transaction is given to another one. Neither can
//!   happen within a session. Behind a pooler, the next statement may run in another session.
//! - **The transaction is another one than that which read the stamp** (`now()`, the begin of the
//!   transaction). If it is the same one, SQL that Diesel does not know of has left it open, and
//!   the statement would not be committed.
//!
//! Only a row of an ordinary table has a stamp. Foreign tables give `xmin` any constant
//! (`postgres_fdw`: zero), other access methods define it as they like, and a view has none.
//!
//! What does not change a stamp: `FOR UPDATE` of others (it sets `xmax`), and freezing (the id
//! stays in the row). What changes it without a change of the row (`VACUUM FULL` or `CLUSTER` of a
//! frozen row) is a miss. After 2³² transactions an id comes again; a stamp lives as long as a
//! closure runs, or as a queue keeps the row.
//!
//! Source: `xmin` as a concurrency token, as in Npgsql for Entity Framework Core.

use std::io::Write;
use std::time::Instant;

use diesel::connection::LoadConnection;
use diesel::data_types::PgTimestamp;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::{Error as DieselError, QueryResult};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{Integer, Nullable, SqlType, Timestamptz};

use super::begin::{is_older, is_refusal};
use crate::backend::stamp::StampBackend;

/// PostgreSQL's type `xid`.
#[derive(Debug, Clone, Copy, SqlType, QueryId)]
#[diesel(postgres_type(oid = 28, array_oid = 1011))]
pub struct Xid;

/// The id of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromSqlRow, AsExpression)]
#[diesel(sql_type = Xid)]
pub struct TransactionId(u32);

impl FromSql<Xid, Pg> for TransactionId {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(u32::from_be_bytes(value.as_bytes().try_into()?)))
    }
}

impl ToSql<Xid, Pg> for TransactionId {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&self.0.to_be_bytes())?;
        Ok(serialize::IsNull::No)
    }
}

/// PostgreSQL's type `tid`.
#[derive(Debug, Clone, Copy, SqlType, QueryId)]
#[diesel(postgres_type(oid = 27, array_oid = 1010))]
pub struct Tid;

/// The place of a version: the number of its block, and that in the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromSqlRow, AsExpression)]
#[diesel(sql_type = Tid)]
pub struct Place([u8; 6]);

impl FromSql<Tid, Pg> for Place {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(value.as_bytes().try_into()?))
    }
}

impl ToSql<Tid, Pg> for Place {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&self.0)?;
        Ok(serialize::IsNull::No)
    }
}

/// `xmin`, `ctid`, the session, when its server was started, and when the transaction began that
/// read it.
type Stamp = (Option<TransactionId>, Place, i32, PgTimestamp, PgTimestamp);

impl StampBackend for Pg {
    const HAS_STAMPS: bool = true;

    type StampSql = (Nullable<Xid>, Tid, Integer, Timestamptz, Timestamptz);
    type Stamp = Stamp;

    fn push_stamp<'b, F>(from: &'b F, mut out: AstPass<'_, 'b, Self>) -> QueryResult<()>
    where
        F: QueryFragment<Self>,
    {
        // 2 is the id of the access method `heap`.
        out.push_sql(
            "CASE WHEN (SELECT relkind = 'r' AND relam = 2 FROM pg_catalog.pg_class \
             WHERE pg_class.oid = ",
        );
        from.walk_ast(out.reborrow())?;
        out.push_sql(".tableoid) THEN ");
        from.walk_ast(out.reborrow())?;
        out.push_sql(".xmin END, ");
        from.walk_ast(out.reborrow())?;
        out.push_sql(
            ".ctid, pg_catalog.pg_backend_pid(), pg_catalog.pg_postmaster_start_time(), \
             pg_catalog.now()",
        );
        Ok(())
    }

    fn push_unchanged<'b, F>(
        from: &'b F,
        (xmin, place, session, started, begun): &'b Stamp,
        mut out: AstPass<'_, 'b, Self>,
    ) -> QueryResult<()>
    where
        F: QueryFragment<Self>,
    {
        from.walk_ast(out.reborrow())?;
        out.push_sql(".xmin = ");
        out.push_bind_param::<Nullable<Xid>, _>(xmin)?;
        out.push_sql(" AND ");
        from.walk_ast(out.reborrow())?;
        out.push_sql(".ctid = ");
        out.push_bind_param::<Tid, _>(place)?;
        out.push_sql(" AND pg_catalog.pg_backend_pid() = ");
        out.push_bind_param::<Integer, _>(session)?;
        out.push_sql(" AND pg_catalog.pg_postmaster_start_time() = ");
        out.push_bind_param::<Timestamptz, _>(started)?;
        out.push_sql(" AND pg_catalog.now() <> ");
        out.push_bind_param::<Timestamptz, _>(begun)
    }

    fn was_refused<C>(conn: &mut C, error: &DieselError, since: Instant) -> bool
    where
        C: LoadConnection<Backend = Self>,
    {
        is_refusal(error) || is_older(conn, since)
    }

    fn is_valid((xmin, ..): &Stamp) -> bool {
        xmin.is_some()
    }

    fn is_same_row((one, ..): &Stamp, (other, ..): &Stamp) -> bool {
        one.is_some() && one == other
    }
}
