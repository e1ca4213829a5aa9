//! The servers of a run: started for it, or given by the environment.

mod cluster;
mod languages;
mod mariadb;
mod postgres;

use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;
use std::{env, panic};

use anyhow::Result;

use self::cluster::{Cluster, Process};
use crate::interrupt::{self, Foreground};

/// The Debian packages with the servers and clients that this run needs.
pub(crate) fn packages() -> Vec<&'static str> {
    let mut packages = vec!["mariadb-client-core"];
    if given(postgres::VARIABLE).is_none() {
        packages.push("postgresql");
    } else if !Path::new("/usr/bin/psql").exists() {
        // Installing it beside one of a certain version could upgrade that one's server.
        packages.push("postgresql-client");
    }
    if given(mariadb::VARIABLE).is_none() {
        packages.push("mariadb-server-core");
    }
    packages
}

/// The URL of a server that the caller has chosen.
fn given(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|url| !url.is_empty())
}

/// A server that is to be used.
struct Plan {
    url: String,
    /// Prints the server's version as soon as it takes connections.
    probe: Command,
    /// What to start; `None` for a server that runs already and isn't ours.
    cluster: Option<Cluster>,
}

impl Plan {
    /// Asks the server for its version, and waits until it answers if it is a new one.
    fn version(&mut self, process: Option<&mut Process>) -> Result<String> {
        match process {
            Some(process) => process.await_ready(&mut self.probe),
            None => cluster::output(&mut self.probe),
        }
    }
}

pub(crate) struct Plans {
    postgres: Plan,
    mysql: Plan,
}

/// Makes the data folders of the servers that are to be started, both at once.
pub(crate) fn prepare() -> Result<Plans> {
    thread::scope(|scope| {
        let mysql = scope.spawn(mariadb::plan);
        let postgres = postgres::plan();
        Ok(Plans {
            mysql: joined(mysql)?,
            postgres: postgres?,
        })
    })
}

/// What a thread has returned; its panic goes on here.
pub(crate) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|payload| panic::resume_unwind(payload))
}

impl Plans {
    /// Starts the servers and waits for both.
    ///
    /// Only for the main thread: the servers die with the *thread* that has started them.
    pub(crate) fn start(mut self) -> Result<Servers> {
        let start = |plan: &mut Plan| plan.cluster.take().map(Cluster::start).transpose();
        let mut postgres = start(&mut self.postgres)?;
        let mut mysql = start(&mut self.mysql)?;
        let postgres_version = self.postgres.version(postgres.as_mut())?;
        let mysql_version = self.mysql.version(mysql.as_mut())?;
        Ok(Servers {
            postgres: Server {
                name: postgres::name(&postgres_version),
                url: self.postgres.url,
                process: postgres,
            },
            mysql: Server {
                name: mariadb::name(&mysql_version),
                url: self.mysql.url,
                process: mysql,
            },
        })
    }
}

/// Servers that run; what was started here ends when this is dropped.
pub(crate) struct Servers {
    pub(crate) postgres: Server,
    pub(crate) mysql: Server,
}

pub(crate) struct Server {
    /// With the version.
    pub(crate) name: String,
    url: String,
    process: Option<Process>,
}

impl Servers {
    /// Tells a command of the servers.
    pub(crate) fn offer<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env(postgres::VARIABLE, &self.postgres.url)
            .env(mariadb::VARIABLE, &self.mysql.url)
    }
}

/// `cargo xtask servers`: for one command, or else until there is an interrupt or no more input.
pub(crate) fn hold(command: &[String]) -> Result<ExitCode> {
    let servers = prepare()?.start()?;
    if let [program, arguments @ ..] = command {
        return run(servers.offer(Command::new(program).args(arguments)));
    }
    for (variable, server) in [
        (postgres::VARIABLE, &servers.postgres),
        (mariadb::VARIABLE, &servers.mysql),
    ] {
        let origin = match server.process {
            Some(_) => "started",
            None => "given by the environment",
        };
        eprintln!("{}, {origin}", server.name);
        println!("export {variable}='{}'", server.url);
    }
    // A job in the background that reads from a terminal is stopped, and no signal would reach it.
    let input = (!io::stdin().is_terminal())
        .then(|| thread::spawn(|| io::copy(&mut io::stdin(), &mut io::sink())));
    while !input.as_ref().is_some_and(|input| input.is_finished()) {
        interrupt::check()?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(ExitCode::SUCCESS)
}

fn run(command: &mut Command) -> Result<ExitCode> {
    let mut child = if io::stdin().is_terminal() {
        Foreground::spawn_attached(command)
    } else {
        Foreground::spawn_group(command)
    }?;
    let status = child.wait()?;
    // A shell's convention for an end by a signal.
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
