//! `cargo xtask bench`: the contention benchmark on all databases.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::servers::Servers;
use crate::step::{self, cargo, Step};
use crate::{peers, readme};

/// The benchmark's own folder, below the workspace's root.
const OUT: &str = "target/contention";

/// Of one part.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// Behind `cargo build` or `cargo run`.
const PROGRAM: [&str; 5] = [
    "--release",
    "--package",
    "contention",
    "--features",
    "postgres,mysql",
];

/// What is measured: the arguments of one process each.
struct Plan {
    /// Of all of them.
    timing: &'static str,
    /// To start peers takes most of the time.
    with_peers: &'static [&'static str],
    postgres: &'static [&'static str],
    mysql: &'static [&'static str],
    sqlite: &'static [&'static str],
}

/// Within nine minutes, peers and all.
const QUICK: Plan = Plan {
    timing: "--seconds=0.4 --repeats=3",
    with_peers: &[
        "--workloads=hot --threads=1,16,64",
        "--workloads=uniform --threads=1",
        "--workloads=hot --threads=16 --delays=2",
    ],
    postgres: &[
        "--workloads=hot --threads=4",
        "--workloads=cold --delays=0,2",
        "--workloads=transfer,jobs --threads=16",
    ],
    mysql: &["--workloads=hot,cold,transfer,jobs --threads=16"],
    sqlite: &["--workloads=hot,cold,transfer --threads=16"],
};

/// Within half an hour.
const FULL: Plan = Plan {
    timing: "--seconds=1 --repeats=5",
    with_peers: &[
        "--workloads=hot --threads=1,16,64",
        "--workloads=uniform --threads=1",
        "--workloads=hot --threads=16 --delays=0.5",
    ],
    postgres: &[
        "--workloads=hot --threads=4",
        "--workloads=hot --threads=64 --delays=0.5",
        "--workloads=hot --threads=16,64 --delays=2",
        "--workloads=cold --delays=0,0.5,2",
        "--workloads=uniform,zipf,transfer,jobs --threads=16",
    ],
    mysql: &["--workloads=hot,cold,transfer,jobs --threads=16"],
    sqlite: &["--workloads=hot,cold,transfer --threads=16"],
};

/// One process.
struct Part {
    name: String,
    url: String,
    arguments: Vec<String>,
}

/// Says whether nothing was lost; `arguments` replace what would be measured.
pub(crate) fn run(quick: bool, with_peers: bool, arguments: &[String]) -> Result<bool> {
    let build = step::run("build", cargo(["build"]).args(PROGRAM))?;
    if !build.succeeded {
        return Ok(false);
    }
    let servers = Servers::start()?;
    if !arguments.is_empty() {
        return Ok(own(&servers, arguments)?.succeeded);
    }
    let peers = if with_peers {
        peers::install()?
    } else {
        Vec::new()
    };
    let parts = if quick { QUICK } else { FULL }.parts(&servers, &peers);
    let mut seconds = 0;
    for part in &parts {
        seconds += estimate(&mut part.command())?;
    }
    println!("\n==> this takes about {} minutes", seconds.div_ceil(60));
    let mut clean = true;
    let mut results = Vec::new();
    for part in &parts {
        clean &= step::run_within(LIMIT, &part.name, &mut part.command())?.succeeded;
        results.push(PathBuf::from(part.folder()).join("results.json"));
    }
    let mut merge = contention();
    merge.args(["--out", OUT, "--merge"]).args(results);
    clean &= step::run("report", &mut merge)?.succeeded;
    Ok(clean)
}

impl Plan {
    fn parts(&self, servers: &Servers, peers: &[String]) -> Vec<Part> {
        let (postgres, mysql) = (&*servers.postgres.url, &*servers.mariadb.url);
        let of = |name: &str, url: &str, arguments: &[&str], peers: &[String]| -> Vec<Part> {
            let part = |(number, arguments): (usize, &&str)| {
                let words = self.timing.split(' ').chain(arguments.split(' '));
                let peers = peers.iter().map(|peer| format!("--peer={peer}"));
                Part {
                    name: format!("{name}-{}", number + 1),
                    url: url.to_owned(),
                    arguments: words.map(str::to_owned).chain(peers).collect(),
                }
            };
            arguments.iter().enumerate().map(part).collect()
        };
        [
            of("postgres-and-peers", postgres, self.with_peers, peers),
            of("postgres", postgres, self.postgres, &[]),
            of("mysql", mysql, self.mysql, &[]),
            of("sqlite", "sqlite", self.sqlite, &[]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Part {
    fn folder(&self) -> String {
        format!("{OUT}/{}", self.name)
    }

    fn command(&self) -> Command {
        let mut command = contention();
        command.args(["--database-url", &self.url, "--out", &self.folder()]);
        command.args(&self.arguments);
        command
    }
}

/// The benchmark; arguments of its own may follow.
fn contention() -> Command {
    let mut command = cargo(["run"]);
    command.args(PROGRAM).arg("--");
    command
}

/// In seconds, by the benchmark's own word.
fn estimate(command: &mut Command) -> Result<u64> {
    let output = command
        .arg("--estimate")
        .stderr(Stdio::inherit())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.trim();
    line.parse().with_context(|| format!("no estimate: {line}"))
}

/// What the caller wants, on all databases in one process.
fn own(servers: &Servers, arguments: &[String]) -> Result<Step> {
    let mut command = contention();
    everywhere(servers, &mut command);
    step::run_within(LIMIT, "contention", command.args(arguments))
}

fn everywhere(servers: &Servers, command: &mut Command) {
    for url in [&servers.postgres.url, &servers.mariadb.url, "sqlite"] {
        command.args(["--database-url", url]);
    }
}

/// Replaces the figures in the READMEs, and the chart, by those of the last run.
pub(crate) fn into_readme() -> Result<bool> {
    let root = step::root();
    let out = root.join(OUT);
    let made = |name: &str| {
        let file = out.join(name);
        fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))
    };
    let (figures, picture, caption) = (made("report.md")?, made("chart.svg")?, made("chart.md")?);
    fs::write(root.join("benches/chart.svg"), picture)?;
    readme::replace(&root.join("benches/README.md"), "figures", &figures)?;
    readme::replace(&root.join("README.md"), "chart", &caption)?;
    Ok(true)
}

/// A second of each strategy on each database: for its check of the balances, not for its figures.
/// Returns the page as well.
pub(crate) fn smoke(servers: &Servers) -> Result<(Step, PathBuf)> {
    let measured = "--threads=1,4 --workloads=hot,jobs";
    Ok((
        smoke_run(servers, "smoke", measured)?,
        step::root().join(OUT).join("smoke/report.html"),
    ))
}

/// The same with entries in a journal, and with two rows at a time.
pub(crate) fn smoke_of_the_journal(servers: &Servers) -> Result<Step> {
    let measured = "--threads=4 --workloads=hot,transfer --journal";
    smoke_run(servers, "smoke-journal", measured)
}

fn smoke_run(servers: &Servers, name: &str, measured: &str) -> Result<Step> {
    let mut command = contention();
    everywhere(servers, &mut command);
    command.args(measured.split(' '));
    command.args(["--seconds=1", "--repeats=1"]);
    command.args(["--out", &format!("{OUT}/{name}")]);
    step::run(&format!("{name} run of the contention bench"), &mut command)
}
