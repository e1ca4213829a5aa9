//! What is measured, in which order: strategies take turns within each repeat, so that all of them
//! see the same machine.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use url::Url;

use crate::database::{self, Bank, Database, EMBEDDED};
use crate::measured::{Cell, Results, Run, Series, Times};
use crate::options::Options;
use crate::peer::Peer;
use crate::proxy::Proxy;
use crate::report::terminal;
use crate::storm::{Storm, Tellers, WARM_UP};
use crate::strategy::{Manner, Strategy};
use crate::workload::{Workload, CROWD, THREADS_OF_A_QUEUE};

/// One part of the plan: the same for all contenders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Part {
    pub(crate) workload: Workload,
    pub(crate) threads: usize,
    /// The threads beside them.
    pub(crate) beside: usize,
    pub(crate) pool: u32,
    pub(crate) delay: Duration,
}

/// All parts, in their order.
pub(crate) fn parts(options: &Options, url: &str) -> Vec<Part> {
    let no_delay = [Duration::ZERO];
    let is_embedded = database::is_embedded(url);
    let delays = match is_embedded {
        true => &no_delay,
        false => options.delays.as_slice(),
    };
    let mut parts = Vec::new();
    for &delay in delays {
        for &workload in &options.workloads {
            if is_embedded && workload == Workload::Jobs {
                continue;
            }
            let of = |threads: usize, beside: usize, pool: u32| Part {
                workload,
                threads,
                beside,
                pool,
                delay,
            };
            let cold = |beside: usize| of(options.cold_threads, beside, options.cold_pool);
            let threads = options.threads.iter();
            match workload {
                Workload::Cold => parts.push(cold(options.hot_threads)),
                Workload::Crowd => parts.push(cold(CROWD)),
                Workload::Foreign => parts.extend(threads.flat_map(|&threads| {
                    let writers = options.foreign.iter();
                    writers.map(move |&writers| of(threads, writers, options.pool))
                })),
                _ => parts.extend(threads.map(|&threads| of(threads, 0, options.pool))),
            }
        }
    }
    parts
}

impl Part {
    /// How many are open. Sessions that write by hand take none from the others.
    fn connections(&self) -> u32 {
        match self.workload {
            Workload::Foreign => self.pool + u32::try_from(self.beside).unwrap_or(0),
            _ => self.pool,
        }
    }
}

/// The strategies that are measured there.
pub(crate) fn strategies(options: &Options, workload: Workload) -> Vec<Strategy> {
    let wanted = match options.strategies.as_slice() {
        [] => Strategy::value_variants(),
        chosen => chosen,
    };
    let serve = wanted.iter().filter(|one| one.serves(workload));
    serve.copied().collect()
}

/// The peers that are measured there. They keep no journal, so beside those who do they would have
/// less to do.
pub(crate) fn peers<'a>(options: &'a Options, url: &str, workload: Workload) -> &'a [Peer] {
    let can = workload.is_for_peers() && !options.journal && !database::is_embedded(url);
    if can {
        &options.peer
    } else {
        &[]
    }
}

pub(crate) fn run(options: &Options, database: &dyn Database, results: &mut Results) -> Result<()> {
    let mut proxy: Option<(Duration, Proxy)> = None;
    let url = database.url().map_or(EMBEDDED, Url::as_str);
    for part in parts(options, url) {
        let is_there = proxy
            .as_ref()
            .is_some_and(|(delay, _)| *delay == part.delay);
        if let Some(server) = database.url().filter(|_| !is_there) {
            proxy = match part.delay {
                Duration::ZERO => None,
                delay => Some((delay, Proxy::before(server, delay)?)),
            };
        }
        let round = Round {
            options,
            database,
            part,
            address: proxy.as_ref().map(|(_, proxy)| proxy.address.as_str()),
        };
        round.run(results)?;
    }
    Ok(())
}

/// Somebody who carries out the orders of a part.
struct Contender<'a> {
    name: String,
    kind: Kind<'a>,
    runs: Vec<Run>,
    times: Times,
}

enum Kind<'a> {
    Strategy { tellers: Tellers, journal: bool },
    Peer(&'a Peer, Url),
}

/// A part, being measured.
struct Round<'a> {
    options: &'a Options,
    database: &'a dyn Database,
    part: Part,
    /// Of the proxy.
    address: Option<&'a str>,
}

