//! The servers of a run: started for it, or given by the environment.

use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;
use std::{env, panic};

use anyhow::Result;
use servers::{mariadb, postgres, MariaDb, Postgres};

use crate::interrupt::{self, Foreground};

const POSTGRES: &str = "PG_URL";
const MYSQL: &str = "MYSQL_URL";

/// The Debian packages with the servers and clients that this run needs. Also where a server is
/// given: some tests start, and kill, their own.
pub(crate) fn packages() -> Vec<&'static str> {
    let mut packages = vec!["mariadb-client-core", "mariadb-server-core"];
    // Installing it beside one of a certain version could upgrade that one's server.
    if !postgres::is_installed() {
        packages.push("postgresql");
    }
    packages
}

/// Servers that run; what was started here ends when this is dropped.
pub(crate) struct Servers {
    pub(crate) postgres: Server<Postgres>,
    pub(crate) mysql: Server<MariaDb>,
}

pub(crate) struct Server<S> {
    /// With the version.
    pub(crate) name: String,
    pub(crate) url: String,
    /// `None` for a server that the caller has chosen.
    started: Option<S>,
}

impl Servers {
    /// Starts what the environment doesn't give, both at once.
    pub(crate) fn start() -> Result<Self> {
        servers::interrupted_by(interrupt::check);
        thread::scope(|scope| {
            let mysql = scope.spawn(mysql);
            let postgres = postgres();
            Ok(Self {
                mysql: joined(mysql)?,
                postgres: postgres?,
            })
        })
    }

    /// Tells a command of the servers.
    pub(crate) fn offer<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env(POSTGRES, &self.postgres.url)
            .env(MYSQL, &self.mysql.url)
    }
}

fn postgres() -> Result<Server<Postgres>> {
    let (url, started) = match given(POSTGRES) {
        Some(url) => (url, None),
        None => {
            let server = Postgres::new(&["max_connections=200"])?;
            (server.url(), Some(server))
        }
    };
    Ok(Server {
        name: postgres::version(&url)?,
        url,
        started,
    })
}

fn mysql() -> Result<Server<MariaDb>> {
    let (url, started) = match given(MYSQL) {
        Some(url) => (url, None),
        None => {
            let server = MariaDb::new(&[])?;
            (server.url(), Some(server))
        }
    };
    Ok(Server {
        name: mariadb::version(&url)?,
        url,
        started,
    })
}

/// The URL of a server that the caller has chosen.
fn given(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|url| !url.is_empty())
}

/// What a thread has returned; its panic goes on here.
pub(crate) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|payload| panic::resume_unwind(payload))
}

/// `cargo xtask servers`: for one command, or else until there is an interrupt or no more input.
pub(crate) fn hold(command: &[String]) -> Result<ExitCode> {
    let servers = Servers::start()?;
    if let [program, arguments @ ..] = command {
        return run(servers.offer(Command::new(program).args(arguments)));
    }
    servers.postgres.announce(POSTGRES);
    servers.mysql.announce(MYSQL);
    // A job in the background that reads from a terminal is stopped, and no signal would reach it.
    let input = (!io::stdin().is_terminal())
        .then(|| thread::spawn(|| io::copy(&mut io::stdin(), &mut io::sink())));
    while !input.as_ref().is_some_and(|input| input.is_finished()) {
        interrupt::check()?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(ExitCode::SUCCESS)
}

impl<S> Server<S> {
    fn announce(&self, variable: &str) {
        let origin = match self.started {
            Some(_) => "started",
            None => "given by the environment",
        };
        eprintln!("{}, {origin}", self.name);
        println!("export {variable}='{}'", self.url);
    }
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
