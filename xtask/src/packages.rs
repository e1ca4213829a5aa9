//! The Debian packages that tests and checks need.

use std::collections::HashSet;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{bail, ensure, Context, Result};
use nix::unistd::Uid;

use crate::interrupt;

/// What Diesel's backends link; OpenSSL is for the libpq that is built from source.
pub(crate) const LIBRARIES: [&str; 4] = ["libpq-dev", "libmariadb-dev", "libssl-dev", "pkg-config"];

/// Installs those of `wanted` that are missing, or fails with the line that would.
pub(crate) fn ensure(wanted: &[&str]) -> Result<()> {
    let Ok(query) = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(wanted)
        .output()
    else {
        bail!(
            "this is no Debian: have what its packages {} contain, then add --no-install",
            wanted.join(" ")
        );
    };
    // Its exit code is of no use: it is 1 as soon as one of the packages is unknown.
    let missing = missing(wanted, &String::from_utf8_lossy(&query.stdout));
    if missing.is_empty() {
        return Ok(());
    }
    let Some(root) = as_root() else {
        bail!("packages are missing; run\n{}", by_hand(&missing));
    };
    println!("installing {}", missing.join(" "));
    if missing.contains(&"postgresql") {
        prevent_main_cluster(root)?;
    }
    apt(root, &["update", "-q"])
        .and_then(|()| apt(root, &install(&missing)))
        .with_context(|| format!("packages are missing; run\n{}", by_hand(&missing)))
}

fn missing<'a>(wanted: &[&'a str], query: &str) -> Vec<&'a str> {
    let installed: HashSet<&str> = query
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .collect();
    let mut missing = wanted.to_vec();
    missing.retain(|package| !installed.contains(package));
    missing
}

fn install<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    // Small images of Debian tell dpkg to leave all translations out; the tests need the server's.
    arguments.extend(["-o", "Dpkg::Options::=--path-include=*/postgres-*.mo"]);
    arguments.extend(packages);
    arguments
}

fn by_hand(packages: &[&str]) -> String {
    format!(
        "    sudo apt-get update && sudo apt-get {}",
        install(packages).join(" ")
    )
}

/// The words before a command that make root run it; `None` where nothing would.
fn as_root() -> Option<&'static [&'static str]> {
    if Uid::effective().is_root() {
        return Some(&[]);
    }
    let sudo = Command::new("sudo").args(["-n", "true"]).output();
    sudo.is_ok_and(|output| output.status.success())
        .then_some(&["sudo", "-n"])
}

fn apt(root: &[&str], arguments: &[&str]) -> Result<()> {
    // `env`, since sudo doesn't hand the environment on.
    let prefix = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
    run(&[root, &prefix, arguments].concat())
}

/// Keeps Debian from setting up, and maybe starting, a server that nobody asked for.
fn prevent_main_cluster(root: &[&str]) -> Result<()> {
    const SETTING: &str = "mkdir -p /etc/postgresql-common && \
        echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf";
    // A file that is there is somebody's will, or Debian's default after an earlier install.
    if Path::new("/etc/postgresql-common/createcluster.conf").exists() {
        return Ok(());
    }
    run(&[root, &["sh", "-c", SETTING]].concat())
}

/// Out of reach of an interrupt, which comes into force afterwards: better a few seconds more
/// than packages that are installed by half.
fn run(words: &[&str]) -> Result<()> {
    let status = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .process_group(0)
        .status()
        .with_context(|| format!("cannot run {}", words[0]))?;
    interrupt::check()?;
    ensure!(status.success(), "{} failed: {status}", words.join(" "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_fully_installed_is_not_missing() {
        let query = "libpq-dev installed\nlibssl-dev config-files\npkg-config installed\n";
        assert_eq!(
            missing(&["libpq-dev", "libssl-dev", "postgresql"], query),
            ["libssl-dev", "postgresql"]
        );
        assert!(missing(&["libpq-dev", "pkg-config"], query).is_empty());
    }

    #[test]
    fn the_line_to_run_by_hand_is_whole() {
        assert_eq!(
            by_hand(&["libpq-dev", "postgresql"]).trim(),
            "sudo apt-get update && sudo apt-get install -y -q --no-install-recommends \
             -o Dpkg::Options::=--path-include=*/postgres-*.mo libpq-dev postgresql"
        );
    }
}
