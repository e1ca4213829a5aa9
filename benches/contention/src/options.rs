//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser};

use crate::database::EMBEDDED;
use crate::peer::Peer;
use crate::strategy::Strategy;
use crate::workload::Workload;

/// Measures what locking a row costs when many want it
#[derive(Parser)]
#[command(
    name = "contention",
    bin_name = "cargo run --release -p contention --",
    args_override_self = true
)]
pub(crate) struct Options {
    /// Where to run: `sqlite`, a `postgres://` or a `mysql://` URL; may be given more than once.
    /// The tables are in a schema (or database) `row_lock_bench`, which is dropped before and after
    #[arg(long, value_name = "URL")]
    database_url: Vec<String>,

    /// The ways of carrying out an order [default: all that the database has]
    #[arg(long, action = ArgAction::Set, value_delimiter = ',', value_name = "LIST")]
    pub(crate) strategies: Vec<Strategy>,

    /// Which rows are wanted
    #[arg(
        long,
        action = ArgAction::Set, value_delimiter = ',',
        default_value = "hot,cold",
        value_name = "LIST"
    )]
    pub(crate) workloads: Vec<Workload>,

    /// How many threads
    #[arg(
        long,
        action = ArgAction::Set, value_delimiter = ',',
        default_value = "1,4,16",
        value_name = "LIST"
    )]
    pub(crate) threads: Vec<usize>,

    /// How many rows there are
    #[arg(
        long,
        default_value_t = 1_000,
        value_name = "N",
        value_parser = clap::value_parser!(i32).range(2..)
    )]
    pub(crate) rows: i32,

    /// What a thread does between reading the row and writing it
    #[arg(long, default_value = "0", value_parser = milliseconds, value_name = "MS")]
    pub(crate) hold: Duration,

    /// Enter each change in a journal, in the same transaction, and check its chains. Peers, which
    /// write none, are left out
    #[arg(long)]
    pub(crate) journal: bool,

    /// How long one measurement takes
    #[arg(long, default_value_t = 1.0, value_name = "S")]
    pub(crate) seconds: f64,

    /// How often each is measured; strategies take turns
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) repeats: usize,

    /// Connections in the pool
    #[arg(long, default_value_t = 16, value_name = "N")]
    pub(crate) pool: u32,

    /// Added to each round trip by a proxy on loopback; SQLite has no network and does without
    #[arg(
        long,
        action = ArgAction::Set, value_delimiter = ',',
        default_value = "0",
        value_parser = milliseconds,
        value_name = "MS,…"
    )]
    pub(crate) delays: Vec<Duration>,

    /// Of the workload `foreign`: sessions that write the row by hand, with their own connections
    #[arg(
        long,
        action = ArgAction::Set,
        value_delimiter = ',',
        default_value = "1,2,8",
        value_name = "LIST"
    )]
    pub(crate) foreign: Vec<usize>,

    /// Of the workload `cold`: threads on the hot row
    #[arg(long, default_value_t = 32, value_name = "N")]
    pub(crate) hot_threads: usize,

    /// Of the workloads `cold` and `crowd`: threads on other rows
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub(crate) cold_threads: usize,

    /// Of the workloads `cold` and `crowd`: connections in the pool
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub(crate) cold_pool: u32,

    /// Also measure a program, as `NAME=COMMAND`; see benches/README.md
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Vec<Peer>,

    /// Measure nothing: say how many seconds it would take
    #[arg(long)]
    pub(crate) estimate: bool,

    /// Measure nothing: report what these `results.json` say, together
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub(crate) merge: Vec<PathBuf>,

    /// The folder for report.html, report.md, chart.svg, results.csv and results.json
    #[arg(long, default_value = "target/contention", value_name = "FOLDER")]
    pub(crate) out: PathBuf,
}

impl Options {
    pub(crate) fn databases(&self) -> impl Iterator<Item = &str> {
        let embedded = self.database_url.is_empty().then_some(EMBEDDED);
        embedded
            .into_iter()
            .chain(self.database_url.iter().map(String::as_str))
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(number / 1e3).map_err(|error| error.to_string())
}
