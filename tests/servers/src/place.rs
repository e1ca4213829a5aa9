//! Where servers have their folders.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::Result;
use nix::unistd::Pid;
use tempfile::TempDir;

const VARIABLE: &str = "SERVERS_PLACE";
const PATIENCE: Duration = Duration::from_secs(10);

/// A folder in [`Place`], or in `/tmp`.
///
/// Not where TMPDIR says: a socket's path must be short, and the server's account must get there.
pub(crate) fn folder() -> Result<TempDir> {
    let place = env::var_os(VARIABLE).unwrap_or_else(|| "/tmp".into());
    let folder = tempfile::Builder::new().prefix("rl-").tempdir_in(place)?;
    Ok(folder)
}

/// The processes that work below a folder.
pub(crate) fn processes(below: &Path) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|process| {
            let process = process.ok()?;
            let folder = fs::read_link(process.path().join("cwd")).ok()?;
            let number = process.file_name().to_str()?.parse().ok()?;
            folder.starts_with(below).then_some(Pid::from_raw(number))
        })
        .collect()
}

/// For the folders of the servers that another process starts. They go with it, also if that
/// process was killed and couldn't remove them.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Result<Self> {
        let folder = folder()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self { folder })
    }

    /// Tells a command of it.
    pub fn offer<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(VARIABLE, self.folder.path())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The kernel has told them to end.
        let deadline = Instant::now() + PATIENCE;
        while !processes(self.folder.path()).is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
    }
}
