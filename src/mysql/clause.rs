//! MySQL's and MariaDB's locking clauses.
//!
//! The two servers differ, and Diesel does not tell which one it speaks to. Both read conditional
//! comments: `/*M! … */` is SQL to MariaDB only, `/*!80001 … */` to MySQL from 8.0.1 on only
//! (MariaDB skips all versions of 5.7 and more,
//! <https://mariadb.com/kb/en/comment-syntax/>).

use diesel::mysql::{Mysql, MysqlQueryBuilder};
use diesel::query_builder::{AstPass, QueryBuilder, QueryFragment, QueryId};
use diesel::result::QueryResult;

use crate::hold::{HoldAtMost, LockHold};
use crate::sql::clause::{
    last_identifier, walk_locking_select, Block, ForShare, ForUpdate, LockStrength, LockTables,
    LockWait, LockingSelect, NoWait, Of, SkipLocked, Timeout,
};

impl LockStrength<Mysql> for ForUpdate {
    const SQL: &'static str = "FOR UPDATE";
}

/// Both servers have had `LOCK IN SHARE MODE` for ever, but MySQL takes options only behind
/// `FOR SHARE`, which MariaDB does not have. A server that knows neither comment is left with the
/// bare option, which is a syntax error and not a statement without a lock.
impl LockStrength<Mysql> for ForShare {
    const SQL: &'static str = "LOCK IN SHARE MODE";
    const SQL_BEFORE_OPTION: &'static str = "/*M! LOCK IN SHARE MODE */ /*!80001 FOR SHARE */";
}

impl<T> LockTables<Mysql> for Of<T>
where
    T: Copy + QueryId + QueryFragment<Mysql>,
{
    fn name(&self) -> QueryResult<Option<String>> {
        let mut sql = MysqlQueryBuilder::new();
        self.0.to_sql(&mut sql, &Mysql)?;
        Ok(Some(last_identifier(&sql.finish(), '`')))
    }
}

impl LockWait<Mysql> for Block {}
impl LockWait<Mysql> for NoWait {}
impl LockWait<Mysql> for SkipLocked {}
impl LockWait<Mysql> for Timeout {}

impl LockHold<Mysql> for HoldAtMost {}

impl<Q, S, W, T> QueryFragment<Mysql> for LockingSelect<Q, S, W, T>
where
    Q: QueryFragment<Mysql>,
    S: LockStrength<Mysql>,
    W: LockWait<Mysql>,
    T: LockTables<Mysql>,
{
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        walk_locking_select(self, out)
    }
}
