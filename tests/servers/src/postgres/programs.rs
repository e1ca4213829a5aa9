//! Where the programs of a PostgreSQL are.

use std::fs;
use std::path::{Path, PathBuf};

/// Names a folder with the `bin` and `lib` of the PostgreSQL that servers are to be made of.
pub const VARIABLE: &str = "POSTGRES_HOME";

/// The programs of one version.
pub(super) struct Programs {
    folder: PathBuf,
    /// What the programs are linked with, if it is not the system's.
    pub(super) libraries: Option<PathBuf>,
}

impl Programs {
    /// Of the version that [`VARIABLE`] names, or else of Debian's newest; without either, they are
    /// searched for as usual.
    pub(super) fn find() -> Self {
        match std::env::var_os(VARIABLE) {
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

    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

/// Where Debian keeps the newest PostgreSQL that is installed.
pub(super) fn debian() -> Option<PathBuf> {
    fs::read_dir("/usr/lib/postgresql")
        .ok()?
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
}
