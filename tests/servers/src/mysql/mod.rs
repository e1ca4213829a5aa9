//! MySQL and MariaDB, and whichever server of their family a URL names.

mod client;
mod galera;
mod kind;
mod mariadb;
mod oracle;

use std::marker::PhantomData;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use self::client::client;
use self::kind::Kind;
use crate::home::Home;
use crate::ports;
use crate::process::{output, Process};

pub use self::galera::Galera;
pub use self::mariadb::RELEASE_VARIABLE;

const ACCOUNT: &str = "nobody";

/// Nothing is to be kept, and a node of Galera may not heed any other while it joins.
const END: Signal = Signal::SIGKILL;

/// Before what the caller wants, which goes before these.
const ARGUMENTS: [&str; 4] = [
    "--bind-address=127.0.0.1",
    "--innodb-buffer-pool-size=64M",
    "--innodb-flush-log-at-trx-commit=1",
    "--max-connections=300",
];

/// A MySQL: the version that [`RELEASES`](crate::releases::RELEASES) names.
pub type MySql = Server<oracle::MySql>;

/// A MariaDB: Debian's, or the version that [`RELEASE_VARIABLE`] names.
pub type MariaDb = Server<mariadb::MariaDb>;

/// A server with its data folder; both are gone when it is dropped.
pub struct Server<K> {
    process: Process,
    port: u16,
    kind: PhantomData<K>,
}

#[allow(private_bounds, reason = "nobody else has a kind of server")]
impl<K: Kind> Server<K> {
    /// A new server with these arguments, such as `--max-connections=20`, that takes connections
    /// and has a database `test`. It writes commits to the disk.
    pub fn new(arguments: &[&str]) -> Result<Self> {
        Self::installed(&K::find()?, Home::new(ACCOUNT)?, arguments)
    }

    /// The same with a clock that [can be set](Self::set_clock).
    pub fn with_clock(arguments: &[&str]) -> Result<Self> {
        Self::installed(&K::find()?, Home::with_clock(ACCOUNT)?, arguments)
    }

    fn installed(kind: &K, home: Home, arguments: &[&str]) -> Result<Self> {
        kind.install(&home)?;
        let port = ports::free(1)?;
        let mut server = server(kind, &home, port)?;
        server.args(arguments);
        Self::start(home, port, server, 1)
    }

    fn start(home: Home, port: u16, server: Command, attempts: u32) -> Result<Self> {
        let mut probe = client(&url(port, "")).context("the URL of a server")?;
        probe.arg("--execute=create database if not exists test");
        let mut process = Process::new(home, server, probe, END);
        process.try_to_start(attempts);
        process.start()?;
        Ok(Self {
            process,
            port,
            kind: PhantomData,
        })
    }
}

impl MariaDb {
    /// One of a version that a suite of Debian has, whatever [`RELEASE_VARIABLE`] names.
    pub fn of_version(version: &str, arguments: &[&str]) -> Result<Self> {
        let kind = mariadb::MariaDb::of_version(version)?;
        Self::installed(&kind, Home::new(ACCOUNT)?, arguments)
    }
}

impl<K> Server<K> {
    pub fn url(&self) -> String {
        url(self.port, "test")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills all processes of the server with SIGKILL, and waits until none is left.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// On the same data and the same port, and waits until it takes connections.
    pub fn start_again(&mut self) -> Result<()> {
        self.process.start()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Sets its clock to so many seconds ahead of the machine's, or behind it. Every answer to a
    /// statement that begins after this has returned is by the new clock.
    pub fn set_clock(&self, seconds: i64) -> Result<()> {
        self.process.home().set_clock(seconds)
    }

    /// To the server, such as SIGSTOP and SIGCONT.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// What the client prints for it, with tabs between columns.
    pub fn sql(&self, sql: &str) -> Result<String> {
        query(&self.url(), sql)
    }
}

fn server<K: Kind>(kind: &K, home: &Home, port: u16) -> Result<Command> {
    let mut server = kind.program(home)?;
    server.args([
        &data(home),
        &temporary(home),
        &format!("--socket={}/socket", home.path().display()),
        &format!("--pid-file={}/pid", home.path().display()),
        &format!("--port={port}"),
    ]);
    server.args(ARGUMENTS).args(K::ARGUMENTS);
    Ok(server)
}

fn data(home: &Home) -> String {
    format!("--datadir={}/data", home.path().display())
}

/// Each server has its own: at its start it removes what it finds of others in it.
fn temporary(home: &Home) -> String {
    format!("--tmpdir={}", home.path().display())
}

fn url(port: u16, database: &str) -> String {
    format!("mysql://root@127.0.0.1:{port}/{database}")
}

/// Product and version of any server of the family, such as `MariaDB 10.11.9`.
pub fn version(url: &str) -> Result<String> {
    Ok(name(&query(url, "select version()")?))
}

/// What MariaDB's client prints for it, on any server of the family.
pub fn query(url: &str, sql: &str) -> Result<String> {
    let mut client = client(url).with_context(|| format!("no URL of MySQL's: {url}"))?;
    output(client.arg("--execute").arg(sql))
}

/// `10.11.9-MariaDB-0+deb12u1` is the version of `MariaDB 10.11.9`.
fn name(version: &str) -> String {
    let product = match version.contains("MariaDB") {
        true => "MariaDB",
        false => "MySQL",
    };
    let number = version.split('-').next().unwrap_or(version);
    format!("{product} {number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_product_and_the_number() {
        assert_eq!(name("10.11.9-MariaDB-0+deb12u1"), "MariaDB 10.11.9");
        assert_eq!(name("8.4.3"), "MySQL 8.4.3");
    }
}
