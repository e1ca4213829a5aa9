//! `cargo xtask mutants`: changes the code that decides outcomes, one place at a time, and runs the
//! laws against each change. A change that no law notices is code that no law needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{ensure, Context, Result};

use crate::servers::Servers;
use crate::step::{self, cargo};

/// The crate that makes the changes.
const TOOL: &str = "cargo-mutants";

/// Of the changes that compile, so many of a hundred must be noticed.
const GOAL: usize = 95;

/// A change of one place compiles in half a minute, and there are hundreds.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Code, and the laws that guard it.
struct Group {
    name: &'static str,
    files: &'static [&'static str],
    laws: &'static [&'static str],
}

const GROUPS: [Group; 4] = [
    Group {
        name: "endings",
        files: &[
            "src/transaction/*.rs",
            "src/commit_token.rs",
            "src/pg/begin.rs",
            "src/mysql/begin.rs",
            "src/mysql/settings.rs",
            "src/mysql/statement.rs",
            "src/mysql/transaction.rs",
            "src/sqlite/begin.rs",
        ],
        laws: &[
            "commit_token::",
            "durable::",
            "errors::",
            "escaped::",
            "first_cause::",
            "fresh::",
            "holds::",
            "in_doubt::",
            "isolation::",
            "joins::",
            "lost::",
            "many::",
            "mysql::",
            "nesting::",
            "optimistic::",
            "outer::",
            "panics::",
            "pools::",
            "retry::",
            "round_trips::",
            "session::",
            "sqlite::",
            "statements::",
            "swallowed::",
            "wait_options::",
        ],
    },
    Group {
        name: "queue",
        files: &["src/queue/*.rs"],
        laws: &["queue::", "durable::", "pools::"],
    },
    Group {
        name: "leases",
        files: &["src/lease/*.rs", "src/backend/lease/sql.rs"],
        laws: &["lease::"],
    },
    Group {
        name: "versions",
        files: &["src/optimistic/*.rs"],
        laws: &["composed::", "optimistic::"],
    },
];

/// Says whether enough changes of each group are noticed, and the others are excused.
pub(crate) fn run(only: Option<&str>) -> Result<bool> {
    let tool = tool()?;
    let servers = Servers::start()?;
    let mut scores = Vec::new();
    for group in GROUPS
        .iter()
        .filter(|group| only.is_none_or(|only| only == group.name))
    {
        let output = step::root().join("target/mutants").join(group.name);
        fs::create_dir_all(&output)?;
        let mut command = group.command(&tool, &output);
        step::run_within(
            LIMIT,
            &format!("mutants of {}", group.name),
            servers.offer(&mut command),
        )?;
        scores.push((group.name, Score::read(&output.join("mutants.out"))?));
    }
    ensure!(!scores.is_empty(), "there is no such group");
    drop(servers);
    let excused = excused(EXCUSED);
    println!("\n| code | changed | noticed | excused | missed |");
    println!("|---|---:|---:|---:|---:|");
    let mut clean = true;
    for (name, score) in &scores {
        let missed = score.missed_but(&excused);
        println!(
            "| {name} | {} | {} ({} %) | {} | {} |",
            score.viable(),
            score.noticed,
            score.percent(),
            score.missed.len() - missed.len(),
            missed.len(),
        );
        for change in &missed {
            eprintln!("no law notices: {change}");
        }
        clean &= score.percent() >= GOAL && missed.is_empty();
    }
    Ok(clean)
}

impl Group {
    fn command(&self, tool: &Path, output: &Path) -> Command {
        let mut command = Command::new(tool);
        command.current_dir(step::root()).arg("mutants");
        for file in self.files {
            command.args(["--file", file]);
        }
        command.args(["--features", "postgres,mysql", "--no-shuffle"]);
        // Nothing else is compiled for each change: no examples, no benches, no other tests.
        command.args(["-C=--lib", "-C=--test=it"]);
        // A law that hangs gives up after a while by itself.
        command.args(["--minimum-test-timeout", "180", "--colors", "never"]);
        command.arg("--output").arg(output);
        command.args(["--", "--"]);
        command.args(self.laws).args(["--skip", "faults::"]);
        command
    }
}

/// The program, which is installed unless it is there.
fn tool() -> Result<PathBuf> {
    let home = step::root().join("target/tools");
    let program = home.join("bin").join(TOOL);
    if !program.exists() {
        let mut install = cargo(["install", "--locked", TOOL, "--root"]);
        let installed = step::run(&format!("install {TOOL}"), install.arg(&home))?;
        ensure!(installed.succeeded, "{TOOL} can't be installed");
    }
    program.canonicalize().context(TOOL)
}

/// What became of the changes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Score {
    /// By a law that failed, or that would never have ended.
    noticed: usize,
    missed: BTreeSet<String>,
}

impl Score {
    fn read(output: &Path) -> Result<Self> {
        let lines = |name: &str| {
            fs::read_to_string(output.join(name))
                .with_context(|| format!("{} has no {name}", output.display()))
        };
        Ok(Self {
            noticed: lines("caught.txt")?.lines().count() + lines("timeout.txt")?.lines().count(),
            missed: lines("missed.txt")?.lines().map(place).collect(),
        })
    }

    fn viable(&self) -> usize {
        self.noticed + self.missed.len()
    }

    /// Rounded down.
    fn percent(&self) -> usize {
        (self.noticed * 100).checked_div(self.viable()).unwrap_or(0)
    }

    fn missed_but<'s>(&'s self, excused: &BTreeMap<&str, &str>) -> Vec<&'s str> {
        let missed = self.missed.iter().map(String::as_str);
        missed
            .filter(|change| !excused.contains_key(change))
            .collect()
    }
}

/// Without the line and the column, which move: `src/a.rs:12:3: replace …` is `src/a.rs: replace
/// …`.
fn place(change: &str) -> String {
    let mut parts = change.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(_), Some(_), Some(what)) => format!("{file}:{what}"),
        _ => change.to_owned(),
    }
}

/// Changes that make no difference, each with the reason.
const EXCUSED: &str = include_str!("mutants.tsv");

fn excused(lines: &str) -> BTreeMap<&str, &str> {
    lines
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_known_by_its_file_and_its_words() {
        assert_eq!(
            place("src/transaction/mod.rs:98:36: replace == with != in run_alone"),
            "src/transaction/mod.rs: replace == with != in run_alone"
        );
    }

    #[test]
    fn each_excuse_has_a_reason() {
        let excused = excused(EXCUSED);
        assert_eq!(excused.len(), EXCUSED.lines().count());
        assert!(excused.values().all(|reason| !reason.trim().is_empty()));
    }

    #[test]
    fn changes_that_hang_are_noticed_and_those_that_do_not_compile_do_not_count() -> Result<()> {
        let folder = tempfile::tempdir()?;
        for (name, text) in [
            ("caught.txt", "a.rs:1:1: x\na.rs:2:1: y\n"),
            ("timeout.txt", "a.rs:3:1: z\n"),
            ("missed.txt", "a.rs:4:1: same\n"),
            ("unviable.txt", "a.rs:5:1: no type\n"),
        ] {
            fs::write(folder.path().join(name), text)?;
        }
        let score = Score::read(folder.path())?;
        assert_eq!((score.viable(), score.noticed, score.percent()), (4, 3, 75));
        assert_eq!(score.missed_but(&BTreeMap::new()), ["a.rs: same"]);
        let excused = BTreeMap::from([("a.rs: same", "it is the same")]);
        assert!(score.missed_but(&excused).is_empty());
        Ok(())
    }
}
