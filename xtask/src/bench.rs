//! `cargo xtask bench`: the contention benchmark on all databases.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::peers::{self, Peer};
use crate::readme;
use crate::servers::Servers;
use crate::step::{self, cargo, Step};

/// The benchmark's own folder, below the workspace's root.
const OUT: &str = "target/contention";

/// Of one process.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// Behind `cargo build` or `cargo run`.
const PROGRAM: [&str; 5] = [
    "--release",
    "--package",
    "contention",
    "--features",
    "postgres,mysql",
];

/// How long and how often each strategy is measured.
const QUICK: &str = "--seconds=0.4 --repeats=3";
const FULL: &str = "--seconds=1 --repeats=5";

/// A part of the plan: the arguments of one process.
struct Part {
    name: &'static str,
    on: On,
    is_away: bool,
    beside: Peers,
    arguments: &'static str,
}

#[derive(Clone, Copy)]
enum On {
    Postgres,
    MariaDb,
    Sqlite,
}

/// To start peers takes most of the time.
#[derive(Clone, Copy, PartialEq)]
enum Peers {
    None,
    /// sqlx and SeaORM.
    InRust,
    All,
}

#[rustfmt::skip]
const PARTS: [Part; 14] = [
    part("hot", On::Postgres, Peers::All, "--workloads=hot --threads=1,4,16,64"),
    away("hot-away", Peers::InRust, "--workloads=hot --threads=1,16,64"),
    part("uniform", On::Postgres, Peers::All, "--workloads=uniform --threads=1,16"),
    away("uniform-away", Peers::None, "--workloads=uniform --threads=1,16"),
    part("cold", On::Postgres, Peers::None, "--workloads=cold"),
    away("cold-away", Peers::None, "--workloads=cold"),
    part("crowd", On::Postgres, Peers::None, "--workloads=crowd"),
    part("foreign", On::Postgres, Peers::None, "--workloads=foreign --threads=16 --foreign=1,2,8"),
    part("queues", On::Postgres, Peers::None, "--workloads=queues --threads=32,64,128"),
    part("refused", On::Postgres, Peers::None, "--workloads=refused --threads=64"),
    part("waiters", On::Postgres, Peers::None, "--workloads=waiters --threads=1000,10000 --rows=2"),
    part("others", On::Postgres, Peers::None, "--workloads=zipf,transfer,jobs --threads=16"),
    part("mariadb", On::MariaDb, Peers::None, "--workloads=hot,cold,transfer,jobs --threads=16"),
    part("sqlite", On::Sqlite, Peers::None, "--workloads=hot,cold,transfer --threads=16"),
];

/// What a quick run leaves out.
const SLOW: [&str; 2] = ["uniform-away", "cold-away"];

/// 0.7 and 2.4 ms away, as measured, with the strategies that save round trips.
const AWAY: &str = "--delays=0.5,2 --strategies=\
    diesel,with-row-lock,queue-with-row-lock,update-row,queue-update,single-update";

const fn part(name: &'static str, on: On, beside: Peers, arguments: &'static str) -> Part {
    Part {
        name,
        on,
        is_away: false,
        beside,
        arguments,
    }
}

const fn away(name: &'static str, beside: Peers, arguments: &'static str) -> Part {
    Part {
        is_away: true,
        ..part(name, On::Postgres, beside, arguments)
    }
}

/// What the command line asks for.
#[derive(clap::Args)]
pub(crate) struct Wanted {
    /// In 12 minutes instead of 37, with peers
    #[arg(long)]
    quick: bool,

    /// Only these parts of the plan
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = names())]
    part: Vec<String>,

    /// Other libraries, too, which are installed for it
    #[arg(long)]
    peers: bool,

    /// Put the tables into benches/README.md
    #[arg(long, conflicts_with = "part")]
    into_readme: bool,

    /// Of the parts: arguments that replace theirs. Without `--part`: measure this instead, on all
    /// three; `--help` lists it
    #[arg(last = true)]
    args: Vec<String>,
}

fn names() -> Vec<&'static str> {
    PARTS.iter().map(|part| part.name).collect()
}

