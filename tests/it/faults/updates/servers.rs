//! Servers that are killed, and a standby that takes over.

use diesel::prelude::*;
use servers::Postgres;

use super::super::{storm, turn};
use super::crew::{Call, Crew};

const NAME: &str = "crew";

fn at(addresses: &str) -> String {
    format!("postgres://postgres@{addresses}/postgres?application_name={NAME}")
}

fn crew_at(server: &Postgres, calls: &[Call]) -> Crew {
    Crew::at::<PgConnection>(&at(&server.address()), NAME, calls)
}

fn killed(calls: &[Call], fault: &str) {
    let _turn = turn();
    let mut server = Postgres::new(&[]).unwrap();
    let day = crew_at(&server, calls).day::<PgConnection>(|progress| {
        storm(|| {
            progress.work_goes_on(50);
            server.kill().unwrap();
            server.start_again().unwrap();
        })
    });
    day.assert_right(fault);
}

/// The primary is killed, and its synchronous standby promoted.
fn failover(calls: &[Call], fault: &str) {
    let _turn = turn();
    storm(|| {
        let mut primary = Postgres::new(&[]).unwrap();
        let mut crew = crew_at(&primary, calls);
        let mut standby = primary.standby("heir").unwrap();
        primary.commit_with("heir").unwrap();
        let both = at(&format!("{},{}", primary.address(), standby.address()));
        crew.counter = format!("{both}&target_session_attrs=read-write&connect_timeout=2");
        crew.office.clone_from(&crew.counter);
        let day = crew.day::<PgConnection>(|progress| {
            progress.work_goes_on(300);
            primary.kill().unwrap();
            standby.promote().unwrap();
            progress.work_goes_on(300);
            1
        });
        day.assert_right(fault);
    });
}

mod update_row_loses_nothing_with_a_killed_server {
    #[test]
    fn postgres() {
        super::killed(
            &super::Call::UPDATE_ROW,
            "`update_row`: server killed (kill -9)",
        );
    }
}

mod queue_loses_nothing_with_a_killed_server {
    #[test]
    fn postgres() {
        super::killed(
            &super::Call::QUEUE,
            "`RowQueue::update`: server killed (kill -9)",
        );
    }
}

mod update_row_loses_nothing_in_a_failover {
    #[test]
    fn postgres() {
        let fault = "`update_row`: failover to a synchronous standby";
        super::failover(&super::Call::UPDATE_ROW, fault);
    }
}

mod queue_loses_nothing_in_a_failover {
    #[test]
    fn postgres() {
        let fault = "`RowQueue::update`: failover to a synchronous standby";
        super::failover(&super::Call::QUEUE, fault);
    }
}
