//! What is measured, in which order: strategies take turns within each repeat, so that all of them
//! see the same machine.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use url::Url;

use crate::database::{self, Bank, Database};
use crate::measured::{Cell, Results, Run, Series, Times};
use crate::options::Options;
use crate::peer::Peer;
use crate::proxy::Proxy;
use crate::report::terminal;
use crate::storm::{Storm, WARM_UP};
use crate::strategy::{Depositor, Strategy, Thought};
use crate::workload::Workload;

/// Somebody who makes deposits in a cell.
struct Contender<'a> {
    name: String,
    kind: Kind<'a>,
    runs: Vec<Run>,
    times: Times,
}

enum Kind<'a> {
    Strategy(Box<dyn Depositor>),
    Peer(&'a Peer, Url),
}

/// One part of the plan: the same for all contenders.
struct Round<'a> {
    options: &'a Options,
    database: &'a dyn Database,
    workload: Workload,
    threads: usize,
    delay: Duration,
    address: Option<&'a str>,
}

pub(crate) fn run(options: &Options, database: &dyn Database, results: &mut Results) -> Result<()> {
    let no_delay = [Duration::ZERO];
    let delays = match database.url() {
        Some(_) => options.delays.as_slice(),
        None => &no_delay,
    };
    for &delay in delays {
        let proxy = match database.url() {
            Some(url) if !delay.is_zero() => Some(Proxy::before(url, delay)?),
            _ => None,
        };
        for &workload in &options.workloads {
            let threads = match workload {
                Workload::Cold => std::slice::from_ref(&options.cold_threads),
                _ => options.threads.as_slice(),
            };
            for &threads in threads {
                let round = Round {
                    options,
                    database,
                    workload,
                    threads,
                    delay,
                    address: proxy.as_ref().map(|proxy| proxy.address.as_str()),
                };
                round.run(results)?;
            }
        }
    }
    Ok(())
}

impl Round<'_> {
    fn run(&self, results: &mut Results) -> Result<()> {
        let options = self.options;
        let pool = match self.workload {
            Workload::Cold => options.cold_pool,
            _ => options.pool,
        };
        let bank = self.database.open(self.address, pool)?;
        let cell = Cell {
            database: self.database.description().name,
            workload: self.workload,
            threads: self.threads,
            pool,
            delay_ms: self.delay.as_secs_f64() * 1e3,
            round_trip_ms: match self.database.url() {
                Some(_) => Some(bank.round_trip()?),
                None => None,
            },
            hold_ms: options.hold.as_secs_f64() * 1e3,
            seconds: options.seconds,
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
        let strategies = match self.options.strategies.as_slice() {
            [] => Strategy::value_variants(),
            chosen => chosen,
        };
        let mut contenders = Vec::new();
        let thought = Thought(self.options.hold);
        for strategy in strategies {
            if !strategy.serves(self.workload) {
                continue;
            }
            if let Some(depositor) = bank.depositor(*strategy, self.workload, thought) {
                contenders.push(Contender::new(strategy.name(), Kind::Strategy(depositor)));
            }
        }
        let peers_can = matches!(self.workload, Workload::Hot | Workload::Uniform);
        if let Some(url) = self.database.url().filter(|_| peers_can) {
            for peer in &self.options.peer {
                let url = database::at(url, self.address)?;
                contenders.push(Contender::new(&peer.name, Kind::Peer(peer, url)));
            }
        }
        Ok(contenders)
    }

    fn measure(
        &self,
        contender: &mut Contender<'_>,
        cell: &Cell,
        bank: &dyn Bank,
        missing: &mut Vec<String>,
    ) -> Result<()> {
        let run = match &contender.kind {
            Kind::Strategy(depositor) => {
                let storm = Storm {
                    workload: self.workload,
                    rows: self.options.rows,
                    threads: self.threads,
                    hot_threads: match self.workload {
                        Workload::Cold => self.options.hot_threads,
                        _ => 0,
                    },
                    time: Duration::try_from_secs_f64(self.options.seconds)?,
                };
                let (run, times) = storm
                    .run(bank, depositor.as_ref())
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
