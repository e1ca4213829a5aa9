//! `cargo xtask ci`: the tests and all other checks.

use anyhow::Result;

use crate::report::Steps;
use crate::servers::Servers;
use crate::step::{checked, Step};
use crate::test::{self, Which};
use crate::{api, bench, page, rooms};

/// Each feature alone, and each pair of databases: code must not need another one's imports.
const FEATURES: [&str; 20] = [
    "",
    "postgres",
    "mysql",
    "sqlite",
    "bundled-postgres",
    "bundled-sqlite",
    "postgres,mysql",
    "postgres,sqlite",
    "mysql,sqlite",
    "migrations",
    "migrations,postgres",
    "race",
    "race,postgres",
    "race,mysql",
    "race,sqlite",
    "metrics",
    "metrics,postgres",
    "tracing",
    "tracing,postgres",
    "metrics,tracing",
];

/// Says whether all is well.
pub(crate) fn run(with_tests: bool) -> Result<bool> {
    let tested = !with_tests || test::run(Which::Default, &[])?;
    let steps = checks()?;
    let clean = steps.iter().filter(|step| step.succeeded).count();
    print!("\n{}", Steps(&steps));
    if !tested {
        println!("the tests have FAILED, see above");
    }
    println!("{clean} of {} checks are clean", steps.len());
    Ok(tested && clean == steps.len())
}

fn checks() -> Result<Vec<Step>> {
    let mut steps = vec![rooms::check()?];
    steps.push(checked("format", "fmt --all -- --check")?);
    steps.push(checked(
        "clippy",
        "clippy --workspace --all-targets --all-features -- -Dwarnings",
    )?);
    for features in FEATURES {
        steps.push(checked(
            &format!("clippy, features [{features}]"),
            &format!("clippy --lib --no-default-features --features={features} -- -Dwarnings"),
        )?);
    }
    steps.push(api::check()?);
    steps.push(checked("benches", "bench --all-features --no-run")?);
    steps.push(checked(
        "package",
        "publish --dry-run --allow-dirty --package diesel-row-lock",
    )?);
    let servers = Servers::start()?;
    let (smoke, report) = bench::smoke(&servers)?;
    steps.extend(smoke);
    if let Some(report) = report {
        steps.push(page::check(&report)?);
    }
    Ok(steps)
}
