//! `cargo xtask bench`: the contention benchmark on all databases.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::peers;
use crate::servers::Servers;
use crate::step::{self, cargo, Step};

/// The bench's own folder, below that of the package.
const OUT: &str = "target/contention";

/// A full run takes about an hour, in parts.
const LIMIT: Duration = Duration::from_secs(60 * 60);

const BUILD: [&str; 5] = [
    "bench",
    "--bench",
    "contention",
    "--features",
    "postgres,mysql",
];

const BEGIN: &str = "<!-- figures -->";
const END: &str = "<!-- end of figures -->";

/// What is measured on one database, in one process.
struct Part {
    name: &'static str,
    url: String,
    arguments: &'static str,
    with_peers: bool,
}

/// Says whether nothing was lost; `arguments` replace what would be measured.
pub(crate) fn run(quick: bool, with_peers: bool, arguments: &[String]) -> Result<bool> {
    let build = step::run("build", cargo(BUILD).arg("--no-run"))?;
    if !build.succeeded {
        return Ok(false);
    }
    let servers = Servers::start(None)?;
    if !arguments.is_empty() {
        return Ok(own(&servers, arguments)?.succeeded);
    }
    let peers = if with_peers {
        peers::install()?
    } else {
        Vec::new()
    };
    let mut clean = true;
    let mut results = Vec::new();
    for part in parts(&servers, quick) {
        let folder = format!("{OUT}/{}", part.name);
        let mut command = cargo(BUILD);
        command.args(["--", "--database-url", &part.url, "--out", &folder]);
        command.args(part.arguments.split(' '));
        command.args(match quick {
            true => ["--seconds=0.5", "--repeats=3"],
            false => ["--seconds=3", "--repeats=5"],
        });
        if part.with_peers {
            for peer in &peers {
                command.args(["--peer", peer]);
            }
        }
        clean &= step::run_within(LIMIT, part.name, &mut command)?.succeeded;
        results.push(PathBuf::from(folder).join("results.json"));
    }
    let mut merge = cargo(BUILD);
    merge.args(["--", "--out", OUT, "--merge"]).args(results);
    clean &= step::run("report", &mut merge)?.succeeded;
    Ok(clean)
}

fn parts(servers: &Servers, quick: bool) -> [Part; 4] {
    let (postgres, mysql) = (servers.postgres.url.clone(), servers.mysql.url.clone());
    [
        Part {
            name: "postgres",
            url: postgres.clone(),
            arguments: match quick {
                true => "--threads=1,16,64 --workloads=hot,cold,jobs",
                false => "--threads=1,16,64 --workloads=hot,cold,jobs,uniform,zipf",
            },
            with_peers: true,
        },
        Part {
            name: "postgres-network",
            url: postgres,
            arguments: "--threads=1,16,64 --workloads=hot,cold --delays=0.5,2",
            with_peers: false,
        },
        Part {
            name: "mysql",
            url: mysql,
            arguments: "--threads=1,16 --workloads=hot,cold,jobs",
            with_peers: false,
        },
        Part {
            name: "sqlite",
            url: "sqlite".to_owned(),
            arguments: "--threads=1,16 --workloads=hot,cold",
            with_peers: false,
        },
    ]
}

/// What the caller wants, on all databases in one process.
fn own(servers: &Servers, arguments: &[String]) -> Result<Step> {
    let mut command = cargo(BUILD);
    command.arg("--");
    everywhere(servers, &mut command);
    step::run_within(LIMIT, "contention", command.args(arguments))
}

fn everywhere(servers: &Servers, command: &mut std::process::Command) {
    for url in [&servers.postgres.url, &servers.mysql.url, "sqlite"] {
        command.args(["--database-url", url]);
    }
}

/// Replaces the figures in the README by those of the last run.
pub(crate) fn into_readme() -> Result<bool> {
    let root = step::root();
    let readme = root.join("benches/README.md");
    let text = fs::read_to_string(&readme)?;
    let (before, rest) = text.split_once(BEGIN).context("no place for figures")?;
    let (_, after) = rest.split_once(END).context("no end of the figures")?;
    let figures = fs::read_to_string(root.join(OUT).join("report.md"))?;
    fs::write(readme, format!("{before}{BEGIN}\n{figures}{END}{after}"))?;
    Ok(true)
}

/// A second of each strategy on each database: for its check of the balances, not for its figures.
/// Returns the page as well.
pub(crate) fn smoke(servers: &Servers) -> Result<(Step, PathBuf)> {
    let folder = format!("{OUT}/smoke");
    let mut command = cargo(["bench", "--all-features", "--bench", "contention", "--"]);
    everywhere(servers, &mut command);
    command.args(["--threads=1,4", "--workloads=hot,jobs", "--out", &folder]);
    command.args(["--seconds=0.5", "--repeats=1"]);
    let step = step::run("smoke run of the contention bench", &mut command)?;
    Ok((step, step::root().join(folder).join("report.html")))
}
