//! A server whose clock is set while many of its threads look at it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{ensure, Result};
use servers::{MariaDb, MySql};

const DAY: i64 = 24 * 60 * 60;

/// How often the clock is asked. With a library that is not for threads, about one answer in a
/// hundred is by an older clock.
const TURNS: i64 = 60;
const SETTINGS: i64 = 5;

/// Each row looks at the clock.
const LOOKS: &str = "select benchmark(100000, sysdate(6))";

macro_rules! assert_answers_after_a_setting_are_by_the_new_clock {
    ($server:ident) => {{
        let server = $server::with_clock(&[])?;
        let seconds = || anyhow::Ok(server.sql("select unix_timestamp()")?.parse::<i64>()?);
        let now = seconds()?;
        let done = AtomicBool::new(false);
        let look = || {
            while !done.load(Ordering::Relaxed) {
                server.sql(LOOKS)?;
            }
            anyhow::Ok(())
        };
        let set = || {
            for turn in 1..=TURNS {
                // Several settings for one answer: some thread has read the last but one.
                for days in 1..=SETTINGS {
                    server.set_clock(DAY * days)?;
                }
                let offset = -DAY * turn;
                server.set_clock(offset)?;
                let passed = seconds()? - offset - now;
                ensure!((0..300).contains(&passed), "turn {turn}: {passed}");
            }
            Ok(())
        };
        thread::scope(|scope| {
            let looks = [(); 3].map(|()| scope.spawn(look));
            let set = set();
            done.store(true, Ordering::Relaxed);
            for look in looks {
                look.join().expect("no panic")?;
            }
            set
        })
    }};
}

#[test]
fn every_answer_after_a_setting_is_by_the_new_clock_on_mysql() -> Result<()> {
    assert_answers_after_a_setting_are_by_the_new_clock!(MySql)
}

#[test]
fn every_answer_after_a_setting_is_by_the_new_clock_on_mariadb() -> Result<()> {
    assert_answers_after_a_setting_are_by_the_new_clock!(MariaDb)
}
