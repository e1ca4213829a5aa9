//! PostgreSQL.

mod languages;
mod programs;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use nix::sys::signal::Signal;

use self::programs::Programs;
use crate::home::Home;
use crate::process::{output, Process};
use crate::{interrupt, ports};

pub use self::programs::VARIABLE as HOME_VARIABLE;

/// To PostgreSQL, "fast shutdown": SIGTERM would let it wait for its clients.
const END: Signal = Signal::SIGINT;

/// Before what the caller wants, which goes before these.
const SETTINGS: [&str; 3] = [
    "listen_addresses=127.0.0.1",
    "shared_buffers=64MB",
    // A standby that was away finds what it has missed.
    "wal_keep_size=256MB",
];

/// A PostgreSQL with its data folder; both are gone when it is dropped.
pub struct Postgres {
    process: Process,
    port: u16,
}

impl Postgres {
    /// A new server with these settings, such as `max_connections=20`, that takes connections.
    ///
    /// It writes commits to the disk, and can speak all its languages.
    pub fn new(settings: &[&str]) -> Result<Self> {
        Self::with(&Programs::find(), settings)
    }

    /// The same of the version whose `bin` and `lib` are in that folder.
    pub fn of_version(home: &Path, settings: &[&str]) -> Result<Self> {
        Self::with(&Programs::at(home), settings)
    }

    fn with(programs: &Programs, settings: &[&str]) -> Result<Self> {
        let home = Home::new("postgres")?;
        let mut initdb = command(programs, &home, "initdb")?;
        initdb.args(["--pgdata=data", "--auth=trust", "--username=postgres"]);
        initdb.args(["--encoding=UTF8", "--locale=C", "--no-sync"]);
        home.run(&mut initdb).context("PostgreSQL's initdb")?;
        Self::on(programs, home, settings)
    }

    /// Starts a server on data that are there.
    fn on(programs: &Programs, home: Home, settings: &[&str]) -> Result<Self> {
        let port = ports::free(1)?;
        let mut server = command(programs, &home, "postgres")?;
        server.args(["-D", "data"]);
        languages::offer(&mut server, home.path())?;
        for setting in [
            &format!("port={port}"),
            &format!("unix_socket_directories={}", home.path().display()),
        ] {
            server.args(["-c", setting]);
        }
        for setting in SETTINGS.iter().chain(settings) {
            server.args(["-c", setting]);
        }
        let mut probe = client(&url(port));
        probe.arg("--command=select 1");
        let mut process = Process::new(home, server, probe, END);
        process.start()?;
        Ok(Self { process, port })
    }

    pub fn url(&self) -> String {
        url(self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server with SIGKILL and waits until none of its processes is left.
    pub fn kill(&mut self) -> Result<()> {
        self.process.end_by(Signal::SIGKILL)
    }

    /// An "immediate shutdown": no checkpoint, and a recovery at the next start.
    pub fn stop_at_once(&mut self) -> Result<()> {
        self.process.end_by(Signal::SIGQUIT)
    }

    /// On the same data and the same port, and waits until it takes connections.
    pub fn start_again(&mut self) -> Result<()> {
        self.process.start()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// To the postmaster, such as SIGSTOP and SIGCONT.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// What psql prints for it, with `|` between columns.
    pub fn sql(&self, sql: &str) -> Result<String> {
        output(client(&self.url()).arg("--command").arg(sql))
    }

    /// A standby that follows this server under that name.
    pub fn standby(&self, name: &str) -> Result<Self> {
        let programs = Programs::find();
        let home = Home::new("postgres")?;
        let mut backup = command(&programs, &home, "pg_basebackup")?;
        backup.args(["--pgdata=data", "--wal-method=stream", "--checkpoint=fast"]);
        backup.args(["--no-sync", "--dbname", &self.url()]);
        backup.arg("--write-recovery-conf");
        home.run(&mut backup).context("pg_basebackup")?;
        let primary = format!(
            "primary_conninfo=host=127.0.0.1 port={} user=postgres application_name={name}",
            self.port
        );
        Self::on(&programs, home, &[&primary])
    }

    /// From now on a commit is one only when this standby has it, too.
    pub fn commit_with(&self, standby: &str) -> Result<()> {
        self.sql(&format!(
            "alter system set synchronous_standby_names = 'FIRST 1 ({standby})'"
        ))?;
        self.sql("select pg_reload_conf()")?;
        let deadline = Instant::now() + Duration::from_secs(20);
        let state = format!(
            "select sync_state from pg_stat_replication where application_name = '{standby}'"
        );
        while self.sql(&state)? != "sync" {
            interrupt::check()?;
            ensure!(Instant::now() < deadline, "{standby} doesn't follow");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Makes a standby a server that takes writes.
    pub fn promote(&mut self) -> Result<()> {
        let promoted = self.sql("select pg_promote()")?;
        ensure!(promoted == "t", "not promoted: {promoted}");
        Ok(())
    }
}

/// One of PostgreSQL's own programs.
fn command(programs: &Programs, home: &Home, program: &str) -> Result<Command> {
    let mut command = home.command(programs.path(program), END)?;
    if let Some(libraries) = &programs.libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    Ok(command)
}

fn url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

/// The client of Debian's version, whatever the server's is: not every build comes with one.
fn client(url: &str) -> Command {
    let psql = programs::debian().unwrap_or_default().join("psql");
    let psql = if psql.exists() {
        psql.as_os_str()
    } else {
        OsStr::new("psql")
    };
    let mut client = Command::new(psql);
    client
        .args(["--no-psqlrc", "--no-password", "--quiet"])
        .args(["--tuples-only", "--no-align", "--dbname", url])
        .env("PGCONNECT_TIMEOUT", "10");
    client
}

/// Whether Debian's server is installed, of whatever version.
pub fn is_installed() -> bool {
    programs::debian().is_some()
}

/// Product and version of any server, such as `PostgreSQL 15.9`.
pub fn version(url: &str) -> Result<String> {
    Ok(name(&output(
        client(url).arg("--command=show server_version"),
    )?))
}

/// `15.9 (Debian 15.9-0+deb12u1)` is the version of `PostgreSQL 15.9`.
fn name(version: &str) -> String {
    let number = version.split(' ').next().unwrap_or(version);
    format!("PostgreSQL {number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_number() {
        assert_eq!(name("15.9 (Debian 15.9-0+deb12u1)"), "PostgreSQL 15.9");
        assert_eq!(name("17beta1"), "PostgreSQL 17beta1");
    }
}
