//! What a run says at its end.

use std::fmt::{self, Display, Formatter};

use crate::count::{Backend, Tally};
use crate::step::Step;

/// The end of a test run.
pub(crate) struct Report<'a> {
    pub(crate) rows: &'a [Row],
    pub(crate) steps: &'a [Step],
}

/// What ran on one server.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) backend: Backend,
    pub(crate) tally: Tally,
}

impl Row {
    pub(crate) fn of(name: &str, backend: Backend, steps: &[Step]) -> Self {
        Self {
            name: name.to_owned(),
            backend,
            tally: tally(steps, |other| other == backend),
        }
    }
}

impl Report<'_> {
    pub(crate) fn is_clean(&self) -> bool {
        let total = self.total();
        // A run without a test, as of a filter with a slip, has shown nothing.
        total.failed == 0 && total.passed > 0
    }

    /// All tests, and each step that failed without a failed test, as when it did not compile.
    fn total(&self) -> Tally {
        let mut total = tally(self.steps, |_| true);
        total.failed += self
            .steps
            .iter()
            .filter(|step| step.is_unexplained())
            .count();
        total
    }
}

fn tally(steps: &[Step], wanted: impl Fn(Backend) -> bool) -> Tally {
    let tallies = steps.iter().flat_map(|step| &step.tests.tallies);
    let mut sum = Tally::default();
    for (_, tally) in tallies.filter(|(backend, _)| wanted(**backend)) {
        sum.passed += tally.passed;
        sum.failed += tally.failed;
    }
    sum
}

impl Step {
    fn is_unexplained(&self) -> bool {
        !self.succeeded && self.tests.failures.is_empty()
    }
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<32}{:>8}{:>8}", "tests on", "passed", "failed")?;
        for Row { name, tally, .. } in self.rows {
            let Tally { passed, failed } = tally;
            writeln!(f, "{name:<32}{passed:>8}{failed:>8}")?;
        }
        writeln!(f, "\n{}", Steps(self.steps))?;
        for step in self.steps {
            for failure in &step.tests.failures {
                writeln!(f, "{}: {failure}", step.name)?;
            }
            if step.is_unexplained() {
                writeln!(f, "{}: FAILED", step.name)?;
            }
        }
        let Tally { passed, failed } = self.total();
        if failed > 0 {
            writeln!(f)?;
        }
        writeln!(f, "{passed} passed, {failed} failed")
    }
}

/// How each step ended and how long it took.
pub(crate) struct Steps<'a>(pub(crate) &'a [Step]);

impl Display for Steps<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for step in self.0 {
            let outcome = if step.succeeded { "ok" } else { "FAILED" };
            let seconds = step.duration.as_secs_f32();
            writeln!(f, "{:<40}{outcome:>8}{seconds:>8.1} s", step.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Counter;
    use std::time::Duration;

    fn step(name: &str, succeeded: bool, output: &[&str]) -> Step {
        let mut tests = Counter::default();
        output.iter().for_each(|line| tests.line(line));
        Step {
            name: name.to_owned(),
            succeeded,
            duration: Duration::from_millis(1500),
            tests,
        }
    }

    fn rows(steps: &[Step]) -> [Row; 1] {
        [Row::of("PostgreSQL 15.9", Backend::Postgres, steps)]
    }

    #[test]
    fn a_clean_run() {
        let steps = [
            step("build", true, &[]),
            step("all", true, &["test a::postgres ... ok", "test b ... ok"]),
        ];
        let report = Report {
            rows: &rows(&steps),
            steps: &steps,
        };
        assert!(report.is_clean());
        let text = report.to_string();
        assert!(text.contains("PostgreSQL 15.9                        1       0\n"));
        assert!(text.contains("     ok     1.5 s\n"));
        assert!(text.ends_with("\n\n2 passed, 0 failed\n"));
    }

    #[test]
    fn a_step_fails_with_or_without_a_failed_test() {
        let steps = [
            step("build", false, &[]),
            step("all", false, &["test a::postgres ... FAILED"]),
        ];
        let report = Report {
            rows: &rows(&steps),
            steps: &steps,
        };
        assert!(!report.is_clean());
        let text = report.to_string();
        assert!(text.contains("build: FAILED\nall: test a::postgres ... FAILED\n"));
        assert!(text.ends_with("\n0 passed, 2 failed\n"));
    }

    #[test]
    fn a_run_without_a_test_is_not_clean() {
        let steps = [step("all", true, &[])];
        let report = Report {
            rows: &rows(&steps),
            steps: &steps,
        };
        assert!(!report.is_clean());
    }
}
