//! A PostgreSQL that is used, killed and started again.

use anyhow::Result;
use servers::{Postgres, Signal};

#[test]
fn a_killed_server_comes_back_with_what_was_committed() -> Result<()> {
    let mut server = Postgres::new(&["max_connections=20"])?;
    assert_eq!(server.sql("show max_connections")?, "20");
    assert_eq!(server.sql("show fsync")?, "on");
    server.sql("create table rounds (round int)")?;
    let url = server.url();

    for round in 1..=3 {
        server.sql(&format!("insert into rounds values ({round})"))?;
        if round % 2 == 0 {
            server.stop_at_once()?;
        } else {
            server.kill()?;
        }
        assert!(!server.is_running());
        assert!(server.sql("select 1").is_err());
        server.start_again()?;
        assert!(server.is_running());
        assert_eq!(server.url(), url);
        let rounds = server.sql("select count(*) from rounds")?;
        assert_eq!(rounds, round.to_string());
    }
    Ok(())
}

#[test]
fn a_frozen_server_can_be_killed() -> Result<()> {
    let mut server = Postgres::new(&[])?;
    server.signal(Signal::SIGSTOP)?;
    assert!(server.is_running());
    server.kill()?;
    server.start_again()
}

#[test]
fn a_standby_has_what_was_committed_and_takes_over() -> Result<()> {
    let mut primary = Postgres::new(&[])?;
    let mut standby = primary.standby("one")?;
    primary.commit_with("one")?;
    primary.sql("create table kept (id int)")?;
    primary.kill()?;
    assert!(standby.sql("create table refused (id int)").is_err());
    standby.promote()?;
    standby.sql("insert into kept values (1)")?;
    assert_eq!(standby.sql("select count(*) from kept")?, "1");
    Ok(())
}
