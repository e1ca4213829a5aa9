//! The servers of a run: started for it, or given by the environment.

use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;
use std::{env, panic};

use anyhow::{Context, Result};
use servers::{mariadb, postgres, MariaDb, Place, Postgres};

use crate::interrupt::{self, Foreground};
use crate::releases::Release;

const POSTGRES: &str = "PG_URL";
const MYSQL: &str = "MYSQL_URL";
const MARIADB: &str = "MARIADB_URL";

const SETTINGS: [&str; 1] = ["max_connections=300"];

/// The Debian packages with the servers and clients. Also where a server is given: some tests start,
/// and kill, their own.
pub(crate) fn packages() -> Vec<&'static str> {
    let mut packages = vec!["mariadb-client-core", "mariadb-server-core"];
    // Installing it beside one of a certain version could upgrade that one's server.
    if postgres::debian_version().is_none() {
        packages.push("postgresql");
    }
    packages
}

/// What the tests' own clusters and poolers need.
pub(crate) const FOR_FAULTS: [&str; 6] = [
    "galera-4",
    // A node of Galera, and a standby, get their data by these.
    "lsof",
    "rsync",
    "socat",
    // PgBouncer, which is unpacked and not installed, is linked with these.
    "libc-ares2",
    "libevent-2.1-7",
];

/// Servers that run; what was started here ends when this is dropped.
pub(crate) struct Servers {
    pub(crate) postgres: Server<Postgres>,
    /// Always one that the caller has chosen.
    pub(crate) mysql: Server<Infallible>,
    pub(crate) mariadb: Server<MariaDb>,
    /// For those that a command starts itself.
    place: Place,
}

pub(crate) struct Server<S> {
    /// With the version.
    pub(crate) name: String,
    pub(crate) url: String,
    /// `None` for a server that the caller has chosen.
    started: Option<S>,
    /// What it was made of, if that is not Debian's.
    release: Option<Release>,
}

impl Servers {
    /// Starts what the environment doesn't give, both at once; with a version of PostgreSQL, a
    /// server of that one in any case.
    pub(crate) fn start(version: Option<u32>) -> Result<Self> {
        thread::scope(|scope| {
            let mysql = mysql()?;
            let mariadb = scope.spawn(mariadb);
            let postgres = match version {
                Some(version) => Server::of_version(version),
                None => postgres(),
            };
            Ok(Self {
                mysql,
                mariadb: joined(mariadb)?,
                postgres: postgres?,
                place: Place::new()?,
            })
        })
    }

    /// Tells a command of the servers.
    pub(crate) fn offer<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        self.postgres.offer(command);
        self.place.offer(command);
        command
            .env(MYSQL, &self.mysql.url)
            .env(MARIADB, &self.mariadb.url)
    }
}

impl Server<Postgres> {
    pub(crate) fn of_version(major: u32) -> Result<Self> {
        let release = match postgres::debian_version() {
            Some(debian) if debian == major => None,
            _ => Some(Release::of(major)?),
        };
        let server = match &release {
            Some(release) => Postgres::of_version(&release.home(), &SETTINGS)?,
            None => Postgres::new(&SETTINGS)?,
        };
        let url = server.url();
        Ok(Self {
            name: postgres::version(&url)?,
            url,
            started: Some(server),
            release,
        })
    }

    pub(crate) fn speaks_only_english(&self) -> bool {
        let release = self.release.as_ref();
        release.is_some_and(|release| !release.is_translated())
    }

    /// Tells a command of the server, and what to make others of.
    pub(crate) fn offer<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(POSTGRES, &self.url);
        if let Some(release) = &self.release {
            command.env(postgres::HOME_VARIABLE, release.home());
        }
        command
    }
}

fn postgres() -> Result<Server<Postgres>> {
    let (url, started) = match given(POSTGRES) {
        Some(url) => (url, None),
        None => {
            let server = Postgres::new(&SETTINGS)?;
            (server.url(), Some(server))
        }
    };
    Ok(Server {
        name: postgres::version(&url)?,
        url,
        started,
        release: None,
    })
}

fn mysql() -> Result<Server<Infallible>> {
    let url = given(MYSQL).with_context(|| format!("{MYSQL} names no MySQL server"))?;
    Ok(Server {
        name: mariadb::version(&url)?,
        url,
        started: None,
        release: None,
    })
}

fn mariadb() -> Result<Server<MariaDb>> {
    let (url, started) = match given(MARIADB) {
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
        release: None,
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
pub(crate) fn hold(version: Option<u32>, command: &[String]) -> Result<ExitCode> {
    let servers = Servers::start(version)?;
    if let [program, arguments @ ..] = command {
        return run(servers.offer(Command::new(program).args(arguments)));
    }
    servers.postgres.announce(POSTGRES);
    servers.mysql.announce(MYSQL);
    servers.mariadb.announce(MARIADB);
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
