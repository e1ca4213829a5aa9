//! PostgreSQL.

mod backup;
mod languages;
mod pgbouncer;
mod programs;
mod small_disk;

use std::ffi::OsStr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use self::programs::Programs;
use self::small_disk::SmallDisk;
use crate::home::Home;
use crate::process::{output, Process};
use crate::{interrupt, ports};

pub use self::pgbouncer::PgBouncer;
pub use self::programs::{debian_version, RELEASE_VARIABLE};

const ACCOUNT: &str = "postgres";

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
    programs: Programs,
    /// Dropped after the server has ended.
    disk: Option<SmallDisk>,
}

impl Postgres {
    /// A new server with these settings, such as `max_connections=20`, that takes connections.
    ///
    /// It writes commits to the disk, and can speak all its languages.
    pub fn new(settings: &[&str]) -> Result<Self> {
        Self::initialized(Home::new(ACCOUNT)?, Programs::find()?, None, &[], settings)
    }

    /// The same with a clock that [can be set](Self::set_clock).
    pub fn with_clock(settings: &[&str]) -> Result<Self> {
        let home = Home::with_clock(ACCOUNT)?;
        Self::initialized(home, Programs::find()?, None, &[], settings)
    }

    /// One of a version that a suite of Debian has, whatever [`RELEASE_VARIABLE`] names.
    pub fn of_version(version: &str, settings: &[&str]) -> Result<Self> {
        let programs = Programs::of_version(version)?;
        Self::initialized(Home::new(ACCOUNT)?, programs, None, &[], settings)
    }

    /// One with a tablespace `small` on a disk of that size.
    pub fn with_small_tablespace(megabytes: u32, settings: &[&str]) -> Result<Self> {
        let disk = SmallDisk::new(megabytes)?;
        let location = disk.path().display().to_string();
        let server = Self::initialized(
            Home::new(ACCOUNT)?,
            Programs::find()?,
            Some(disk),
            &[],
            settings,
        )?;
        server.sql(&format!("create tablespace small location '{location}'"))?;
        Ok(server)
    }

    /// One with its write-ahead log on a disk of that size; the log alone takes 16 MB and more.
    pub fn with_small_wal(megabytes: u32, settings: &[&str]) -> Result<Self> {
        let disk = SmallDisk::new(megabytes)?;
        let log = format!("--waldir={}/wal", disk.path().display());
        Self::initialized(
            Home::new(ACCOUNT)?,
            Programs::find()?,
            Some(disk),
            &[&log],
            settings,
        )
    }

    fn initialized(
        home: Home,
        programs: Programs,
        disk: Option<SmallDisk>,
        arguments: &[&str],
        settings: &[&str],
    ) -> Result<Self> {
        let mut initdb = programs.command(&home, disk.as_ref(), "initdb")?;
        initdb.args(["--pgdata=data", "--auth=trust", "--username=postgres"]);
        initdb.args(["--encoding=UTF8", "--locale=C", "--no-sync"]);
        home.run(initdb.args(arguments))
            .context("PostgreSQL's initdb")?;
        Self::start(programs, home, disk, settings)
    }

    /// Starts a server on the data that are in its home.
    fn start(
        programs: Programs,
        home: Home,
        disk: Option<SmallDisk>,
        settings: &[&str],
    ) -> Result<Self> {
        let port = ports::free(1)?;
        let mut server = programs.command(&home, disk.as_ref(), "postgres")?;
        server.args(["-D", "data"]);
        languages::offer(&mut server, home.path(), programs.unpacked())?;
        let port_setting = format!("port={port}");
        let folder = format!("unix_socket_directories={}", home.path().display());
        let own = [port_setting.as_str(), &folder];
        for setting in own.iter().chain(&SETTINGS).chain(settings) {
            server.args(["-c", setting]);
        }
        let mut probe = client(&url(port));
        probe.arg("--command=select 1");
        let mut process = Process::new(home, server, probe, END);
        process.start()?;
        Ok(Self {
            process,
            port,
            programs,
            disk,
        })
    }

    pub fn url(&self) -> String {
        url(self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// As `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills all processes of the server with SIGKILL, and waits until none is left.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Kills the process of one client's session, upon which the server ends all others and starts
    /// over by itself.
    pub fn kill_one_session(&self) -> Result<()> {
        let session = self.sql(
            "select pid from pg_stat_activity \
             where backend_type = 'client backend' and pid <> pg_backend_pid() limit 1",
        )?;
        ensure!(!session.is_empty(), "there is no session");
        Ok(kill(Pid::from_raw(session.parse()?), Signal::SIGKILL)?)
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

    /// Waits until the server has ended by itself, as one does that cannot write its log.
    pub fn await_end(&mut self) -> Result<()> {
        self.process.await_end()
    }

    /// Sets its clock to so many seconds ahead of the machine's, or behind it. Every answer to a
    /// statement that begins after this has returned is by the new clock.
    pub fn set_clock(&self, seconds: i64) -> Result<()> {
        self.process.home().set_clock(seconds)
    }

    /// To the postmaster, such as SIGSTOP and SIGCONT.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Makes the small disk bigger.
    pub fn enlarge_disk(&self, megabytes: u32) -> Result<()> {
        let disk = self.disk.as_ref().context("there is no small disk")?;
        disk.resize(megabytes)
    }

    /// What psql prints for it, with `|` between columns.
    pub fn sql(&self, sql: &str) -> Result<String> {
        output(client(&self.url()).arg("--command").arg(sql))
    }

    /// A standby that follows this server under that name.
    pub fn standby(&self, name: &str) -> Result<Self> {
        let home = Home::new("postgres")?;
        backup::copy(&self.url(), self.process.home(), &home)?;
        let primary = format!(
            "primary_conninfo=host=127.0.0.1 port={} user=postgres application_name={name}",
            self.port
        );
        Self::start(self.programs.clone(), home, None, &[&primary])
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
