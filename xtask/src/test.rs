//! `cargo xtask test`: every test, on every server.

mod laws;

use std::process::Command;
use std::thread;

use anyhow::Result;
use servers::releases::{Product, RELEASES};

use self::laws::Laws;
use crate::count::Backend;
use crate::readme;
use crate::report::{Report, Row};
use crate::servers::{joined, mariadb, postgres, Servers};
use crate::step::{self, cargo, Step};

/// Everything but the laws, which have steps of their own, and the doc tests, which Cargo can't run
/// together with it.
const REST: [&str; 5] = ["--all-features", "--lib", "--examples", "--test", "ui"];

/// The features that the laws are built with, one set after the other. SQLite's are always there; a
/// user has one more backend as a rule, and those who have several, or more features, have what
/// only then is compiled.
const FEATURES: [(&str, &[&str]); 4] = [
    ("sqlite alone", &["--no-default-features"]),
    ("postgres alone", &["--features", "postgres"]),
    ("mysql alone", &["--features", "mysql"]),
    ALL_FEATURES,
];

const ALL_FEATURES: (&str, &[&str]) = ("all features", &["--all-features"]);

/// The servers that the laws run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Which {
    /// PostgreSQL and MariaDB of this Debian, MySQL, and SQLite
    #[default]
    Default,
    /// These, and all versions that other suites of Debian have; writes the README's table
    All,
}

/// Says whether all is well; `arguments` are for the test binaries.
pub(crate) fn run(which: Which, arguments: &[String]) -> Result<bool> {
    let (servers, build) = thread::scope(|scope| {
        // Their programs go well with a compiler.
        let servers = scope.spawn(Servers::start);
        let mut build = cargo(["test", "--no-run", "--tests", "--examples"]);
        let build = step::run(
            "build with all features",
            build.args(["--all-features", "--lib"]),
        );
        (joined(servers), build)
    });
    let mut steps = vec![build?];
    let servers = servers?;
    run_steps(&servers, arguments, &mut steps)?;
    let own = [
        (Backend::Postgres, servers.postgres.name.as_str()),
        (Backend::Mysql, servers.mysql.name.as_str()),
        (Backend::Mariadb, servers.mariadb.name.as_str()),
        (Backend::Sqlite, "SQLite (bundled)"),
        (Backend::Galera, "Galera"),
        (Backend::None, "no server, or several"),
    ];
    let mut rows: Vec<_> = own
        .into_iter()
        .map(|(backend, name)| Row::of(name, backend, &steps))
        .collect();
    if which == Which::All {
        let more = on_releases(&servers, arguments)?;
        rows.splice(
            4..4,
            more.iter()
                .map(|(backend, step)| Row::of(&step.name, *backend, std::slice::from_ref(step))),
        );
        steps.extend(more.into_iter().map(|(_, step)| step));
    }
    let report = Report {
        rows: &rows,
        steps: &steps,
    };
    let clean = report.is_clean();
    let text = report.to_string();
    if clean && which == Which::All && arguments.is_empty() {
        readme::write_servers(&rows)?;
    }
    // Before the report, so that nothing comes after its last line.
    drop(servers);
    print!("\n{text}");
    Ok(clean)
}

fn run_steps(servers: &Servers, arguments: &[String], steps: &mut Vec<Step>) -> Result<()> {
    // What has run on the same server with fewer features need not run again.
    let mut run = Laws::default();
    for (name, features) in FEATURES {
        let build = laws::build(&format!("build, {name}"), features)?;
        let succeeded = build.succeeded;
        steps.push(build);
        if !succeeded {
            continue;
        }
        let laws = Laws::of(features, arguments)?.without(&run);
        if let Some(step) = laws.run(name, features, arguments, |command| {
            servers.offer(command);
        })? {
            steps.push(step);
        }
        run.add(laws);
    }
    let mut test = |name: &str, cargo_arguments: &[&str]| -> Result<()> {
        // Or Cargo leaves out the binaries that come after one with a failed test.
        let mut command = cargo(["test", "--no-fail-fast"]);
        command.args(cargo_arguments).arg("--").args(arguments);
        steps.push(step::run(name, servers.offer(&mut command))?);
        Ok(())
    };
    test("what needs no server", &REST)?;
    test("doc tests", &["--all-features", "--doc"])?;
    test("model", &["--package", "model"])?;
    test("law", &["--package", "law"])?;
    test("contention", &["--package", "contention"])?;
    test("lock_top", &["--package", "lock_top", "--all-features"])?;
    test("servers", &["--package", "servers"])?;
    test("xtask", &["--package", "xtask"])?;
    // As the README has it: no flags, no server.
    let mut example = cargo(["run", "--example", "bank"]);
    steps.push(step::run("example bank", &mut example)?);
    Ok(())
}

/// The laws of one server after the other that only other suites of Debian have.
fn on_releases(servers: &Servers, arguments: &[String]) -> Result<Vec<(Backend, Step)>> {
    let (_, features) = ALL_FEATURES;
    let all = Laws::of(features, arguments)?;
    let mut steps = Vec::new();
    for release in RELEASES {
        let version = Some(release.version);
        let step = match release.product {
            // It is among the others.
            Product::MySql => None,
            Product::Postgres => {
                let server = postgres(version)?;
                let offer = |command: &mut Command| {
                    server.offer(servers.offer(command));
                };
                let laws = all.on(Backend::Postgres);
                laws.run(&server.name, features, arguments, offer)?
                    .map(|step| (Backend::Postgres, step))
            }
            Product::MariaDb => {
                let server = mariadb(version)?;
                let offer = |command: &mut Command| {
                    server.offer(servers.offer(command));
                };
                let laws = all.on(Backend::Mariadb);
                laws.run(&server.name, features, arguments, offer)?
                    .map(|step| (Backend::Mariadb, step))
            }
        };
        steps.extend(step);
    }
    Ok(steps)
}
