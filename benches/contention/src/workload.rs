//! Which rows the threads want.

use std::ops::RangeInclusive;

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};
use serde::{Deserialize, Serialize};

use crate::strategy::Order;

/// The row that all threads want.
const HOT: i32 = 1;

/// Of the workload `crowd`: rows `HOT` to this one are hot, each wanted by as many threads.
const LAST_HOT: i32 = 24;
const THREADS_OF_EACH: usize = 4;
pub(crate) const CROWD: usize = LAST_HOT as usize * THREADS_OF_EACH;

/// Of the workload `queues`: the threads that share a queue.
pub(crate) const THREADS_OF_A_QUEUE: usize = 16;

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
    /// 24 hot rows with four threads each; measured are the few threads on others, with whom they
    /// share a small pool
    Crowd,
    /// All threads want the same row, and further sessions write it by hand
    Foreign,
    /// All threads want the same row, and each 16 have their own queue, as in several processes
    Queues,
    /// All threads want the same row, and the database refuses some changes
    Refused,
    /// As `hot`, with thousands of threads, for strategies that queue that many
    Waiters,
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
            Self::Crowd => "cold rows beside 24 hot ones",
            Self::Foreign => "one hot row, others write it by hand",
            Self::Queues => "one hot row, a queue for each 16 threads",
            Self::Refused => "one hot row, some changes refused",
            Self::Waiters => "one hot row, thousands of waiters",
        }
    }

    /// What its throughput counts.
    pub(crate) fn rate(self) -> &'static str {
        match self {
            Self::Transfer => "transfers/s",
            _ => "deposits/s",
        }
    }

    /// How many rows are left out where the cold ones are picked.
    pub(crate) fn hot_rows(self) -> i32 {
        match self {
            Self::Crowd => LAST_HOT,
            _ => HOT,
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
    One(i32),
    Alike(RangeInclusive<i32>),
    Zipf(Zipf<f32>),
}

impl Picker {
    /// For a thread that is measured.
    pub(crate) fn new(workload: Workload, rows: i32, thread: usize) -> Self {
        let wanted = match workload {
            Workload::Hot
            | Workload::Jobs
            | Workload::Foreign
            | Workload::Queues
            | Workload::Refused
            | Workload::Waiters => Rows::One(HOT),
            Workload::Cold | Workload::Crowd => Rows::Alike(workload.hot_rows() + 1..=rows),
            Workload::Uniform => Rows::Alike(HOT..=rows),
            // At least two rows and the exponent 1 are within its bounds.
            Workload::Zipf | Workload::Transfer => {
                Zipf::new(rows as f32, 1.0).map_or(Rows::One(HOT), Rows::Zipf)
            }
        };
        Self::of(wanted, thread, workload == Workload::Transfer)
    }

    /// For a thread beside those that are measured.
    pub(crate) fn beside(workload: Workload, thread: usize) -> Self {
        let row = match workload {
            Workload::Crowd => (HOT..=LAST_HOT).cycle().nth(thread).unwrap_or(HOT),
            _ => HOT,
        };
        Self::of(Rows::One(row), thread, false)
    }

    fn of(rows: Rows, thread: usize, transfers: bool) -> Self {
        Self {
            random: StdRng::seed_from_u64(thread as u64),
            rows,
            transfers,
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
            Rows::One(row) => *row,
            Rows::Alike(rows) => self.random.random_range(rows.clone()),
            #[allow(clippy::cast_possible_truncation, reason = "it is from 1 to `rows`")]
            Rows::Zipf(zipf) => zipf.sample(&mut self.random) as i32,
        }
    }
}
