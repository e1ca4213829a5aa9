//! `cargo xtask test --postgres 16,17`: the PostgreSQL tests, on one version after another.

use std::slice;

use anyhow::Result;
use servers::{Place, Postgres};

use crate::count::Backend;
use crate::report::{Report, Row};
use crate::servers::Server;
use crate::step::{self, cargo, Step};

/// The same build as that of all tests.
const TESTS: [&str; 5] = ["test", "--all-features", "--lib", "--test", "it"];

/// On other databases they tell nothing about PostgreSQL.
const OTHERS: [&str; 6] = [
    "--skip",
    "::mysql",
    "--skip",
    "::mariadb",
    "--skip",
    "::sqlite",
];

/// What needs the server's translations, which not every build has.
const LANGUAGES: &str = "languages::each_error_of_postgresql";

/// Says whether all is well; `arguments` are for the test binaries.
pub(crate) fn run(versions: &[u32], arguments: &[String]) -> Result<bool> {
    let mut build = cargo(TESTS);
    let mut steps = vec![step::run("build with all features", build.arg("--no-run"))?];
    let mut left_out = Vec::new();
    for version in versions {
        let server = Server::of_version(*version)?;
        steps.push(test(&server, arguments)?);
        if server.speaks_only_english() {
            left_out.push(format!("{}: {LANGUAGES}", server.name));
        }
    }
    let ran = steps.iter().skip(1);
    let rows: Vec<_> = ran
        .map(|step| Row::of(&step.name, Backend::Postgres, slice::from_ref(step)))
        .chain([Row::of("no database", Backend::None, &steps)])
        .collect();
    let report = Report {
        rows: &rows,
        steps: &steps,
    };
    print!("\n{report}");
    for what in left_out {
        println!("left out, without translations, on {what}");
    }
    Ok(report.is_clean())
}

fn test(server: &Server<Postgres>, arguments: &[String]) -> Result<Step> {
    let place = Place::new()?;
    let mut tests = cargo(TESTS);
    tests.args(["--no-fail-fast", "--"]).args(OTHERS);
    if server.speaks_only_english() {
        tests.args(["--skip", LANGUAGES]);
    }
    place.offer(server.offer(&mut tests)).args(arguments);
    step::run(&server.name, &mut tests)
}