impl Round<'_> {
    fn run(&self, results: &mut Results) -> Result<()> {
        let options = self.options;
        let part = self.part;
        ensure!(
            options.rows > part.workload.hot_rows(),
            "{} needs more than {} rows",
            part.workload.name(),
            part.workload.hot_rows()
        );
        let bank = self.database.open(self.address, part.connections())?;
        let cell = Cell {
            database: self.database.description().name,
            workload: part.workload,
            threads: part.threads,
            beside: part.beside,
            pool: part.pool,
            delay_ms: part.delay.as_secs_f64() * 1e3,
            round_trip_ms: match self.database.url() {
                Some(_) => Some(bank.round_trip()?),
                None => None,
            },
            hold_ms: options.hold.as_secs_f64() * 1e3,
            seconds: options.seconds,
            journal: options.journal,
        };
        let mut contenders = self.contenders(bank.as_ref())?;
        if contenders.is_empty() {
            return Ok(());
        }
        let progress = progress(&cell, contenders.len() * options.repeats);
        for repeat in 0..options.repeats {
            // Nobody always comes after the same one.
            let first = repeat % contenders.len();
            contenders.rotate_left(first);
            for contender in &mut contenders {
                progress.set_message(contender.name.clone());
                self.measure(contender, &cell, bank.as_ref(), &mut results.missing)?;
                progress.inc(1);
            }
            contenders.rotate_right(first);
        }
        progress.finish_and_clear();
        results.series.extend(
            contenders
                .into_iter()
                .filter(|contender| !contender.runs.is_empty())
                .map(|contender| contender.into_series(&cell)),
        );
        print!("{}", terminal::table(results, &cell));
        Ok(())
    }

    fn contenders(&self, bank: &dyn Bank) -> Result<Vec<Contender<'_>>> {
        let (options, workload) = (self.options, self.part.workload);
        let mut contenders = Vec::new();
        for strategy in strategies(options, workload) {
            let manner = Manner {
                thought: options.hold,
                journal: options.journal && strategy.keeps_a_journal(),
            };
            if let Some(tellers) = self.tellers(bank, strategy, manner) {
                let journal = manner.journal;
                let kind = Kind::Strategy { tellers, journal };
                contenders.push(Contender::new(strategy.name(), kind));
            }
        }
        if let Some(url) = self.database.url() {
            for peer in peers(options, url.as_str(), workload) {
                let url = database::at(url, self.address)?;
                contenders.push(Contender::new(&peer.name, Kind::Peer(peer, url)));
            }
        }
        Ok(contenders)
    }

    /// `None` if the database does not support the strategy.
    fn tellers(&self, bank: &dyn Bank, strategy: Strategy, manner: Manner) -> Option<Tellers> {
        let workload = self.part.workload;
        let queues = match workload {
            Workload::Queues => self.part.threads.div_ceil(THREADS_OF_A_QUEUE),
            _ => 1,
        };
        let measured = (0..queues).map(|_| bank.teller(strategy, workload, manner));
        let by_hand = || bank.teller(Strategy::Diesel, workload, manner);
        Some(Tellers {
            measured: measured.collect::<Option<_>>()?,
            beside: (workload == Workload::Foreign).then(by_hand).flatten(),
        })
    }

    fn measure(
        &self,
        contender: &mut Contender<'_>,
        cell: &Cell,
        bank: &dyn Bank,
        missing: &mut Vec<String>,
    ) -> Result<()> {
        let run = match &contender.kind {
            Kind::Strategy { tellers, journal } => {
                let storm = Storm {
                    workload: self.part.workload,
                    rows: self.options.rows,
                    threads: self.part.threads,
                    beside: self.part.beside,
                    time: Duration::try_from_secs_f64(self.options.seconds)?,
                    journal: *journal,
                };
                let (run, times) = storm
                    .run(bank, tellers)
                    .with_context(|| contender.name.clone())?;
                contender.times.add(&times);
                run
            }
            Kind::Peer(peer, url) => match peer.run(url, cell, self.options.rows, bank) {
                Ok(run) => run,
                Err(error) => {
                    let note = format!("{}: {error:#}", peer.name);
                    if !missing.contains(&note) {
                        println!("missing: {note}");
                        missing.push(note);
                    }
                    return Ok(());
                }
            },
        };
        contender.runs.push(run);
        Ok(())
    }
}

impl<'a> Contender<'a> {
    fn new(name: &str, kind: Kind<'a>) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            runs: Vec::new(),
            times: Times::new(),
        }
    }

    fn into_series(self, cell: &Cell) -> Series {
        const PERCENTILES: [f64; 10] =
            [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0];
        let distribution = match self.times.is_empty() {
            true => Vec::new(),
            false => PERCENTILES
                .map(|percentile| (percentile, self.times.at(percentile)))
                .to_vec(),
        };
        Series {
            cell: cell.clone(),
            strategy: self.name,
            runs: self.runs,
            distribution,
        }
    }
}

/// Of one cell; nothing where there is no terminal.
fn progress(cell: &Cell, runs: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {msg}, {eta} left");
    let each = Duration::from_secs_f64(cell.seconds) + WARM_UP;
    ProgressBar::new(runs as u64)
        .with_prefix(format!(
            "{}, {}, {} threads, {each:?} each",
            cell.database,
            cell.workload.name(),
            cell.threads
        ))
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
