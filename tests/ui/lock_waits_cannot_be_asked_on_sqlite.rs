#[path = "support/mod.rs"]
mod support;
use support::*;

fn main() {
    let conn = &mut SqliteConnection::establish(":memory:").unwrap();
    let _ = diesel_row_lock::waits::lock_waits(conn);
}
