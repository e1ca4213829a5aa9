//! Peers: programs that make the same deposits with another library.
//!
//! A peer is told by its environment what to do, and says by one line of JSON what it did. The
//! accounts are reset before and checked afterwards as for the strategies.

use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{bail, ensure, Context, Result};
use serde::Deserialize;
use url::Url;

use crate::database::Bank;
use crate::measured::{Cell, Quantiles, Run};
use crate::storm::WARM_UP;

#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) name: String,
    command: String,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("it is NAME=COMMAND")?;
        Ok(Self {
            name: name.to_owned(),
            command: command.to_owned(),
        })
    }
}

/// What a peer prints; its times are in milliseconds.
#[derive(Deserialize)]
struct Answer {
    /// Acknowledged, whenever it was.
    acked: u64,
    /// Acknowledged within the time that counts.
    deposits: u64,
    total: Quantiles,
    #[serde(default)]
    fairness: f64,
}

impl Peer {
    pub(crate) fn run(&self, url: &Url, cell: &Cell, rows: i32, bank: &dyn Bank) -> Result<Run> {
        bank.reset(rows)?;
        let output = Command::new("sh")
            .args(["-c", &self.command])
            .env("DATABASE_URL", url.as_str())
            .env("WORKLOAD", cell.workload.word())
            .env("THREADS", cell.threads.to_string())
            .env("ROWS", rows.to_string())
            .env("POOL", cell.pool.to_string())
            .env("SECONDS_COUNTED", cell.seconds.to_string())
            .env("SECONDS_WARM_UP", WARM_UP.as_secs_f64().to_string())
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", self.command))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last_words = said.trim().lines().last().unwrap_or_default().to_owned();
        ensure!(output.status.success(), "{}: {last_words}", output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(line) = text.trim().lines().last() else {
            bail!("it said nothing: {last_words}");
        };
        let answer: Answer = serde_json::from_str(line).context("what it said is no answer")?;
        let sum: i64 = bank.books()?.balances.iter().sum();
        let sum = u64::try_from(sum).unwrap_or(0);
        Ok(Run {
            deposits: answer.deposits,
            acknowledged: answer.acked,
            throughput: answer.deposits as f64 / cell.seconds,
            total: answer.total,
            fairness: answer.fairness,
            lost: answer.acked.saturating_sub(sum),
            surplus: sum.saturating_sub(answer.acked),
            ..Run::default()
        })
    }
}
