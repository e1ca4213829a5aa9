//! The tests of `tests/it`, by name.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{ensure, Context, Result};

use crate::count::Backend;
use crate::step::{self, cargo, Step};

/// Compiles them with these features.
pub(super) fn build(step: &str, features: &[&str]) -> Result<Step> {
    step::run(step, binary(features).arg("--no-run"))
}

/// A set of them.
#[derive(Debug, Default)]
pub(super) struct Laws(BTreeSet<String>);

impl Laws {
    /// Those that are compiled with these features and that the test binary's arguments choose.
    pub(super) fn of(features: &[&str], arguments: &[String]) -> Result<Self> {
        let mut list = binary(features);
        list.args(["--quiet", "--", "--list", "--format=terse"]);
        let output = list
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        // None would be left to run, and none would be missed.
        ensure!(output.status.success(), "the laws can't be listed");
        Ok(Self::listed(&String::from_utf8_lossy(&output.stdout)))
    }

    fn listed(list: &str) -> Self {
        let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
        Self(names.map(str::to_owned).collect())
    }

    pub(super) fn without(self, others: &Self) -> Self {
        Self(&self.0 - &others.0)
    }

    pub(super) fn add(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Those of one kind of server.
    pub(super) fn on(&self, backend: Backend) -> Self {
        let names = self.0.iter().filter(|name| Backend::of(name) == backend);
        Self(names.cloned().collect())
    }

    /// Runs these and no others; `None` if there is none.
    pub(super) fn run(
        &self,
        step: &str,
        features: &[&str],
        arguments: &[String],
        offer: impl FnOnce(&mut Command),
    ) -> Result<Option<Step>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut tests = binary(features);
        tests.args(["--", "--exact"]).args(&self.0).args(arguments);
        offer(&mut tests);
        step::run(step, &mut tests).map(Some)
    }
}

fn binary(features: &[&str]) -> Command {
    let mut binary = cargo(["test", "--test", "it"]);
    binary.args(features);
    binary
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laws() -> Laws {
        Laws::listed("a::b::postgres: test\na::b::mariadb: test\nc::d: test\nx: benchmark\n")
    }

    fn names(laws: &Laws) -> Vec<&str> {
        laws.0.iter().map(String::as_str).collect()
    }

    #[test]
    fn laws_are_read_from_a_list() {
        assert_eq!(names(&laws()), ["a::b::mariadb", "a::b::postgres", "c::d"]);
        assert_eq!(names(&laws().on(Backend::Postgres)), ["a::b::postgres"]);
    }

    #[test]
    fn no_law_runs_twice_and_none_is_left_out() {
        let mut run = Laws::listed("a::b::postgres: test\n");
        let rest = laws().without(&run);
        assert_eq!(names(&rest), ["a::b::mariadb", "c::d"]);
        run.add(rest);
        assert_eq!(names(&run), names(&laws()));
    }
}
