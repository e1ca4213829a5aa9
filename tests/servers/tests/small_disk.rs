//! A PostgreSQL whose disk is full, and then isn't any more.

use anyhow::Result;
use servers::Postgres;

#[test]
fn a_full_tablespace_fails_the_statement() -> Result<()> {
    let server = Postgres::with_small_tablespace(4, &[])?;
    server.sql("create table filled (text text) tablespace small")?;
    let fill = "insert into filled select repeat('x', 1000) from generate_series(1, 8000)";
    let error = server.sql(fill).unwrap_err().to_string();
    assert!(error.contains("No space left"), "{error}");
    assert_eq!(server.sql("select count(*) from filled")?, "0");
    server.enlarge_disk(64)?;
    server.sql(fill)?;
    Ok(())
}

#[test]
fn a_full_log_ends_the_server_and_with_more_space_it_comes_back() -> Result<()> {
    let mut server = Postgres::with_small_wal(48, &[])?;
    server.sql("create table filled (text text)")?;
    let fill = "insert into filled select repeat('x', 1000) from generate_series(1, 4000)";
    let mut committed = 0;
    while server.sql(fill).is_ok() {
        committed += 4000;
    }
    server.await_end()?;
    assert!(server.start_again().is_err());
    server.enlarge_disk(256)?;
    server.start_again()?;
    let kept = server.sql("select count(*) from filled")?;
    assert_eq!(kept, committed.to_string());
    Ok(())
}
