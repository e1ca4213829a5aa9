//! sqlx and SeaORM, making the deposits of the contention benchmark: `peers sqlx`, `peers sea-orm`.
//!
//! What is to be done is in the environment, what was done is one line of JSON on the output;
//! `benches/README.md` has both.

mod sea;
mod sql;

use std::env;
use std::future::Future;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use futures::future::try_join_all;
use rand::Rng;

/// What the benchmark asks for.
pub(crate) struct Task {
    pub(crate) url: String,
    pub(crate) pool: u32,
    hot: bool,
    rows: i32,
    threads: usize,
    warm_up: Duration,
    counted: Duration,
}

#[tokio::main]
async fn main() -> Result<()> {
    let task = Task {
        url: env::var("DATABASE_URL").context("no DATABASE_URL")?,
        pool: number("POOL")?,
        hot: env::var("WORKLOAD").context("no WORKLOAD")? == "hot",
        rows: number("ROWS")?,
        threads: number("THREADS")?,
        warm_up: Duration::from_secs_f64(number("SECONDS_WARM_UP")?),
        counted: Duration::from_secs_f64(number("SECONDS_COUNTED")?),
    };
    match env::args().nth(1).as_deref() {
        Some("sqlx") => sql::run(&task).await,
        Some("sea-orm") => sea::run(&task).await,
        _ => bail!("it is `sqlx` or `sea-orm`"),
    }
}

fn number<T: FromStr>(name: &str) -> Result<T> {
    let text = env::var(name).with_context(|| format!("no {name}"))?;
    text.parse()
        .ok()
        .with_context(|| format!("{name} is {text}"))
}

impl Task {
    /// Makes deposits on as many tasks as the benchmark has threads, and says what came of it.
    pub(crate) async fn storm<D, F>(&self, deposit: D) -> Result<()>
    where
        D: Fn(i32) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<()>> + Send,
    {
        let begin = Instant::now() + self.warm_up;
        let end = begin + self.counted;
        let (hot, rows) = (self.hot, self.rows);
        let workers = (0..self.threads).map(|_| {
            let deposit = deposit.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                loop {
                    let asked = Instant::now();
                    if asked >= end {
                        return Ok::<_, anyhow::Error>(times);
                    }
                    let row = if hot {
                        1
                    } else {
                        rand::rng().random_range(1..=rows)
                    };
                    deposit(row).await?;
                    times.push((asked, Instant::now()));
                }
            })
        });
        let done: Vec<_> = try_join_all(workers)
            .await?
            .into_iter()
            .collect::<Result<_>>()?;
        self.report(&done, begin, end);
        Ok(())
    }

    fn report(&self, done: &[Vec<(Instant, Instant)>], begin: Instant, end: Instant) {
        let acked: usize = done.iter().map(Vec::len).sum();
        let counted = |times: &Vec<(Instant, Instant)>| {
            let within = times
                .iter()
                .filter(|(_, ended)| *ended >= begin && *ended <= end);
            within.count()
        };
        let each: Vec<usize> = done.iter().map(counted).collect();
        let mut times: Vec<f64> = done
            .iter()
            .flatten()
            .filter(|(asked, _)| *asked >= begin)
            .map(|(asked, ended)| (*ended - *asked).as_secs_f64() * 1e3)
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        let at = |part: f64| {
            let place = (times.len() as f64 * part) as usize;
            times
                .get(place.min(times.len().saturating_sub(1)))
                .copied()
                .unwrap_or(0.0)
        };
        let most = each.iter().max().copied().unwrap_or(0);
        let least = each.iter().min().copied().unwrap_or(0).max(1);
        println!(
            "{}",
            serde_json::json!({
                "acked": acked,
                "deposits": each.iter().sum::<usize>(),
                "total": { "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0) },
                "fairness": most as f64 / least as f64,
            })
        );
    }
}
