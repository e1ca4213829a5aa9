//! MariaDB, and whichever server of MySQL's family a URL names.

use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::home::Home;
use crate::ports;
use crate::process::{output, Process};

const END: Signal = Signal::SIGTERM;

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
        let home = Home::new("nobody")?;
        let data = format!("--datadir={}/data", home.path().display());
        let mut install = home.command("mariadb-install-db", END)?;
        install.args(["--no-defaults", &data, "--skip-test-db"]);
        install.args(["--auth-root-authentication-method=normal"]);
        home.run(install.arg("--skip-name-resolve"))
            .context("MariaDB's mariadb-install-db")?;

        let port = ports::free(1)?;
        let mut server = home.command("mariadbd", END)?;
        server.args([
            "--no-defaults",
            &data,
            &format!("--tmpdir={}", home.path().display()),
            &format!("--socket={}/socket", home.path().display()),
            &format!("--pid-file={}/pid", home.path().display()),
            &format!("--port={port}"),
        ]);
        server.args(ARGUMENTS).args(arguments);
        let mut probe = client(&url(port, "")).context("MariaDB's URL")?;
        probe.arg("--execute=create database if not exists test");
        let mut process = Process::new(home, server, probe, END);
        process.start()?;
        Ok(Self { process, port })
    }

    pub fn url(&self) -> String {
        url(self.port, "test")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server with SIGKILL and waits until none of its processes is left.
    pub fn kill(&mut self) -> Result<()> {
        self.process.end_by(Signal::SIGKILL)
    }

    /// On the same data and the same port, and waits until it takes connections.
    pub fn start_again(&mut self) -> Result<()> {
        self.process.start()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// To the server, such as SIGSTOP and SIGCONT.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// What the client prints for it, with tabs between columns.
    pub fn sql(&self, sql: &str) -> Result<String> {
        let mut client = client(&self.url()).context("MariaDB's URL")?;
        output(client.arg("--execute").arg(sql))
    }
}

fn url(port: u16, database: &str) -> String {
    format!("mysql://root@127.0.0.1:{port}/{database}")
}

/// Product and version of any server of MySQL's family, such as `MariaDB 10.11.9`.
pub fn version(url: &str) -> Result<String> {
    let mut client = client(url).with_context(|| format!("no URL of MySQL's: {url}"))?;
    Ok(name(&output(client.arg("--execute=select version()"))?))
}

/// MariaDB's client, for a URL such as `mysql://user:password@host:port/database`.
fn client(url: &str) -> Option<Command> {
    let url = url.strip_prefix("mysql://")?;
    let url = url.split_once('?').map_or(url, |(url, _)| url);
    let (authority, database) = url.split_once('/').unwrap_or((url, ""));
    let (user, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));

    let mut client = Command::new("mariadb");
    client.args(["--no-defaults", "--batch", "--skip-column-names"]);
    for (option, value) in [
        ("host", host),
        ("port", port),
        ("user", user),
        ("database", database),
    ] {
        if !value.is_empty() {
            client.arg(format!("--{option}={}", decoded(value)?));
        }
    }
    if !password.is_empty() {
        // Not an argument, which everybody on the machine can see.
        client.env("MYSQL_PWD", decoded(password)?);
    }
    Some(client)
}

/// Without the percent signs of a URL.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
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

    fn arguments(url: &str) -> Vec<String> {
        let client = client(url).unwrap();
        let arguments = client.get_args().skip(3);
        arguments.map(|a| a.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_client_gets_what_the_url_says() {
        assert_eq!(
            arguments("mysql://me:p%40ss@db:33/x%20y?ssl_mode=DISABLED"),
            ["--host=db", "--port=33", "--user=me", "--database=x y"]
        );
        assert_eq!(
            arguments("mysql://root@localhost"),
            ["--host=localhost", "--user=root"]
        );
        assert!(client("postgres://root@localhost").is_none());
        assert!(client("mysql://a%4@b").is_none());
    }

    #[test]
    fn the_password_is_not_an_argument() {
        let client = client("mysql://me:p%40ss@db/x").unwrap();
        let password = client.get_envs().find(|(name, _)| *name == "MYSQL_PWD");
        assert_eq!(password.unwrap().1.unwrap(), "p@ss");
    }

    #[test]
    fn a_name_has_the_product_and_the_number() {
        assert_eq!(name("10.11.9-MariaDB-0+deb12u1"), "MariaDB 10.11.9");
        assert_eq!(name("8.4.3"), "MySQL 8.4.3");
    }
}
