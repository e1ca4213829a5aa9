//! skip-locked, skip-locked-2 and skip-locked-4: workers who pass what is held. (skip-locked-3 is
//! `wait_options::row_with_a_waiter_is_skipped`.)

use diesel::prelude::*;
use diesel_row_lock::race::{Schedule, Steps};
use diesel_row_lock::{LockError, Locked, RowLock};
use law::law;

#[cfg(feature = "postgres")]
use super::gate::{gate, past_the_gate};
use crate::race::orders::{in_every_order, reset};
use crate::support::schema::{accounts, Account};

/// skip-locked: each claims the first row that is free, twice.
#[law(postgres, mysql, mariadb)]
fn workers_have_different_rows_in_every_order(db: &Db) {
    let worker = |conn: &mut Conn, steps: &Steps| {
        steps.next("one");
        claim_first!(conn, RowLock::for_update(), |conn, one| {
            steps.next("two");
            claim_first!(conn, RowLock::for_update(), |_, two| {
                steps.next("commit");
                Ok::<_, LockError>((one, two))
            })
        })
    };
    let schedule = Schedule::new()
        .setup(reset!())
        .session("ada", worker)
        .session("grace", worker);
    let steps: &[&[_]] = &[
        &["ada one", "ada two", "ada commit"],
        &["grace one", "grace two", "grace commit"],
    ];
    let all = in_every_order(&schedule, || db.connect(), steps);
    assert_eq!(all.len(), 20);
    for run in all {
        assert!(!run.anyone_waited(), "{run}");
        // What is one's own is not skipped.
        let first_free = |session: &str, other: &str| {
            let step = |who: &str, step: &str| format!("{who} {step}");
            let is_late = run.comes(&[
                &step(other, "one"),
                &step(session, "one"),
                &step(other, "commit"),
            ]);
            if is_late {
                "2"
            } else {
                "1"
            }
        };
        for (session, other) in [("ada", "grace"), ("grace", "ada")] {
            let ended = run.ended(session).unwrap();
            let one = first_free(session, other);
            assert!(ended.starts_with(&format!("({one},")), "{run}");
        }
    }
}

/// skip-locked-2: the first row is shared by both, and Grace wants it alone; or it is hers alone.
#[law(postgres, mysql, mariadb)]
fn shared_row_is_skipped_by_who_wants_it_alone_in_every_order(db: &Db) {
    let schedule = Schedule::new()
        .setup(reset!())
        .session("ada", |conn: &mut Conn, steps| {
            steps.next("share");
            claim_first!(conn, RowLock::for_share(), |_, id| {
                steps.next("commit");
                Ok::<_, LockError>(id)
            })
        })
        .session("grace", |conn, steps| {
            steps.next("share");
            claim_first!(conn, RowLock::for_share(), |conn, shared| {
                steps.next("update");
                claim_first!(conn, RowLock::for_update(), |_, alone| {
                    steps.next("commit");
                    Ok::<_, LockError>((shared, alone))
                })
            })
        });
    let steps: &[&[_]] = &[
        &["ada share", "ada commit"],
        &["grace share", "grace update", "grace commit"],
    ];
    let all = in_every_order(&schedule, || db.connect(), steps);
    assert_eq!(all.len(), 10);
    for run in all {
        assert!(!run.anyone_waited(), "{run}");
        let ada_passes = run.comes(&["grace update", "ada share", "grace commit"]);
        let grace_passes = run.comes(&["ada share", "grace update", "ada commit"]);
        assert_eq!(
            run.ended("ada"),
            Ok(if ada_passes { "2" } else { "1" }),
            "{run}"
        );
        assert_eq!(
            run.ended("grace"),
            Ok(if grace_passes { "(1, 2)" } else { "(1, 1)" }),
            "{run}"
        );
    }
}

/// skip-locked-4: the version that the statement found is free, and the one that took its place
/// is not.
#[law(postgres)]
fn row_held_in_a_newer_version_is_skipped(db: &Db) {
    let played = Schedule::new()
        .setup(reset!())
        .session("gate", gate)
        .session("ada", |conn: &mut Conn, steps| {
            steps.next("lock");
            let first = accounts::table
                .filter(past_the_gate())
                .order(accounts::id)
                .limit(1);
            RowLock::for_update()
                .skip_locked()
                .with(conn, first, |_, account: Locked<Account>| {
                    Ok::<_, LockError>(account.id)
                })
        })
        .session("grace", |conn, steps| {
            let add_one = |conn: &mut Conn| {
                diesel::update(accounts::table.find(1))
                    .set(accounts::balance.eq(accounts::balance + 1))
                    .execute(conn)
            };
            steps.next("update");
            add_one(conn)?;
            conn.transaction(|conn| {
                steps.next("again");
                add_one(conn)?;
                steps.next("commit");
                QueryResult::Ok(())
            })
        })
        .play(
            || Ok(db.connect()),
            &[
                "gate shut",
                "ada lock",
                "grace update",
                "grace again",
                "gate open",
                "grace commit",
            ],
        )
        .unwrap();
    assert!(
        !played.to_string().contains("<waits for grace>"),
        "{played}"
    );
    assert_eq!(played.ended("ada"), Ok("2"), "{played}");
}

/// Runs `$then` with the id of the first account that nobody else holds.
macro_rules! claim_first {
    ($conn:expr, $lock:expr, |$inner:pat_param, $id:ident| $then:expr) => {
        $lock.skip_locked().with(
            $conn,
            accounts::table.order(accounts::id).limit(1),
            |$inner, account: Locked<Account>| {
                let $id = account.id;
                $then
            },
        )
    };
}
use claim_first;
