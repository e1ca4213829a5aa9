//! Debian packages that are unpacked and not installed, since installing one sets up a service.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{ensure, Context, Result};

use crate::interrupt;

/// Unpacks a package into a folder. It is downloaded once for a target folder.
pub(crate) fn unpack(package: &str, folder: &Path) -> Result<()> {
    let archive = match downloaded(package)? {
        Some(archive) => archive,
        None => {
            download(package)?;
            downloaded(package)?.with_context(|| format!("apt-get left no {package}"))?
        }
    };
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .args([&archive, folder]))
}

fn downloaded(package: &str) -> Result<Option<PathBuf>> {
    let prefix = format!("{package}_");
    for file in fs::read_dir(cache()?)? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with(&prefix) {
            return Ok(Some(file.path()));
        }
    }
    Ok(None)
}

fn download(package: &str) -> Result<()> {
    // Somewhere else first: others may be downloading it, too, and never see half an archive.
    let folder = tempfile::tempdir_in(cache()?)?;
    run(Command::new("apt-get")
        .args(["download", "-q", package])
        .current_dir(folder.path()))?;
    for file in fs::read_dir(folder.path())? {
        let file = file?;
        fs::rename(file.path(), cache()?.join(file.file_name()))?;
    }
    Ok(())
}

/// In Cargo's target folder: this program is in `target/debug` or in `target/debug/deps`.
fn cache() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let profile = program
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"));
    let target = profile.and_then(Path::parent).context("no target folder")?;
    let cache = target.join("debian");
    fs::create_dir_all(&cache)?;
    Ok(cache)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {:?}", command.get_program()))?;
    interrupt::check()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {error}");
    Ok(())
}
