//! A MySQL that is used, killed and started again.

use anyhow::Result;
use servers::{MySql, Signal};

#[test]
fn a_killed_server_comes_back_with_what_was_committed() -> Result<()> {
    let mut server = MySql::new(&["--max-connections=20"])?;
    assert_eq!(server.sql("select @@max_connections")?, "20");
    assert_eq!(server.sql("select @@innodb_flush_log_at_trx_commit")?, "1");
    server.sql("create table rounds (round int) engine = innodb")?;
    let url = server.url();

    for round in 1..=3 {
        server.sql(&format!("insert into rounds values ({round})"))?;
        server.kill()?;
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
    let mut server = MySql::new(&[])?;
    let version = servers::mysql::version(&server.url())?;
    assert!(version.starts_with("MySQL 9.7"), "{version}");
    server.signal(Signal::SIGSTOP)?;
    assert!(server.is_running());
    server.kill()?;
    server.start_again()
}

#[test]
fn a_clock_is_set_while_the_server_runs() -> Result<()> {
    let server = MySql::with_clock(&[])?;
    let seconds = || anyhow::Ok(server.sql("select unix_timestamp()")?.parse::<i64>()?);
    let day = 24 * 60 * 60;
    let now = seconds()?;
    for offset in [day, -day, 0] {
        server.set_clock(offset)?;
        let passed = seconds()? - offset - now;
        assert!((0..60).contains(&passed), "{passed}");
    }
    Ok(())
}
