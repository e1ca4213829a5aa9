//! Counts tests by what a test binary prints.

use std::collections::BTreeMap;
use std::mem;

/// The server that a test runs on, which is the last part of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Backend {
    Postgres,
    Mysql,
    Mariadb,
    Sqlite,
    /// A cluster of MariaDB.
    Galera,
    /// A test without a stamp: a unit test, a doc test, one of what does not compile.
    None,
}

impl Backend {
    pub(crate) fn of(test: &str) -> Self {
        // As in `file::law::postgres - should panic`.
        let path = test.split(" - ").next().unwrap_or(test);
        match path.rsplit("::").next() {
            Some("postgres") => Self::Postgres,
            Some("mysql") => Self::Mysql,
            Some("mariadb") => Self::Mariadb,
            Some("sqlite") => Self::Sqlite,
            Some("galera") => Self::Galera,
            _ => Self::None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

/// Reads the output of any number of test binaries, line by line.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    pub(crate) tallies: BTreeMap<Backend, Tally>,
    /// What did not pass. An ignored test is among it: one that doesn't run proves nothing.
    pub(crate) failures: Vec<String>,
    /// How many tests the current binary has announced but not told the outcome of.
    awaited: usize,
    /// After the outcomes, a binary repeats what its failed tests have printed: whatever that is.
    repeating: bool,
}

impl Counter {
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(announced) = announced(line) {
            self.end();
            self.awaited = announced;
            self.repeating = false;
        } else if line == "failures:" {
            self.repeating = true;
        } else if line.starts_with("test result: ok") {
            // With `--nocapture` an outcome can be lost in a line that a test has begun.
            let unread = mem::take(&mut self.awaited);
            self.add(Backend::None, unread, 0);
        } else if line.starts_with("test result: ") {
            self.end();
        } else if let Some((test, passed)) = outcome(line).filter(|_| !self.repeating) {
            self.awaited = self.awaited.saturating_sub(1);
            self.add(Backend::of(test), passed.into(), (!passed).into());
            if !passed {
                self.failures.push(line.to_owned());
            }
        }
    }

    /// The end of the output. A binary that has died owes the outcomes of some tests.
    pub(crate) fn end(&mut self) {
        let lost = mem::take(&mut self.awaited);
        if lost > 0 {
            self.add(Backend::None, 0, lost);
            self.failures.push(format!("{lost} without an outcome"));
        }
    }

    fn add(&mut self, backend: Backend, passed: usize, failed: usize) {
        let tally = self.tallies.entry(backend).or_default();
        tally.passed += passed;
        tally.failed += failed;
    }
}

/// The number in `running 3 tests`.
fn announced(line: &str) -> Option<usize> {
    let number = line.strip_prefix("running ")?;
    let number = number
        .strip_suffix(" tests")
        .or(number.strip_suffix(" test"))?;
    number.parse().ok()
}

/// Name and success in `test NAME ... ok`.
fn outcome(line: &str) -> Option<(&str, bool)> {
    let (name, word) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    // More may follow: a reason, or the time it took.
    match word.split([' ', ',']).next()? {
        "ok" => Some((name, true)),
        "FAILED" | "ignored" => Some((name, false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(output: &str) -> Counter {
        let mut counter = Counter::default();
        output.lines().for_each(|line| counter.line(line));
        counter.end();
        counter
    }

    fn tally(passed: usize, failed: usize) -> Tally {
        Tally { passed, failed }
    }

    #[test]
    fn outcomes_are_counted_by_backend() {
        let counter = count(
            "running 6 tests\n\
             test waiting::two_wait::postgres ... ok\n\
             test waiting::two_wait::mysql ... FAILED\n\
             test waiting::two_wait::mariadb ... ok\n\
             test waiting::two_wait::sqlite - should panic ... ok\n\
             test sql::postgres::quoting ... ok\n\
             test later ... ignored, not yet\n\
             \n\
             failures:\n\
             \n\
             ---- waiting::two_wait::mysql stdout ----\n\
             test inner::postgres ... ok\n\
             \n\
             failures:\n    waiting::two_wait::mysql\n\
             \n\
             test result: FAILED. 4 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out\n\
             running 1 test\n\
             test src/lib.rs - lock (line 12) - compile ... ok\n\
             \n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(counter.tallies[&Backend::Postgres], tally(1, 0));
        assert_eq!(counter.tallies[&Backend::Mysql], tally(0, 1));
        assert_eq!(counter.tallies[&Backend::Mariadb], tally(1, 0));
        assert_eq!(counter.tallies[&Backend::Sqlite], tally(1, 0));
        assert_eq!(counter.tallies[&Backend::None], tally(2, 1));
        assert_eq!(
            counter.failures,
            [
                "test waiting::two_wait::mysql ... FAILED",
                "test later ... ignored, not yet"
            ]
        );
    }

    #[test]
    fn a_binary_that_dies_has_failed_tests() {
        let counter = count("running 3 tests\ntest one ... ok\nrunning 0 tests\n");
        assert_eq!(counter.tallies[&Backend::None], tally(1, 2));
        assert_eq!(counter.failures, ["2 without an outcome"]);
    }

    #[test]
    fn an_outcome_lost_in_a_line_is_in_the_result() {
        let counter = count(
            "running 2 tests\ntest one ... ok\nhello test two ... ok\ntest result: ok. 2 passed\n",
        );
        assert_eq!(counter.tallies[&Backend::None], tally(2, 0));
    }

    #[test]
    fn other_lines_are_not_counted() {
        assert!(count("running late\ntest one, two ... three\n")
            .tallies
            .is_empty());
    }
}
