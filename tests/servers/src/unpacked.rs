//! Debian packages that are unpacked and not installed, since installing one sets up a service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{ensure, Context, Result};

use crate::{cache, interrupt};

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
    for file in fs::read_dir(cache("debian")?)? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with(&prefix) {
            return Ok(Some(file.path()));
        }
    }
    Ok(None)
}

fn download(package: &str) -> Result<()> {
    // Somewhere else first: others may be downloading it, too, and never see half an archive.
    let folder = tempfile::tempdir_in(cache("debian")?)?;
    run(Command::new("apt-get")
        .args(["download", "-q", package])
        .current_dir(folder.path()))?;
    for file in fs::read_dir(folder.path())? {
        let file = file?;
        fs::rename(file.path(), cache("debian")?.join(file.file_name()))?;
    }
    Ok(())
}

/// Runs a command to its end; what it says is in the error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {:?}", command.get_program()))?;
    interrupt::check()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {error}");
    Ok(())
}
