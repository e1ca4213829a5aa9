//! The servers of a run: started for it, or given by the environment.

use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;
use std::{env, panic};

use anyhow::Result;
use servers::releases::{Product, Release};
use servers::{mysql, postgres, MariaDb, MySql, Place, Postgres};

use crate::interrupt::{self, Foreground};

const POSTGRES: &str = "PG_URL";
const MYSQL: &str = "MYSQL_URL";
const MARIADB: &str = "MARIADB_URL";

const SETTINGS: [&str; 1] = ["max_connections=300"];

/// The Debian packages with the servers and clients. Also where a server is given: some tests
/// start, and kill, their own.
pub(crate) fn packages() -> Vec<&'static str> {
    let mut packages = vec!["mariadb-client-core", "mariadb-server-core"];
    packages.extend(FOR_RELEASES);
    // Installing it beside one of a certain version could upgrade that one's server.
    if postgres::debian_version().is_none() {
        packages.push("postgresql");
    }
    packages
}

/// What it takes to have a server of another suite of Debian.
const FOR_RELEASES: [&str; 2] = ["debian-archive-keyring", "patchelf"];

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

/// The versions that a command wants, where it is not Debian's.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Wanted {
    /// A PostgreSQL of this version, and not that of PG_URL or Debian
    #[arg(
        long,
        value_name = "VERSION",
        value_parser = Release::versions(Product::Postgres).collect::<Vec<_>>()
    )]
    postgres: Option<String>,

    /// A MariaDB of this version, and not that of MARIADB_URL or Debian
    #[arg(
        long,
        value_name = "VERSION",
        value_parser = Release::versions(Product::MariaDb).collect::<Vec<_>>()
    )]
    mariadb: Option<String>,
}

/// Servers that run; what was started here ends when this is dropped.
pub(crate) struct Servers {
    pub(crate) postgres: Server<Postgres>,
    pub(crate) mysql: Server<MySql>,
    pub(crate) mariadb: Server<MariaDb>,
    /// For those that a command starts itself.
    place: Place,
}

pub(crate) struct Server<S> {
    /// With the version.
    pub(crate) name: String,
    pub(crate) url: String,
    variable: &'static str,
    /// What names the version that others are to be made of, if it is not Debian's, and that
    /// version.
    release: Option<(&'static str, String)>,
    /// `None` for a server that the caller has chosen.
    started: Option<S>,
}

impl Servers {
    /// Starts what the environment doesn't give, all at once.
    pub(crate) fn start() -> Result<Self> {
        Self::of(&Wanted::default())
    }

    /// The same with these versions, which are started in any case.
    pub(crate) fn of(wanted: &Wanted) -> Result<Self> {
        thread::scope(|scope| {
            let mysql = scope.spawn(mysql);
            let mariadb = scope.spawn(|| mariadb(wanted.mariadb.as_deref()));
            let postgres = postgres(wanted.postgres.as_deref());
            Ok(Self {
                mysql: joined(mysql)?,
                mariadb: joined(mariadb)?,
                postgres: postgres?,
                place: Place::new()?,
            })
        })
    }

    /// Tells a command of the servers.
    pub(crate) fn offer<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        self.postgres.offer(command);
        self.mysql.offer(command);
        self.mariadb.offer(command);
        self.place.offer(command)
    }
}

pub(crate) fn postgres(version: Option<&str>) -> Result<Server<Postgres>> {
    let start = || match version {
        Some(version) => Postgres::of_version(version, &SETTINGS),
        None => Postgres::new(&SETTINGS),
    };
    let release = version.map(|version| (postgres::RELEASE_VARIABLE, version.to_owned()));
    Server::new(POSTGRES, release, start, Postgres::url, postgres::version)
}

fn mysql() -> Result<Server<MySql>> {
    Server::new(MYSQL, None, || MySql::new(&[]), MySql::url, mysql::version)
}

pub(crate) fn mariadb(version: Option<&str>) -> Result<Server<MariaDb>> {
    let start = || match version {
        Some(version) => MariaDb::of_version(version, &[]),
        None => MariaDb::new(&[]),
    };
    let release = version.map(|version| (mysql::RELEASE_VARIABLE, version.to_owned()));
    Server::new(MARIADB, release, start, MariaDb::url, mysql::version)
}

impl<S> Server<S> {
    /// The one that the variable names, unless a version is wanted.
    fn new(
        variable: &'static str,
        release: Option<(&'static str, String)>,
        start: impl FnOnce() -> Result<S>,
        url: fn(&S) -> String,
        name: fn(&str) -> Result<String>,
    ) -> Result<Self> {
        let given = given(variable).filter(|_| release.is_none());
        let (url, started) = match given {
            Some(url) => (url, None),
            None => {
                let server = start()?;
                (url(&server), Some(server))
            }
        };
        Ok(Self {
            name: name(&url)?,
            url,
            variable,
            release,
            started,
        })
    }

    /// Tells a command of the server, and what to make others of.
    pub(crate) fn offer<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(self.variable, &self.url);
        if let Some((variable, version)) = &self.release {
            command.env(variable, version);
        }
        command
    }
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
pub(crate) fn hold(wanted: &Wanted, command: &[String]) -> Result<ExitCode> {
    let servers = Servers::of(wanted)?;
    if let [program, arguments @ ..] = command {
        return run(servers.offer(Command::new(program).args(arguments)));
    }
    servers.postgres.announce();
    servers.mysql.announce();
    servers.mariadb.announce();
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
    fn announce(&self) {
        let origin = match self.started {
            Some(_) => "started",
            None => "given by the environment",
        };
        eprintln!("{}, {origin}", self.name);
        println!("export {}='{}'", self.variable, self.url);
        if let Some((variable, version)) = &self.release {
            println!("export {variable}='{version}'");
        }
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
