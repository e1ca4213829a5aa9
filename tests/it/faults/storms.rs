//! Storms: many tellers at work, and connections that end at any moment.

use std::thread;
use std::time::Duration;

use law::law;

use super::workload::Bank;
use super::{storm, storm_time, turn};
use crate::support::wire::{Rule, Wire};

#[law(postgres, mysql, mariadb)]
fn cuts_at_random_are_told_right(db: &Db) {
    let _turn = turn();
    let wire = Wire::to(&db.server());
    let mut bank = Bank::<Conn>::at(&db.url());
    bank.counters = vec![db.url_at(&wire.address.to_string())];
    wire.lay_down(Rule::one_in(200, bank.seed));
    let day = bank.day(|_| {
        thread::sleep(storm_time());
        wire.cuts()
    });
    day.assert_right("connections cut at random");
}

/// The tellers' sessions, and those that resolve.
#[law(postgres, mysql, mariadb)]
fn sessions_ended_by_the_server_are_told_right(db: &Db) {
    let _turn = turn();
    let day = Bank::<Conn>::at(&db.url()).day(|_| {
        let mut ended = 0;
        storm(|| {
            ended += u64::from(db.kill_any());
            thread::sleep(Duration::from_millis(10));
        });
        ended
    });
    day.assert_right("sessions terminated at random");
}
