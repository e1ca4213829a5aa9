//! The estimate counts what the plan does.

use std::time::Duration;

use clap::Parser;

use crate::estimate::of;
use crate::options::Options;

const MEASURED: [&str; 5] = [
    "",
    "--seconds=2",
    "--repeats=3",
    "--threads=1,16",
    "--rows=10",
];

fn estimate(arguments: &[&str]) -> Duration {
    of(&Options::parse_from(MEASURED.iter().chain(arguments)))
}

fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

#[test]
fn strategies_and_threads_and_repeats_multiply() {
    let two = ["--workloads=uniform", "--strategies=none,diesel"];
    assert_eq!(
        estimate(&two),
        milliseconds((2_000 + 200 + 100) * 2 * 3 * 2)
    );
}

#[test]
fn only_strategies_that_serve_count() {
    let one = ["--workloads=transfer", "--strategies=queue-update,diesel"];
    assert_eq!(estimate(&one), milliseconds((2_000 + 200 + 100) * 3 * 2));
}

#[test]
fn an_embedded_database_has_neither_delays_nor_peers() {
    let hot = ["--workloads=hot", "--strategies=diesel"];
    let more = [&hot[..], &["--delays=0,2", "--peer=a=b"]].concat();
    assert_eq!(estimate(&more), estimate(&hot));
}

#[test]
fn a_server_has_both() {
    let url = "--database-url=postgres://localhost";
    let hot = [url, "--workloads=hot", "--strategies=diesel"];
    let more = [&hot[..], &["--delays=0,2"]].concat();
    let lines = milliseconds(2 * 4 * (1 + 16) * 3);
    assert_eq!(estimate(&more), estimate(&hot) * 2 + lines);
    let more = [&hot[..], &["--peer=a=b"]].concat();
    let starts = milliseconds((900 * 2 + 20 * (1 + 16)) * 3);
    assert_eq!(estimate(&more), estimate(&hot) * 2 + starts);
}

#[test]
fn the_cold_workload_has_its_own_threads() {
    let cold = ["--workloads=cold", "--strategies=diesel"];
    assert_eq!(estimate(&cold), milliseconds((2_000 + 200 + 100) * 3));
}

#[test]
fn each_number_of_foreign_sessions_is_measured() {
    let foreign = ["--workloads=foreign", "--strategies=diesel"];
    let two = [&foreign[..], &["--foreign=1,2"]].concat();
    assert_eq!(
        estimate(&two),
        milliseconds((2_000 + 200 + 100) * 2 * 2 * 3)
    );
}

#[test]
fn an_argument_replaces_the_same_one_before_it() {
    let one = ["--workloads=hot", "--strategies=diesel"];
    let again = [
        "--workloads=jobs,zipf",
        "--strategies=none",
        "--repeats=9",
        "--repeats=3",
    ];
    assert_eq!(estimate(&[&again[..], &one].concat()), estimate(&one));
}
