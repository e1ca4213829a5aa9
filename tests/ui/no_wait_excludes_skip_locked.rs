#[path = "support/mod.rs"]
mod support;
use support::*;

fn main() {
    let _ = RowLock::for_update().no_wait().skip_locked();
}
