//! The operations of the laws about the prover, and the race of two of them.

macro_rules! prove {
    ($db:ident, $operation:expr, $rival:expr) => {
        Race::of("operation", $operation)
            .against("rival", $rival)
            .setup(reset!())
            .prove(|| Ok($db.connect()), observe!())
            .unwrap()
    };
}
pub(crate) use prove;

macro_rules! reset {
    () => {
        |conn: &mut Conn| {
            diesel::update(accounts::table)
                .set(accounts::balance.eq(1_000))
                .execute(conn)
        }
    };
}
pub(crate) use reset;

macro_rules! observe {
    () => {
        |conn: &mut Conn| {
            let balances = accounts::table.select(accounts::balance);
            balances.order(accounts::id).load::<i64>(conn)
        }
    };
}
pub(crate) use observe;

macro_rules! deposit {
    ($conn:expr, $id:expr, $amount:expr) => {
        with_row_lock(
            $conn,
            accounts::table.find($id),
            |conn, mut account: Locked<Account>| {
                account.balance += $amount;
                account.save_changes::<Account>(conn)?;
                Ok::<_, LockError>(())
            },
        )
    };
}
pub(crate) use deposit;

macro_rules! transfer {
    ($conn:expr, $from:expr, $to:expr) => {
        with_row_locks(
            $conn,
            [$from, $to],
            |conn, [mut from, mut to]: [Locked<Account>; 2]| {
                from.balance -= 1;
                to.balance += 1;
                from.save_changes::<Account>(conn)?;
                to.save_changes::<Account>(conn)?;
                Ok::<_, LockError>(())
            },
        )
    };
}
pub(crate) use transfer;

/// Reads outside of the lock, and writes under it what it read.
macro_rules! broken_withdrawal {
    ($conn:expr) => {{
        let seen: Account = accounts::table.find(1).first($conn)?;
        with_row_lock(
            $conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance = seen.balance - 100;
                account.save_changes::<Account>(conn)?;
                Ok::<_, LockError>(())
            },
        )
    }};
}
pub(crate) use broken_withdrawal;

macro_rules! bare_deposit {
    ($conn:expr) => {
        $conn.transaction(|conn| {
            let account: Account = accounts::table.find(1).first(conn)?;
            let more = accounts::balance.eq(account.balance + 1);
            diesel::update(&account).set(more).execute(conn)
        })
    };
}
pub(crate) use bare_deposit;

/// One statement.
macro_rules! add {
    ($conn:expr, $id:expr, $amount:expr) => {
        diesel::update(accounts::table.find($id))
            .set(accounts::balance.eq(accounts::balance + $amount))
            .execute($conn)
    };
}
pub(crate) use add;
