//! A Galera cluster that loses a node and gets it back.

use anyhow::Result;
use servers::Galera;

#[test]
fn a_killed_node_joins_again_and_has_what_it_missed() -> Result<()> {
    let mut galera = Galera::new(3)?;
    galera.nodes[0].sql("create table rounds (round int primary key)")?;
    for round in 0..2 {
        galera.nodes[round].kill()?;
        let other = &galera.nodes[(round + 1) % 3];
        other.sql(&format!("insert into rounds values ({round})"))?;
        galera.nodes[round].start_again()?;
        // What it sees may lag behind, unless it is told to catch up.
        let rounds = "set session wsrep_sync_wait = 1; select count(*) from rounds";
        let rounds = galera.nodes[round].sql(rounds)?;
        assert_eq!(rounds, (round + 1).to_string());
    }
    Ok(())
}
