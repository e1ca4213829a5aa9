//! `cargo xtask test`: every test, on every database.

use std::thread;

use anyhow::Result;

use crate::count::Backend;
use crate::report::{Report, Row};
use crate::servers::{joined, Servers};
use crate::step::{self, cargo, Step};

/// Everything but the doc tests, which Cargo can't run together with it.
const ALL: [&str; 5] = ["test", "--all-features", "--lib", "--tests", "--examples"];
const BACKENDS: [&str; 3] = ["postgres", "mysql", "sqlite"];

/// Says whether all is well; `arguments` are for the test binaries.
pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    let (servers, build) = thread::scope(|scope| {
        // Its two single-threaded programs go well with a compiler.
        let servers = scope.spawn(|| Servers::start(None));
        let mut build = cargo(ALL);
        let build = step::run("build with all features", build.arg("--no-run"));
        (joined(servers), build)
    });
    let mut steps = vec![build?];
    let servers = servers?;
    run_steps(&servers, arguments, &mut steps)?;

    let rows = [
        (Backend::Postgres, servers.postgres.name.as_str()),
        (Backend::Mysql, servers.mysql.name.as_str()),
        (Backend::Mariadb, servers.mariadb.name.as_str()),
        (Backend::Sqlite, "SQLite (embedded)"),
        (Backend::None, "no database"),
    ]
    .map(|(backend, name)| Row::of(name, backend, &steps));
    let report = Report {
        rows: &rows,
        steps: &steps,
    };
    let clean = report.is_clean();
    let text = report.to_string();
    // Before the report, so that nothing comes after its last line.
    drop(servers);
    print!("\n{text}");
    Ok(clean)
}

fn run_steps(servers: &Servers, arguments: &[String], steps: &mut Vec<Step>) -> Result<()> {
    let mut test = |name: &str, cargo_arguments: &[&str]| -> Result<()> {
        // Or Cargo leaves out the binaries that come after one with a failed test.
        let mut command = cargo(["test", "--no-fail-fast"]);
        command.args(cargo_arguments).arg("--").args(arguments);
        steps.push(step::run(name, servers.offer(&mut command))?);
        Ok(())
    };
    test("all features", &ALL[1..])?;
    test("doc tests", &["--all-features", "--doc"])?;
    for backend in BACKENDS {
        let alone = ["--no-default-features", "--features", backend];
        let what = ["--lib", "--test", "it"];
        test(&format!("{backend} alone"), &[alone, what].concat())?;
    }
    test("servers", &["--package", "servers"])?;
    test("xtask", &["--package", "xtask"])?;
    // As the README has it: no flags, no server.
    let mut example = cargo(["run", "--example", "bank"]);
    steps.push(step::run("example bank", &mut example)?);
    Ok(())
}
