//! A disk that is soon full.
//!
//! It is a tmpfs in a mount namespace of its own, which is gone with the last process in it: no
//! mount is left behind, whatever happens. One process does nothing but stay in it, so that the
//! files are still there when the server has ended.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Result};
use nix::sys::signal::Signal;
use nix::unistd::Uid;

use crate::home::Home;
use crate::process::{output, Process};

const END: Signal = Signal::SIGKILL;

pub(super) struct SmallDisk {
    stays: Process,
    path: PathBuf,
}

impl SmallDisk {
    pub(super) fn new(megabytes: u32) -> Result<Self> {
        ensure!(Uid::effective().is_root(), "only root can mount a disk");
        let home = Home::new("postgres")?;
        let path = home.path().join("disk");
        let mount = format!(
            "mkdir disk && mount -t tmpfs -o size={megabytes}m tmpfs disk && \
             chown --reference=. disk && touch mounted && exec \"$@\""
        );
        let mut stays = home.command_after(
            &["unshare", "--mount", "sh", "-ec", &mount, "sh"],
            "sleep",
            END,
        )?;
        stays.arg("infinity");
        let mut mounted = Command::new("test");
        mounted.arg("-e").arg(home.path().join("mounted"));
        let mut stays = Process::new(home, stays, mounted, END);
        stays.start()?;
        Ok(Self { stays, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The words before a program that let it see the disk.
    pub(super) fn before(&self, folder: &Path) -> Result<Vec<String>> {
        Ok(vec![
            "nsenter".to_owned(),
            format!("--target={}", self.stays.pid()?),
            "--mount".to_owned(),
            "env".to_owned(),
            // It would be the root folder.
            format!("--chdir={}", folder.display()),
        ])
    }

    pub(super) fn resize(&self, megabytes: u32) -> Result<()> {
        let [enter, into @ ..] = &self.before(Path::new("/"))?[..] else {
            return Ok(());
        };
        let mut mount = Command::new(enter);
        mount.args(into).args(["mount", "-o"]);
        mount.arg(format!("remount,size={megabytes}m"));
        output(mount.arg(&self.path)).map(drop)
    }
}
