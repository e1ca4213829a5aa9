//! The example `bank`, run as its users run it: as processes.

mod command_line;
mod program;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod server;

use std::io::Write;
use std::process::{Output, Stdio};
use std::thread::scope;
use std::time::Duration;

use self::program::{sqlite, stderr, stdout, word, Bank};
#[cfg(feature = "postgres")]
use self::server::postgres;
#[cfg(feature = "mysql")]
use self::server::{mariadb, mysql};
use crate::support::wait_until;

/// Checks laws on an empty database of every backend.
macro_rules! on_every_backend {
    ($($law:ident)*) => {$(
        mod $law {
            #[test]
            #[cfg(feature = "postgres")]
            fn postgres() {
                super::$law(&super::postgres());
            }

            #[test]
            #[cfg(feature = "mysql")]
            fn mysql() {
                super::$law(&super::mysql());
            }

            #[test]
            #[cfg(feature = "mysql")]
            fn mariadb() {
                super::$law(&super::mariadb());
            }

            #[test]
            fn sqlite() {
                super::$law(&super::sqlite());
            }
        }
    )*};
}

on_every_backend! {
    two_processes_storming_one_account_lose_nothing
    two_processes_storming_by_version_lose_nothing
    storms_with_a_lock_and_by_version_may_meet
    two_processes_storming_without_a_lock_lose_money
    who_edits_is_seen_and_keeps_other_operators_away
    an_edit_by_script_holds_the_account_for_a_while
    an_error_is_one_line_and_changes_nothing
    numbers_are_printed_alone
    the_demonstration_loses_by_hand_and_nothing_with_the_lock
    several_processes_may_run_the_first_migration_at_once
}

fn two_processes_storming_one_account_lose_nothing(bank: &Bank) {
    assert_storms_lose_nothing(bank, ["row", "row"]);
}

fn two_processes_storming_by_version_lose_nothing(bank: &Bank) {
    assert_storms_lose_nothing(bank, ["version", "version"]);
}

fn storms_with_a_lock_and_by_version_may_meet(bank: &Bank) {
    assert_storms_lose_nothing(bank, ["row", "version"]);
}

fn assert_storms_lose_nothing(bank: &Bank, strategies: [&str; 2]) {
    let account = bank.number(&["open", "Ada", "--balance", "1000000"]);
    let nets = bank.storm_twice(account, strategies);
    let there_is = bank.number(&["balance", &account.to_string()]);
    // By what the threads were told, not by what the database says of itself.
    assert_eq!(there_is, 1_000_000 + nets.iter().sum::<i64>());
    let audit = bank.run(&["audit"]);
    assert!(audit.status.success(), "{audit:?}");
}

fn two_processes_storming_without_a_lock_lose_money(bank: &Bank) {
    // The twin of the tests above: it shows that what those look for can be seen.
    let lost = (0..5).any(|_| {
        let account = bank.number(&["open", "Ada", "--balance", "1000000"]);
        let nets = bank.storm_twice(account, ["none", "none"]);
        let there_is = bank.number(&["balance", &account.to_string()]);
        there_is != 1_000_000 + nets.iter().sum::<i64>()
    });
    assert!(lost, "five storms without a lock lost nothing");
    let audit = bank.run(&["audit"]);
    assert_eq!(audit.status.code(), Some(1), "{audit:?}");
    assert!(stdout(&audit).contains("is broken"), "{audit:?}");
}

