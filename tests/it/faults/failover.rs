//! A primary and its synchronous standby. (Of an asynchronous one nothing is promised: what the
//! primary acknowledged may not have reached it.)

use std::thread;
use std::time::Duration;

use diesel::prelude::*;
use diesel_row_lock::Resolution;
use servers::Postgres;

use super::day::Day;
use super::workload::{Bank, Desk, End};
use super::{storm, turn};
use crate::support::wait_until;
use crate::support::wire::{Cut, Wire};

const PAUSE: Duration = Duration::from_millis(5);

/// A bank on a primary whose commits wait for the standby.
fn pair() -> (Postgres, Postgres, Bank<PgConnection>) {
    let primary = Postgres::new(&[]).unwrap();
    let bank = Bank::at(&primary.url());
    let standby = primary.standby("heir").unwrap();
    primary.commit_with("heir").unwrap();
    (primary, standby, bank)
}

mod standby_has_all_that_the_killed_primary_acknowledged {
    use super::*;

    #[test]
    fn postgres() {
        let _turn = turn();
        storm(|| {
            let (mut primary, mut standby, mut bank) = pair();
            bank.office = format!(
                "postgres://postgres@{},{}/postgres\
                 ?target_session_attrs=read-write&connect_timeout=2",
                primary.address(),
                standby.address()
            );
            bank.counters = vec![bank.office.clone()];
            let day = bank.day(|progress| {
                progress.work_goes_on(300);
                primary.kill().unwrap();
                standby.promote().unwrap();
                progress.work_goes_on(300);
                1
            });
            day.assert_right("failover to a synchronous standby");
        });
    }
}

/// Cuts off a client whose commit hangs because the standby is gone; `mend` ends what it waits for.
fn hanging_commit(mend: impl FnOnce(&Postgres, &mut Postgres) -> anyhow::Result<()>) {
    let (primary, mut standby, mut bank) = pair();
    standby.kill().unwrap();
    let wire = Wire::that_cuts(&primary.address(), Cut::Behind);
    bank.counters = vec![format!("postgres://postgres@{}/postgres", wire.address)];
    bank.manners.clear();
    let mut desk = Desk::new(&bank, &bank.counters[0], 0);
    let order = desk.next_order();
    let deed = thread::scope(|scope| {
        let teller = scope.spawn(move || desk.carry_out(order).unwrap());
        // The transaction, and behind it the resolver.
        let waiting = "SELECT count(*) FILTER (WHERE wait_event = 'SyncRep'), \
                       count(*) FILTER (WHERE cardinality(pg_blocking_pids(pid)) > 0) \
                       FROM pg_stat_activity";
        wait_until("the commit hangs and the resolver waits", PAUSE, || {
            primary.sql(waiting).unwrap() == "1|1"
        });
        mend(&primary, &mut standby).unwrap();
        teller.join().unwrap()
    });
    assert_eq!(deed.end, End::InDoubt(Some(Resolution::Committed)));
    Day::closed(&bank, vec![deed], 1).assert_right("COMMIT that hangs on a lost standby");
}

mod hanging_commit_is_resolved_once_the_standby_is_back {
    use super::*;

    #[test]
    fn postgres() {
        hanging_commit(|_, standby| standby.start_again());
    }
}

mod hanging_commit_is_resolved_once_the_setting_is_lifted {
    use super::*;

    #[test]
    fn postgres() {
        hanging_commit(|primary, _| {
            primary.sql("ALTER SYSTEM SET synchronous_standby_names = ''")?;
            primary.sql("SELECT pg_reload_conf()").map(drop)
        });
    }
}
