//! PostgreSQL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::cluster::{free_port, Cluster, Home};
use super::{given, languages, Plan};

pub(super) const VARIABLE: &str = "PG_URL";

/// To PostgreSQL, "fast shutdown": SIGTERM would let it wait for its clients.
const END: Signal = Signal::SIGINT;

pub(super) fn plan() -> Result<Plan> {
    if let Some(url) = given(VARIABLE) {
        return Ok(Plan {
            probe: probe(Path::new("psql"), &url),
            url,
            cluster: None,
        });
    }
    let programs = programs();
    let home = Home::new("postgres")?;
    home.run(home.command(programs.join("initdb"), END)?.args([
        "--pgdata=data",
        "--auth=trust",
        "--username=postgres",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]))
    .context("PostgreSQL's initdb")?;

    let port = free_port()?;
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let mut server = home.command(programs.join("postgres"), END)?;
    server.args(["-D", "data"]);
    languages::offer(&mut server, home.path())?;
    for setting in [
        "listen_addresses=127.0.0.1",
        &format!("port={port}"),
        &format!("unix_socket_directories={}", home.path().display()),
        "shared_buffers=64MB",
        "max_connections=200",
    ] {
        server.args(["-c", setting]);
    }
    Ok(Plan {
        probe: probe(&programs.join("psql"), &url),
        url,
        cluster: Some(Cluster {
            home,
            server,
            end: END,
        }),
    })
}

/// Where Debian keeps the newest PostgreSQL that is installed; elsewhere the empty path, and the
/// names of the programs are searched for as usual.
fn programs() -> PathBuf {
    let Ok(versions) = fs::read_dir("/usr/lib/postgresql") else {
        return PathBuf::new();
    };
    versions
        .filter_map(|version| {
            let version = version.ok()?;
            let number: u32 = version.file_name().to_str()?.parse().ok()?;
            let programs = version.path().join("bin");
            // A folder without a server is left by a package with only the client.
            programs
                .join("postgres")
                .exists()
                .then_some((number, programs))
        })
        .max()
        .map(|(_, programs)| programs)
        .unwrap_or_default()
}

fn probe(psql: &Path, url: &str) -> Command {
    let mut probe = Command::new(psql);
    probe
        .args(["--no-psqlrc", "--no-password", "--quiet"])
        .args(["--tuples-only", "--no-align"])
        .args(["--command=show server_version", "--dbname", url]);
    probe
}

/// `15.9 (Debian 15.9-0+deb12u1)` is the version of `PostgreSQL 15.9`.
pub(super) fn name(version: &str) -> String {
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
