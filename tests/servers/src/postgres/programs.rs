//! Where the programs of a PostgreSQL are.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::small_disk::SmallDisk;
use super::END;
use crate::home::Home;
use crate::releases::{Installation, Product, Release};

/// Names the version of PostgreSQL that servers are to be made of, if not Debian's newest.
pub const RELEASE_VARIABLE: &str = "POSTGRES_RELEASE";

/// The programs of one version.
#[derive(Clone)]
pub(super) struct Programs {
    folder: PathBuf,
    /// Where they are unpacked, if they are not installed.
    unpacked: Option<Installation>,
}

impl Programs {
    /// Of the version that [`RELEASE_VARIABLE`] names, or else of Debian's newest; without either,
    /// they are searched for as usual.
    pub(super) fn find() -> Result<Self> {
        let Some(release) = Release::wanted(Product::Postgres, RELEASE_VARIABLE)? else {
            return Ok(Self {
                folder: debian().unwrap_or_default(),
                unpacked: None,
            });
        };
        Self::of_version(release.version)
    }

    pub(super) fn of_version(version: &str) -> Result<Self> {
        let installation = Installation::of(Release::of(Product::Postgres, version)?)?;
        Ok(Self {
            folder: installation.bin_of_postgres(version),
            unpacked: Some(installation),
        })
    }

    /// Where they are unpacked, if they are not installed.
    pub(super) fn unpacked(&self) -> Option<&Installation> {
        self.unpacked.as_ref()
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
        home.command_after(&before, self.folder.join(program), END)
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
