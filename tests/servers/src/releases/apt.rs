//! apt with sources, lists, status and cache of its own, so that it neither sees nor changes what
//! the machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};

use super::{mirror, Release};
use crate::unpacked::run;

/// Debian's own keys, by which the archive is signed, whichever mirror it comes from.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Downloads a release's packages, with all that they depend on, into a folder that is gone
/// afterwards, and unpacks them into `root`.
pub(super) fn unpack(release: &Release, folder: &Path, root: &Path) -> Result<()> {
    let mirror = mirror::mirror()?;
    let archives = download(release, &mirror, folder).with_context(|| {
        format!(
            "cannot have {} of Debian's suite {} from {mirror}; if the suite has moved on, change \
             the table in tests/servers/src/releases/mod.rs",
            release.packages.join(" and "),
            release.suite
        )
    })?;
    for archive in archives {
        run(Command::new("dpkg-deb")
            .arg("--extract")
            .args([&archive, root]))?;
    }
    Ok(())
}

fn download(release: &Release, mirror: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    let archives = folder.join("cache/archives");
    for folder in [&archives.join("partial"), &folder.join("lists/partial")] {
        fs::create_dir_all(folder)?;
    }
    // Of nothing that is installed: all that is needed comes along.
    fs::write(folder.join("status"), "")?;
    let source = format!(
        "deb [signed-by={KEYRING}] {mirror} {} main\n",
        release.suite
    );
    fs::write(folder.join("sources.list"), source)?;
    // A list that can't be had is a warning by default.
    run(apt(folder).args(["-o", "APT::Update::Error-Mode=any", "update"]))?;
    run(apt(folder)
        .args(["install", "--download-only", "-y"])
        .args(release.packages))?;
    let mut downloaded = Vec::new();
    for file in fs::read_dir(archives)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            downloaded.push(path);
        }
    }
    check_version(release, &downloaded)?;
    Ok(downloaded)
}

fn apt(folder: &Path) -> Command {
    let mut apt = Command::new("apt-get");
    // For those who read what it says.
    apt.env("LC_ALL", "C").arg("-q");
    for (option, path) in [
        ("Dir::Etc::sourcelist", folder.join("sources.list")),
        ("Dir::Etc::sourceparts", PathBuf::from("/dev/null")),
        ("Dir::Etc::preferences", PathBuf::from("/dev/null")),
        ("Dir::Etc::preferencesparts", PathBuf::from("/dev/null")),
        ("Dir::State", folder.to_owned()),
        ("Dir::State::lists", folder.join("lists")),
        ("Dir::State::status", folder.join("status")),
        ("Dir::Cache", folder.join("cache")),
    ] {
        apt.arg("-o").arg(format!("{option}={}", path.display()));
    }
    for option in [
        "APT::Default-Release=",
        "APT::Install-Recommends=0",
        "Acquire::Retries=3",
        // Its own lock is for what is installed, and root's.
        "Debug::NoLocking=1",
    ] {
        apt.args(["-o", option]);
    }
    apt
}

/// A suite moves on, and laws that ran on another server than they say have shown something else.
fn check_version(release: &Release, archives: &[PathBuf]) -> Result<()> {
    let package = release.packages[0];
    let names = archives
        .iter()
        .filter_map(|archive| archive.file_name()?.to_str());
    let versions: Vec<_> = names.filter_map(|name| version_of(name, package)).collect();
    ensure!(
        versions
            .iter()
            .any(|version| is_of(version, release.version)),
        "its {package} is not of version {} but {}",
        release.version,
        versions.join(" and ")
    );
    Ok(())
}

/// `1%3a11.8.9-0` in `package_1%3a11.8.9-0_amd64.deb` without the epoch.
fn version_of<'a>(archive: &'a str, package: &str) -> Option<&'a str> {
    let version = archive.strip_prefix(package)?.strip_prefix('_')?;
    let version = version.split('_').next()?;
    Some(
        version
            .split_once("%3a")
            .map_or(version, |(_, version)| version),
    )
}

/// `9.7.4` is of `9.7`, and `9.70` is not.
fn is_of(version: &str, release: &str) -> bool {
    let rest = version.strip_prefix(release);
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_the_name_of_an_archive() {
        let archive = "mariadb-server-core_1%3a11.8.9-0+deb13u1_amd64.deb";
        let version = version_of(archive, "mariadb-server-core").unwrap();
        assert_eq!(version, "11.8.9-0+deb13u1");
        assert_eq!(version_of(archive, "mariadb-server"), None);
        assert!(is_of(version, "11.8"));
        assert!(!is_of("11.80.1-1", "11.8"));
        assert!(!is_of("12.1.2-1", "11.8"));
    }

    #[test]
    fn a_suite_that_has_moved_on_is_an_error_that_says_so() {
        let release = &super::super::RELEASES[0];
        let archive =
            |version: &str| PathBuf::from(format!("/x/mysql-server-core_{version}_amd64.deb"));
        check_version(release, &[archive("9.7.4-2")]).unwrap();
        let error = check_version(release, &[archive("10.1.0-1")]).unwrap_err();
        let expected = "its mysql-server-core is not of version 9.7 but 10.1.0-1";
        assert_eq!(error.to_string(), expected);
    }
}
