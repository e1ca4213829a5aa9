//! The project's commands: `cargo xtask help` lists them.

mod bench;
mod ci;
mod count;
mod interrupt;
mod packages;
mod page;
mod peers;
mod report;
mod servers;
mod step;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

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
    /// Run every test, on a PostgreSQL and a MariaDB started for this run
    ///
    /// With PG_URL or MYSQL_URL set, that server is used instead.
    Test {
        /// Passed on to the test binaries, such as a part of a test's name
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Start the servers, for Ctrl-C or the end of standard input to stop, or for one command
    Servers {
        /// Run with PG_URL and MYSQL_URL set; the servers end with it
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Measure what locks cost under contention, on PostgreSQL, MariaDB and SQLite
    ///
    /// Writes target/contention/report.html and others; benches/README.md says how to read it.
    Bench {
        /// In some minutes instead of an hour
        #[arg(long)]
        quick: bool,
        /// Other libraries, too, which are installed for it
        #[arg(long)]
        peers: bool,
        /// Put the tables into benches/README.md
        #[arg(long)]
        into_readme: bool,
        /// Measure this instead, on all three; `--help` lists it
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run the tests, then formatting, lints, docs, benches and packaging
    Ci {
        /// Leave out the tests
        #[arg(long)]
        no_test: bool,
    },
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
    if !cli.no_install {
        let mut needed = Vec::new();
        if !matches!(cli.command, Command::Servers { .. }) {
            needed.extend(packages::LIBRARIES);
        }
        needed.extend(servers::packages());
        if matches!(cli.command, Command::Ci { .. }) {
            needed.push(page::BROWSER);
        }
        packages::ensure(&needed)?;
    }
    let clean = match &cli.command {
        Command::Test { args } => test::run(args)?,
        Command::Servers { command } => return servers::hold(command),
        Command::Bench {
            quick,
            peers,
            into_readme,
            args,
        } => bench::run(*quick, *peers, args)? && (!into_readme || bench::into_readme()?),
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
