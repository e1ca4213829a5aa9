//! Connections that are cut, and sessions that are ended, at any moment.

use std::thread;
use std::time::Duration;

use law::law;

use super::super::{storm, storm_time, turn};
use super::crew::{Call, Crew};
use crate::support::wire::{Rule, Wire};

macro_rules! cuts {
    ($db:ident, $calls:expr, $fault:literal) => {{
        let _turn = turn();
        let wire = Wire::to(&$db.server());
        let mut crew = Crew::at::<Conn>(&$db.url(), $db.name(), &$calls);
        crew.counter = $db.url_at(&wire.address.to_string());
        wire.lay_down(Rule::one_in(200, crew.seed));
        let day = crew.day::<Conn>(|_| {
            thread::sleep(storm_time());
            wire.cuts()
        });
        day.assert_right($fault);
    }};
}

macro_rules! ended_sessions {
    ($db:ident, $calls:expr, $fault:literal) => {{
        let _turn = turn();
        let crew = Crew::at::<Conn>(&$db.url(), $db.name(), &$calls);
        let day = crew.day::<Conn>(|_| {
            let mut ended = 0;
            storm(|| {
                ended += u64::from($db.kill_any());
                thread::sleep(Duration::from_millis(10));
            });
            ended
        });
        day.assert_right($fault);
    }};
}

#[law(postgres, mysql, mariadb)]
fn update_row_under_cuts_is_told_right(db: &Db) {
    cuts!(
        db,
        Call::UPDATE_ROW,
        "`update_row`: connections cut at random"
    );
}

#[law(postgres, mysql, mariadb)]
fn queue_under_cuts_is_told_right(db: &Db) {
    cuts!(
        db,
        Call::QUEUE,
        "`RowQueue::update`: connections cut at random"
    );
}

#[law(postgres, mysql, mariadb)]
fn update_row_whose_session_is_ended_is_told_right(db: &Db) {
    ended_sessions!(
        db,
        Call::UPDATE_ROW,
        "`update_row`: sessions terminated at random"
    );
}

#[law(postgres, mysql, mariadb)]
fn queue_whose_session_is_ended_is_told_right(db: &Db) {
    ended_sessions!(
        db,
        Call::QUEUE,
        "`RowQueue::update`: sessions terminated at random"
    );
}