/// Says whether nothing was lost.
pub(crate) fn run(wanted: &Wanted) -> Result<bool> {
    let build = step::run("build", cargo(["build"]).args(PROGRAM))?;
    if !build.succeeded {
        return Ok(false);
    }
    let servers = Servers::start()?;
    if wanted.part.is_empty() && !wanted.args.is_empty() {
        return Ok(own(&servers, &wanted.args)?.succeeded);
    }
    let peers = match wanted.peers {
        true => peers::install()?,
        false => Vec::new(),
    };
    let runs: Vec<Run> = PARTS
        .iter()
        .filter(|part| wanted.includes(part))
        .map(|part| Run {
            name: part.name,
            arguments: part.arguments(wanted, &servers, &peers),
        })
        .collect();
    let mut seconds = 0;
    for run in &runs {
        seconds += estimate(&mut run.command())?;
    }
    println!("\n==> this takes about {} minutes", seconds.div_ceil(60));
    let mut clean = true;
    let mut results = Vec::new();
    for run in &runs {
        clean &= step::run_within(LIMIT, run.name, &mut run.command())?.succeeded;
        results.push(PathBuf::from(run.folder()).join("results.json"));
    }
    let mut merge = contention();
    merge.args(["--out", OUT, "--merge"]).args(results);
    clean &= step::run("report", &mut merge)?.succeeded;
    Ok(clean && (!wanted.into_readme || into_readme()?))
}

impl Wanted {
    fn includes(&self, part: &Part) -> bool {
        match self.part.as_slice() {
            [] => !(self.quick && SLOW.contains(&part.name)),
            chosen => chosen.iter().any(|name| name == part.name),
        }
    }
}

impl Part {
    /// An argument that is given once more replaces the one before it.
    fn arguments(&self, wanted: &Wanted, servers: &Servers, peers: &[Peer]) -> Vec<String> {
        let url = match self.on {
            On::Postgres => &servers.postgres.url,
            On::MariaDb => &servers.mariadb.url,
            On::Sqlite => "sqlite",
        };
        let timing = if wanted.quick { QUICK } else { FULL };
        let peers = peers.iter().filter(|peer| match self.beside {
            Peers::None => false,
            Peers::InRust => peer.is_in_rust,
            Peers::All => true,
        });
        let distance = self.is_away.then_some(AWAY);
        let words = [timing, self.arguments].into_iter().chain(distance);
        words
            .flat_map(|words| words.split(' '))
            .map(str::to_owned)
            .chain([format!("--database-url={url}")])
            .chain(peers.map(|peer| format!("--peer={}={}", peer.name, peer.command)))
            .chain(wanted.args.iter().cloned())
            .collect()
    }
}

/// One process.
struct Run {
    name: &'static str,
    arguments: Vec<String>,
}

impl Run {
    fn folder(&self) -> String {
        format!("{OUT}/{}", self.name)
    }

    fn command(&self) -> Command {
        let mut command = contention();
        command.args(["--out", &self.folder()]);
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
fn into_readme() -> Result<bool> {
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

/// What `cargo xtask ci` runs: a second of each strategy on each database, for the check of its
/// books, not for its figures. The page is that of the last one.
const SMOKE: [(&str, &str); 4] = [
    // Two rows at a time, and entries in a journal.
    (
        "smoke-journal",
        "--threads=4 --workloads=hot,transfer --journal",
    ),
    (
        "smoke-beside",
        "--threads=32 --workloads=foreign,queues,crowd,refused --foreign=2",
    ),
    (
        "smoke-waiters",
        "--threads=1000 --workloads=waiters --rows=2",
    ),
    ("smoke", "--threads=1,4 --workloads=hot,jobs"),
];

/// Returns the page as well, if there is one.
pub(crate) fn smoke(servers: &Servers) -> Result<(Vec<Step>, Option<PathBuf>)> {
    let mut steps = Vec::new();
    let mut page = None;
    for (name, measured) in SMOKE {
        let mut command = contention();
        everywhere(servers, &mut command);
        command.args(measured.split(' '));
        command.args(["--seconds=1", "--repeats=1"]);
        command.args(["--out", &format!("{OUT}/{name}")]);
        let step = step::run(&format!("{name} run of the contention bench"), &mut command)?;
        let file = step::root().join(OUT).join(name).join("report.html");
        page = step.succeeded.then_some(file);
        steps.push(step);
    }
    Ok((steps, page))
}
