//! Where the programs of a PostgreSQL are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::small_disk::SmallDisk;
use super::END;
use crate::home::Home;

/// Names a folder with the `bin` and `lib` of the PostgreSQL that servers are to be made of.
pub const HOME_VARIABLE: &str = "POSTGRES_HOME";

/// The programs of one version.
#[derive(Clone)]
pub(super) struct Programs {
    folder: PathBuf,
    /// What the programs are linked with, if it is not the system's.
    libraries: Option<PathBuf>,
}

impl Programs {
    /// Of the version that [`HOME_VARIABLE`] names, or else of Debian's newest; without either, they are
    /// searched for as usual.
    pub(super) fn find() -> Self {
        match std::env::var_os(HOME_VARIABLE) {
            Some(home) if !home.is_empty() => Self::at(Path::new(&home)),
            _ => Self {
                folder: debian().unwrap_or_default(),
                libraries: None,
            },
        }
    }

    pub(super) fn at(home: &Path) -> Self {
        Self {
            folder: home.join("bin"),
            libraries: Some(home.join("lib")),
        }
    }

    /// One that runs in a server's home, and sees its small disk.
    pub(super) fn command(
        &self,
        home: &Home,
        disk: Option<&SmallDisk>,
        program: &str,
    ) -> Result<Command> {
        let before = disk.map(|disk| disk.before(home.path())).transpose()?;
        let before = before.unwrap_or_default();
        let mut command = home.command_after(&before, self.folder.join(program), END)?;
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        Ok(command)
    }
}

/// Where Debian keeps the newest PostgreSQL that is installed.
pub(super) fn debian() -> Option<PathBuf> {
    newest().map(|(_, programs)| programs)
}

/// The major version of Debian's newest PostgreSQL that is installed.
pub fn debian_version() -> Option<u32> {
    newest().map(|(version, _)| version)
}

fn newest() -> Option<(u32, PathBuf)> {
    fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|version| {
            let version = version.ok()?;
            let number = version.file_name().to_str()?.parse().ok()?;
            let programs = version.path().join("bin");
            // A folder without a server is left by a package with only the client.
            programs
                .join("postgres")
                .exists()
                .then_some((number, programs))
        })
        .max()
}
