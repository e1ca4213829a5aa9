//! The lists of variants in the documentation: each is complete, and true to the code.

mod sections;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;

/// One error of each variant.
fn every() -> Vec<LockError> {
    let source = || Arc::new(DieselError::RollbackTransaction);
    let text = || "7".to_owned();
    vec![
        LockError::NotFound { key: None },
        LockError::Busy { source: source() },
        LockError::Timeout {
            source: source(),
            blocker: None,
        },
        LockError::Deadlock { source: source() },
        LockError::SerializationFailure { source: source() },
        LockError::StatementTimeout { source: source() },
        LockError::Cancelled { source: source() },
        LockError::Aborted { source: None },
        LockError::Escaped { source: None },
        LockError::HoldExpired {
            limit: Duration::ZERO,
        },
        LockError::AlreadyInTransaction { reason: "a reason" },
        LockError::WrongRow { key: text() },
        LockError::AmbiguousKey { key: text() },
        LockError::DuplicateKey { key: text() },
        LockError::KeyChanged { key: text() },
        LockError::StaleRow {
            key: text(),
            expected: 1,
        },
        LockError::VersionOverflow {
            key: text(),
            version: 1,
        },
        LockError::LeaseHeld {
            lease: text(),
            holder: None,
        },
        LockError::StaleToken {
            lease: text(),
            token: 1,
        },
        LockError::InvalidLease {
            what: "name",
            why: "is empty",
        },
        LockError::Denied { source: source() },
        LockError::Unsupported {
            what: text(),
            source: None,
        },
        LockError::CommitUnknown { source: source() },
        LockError::ConnectionLost { source: source() },
        LockError::RetriesExhausted {
            attempts: 1,
            first: RetryCause::Busy,
            last: RetryCause::Busy,
            source: None,
        },
        LockError::QueueTimeout {
            waited: Duration::ZERO,
        },
        LockError::QueueFull { length: 1 },
        LockError::Abandoned,
        LockError::Pool {
            source: Arc::new(no_connection()),
        },
        LockError::Database(source()),
    ]
}

fn no_connection() -> PoolError {
    use diesel::r2d2::{ManageConnection, Pool};

    #[derive(Debug)]
    struct Never;

    impl ManageConnection for Never {
        type Connection = ();
        type Error = DieselError;

        fn connect(&self) -> Result<(), DieselError> {
            Err(DieselError::RollbackTransaction)
        }

        fn is_valid(&self, (): &mut ()) -> Result<(), DieselError> {
            Ok(())
        }

        fn has_broken(&self, (): &mut ()) -> bool {
            false
        }
    }

    let pool = Pool::builder().connection_timeout(Duration::from_millis(1));
    let pool = pool.build_unchecked(Never);
    pool.get().expect_err("there is none")
}

fn name(error: &LockError) -> String {
    let shown = format!("{error:?}");
    let end = shown.find(|c: char| !c.is_alphanumeric());
    shown[..end.unwrap_or(shown.len())].to_owned()
}

/// The names of the variants, as `error/mod.rs` has them.
fn variants() -> Vec<&'static str> {
    let source = include_str!("../mod.rs");
    let variants = source.split_once("pub enum LockError {").unwrap().1;
    let variants = variants.split_once("\n}\n").unwrap().0.lines();
    let names = variants.filter_map(|line| line.strip_prefix("    "));
    let names = names.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    names
        .filter_map(|line| line.split([' ', '(', ',']).next())
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_variant_is_told_apart_and_has_its_row_in_the_readme() {
    let errors = every();
    let names: Vec<_> = errors.iter().map(name).collect();
    assert_eq!(
        names,
        variants(),
        "an error of each variant, in their order"
    );
    let texts: BTreeSet<_> = errors.iter().map(LockError::to_string).collect();
    assert_eq!(texts.len(), errors.len(), "{texts:#?}");

    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let table = readme.split_once("## How a call ends").unwrap().1;
    let rows = table.lines().skip_while(|line| !line.starts_with("| `"));
    let rows: Vec<Vec<_>> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|row| row.split('|').map(str::trim).collect())
        .collect();
    let yes = |is: bool| if is { "yes" } else { "" };
    for (error, name) in errors.iter().zip(&names) {
        let code = format!("`{name}`");
        let mut of_it = rows.iter().filter(|row| row[1].contains(&code));
        let (Some(row), None) = (of_it.next(), of_it.next()) else {
            panic!("{name} does not have one row in README.md");
        };
        let expected = [
            &*format!("`{:?}`", error.outcome()),
            yes(error.is_transient()),
            yes(error.is_contention()),
        ];
        assert_eq!(row[2..5], expected, "{name} in README.md");
    }
}
