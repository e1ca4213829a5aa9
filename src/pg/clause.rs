//! PostgreSQL's locking clauses.

use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{AstPass, QueryBuilder, QueryFragment, QueryId};
use diesel::result::QueryResult;

use crate::hold::{HoldAtMost, LockHold};
use crate::sql::clause::{
    last_identifier, walk_locking_select, Block, ForKeyShare, ForNoKeyUpdate, ForShare, ForUpdate,
    LockStrength, LockTables, LockWait, LockingSelect, NoWait, Of, SkipLocked, Timeout,
};

impl LockStrength<Pg> for ForUpdate {
    const SQL: &'static str = "FOR UPDATE";
}

impl LockStrength<Pg> for ForNoKeyUpdate {
    const SQL: &'static str = "FOR NO KEY UPDATE";
}

impl LockStrength<Pg> for ForShare {
    const SQL: &'static str = "FOR SHARE";
}

impl LockStrength<Pg> for ForKeyShare {
    const SQL: &'static str = "FOR KEY SHARE";
}

impl<T> LockTables<Pg> for Of<T>
where
    T: Copy + QueryId + QueryFragment<Pg>,
{
    fn name(&self) -> QueryResult<Option<String>> {
        let mut sql = PgQueryBuilder::new();
        self.0.to_sql(&mut sql, &Pg)?;
        Ok(Some(last_identifier(&sql.finish(), '"')))
    }
}

impl LockWait<Pg> for Block {}
impl LockWait<Pg> for NoWait {}
impl LockWait<Pg> for SkipLocked {}
impl LockWait<Pg> for Timeout {}

impl LockHold<Pg> for HoldAtMost {}

impl<Q, S, W, T> QueryFragment<Pg> for LockingSelect<Q, S, W, T>
where
    Q: QueryFragment<Pg>,
    S: LockStrength<Pg>,
    W: LockWait<Pg>,
    T: LockTables<Pg>,
{
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        walk_locking_select(self, out)
    }
}
