//! The bank's own operations are proven, by the example that does so.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::support::example::build_example;

#[law(postgres, mysql, mariadb, sqlite)]
fn bank_loses_money_by_hand_and_none_in_any_interleaving_of_its_calls(db: &Db) {
    let report = prove(&database!(db));
    let (by_hand, locked) = report
        .split_once("== the withdrawal under the lock")
        .unwrap();
    assert!(by_hand.contains("RACY: with the lock in"), "{report}");
    assert!(by_hand.contains("journal broken"), "{report}");
    assert_eq!(
        locked.matches(": cured: there is a race").count(),
        4,
        "{report}"
    );
}

/// A database with none of the tables that the tests have.
macro_rules! database {
    ($db:ident) => {{
        use diesel::connection::SimpleConnection;
        $db.connect()
            .batch_execute("DROP TABLE entries; DROP TABLE accounts")
            .unwrap();
        match $db.url() {
            url if url.contains("://") => url,
            file => format!("sqlite://{file}"),
        }
    }};
}
use database;
use law::law;

fn prove(url: &str) -> String {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| build_example("prove_race", &["race"]));
    let output = Command::new(program)
        .args(["--database-url", url])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
