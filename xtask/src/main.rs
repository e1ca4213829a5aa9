//! The project's commands: `cargo xtask help` lists them.

mod api;
mod bench;
mod ci;
mod count;
mod faults;
mod interrupt;
mod mutants;
mod packages;
mod page;
mod peers;
mod readme;
mod report;
mod rooms;
mod servers;
mod step;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use self::test::Which;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
/// Tests and checks of diesel-row-lock
struct Cli {
    /// Take the machine as it is: neither look for nor install Debian packages
    #[arg(long, global = true)]
    no_install: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every test, on servers that are started for this run
    ///
    /// With PG_URL, MYSQL_URL or MARIADB_URL set, that server is used instead.
    Test {
        /// On which servers
        #[arg(long, value_enum, default_value_t)]
        servers: Which,

        /// Passed on to the test binaries, such as a part of a test's name
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Start the servers, for Ctrl-C or the end of standard input to stop, or for one command
    Servers {
        #[command(flatten)]
        wanted: servers::Wanted,

        /// Run with PG_URL, MYSQL_URL and MARIADB_URL set; the servers end with it
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Run the laws under real faults for longer, and write what they have seen to
    /// target/reliability.md
    Faults {
        /// About so long
        #[arg(
            long,
            value_name = "N",
            default_value_t = 10,
            value_parser = clap::value_parser!(u32).range(2..=18)
        )]
        minutes: u32,
    },
    /// Change the code that decides outcomes, one place at a time, and see whether a law notices
    ///
    /// Takes hours. Leaves the lists in target/mutants.
    Mutants {
        /// Only this code: endings, queue, leases or versions
        #[arg(long, value_name = "GROUP")]
        only: Option<String>,
    },
    /// Measure what locks cost under contention, on PostgreSQL, MariaDB and SQLite
    ///
    /// Writes target/contention/report.html and others; benches/README.md says how to read it.
    Bench(bench::Wanted),
    /// Check that the rooms of src/ use each other in the order that ARCHITECTURE.md gives
    Rooms,
    /// Compare the public items with xtask/api.txt
    ///
    /// With API=overwrite in the environment it writes that list anew.
    Api,
    /// Run the tests, then formatting, lints, docs, benches and packaging
    Ci {
        /// Leave out the tests
        #[arg(long)]
        no_test: bool,
    },
}

impl Command {
    /// The Debian packages that it needs.
    fn packages(&self) -> Vec<&'static str> {
        if matches!(self, Self::Rooms) {
            return Vec::new();
        }
        let builds = !matches!(self, Self::Servers { .. });
        let mut packages = Vec::new();
        if builds {
            packages.extend(packages::LIBRARIES);
        }
        packages.extend(servers::packages());
        if builds {
            packages.extend(servers::FOR_FAULTS);
        }
        if matches!(self, Self::Ci { .. }) {
            packages.push(page::BROWSER);
        }
        packages
    }
}

fn main() -> ExitCode {
    let result = run(&Cli::parse());
    // By now all servers have ended and their folders are gone: `run` owned them.
    if interrupt::happened() {
        eprintln!("xtask: interrupted");
        return ExitCode::from(130);
    }
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(cli: &Cli) -> Result<ExitCode> {
    interrupt::watch()?;
    ::servers::interrupted_by(interrupt::check);
    if !cli.no_install {
        packages::ensure(&cli.command.packages())?;
    }
    let clean = match &cli.command {
        Command::Test { servers, args } => test::run(*servers, args)?,
        Command::Servers { wanted, command } => return servers::hold(wanted, command),
        Command::Faults { minutes } => faults::run(*minutes)?,
        Command::Mutants { only } => mutants::run(only.as_deref())?,
        Command::Bench(wanted) => bench::run(wanted)?,
        Command::Rooms => rooms::check()?.succeeded,
        Command::Api => api::check()?.succeeded,
        Command::Ci { no_test } => ci::run(!no_test)?,
    };
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
