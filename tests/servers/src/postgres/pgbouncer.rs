//! PgBouncer.

use std::fs;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{client, url};
use crate::home::Home;
use crate::process::{output, Process};
use crate::{ports, unpacked};

/// To PgBouncer, "immediate shutdown": SIGINT would let it wait for its clients.
const END: Signal = Signal::SIGTERM;

/// A PgBouncer before a PostgreSQL.
pub struct PgBouncer {
    process: Process,
    port: u16,
}

impl PgBouncer {
    /// Before the server at an address such as `127.0.0.1:5432`. In the mode `transaction` or
    /// `session`, it keeps at most so many connections to it.
    pub fn before(address: &str, mode: &str, pool_size: usize) -> Result<Self> {
        let (host, port_of_server) = address.rsplit_once(':').context("no host:port")?;
        let home = Home::new("postgres")?;
        let unpacked = home.path().join("unpacked");
        unpacked::unpack("pgbouncer", &unpacked)?;
        let port = ports::free(1)?;
        let settings = home.path().join("settings");
        fs::write(
            &settings,
            format!(
                "[databases]\n\
                 * = host={host} port={port_of_server} user=postgres\n\
                 [pgbouncer]\n\
                 listen_addr = 127.0.0.1\n\
                 listen_port = {port}\n\
                 unix_socket_dir =\n\
                 auth_type = any\n\
                 pool_mode = {mode}\n\
                 default_pool_size = {pool_size}\n\
                 max_client_conn = 200\n\
                 ignore_startup_parameters = extra_float_digits\n"
            ),
        )?;
        let mut pooler = home.command(unpacked.join("usr/sbin/pgbouncer"), END)?;
        pooler.arg("--quiet").arg(&settings);
        let mut probe = client(&url(port));
        probe.arg("--command=select 1");
        let mut process = Process::new(home, pooler, probe, END);
        process.start()?;
        Ok(Self { process, port })
    }

    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Kills the pooler with SIGKILL; the server lives.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// What psql prints for it through the pooler.
    pub fn sql(&self, sql: &str) -> Result<String> {
        output(client(&self.url()).arg("--command").arg(sql))
    }

    /// On the same port, and waits until it takes connections.
    pub fn start_again(&mut self) -> Result<()> {
        self.process.start()
    }
}
