//! A PgBouncer before a PostgreSQL.

use anyhow::Result;
use servers::{PgBouncer, Postgres};

#[test]
fn a_pooler_serves_before_and_after_it_was_killed() -> Result<()> {
    let server = Postgres::new(&[])?;
    let mut pooler = PgBouncer::before(&server.address(), "transaction", 2)?;
    assert_ne!(pooler.url(), server.url());
    assert_eq!(pooler.sql("show port")?, server.port().to_string());
    pooler.kill()?;
    assert!(pooler.sql("select 1").is_err());
    pooler.start_again()?;
    assert_eq!(pooler.sql("select 1")?, "1");
    Ok(())
}
