//! A MariaDB that is used, killed and started again.

use anyhow::Result;
use servers::MariaDb;

#[test]
fn a_killed_server_comes_back_with_what_was_committed() -> Result<()> {
    let mut server = MariaDb::new(&["--max-connections=20"])?;
    assert_eq!(server.sql("select @@max_connections")?, "20");
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
