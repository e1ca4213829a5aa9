#[path = "support/mod.rs"]
mod support;
use support::*;

fn charge_fee(account: &mut Locked<'_, Account>) {
    account.balance -= 1;
}

fn main() {
    let mut stale = Account { id: 1, balance: 0 };
    charge_fee(&mut stale);
    charge_fee(&mut Locked::new(stale));
}
