//! SQLite has no locking clauses: the lock is the transaction itself (see `begin.rs`).

use diesel::query_builder::{AstPass, QueryFragment};
use diesel::result::QueryResult;
use diesel::sqlite::Sqlite;

use crate::sql::clause::{
    walk_locking_select, Block, ForUpdate, LockStrength, LockTables, LockWait, LockingSelect,
    NoWait, Timeout,
};

impl LockStrength<Sqlite> for ForUpdate {
    const SQL: &'static str = "";
}

impl LockWait<Sqlite> for Block {}
impl LockWait<Sqlite> for NoWait {}
impl LockWait<Sqlite> for Timeout {}

impl<Q, S, W, T> QueryFragment<Sqlite> for LockingSelect<Q, S, W, T>
where
    Q: QueryFragment<Sqlite>,
    S: LockStrength<Sqlite>,
    W: LockWait<Sqlite>,
    T: LockTables<Sqlite>,
{
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        walk_locking_select(self, out)
    }
}