fn who_edits_is_seen_and_keeps_other_operators_away(bank: &Bank) {
    let id = bank.number(&["open", "Ada"]).to_string();
    assert!(bank.prints(&["who"]).starts_with("nobody holds a lease\n"));
    let mut edit = bank.command(&["edit", &id, "--operator", "Charles"]);
    let mut edit = edit
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    wait_until("the operator is seen", Duration::from_millis(20), || {
        bank.prints(&["who"])
            .contains("is held by Charles (editing the owner)")
    });
    let other = bank.run(&["edit", &id, "--operator", "Eve", "--owner", "Eve"]);
    assert_refused(&other, "Charles");
    assert_eq!(bank.number(&["deposit", &id, "5"]), 5, "bookings go on");
    writeln!(edit.stdin.take().expect("a pipe"), "Grace").expect("it reads");
    let edited = edit.wait_with_output().expect("it ends");
    assert!(edited.status.success(), "{edited:?}");
    assert!(stdout(&edited).contains("which is Ada's"), "{edited:?}");
    assert!(bank.prints(&["who"]).starts_with("nobody holds a lease\n"));
    assert!(bank.prints(&["edit", &id]).contains("which is Grace's"));
    assert!(
        bank.prints(&["edit", &id]).contains("which is Grace's"),
        "nothing typed, nothing changed"
    );
}

fn an_edit_by_script_holds_the_account_for_a_while(bank: &Bank) {
    let id = bank.number(&["open", "Ada"]).to_string();
    let edit = [
        "edit",
        &id,
        "--operator",
        "Charles",
        "--owner",
        "Grace",
        "--hold",
    ];
    let mut held = bank.command(&[&edit[..], &["10min"]].concat());
    let mut held = held.stdout(Stdio::null()).spawn().expect("it runs");
    wait_until("the operator is seen", Duration::from_millis(20), || {
        bank.prints(&["who"]).contains("is held by Charles")
    });
    held.kill().expect("it is still at it");
    held.wait().expect("it is gone");
    assert!(
        bank.prints(&["who"]).contains("is held by Charles"),
        "until its time is over"
    );

    let id = bank.number(&["open", "Ada"]).to_string();
    let edited = bank.prints(&["edit", &id, "--owner", "Grace", "--hold", "1ms"]);
    assert_eq!(edited, "");
    assert!(bank.prints(&["edit", &id]).contains("which is Grace's"));
    assert_refused(
        &bank.run(&["edit", "77", "--owner", "Eve"]),
        "unknown account",
    );
}

/// Who waits for whom in the bank, by a server.
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod who_waits_is_printed {
    use diesel::Connection;
    use diesel_row_lock::bounds::WaitsBackend;
    use diesel_row_lock::waits::SessionId;
    use diesel_row_lock::LockConnection;

    use super::*;

    #[test]
    #[cfg(feature = "postgres")]
    fn postgres() {
        check::<diesel::PgConnection>(&super::postgres());
    }

    #[test]
    #[cfg(feature = "mysql")]
    fn mysql() {
        check::<diesel::MysqlConnection>(&super::mysql());
    }

    #[test]
    #[cfg(feature = "mysql")]
    fn mariadb() {
        check::<diesel::MysqlConnection>(&super::mariadb());
    }

    fn check<C>(bank: &Bank)
    where
        C: Connection + LockConnection<Backend: WaitsBackend>,
    {
        let id = bank.number(&["open", "Ada"]).to_string();
        let mut holder = C::establish(&bank.url).expect("the server answers");
        let session = SessionId::of(&mut holder).expect("its session");
        for sql in ["BEGIN", "UPDATE accounts SET balance = 7"] {
            holder.batch_execute(sql).expect("the row");
        }
        let says = format!(" for session {session}");
        scope(|scope| {
            let deposit = scope.spawn(|| bank.number(&["deposit", &id, "5"]));
            wait_until("the wait is printed", Duration::from_millis(20), || {
                let who = bank.prints(&["who"]);
                let mut lines = who.lines();
                lines.any(|line| line.contains(&says) && line.contains("accounts"))
            });
            holder.batch_execute("COMMIT").expect("the server answers");
            assert_eq!(deposit.join().expect("a balance"), 12);
        });
    }
}

