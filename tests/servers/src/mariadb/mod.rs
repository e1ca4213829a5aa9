//! MariaDB, and whichever server of MySQL's family a URL names.

mod client;
mod galera;

use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use self::client::client;
use crate::home::Home;
use crate::ports;
use crate::process::{output, Process};

pub use self::galera::Galera;

/// Nothing is to be kept, and a node of Galera may not heed any other while it joins.
const END: Signal = Signal::SIGKILL;

/// Before what the caller wants, which goes before these.
const ARGUMENTS: [&str; 6] = [
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=1",
    "--max-connections=300",
];

/// A MariaDB with its data folder; both are gone when it is dropped.
pub struct MariaDb {
    process: Process,
    port: u16,
}

impl MariaDb {
    /// A new server with these arguments, such as `--max-connections=20`, that takes connections
    /// and has a database `test`. It writes commits to the disk.
    pub fn new(arguments: &[&str]) -> Result<Self> {
        Self::installed(Home::new("nobody")?, arguments)
    }

    /// The same with a clock that [can be set](Self::set_clock).
    pub fn with_clock(arguments: &[&str]) -> Result<Self> {
        Self::installed(Home::with_clock("nobody")?, arguments)
    }

    fn installed(home: Home, arguments: &[&str]) -> Result<Self> {
        install(&home)?;
        let port = ports::free(1)?;
        let mut server = server(&home, port)?;
        server.args(arguments);
        Self::start(home, port, server, 1)
    }

    fn start(home: Home, port: u16, server: Command, attempts: u32) -> Result<Self> {
        let mut probe = client(&url(port, "")).context("MariaDB's URL")?;
        probe.arg("--execute=create database if not exists test");
        let mut process = Process::new(home, server, probe, END);
        process.try_to_start(attempts);
        process.start()?;
        Ok(Self { process, port })
    }

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

    /// Sets its clock to so many seconds ahead of the machine's, or behind it.
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

/// Makes the data folder.
fn install(home: &Home) -> Result<()> {
    let mut install = home.command("mariadb-install-db", END)?;
    install.args(["--no-defaults", &data(home), &temporary(home)]);
    install.arg("--skip-test-db");
    install.args(["--auth-root-authentication-method=normal"]);
    home.run(install.arg("--skip-name-resolve"))
        .context("MariaDB's mariadb-install-db")
}

fn server(home: &Home, port: u16) -> Result<Command> {
    let mut server = home.command("mariadbd", END)?;
    server.args([
        "--no-defaults",
        &data(home),
        &temporary(home),
        &format!("--socket={}/socket", home.path().display()),
        &format!("--pid-file={}/pid", home.path().display()),
        &format!("--port={port}"),
    ]);
    server.args(ARGUMENTS);
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

/// Product and version of any server of MySQL's family, such as `MariaDB 10.11.9`.
pub fn version(url: &str) -> Result<String> {
    Ok(name(&query(url, "select version()")?))
}

/// What MariaDB's client prints for it, on any server of MySQL's family.
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
