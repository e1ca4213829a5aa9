//! `cargo xtask test --postgres 16,17`: the PostgreSQL tests, on one version after another.

use anyhow::Result;

use crate::count::Backend;
use crate::report::{Report, Row};
use crate::servers::Server;
use crate::step::{self, cargo};

/// The same build as that of all tests.
const TESTS: [&str; 5] = ["test", "--all-features", "--lib", "--test", "it"];

/// On other databases they tell nothing about PostgreSQL.
const OTHERS: [&str; 4] = ["--skip", "::mysql", "--skip", "::sqlite"];

/// What needs the server's translations, which not every build has.
const LANGUAGES: &str = "languages::each_error_of_postgresql";

/// Says whether all is well; `arguments` are for the test binaries.
pub(crate) fn run(versions: &[u32], arguments: &[String]) -> Result<bool> {
    let mut steps = vec![step::run(
        "build for PostgreSQL",
        cargo(TESTS).arg("--no-run"),
    )?];
    let mut names = Vec::new();
    let mut left_out = Vec::new();
    for version in versions {
        let server = Server::of_version(*version)?;
        let mut tests = cargo(TESTS);
        tests.args(["--no-fail-fast", "--"]).args(OTHERS);
        if server
            .release
            .as_ref()
            .is_some_and(|release| !release.is_translated())
        {
            tests.args(["--skip", LANGUAGES]);
            left_out.push(format!(
                "{}: {LANGUAGES}, as it speaks only English",
                server.name
            ));
        }
        steps.push(step::run(
            &server.name,
            server.offer(tests.args(arguments)),
        )?);
        names.push(server.name);
    }
    let ran = names.iter().zip(steps.iter().skip(1));
    let rows: Vec<_> = ran
        .map(|(name, step)| Row::of(name, Backend::Postgres, std::slice::from_ref(step)))
        .chain([Row::of("no database", Backend::None, &steps)])
        .collect();
    let report = Report {
        rows: &rows,
        steps: &steps,
    };
    print!("\n{report}");
    for what in left_out {
        println!("left out on {what}");
    }
    Ok(report.is_clean())
}