fn an_error_is_one_line_and_changes_nothing(bank: &Bank) {
    let ada = bank
        .number(&["open", "Ada", "--balance", "1000"])
        .to_string();
    let rich = bank
        .number(&["open", "Grace", "--balance", &i64::MAX.to_string()])
        .to_string();
    let (ada, rich) = (ada.as_str(), rich.as_str());
    let books = || {
        (
            bank.number(&["balance", ada]),
            bank.number(&["balance", rich]),
            bank.run(&["audit"]).stdout,
        )
    };
    let before = books();
    for (arguments, says) in [
        (&["withdraw", ada, "1001"][..], "insufficient funds"),
        (&["transfer", ada, rich, "1001"], "insufficient funds"),
        (&["deposit", rich, "1"], "can't hold so much"),
        (&["transfer", ada, rich, "1"], "can't hold so much"),
        (&["transfer", ada, ada, "1"], "to itself"),
        (&["deposit", ada, "0"], "must be positive"),
        (&["deposit", ada, "-5"], "must be positive"),
        (&["withdraw", ada, "-5"], "must be positive"),
        (
            &["withdraw", ada, "-9223372036854775808"],
            "must be positive",
        ),
        (&["transfer", ada, rich, "-5"], "must be positive"),
        (&["open", "Eve", "--balance", "-1"], "must not be negative"),
        (&["deposit", "77", "1"], "unknown account"),
        (&["withdraw", "77", "1"], "unknown account"),
        (&["balance", "77"], "unknown account"),
        (&["transfer", ada, "77", "1"], "unknown account 77"),
        (&["transfer", "77", ada, "1"], "unknown account 77"),
        (&["storm", "--account", "77"], "unknown account"),
    ] {
        assert_refused(&bank.run(arguments), says);
    }
    assert_eq!(books(), before);
}

fn numbers_are_printed_alone(bank: &Bank) {
    let prints = |arguments: &[&str], line: &str| {
        let output = bank.run(arguments);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        assert_eq!(stdout(&output), format!("{line}\n"), "{arguments:?}");
    };
    prints(&["open", "Ada", "--balance", "1000"], "1");
    prints(&["open", "Grace"], "2");
    prints(&["deposit", "1", "5"], "1005");
    prints(&["withdraw", "1", "10"], "995");
    prints(&["transfer", "1", "2", "95"], "900");
    prints(&["balance", "1"], "900");
    prints(&["balance", "2"], "95");
    prints(&["audit"], "2 accounts, 6 journal entries, 0 broken");
}

fn the_demonstration_loses_by_hand_and_nothing_with_the_lock(bank: &Bank) {
    assert_demonstrates(&bank.run(&[]));
}

fn several_processes_may_run_the_first_migration_at_once(bank: &Bank) {
    let mut ids = scope(|scope| {
        let openings: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| bank.number(&["open", "Ada", "--balance", "7"])))
            .collect();
        openings
            .into_iter()
            .map(|opening| opening.join().expect("an id"))
            .collect::<Vec<_>>()
    });
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
    let audit = bank.run(&["audit"]);
    assert_eq!(stdout(&audit), "6 accounts, 6 journal entries, 0 broken\n");
}

fn assert_refused(output: &Output, says: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(said.lines().count(), 1, "{output:?}");
    assert!(
        said.starts_with("error: ") && said.contains(says),
        "{says}: {output:?}"
    );
    assert!(output.stdout.is_empty(), "{output:?}");
}

fn assert_demonstrates(output: &Output) {
    assert!(output.status.success(), "{output:?}");
    let report = stdout(output);
    let (by_hand, locked) = report
        .split_once("2. With `with_row_lock`")
        .expect("two halves");
    // Most often money is lost; if more withdrawals than deposits are overwritten, there is too
    // much.
    assert!(
        by_hand.contains("times a booking overwrote those of others"),
        "{report}"
    );
    assert_ne!(
        word(by_hand, "expected"),
        word(by_hand, "there is"),
        "{report}"
    );
    assert_eq!(word(locked, "lost"), 0, "{report}");
    assert_eq!(
        word(locked, "expected"),
        word(locked, "there is"),
        "{report}"
    );
    assert!(word(locked, "bookings") > 10, "{report}");
}
