//! Which rows the threads want.

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};
use serde::{Deserialize, Serialize};

use crate::strategy::Order;

/// The row that everybody wants.
pub(crate) const HOT: i32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Workload {
    /// Everybody wants the same row
    Hot,
    /// All rows alike
    Uniform,
    /// A few rows often, most of them rarely (Zipf, exponent 1)
    Zipf,
    /// Many threads on one row; measured are the few on others, with whom they share a small pool
    Cold,
    /// Transfers between two rows, each picked as by `zipf`
    Transfer,
    /// Any row that is free, as in a queue of jobs
    Jobs,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hot => "one hot row",
            Self::Uniform => "uniform",
            Self::Zipf => "zipf",
            Self::Cold => "cold rows beside a hot one",
            Self::Transfer => "transfers, zipf",
            Self::Jobs => "jobs",
        }
    }

    /// What its throughput counts.
    pub(crate) fn rate(self) -> &'static str {
        match self {
            Self::Transfer => "transfers/s",
            _ => "deposits/s",
        }
    }

    /// Whether the same deposits can be made by another program.
    pub(crate) fn is_for_peers(self) -> bool {
        matches!(self, Self::Hot | Self::Uniform)
    }

    /// As on the command line.
    pub(crate) fn word(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

/// Picks rows for one thread; the same ones in each run.
pub(crate) struct Picker {
    random: StdRng,
    rows: Rows,
    transfers: bool,
}

enum Rows {
    Hot,
    Cold(i32),
    Uniform(i32),
    Zipf(Zipf<f32>),
}

impl Picker {
    pub(crate) fn new(workload: Workload, rows: i32, thread: u64) -> Self {
        let rows = match workload {
            Workload::Hot | Workload::Jobs => Rows::Hot,
            Workload::Cold => Rows::Cold(rows),
            Workload::Uniform => Rows::Uniform(rows),
            // At least two rows and the exponent 1 are within its bounds.
            Workload::Zipf | Workload::Transfer => {
                Zipf::new(rows as f32, 1.0).map_or(Rows::Hot, Rows::Zipf)
            }
        };
        Self {
            random: StdRng::seed_from_u64(thread),
            rows,
            transfers: workload == Workload::Transfer,
        }
    }

    /// Where the row is the database's choice, that of the order counts for nothing.
    pub(crate) fn order(&mut self) -> Order {
        let one = self.pick();
        if !self.transfers {
            return Order::Deposit(one);
        }
        loop {
            let other = self.pick();
            if one != other {
                return Order::Transfer {
                    from: one,
                    to: other,
                };
            }
        }
    }

    fn pick(&mut self) -> i32 {
        match &self.rows {
            Rows::Hot => HOT,
            Rows::Cold(rows) => self.random.random_range(HOT + 1..=*rows),
            Rows::Uniform(rows) => self.random.random_range(HOT..=*rows),
            #[allow(clippy::cast_possible_truncation, reason = "it is from 1 to `rows`")]
            Rows::Zipf(zipf) => zipf.sample(&mut self.random) as i32,
        }
    }
}
