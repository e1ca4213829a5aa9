//! What is proven.

use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::ConnectionResult;
use diesel_row_lock::race::{Race, RaceError, Verdict, Watch};
use diesel_row_lock::LockConnection;

use crate::bank::Bank;
use crate::error::BankError;

/// What an account begins each run with, in cents.
const BALANCE: i64 = 1_000;

/// The two accounts of the proofs.
#[derive(Clone, Copy)]
struct Accounts([i32; 2]);

impl Accounts {
    fn open<C: Bank>(conn: &mut C) -> Result<Self, BankError> {
        conn.migrate()?;
        Ok(Self([
            conn.open("Ada", BALANCE)?,
            conn.open("Grace", BALANCE)?,
        ]))
    }

    /// Back to the beginning.
    fn reset<C: SimpleConnection>(self, conn: &mut C) -> Result<(), BankError> {
        for id in self.0 {
            conn.batch_execute(&format!(
                "UPDATE accounts SET balance = {BALANCE} WHERE id = {id}; \
                 DELETE FROM journal WHERE account_id = {id}; \
                 INSERT INTO journal (account_id, amount, balance_before, balance_after) \
                 VALUES ({id}, {BALANCE}, 0, {BALANCE})"
            ))?;
        }
        Ok(())
    }

    /// Of each account, its balance and what is wrong in its journal.
    fn look<C: Bank>(self, conn: &mut C) -> Result<[(i64, String); 2], BankError> {
        let [first, second] = self.0.map(|id| {
            let books = conn.books(id)?;
            let journal = if books.are_in_order() {
                "in order"
            } else {
                "broken"
            };
            Ok::<_, BankError>((books.balance, format!("journal {journal}")))
        });
        Ok([first?, second?])
    }
}

/// Says whether each proof came out as it should.
pub(crate) fn run<C>(connect: impl Fn() -> ConnectionResult<C>) -> Result<bool, RaceError>
where
    C: Bank + LockConnection<Backend: Watch> + 'static,
{
    let accounts = connect()
        .map_err(BankError::from)
        .and_then(|mut conn| Accounts::open(&mut conn))
        .map_err(|error| RaceError::Setup(error.in_one_line()))?;
    let [ada, grace] = accounts.0;
    let prove = |name: &str, expected: Verdict, race: Race<'_, C>| {
        let start = Instant::now();
        let proof = race
            .setup(move |conn| accounts.reset(conn))
            .prove(&connect, |conn| accounts.look(conn))?;
        println!("== {name}: {proof}");
        println!("({:.1} s)\n", start.elapsed().as_secs_f64());
        Ok(proof.verdict() == expected)
    };

    let results = [
        prove(
            "a withdrawal that reads outside of the lock, against a deposit",
            Verdict::Racy,
            Race::of("withdraw", move |conn: &mut C| {
                conn.withdraw_by_hand(ada, 100)
            })
            .against("deposit", move |conn| conn.deposit(ada, 100)),
        )?,
        prove(
            "the withdrawal under the lock, against a deposit",
            Verdict::Cured,
            Race::of("withdraw", move |conn: &mut C| conn.withdraw(ada, 100))
                .against("deposit", move |conn| conn.deposit(ada, 100)),
        )?,
        prove(
            "two withdrawals of more than half, of which one must be refused",
            Verdict::Cured,
            Race::of("withdraw", move |conn: &mut C| {
                conn.withdraw(ada, 600).map(drop)
            })
            .against("another", move |conn| conn.withdraw(ada, 700).map(drop)),
        )?,
        prove(
            "two deposits",
            Verdict::Cured,
            Race::of("deposit", move |conn: &mut C| conn.deposit(ada, 100))
                .against("another", move |conn| conn.deposit(ada, 30)),
        )?,
        prove(
            "two transfers in opposite directions",
            Verdict::Cured,
            Race::of("transfer", move |conn: &mut C| {
                conn.transfer(ada, grace, 100).map(drop)
            })
            .against("back", move |conn| conn.transfer(grace, ada, 30).map(drop)),
        )?,
    ];
    Ok(results.into_iter().all(|as_expected| as_expected))
}
