//! The command line of the example: which database it takes, and what it refuses.

use std::process::Command;

use tempfile::TempDir;

use super::program::{program, run, sqlite, stderr, stdout};
use super::{assert_demonstrates, assert_refused};

#[test]
fn without_arguments_the_demonstration_needs_no_database_and_ignores_the_environment() {
    let mut bank = Command::new(program());
    let bank = bank.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing");
    assert_demonstrates(&bank.output().expect("the example runs"));
}

#[test]
fn the_database_comes_from_the_environment_or_is_a_file_in_the_current_folder() {
    let folder = TempDir::new().expect("a temporary folder");
    let open = |environment: Option<&str>| {
        let mut bank = Command::new(program());
        bank.args(["open", "Ada"]).current_dir(folder.path());
        match environment {
            Some(url) => bank.env("DATABASE_URL", url),
            None => bank.env_remove("DATABASE_URL"),
        };
        stdout(&bank.output().expect("the example runs"))
    };
    assert_eq!(open(None), "1\n");
    assert!(folder.path().join("bank.db").exists());
    assert_eq!(open(None), "2\n");
    assert_eq!(open(Some("sqlite://other.db")), "1\n");
    assert!(folder.path().join("other.db").exists());
}

#[test]
fn a_database_that_cannot_be_opened_is_one_line() {
    let folder = TempDir::new().expect("a temporary folder");
    let missing = format!("sqlite://{}/missing/bank.db", folder.path().display());
    for (url, says) in [
        ("oracle://bank", "unknown kind of database"),
        ("bank.db", "unknown kind of database"),
        ("", "unknown kind of database"),
        ("sqlite://", "names no file"),
        (&missing, "can't open the database"),
        #[cfg(feature = "postgres")]
        (
            "postgresql://nobody@127.0.0.1:1/bank",
            "can't open the database",
        ),
        #[cfg(not(feature = "postgres"))]
        (
            "postgresql://nobody@127.0.0.1:1/bank",
            "--features postgres",
        ),
        #[cfg(feature = "mysql")]
        ("mysql://nobody@127.0.0.1:1/bank", "can't open the database"),
        #[cfg(not(feature = "mysql"))]
        ("mysql://nobody@127.0.0.1:1/bank", "--features mysql"),
    ] {
        assert_refused(&run(url, &["open", "Ada"]), says);
    }
}

#[test]
fn a_command_line_that_makes_no_sense_exits_with_2() {
    let bank = sqlite();
    for arguments in [
        &["deposit", "1", "much"][..],
        &["deposit", "1", "99999999999999999999"],
        &["deposit", "1"],
        &["open", ""],
        &["storm", "--threads", "0"],
        &["storm", "--strategy", "hope"],
        &["edit", "1", "--hold", "5s"],
        &["edit", "1", "--owner", ""],
        &["rob"],
    ] {
        let output = bank.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(stdout(&output).is_empty(), "{arguments:?}: {output:?}");
        assert!(
            stderr(&output).starts_with("error: "),
            "{arguments:?}: {output:?}"
        );
    }
}
