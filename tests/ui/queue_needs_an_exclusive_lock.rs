#[path = "support/mod.rs"]
mod support;
use diesel_row_lock::queue::RowQueue;
use support::*;

fn main() {
    let _ = RowQueue::<PgConnection, Account>::builder().lock(RowLock::for_share());
}
