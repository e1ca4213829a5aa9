//! What a competent user writes by hand, with the connection type `Conn` of the module that
//! includes this file.

use diesel::prelude::*;
use diesel_row_lock::LockError;

use super::bank::{accounts, carry_over, pay_in, Account};
use super::Conn;
use crate::strategy::{Manner, Order, Receipt};

pub(super) fn deposit(conn: &mut Conn, row: i32, manner: Manner) -> Result<Receipt, LockError> {
    conn.transaction(|conn| {
        let account: Account = accounts::table.find(row).for_update().first(conn)?;
        pay_in(conn, &account, manner)
    })
}

pub(super) fn transfer(
    conn: &mut Conn,
    rows: [i32; 2],
    order: Order,
    manner: Manner,
) -> Result<Receipt, LockError> {
    conn.transaction(|conn| {
        let both: Vec<Account> = accounts::table
            .filter(accounts::id.eq_any(rows))
            .order(accounts::id)
            .for_update()
            .load(conn)?;
        carry_over(conn, &both, order, manner)
    })
}
