//! `cargo xtask faults`: the laws under real faults, one after the other and for longer, and a
//! table of what they have seen.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{ensure, Context, Result};

use crate::servers::Servers;
use crate::step::{self, cargo};

/// How many laws last as long as `FAULT_SECONDS` says, and how many seconds the others take.
const STORMS: u32 = 40;
const OTHERS: u32 = 220;

/// What the table says of a fault; `tests/it/faults/day.rs` writes a line of it for each day.
const COLUMNS: [&str; 8] = [
    "faults injected",
    "transactions",
    "acked",
    "acked, but lost",
    "false `Ok`",
    "in doubt",
    "resolved right",
    "wrong words",
];

/// Those of which none may be.
const NEVER: [usize; 3] = [3, 4, 7];

/// Says whether all is well.
pub(crate) fn run(minutes: u32) -> Result<bool> {
    let seconds = (minutes * 60).saturating_sub(OTHERS) / STORMS;
    let folder = tempfile::tempdir()?;
    let lines = folder.path().join("lines");
    let servers = Servers::start()?;
    let mut tests = cargo(["test", "--all-features", "--test", "it", "--", "faults::"]);
    tests
        .arg("--test-threads=1")
        .env("FAULT_SECONDS", seconds.max(1).to_string())
        .env("FAULT_REPORT", &lines);
    let step = step::run("faults", servers.offer(&mut tests))?;
    drop(servers);

    let table: Table = fs::read_to_string(lines)
        .context("no law has reported")?
        .parse()?;
    let page = format!("{}\n\n{table}", machine()?);
    print!("\n{page}");
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    fs::create_dir_all(&target)?;
    fs::write(target.join("reliability.md"), page)?;
    println!("\nwritten to target/reliability.md");
    Ok(step.succeeded && table.is_clean())
}

/// On what and when.
fn machine() -> Result<String> {
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output()?;
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = system
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    Ok(format!(
        "{}, {} cores ({}), {}",
        String::from_utf8(date.stdout)?.trim(),
        thread::available_parallelism()?,
        model.map_or("unknown", |(_, model)| model),
        system.unwrap_or("unknown").trim_matches('"'),
    ))
}

/// The sums of each fault on each server, in the order of their first lines.
#[derive(Debug, Default)]
struct Table(Vec<((String, String), [u64; COLUMNS.len()])>);

impl Table {
    fn sum(&self) -> [u64; COLUMNS.len()] {
        let mut sum = [0; COLUMNS.len()];
        for (_, row) in &self.0 {
            add(&mut sum, row);
        }
        sum
    }

    fn is_clean(&self) -> bool {
        let sum = self.sum();
        let [in_doubt, resolved] = [sum[5], sum[6]];
        NEVER.iter().all(|column| sum[*column] == 0) && in_doubt == resolved
    }
}

fn add(sum: &mut [u64; COLUMNS.len()], row: &[u64; COLUMNS.len()]) {
    for (sum, number) in sum.iter_mut().zip(row) {
        *sum += number;
    }
}

impl std::str::FromStr for Table {
    type Err = anyhow::Error;

    fn from_str(lines: &str) -> Result<Self> {
        let mut rows: Vec<((String, String), [u64; COLUMNS.len()])> = Vec::new();
        let mut places = BTreeMap::new();
        for line in lines.lines() {
            let mut cells = line.split('\t');
            let mut cell = || cells.next().context("a line is too short");
            let name = (cell()?.to_owned(), cell()?.to_owned());
            let mut row = [0; COLUMNS.len()];
            for number in &mut row {
                *number = cell()?.parse()?;
            }
            let place = *places.entry(name.clone()).or_insert(rows.len());
            match rows.get_mut(place) {
                Some((_, sum)) => add(sum, &row),
                None => rows.push((name, row)),
            }
        }
        ensure!(!rows.is_empty(), "no law has reported");
        Ok(Self(rows))
    }
}

/// Markdown.
impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault | server | {} |", COLUMNS.join(" | "))?;
        writeln!(f, "|---|---{}|", "|---:".repeat(COLUMNS.len()))?;
        for ((fault, server), row) in &self.0 {
            writeln!(f, "| {fault} | {server} | {} |", cells(row, ""))?;
        }
        writeln!(f, "| **all** | | {} |", cells(&self.sum(), "**"))
    }
}

fn cells(row: &[u64], mark: &str) -> String {
    let cells: Vec<_> = row
        .iter()
        .map(|number| format!("{mark}{}{mark}", grouped(*number)))
        .collect();
    cells.join(" | ")
}

/// `12,345`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "cut\tPostgreSQL 15.9\t2\t1000\t900\t0\t0\t3\t3\t0\t7\n\
                         killed\tMariaDB 10.11\t1\t10\t9\t0\t0\t0\t0\t0\t8\n\
                         cut\tPostgreSQL 15.9\t2\t500\t400\t0\t0\t1\t1\t0\t9\n";

    #[test]
    fn days_of_one_fault_are_one_row() -> Result<()> {
        let table: Table = LINES.parse()?;
        assert!(table.is_clean());
        let text = table.to_string();
        assert!(
            text.contains("| cut | PostgreSQL 15.9 | 4 | 1,500 | 1,300 | 0 | 0 | 4 | 4 | 0 |"),
            "{text}"
        );
        let all = "| **all** | | **5** \
                   | **1,510** | **1,309** | **0** | **0** | **4** | **4** | **0** |\n";
        assert!(text.ends_with(all));
        Ok(())
    }

    #[test]
    fn one_wrong_word_is_not_clean() -> Result<()> {
        for line in [
            "cut\tx\t1\t9\t9\t1\t0\t0\t0\t0\t7",
            "cut\tx\t1\t9\t9\t0\t1\t0\t0\t0\t7",
            "cut\tx\t1\t9\t9\t0\t0\t2\t1\t0\t7",
            "cut\tx\t1\t9\t9\t0\t0\t0\t0\t1\t7",
        ] {
            assert!(!line.parse::<Table>()?.is_clean(), "{line}");
        }
        assert!("".parse::<Table>().is_err());
        Ok(())
    }
}
