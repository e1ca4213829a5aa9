//! SQLite has no locking clauses: the lock is the transaction itself (see `begin.rs`).

use diesel::query_builder::{AstPass, QueryFragment};
use diesel::result::QueryResult;
use diesel::sqlite::Sqlite;

use crate::sql::clause::{
    walk_locking_select, Block, EveryTable, ForUpdate, LockStrength, LockWait, LockingSelect,
    NoWait, Timeout,
};

impl LockStrength<Sqlite> for ForUpdate {
    const SQL: &'static str = "";
}

impl LockWait<Sqlite> for Block {}
impl LockWait<Sqlite> for NoWait {}
impl LockWait<Sqlite> for Timeout {}

impl<Q, W> QueryFragment<Sqlite> for LockingSelect<Q, ForUpdate, W, EveryTable>
where
    Q: QueryFragment<Sqlite>,
    W: LockWait<Sqlite>,
{
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        walk_locking_select(self, out)
    }
}
