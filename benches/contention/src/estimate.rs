//! How long it will take, by the numbers of the plan.

use std::time::Duration;

use crate::options::Options;
use crate::plan::{parts, peers, strategies, Part};
use crate::storm::WARM_UP;

/// To empty the accounts before a measurement, and to check them afterwards.
const SET_UP: Duration = Duration::from_millis(100);
/// To start another program, with its interpreter and its connections.
const START: Duration = Duration::from_millis(900);
/// For each of its threads, which may be processes.
const START_THREAD: Duration = Duration::from_millis(20);
/// Round trips of an operation: whoever is in line at the end is still served.
const ROUND_TRIPS: u32 = 4;

/// Of all databases.
pub(crate) fn of(options: &Options) -> Duration {
    let all = options
        .databases()
        .flat_map(|url| parts(options, url).into_iter().map(move |part| (url, part)));
    all.map(|(url, part)| of_part(options, url, &part)).sum()
}

fn of_part(options: &Options, url: &str, part: &Part) -> Duration {
    let threads = u32::try_from(part.threads + part.beside).unwrap_or(u32::MAX);
    let in_line = (part.delay * ROUND_TRIPS + options.hold) * threads;
    let one = WARM_UP + Duration::from_secs_f64(options.seconds) + SET_UP + in_line;
    let peer = one + START + START_THREAD * threads;
    let count = |number: usize| u32::try_from(number * options.repeats).unwrap_or(u32::MAX);
    one * count(strategies(options, part.workload).len())
        + peer * count(peers(options, url, part.workload).len())
}
